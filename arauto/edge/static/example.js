// The example page: shows the mood, counts requests, and ranks three offers by what was looked at.
import {browsed, erase, inferred, rank, ready} from './arauto-edge.js';

const OFFERS = [
  {name: 'Relógio de corrida', vector: [1, 0, 0]},
  {name: 'Cafeteira italiana', vector: [0, 1, 0]},
  {name: 'Livro de contos', vector: [0, 0, 1]},
];
/** @type {Record<string, string>} */
const WORDS = {negative: 'insatisfeito', neutral: 'neutro', positive: 'satisfeito'};
/** @type {(id: string) => HTMLElement} */
const find = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

const order = () => {
  const {pick} = rank(OFFERS);
  [...find('offers').children].forEach((e, place) => e.toggleAttribute('data-first', place === pick));
};
for (const {name, vector} of OFFERS) {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = name;
  button.onclick = () => {
    browsed(vector);
    order();
  };
  find('offers').append(button);
}
document.addEventListener('arauto-mood', () => {
  const {mood} = inferred();
  find('mood').textContent = mood ? WORDS[mood] : 'não sei';
});
find('forget').onclick = () => {
  erase();
  find('mood').textContent = 'nada';
};
ready.then((good) => {
  if (!good) find('mood').textContent = 'sem modelo: vale a saudação padrão';
  let count = 0;
  new PerformanceObserver((list) => {
    count += list.getEntries().length;
    find('requests').textContent = String(count);
  }).observe({type: 'resource'});
});
