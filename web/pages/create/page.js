// Create: one brief, and every medium of it.
import { html, useEffect, useState } from '../../lib/html.js';
import { ApiError } from '../../lib/api.js';
import { useBegin } from '../../lib/begin.js';
import { ago } from '../../lib/format.js';
import { Icon } from '../../lib/icons.js';
import { go, route } from '../../lib/route.js';
import { state, useValue } from '../../lib/state.js';
import { Empty, Field, Growing, Progress } from '../../ui/controls.js';
import { confirm } from '../../ui/dialog.js';
import { complain } from '../../ui/toast.js';
import { beginCreation, cancelCreation, changePlan, howFar, isGoing, listCreations, listKits, removeCreation, resumeCreation, saveZip, useCreation } from './creations.js';
import { Plan } from './plan.js';
import { Work } from './works.js';

/** What is being written, which a look at another page does not lose. */
const draft = state({ brief: '', kit: '' });
const STATES = { queued: 'waiting', running: 'being made', done: 'done', failed: 'not all could be made', cancelled: 'stopped' };

function Kits({ kits, chosen, choose }) {
  return html`<div class="kits" role="group" aria-label="What comes of it">${kits.map((kit) => html`<button type="button" key=${kit.id} aria-pressed=${kit.id === chosen} onClick=${() => choose(kit)}><b>${kit.title}</b><span>${kit.about}</span></button>`)}</div>`;
}

function Earlier({ list }) {
  if (!list?.length) return null;
  return html`<section aria-label="Earlier creations"><h2>Earlier</h2><ul class="jobs">${list.map((one) => html`<li key=${one.id}><a class="creation" href=${`#/create/${one.id}`}><b>${one.title || one.brief}</b>
    <small class="muted">${[STATES[one.state], `${howFar(one).there} of ${one.works.length} works`, ago(one.created_at)].filter(Boolean).join(' · ')}</small></a></li>`)}</ul></section>`;
}

function Start() {
  const { brief, kit } = useValue(draft);
  const [kits, setKits] = useState(null);
  const [list, setList] = useState(null);
  const [missing, setMissing] = useState(false);
  const [going, setGoing] = useState(false);
  useEffect(() => {
    const failed = (error) => (error instanceof ApiError && error.missing ? setMissing(true) : complain(error));
    listKits().then(setKits, failed);
    listCreations().then(setList, failed);
  }, []);
  const chosen = kits?.find((one) => one.id === kit) ?? kits?.[0];
  const make = async (text = draft.get().brief, wanted = chosen?.id) => {
    if (!text.trim() || going) return;
    setGoing(true);
    try {
      const creation = await beginCreation({ brief: text.trim(), ...(wanted && { kit: wanted }) });
      draft.set({ brief: '', kit: '' });
      go(`create/${creation.id}`);
    } catch (error) {
      complain(error);
      setGoing(false);
    }
  };
  useBegin(kits, (text) => { draft.set({ brief: text, kit: '' }); make(text, null); });
  const keys = (event) => { if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) { event.preventDefault(); make(); } };
  if (missing) return html`<main class="page" tabindex="-1"><${Empty} icon="create" title="This server makes no creations" /></main>`;
  const set = (part) => draft.set((old) => ({ ...old, ...part }));
  const examples = (kits ?? []).filter((one) => one.example);
  return html`<main class="page create" tabindex="-1"><header class="page-head"><h1>Create</h1></header>
    <form class="card" aria-label="The brief" onSubmit=${(event) => { event.preventDefault(); make(); }} onKeyDown=${keys}>
      <${Field} label="What is it about?" hint="One or two sentences: what it is, whom it is for, how it shall sound.">${(id) => html`<${Growing} id=${id} data-main value=${brief} change=${(text) => set({ brief: text })} placeholder=${chosen?.example ?? ''} />`}<//>
      ${kits?.length > 0 && html`<${Kits} kits=${kits} chosen=${chosen?.id} choose=${(one) => set({ kit: one.id })} />`}
      <div class="row"><button class="primary" disabled=${going || !brief.trim() || !kits}><${Icon} name="create" size="18" />Make all of it</button></div></form>
    ${examples.length > 0 && !brief.trim() && html`<div class="examples" role="group" aria-label="Examples">${examples.map((one) => html`<button type="button" class="quiet" key=${one.id} onClick=${() => draft.set({ brief: one.example, kit: one.id })}>${one.example}</button>`)}</div>`}
    <${Earlier} list=${list} /></main>`;
}

function Line({ creation }) {
  const { there, share } = howFar(creation);
  const now = creation.works.filter((work) => work.state === 'running').map((work) => work.title);
  const words = creation.state === 'queued' ? 'Waiting for its turn' : !creation.plan ? 'Reading the brief' : now.length ? `Making: ${now.join(', ')}` : 'Going on';
  return html`<div class="going-line" role="status"><div class="row"><span class="grow">${words}</span><span class="muted">${there} of ${creation.works.length || '?'}</span></div><${Progress} share=${creation.plan ? share : null} label="How far the works are" /></div>`;
}

function Creation({ id }) {
  const { creation, error, stamps, look } = useCreation(id);
  if (!creation) return html`<main class="page create" tabindex="-1">${error && html`<${Empty} icon="create" title="This creation is not there"><p>${error.message}</p><a href="#/create">To the others</a><//>`}</main>`;
  const going = isGoing(creation);
  const then = (work) => work.then(look, complain);
  const remove = async () => {
    if (!(await confirm('Delete this creation?', { detail: 'All its files are deleted too.' }))) return;
    removeCreation(id).then(() => go('create', { replace: true }), complain);
  };
  const save = (plan) => changePlan(id, plan).then(() => { look(); return true; }, (problem) => { complain(problem); return false; });
  const there = creation.works.some((work) => work.state === 'done' || work.state === 'kept');
  const open = creation.state === 'failed' || creation.state === 'cancelled';
  return html`<main class="page create" tabindex="-1">
    <header class="creation-head"><p class="crumb"><a href="#/create">Create</a></p><h1>${creation.title || 'A new creation'}</h1><p class="lead">${creation.brief}</p>
      <div class="row">${going && html`<button type="button" onClick=${() => then(cancelCreation(id))}><${Icon} name="stop" size="16" />Stop</button>`}
        ${open && html`<button type="button" class="primary" onClick=${() => then(resumeCreation(id))}><${Icon} name="play" size="17" />Go on</button>`}
        ${there && !going && html`<button type="button" onClick=${() => saveZip(creation).catch(complain)}><${Icon} name="download" size="17" />All as one file</button>`}
        ${!going && html`<button type="button" class="quiet" onClick=${remove}><${Icon} name="trash" size="17" />Delete</button>`}
        ${!going && html`<span class=${`tag ${creation.state === 'done' ? 'good' : creation.state === 'failed' ? 'bad' : ''}`}>${STATES[creation.state]}</span>`}</div></header>
    ${error && html`<p class="bad" role="alert">${error.message}</p>`}
    ${going && html`<${Line} creation=${creation} />`}
    ${creation.error && html`<p class="failed" role="alert">${creation.error.message}${creation.error.hint ? ` ${creation.error.hint}` : ''}</p>`}
    ${creation.plan && html`<${Plan} plan=${creation.plan} busy=${going} save=${save} />`}
    <ul class="mades">${creation.works.map((work) => html`<${Work} key=${work.id} creation=${creation} work=${work} stamp=${stamps[work.id]} />`)}</ul></main>`;
}

export function Page() {
  const { rest } = useValue(route);
  return rest[0] ? html`<${Creation} key=${rest[0]} id=${rest[0]} />` : html`<${Start} />`;
}
