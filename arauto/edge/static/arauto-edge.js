// Small models in the page: consent, loading, greeting, ranking. What each export does: arauto-edge.types.d.ts.
// What a visitor writes and what is inferred of it live in this module's memory, and nowhere else.

const script = [...document.scripts].find((s) => s.src === import.meta.url);
const set = script?.dataset ?? {};
const gpc = () => navigator.globalPrivacyControl === true;
const CHOICE = 'arauto:consent';

// ── Consent ──────────────────────────────────────────────────────────────────────────────────────────────────────────
/** @type {Choice} */ let choice;
let managed = false; // a consent platform of the site decides

/** @type {(bits: string, at: number, size: number) => number} */
const number = (bits, at, size) => parseInt(bits.slice(at, at + size) || '0', 2);
/** @type {Disclosed} */
export const disclosed = (string, vendor) => {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  for (const segment of string.split('.').slice(1)) {
    const bits = [...segment].map((c) => Math.max(0, alphabet.indexOf(c)).toString(2).padStart(6, '0')).join('');
    if (number(bits, 0, 3) !== 1) continue; // 1: disclosed vendors
    if (!vendor) return true;
    if (vendor > number(bits, 3, 16)) return false;
    if (bits[19] === '0') return bits[19 + vendor] === '1';
    let at = 32;
    for (let left = number(bits, 20, 12); left > 0; left--) {
      const range = bits[at] === '1', first = number(bits, at + 1, 16), last = range ? number(bits, at + 17, 16) : first;
      if (vendor >= first && vendor <= last) return true;
      at += range ? 33 : 17;
    }
    return false;
  }
  return false;
};

/** @type {Agreed} */
export const agreed = ({gdprApplies, tcString, purpose, vendor}, id = 0) =>
  gdprApplies === false ||
  (disclosed(tcString ?? '', id) && [1, 5, 6].every((p) => purpose?.consents?.[p]) && (!id || vendor?.consents?.[id] === true));

/** @type {(say: 'default' | 'update') => void} */
const signal = (say) => {
  if (!('consentMode' in set) && !window.dataLayer) return;
  const is = granted() ? 'granted' : 'denied', to = (window.dataLayer ??= []);
  (/** @type {(...all: unknown[]) => void} */ (function () {
    to.push(arguments); // as gtag does: it wants the arguments object itself
  }))('consent', say, {ad_storage: is, ad_user_data: is, ad_personalization: is, analytics_storage: is});
};

/** @type {() => boolean} */
export const granted = () => choice === 'granted' && !gpc();

/** @type {Choose} */
export const consent = (said) => {
  choice = gpc() ? 'denied' : said;
  try {
    if (said && !managed && !gpc()) localStorage[CHOICE] = JSON.stringify(said);
  } catch {}
  signal('update');
  if (granted()) begin();
  else erase();
};

const ask = () => {
  const words = /^pt/i.test(document.documentElement.lang || navigator.language)
    ? ['Podemos adaptar esta página ao que você escreve? Isso acontece só no seu aparelho.', 'Recusar', 'Aceitar']
    : ['May we adapt this page to what you write? It happens on your device only.', 'Reject', 'Accept'];
  const bar = document.createElement('section');
  bar.dataset.arautoBanner = '';
  bar.setAttribute('role', 'dialog');
  bar.setAttribute('aria-label', words[0]);
  const say = document.createElement('p');
  say.textContent = words[0];
  bar.append(say);
  for (const [place, said] of /** @type {const} */ (['denied', 'granted']).entries()) {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = words[place + 1];
    button.onclick = () => {
      bar.remove();
      consent(said);
    };
    bar.append(button);
  }
  Object.assign(bar.style, {position: 'fixed', inset: 'auto 1rem 1rem', padding: '1rem', zIndex: '9999'});
  Object.assign(bar.style, {background: '#fff', color: '#111', border: '1px solid #767676', borderRadius: '.5rem'});
  document.body.append(bar);
};

