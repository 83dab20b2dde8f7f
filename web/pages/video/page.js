// Video: a prompt, perhaps with a first frame, and the clip that comes of it, with the way to it.
import { html, useEffect, useMemo, useRef, useState } from '../../lib/html.js';
import { call, send } from '../../lib/api.js';
import { download, fileName, randomSeed } from '../../lib/format.js';
import { useBegin } from '../../lib/begin.js';
import { Icon } from '../../lib/icons.js';
import { cancel, ended, jobs, outcome, previews, refresh, wayOf } from '../../lib/jobs.js';
import { takeRecipe } from '../../lib/library.js';
import { loadModels, models, serving } from '../../lib/models.js';
import { go as to, route } from '../../lib/route.js';
import { kept, state, useValue } from '../../lib/state.js';
import { Choice, Empty, Field, Progress, Range, Select, Text } from '../../ui/controls.js';
import { Picture, useLink, useSource } from '../../ui/picture.js';
import { Steps } from '../../ui/steps.js';
import { complain } from '../../ui/toast.js';

const form = kept('video', { prompt: '', seconds: null, seed: '', model: '', steps: null, guidance: null, fit: 'crop' });
/** The first frame, `{name, blob, url}`, the clip that is shown, and the newest ones. */
const first = state(null);
const shown = state(null);
const newest = state([]);

const jobOf = (video) => video.id.replace(/^video_/, 'job_');
const path = (video, variant) => `v1/videos/${video.id}/content?variant=${variant}`;
const isDone = (video) => video?.status === 'completed';

async function look() {
  newest.set((await call('v1/videos?limit=12')).data.filter(isDone));
}

function take(blob, name) {
  if (first.get()) URL.revokeObjectURL(first.get().url);
  first.set(blob && { name, blob, url: URL.createObjectURL(blob) });
}

/** Frames of the clip in a row; each goes to its time. */
function Strip({ video, seek }) {
  const sheet = useSource(path(video, 'spritesheet'));
  const [size, setSize] = useState(null);
  const [width, height] = video.size.split('x').map(Number);
  const measure = (event) => {
    const { naturalWidth, naturalHeight } = event.target;
    const scale = Math.min(1, 192 / Math.max(width, height));
    const cell = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
    setSize({ columns: Math.round(naturalWidth / cell[0]), rows: Math.round(naturalHeight / cell[1]) });
  };
  if (!sheet) return null;
  const count = size ? size.columns * size.rows : 0;
  const frame = (i) => {
    const [x, y] = [i % size.columns, Math.floor(i / size.columns)];
    const along = (at, cells) => (cells > 1 ? `${(100 * at) / (cells - 1)}%` : '0');
    const style = { aspectRatio: `${width} / ${height}`, backgroundImage: `url(${sheet})`, backgroundSize: `${size.columns * 100}% ${size.rows * 100}%`,
      backgroundPosition: `${along(x, size.columns)} ${along(y, size.rows)}` };
    return html`<button type="button" key=${i} style=${style} aria-label=${`Frame ${i + 1} of ${count}`} onClick=${() => seek(i / count)}></button>`;
  };
  return html`<div class="strip" role="group" aria-label="Frames">${size ? Array.from({ length: count }, (_, i) => frame(i))
    : html`<img src=${sheet} alt="" class="unseen" onLoad=${measure} />`}</div>`;
}

/** The clip at every denoising step, its frames side by side. */
function Way({ video }) {
  const [frames, setFrames] = useState(null);
  const [at, setAt] = useState(0);
  useEffect(() => { setFrames(null); wayOf(jobOf(video)).then((way) => setFrames(way && [...way.values()][0]), () => {}); }, [video.id]);
  if (!frames || frames.length < 2) return null;
  const here = frames[Math.min(at, frames.length - 1)];
  return html`<details class="inside"><summary>Look inside: the frames at every denoising step</summary>
    <img class="pixels way" src=${here.image} alt=${`The frames at step ${here.done}`} />
    <${Steps} frames=${frames} at=${Math.min(at, frames.length)} setAt=${setAt} /></details>`;
}

