// Diffusion: noise that becomes a picture, two prompts with the same noise, and guidance.
import { html, useState } from '../../lib/html.js';
import { Icon } from '../../lib/icons.js';
import { isGan, models, serving } from '../../lib/models.js';
import { useValue } from '../../lib/state.js';
import { count, randomSeed } from '../../lib/format.js';
import { Field, Progress, Range } from '../../ui/controls.js';
import { Steps } from '../../ui/steps.js';
import { Lesson, Missing, Numbers, Part, Try, took, useFrames, useMaking } from './lesson.js';

/** The first model that draws by taking noise away. */
export const painter = (known) => serving(known, 'image').find((model) => !isGan(model));

const SCALES = [1, 2, 4, 8];

/** A picture on its way, or as it is; `kind` is `image` (what the model thinks) or `noisy` (what it reads). */
export function Canvas({ frames, at, found, kind, alt }) {
  const frame = frames[Math.min(at, frames.length - 1)];
  const source = at >= frames.length && found ? found.url : frame?.[kind] ?? frame?.image;
  return source ? html`<img class="pixels" src=${source} alt=${alt} />` : html`<div class="blank"></div>`;
}

/** The place of the slider: at the end of what has come, unless somebody moved it. */
export function usePlace(frames, going) {
  const [moved, setMoved] = useState(null);
  return [going || moved == null ? (going ? Math.max(0, frames.length - 1) : frames.length) : Math.min(moved, frames.length), setMoved];
}

function Pair({ title, making, at }) {
  const frames = useFrames(making);
  return html`<div class="pair"><h3>${title}</h3><div class="pictures">
    <figure><${Canvas} frames=${frames} at=${Math.min(at, frames.length - 1)} kind="noisy" alt=${`The noisy picture of ${title}`} /><figcaption>What the model reads</figcaption></figure>
    <figure><${Canvas} frames=${frames} at=${at} found=${making.found} kind="image" alt=${`What becomes of ${title}`} /><figcaption>${at >= frames.length && making.found ? 'The work, enlarged' : 'What it thinks is in there'}</figcaption></figure></div></div>`;
}

function Two({ model }) {
  const [[first, second], setPrompts] = useState(['a red apple', 'a blue heart']);
  const [seed, setSeed] = useState(7);
  const [steps, setSteps] = useState(20);
  const [guidance, setGuidance] = useState(null);
  const [shown, setShown] = useState(['a red apple', 'a blue heart']);
  const [one, other] = [useMaking(), useMaking()];
  const going = one.going || other.going;
  const frames = useFrames(one);
  const [at, setAt] = usePlace(frames, going);
  const draw = async (event) => {
    event?.preventDefault();
    if (going || !first.trim() || !second.trim()) return;
    setAt(null);
    setShown([first.trim(), second.trim()]);
    const request = (prompt) => ({ medium: 'image', model: model.name, prompt: prompt.trim(), seed, steps, ...(guidance != null && { guidance }) });
    await Promise.all([one.run(request(first)), other.run(request(second))]);
  };
  const { recipe, width } = one.found ?? {};
  return html`<${Part} title="From noise to picture">
    <form class="stack" aria-label="Two prompts, the same noise" onSubmit=${draw}><div class="listen-options">
      <${Field} label="Prompt">${(id) => html`<input id=${id} type="text" data-main value=${first} onInput=${(event) => setPrompts([event.target.value, second])} />`}<//>
      <${Field} label="Another, with the same noise">${(id) => html`<input id=${id} type="text" value=${second} onInput=${(event) => setPrompts([first, event.target.value])} />`}<//>
      <${Range} label="Steps" min=${1} max=${50} usual=${20} value=${steps} change=${(value) => setSteps(value ?? 20)} />
      <${Range} label="Guidance" min=${1} max=${10} step=${0.5} usual=${null} value=${guidance} change=${setGuidance} /></div>
      <div class="row"><button class="primary" disabled=${going}><${Icon} name="play" size="17" />Take the noise away</button>
        <button type="button" disabled=${going} onClick=${() => setSeed(randomSeed())}><${Icon} name="dice" size="17" />Other noise (seed ${seed})</button></div></form>
    ${going && html`<${Progress} share=${frames.length ? frames.at(-1).done / frames.at(-1).total : null} label="How far the pictures are" />`}
    ${(one.found || one.job) && html`<div class="pairs"><${Pair} title=${shown[0]} making=${one} at=${at} /><${Pair} title=${shown[1]} making=${other} at=${at} /></div>
      ${!going && html`<${Steps} frames=${frames} at=${at} setAt=${setAt} />`}`}
    <p>It begins with random numbers, one for each colour of each pixel. The <i>seed</i> decides which, so the same seed is the same noise. At each step the model reads the noisy picture, how noisy it should still be, and your words.
      It answers in which direction the picture lies, and a step is taken that way. From its answer one can also tell what it thinks the whole picture will be: that is on the right.</p>
    <${Numbers} of=${[['Parameters', count(model.parameters)], ['Numbers drawn', recipe && `${recipe.size[0]} × ${recipe.size[1]} × 3`], ['Steps', recipe?.steps], ['Guidance', recipe?.guidance], ['Way of stepping', recipe?.sampler], ['Enlarged to', recipe?.upscale > 1 && `${width} pixels a side, by a second model`], ['Time', took(one.found)?.replace('made in ', '')]]} />
    <p class="hint">Large models work on <i>latents</i>: a smaller picture of numbers that another model, an autoencoder, turns into pixels at the end. This one is small enough to work on pixels.</p>
  <//>`;
}

