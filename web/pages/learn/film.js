// The space-time model: all frames out of noise at once, what changes between them, and the loop.
import { html, useEffect, useRef, useState } from '../../lib/html.js';
import { count, randomSeed } from '../../lib/format.js';
import { Icon } from '../../lib/icons.js';
import { models, serving } from '../../lib/models.js';
import { useValue } from '../../lib/state.js';
import { Choice, Field, Progress } from '../../ui/controls.js';
import { Steps } from '../../ui/steps.js';
import { usePlace } from './diffusion.js';
import { Lesson, Missing, Numbers, Part, Try, took, useFrames, useMaking } from './lesson.js';

export const filmer = (known) => serving(known, 'video')[0];

/** Differences are shown so many times as strong. */
const STRONGER = 3;

/** The frames of a strip, which lie side by side and are square: `{bitmap, count, side}`. */
function useStrip(source) {
  const [strip, setStrip] = useState(null);
  useEffect(() => {
    if (!source) { setStrip(null); return undefined; }
    let here = true;
    const image = new Image();
    image.onload = () => here && setStrip({ bitmap: image, side: image.naturalHeight, count: Math.round(image.naturalWidth / image.naturalHeight) });
    image.src = source;
    return () => { here = false; };
  }, [source]);
  return strip;
}

