/** A browser's part in secure aggregation: docs/federated-protocol.md, written in WebCrypto. */

const { subtle } = crypto;
const text = new TextEncoder();
const LABEL = 'arauto-secagg-1';
/** The PKCS#8 heads before 32 raw private bytes (RFC 8410). */
const HEADS = { X25519: '302e020100300506032b656e04220420', Ed25519: '302e020100300506032b657004220420' };
/** The fields of each header of the coordinator's, besides its type. */
const FIELDS = {
  offer: 'closes_ms dim key least live model neighbours plan privacy quantum round task threshold',
  roster: 'offer',
  inbox: 'senders to transcript',
  ask: 'transcript',
  receipt: 'ask live model privacy sum transcript',
};

/** A message of a round was refused, or this device will not take part. */
export class Refused extends Error {}

const must = (held, why) => {
  if (!held) throw new Refused(why);
};
export const hex = (bytes) => Array.from(bytes, (one) => one.toString(16).padStart(2, '0')).join('');
export const unhex = (digits) => Uint8Array.from(digits.match(/../g) ?? [], (one) => parseInt(one, 16));
const join = (...parts) => {
  const all = parts.map((part) => (typeof part === 'string' ? text.encode(part) : part));
  const out = new Uint8Array(all.reduce((sum, part) => sum + part.length, 0));
  all.reduce((at, part) => (out.set(part, at), at + part.length), 0);
  return out;
};
const sha = async (bytes) => new Uint8Array(await subtle.digest('SHA-256', bytes));
const random = (size) => {
  const out = new Uint8Array(size);
  for (let at = 0; at < size; at += 65536) crypto.getRandomValues(out.subarray(at, at + 65536));
  return out;
};

const own = async (name, secret) => {
  const use = name === 'X25519' ? ['deriveBits'] : ['sign'];
  const key = await subtle.importKey('pkcs8', join(unhex(HEADS[name]), secret), name, true, use);
  const { x } = await subtle.exportKey('jwk', key);
  const raw = atob(x.replace(/-/g, '+').replace(/_/g, '/'));
  return { key, open: Uint8Array.from(raw, (one) => one.charCodeAt(0)) };
};
const agree = async (mine, theirs) => {
  const other = await subtle.importKey('raw', theirs, 'X25519', false, []);
  return new Uint8Array(await subtle.deriveBits({ name: 'X25519', public: other }, mine, 256));
};
const derive = async (secret, salt, purpose) => {
  const key = await subtle.importKey('raw', secret, 'HKDF', false, ['deriveBits']);
  const info = text.encode(`${LABEL} ${purpose}`);
  return new Uint8Array(await subtle.deriveBits(({ name: 'HKDF', hash: 'SHA-256', salt, info }), key, 256));
};
const stream = async (raw, zeros) => {
  const key = await subtle.importKey('raw', raw, 'AES-CTR', false, ['encrypt']);
  return subtle.encrypt({ name: 'AES-CTR', counter: new Uint8Array(16), length: 128 }, key, zeros);
};

const seal = async (key, header, payload = new Uint8Array()) => {
  const head = text.encode(JSON.stringify(header));
  const size = new Uint8Array(new Uint32Array([head.length]).buffer);
  const signed = join('AFS1', size, head, payload);
  return join(signed, new Uint8Array(await subtle.sign('Ed25519', key, join(LABEL, await sha(signed)))));
};
/** Open a coordinator's message. */
const unseal = async (frame, type, pinned) => {
  must(frame.length >= 72 && hex(frame.subarray(0, 4)) === '41465331', 'is no frame');
  const size = new DataView(frame.buffer, frame.byteOffset).getUint32(4, true);
  must(size <= 65536 && 72 + size <= frame.length, 'is no frame');
  const hash = await sha(frame.subarray(0, -64));
  const key = await subtle.importKey('raw', pinned, 'Ed25519', false, ['verify']);
  must(await subtle.verify('Ed25519', key, frame.slice(-64), join(LABEL, hash)), 'was not signed by it');
  const { type: said, ...header } = JSON.parse(new TextDecoder().decode(frame.subarray(8, 8 + size)));
  must(said === type && Object.keys(header).sort().join(' ') === FIELDS[type], `is no ${type}`);
  return { header, payload: frame.slice(8 + size, -64), hash };
};

