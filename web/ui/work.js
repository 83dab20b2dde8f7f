// A work with its recipe, and two works side by side.
import { html, useEffect, useRef, useState } from '../lib/html.js';
import { call, send } from '../lib/api.js';
import { ago, bytes, moment, seconds } from '../lib/format.js';
import { wayOf } from '../lib/jobs.js';
import { Icon } from '../lib/icons.js';
import { begin, changeWork, removeWork, reuse, saveWork } from '../lib/library.js';
import { CopyButton } from '../lib/markdown.js';
import { Dialog, ask, confirm } from './dialog.js';
import { Picture, filePath, thumbnailPath, useLink } from './picture.js';
import { Steps } from './steps.js';
import { complain } from './toast.js';

const TIMES = { load_s: 'load', encode_s: 'prompt', prefill_s: 'prefill', sample_s: 'sample', decode_s: 'decode', upscale_s: 'enlarge' };

function Timings({ timings }) {
  const parts = Object.entries(TIMES).map(([name, word]) => [word, timings?.[name] ?? 0]).filter(([, value]) => value > 0.0005);
  const whole = parts.reduce((sum, [, value]) => sum + value, 0);
  if (!whole) return null;
  return html`<div class="times"><div class="times-bar" aria-hidden="true">${parts.map(([word, value]) => html`<i key=${word} style=${{ flexGrow: value / whole }} title=${word}></i>`)}</div>
    <ul>${parts.map(([word, value]) => html`<li><i></i>${word} ${seconds(value)}</li>`)}</ul></div>`;
}

function Written({ work }) {
  const [text, setText] = useState(null);
  useEffect(() => { send(filePath(work)).then((answer) => answer.text()).then(setText, complain); }, [work.id]);
  return html`<div class="work-text">${text ?? '…'}</div>`;
}

function Heard({ work }) {
  const source = useLink(filePath(work));
  return html`<div class="work-sound"><${Picture} path=${thumbnailPath(work)} alt="" /><audio controls src=${source ?? undefined}></audio></div>`;
}

function Filmed({ work }) {
  const source = useLink(filePath(work));
  return html`<div class="work-stage"><video controls loop muted autoplay playsinline src=${source ?? undefined} style=${{ aspectRatio: `${work.width} / ${work.height}` }}></video></div>`;
}

/** The pictures on the way to this one, which may have been drawn with others. */
async function framesOf(work) {
  const way = await wayOf(work.job);
  if (!way || way.size === 1) return way && [...way.values()][0];
  const job = await call(`v1/jobs/${work.job}`);
  return way.get(job.works.indexOf(work.id)) ?? null;
}

function Shown({ work }) {
  const [frames, setFrames] = useState(null);
  const [at, setAt] = useState(Infinity);
  useEffect(() => {
    setAt(Infinity);
    setFrames(null);
    if (work.job) framesOf(work).then(setFrames, () => {});
  }, [work.id]);
  if (work.mime.startsWith('text/')) return html`<${Written} work=${work} />`;
  if (work.mime.startsWith('video/')) return html`<${Filmed} work=${work} />`;
  if (work.mime.startsWith('audio/')) return html`<${Heard} work=${work} />`;
  const frame = frames && at < frames.length ? frames[at] : null;
  return html`<div class="work-stage">${frame
    ? html`<img class="pixels" src=${frame.image} alt="" style=${{ aspectRatio: `${work.width} / ${work.height}` }} />`
    : html`<${Picture} path=${filePath(work)} alt=${work.prompt || work.title} width=${work.width} height=${work.height} />`}
    ${frames && html`<${Steps} frames=${frames} at=${Math.min(at, frames.length)} setAt=${setAt} />`}</div>`;
}

function Tags({ work, changed }) {
  const [text, setText] = useState('');
  const set = async (tags) => changed(await changeWork(work.id, { tags }));
  const add = (event) => {
    event.preventDefault();
    const tag = text.trim();
    setText('');
    if (tag && !work.tags.includes(tag)) set([...work.tags, tag]).catch(complain);
  };
  return html`<form class="tags" onSubmit=${add}>${work.tags.map((tag) => html`<span class="tag" key=${tag}>${tag}
      <button type="button" class="quiet" aria-label=${`Remove the tag ${tag}`} onClick=${() => set(work.tags.filter((other) => other !== tag)).catch(complain)}><${Icon} name="close" size="13" /></button></span>`)}
    <input type="text" aria-label="New tag" placeholder="Add a tag" value=${text} onInput=${(event) => setText(event.target.value)} /></form>`;
}

