import {consent, forget, track} from '/arauto.js';

const spoken = JSON.parse(document.body.dataset.spoken);
const by = (id) => document.getElementById(id);
const slot = by('slot');
const banner = by('consent');
const gpc = navigator.globalPrivacyControl;

function tellChoice() {
  const name = slot.dataset.arautoVariant;
  by('chosen').textContent = name ? spoken.chosen.replace('{name}', name) : spoken.default;
}
new MutationObserver(tellChoice).observe(slot, {attributeFilter: ['data-arauto-variant']});
setTimeout(tellChoice, 1600);

function chosen() {
  try {
    return localStorage.getItem('arauto:consent');
  } catch {
    return null;
  }
}
banner.hidden = Boolean(gpc || chosen());
if (gpc) by('said').textContent = spoken.gpc;
for (const [id, choice] of [['accept', 'granted'], ['reject', 'denied']]) {
  by(id).addEventListener('click', () => {
    consent(choice);
    banner.hidden = true;
    by('top').focus();
  });
}
by('change').addEventListener('click', () => {
  if (gpc) return;
  banner.hidden = false;
  by('reject').focus();
});
by('forget').addEventListener('click', async () => {
  by('said').textContent = (await forget()) ? spoken.forgotten : spoken.not_forgotten;
});

by('cart').addEventListener('click', () => {
  track('cart', {item: 'pulso-one'});
  by('sold').textContent = spoken.in_cart;
});
by('buy').addEventListener('click', () => {
  track('purchase', {value: 899, currency: 'BRL', order: `demo-${Date.now().toString(36)}`});
  by('sold').textContent = spoken.bought;
});
document.querySelectorAll('.stars input').forEach((star) =>
  star.addEventListener('change', () => {
    track('rating', {score: Number(star.value)});
    by('rated').textContent = spoken.rated;
  }),
);