const EXP = new Uint8Array(510);
const LOG = new Uint8Array(256);
for (let n = 0, value = 1; n < 255; n++) {
  EXP[n] = EXP[n + 255] = value;
  LOG[value] = n;
  value = (value ^ (value << 1) ^ (value & 128 ? 0x11b : 0)) & 255;
}
/** Shamir's shares at x = 1 … count. */
const share = (secret, coefficients, count) => {
  const rows = join(secret, coefficients);
  const size = secret.length;
  return Array.from({ length: count }, (_, n) => {
    const out = new Uint8Array(size);
    for (let at = rows.length - size; at >= 0; at -= size) {
      for (let i = 0; i < size; i++) out[i] = (out[i] ? EXP[LOG[out[i]] + LOG[n + 1]] : 0) ^ rows[at + i];
    }
    return out;
  });
};
const neighbours = async (transcript, n, k, mine) => {
  const drawn = new BigUint64Array(await stream(await derive(transcript, transcript, 'graph'), new Uint8Array(8 * n)));
  const circle = Array.from(drawn.keys()).sort((a, b) => (drawn[a] < drawn[b] ? -1 : drawn[a] > drawn[b] ? 1 : a - b));
  const at = circle.indexOf(mine);
  const found = [];
  for (let step = 1; step <= k / 2; step++) found.push(circle[(at + step) % n], circle[(at - step + n) % n]);
  return found.sort((a, b) => a - b);
};

/** The cost ρ of one participation, as the offer's noise has it. */
export const rho = ({ quantum, dim, privacy: { clip, noise, assured } }) => {
  const norm = clip / quantum;
  let tau = 0;
  for (let k = 1; k < assured; k++) tau += 10 * Math.exp((-2 * Math.PI ** 2 * noise ** 2 * k) / (k + 1));
  const part = bound(norm, dim) / (Math.sqrt(assured) * noise);
  return Math.min(Math.sqrt(part ** 2 + (tau * dim) / 2), part + tau * Math.sqrt(dim)) ** 2 / 2;
};
const bound = (norm, dim) => Math.min(Math.sqrt(norm ** 2 + dim / 4 + norm + Math.sqrt(dim) / 2), norm + Math.sqrt(dim));
/** ε of ρ at δ. */
export const epsilon = (cost, delta) => {
  let least = Infinity;
  for (let n = 0; n <= 4000; n++) {
    const a = 10 ** (n / 400 - 4);
    least = Math.min(least, (1 + a) * cost + (Math.log(1 / delta) + a * Math.log1p(-1 / (1 + a)) - Math.log(1 + a)) / a);
  }
  return cost > 0 ? Math.max(0, least) : 0;
};
/** 53 random bits each, in [0, 1). */
const uniforms = (size) => {
  const bits = new Uint32Array(random(8 * size).buffer);
  return Float64Array.from({ length: size }, (_, n) => ((bits[2 * n] >>> 5) * 67108864 + (bits[2 * n + 1] >>> 6)) / 2 ** 53);
};
const length = (vector) => Math.sqrt(vector.reduce((sum, one) => sum + one * one, 0));
/** Clip, round, add this device's noise. */
export const encode = (update, offer) => {
  const { quantum, dim, privacy } = offer;
  must(update.length === dim, `must have ${dim} numbers`);
  const clean = Float64Array.from(update, (one) => (Number.isFinite(one) ? one : 0));
  const norm = length(clean);
  const scale = Math.min(1, privacy.clip / (norm || 1)) / quantum;
  const words = new Float64Array(dim);
  do {
    const coin = uniforms(dim);
    for (let n = 0; n < dim; n++) {
      const low = Math.floor(clean[n] * scale);
      words[n] = low + +(coin[n] < clean[n] * scale - low);
    }
  } while (length(words) > bound(privacy.clip / quantum, dim));
  if (privacy.noise > 0) noise(words, privacy.noise);
  return Uint32Array.from(words, (one) => one >>> 0);
};
/** Add discrete Gaussian noise, by its cumulative table. */
const noise = (words, size) => {
  const reach = Math.ceil(12 * size) + 1;
  const below = Float64Array.from({ length: 2 * reach + 1 }, (_, n) => Math.exp(-((n - reach) ** 2) / (2 * size * size)));
  const whole = below.reduce((sum, one) => sum + one, 0);
  for (let n = 0, sum = 0; n < below.length; n++) below[n] = (sum += below[n]) / whole;
  uniforms(words.length).forEach((drawn, n) => {
    let low = 0;
    for (let high = 2 * reach; low < high; ) {
      const middle = (low + high) >> 1;
      if (below[middle] <= drawn) low = middle + 1;
      else high = middle;
    }
    words[n] += low - reach;
  });
};

