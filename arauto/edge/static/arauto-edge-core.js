// Inference: text to hashed features to integers, as arauto/edge/text.py and model.py, bit for bit. No page, no network.
// Types: arauto-edge.types.d.ts. In a worker it answers messages; imported, it is three functions.

const MAX_CHARS = 2000, MAX_TOKENS = 400, MAX_WORD = 24;
const SECOND = 0x51ed270b, THIRD = 0x2545f491, CHARS = 0x6c8e9cf5, NEGATED = 0x3c6ef372;
const LATIN =
  'aaaaaaaceeeeiiiidnooooo ouuuuypsaaaaaaaceeeeiiiidnooooo ouuuuypy' +
  'aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiiiiijjkkklllllllll' +
  'lnnnnnnnnnoooooooorrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs';
const TOKEN =
  /https?:[^ ]*|www\.[^ ]*|@[a-z0]+|<0|[:;=]-?[dpo](?![a-z])|[a-z]+|0+|[!-/:-@[-`{-~]+|[^ ]/gu;
const EXP = Array.from({length: 256}, (_, i) => Math.round(2 ** (30 - i / 256)));

/** @type {(code: number, char: string) => string} */
const fold = (code, char) => {
  if (code < 0x80) {
    if (code < 0x21 || code === 0x7f) return ' ';
    if (code > 0x2f && code < 0x3a) return '0';
    if (code > 0x40 && code < 0x5b) return char.toLowerCase();
    return code === 0x27 || code === 0x60 ? '' : char;
  }
  if (code < 0xc0) return code === 0xb4 || code === 0xad ? '' : ' ';
  if (code < 0x180) return LATIN[code - 0xc0];
  if ((code > 0x2ff && code < 0x370) || (code > 0xfdff && code < 0xfe10) || (code > 0x1f3fa && code < 0x1f400)) return '';
  if (code > 0x1fff && code < 0x2070) {
    if (code === 0x2018 || code === 0x2019 || code === 0x200d) return '';
    if (code === 0x201c || code === 0x201d) return '"';
    if (code === 0x2013 || code === 0x2014) return '-';
    return code === 0x2026 ? '.' : ' ';
  }
  return code === 0x3000 || code === 0xfeff || (code > 0xd7ff && code < 0xe000) ? ' ' : char;
};

/** @type {Tokens} */
export const tokens = (text) => {
  let folded = '', count = 0;
  for (const char of text) {
    if (count++ === MAX_CHARS) break;
    folded += fold(char.codePointAt(0) ?? 0, char);
  }
  const found = [];
  for (let [token] of folded.matchAll(TOKEN)) {
    if (token[0] === '0') token = '0';
    else if (/^[a-z]/.test(token)) {
      if (/^(https?:|www\.)/.test(token)) continue;
      token = token.replace(/([a-z])\1{2,}/g, '$1').slice(0, MAX_WORD);
    } else if (/^@[a-z0]/.test(token)) continue;
    else if (/^[!-/:-@[-`{-~]./.test(token)) token = token.replace(/([!-/:-@[-`{-~])\1+/g, '$1$1').slice(0, 4);
    found.push(token);
    if (found.length === MAX_TOKENS) break;
  }
  return found;
};

/** @type {(text: string) => number} */
const fnv = (text) => {
  let hash = 0x811c9dc5;
  for (const char of text) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193);
  return hash >>> 0;
};

/** @type {(hash: number) => number} */
const mix = (hash) => {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
};

/** @type {Hash} */
export const features = (text, {words, chars, negators, scope}) => {
  const all = tokens(text), out = [];
  let left = 0, one = 0, two = 0;
  for (let at = 0; at < all.length; at++) {
    const token = all[at], hash = fnv(token);
    let flag = 0;
    if (negators.includes(token)) left = scope;
    else if (/[.,;!?]/.test(token)) left = 0;
    else if (left) {
      flag = NEGATED;
      left--;
    }
    out.push(mix(hash ^ flag));
    const pair = (Math.imul(one, 0x9e3779b1) + hash) | 0;
    if (words > 1 && at) out.push(mix(pair ^ SECOND));
    if (words > 2 && at > 1) out.push(mix(((Math.imul(two, 0x9e3779b1) + hash) | 0) ^ THIRD));
    one = hash;
    two = pair;
    if (token.length > 2 && /^[a-z]/.test(token)) {
      const word = `<${token}>`;
      for (const size of chars)
        for (let i = 0; i + size <= word.length; i++) out.push(mix(fnv(word.slice(i, i + size)) ^ CHARS ^ flag));
    }
  }
  return out;
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
  const mask = (1 << rows_log2) - 1;

  return {
    manifest,
    predict: (said) => {
      const hashes = features(said, manifest.features), bag = new Array(dim).fill(0), n = hashes.length;
      if (!n) return {label: null, logits: labels.map(() => 0), shares: soften(labels.map(() => 0)), n};
      for (const hash of hashes) {
        const first = (hash & mask) * dim;
        for (let j = 0; j < dim; j++) {
          const cell = first + j;
          bag[j] += levels[j][bits === 8 ? codes[cell] : (codes[cell >> 1] >> ((cell & 1) * 4)) & 15];
        }
      }
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