/** Everything of a work. `changed` takes it as it is now, or null when it was deleted. */
export function WorkDialog({ work: given, close, changed = () => {}, among = [] }) {
  const [work, setWork] = useState(given);
  useEffect(() => setWork(given), [given.id]);
  const update = (next) => { setWork(next); changed(next, work); };
  const at = among.findIndex((other) => other.id === work.id);
  const keys = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && among[at + step] && !event.target.matches('input')) setWork(among[at + step]);
  };
  const rename = async () => {
    const title = await ask('Title of the work', work.title);
    if (title) changeWork(work.id, { title }).then(update, complain);
  };
  const remove = async () => {
    if (!(await confirm('Delete this work?', { detail: 'Its file is deleted too.' }))) return;
    removeWork(work).then(() => { changed(null, work); close(); }, complain);
  };
  const recipe = JSON.stringify(work.recipe, null, 2);
  const fact = (name, value) => value && html`<div><dt>${name}</dt><dd>${value}</dd></div>`;
  return html`<${Dialog} title=${work.title || work.prompt || 'Untitled'} wide close=${close}>
    <div class="work" onKeyDown=${keys}>
      <${Shown} work=${work} />
      <div class="stack">
        <div class="row"><button type="button" class="primary" onClick=${() => { close(); reuse(work); }}><${Icon} name="again" size="17" />Reuse the recipe</button>
          <button type="button" onClick=${() => saveWork(work).catch(complain)}><${Icon} name="download" size="17" />Download</button>
          ${work.mime.startsWith('image/') && html`<button type="button" onClick=${() => { close(); begin(work).catch(complain); }}><${Icon} name="image" size="17" />Begin with it</button>`}
          <button type="button" onClick=${rename}><${Icon} name="edit" size="17" />Rename</button>
          <button type="button" class="danger" onClick=${remove}><${Icon} name="trash" size="17" />Delete</button></div>
        ${work.prompt && work.prompt !== work.title && html`<p>${work.prompt}</p>`}
        <dl class="facts">${fact('Model', work.model)}${fact('Made', `${moment(work.created_at).toLocaleString()} (${ago(work.created_at)})`)}
          ${fact('Size', [work.width && `${work.width} × ${work.height} pixels`, bytes(work.bytes)].filter(Boolean).join(', '))}
          ${fact('Model’s hash', work.model_sha256 && html`<code>${work.model_sha256.slice(0, 16)}…</code>`)}</dl>
        <${Timings} timings=${work.timings} />
        <${Tags} work=${work} changed=${update} />
        <details><summary>Recipe</summary><div class="code"><div class="code-head"><span>json</span><${CopyButton} text=${recipe} /></div><pre tabindex="0"><code>${recipe}</code></pre></div></details>
      </div>
    </div>
  <//>`;
}

/** Two pictures, one over the other with an edge to draw, or beside each other. */
export function Compare({ works: [first, second], close }) {
  const [edge, setEdge] = useState(50);
  const [beside, setBeside] = useState(false);
  const stage = useRef();
  const drag = (event) => {
    if (event.buttons !== 1) return;
    const box = stage.current.getBoundingClientRect();
    setEdge(Math.min(100, Math.max(0, ((event.clientX - box.left) / box.width) * 100)));
  };
  const differences = [...new Set([...Object.keys(first.recipe ?? {}), ...Object.keys(second.recipe ?? {})])]
    .map((name) => [name, JSON.stringify(first.recipe?.[name]), JSON.stringify(second.recipe?.[name])])
    .filter(([, a, b]) => a !== b);
  const picture = (work, rest = {}) => html`<${Picture} path=${filePath(work)} alt=${work.title || work.prompt} width=${work.width} height=${work.height} ...${rest} />`;
  return html`<${Dialog} title="Compare" wide close=${close}>
    <div class="row"><button type="button" aria-pressed=${beside} class="toggle" onClick=${() => setBeside(!beside)}><${Icon} name="compare" size="17" />${beside ? 'One over the other' : 'Side by side'}</button></div>
    ${beside ? html`<div class="compare-beside">${picture(first)}${picture(second)}</div>` : html`<div class="compare" ref=${stage} onPointerDown=${drag} onPointerMove=${drag}>
      ${picture(first)}${picture(second, { style: { clipPath: `inset(0 0 0 ${edge}%)`, aspectRatio: `${first.width} / ${first.height}` } })}<i style=${{ left: `${edge}%` }}></i></div>
    <input type="range" aria-label="Edge between the pictures" min="0" max="100" value=${edge} onInput=${(event) => setEdge(event.target.valueAsNumber)} />`}
    <div class="table"><table class="differences"><thead><tr><th>Recipe</th><th>${first.title || first.prompt || 'Left'}</th><th>${second.title || second.prompt || 'Right'}</th></tr></thead>
      <tbody>${differences.map(([name, a, b]) => html`<tr><td>${name}</td><td><code>${a ?? '–'}</code></td><td><code>${b ?? '–'}</code></td></tr>`)}
        ${differences.length === 0 && html`<tr><td colspan="3">The recipes are the same.</td></tr>`}</tbody></table></div>
  <//>`;
}