/** May this device take part now? No with Global Privacy Control, on a low battery or a metered or hidden page. */
export const suits = async () => {
  const here = navigator;
  if (here.globalPrivacyControl || here.connection?.saveData || document.visibilityState === 'hidden') return false;
  const battery = await here.getBattery?.().catch(() => null);
  return !battery || battery.charging || battery.level > 0.3;
};

/** What this device has paid, in `store`: gives a `spend` that refuses when a cap, or ε = `most` at `delta`, is reached. */
export const ledger = (most, delta = 1e-6, store = localStorage) => (offer) => {
  const { privacy, task, round, live } = offer;
  const cost = rho(offer);
  must(privacy.noise > 0 && privacy.assured <= live, 'promises no privacy');
  const fair = privacy.rho >= cost * (1 - 1e-9);
  must(fair && privacy.epsilon >= epsilon(privacy.cap * cost, privacy.delta) * 0.999, 'states less than it costs');
  const paid = JSON.parse(store.getItem('arauto.federated') ?? '{}');
  const name = `${task}/${round}`;
  must(!(name in paid), 'was paid for already');
  must(Object.keys(paid).filter((one) => one.slice(0, -33) === task).length < privacy.cap, 'the cap is reached');
  const sum = Object.values(paid).reduce((total, one) => total + one, privacy.rho);
  must(epsilon(sum, delta) <= most, 'the budget is spent');
  store.setItem('arauto.federated', JSON.stringify({ ...paid, [name]: privacy.rho }));
};

/**
 * One client in one round: `await Client.open(offer, key)`, then join, shares, masked, unmask, each once and in order.
 * Options: `consent()`, `spend(offer)`, `models`, `least`, and `keys` for test vectors.
 */
export class Client {
  #step = 0;
  #its = {};

  static async open(frame, pinned, { consent = () => true, spend = () => {}, models = null, least = 3, keys = null } = {}) {
    const { header: offer, payload, hash } = await unseal(frame, 'offer', pinned);
    const { neighbours: k, threshold: t, live } = offer;
    must(!payload.length && offer.key === hex(pinned), 'names another coordinator');
    must(k >= 2 && k % 2 === 0 && k <= 254 && k < offer.least, 'neighbours');
    must(k < 2 * t && t <= k && t <= live && live <= offer.least, 'threshold');
    must(offer.least >= least, 'the crowd is too small');
    must(!models || models.includes(offer.model), 'is another model');
    const drawn = keys ?? { id: random(16), channel: random(32), mask: random(32), sign: random(32), seed: random(32), coefficients: random(64 * (t - 1)) };
    const [channel, mask, sign] = await Promise.all([own('X25519', drawn.channel), own('X25519', drawn.mask), own('Ed25519', drawn.sign)]);
    const promised = await sha(join(LABEL, ' self', drawn.id, drawn.seed));
    const client = new Client();
    client.offer = offer;
    client.#its = { ...drawn, channel, mask, sign, hash, pinned, consent, spend, raw: drawn.mask, record: join(drawn.id, channel.open, mask.open, sign.open, promised) };
    return client;
  }

  #turn(step) {
    const now = this.#step;
    this.#step = -1; // until the step has succeeded
    must(now === step, 'was asked out of turn, or twice');
    const blocked = globalThis.navigator?.globalPrivacyControl;
    must(!blocked && this.#its.consent(), 'no consent');
    return this.#its;
  }

