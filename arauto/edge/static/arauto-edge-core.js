// Inference: text to hashed features to integers, as arauto/edge/text.py and model.py, bit for bit. No page, no network.
// Types: arauto-edge.types.d.ts. In a worker it answers messages; imported, it is a module of functions.

const MAX_CHARS = 2000, MAX_TOKENS = 400, MAX_WORD = 24;
const SECOND = 0x51ed270b, THIRD = 0x2545f491, CHARS = 0x6c8e9cf5, NEGATED = 0x3c6ef372;
const LATIN =
  'aaaaaaaceeeeiiiidnooooo ouuuuypsaaaaaaaceeeeiiiidnooooo ouuuuypy' +
  'aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiiiiijjkkklllllllll' +
  'lnnnnnnnnnoooooooorrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs';
const EXP = Array.from({length: 256}, (_, i) => Math.round(2 ** (30 - i / 256)));

/** @type {(text: string) => number[]} */
const spell = (text) => [...text].map((char) => char.codePointAt(0) ?? 0);

/** What a code point is read as; 0: left out. @type {(code: number) => number} */
const fold = (code) => {
  if (code < 0x80) {
    if (code < 0x21 || code === 0x7f) return 32;
    if (code > 0x2f && code < 0x3a) return 48;
    if (code > 0x40 && code < 0x5b) return code + 32;
    return code === 0x27 || code === 0x60 ? 0 : code;
  }
  if (code < 0xc0) return code === 0xb4 || code === 0xad ? 0 : 32;
  if (code < 0x180) return LATIN.charCodeAt(code - 0xc0);
  if ((code > 0x2ff && code < 0x370) || (code > 0xfdff && code < 0xfe10) || (code > 0x1f3fa && code < 0x1f400)) return 0;
  if (code > 0x1fff && code < 0x2070) {
    if (code === 0x2018 || code === 0x2019 || code === 0x200d) return 0;
    if (code === 0x201c || code === 0x201d) return 34;
    if (code === 0x2013 || code === 0x2014) return 45;
    return code === 0x2026 ? 46 : 32;
  }
  return code === 0x3000 || code === 0xfeff || (code > 0xd7ff && code < 0xe000) ? 32 : code;
};

/** 0: a letter, 1: a digit, 2: a mark, 3: a space or the end, 4: a symbol. @type {(code: number) => number} */
const kind = (code) => (code < 33 ? 3 : code === 48 ? 1 : code > 126 ? 4 : code > 96 && code < 123 ? 0 : 2);

/** @type {(codes: ArrayLike<number>, from: number, to: number) => number} */
const fnv = (codes, from, to) => {
  let hash = 0x811c9dc5;
  while (from < to) hash = Math.imul(hash ^ codes[from++], 0x01000193);
  return hash;
};

/** @type {(hash: number) => number} */
const mix = (hash) => {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
};

// What is being read: the folded text with an end of zeros, and a token between < and >. Nothing is allocated by a text.
const all = new Uint32Array(MAX_CHARS + 8), word = new Uint32Array(MAX_CHARS + 2).fill(60, 0, 1);
/** @type {(at: number, codes: number[]) => boolean} */
const reads = (at, codes) => codes.every((code, i) => all[at + i] === code);
const LINKS = ['http:', 'https:', 'www.'].map(spell);

/** Where the token at ``at`` ends. @type {(at: number, is: number) => number} */
const past = (at, is) => {
  const first = all[at], face = first === 58 || first === 59 || first === 61 ? at + (all[at + 1] === 45 ? 2 : 1) : 0;
  if (first === 60 && all[at + 1] === 48) return at + 2; // <3
  if (face && [100, 111, 112].includes(all[face]) && kind(all[face + 1])) return face + 1; // :-D
  while (kind(all[++at]) === is && is < 3);
  return at;
};

/** @type {(n: number, size: number, flag: number, each: (hash: number) => void) => void} */
const grams = (n, size, flag, each) => {
  for (let i = 0; i + n <= size; i++) each(mix(fnv(word, i, i + n) ^ flag));
};

/** The token from ``at``, plainer, into ``word``: its end there. @type {(at: number, to: number, is: number) => number} */
const copy = (at, to, is) => {
  let size = 1;
  for (let i = at, run = 0; i < to; i++) {
    run = i > at && all[i] === all[i - 1] ? run + 1 : 1;
    if (run < 3) word[size++] = all[i];
    else if (run === 3 && !is) size--;
  }
  return Math.min(size, 1 + (is ? (is === 1 ? 1 : 4) : MAX_WORD));
};

/** @type {(text: string) => number} */
const read = (text) => {
  let end = 0;
  for (let at = 0, count = 0; at < text.length && count < MAX_CHARS; count++) {
    const code = text.codePointAt(at) ?? 0, plain = fold(code);
    at += code > 0xffff ? 2 : 1;
    if (plain) all[end++] = plain;
  }
  all.fill(0, end, end + 8);
  return end;
};