function Scale({ model, prompt, seed, scale, begun }) {
  const making = useMaking();
  const frames = useFrames(making);
  if (begun && !making.going && !making.found) making.run({ medium: 'image', model: model.name, prompt, seed, guidance: scale });
  return html`<figure><${Canvas} frames=${frames} at=${making.going ? frames.length - 1 : frames.length} found=${making.found} kind="image" alt=${`${prompt} at guidance ${scale}`} /><figcaption>${scale}</figcaption></figure>`;
}

function Guidance({ model }) {
  const [prompt, setPrompt] = useState('a green tree');
  const [asked, setAsked] = useState(null);
  const draw = (event) => { event.preventDefault(); if (prompt.trim()) setAsked(prompt.trim()); };
  return html`<${Part} title="Guidance: how strongly the words count">
    <p>With guidance above 1 the model is asked twice at every step, once with your words and once without any. The difference between the two answers is what the words add; guidance multiplies it.
      At 1 it is as it is, which is often vague; too much makes colours harsh and all pictures of a thing alike.</p>
    <form class="row" aria-label="Guidance" onSubmit=${draw}><input class="grow" type="text" aria-label="Prompt for the guidance" value=${prompt} onInput=${(event) => setPrompt(event.target.value)} />
      <button><${Icon} name="play" size="17" />Draw at ${SCALES.join(', ')}</button></form>
    ${asked && html`<div class="pictures four">${SCALES.map((scale) => html`<${Scale} key=${`${asked} ${scale}`} model=${model} prompt=${asked} seed=${7} scale=${scale} begun />`)}</div>`}
  <//>`;
}

export function Page() {
  const known = useValue(models);
  const model = painter(known);
  if (known && !model) return html`<${Missing} id="diffusion" what="draws out of noise" />`;
  return html`<${Lesson} id="diffusion" lead="A diffusion model learned to clean up pictures that were spoilt with noise. Given nothing but noise, it cleans up until there is a picture that was never there.">
    ${model && html`<${Two} model=${model} /><${Guidance} model=${model} />`}
    <${Try} tries=${['Move the slider slowly through the first five steps: where is it decided what the picture will be?', 'Take the same two prompts with other noise. What do both pictures have in common each time?', 'Set the steps to 1, 2 and 4.']}
      look=${['Place and size are settled first, colours next, edges last.', 'Two prompts that begin from the same noise often put their things at the same place.', 'It was shown emoji. Ask for something else, and it answers with the emoji that is nearest.']} /><//>`;
}
