// Lets a campaign of the server choose the model, so that a new one is released step by step, and tells how it went: the
// time to be ready, the 95th percentile of its predictions, and whether it failed. Nothing of what was written.
//
// <script type="module" src="…/edge/arauto-edge-release.js" data-campaign="edge-model"></script> stands beside
// arauto-edge.js without data-model; the campaign's variants have the models' file names as titles.

import {decide, track, watch} from '../arauto.js';
import {effort, load, ready} from './arauto-edge.js';

const tag = [...document.scripts].find((s) => s.src === import.meta.url);
const campaign = tag?.dataset.campaign ?? 'edge-model';
const decision = await decide(campaign);
load(decision?.copy.title ?? tag?.dataset.model ?? '');

/** Half visible for a good second: by then the impression is counted, and more can be told of it. @type {Shown} */
const shown = (slot) =>
  new Promise((done) => {
    let wait = 0;
    const look = (/** @type {IntersectionObserverEntry[]} */ all) => {
      clearTimeout(wait);
      if ((all.pop()?.intersectionRatio ?? 0) >= 0.5) wait = setTimeout(done, 1500);
    };
    new IntersectionObserver(look, {threshold: 0.5}).observe(slot);
  });

const greeting = document.querySelector('[data-arauto-greeting]');
if (decision && greeting) {
  watch(greeting, {...decision, own: true});
  const began = ready.then((good) => good && performance.now());
  await shown(greeting);
  const reading = await began;
  if (reading) track('web_vital', {campaign, metric: 'load', reading: +reading.toFixed(1)});
  else track('error', {campaign});
  const timer = setInterval(() => {
    const {predictions, late, p95 = 0} = effort();
    if (predictions + late < 5) return;
    clearInterval(timer);
    track('web_vital', {campaign, metric: 'INP', reading: +p95.toFixed(2)});
    if (late > predictions / 20) track('error', {campaign});
  }, 2000);
}
