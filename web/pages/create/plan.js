// The plan of a creation: what was understood of the brief, and the words that each work is made of.
import { html, useState } from '../../lib/html.js';
import { Icon } from '../../lib/icons.js';
import { Dialog } from '../../ui/dialog.js';
import { Growing, Field } from '../../ui/controls.js';

const COLOURS = [['paper', 'Paper'], ['ink', 'Letters'], ['accent', 'Accent'], ['soft', 'Areas']];

/** Texts of a work that may be changed: `[what it is, where it stands]`. */
function textsOf(work) {
  const all = [];
  const add = (name, ...path) => {
    const text = path.reduce((inside, step) => inside?.[step], work);
    if (typeof text === 'string') all.push([name, path]);
  };
  add('Prompt', 'prompt');
  add('Not to be seen', 'negative');
  add('Above the title', 'kicker');
  add('Title', 'headline');
  add('Words', 'text');
  (work.parts ?? []).forEach((part, index) => add(part.heading, 'parts', index, 'ask'));
  (work.scenes ?? []).forEach((scene, index) => { add(`Card ${index + 1}`, 'scenes', index, 'title'); add(`Card ${index + 1}, below`, 'scenes', index, 'subtitle'); });
  (work.blocks ?? []).forEach((block, index) => add(`Heading ${index + 1}`, 'blocks', index, 'heading'));
  return all;
}

/** A copy in which one place is another. */
function changed(value, [step, ...rest], to) {
  const copy = Array.isArray(value) ? [...value] : { ...value };
  copy[step] = rest.length ? changed(value[step], rest, to) : to;
  return copy;
}

function Editor({ plan, save, close }) {
  const [now, setNow] = useState(plan);
  const [saving, setSaving] = useState(false);
  const set = (path, to) => setNow((old) => changed(old, path, to));
  const at = (path) => path.reduce((inside, step) => inside?.[step], now);
  const line = (name, path) => html`<${Field} label=${name}>${(id) => html`<${Growing} id=${id} value=${at(path) ?? ''} change=${(text) => set(path, text)} />`}<//>`;
  const submit = async (event) => {
    event.preventDefault();
    setSaving(true);
    if (await save(now)) close();
    else setSaving(false);
  };
  return html`<${Dialog} title="The plan" wide close=${close}><form class="plan-form" onSubmit=${submit}>
    <p class="muted">What you change here is made anew, with all that is made of it; the other works are kept. Words that begin with @ stand for what another work says, such as @copy.headline.</p>
    ${now.palette && html`<fieldset class="colours"><legend>Colours</legend>${COLOURS.filter(([id]) => now.palette[id]).map(([id, name]) => html`<label key=${id}><input type="color" value=${now.palette[id]} onInput=${(event) => set(['palette', id], event.target.value)} />${name}</label>`)}</fieldset>`}
    ${(now.works ?? []).map((work, index) => {
      const texts = textsOf(plan.works[index]);
      return texts.length > 0 && html`<details key=${work.id} class="further"><summary>${work.title}</summary><div class="stack">${texts.map(([name, path]) => line(name, ['works', index, ...path]))}</div></details>`;
    })}
    <footer><button type="button" onClick=${close}>Cancel</button><button class="primary" disabled=${saving || now === plan}>Make anew what changed</button></footer></form><//>`;
}

/** What was understood, and the way to change it. `save` says whether it was taken. */
export function Plan({ plan, busy, save }) {
  const [editing, setEditing] = useState(false);
  const facts = [['What it is', [plan.name, plan.what].filter(Boolean).join(': ')], ['For whom', plan.audience], ['Tone', plan.tone], ['To be remembered', plan.message ?? plan.key_message]];
  return html`<section class="card" aria-label="The plan"><div class="row"><h2 class="grow">What was understood</h2>
      <button type="button" disabled=${busy} title=${busy ? 'As soon as the works are there' : null} onClick=${() => setEditing(true)}><${Icon} name="edit" size="17" />Change the plan</button></div>
    <dl class="facts">${facts.filter(([, value]) => value).map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}
      ${plan.palette && html`<div><dt>Colours</dt><dd>${COLOURS.filter(([id]) => plan.palette[id]).map(([id, name]) => html`<span class="swatch" key=${id}><i style=${{ background: plan.palette[id] }}></i>${name} <code>${plan.palette[id]}</code></span>`)}</dd></div>`}</dl>
    ${editing && html`<${Editor} plan=${plan} save=${save} close=${() => setEditing(false)} />`}</section>`;
}