const hear = () => {
  signal('default');
  if (gpc()) return consent('denied');
  if (typeof window.__tcfapi === 'function') {
    managed = true;
    return window.__tcfapi('addEventListener', 2, (data, ok) => {
      if (ok && /^(tcloaded|useractioncomplete)$/.test(data.eventStatus ?? ''))
        consent(agreed(data, +(set.tcfVendor ?? 0)) ? 'granted' : 'denied');
    });
  }
  let kept;
  try {
    kept = JSON.parse(localStorage[CHOICE] ?? 'null');
  } catch {}
  const said = kept ?? set.consent;
  if (said === 'granted' || said === 'denied') consent(said);
  else if (set.consent !== 'wait') ask();
};

// ── The model ────────────────────────────────────────────────────────────────────────────────────────────────────────
/** @type {Run | undefined} */ let run; // asks the model, once it is there
/** @type {Promise<boolean> | undefined} */ let begun;
/** @type {(model: string) => void} */ export let load = () => {}; // where the tag names none
const named = set.model ?? new Promise((/** @type {(model: string) => void} */ done) => (load = done));
/** @type {number[]} */ let spent = []; // milliseconds a prediction
let late = 0;
let stop = () => {};
/** @type {(good: boolean) => void} */ let decided = () => {};
/** Settled with whether the model answers, once that is known. @type {Promise<boolean>} */
export const ready = new Promise((done) => (decided = done));

/** @type {Fetch} */
const fetchModel = async (url) => {
  const wanted = /\.([0-9a-f]{64})\.bin$/.exec(new URL(url, script?.src).pathname)?.[1];
  const answer = await fetch(new URL(url, script?.src), {
    credentials: 'omit',
    priority: 'low',
    signal: AbortSignal.timeout(10_000),
  });
  if (!answer.ok || !wanted) throw 0;
  const file = await answer.arrayBuffer();
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', file));
  if ([...hash].map((b) => b.toString(16).padStart(2, '0')).join('') !== wanted) throw 0;
  return file;
};

/** @type {Hire} */
const hire = (url) =>
  new Promise((done, fail) => {
    // A worker's own script must be of this origin; one of another is imported by a line of ours.
    const here = new URL(url).origin === location.origin;
    const own = here ? url : URL.createObjectURL(new Blob([`import ${JSON.stringify(url)}`], {type: 'text/javascript'}));
    const worker = new Worker(own, {type: 'module'});
    /** @type {Map<number, (answer: any) => void>} */ const waiting = new Map();
    let last = 0;
    worker.onerror = (event) => {
      event.preventDefault();
      worker.terminate();
      fail(0);
    };
    worker.onmessage = ({data: {id, answer}}) => {
      waiting.get(id)?.(answer ?? null);
      waiting.delete(id);
    };
    done({
      send: (message) => new Promise((told) => (waiting.set(++last, told), worker.postMessage({id: last, ...message}))),
      end: () => worker.terminate(),
    });
  });

/** @type {Within} */
const within = (ms, promise) => Promise.race([promise, new Promise((done) => setTimeout(done, ms, null))]);

// The bytes come while the page paints, behind everything that it needs; work begins when it has loaded and is idle.
const start = async () => {
  const core = new URL('arauto-edge-core.js', import.meta.url).href;
  const coming = within(9000, Promise.resolve(named)).then((url) => fetchModel(url ?? ''));
  const staff = idle().then(() => hire(core)).catch(() => null);
  coming.catch(() => staff.then((worker) => worker?.end()));
  const [file, worker] = await Promise.all([coming, staff]);
  const manifest = worker && (await within(5000, worker.send({file}).catch(() => null)));
  if (worker && manifest) {
    stop = worker.end;
    run = (text) => worker.send({text});
  } else {
    worker?.end();
    const model = (await import(core)).open(file);
    run = async (text) => model.predict(text);
  }
};

const idle = () =>
  new Promise((done) => {
    const calm = () => ('requestIdleCallback' in window ? requestIdleCallback(done, {timeout: 50}) : setTimeout(done, 1));
    document.readyState === 'complete' ? calm() : addEventListener('load', calm, {once: true});
  });

