// A GAN: the map of what it can draw, two seeds mixed, and truncation.
import { html, useEffect, useState } from '../../lib/html.js';
import { count, randomSeed } from '../../lib/format.js';
import { Icon } from '../../lib/icons.js';
import { isGan, models, serving } from '../../lib/models.js';
import { once } from '../../lib/once.js';
import { useValue } from '../../lib/state.js';
import { Field } from '../../ui/controls.js';
import { complain } from '../../ui/toast.js';
import { LatentMap, mixture } from '../draw/map.js';
import { Lesson, Missing, Numbers, Part, Try, took } from './lesson.js';

export const forger = (known) => serving(known, 'image').find(isGan);

const PSI = [0, 0.4, 0.8, 1.2, 1.6];

/** Pictures of requests in a row; each comes when it is there. `told` is given the first. */
function Row({ requests, label, told, large, captions }) {
  const [urls, setUrls] = useState([]);
  const key = JSON.stringify(requests);
  useEffect(() => {
    let here = true;
    setUrls([]);
    requests.forEach((request, index) => once(request).then((found) => {
      if (!here) return;
      if (index === 0) told?.(found);
      setUrls((old) => Object.assign([...old], { [index]: found.url }));
    }, (problem) => here && complain(problem)));
    return () => { here = false; };
  }, [key]);
  return html`<div class="pictures line" role="group" aria-label=${label}>${requests.map((_, index) => html`<figure key=${index} class=${index === large ? 'now' : ''}>${urls[index] ? html`<img class="pixels" src=${urls[index]} alt="" />` : html`<div class="blank"></div>`}
    ${captions && html`<figcaption>${captions[index]}</figcaption>`}</figure>`)}</div>`;
}

/** The way from one seed to another. */
export function Between({ model, prompt, places = 9, told }) {
  const [[from, to], setSeeds] = useState([5, 21]);
  const shares = Array.from({ length: places }, (_, index) => index / (places - 1));
  const requests = shares.map((share) => mixture([[from, 1 - share], [to, share]], { model: model.name, prompt }));
  return html`<${Row} requests=${requests} label="From one seed to the other" told=${told} captions=${shares.map((share) => `${Math.round(100 * share)} %`)} />
    <div class="row"><span class="hint grow">From seed ${from} to seed ${to}</span><button type="button" onClick=${() => setSeeds([randomSeed(), randomSeed()])}><${Icon} name="dice" size="17" />Two other seeds</button></div>`;
}

function Live({ model }) {
  const [prompt, setPrompt] = useState('grinning face');
  const [asked, setAsked] = useState('grinning face');
  const [first, setFirst] = useState(null);
  const submit = (event) => { event.preventDefault(); if (prompt.trim()) setAsked(prompt.trim()); };
  const { recipe } = first ?? {};
  return html`
    <${Part} title="Two networks against each other">
      <p>A <i>GAN</i> (generative adversarial network) is trained as a pair. The <i>generator</i> makes pictures out of random numbers; the <i>judge</i> is shown its pictures and real ones and must say which is which.
        The judge learns to find the forgeries, the generator learns to get past it. In the end the judge is thrown away: only the generator is here.</p>
      <p>It has no steps. Numbers go in, a picture comes out, in one pass.</p>
      <form class="row" aria-label="What it draws" onSubmit=${submit}><${Field} label="What it draws">${(id) => html`<input id=${id} type="text" data-main value=${prompt} onInput=${(event) => setPrompt(event.target.value)} />`}<//><button class="bottom"><${Icon} name="play" size="17" />Draw</button></form>
      <${Numbers} of=${[['Model', model.name], ['Parameters', count(model.parameters)], ['Passes', '1'], ['Picture', recipe?.size && `${recipe.size[0]} × ${recipe.size[1]}`], ['Time', took(first)?.replace('made in ', '')]]} />
    <//>
    <${Part} title="From one seed to another"><p>The random numbers of a picture are a place: that is called the <i>latent space</i>. Between two places there are others, and the generator has a picture for each. Pictures are not blended here; their numbers are.</p>
      <${Between} model=${model} prompt=${asked} told=${setFirst} /><//>
    <${Part} title="A map to walk in"><p>Four seeds stand at the corners. Drag, or use the arrow keys.</p><${LatentMap} model=${model} prompt=${asked} truncation=${null} /><//>
    <${Part} title="Truncation: safe or strange"><p><i>Truncation</i> pulls a picture towards the average of all that the model draws: 1 leaves it as it is, 0 is the average itself, whatever was asked for. Above 1 it is pushed the other way. A GAN that knows one kind of thing, faces say, looks best a little below 1: safer, and more alike.
      This one knows many things, and the average of all emoji is no emoji: too little spoils the picture as too much does.</p>
      <${Row} requests=${PSI.map((truncation) => ({ medium: 'image', model: model.name, seed: 5, prompt: asked, truncation }))} label="The same seed at several truncations" captions=${PSI} /><//>`;
}

export function Page() {
  const known = useValue(models);
  const model = forger(known);
  if (known && !model) return html`<${Missing} id="gan" what="is a GAN" />`;
  return html`<${Lesson} id="gan" lead="One network forges pictures, another tries to catch it. Both get better, until the forgeries are good.">
    ${model && html`<${Live} model=${model} />`}
    <${Try} tries=${['Walk slowly across the map: does the picture change evenly, or does it jump?', 'Ask for “a red heart”, then for “flag of France”, then for “a bicycle”.', 'Compare the times with those of the lesson on diffusion.']}
      look=${['Neighbours on the map look alike: the space is smooth, which is why one can walk in it.', 'It is quick, because it draws once. In return it cannot correct itself on the way.', 'What it has not learned well comes out as a patch of the right colour. Faces, hearts and flags are its best.']} /><//>`;
}