/** What changes from each frame to the next, the last to the first included. */
function Changes({ strip }) {
  const canvas = useRef();
  useEffect(() => {
    const { bitmap, side, count } = strip;
    const context = canvas.current.getContext('2d', { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    const frames = Array.from({ length: count }, (_, at) => context.getImageData(at * side, 0, side, side));
    frames.forEach((frame, at) => {
      const next = frames[(at + 1) % count].data;
      const picture = context.createImageData(side, side);
      for (let i = 0; i < next.length; i += 4) {
        for (let c = 0; c < 3; c += 1) picture.data[i + c] = Math.min(255, STRONGER * Math.abs(next[i + c] - frame.data[i + c]));
        picture.data[i + 3] = 255;
      }
      context.putImageData(picture, at * side, 0);
    });
  }, [strip]);
  return html`<canvas ref=${canvas} class="pixels way" width=${strip.side * strip.count} height=${strip.side} role="img" aria-label="What changes from frame to frame"></canvas>`;
}

/** The frames of a strip one after another, for ever. */
function Loop({ strip, rate, playing }) {
  const canvas = useRef();
  const at = useRef(0);
  useEffect(() => {
    const { bitmap, side, count } = strip;
    const context = canvas.current.getContext('2d');
    const show = () => {
      at.current = (at.current + 1) % count;
      context.drawImage(bitmap, at.current * side, 0, side, side, 0, 0, side, side);
    };
    show();
    const timer = playing && setInterval(show, 1000 / rate);
    return () => clearInterval(timer);
  }, [strip, rate, playing]);
  return html`<canvas ref=${canvas} class="pixels loop" width=${strip.side} height=${strip.side} role="img" aria-label="The frames as a film"></canvas>`;
}

const wantsRest = () => matchMedia('(prefers-reduced-motion: reduce)').matches;

/** A clip with the way to it. `small` leaves out what needs room. */
export function Emerging({ making, small }) {
  const frames = useFrames(making);
  const [at, setAt] = usePlace(frames, making.going);
  const [kind, setKind] = useState('image');
  const [playing, setPlaying] = useState(!wantsRest());
  const frame = frames[Math.min(at, frames.length - 1)];
  const strip = useStrip(frame?.[kind] ?? frame?.image);
  const { found } = making;
  const rate = strip && found?.timings?.seconds ? strip.count / found.timings.seconds : 5;
  if (!strip) return making.going ? html`<${Progress} share=${null} label="The clip is on its way" />` : null;
  return html`${making.going && html`<${Progress} share=${frame.done / frame.total} label="How far the clip is" />`}
    <div class="film"><${Loop} strip=${strip} rate=${rate} playing=${playing} />
      ${found && !making.going && html`<video src=${found.url} controls=${!small} loop autoplay=${!wantsRest()} muted playsinline aria-label="The finished clip"></video>`}</div>
    <div class="strips" tabindex="0" role="group" aria-label="Frames side by side"><img class="pixels way" src=${frame[kind] ?? frame.image} alt=${`${strip.count} frames after step ${frame.done}`} />
      ${!small && html`<${Changes} strip=${strip} />`}</div>
    ${!making.going && html`<${Steps} frames=${frames} at=${at} setAt=${setAt} />`}
    ${!small && html`<div class="row"><${Choice} label="Which frames" value=${kind} change=${setKind} options=${[['image', 'What it thinks'], ['noisy', 'What it reads']]} />
      <button type="button" class="quiet" aria-pressed=${!playing} onClick=${() => setPlaying(!playing)}><${Icon} name=${playing ? 'pause' : 'play'} size="17" />${playing ? 'Stop the loop' : 'Play the loop'}</button></div>`}`;
}

function Live({ model }) {
  const [prompt, setPrompt] = useState('a beating red heart');
  const [seed, setSeed] = useState(3);
  const making = useMaking();
  const submit = (event) => { event.preventDefault(); if (prompt.trim() && !making.going) making.run({ medium: 'video', model: model.name, prompt: prompt.trim(), seed }); };
  const { found } = making;
  const strip = useStrip(found?.frames.at(-1)?.image);
  return html`<${Part} title="Frames out of noise">
    <form class="row" aria-label="What to film" onSubmit=${submit}><${Field} label="What moves, and how">${(id) => html`<input id=${id} type="text" data-main value=${prompt} onInput=${(event) => setPrompt(event.target.value)} />`}<//>
      <button class="primary bottom" disabled=${making.going || !prompt.trim()}><${Icon} name="play" size="17" />Make a clip</button>
      <button type="button" class="bottom" disabled=${making.going} onClick=${() => setSeed(randomSeed())}><${Icon} name="dice" size="17" />Seed ${seed}</button></form>
    <${Emerging} making=${making} />
    ${found && html`<p class="hint">Left, or above: the frames as the model has them at this step, in a loop. Beside it the finished clip: every frame enlarged, and frames between them computed from how things move. Below: all frames side by side, and under each what changes to the next, ${STRONGER} times as strong.</p>`}
    <p>The model works as in the lesson on diffusion, with one thing added: <i>time</i>. The frames lie there as noise, all at once, and in every layer each place looks along the frames: what was here before, what comes after? So they come to show one thing that moves, and not many pictures of it.
      Because the last frame looks at the first one too, the clip has no seam.</p>
    <${Numbers} of=${[['Parameters', count(model.parameters)], ['Frames drawn', strip?.count], ['Each', strip && `${strip.side} × ${strip.side}`], ['Steps', found?.recipe.steps], ['In the clip', found && `${found.recipe.frames} frames at ${found.recipe.fps} a second`], ['Time', took(found)?.replace('made in ', '')]]} /><//>`;
}

export function Page() {
  const known = useValue(models);
  const model = filmer(known);
  if (known && !model) return html`<${Missing} id="film" what="makes clips" />`;
  return html`<${Lesson} id="film" lead="A clip is not drawn frame by frame. It comes out of noise as a whole, so that its frames belong together.">
    ${model && html`<${Live} model=${model} />`}
    <${Try} tries=${['Go back to step 1 and play the loop: is there movement already?', 'Make “a spinning pizza” and “a beating red heart”. Which stays itself?', 'Look at “what it reads” in the first steps: part of the noise is the same in all frames.']}
      look=${['Movement is decided early, like the place of things in a picture.', 'In the row of changes, only what moves lights up. A flicker over the whole thing is a fault.', 'The last change leads back to the first frame. It should be no larger than the others.']} /><//>`;
}
