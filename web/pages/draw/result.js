// What was asked for: how it comes, what came, and the steps on the way.
import { html, useEffect, useState } from '../../lib/html.js';
import { seconds } from '../../lib/format.js';
import { cancel, ended, jobs, previews, refresh, wayOf } from '../../lib/jobs.js';
import { getWork, reuse, saveWork } from '../../lib/library.js';
import { Icon } from '../../lib/icons.js';
import { useValue } from '../../lib/state.js';
import { Progress } from '../../ui/controls.js';
import { Steps } from '../../ui/steps.js';
import { Picture, filePath } from '../../ui/picture.js';
import { complain } from '../../ui/toast.js';
import { WorkDialog } from '../../ui/work.js';

const STAGES = { load: 'Loading the model', encode: 'Reading the prompt', sample: 'Drawing', step: 'Drawing', decode: 'To pixels', upscale: 'Enlarging' };

/** The works of a job, as the library has them. */
export function useWorks(job) {
  const [works, setWorks] = useState([]);
  const ids = (job?.works ?? []).join(' ');
  useEffect(() => {
    let here = true;
    setWorks([]);
    if (ids) Promise.all(ids.split(' ').map((id) => getWork(id).catch(() => null))).then((all) => here && setWorks(all.filter(Boolean)));
    return () => { here = false; };
  }, [ids]);
  return works;
}

/** The pictures on the way of a job: those that come now, or those that were kept. */
export function useWay(id) {
  const live = useValue(previews).get(id);
  const [old, setOld] = useState(null);
  useEffect(() => {
    setOld(null);
    if (id) wayOf(id).then(setOld, () => {});
  }, [id]);
  return live ?? old;
}

function Going({ job, begun }) {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), 500);
    return () => clearInterval(timer);
  }, []);
  useEffect(() => {
    const stop = (event) => {
      if (event.key === 'Escape' && job && !document.querySelector('dialog[open]')) cancel(job.id).catch(complain);
    };
    addEventListener('keydown', stop);
    return () => removeEventListener('keydown', stop);
  }, [job?.id]);
  const progress = job?.progress;
  const share = progress?.total ? progress.done / progress.total : null;
  let words = 'Asking';
  if (job?.state === 'queued') words = 'Waiting for its turn';
  if (job?.state === 'running') words = STAGES[progress?.stage] ?? progress?.stage ?? 'Beginning';
  if (progress?.total > 1 && job?.state === 'running') words += ` · ${progress.done} of ${progress.total}`;
  return html`<div class="going-line"><div class="row"><span role="status">${words}</span><span class="muted">${begun && seconds((Date.now() - begun) / 1000)}</span>
    ${job && html`<button type="button" class="tiny" onClick=${() => cancel(job.id).catch(complain)}><${Icon} name="stop" size="15" />Stop</button>`}</div>
    <${Progress} share=${share} label="How far the pictures are" /></div>`;
}

function One({ work, frame, alt, open }) {
  if (frame) return html`<figure class="work-big"><img class="pixels" src=${frame.image} alt=${alt} style=${{ aspectRatio: work ? `${work.width} / ${work.height}` : null }} /></figure>`;
  if (!work) return html`<figure class="work-big"><div class="blank"></div></figure>`;
  return html`<figure class="work-big"><button type="button" class="plain" aria-label=${`Open ${work.title || 'the picture'}`} onClick=${() => open(work)}>
    <${Picture} path=${filePath(work)} alt=${work.prompt || work.title} width=${work.width} height=${work.height} /></button></figure>`;
}

export function Result({ shown }) {
  const all = useValue(jobs);
  const job = shown.id ? all.get(shown.id) : null;
  const works = useWorks(job);
  const way = useWay(shown.id);
  const [at, setAt] = useState(Infinity);
  const [opened, setOpened] = useState(null);
  const [gone, setGone] = useState(false);
  useEffect(() => {
    setAt(Infinity);
    setGone(false);
    if (shown.id && !jobs.get().get(shown.id)?.request) refresh(shown.id).then((found) => setGone(!found));
  }, [shown.id]);
  const over = ended(job) || Boolean(shown.pictures) || Boolean(shown.failed);
  const request = job?.request ?? shown.request ?? {};
  const frames = way ? [...way.values()][0]?.length ?? 0 : 0;
  const count = Math.max(works.length, request.grid || request.walk ? 1 : request.count ?? 1, way?.size ?? 0);
  const place = over ? Math.min(at, frames) : frames - 1;
  const frameOf = (index) => {
    const list = way?.get(index);
    if (!list?.length || (over && place >= frames)) return null;
    return list[Math.min(Math.max(place, 0), list.length - 1)];
  };
  if (gone && !works.length) return html`<p class="muted centred">This job is no longer on the server.</p>`;
  if (shown.pictures) {
    return html`<div class="works-big n${Math.min(shown.pictures.length, 9)}">${shown.pictures.map((source) => html`<figure class="work-big"><img src=${source} alt=${request.prompt || ''} /></figure>`)}</div>`;
  }
  const arrows = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && over && frames > 1 && event.target.type !== 'range') setAt(Math.min(frames, Math.max(0, place + step)));
  };
  const bad = shown.failed || job?.error?.message;
  return html`<div class="result" onKeyDown=${arrows}>
    ${bad ? html`<p class="failed" role="alert">${bad}</p>` : html`<div class="works-big n${Math.min(count, 9)}">
      ${Array.from({ length: count }, (_, index) => html`<${One} key=${index} work=${works[index]} frame=${frameOf(index)} alt=${request.prompt || ''} open=${setOpened} />`)}</div>`}
    ${!over && html`<${Going} job=${job} begun=${shown.begun ?? (job?.created_at ?? 0) * 1000} />`}
    ${job?.state === 'cancelled' && html`<p class="muted" role="status">Stopped.</p>`}
    ${over && way && frames > 1 && html`<${Steps} frames=${[...way.values()][0]} at=${place} setAt=${setAt} />`}
    ${over && works.length > 0 && html`<div class="result-line"><p class="hint">${describe(works[0], works.length)}</p>
      <div class="row">${works.length === 1 && html`<button type="button" onClick=${() => saveWork(works[0]).catch(complain)}><${Icon} name="download" size="17" />Download</button>`}
        <button type="button" onClick=${() => reuse(works[0])}><${Icon} name="again" size="17" />Reuse the recipe</button>
        <button type="button" onClick=${() => setOpened(works[0])}><${Icon} name="info" size="17" />Details</button></div></div>`}
    ${opened && html`<${WorkDialog} work=${opened} close=${() => setOpened(null)} among=${works} />`}
  </div>`;
}

function describe(work, count) {
  const { recipe, timings } = work;
  const parts = [work.model, `${work.width} × ${work.height}`, recipe?.steps && `${recipe.steps} steps`, recipe?.guidance != null && `guidance ${recipe.guidance}`,
    recipe?.seed != null && `seed ${recipe.seed}${count > 1 ? ' …' : ''}`, timings?.total_s && seconds(timings.total_s)];
  return parts.filter(Boolean).join(' · ');
}