  async #bound(frame, type) {
    const found = await unseal(frame, type, this.#its.pinned);
    must(found.header.transcript === hex(this.#its.transcript), 'belongs to another round');
    return found;
  }

  async #send(step, type, payload, more) {
    const { sign, transcript } = this.#its;
    const frame = await seal(sign.key, { type, transcript: hex(transcript), sender: this.position, ...more }, payload);
    this.#step = step;
    return frame;
  }

  async join() {
    const its = this.#turn(0);
    const frame = await seal(its.sign.key, { type: 'join', offer: hex(its.hash) }, its.record);
    this.#step = 1;
    return frame;
  }

  async shares(roster) {
    const its = this.#turn(1);
    const { header, payload } = await unseal(roster, 'roster', its.pinned);
    const n = payload.length / 144;
    const { least, neighbours: k } = this.offer;
    must(header.offer === hex(its.hash) && Number.isInteger(n) && n >= least && n <= 20000, 'is too small');
    const records = Array.from({ length: n }, (_, at) => payload.subarray(144 * at, 144 * at + 144));
    const ids = records.map((record) => hex(record.subarray(0, 16)));
    must(ids.every((id, at) => !at || ids[at - 1] < id), 'is no roster');
    this.position = ids.indexOf(hex(its.id));
    must(this.position >= 0 && hex(records[this.position]) === hex(its.record), 'lacks its keys');
    its.size = n;
    its.transcript = await sha(join(LABEL, ' roster', its.hash, payload));
    its.peers = await neighbours(its.transcript, n, k, this.position);
    its.records = records;
    its.secrets = new Map();
    const parts = share(join(its.seed, its.raw), its.coefficients, k);
    const sealed = await Promise.all(
      its.peers.map(async (to, at) => {
        const secret = await agree(its.channel.key, records[to].subarray(16, 48));
        its.secrets.set(to, secret);
        return new Uint8Array(await subtle.encrypt(...(await this.#gcm(secret, this.position, to, 'encrypt')), parts[at]));
      }),
    );
    return this.#send(2, 'shares', join(...sealed));
  }

  async #gcm(secret, from, to, use) {
    const { transcript } = this.#its;
    const raw = await derive(secret, transcript, `share ${from} ${to}`);
    const key = await subtle.importKey('raw', raw, 'AES-GCM', false, [use]);
    return [{ name: 'AES-GCM', iv: new Uint8Array(12), additionalData: transcript }, key];
  }

  /** Message 3: pays, then masks. */
  async masked(inbox, words) {
    const its = this.#turn(2);
    const { header, payload } = await this.#bound(inbox, 'inbox');
    const { senders, to } = header;
    must(to === this.position && payload.length === 80 * senders.length, 'is not for it');
    must(new Set(senders).size === senders.length && senders.every((one) => its.peers.includes(one)), 'names strangers');
    must(senders.length >= this.offer.threshold, 'too few neighbours');
    must(words instanceof Uint32Array && words.length === this.offer.dim, `must be ${this.offer.dim} words`);
    its.held = new Map();
    its.senders = new Set(senders);
    await Promise.all(
      senders.map(async (one, at) => {
        const how = await this.#gcm(its.secrets.get(one), one, this.position, 'decrypt');
        const plain = await subtle.decrypt(...how, payload.slice(80 * at, 80 * at + 80)).catch(() => null);
        if (plain) its.held.set(one, new Uint8Array(plain));
      }),
    );
    await its.spend(this.offer);
    const zeros = new Uint8Array(4 * words.length);
    const total = words.slice();
    const add = async (key, plus) => {
      const mask = new Uint32Array(await stream(key, zeros));
      for (let n = 0; n < total.length; n++) total[n] = plus ? total[n] + mask[n] : total[n] - mask[n];
    };
    await add(await derive(its.seed, its.transcript, 'self'), true);
    await Promise.all(
      senders.map(async (one) => {
        const secret = await agree(its.mask.key, its.records[one].subarray(48, 80));
        await add(await derive(secret, its.transcript, 'mask'), this.position < one);
      }),
    );
    return this.#send(3, 'masked', new Uint8Array(total.buffer));
  }

  /** Message 4, once. */
  async unmask(ask) {
    const its = this.#turn(3);
    const { payload, hash } = await this.#bound(ask, 'ask');
    const half = Math.ceil(its.size / 8);
    must(payload.length === 2 * half, 'is no bitmap');
    const has = (at, one) => (payload[at + (one >> 3)] >> (one & 7)) & 1;
    its.live = 0;
    for (let one = 0; one < 8 * half; one++) {
      must(!(has(0, one) && has(half, one)), 'calls a client live and dead');
      must(one < its.size || !(has(0, one) || has(half, one)), 'is no bitmap');
      its.live += has(0, one);
    }
    must(its.live >= this.offer.live, 'too few are live');
    must(has(0, this.position), 'leaves it out');
    const told = its.peers.filter((one) => has(0, one) || has(half, one));
    must(told.every((one) => its.senders.has(one)), 'names strangers');
    const of = told.filter((one) => its.held.has(one));
    const parts = of.map((one) => its.held.get(one).subarray(...(has(0, one) ? [0, 32] : [32, 64])));
    its.ask = hex(hash);
    return this.#send(4, 'unmask', join(...parts), { ask: its.ask, of });
  }

  /** The coordinator's word on the round, checked. */
  async receipt(frame) {
    const { header, payload } = await this.#bound(frame, 'receipt');
    must(!payload.length && (this.#step !== 4 || (header.ask === this.#its.ask && header.live === this.#its.live)), 'counts others');
    must(JSON.stringify(header.privacy) === JSON.stringify(this.offer.privacy), 'states another privacy');
    return header;
  }
}
