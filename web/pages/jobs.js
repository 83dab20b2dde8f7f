// The jobs: what waits, what runs and how far it is, what has ended.
import { html, useEffect, useState } from '../lib/html.js';
import { call } from '../lib/api.js';
import { ago, bytes, moment, seconds } from '../lib/format.js';
import { cancel, ended, forget, haveJobs, jobs, loadJobs, submit } from '../lib/jobs.js';
import { Icon } from '../lib/icons.js';
import { useValue } from '../lib/state.js';
import { Choice, Empty, Progress } from '../ui/controls.js';
import { Picture, thumbnailPath } from '../ui/picture.js';
import { complain } from '../ui/toast.js';

const STATES = { queued: 'waiting', running: 'running', done: 'done', failed: 'failed', cancelled: 'cancelled' };

function title(job) {
  if (job.kind === 'pull') return `Get ${job.model}`;
  const { request } = job;
  // A text's prompt is what was said, or the text to go on with.
  const asked = request?.prompt;
  const prompt = typeof asked === 'string' ? asked : asked?.messages?.at(-1)?.content ?? asked?.raw;
  return prompt || (request?.mix ? 'A mixture of seeds' : `${job.model ?? 'Job'}, seed ${request?.seed ?? '–'}`);
}

function took(job) {
  if (!job.started_at) return null;
  const until = job.finished_at ? moment(job.finished_at) : Date.now();
  const time = (until - moment(job.started_at)) / 1000;
  // The server tells whole seconds.
  return time < 1 ? '< 1 s' : seconds(time);
}

function far(job) {
  const { progress } = job;
  if (!progress) return '';
  if (job.kind === 'pull') return `${bytes(progress.done)} of ${bytes(progress.total)}`;
  return progress.total > 1 ? `${progress.stage} · ${progress.done} of ${progress.total}` : progress.stage;
}

function Row({ job }) {
  const over = ended(job);
  const again = () => submit(job.request, job.priority).catch(complain);
  const remove = () => call(`v1/jobs/${job.id}`, { method: 'DELETE' }).then(() => forget(job.id), complain);
  // A waiting job is asked for anew with the other priority; the old one goes.
  const first = async () => {
    await submit(job.request, (job.priority ?? 0) + 1);
    await cancel(job.id);
  };
  const kind = { done: 'good', failed: 'bad' }[job.state] ?? '';
  return html`<li class="job">
    <div class="job-line">
      ${job.works?.[0] && job.medium === 'image' && html`<a class="job-thumb" href=${`#/library/${job.works[0]}`} aria-label="Open the work"><${Picture} path=${thumbnailPath({ id: job.works[0] })} loading="lazy" /></a>`}
      <div class="grow"><p class="job-title">${title(job)}</p>
        <small class="muted"><span class="tag ${kind}">${STATES[job.state] ?? job.state}</span> ${[job.model, ago(job.created_at), took(job), job.priority ? `priority ${job.priority}` : null].filter(Boolean).join(' · ')}</small></div>
      ${job.state === 'queued' && job.request && html`<button type="button" class="quiet" title="Before the others" aria-label=${`Before the others: ${title(job)}`} onClick=${() => first().catch(complain)}><${Icon} name="send" size="17" /></button>`}
      ${!over && html`<button type="button" class="quiet" title="Cancel" aria-label=${`Cancel: ${title(job)}`} onClick=${() => cancel(job.id).catch(complain)}><${Icon} name="stop" size="17" /></button>`}
      ${over && job.request && html`<button type="button" class="quiet" title="Once more" aria-label=${`Once more: ${title(job)}`} onClick=${again}><${Icon} name="again" size="17" /></button>`}
      ${over && html`<button type="button" class="quiet" title="Remove from the list" aria-label=${`Remove: ${title(job)}`} onClick=${remove}><${Icon} name="trash" size="17" /></button>`}
    </div>
    ${job.state === 'running' && html`<div class="job-far"><${Progress} share=${job.progress?.total > 0 ? job.progress.done / job.progress.total : null} label=${title(job)} /><small class="muted">${far(job)}</small></div>`}
    ${job.error && html`<p class="bad">${job.error.message}</p>`}
  </li>`;
}

export function Page() {
  const all = useValue(jobs);
  const have = useValue(haveJobs);
  const [filter, setFilter] = useState('all');
  const [more, setMore] = useState(false);
  useEffect(() => { if (have) loadJobs().then(setMore, complain); }, [have]);
  const [, tick] = useState(0);
  const going = [...all.values()].some((job) => !ended(job));
  useEffect(() => {
    const timer = going && setInterval(() => tick((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, [going]);
  const wanted = { all: () => true, now: (job) => !ended(job), failed: (job) => job.state === 'failed' }[filter];
  const rank = { running: 0, queued: 1 };
  const list = [...all.values()].filter((job) => job.kind && wanted(job)).sort((a, b) => (rank[a.state] ?? 2) - (rank[b.state] ?? 2)
    || (a.state === 'queued' ? (b.priority ?? 0) - (a.priority ?? 0) || moment(a.created_at) - moment(b.created_at) : moment(b.created_at) - moment(a.created_at)));
  const next = () => loadJobs({ after: list.at(-1)?.id }).then(setMore, complain);
  return html`<main class="page narrow" tabindex="-1">
    <header class="page-head"><h1>Jobs</h1><${Choice} label="Which jobs" value=${filter} change=${setFilter} options=${[['all', 'All'], ['now', 'Waiting and running'], ['failed', 'Failed']]} /></header>
    ${have === false && html`<${Empty} icon="jobs" title="This server has no jobs" />`}
    ${have && !list.length && html`<${Empty} icon="jobs" title=${filter === 'all' ? 'Nothing to do' : 'None'}><p>What is drawn or fetched is shown here while it runs.</p><//>`}
    <ul class="jobs">${list.map((job) => html`<${Row} key=${job.id} job=${job} />`)}</ul>
    ${more && filter === 'all' && html`<div class="more-line"><button type="button" onClick=${next}>More</button></div>`}
  </main>`;
}