/** @type {Hasher} */
export const hasher = ({words, chars, negators, scope}) => {
  const no = negators.map((said) => fnv(spell(said), 0, spell(said).length));
  return (text, each) => {
    const end = read(text);
    let left = 0, one = 0, two = 0, count = 0;
    for (let at = 0, to = 0; at < end && count < MAX_TOKENS; at = to) {
      const is = kind(all[at]);
      to = past(at, is);
      if (is === 3) continue;
      if ((all[at] === 104 || all[at] === 119) && LINKS.some((link) => reads(at, link))) {
        while (kind(all[to]) !== 3) to++;
        continue;
      }
      if (all[at] === 64 && kind(all[at + 1]) < 2) {
        for (to = at + 1; kind(all[to]) < 2; ) to++;
        continue;
      }
      let size = copy(at, to, is), ends = false;
      for (let i = 1; i < size; i++) ends ||= [33, 44, 46, 59, 63].includes(word[i]);
      const hash = fnv(word, 1, size), pair = (Math.imul(one, 0x9e3779b1) + hash) | 0;
      let flag = 0;
      if (no.includes(hash)) left = scope;
      else if (ends) left = 0;
      else if (left) {
        flag = NEGATED;
        left--;
      }
      each(mix(hash ^ flag));
      if (words > 1 && count) each(mix(pair ^ SECOND));
      if (words > 2 && count > 1) each(mix(((Math.imul(two, 0x9e3779b1) + hash) | 0) ^ THIRD));
      one = hash;
      two = pair;
      count++;
      if (!is && size > 3) {
        word[size++] = 62;
        for (const n of chars) grams(n, size, CHARS ^ flag, each);
      }
    }
  };
};

/** @type {Soften} */
export const soften = (logits) => {
  const top = Math.max(...logits);
  const parts = logits.map((z) => Math.floor(EXP[(top - z) & 255] / 2 ** Math.min(63, (top - z) >> 8)));
  const whole = parts.reduce((a, b) => a + b);
  return parts.map((part) => Math.floor((part * 65536) / whole));
};

/** @type {Open} */
export const open = (file) => {
  const head = new DataView(file), from = 12, size = file.byteLength > from ? head.getUint32(8, true) : 0;
  const text = new TextDecoder();
  if (text.decode(file.slice(0, 8)) !== 'ARAUTOE1' || !size || size > file.byteLength - from) throw Error('not an edge model');
  /** @type {EdgeManifest} */
  const manifest = JSON.parse(text.decode(file.slice(from, from + size)));
  const {format, labels, dim, bits, rows_log2, levels, head: weights, bias} = manifest;
  const codes = new Uint8Array(file, from + size);
  const fits = (/** @type {unknown[]} */ list, /** @type {number} */ length) => list.length === length;
  if (format !== 1 || codes.length * 8 !== (dim * bits) << rows_log2) throw Error('an edge model of another format');
  if (!fits(levels, dim) || !fits(weights, dim) || !fits(bias, labels.length)) throw Error('an edge model that does not fit');
  const mask = (1 << rows_log2) - 1, hash = hasher(manifest.features), bag = new Int32Array(dim);
  let n = 0;
  /** @type {(hash: number) => void} */
  const add = (hash) => {
    n++;
    for (let j = 0, cell = (hash & mask) * dim; j < dim; j++, cell++)
      bag[j] += levels[j][bits === 8 ? codes[cell] : (codes[cell >> 1] >> ((cell & 1) * 4)) & 15];
  };

  // Every kind of character once: what is compiled later has then seen them all, and need not be compiled again.
  hash("Não gostooo!!! d’água “é” – 12 https://a @b <3 :-D … 中 👍🏽\u0301 http://b w", add);

  return {
    manifest,
    predict: (said) => {
      n = 0;
      bag.fill(0);
      hash(said, add);
      if (!n) return {label: null, logits: labels.map(() => 0), shares: soften(labels.map(() => 0)), n};
      const norm = Math.floor(Math.sqrt(n * 65536));
      const logits = bias.map((b, c) => b + Math.floor((bag.reduce((sum, a, j) => sum + a * weights[j][c], 0) * 256) / norm));
      const shares = soften(logits), best = logits.indexOf(Math.max(...logits));
      return {label: shares[best] < manifest.unsure ? null : labels[best], logits, shares, n};
    },
  };
};

// In a worker: a buffer opens the model, a text is answered with its number.
if ('WorkerGlobalScope' in globalThis) {
  /** @type {ReturnType<Open>} */ let model;
  onmessage = ({data: {id, file, text}}) => {
    try {
      if (file) model = open(file);
      postMessage({id, answer: file ? model.manifest : model.predict(text)});
    } catch (fault) {
      postMessage({id, fault: true});
    }
  };
}
