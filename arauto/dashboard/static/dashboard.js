// Keeps the numbers fresh: the part of the page marked `data-live` is pushed by the server whenever it changes
// (server-sent events) and laid over what is there, node by node, so that focus, scrolling, selection, open tables and
// half-filled forms stay. Where no stream comes through, the part is asked for every two seconds instead.

const EVERY = 2000;
const SILENCE = 25000; // the server says every ten seconds that it is there
const part = /** @type {HTMLElement | null} */ (document.querySelector('[data-live]'));
const bar = /** @type {HTMLElement | null} */ (document.querySelector('[data-live-bar]'));
const status = bar?.querySelector('[role=status]');
const button = bar?.querySelector('button');
let tag = '';
let paused = false;
let since = Date.now();
/** @type {EventSource | null} */
let stream = null;

/** Make `old` like `fresh`. @param {Element} old @param {Element} fresh */
function lay(old, fresh) {
  for (const {name, value} of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const {name} of [...old.attributes]) if (!fresh.hasAttribute(name) && name !== 'open') old.removeAttribute(name);
  const coming = [...fresh.childNodes];
  coming.forEach((node, place) => {
    const here = old.childNodes[place];
    if (!here) old.append(node);
    else if (here instanceof Element && node instanceof Element && here.tagName === node.tagName) lay(here, node);
    else if (here instanceof Text && node instanceof Text) here.data === node.data || (here.data = node.data);
    else here.replaceWith(node);
  });
  while (old.childNodes.length > coming.length) old.lastChild?.remove();
}

/** @param {'live' | 'stale' | 'off'} state */
function say(state) {
  if (!bar || !status) return;
  const {liveWord = '', stale = '', paused: off = ''} = bar.dataset;
  const when = new Date(since).toLocaleTimeString(document.documentElement.lang);
  const words = {live: liveWord, stale: stale.replace('{when}', when), off}[state];
  bar.className = `livebar ${state}`;
  if (status.textContent !== words) status.textContent = words;
}

/** @param {string} text */
function show(text) {
  if (!part || paused) return;
  const fresh = new DOMParser().parseFromString(text, 'text/html').body;
  for (const {name, value} of part.attributes) fresh.setAttribute(name, value);
  lay(part, fresh);
  adorn();
}

/** Ask once; whether that went well. */
async function ask() {
  try {
    const answer = await fetch(part?.dataset.live ?? '', {headers: tag ? {'If-None-Match': `"${tag}"`} : {}, signal: AbortSignal.timeout(10000)});
    if (answer.status === 401) location.assign('/login');
    if (answer.status !== 304) {
      if (!answer.ok) throw new Error(String(answer.status));
      show(await answer.text());
      tag = (answer.headers.get('ETag') ?? '').replaceAll('"', '');
    }
    since = Date.now();
    if (!paused) say('live');
    return true;
  } catch {
    if (!paused) say('stale');
    return false;
  }
}

/** Have changes pushed for as long as somebody looks; a page in the background holds no connection. */
function follow() {
  stream?.close();
  stream = null;
  if (!part?.dataset.live || paused || document.hidden) return;
  const own = stream = new EventSource(part.dataset.live);
  const hear = () => { since = Date.now(); say('live'); };
  own.onopen = hear;
  own.addEventListener('beat', hear);
  own.onmessage = (message) => {
    tag = message.lastEventId;
    show(message.data);
    hear();
  };
  own.onerror = () => {
    // The browser tries again by itself unless the server refused.
    if (own !== stream || paused) return;
    const closed = own.readyState === EventSource.CLOSED;
    ask().then(() => closed && own === stream && setTimeout(follow, EVERY));
  };
}

