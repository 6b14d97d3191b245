// Arauto in the page. What each export does: arauto.types.d.ts.

const script = [...document.scripts].find((s) => s.src === import.meta.url);
const api = new URL('v1/', import.meta.url);
const gpc = navigator.globalPrivacyControl;

const P = 'arauto:';
let key = script?.dataset.key;
let granted = false;
/** @type {Told[]} */ let loose = []; // waiting in memory
/** @type {Told[]} */ let fresh = []; // waiting in storage, made here
/** @type {Decision[]} */ let seen = []; // shown here
/** @type {Asked} */ const asked = {};
let timer = 0;
let tries = 0;
let back = 0; // when the page was last shown again

/** @type {Kept} */
const kept = (use) => {
  try {
    return use(localStorage);
  } catch {}
};
/** @type {Load} */
const load = (name) => kept((s) => JSON.parse(s[P + name]));
/** @type {Save} */
const save = (name, value) => kept((s) => (s[P + name] = JSON.stringify(value)));
/** @type {Drop} */
const drop = (name) => kept((s) => s.removeItem(P + name));
// A UUIDv7 begins with 0 until the year 2527.
const waiting = () => kept((s) => Object.keys(s).filter((k) => k.startsWith(P + 0)).sort().map((k) => k.slice(7))) ?? [];

const uuid = (head = 'xxxxxxxx-xxxx-4') =>
  (head + 'xxx-axxx-xxxxxxxxxxxx').replace(/x/g, () => (crypto.getRandomValues(new Uint8Array(1))[0] % 16).toString(16));
const uuid7 = () => uuid(`0${Date.now().toString(16)}-7`.replace(/.{8}/, '$&-'));

const visitor = () => {
  if (!granted) return;
  save('visitor', load('visitor') ?? uuid());
  return load('visitor');
};

/** @type {Bare} */
const bare = ({visitor, order, item, props, ...rest}) => rest;

/** @type {Emit} */
const emit = (type, facts, of) => {
  const {receipt, chance} = of ?? {};
  const event = {type, id: uuid7(), at: Date.now(), receipt, chance, visitor: of ? of.visitor : visitor(), ...facts};
  if (granted && type !== 'web_vital' && save(event.id, event)) {
    fresh.push(event);
    waiting().slice(0, -200).forEach(drop);
  } else loose = [...loose, granted ? event : bare(event)].slice(-200);
  later(1000);
};

/** @type {Pack} */
const pack = (data) => JSON.stringify({key, consent: granted ? 'granted' : 'denied', ...data});
/** @type {Post} */
const post = (path, data, ms) => {
  const body = pack(data);
  const keepalive = body.length < 5e4;
  return fetch(api + path, {method: 'POST', body, keepalive, credentials: 'omit', signal: AbortSignal.timeout(ms)});
};

/** @type {Later} */
const later = (ms) => (timer ||= setTimeout(flush, ms));
const flush = async () => {
  clearTimeout(timer);
  timer = 0;
  const send = async () => {
    const events = [...loose, ...(granted ? waiting().map(load) : [])].slice(0, 50);
    if (!events[0]) return;
    const {status} = await post('events', {events}, 1e4);
    if (status === 429 || status > 499) throw status;
    const sent = events.map((e) => e.id);
    loose = loose.filter((e) => !sent.includes(e.id));
    fresh = fresh.filter((e) => !sent.includes(e.id));
    sent.forEach(drop);
    if (events[49]) later(9);
    await new Promise((done) => setTimeout(done, 200)); // until other tabs see what was dropped
  };
  try {
    // one tab at a time sends
    await (navigator.locks?.request('arauto', send) ?? send());
    tries = 0;
  } catch {
    later(Math.min(6e4, 1000 * 2 ** tries++) * (0.5 + Math.random()));
  }
};

// What is stored stays until it is confirmed; its id makes repeats harmless.
const leave = () => {
  late.forEach((pull) => pull());
  measure(Object.keys(vitals));
  const events = [...loose, ...fresh].slice(-99);
  if (events[0] && navigator.onLine && navigator.sendBeacon(api + 'events', pack({events}))) loose = fresh = [];
};

/** @type {Decide} */
export const decide = async (campaign, choose, candidates) => {
  try {
    const touch = matchMedia('(pointer:coarse)').matches;
    const device = touch ? (Math.min(screen.width, screen.height) < 600 ? 'mobile' : 'tablet') : 'desktop';
    const who = visitor();
    const answer = await post(choose ? 'candidates' : 'decide', {campaign, visitor: who, device, candidates}, 1500);
    let decision = answer.ok && (await answer.json());
    if (choose) {
      const {pick, propensity} = choose(decision.candidates, decision);
      decision = {...decision.candidates[pick], chance: propensity};
    }
    return decision.copy.title ? {...decision, visitor: who, at: Date.now()} : null;
  } catch {
    return null;
  }
};

/** @type {Recall} */
const recall = () => [...((granted && load('shown')) || []), ...seen].filter((d) => d.at > Date.now() - 6048e5);
/** @type {Remember} */
const remember = (decision) => {
  if (!seen.includes(decision)) seen.push(decision);
  if (granted) save('shown', [...recall().filter((d) => d.receipt !== decision.receipt), decision].slice(-20));
};

