// Keeps the numbers fresh: every two seconds the part of the page marked `data-live` is fetched and laid over what is
// there, node by node, so that focus, scrolling, selection and open tables stay.

const EVERY = 2000;
const part = /** @type {HTMLElement | null} */ (document.querySelector('[data-live]'));
const bar = /** @type {HTMLElement | null} */ (document.querySelector('[data-live-bar]'));
const status = bar?.querySelector('[role=status]');
const button = bar?.querySelector('button');
let tag = '';
let paused = false;
let since = Date.now();

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

async function refresh() {
  if (!part?.dataset.live || paused || document.hidden) return;
  try {
    const answer = await fetch(part.dataset.live, {headers: tag ? {'If-None-Match': tag} : {}, signal: AbortSignal.timeout(10000)});
    if (answer.status === 401) location.assign('/login');
    if (answer.status !== 304) {
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html').body;
      fresh.setAttribute('data-live', part.dataset.live);
      lay(part, fresh);
      tag = answer.headers.get('ETag') ?? '';
    }
    since = Date.now();
    if (!paused) say('live');
  } catch {
    if (!paused) say('stale');
  }
}

button?.addEventListener('click', () => {
  paused = !paused;
  button.textContent = (paused ? bar?.dataset.resume : bar?.dataset.pause) ?? '';
  say(paused ? 'off' : 'live');
  refresh();
});
if (bar) bar.hidden = false;
document.addEventListener('visibilitychange', refresh);
(async () => {
  for (;;) {
    await new Promise((done) => setTimeout(done, EVERY));
    await refresh();
  }
})();