button?.addEventListener('click', () => {
  paused = !paused;
  button.textContent = (paused ? bar?.dataset.resume : bar?.dataset.pause) ?? '';
  say(paused ? 'off' : 'live');
  follow();
});
if (bar) bar.hidden = false;
if (part) {
  setInterval(() => {
    if (paused || document.hidden) return;
    if (!navigator.onLine) say('stale');
    else if (stream && Date.now() - since > SILENCE) {
      say('stale');
      follow();
    }
  }, EVERY);
  addEventListener('online', follow);
  document.addEventListener('visibilitychange', follow);
  addEventListener('pagehide', () => stream?.close());
  addEventListener('pageshow', (event) => { if (event.persisted) follow(); });
  follow();
}

// On a narrow screen the navigation folds away behind its button.
const menu = /** @type {HTMLButtonElement | null} */ (document.querySelector('.menu'));
const frame = document.querySelector('.frame');
if (menu && frame) {
  menu.hidden = false;
  frame.classList.add('folded');
  menu.addEventListener('click', () => {
    const open = !frame.classList.toggle('folded');
    menu.setAttribute('aria-expanded', String(open));
  });
}

// A form marked `data-keep` is kept as it is typed: sent there, and the page that comes back, with every fault beside its
// field, laid over this one. What was typed meanwhile stays.
/** @type {Map<HTMLFormElement, number>} */
const waiting = new Map();
let asked = 0;

/** @param {HTMLFormElement} form @param {boolean} [leaving] */
async function keep(form, leaving = false) {
  waiting.delete(form);
  const own = ++asked;
  const body = new URLSearchParams();
  for (const [name, value] of new FormData(form)) if (typeof value === 'string') body.append(name, value);
  try {
    const answer = await fetch(form.dataset.keep ?? '', {method: 'POST', body, keepalive: leaving});
    if (new URL(answer.url).pathname === '/login') location.assign('/login');
    const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html').querySelector('.part');
    const old = document.querySelector('.part');
    if (own === asked && !waiting.size && answer.ok && fresh && old) { lay(old, fresh); adorn(); }
  } catch { /* It is sent again with the next key, or when the form is. */ }
}

document.addEventListener('input', (event) => {
  const form = event.target instanceof Element ? event.target.closest('form') : null;
  if (!form?.dataset.keep) return;
  clearTimeout(waiting.get(form));
  waiting.set(form, window.setTimeout(() => keep(form), 400));
});
document.addEventListener('submit', (event) => {
  for (const timer of waiting.values()) clearTimeout(timer);
  waiting.clear();
  asked += 1;
  if (event.target instanceof HTMLFormElement && event.target.dataset.remember) sessionStorage.removeItem(event.target.dataset.remember);
});
addEventListener('pagehide', () => { for (const form of [...waiting.keys()]) keep(form, true); });

/** What only a script can add: the address of this server, a button that copies, what was typed before a reload. */
function adorn() {
  for (const code of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[data-here]'))) {
    const here = code.dataset.here ?? '';
    if (code.textContent?.includes(here) && here !== location.origin) code.textContent = code.textContent.replaceAll(here, location.origin);
  }
  for (const path of document.querySelectorAll('[data-path]')) {
    if (path.textContent?.startsWith('/')) path.textContent = location.origin + path.textContent;
  }
  for (const copy of /** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll('[data-copy]'))) {
    if (navigator.clipboard) copy.hidden = false;
  }
}
document.addEventListener('click', async (event) => {
  const copy = event.target instanceof HTMLElement && event.target.dataset.copy ? event.target : null;
  if (!copy) return;
  await navigator.clipboard.writeText(document.getElementById(copy.dataset.copy ?? '')?.textContent ?? '');
  copy.textContent = copy.dataset.done ?? '';
});
for (const form of /** @type {NodeListOf<HTMLFormElement>} */ (document.querySelectorAll('form[data-remember]'))) {
  const field = form.querySelector('textarea'), name = form.dataset.remember ?? '';
  if (!field) continue;
  if (!field.value) field.value = sessionStorage.getItem(name) ?? '';
  field.addEventListener('input', () => sessionStorage.setItem(name, field.value));
}
adorn();
