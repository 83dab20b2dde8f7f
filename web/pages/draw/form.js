// The request, as a form.
import { html, useEffect, useRef, useState } from '../../lib/html.js';
import { Icon } from '../../lib/icons.js';
import { isGan } from '../../lib/models.js';
import { useValue } from '../../lib/state.js';
import { randomSeed } from '../../lib/format.js';
import { Field, Growing, Range, Select, Switch, Text } from '../../ui/controls.js';
import { complain } from '../../ui/toast.js';
import { beginWith, form, start, usualForm } from './desk.js';
import { Mask } from './mask.js';

const SAMPLERS = ['flow_euler', 'flow_heun', 'dpmpp_2m', 'dpmpp_2m_sde', 'unipc', 'euler', 'euler_a', 'heun', 'dpm2', 'dpmpp_2s_a', 'ddim', 'ddpm', 'lcm'];

function Start({ values }) {
  const set = (name) => (value) => form.change({ [name]: value });
  const begin = useValue(start);
  const [over, setOver] = useState(false);
  const [painting, setPainting] = useState(false);
  const input = useRef();
  const take = (file) => file && beginWith(file).catch(complain);
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    take(event.dataTransfer.files[0]);
  };
  const clear = () => { URL.revokeObjectURL(begin.url); start.set(null); };
  return html`<div class="field"><div class="field-head"><span>Begin with a picture</span>
      ${begin && html`<button type="button" class="quiet tiny" onClick=${clear}>remove</button>`}</div>
    <input ref=${input} type="file" class="unseen" tabindex="-1" aria-label="A picture to begin with" accept="image/*" onChange=${(event) => { take(event.target.files[0]); event.target.value = ''; }} />
    ${begin ? html`<div class="begin"><div class="begin-picture"><img src=${begin.url} alt="The picture that is begun with" />${begin.maskUrl && html`<img class="over" src=${begin.maskUrl} alt="" />`}</div>
        <div class="grow stack"><${Range} label="Strength" min=${0.05} max=${1} step=${0.05} value=${values.strength} usual=${begin.mask ? 1 : 0.6} change=${set('strength')} />
        <button type="button" onClick=${() => setPainting(true)}><${Icon} name="brush" size="17" />${begin.mask ? 'Change the mask' : 'Paint a mask'}</button></div></div>`
      : html`<button type="button" class="drop ${over ? 'over' : ''}" onClick=${() => input.current.click()} onDragOver=${(event) => { event.preventDefault(); setOver(true); }}
        onDragLeave=${() => setOver(false)} onDrop=${drop}><${Icon} name="upload" size="18" />Choose or drop a picture</button>`}
    ${painting && html`<${Mask} close=${() => setPainting(false)} />`}
  </div>`;
}

const ALSO = { init: 'a picture that it begins with', mask: 'a mask', mix: 'a mixture of seeds', loras: 'adapters' };

/** What of a recipe is kept though nothing here shows it. */
function Also({ values }) {
  const names = Object.keys(values.also ?? {});
  if (!names.length) return null;
  return html`<p class="also hint"><span class="grow">From the recipe: ${names.map((name) => ALSO[name] ?? name).join(', ')}.</span>
    <button type="button" class="quiet tiny" onClick=${() => form.change({ also: null })}>remove</button></p>`;
}

function Seed({ value }) {
  return html`<${Field} label="Seed">${(id) => html`<div class="row tight">
    <input id=${id} type="text" inputmode="numeric" class="grow" placeholder="random" value=${value} onInput=${(event) => form.change({ seed: event.target.value.replace(/\D/g, '').slice(0, 15) })} />
    <button type="button" aria-label="Another seed" title="Another seed" onClick=${() => form.change({ seed: String(randomSeed()) })}><${Icon} name="dice" size="18" /></button>
    <button type="button" aria-label="A random seed each time" title="A random seed each time" disabled=${value === ''} onClick=${() => form.change({ seed: '' })}><${Icon} name="close" size="16" /></button>
  </div>`}<//>`;
}

