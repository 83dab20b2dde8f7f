// The models: what is here, what can be had, and what lies in memory.
import { html, useEffect, useState } from '../lib/html.js';
import { ApiError, call } from '../lib/api.js';
import { ago, bytes, count } from '../lib/format.js';
import { cancel, ended, jobs } from '../lib/jobs.js';
import { Icon } from '../lib/icons.js';
import { loadModels, models } from '../lib/models.js';
import { useValue } from '../lib/state.js';
import { Progress } from '../ui/controls.js';
import { complain } from '../ui/toast.js';

const MEDIA = { text: 'Text', image: 'Pictures', speech: 'Speech', music: 'Music', video: 'Film' };
const ICONS = { text: 'text', image: 'image' };

function Memory({ memory, evict }) {
  if (!memory) return null;
  // Without a limit the bar shows shares of what is used.
  const whole = memory.budget_bytes ?? Math.max(memory.used_bytes, 1);
  const share = (value) => `${(value / whole) * 100}%`;
  const words = memory.budget_bytes ? `${bytes(memory.used_bytes)} of ${bytes(memory.budget_bytes)}` : `${bytes(memory.used_bytes)}, no limit`;
  return html`<section class="card memory" aria-label="Memory"><div class="row"><h2 class="grow">Memory</h2><span class="muted">${words}</span></div>
    <div class="memory-bar" role="img" aria-label=${words}>${memory.models.map((model, index) => html`<i key=${model.id} class=${`m${index % 5}`} style=${{ width: share(model.memory_bytes) }} title=${model.id}></i>`)}</div>
    ${memory.models.length ? html`<ul>${memory.models.map((model, index) => html`<li key=${model.id}><i class=${`m${index % 5}`}></i><span class="grow">${model.id}</span><span class="muted">${bytes(model.memory_bytes)}</span>
      <span class="muted when">${model.idle ? (model.last_used ? `used ${ago(model.last_used)}` : 'idle') : 'at work'}</span>
      <button type="button" class="quiet" disabled=${!model.idle} title="Take it out of memory" aria-label=${`Take ${model.id} out of memory`} onClick=${() => evict(model.id)}><${Icon} name="eject" size="17" /></button></li>`)}</ul>`
      : html`<p class="hint">No model is loaded; each is when it is first asked for.</p>`}
  </section>`;
}

function Row({ model, pull, get }) {
  const pulling = pull && !ended(pull);
  const { progress } = pull ?? {};
  const facts = [model.architecture, model.parameters && `${count(model.parameters)} parameters`, model.licence, model.bundled ? 'comes with Medley' : null, !model.installed && model.download_bytes ? `${bytes(model.download_bytes)} to fetch` : null,
    model.memory_bytes ? `${bytes(model.memory_bytes)} of memory` : null, model.own ? 'yours' : null];
  return html`<li class="model"><div class="job-line"><span class="model-icon"><${Icon} name=${ICONS[model.medium] ?? 'models'} size="20" /></span>
      <div class="grow"><p class="job-title">${model.name}</p><small class="muted">${facts.filter(Boolean).join(' · ')}</small></div>
      ${model.loaded ? html`<span class="tag good">in memory</span>` : model.installed ? html`<span class="tag">here</span>` : pulling
        ? html`<button type="button" onClick=${() => cancel(pull.id).catch(complain)}><${Icon} name="stop" size="16" />Stop</button>`
        : html`<button type="button" onClick=${() => get(model.name)} aria-label=${`Get ${model.name}`}><${Icon} name="download" size="17" />Get</button>`}</div>
    ${pulling && html`<div class="job-far"><${Progress} share=${progress?.total ? progress.done / progress.total : null} label=${`Getting ${model.name}`} />
      <small class="muted">${progress?.total ? `${bytes(progress.done)} of ${bytes(progress.total)}` : pull.state === 'queued' ? 'waiting' : 'beginning'}</small></div>`}
    ${pull?.state === 'failed' && !model.installed && html`<p class="bad">${pull.error?.message}</p>`}</li>`;
}

export function Page() {
  const known = useValue(models);
  const all = useValue(jobs);
  const [memory, setMemory] = useState(null);
  const [query, setQuery] = useState('');
  const pulls = [...all.values()].filter((job) => job.kind === 'pull').sort((a, b) => (a.created_at > b.created_at ? 1 : -1));
  const pullOf = Object.fromEntries(pulls.map((job) => [job.model, job]));
  const settled = [...all.values()].filter(ended).length;
  const look = () => call('v1/memory', { quiet: true }).then(setMemory, (error) => {
    if (!(error instanceof ApiError && error.missing)) complain(error);
  });
  useEffect(() => { loadModels().catch(complain); look(); }, [settled]);
  useEffect(() => {
    const timer = setInterval(look, 5000);
    return () => clearInterval(timer);
  }, []);
  const get = (name) => call(`v1/catalog/${name}/pull`, { method: 'POST' }).then((job) => jobs.set((old) => new Map(old).set(job.id, { ...job, ...old.get(job.id) })), complain);
  const evict = async (name) => {
    await call(`v1/catalog/${name}/evict`, { method: 'POST' }).catch(complain);
    look();
    loadModels().catch(complain);
  };
  const words = query.trim().toLowerCase();
  const found = (known ?? []).filter((model) => !words || [model.name, model.architecture, model.licence].join(' ').toLowerCase().includes(words));
  const media = [...new Set(found.map((model) => model.medium))];
  return html`<main class="page narrow" tabindex="-1"><header class="page-head"><h1>Models</h1>
      <label class="search"><${Icon} name="search" size="16" /><span class="unseen">Search the models</span><input type="search" data-main placeholder="Search" value=${query} onInput=${(event) => setQuery(event.target.value)} /></label></header>
    <${Memory} memory=${memory} evict=${evict} />
    ${media.map((medium) => html`<section key=${medium} class="model-group"><h2>${MEDIA[medium] ?? medium}</h2>
      <ul class="jobs">${found.filter((model) => model.medium === medium).sort((a, b) => Number(b.installed) - Number(a.installed)).map((model) => html`<${Row} key=${model.name} model=${model} pull=${pullOf[model.name]} get=${get} />`)}</ul></section>`)}
  </main>`;
}
