// A map of what a GAN can draw: four seeds at the corners, and between them the pictures of their mixtures.
import { html, useEffect, useRef, useState } from '../../lib/html.js';
import { randomSeed } from '../../lib/format.js';
import { outcome, submit } from '../../lib/jobs.js';
import { Icon } from '../../lib/icons.js';
import { once } from '../../lib/once.js';
import { kept, useValue } from '../../lib/state.js';
import { Progress } from '../../ui/controls.js';
import { complain, toast } from '../../ui/toast.js';

/** Pictures a side of the map. */
const SIDE = 5;
/** Places that the walk is cut into between two pictures of the map. */
const FINE = 4;

const corners = kept('map', { seeds: [11, 22, 33, 44] });

/** Weights of the corners at a place: top left, top right, bottom left, bottom right; `x` and `y` are 0 to 1. */
export function weights(x, y) {
  return [(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y];
}

/** The request for a mixture: `parts` are `[seed, weight]`. */
export function mixture(parts, { model, prompt, truncation }) {
  const mix = parts.map(([seed, weight]) => ({ seed, weight: Number(weight.toFixed(4)) })).filter((part) => part.weight > 0);
  return { medium: 'image', model, seed: parts[0][0], mix, ...(prompt.trim() && { prompt: prompt.trim() }), ...(truncation != null && { truncation }) };
}

/** A map is no work: its pictures are not kept. */
const picture = async (request) => (await once(request)).url;

const between = (index) => index / (SIDE - 1);
const fine = (value) => Math.round(value * (SIDE - 1) * FINE) / ((SIDE - 1) * FINE);

const requestAt = (seeds, x, y, values) => mixture(weights(x, y).map((weight, index) => [seeds[index], weight]), values);

/** `kept` is told the job of a picture that shall stay in the library. */
export function LatentMap({ model, prompt, truncation, kept: show }) {
  const { seeds } = useValue(corners);
  const [cells, setCells] = useState([]);
  const [place, setPlace] = useState([0.5, 0.5]);
  const [view, setView] = useState(null);
  const [error, setError] = useState('');
  const stage = useRef();
  const values = { model: model.name, prompt, truncation };
  const key = JSON.stringify([seeds, values]);

  useEffect(() => {
    const controller = new AbortController();
    setCells([]);
    setError('');
    const fillIn = async () => {
      // The corners first, then what lies between.
      const all = Array.from({ length: SIDE * SIDE }, (_, index) => index);
      const corner = (index) => [0, SIDE - 1].includes(index % SIDE) && [0, SIDE - 1].includes(Math.floor(index / SIDE));
      all.sort((a, b) => corner(b) - corner(a));
      const next = async () => {
        while (all.length && !controller.signal.aborted) {
          const index = all.shift();
          const url = await picture(requestAt(seeds, between(index % SIDE), between(Math.floor(index / SIDE)), values));
          if (!controller.signal.aborted) setCells((old) => Object.assign([...old], { [index]: url }));
        }
      };
      await Promise.all([next(), next()]);
    };
    // Words that are being typed are not drawn letter by letter.
    const timer = setTimeout(() => fillIn().catch((problem) => problem.name !== 'AbortError' && setError(problem.message)), 500);
    return () => { clearTimeout(timer); controller.abort(); };
  }, [key]);

  const [x, y] = place;
  const [fx, fy] = [fine(x), fine(y)];
  const complete = cells.filter(Boolean).length === SIDE * SIDE;
  useEffect(() => {
    if (!complete) return undefined;
    let here = true;
    const timer = setTimeout(() => picture(requestAt(seeds, fx, fy, values)).then((url) => here && setView(url), () => {}), 60);
    return () => { here = false; clearTimeout(timer); };
  }, [fx, fy, complete, key]);

  const go = (event) => {
    const box = stage.current.getBoundingClientRect();
    const inside = (value) => Math.min(1, Math.max(0, value));
    const half = 1 / (2 * SIDE);
    const along = (value) => inside((value - half) / (1 - 2 * half));
    setPlace([along((event.clientX - box.left) / box.width), along((event.clientY - box.top) / box.height)]);
  };
  const keys = (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const size = 1 / ((SIDE - 1) * FINE);
    setPlace(([px, py]) => [Math.min(1, Math.max(0, px + step[0] * size)), Math.min(1, Math.max(0, py + step[1] * size))]);
  };
  const near = cells[Math.round(y * (SIDE - 1)) * SIDE + Math.round(x * (SIDE - 1))];
  const keepIt = async () => {
    const job = await submit(requestAt(seeds, fx, fy, values));
    const done = await outcome(job.id);
    if (done.state === 'done') toast('It is in the library.', { action: show && { label: 'Show', run: () => show(job.id) } });
  };
  const setSeed = (index) => (event) => corners.change({ seeds: seeds.map((old, at) => (at === index ? Number(event.target.value.replace(/\D/g, '')) : old)) });
  const half = 100 / (2 * SIDE);
  const spot = { left: `${half + x * (100 - 2 * half)}%`, top: `${half + y * (100 - 2 * half)}%` };
  const names = ['Top left', 'Top right', 'Bottom left', 'Bottom right'];
  return html`<div class="map-page">
    <div class="map-left"><div class="map" ref=${stage} tabindex="0" role="application" aria-label="Map; arrow keys walk" onKeyDown=${keys}
        onPointerDown=${(event) => { event.currentTarget.setPointerCapture(event.pointerId); go(event); }} onPointerMove=${(event) => (event.buttons || event.pointerType === 'mouse') && go(event)}>
      ${Array.from({ length: SIDE * SIDE }, (_, index) => (cells[index] ? html`<img key=${index} src=${cells[index]} alt="" class="pixels" draggable="false" />` : html`<i key=${index}></i>`))}
      <b class="map-spot" style=${spot}></b></div>
      ${!complete && !error && html`<${Progress} share=${cells.filter(Boolean).length / SIDE ** 2} label="How much of the map is drawn" />`}
      ${error && html`<p class="bad" role="alert">${error}</p>`}
    </div>
    <div class="map-right"><figure class="map-view">${(view && complete) || near ? html`<img class="pixels" src=${complete && view ? view : near} alt="The picture at this place" />` : html`<div class="blank"></div>`}</figure>
      <p class="mix">${weights(fx, fy).map((weight, index) => html`<span key=${index}><i style=${{ opacity: 0.15 + weight * 0.85 }}></i>${seeds[index]}: ${Math.round(weight * 100)} %</span>`)}</p>
      <button type="button" onClick=${() => keepIt().catch(complain)} disabled=${!complete}><${Icon} name="library" size="17" />Keep this picture</button>
      <div class="seeds">${seeds.map((seed, index) => html`<label key=${index}><span>${names[index]}</span><input type="text" inputmode="numeric" value=${seed} onChange=${setSeed(index)} /></label>`)}</div>
      <button type="button" onClick=${() => corners.change({ seeds: seeds.map(randomSeed) })}><${Icon} name="dice" size="17" />Other corners</button>
      <p class="hint">Each corner is a seed. Between them the vectors that the network draws from are mixed, not the pixels.</p></div>
  </div>`;
}