/** @type {Watch} */
export const watch = (slot, decision) => {
  /** @type {Happened} */
  const happened = (type) => {
    remember(decision);
    emit(type, {}, decision);
  };
  let wait = 0;
  const look = () => {
    wait = setTimeout(() => {
      if (document.hidden || Date.now() - back < 1000) return look();
      eye.disconnect();
      happened('impression');
      measure(['TTFB', 'FCP', 'load']);
    }, 1000);
  };
  const eye = new IntersectionObserver((all) => {
    clearTimeout(wait);
    if ((all.pop()?.intersectionRatio ?? 0) >= 0.5) look();
  }, {threshold: 0.5});
  eye.observe(slot);
  slot.addEventListener('click', ({target}) => {
    if (target instanceof Element && target.closest('a,button,[data-arauto-cta]')) happened('click');
  });
};

/** @type {Render} */
export const render = (slot, decision) => {
  const {copy, link} = decision;
  const parts = Object.entries({title: copy.title, description: copy.description, cta: decision.call_to_action});
  const safe = /^https?:\/\//i.test(link);
  let filled = false;
  /** @type {Fill} */
  const fill = (root) => {
    for (const [part, text] of parts)
      root.querySelectorAll(`[data-arauto-${part}]`).forEach((e) => {
        e.textContent = text;
        if (safe && e instanceof HTMLAnchorElement) e.href = link;
        filled = true;
      });
    if (root !== slot) slot.replaceChildren(root);
  };
  fill(slot.querySelector('template')?.content ?? slot);
  if (!filled) {
    const box = document.createElement(safe ? 'a' : 'div');
    box.style.display = 'grid';
    if (safe) box.setAttribute('href', link);
    for (const [part] of parts) {
      const e = document.createElement(part === 'title' ? 'b' : 'span');
      e.setAttribute('data-arauto-' + part, '');
      box.append(e);
    }
    fill(box);
  }
  slot.dataset.arautoVariant = decision.variant;
  watch(slot, decision);
};

/** @type {Scan} */
export const scan = () =>
  document.querySelectorAll('[data-arauto]').forEach(async (slot) => {
    if (!(slot instanceof HTMLElement)) return;
    const slug = slot.dataset.arauto ?? '';
    const decision = await (asked[slug] ??= decide(slug));
    if (decision && !slot.dataset.arautoVariant) render(slot, decision);
  });

/** @type {Track} */
export const track = (type, {campaign, ...facts} = {}) => {
  const of = recall().filter((d) => !campaign || d.campaign === campaign).pop();
  if (facts.value) facts.value = (+facts.value).toFixed(2);
  if (/^(purchase|rating|cart|view|web_vital)$/.test(type)) emit(type, facts, of);
  else emit('custom', {name: type, props: facts}, of);
};

/** @type {Consent} */
export const consent = (choice) => {
  granted = choice === 'granted' && !gpc;
  if (choice && !gpc) save('consent', choice);
  else drop('consent');
  if (granted) seen.forEach(remember);
  else {
    ['visitor', 'shown', ...waiting()].forEach(drop);
    seen.forEach((d) => delete d.visitor);
    loose = [...loose, ...fresh].map(bare);
    fresh = [];
  }
  later(1000);
};

/** @type {Forget} */
export const forget = async () => {
  const gone = load('visitor') ?? load('erase');
  consent('denied');
  loose = [];
  seen = [];
  if (!gone) return true;
  save('erase', gone);
  return fetch(`${api}visitors/${gone}?key=${key}`, {method: 'DELETE', credentials: 'omit'}).then(
    ({ok, status}) => (ok || status === 404) && !drop('erase'),
    () => false,
  );
};

/** @type {Start} */
export const start = (options) => {
  if (!(key = options.key ?? key)) return;
  if (load('erase')) forget();
  else consent(options.consent === 'denied' ? 'denied' : (load('consent') ?? options.consent));
  scan();
};

/** @type {Vitals} */ const vitals = document.hidden ? {LCP: -1, FCP: -1, load: -1} : {CLS: 0};
/** @type {Late} */ const late = [];
/** @type {Measure} */
const measure = (metrics) => {
  for (const metric of metrics) {
    const of = seen.find((d) => !d.own);
    if (!of || !(vitals[metric] >= 0)) continue;
    emit('web_vital', {metric, reading: +vitals[metric].toFixed(4)}, of);
    vitals[metric] = -1;
  }
};
/** @type {Observe} */
const observe = (type, each) => {
  try {
    const eye = new PerformanceObserver((list) => list.getEntries().forEach(each));
    eye.observe({type, buffered: true, durationThreshold: 40});
    late.push(() => eye.takeRecords().forEach(each));
  } catch {}
};
/** @type {Worst} */
const worst = (metric, reading) => {
  if (vitals[metric] !== -1) vitals[metric] = Math.max(vitals[metric] ?? 0, reading);
};
observe('navigation', (e) => {
  worst('TTFB', e.responseStart);
  worst('load', e.loadEventEnd);
});
observe('paint', (e) => worst('FCP', e.startTime));
observe('largest-contentful-paint', (e) => worst('LCP', e.startTime));
['event', 'first-input'].forEach((type) => observe(type, (e) => e.interactionId && worst('INP', e.duration)));
let [sum, first, last] = [0, 0, 0];
observe('layout-shift', (e) => {
  if (e.hadRecentInput) return;
  if (e.startTime - last > 1000 || e.startTime - first > 5000) [sum, first] = [0, e.startTime];
  last = e.startTime;
  worst('CLS', (sum += e.value));
});

addEventListener('pagehide', leave);
addEventListener('online', flush);
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return leave();
  back = Date.now();
  later(1000);
});
addEventListener('storage', (e) => {
  if (!e.key || e.key === P + 'consent') consent(load('consent'));
});
start({consent: script?.dataset.consent});