function Size({ values }) {
  const set = (name) => (event) => form.change({ [name]: event.target.valueAsNumber || null });
  const both = Boolean(values.width) === Boolean(values.height);
  return html`<${Field} label="Size" hint=${both ? 'In pixels; empty is what the model draws best.' : 'Both sides, or neither.'}>${(id) => html`<div class="row tight">
    <input id=${id} type="number" class="grow" min="8" max="4096" placeholder="auto" value=${values.width ?? ''} onInput=${set('width')} />
    <span class="muted">×</span>
    <input type="number" class="grow" aria-label="Height" min="8" max="4096" placeholder="auto" value=${values.height ?? ''} onInput=${set('height')} /></div>`}<//>`;
}

export function Form({ painters, go, busy }) {
  const values = useValue(form);
  const model = painters.find((one) => one.name === values.model);
  const gan = isGan(model);
  const set = (name) => (value) => form.change({ [name]: value });
  const prompt = useRef();
  // On phones the picture comes before what else can be said of it.
  const [open, setOpen] = useState(!matchMedia('(max-width: 820px)').matches);
  useEffect(() => { if (matchMedia('(pointer: fine)').matches) prompt.current.focus(); }, []);
  const keys = (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) { event.preventDefault(); go(); }
  };
  const submit = (event) => { event.preventDefault(); go(); };
  return html`<form class="draw-form" aria-label="What to draw" onSubmit=${submit} onKeyDown=${keys}>
    <${Field} label="Prompt">${(id) => html`<${Growing} id=${id} field=${prompt} data-main value=${values.prompt} change=${set('prompt')} placeholder="A red apple" />`}<//>
    <${Select} label="Model" value=${values.model} options=${painters.map((one) => [one.name, one.name])} change=${set('model')} />
    <div class="row draw-go"><button class="primary grow" disabled=${busy || !model}><${Icon} name="draw" size="18" />Draw</button></div>
    <${Also} values=${values} />
    <details class="options" open=${open} onToggle=${(event) => setOpen(event.currentTarget.open)}><summary>Options</summary><div class="stack">
    ${!gan && html`<${Text} label="Not to be seen" value=${values.negative} change=${set('negative')} placeholder="blurry, text" />`}
    <${Range} label="Pictures" min=${1} max=${9} usual=${1} value=${values.count} change=${(count) => form.change({ count: count ?? 1 })} />
    ${values.count > 1 && html`<${Switch} label="All in one file" on=${values.grid} change=${set('grid')} />`}
    <${Seed} value=${values.seed} />
    ${!gan && html`
      <${Range} label="Steps" min=${1} max=${100} value=${values.steps} usual=${null} change=${set('steps')} />
      <${Range} label="Guidance" min=${1} max=${15} step=${0.1} value=${values.guidance} usual=${null} change=${set('guidance')} hint="How strongly the prompt counts." />`}
    ${gan && html`<${Range} label="Truncation" min=${0} max=${1.5} step=${0.05} value=${values.truncation} usual=${1} change=${set('truncation')} hint="0 is the average picture, 1 what was learned." />`}
    <details class="further"><summary>Further</summary><div class="stack">
      <${Size} values=${values} />
      <${Select} label="Enlarge" value=${String(values.upscale ?? '')} options=${[['', 'as the model does'], ['1', 'not at all'], ['2', 'twice'], ['4', 'four times']]} change=${(times) => form.change({ upscale: times ? Number(times) : null })} />
      ${!gan && html`<${Select} label="Sampler" value=${values.sampler} options=${[['', 'the model’s'], ...SAMPLERS.map((name) => [name, name])]} change=${set('sampler')} />`}
      ${gan && html`<${Range} label="Walk" min=${0} max=${60} value=${values.walk ?? 0} change=${(walk) => form.change({ walk: walk || null })} hint="Frames of a film through the latent space; 0 draws a picture." />`}
      <button type="button" onClick=${() => form.change({ ...usualForm, model: values.model, prompt: values.prompt, tab: values.tab })}>All as usual</button>
    </div></details>
    ${!gan && html`<${Start} values=${values} />`}
    </div></details>
  </form>`;
}