function Result({ video }) {
  const source = useLink(path(video, 'video'));
  const player = useRef();
  const seek = (share) => { player.current.pause(); player.current.currentTime = share * player.current.duration + 0.001; };
  const save = () => send(path(video, 'video')).then((answer) => answer.blob()).then((blob) => download(fileName(video.prompt || 'clip', 'mp4'), blob)).catch(complain);
  const recipe = jobs.get().get(jobOf(video))?.request;
  return html`<section class="card" aria-label="The clip">
    <video ref=${player} src=${source ?? undefined} controls loop autoplay muted playsinline style=${{ aspectRatio: video.size.replace('x', ' / ') }}></video>
    <${Strip} key=${video.id} video=${video} seek=${seek} />
    <div class="row"><span class="hint grow">${[video.prompt, `${video.size}`, `${video.seconds} s`, recipe?.seed != null && `seed ${recipe.seed}`].filter(Boolean).join(' · ')}</span>
      <button type="button" onClick=${save}><${Icon} name="download" size="17" />Download</button></div>
    <${Way} video=${video} />
  </section>`;
}

function First({ busy, values, set }) {
  const found = useValue(first);
  const file = useRef();
  const [over, setOver] = useState(false);
  const picked = (event) => { const [one] = event.target.files; if (one) take(one, one.name); event.target.value = ''; };
  const drop = (event) => { event.preventDefault(); setOver(false); const [one] = event.dataTransfer.files; if (one) take(one, one.name); };
  const input = html`<input ref=${file} class="unseen" type="file" tabindex="-1" aria-label="First frame" accept="image/*,video/mp4" onChange=${picked} />`;
  if (!found) {
    return html`<div><button type="button" class=${`drop ${over ? 'over' : ''}`} disabled=${busy} onClick=${() => file.current.click()} onDragOver=${(event) => { event.preventDefault(); setOver(true); }}
      onDragLeave=${() => setOver(false)} onDrop=${drop}><${Icon} name="image" size="18" />Begin with a picture or a clip</button>${input}</div>`;
  }
  return html`<div class="begin"><div class="begin-picture">${found.blob.type.startsWith('video/') ? html`<video src=${found.url} muted></video>` : html`<img src=${found.url} alt="The first frame" />`}</div>
    <div class="grow"><${Choice} label="Another aspect is" value=${values.fit} options=${[['crop', 'cut'], ['pad', 'padded']]} change=${set('fit')} />
      <button type="button" class="quiet" onClick=${() => take(null)}><${Icon} name="close" size="16" />Take it away</button></div>${input}</div>`;
}

/** A job on its way: how far, and what the clip looks like so far. */
function Going({ id, stop }) {
  const job = useValue(jobs).get(id);
  const way = useValue(previews).get(id)?.get(0);
  const { stage, done, total } = job?.progress ?? {};
  const words = { load: 'Loading the model', step: 'Denoising', upscale: 'Enlarging', interpolate: 'Making frames between' }[stage] ?? 'Waiting';
  return html`<section class="card" aria-label="On its way">
    <div class="row"><span class="grow hint">${words}${total > 1 ? ` · ${done} of ${total}` : ''}</span>
      <button type="button" onClick=${stop}><${Icon} name="stop" size="16" />Stop</button></div>
    <${Progress} share=${total ? done / total : null} label=${words} />
    ${way?.length > 0 && html`<img class="pixels way" src=${way[way.length - 1].image} alt="The frames so far" />`}
  </section>`;
}

/** What is sent: as a form where a first frame goes with it. */
function asked(values, makers) {
  const fields = { prompt: values.prompt.trim(), seed: values.seed === '' ? randomSeed() : Number(values.seed) };
  if (makers.some((model) => model.name === values.model)) fields.model = values.model;
  for (const name of ['seconds', 'steps', 'guidance']) if (values[name] != null) fields[name] = values[name];
  const frame = first.get();
  if (!frame) return { body: fields };
  const sent = new FormData();
  for (const [name, value] of Object.entries({ ...fields, fit: values.fit })) sent.append(name, value);
  sent.append('input_reference', frame.blob, frame.name);
  return { form: sent };
}