const begin = () =>
  (begun ??= start()
    .then(
      () => granted(),
      () => false,
    )
    .then((good) => {
      decided(good);
      if (good) document.querySelectorAll('[data-arauto-listen]').forEach(listen);
      return good;
    }));

/** @type {Predict} */
export const predict = async (text, ms = 250) => {
  if (!granted() || !run) return null;
  const began = performance.now();
  const said = await within(ms, run(String(text).slice(0, 4000)).catch(() => null));
  if (said) spent = [...spent, performance.now() - began].slice(-500);
  else late++;
  return said;
};

/** @type {Effort} */
export const effort = () => {
  const rising = [...spent].sort((a, b) => a - b), n = rising.length;
  return {predictions: n, late, p50: rising[n >> 1], p95: rising[Math.floor(0.95 * n)]};
};

// ── What is known here, and what is done with it ─────────────────────────────────────────────────────────────────────
/** @type {Known} */ let known = {mood: null, vector: [], seen: 0};

/** @type {() => Known} */
export const inferred = () => structuredClone(known);

/** @type {() => void} */
export const erase = () => {
  known = {mood: null, vector: [], seen: 0};
  stop();
  run = begun = undefined;
  stop = () => {};
  welcome();
};

/** @type {Browse} */
export const browsed = (vector) => {
  if (!granted()) return;
  known.vector = vector.map((x, i) => 0.7 * (known.vector[i] ?? 0) + 0.3 * x);
  known.seen++;
  welcome();
};

/** @type {Rank} */
export const rank = (offers, {context = [], warmth = 0.2, floor = 0.05, shares: even} = {}) => {
  const scores = offers.map(({vector = [], weights = [], prior = 0}) => {
    const like = vector.reduce((sum, x, i) => sum + x * (known.vector[i] ?? 0), 0);
    return prior + like + weights.reduce((sum, w, i) => sum + w * (context[i] ?? 0), 0);
  });
  const top = Math.max(...scores), odds = scores.map((s) => Math.exp((s - top) / warmth));
  const whole = odds.reduce((a, b) => a + b, 0);
  const shares = odds.map((o, i) => floor * (even?.[i] ?? 1 / offers.length) + ((1 - floor) * o) / whole);
  let left = crypto.getRandomValues(new Uint32Array(1))[0] / 2 ** 32;
  let pick = shares.findIndex((share) => (left -= share) < 0);
  if (pick < 0) pick = offers.length - 1;
  return {pick, propensity: shares[pick], shares};
};

const welcome = () =>
  document.querySelectorAll('[data-arauto-greeting]').forEach((slot) => {
    const mine = [...slot.querySelectorAll('template')];
    const fits = mine.find(({dataset: {mood, seen}}) => (!mood || mood === known.mood) && (!seen || known.seen >= +seen));
    slot.querySelectorAll('[data-arauto-welcome]').forEach((e) => e.remove());
    for (const e of slot.children) if (e instanceof HTMLElement && e.localName !== 'template') e.hidden = !!fits;
    if (!fits) return;
    const shown = document.createElement('span');
    shown.dataset.arautoWelcome = fits.dataset.mood ?? '';
    shown.append(fits.content.cloneNode(true));
    slot.append(shown);
  });

/** @type {Listen} */
export const listen = (field) => {
  if (!(field instanceof HTMLInputElement || field instanceof HTMLTextAreaElement) || field.dataset.arautoHeard) return;
  field.dataset.arautoHeard = '';
  let busy = false, again = false;
  const hearIt = async () => {
    if (busy) return void (again = true);
    busy = true;
    const found = await predict(field.value);
    if (found && granted()) {
      known.mood = found.label;
      welcome();
      field.dispatchEvent(new CustomEvent('arauto-mood', {bubbles: true, detail: {mood: found.label}}));
    }
    busy = false;
    if (again) {
      again = false;
      hearIt();
    }
  };
  field.addEventListener('input', hearIt);
  if (field.value) hearIt();
};

hear();