export function Page() {
  const values = useValue(form);
  const known = useValue(models);
  const video = useValue(shown);
  const earlier = useValue(newest);
  const { query } = useValue(route);
  const [going, setGoing] = useState(null);
  const makers = useMemo(() => serving(known, 'video'), [known]);
  useEffect(() => { loadModels().catch(complain); look().catch(() => {}); }, []);
  useEffect(() => {
    if (!query.get('reuse')) return;
    const recipe = takeRecipe();
    if (recipe) form.change({ prompt: recipe.prompt ?? '', seed: String(recipe.seed ?? ''), steps: recipe.steps ?? null, guidance: recipe.guidance ?? null });
    to('video', { replace: true });
  }, [query]);
  const make = async () => {
    const values = form.get();
    if (!values.prompt.trim() || going || !makers.length) return;
    try {
      const begun = await call('v1/videos', asked(values, makers));
      setGoing(jobOf(begun));
      await refresh(jobOf(begun));
      const job = await outcome(jobOf(begun));
      if (job.state === 'failed') throw new Error(job.error?.message ?? 'The clip failed.');
      if (job.state === 'done') { shown.set(await call(`v1/videos/${begun.id}`)); await look(); }
    } catch (error) { complain(error); } finally { setGoing(null); }
  };
  useBegin(known, (prompt) => { take(null); form.change({ prompt, seed: '' }); make(); });
  const keys = (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) { event.preventDefault(); make(); }
  };
  const set = (name) => (value) => form.change({ [name]: value });
  if (known && !makers.length) {
    return html`<main class="page" tabindex="-1"><${Empty} icon="video" title="No model here makes clips"><p>One is on the <a href="#/models">page of models</a>: clips.</p><//></main>`;
  }
  const busy = Boolean(going) && !ended(jobs.get().get(going));
  return html`<main class="page" tabindex="-1"><header class="page-head"><h1>Video</h1></header>
    <form class="card" aria-label="What to film" onSubmit=${(event) => { event.preventDefault(); make(); }} onKeyDown=${keys}>
      <${Field} label="Prompt">${(id) => html`<input id=${id} type="text" data-main value=${values.prompt} onInput=${(event) => set('prompt')(event.target.value)} placeholder="A beating red heart" />`}<//>
      <${First} busy=${busy} values=${values} set=${set} />
      <div class="listen-options">
        <${Range} label="Seconds" min=${1} max=${16} usual=${null} value=${values.seconds} change=${set('seconds')} />
        <${Range} label="Steps" min=${4} max=${60} usual=${null} value=${values.steps} change=${set('steps')} />
        <${Range} label="Guidance" min=${1} max=${10} step=${0.5} usual=${null} value=${values.guidance} change=${set('guidance')} />
        <${Text} label="Seed" value=${values.seed} inputmode="numeric" placeholder="random" change=${(text) => set('seed')(text.replace(/\D/g, '').slice(0, 9))} />
        ${makers.length > 1 && html`<${Select} label="Model" value=${values.model || makers[0].name} options=${makers.map((m) => [m.name, m.name])} change=${set('model')} />`}
      </div>
      <div class="row"><button class="primary" disabled=${busy || !values.prompt.trim()}><${Icon} name="video" size="18" />Make a clip</button></div>
    </form>
    ${busy && html`<${Going} id=${going} stop=${() => cancel(going).catch(complain)} />`}
    ${isDone(video) && html`<${Result} key=${video.id} video=${video} />`}
    ${earlier.length > 0 && html`<section aria-label="Earlier clips"><div class="earlier">${earlier.map((one) => html`<button type="button" key=${one.id} class=${one.id === video?.id ? 'now' : ''} title=${one.prompt}
      aria-label=${`Show the clip: ${one.prompt}`} onClick=${() => shown.set(one)}><${Picture} path=${path(one, 'thumbnail')} alt="" /></button>`)}</div></section>`}
  </main>`;
}
