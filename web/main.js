// The frame: side bar or bottom bar, the page, and what lies over it.
import { html, render, useEffect, useErrorBoundary, useState } from './lib/html.js';
import { call, keyQuestion, online } from './lib/api.js';
import { Icon } from './lib/icons.js';
import { route } from './lib/route.js';
import { useValue } from './lib/state.js';
import { busyJobs } from './lib/jobs.js';
import { pages } from './pages.js';
import { Dialog, Questions } from './ui/dialog.js';
import { Help, helpOpen } from './ui/keys.js';
import { Toasts } from './ui/toast.js';
import { Text } from './ui/controls.js';

/** Links in the bar of a phone; the others are under "More". */
const IN_BAR = 4;

function Link({ page, here, badge, onClick }) {
  return html`<a href=${`#/${page.id}`} class="nav-link" title=${page.label} aria-current=${here ? 'page' : null} onClick=${onClick}>
    <${Icon} name=${page.icon} size="21" /><span>${page.label}</span>
    ${badge > 0 && html`<b class="badge" aria-label=${`${badge} running`}>${badge}</b>`}</a>`;
}

function Nav({ current }) {
  const [more, setMore] = useState(false);
  const busy = useValue(busyJobs);
  const badge = (page) => (page.id === 'jobs' ? busy : 0);
  const link = (page) => html`<${Link} key=${page.id} page=${page} here=${page.id === current} badge=${badge(page)} onClick=${() => setMore(false)} />`;
  return html`<nav class="nav" aria-label="Pages">
    <a class="brand" href="#/home"><img src="assets/icon.svg" width="26" height="26" alt="" /><span>Medley</span></a>
    <div class="nav-links">${pages.map((page, index) => html`<div class=${index < IN_BAR ? '' : 'over'} key=${page.id}>${link(page)}</div>`)}
      <button type="button" class="nav-link nav-more" aria-expanded=${more} onClick=${() => setMore(!more)}><${Icon} name="more" size="21" /><span>More</span></button>
    </div>
    ${more && html`<div class="more-sheet">${pages.slice(IN_BAR).map(link)}</div>`}
    <button type="button" class="nav-link nav-keys" onClick=${() => helpOpen.set(true)}><${Icon} name="keyboard" size="21" /><span>Keys</span></button>
  </nav>`;
}

const loaded = new Map();

function Current({ page }) {
  const [found, setFound] = useState(() => loaded.get(page.id));
  const [failed, setFailed] = useState(null);
  const [broken] = useErrorBoundary((problem) => console.error(problem));
  const error = failed ?? broken;
  useEffect(() => {
    document.title = `${page.label} – Medley`;
    page.load().then((module) => {
      loaded.set(page.id, module.Page);
      setFound(() => module.Page);
    }, (problem) => {
      console.error(problem);
      setFailed(problem);
    });
  }, [page]);
  if (error) {
    return html`<main class="page"><div class="empty"><h2>This page has failed</h2><p class="muted">${error.message}</p>
      <button type="button" class="primary" onClick=${() => location.reload()}>Reload</button></div></main>`;
  }
  return found ? html`<${found} />` : html`<main class="page"></main>`;
}

function KeyDialog({ asked }) {
  const [key, setKey] = useState('');
  const submit = (event) => { event.preventDefault(); if (key.trim()) asked.answer(key.trim()); };
  return html`<${Dialog} title="This server asks for a key" close=${() => asked.answer(null)}>
    <form onSubmit=${submit}>
      ${asked.wrong && html`<p class="bad" role="alert">The key that is kept here is not accepted.</p>`}
      <${Text} label="API key" type="password" autocomplete="current-password" autofocus value=${key} change=${setKey}
        hint="One of those given to medley serve with --api-key. It is kept in this browser." />
      <footer><button type="button" onClick=${() => asked.answer(null)}>Cancel</button><button class="primary">Continue</button></footer>
    </form>
  <//>`;
}

function App() {
  const { page: name } = useValue(route);
  const page = pages.find((one) => one.id === name) || pages[0];
  const asked = useValue(keyQuestion);
  const reachable = useValue(online);
  useEffect(() => {
    if (reachable) return undefined;
    const timer = setInterval(() => fetch('health').then((answer) => answer.ok && online.set(true), () => {}), 3000);
    return () => clearInterval(timer);
  }, [reachable]);
  return html`<a class="skip" href="#content" onClick=${(event) => { event.preventDefault(); document.querySelector('main')?.focus(); }}>To the content</a>
    <${Nav} current=${page.id} />
    <div class="stage" id="content">
      ${!reachable && html`<p class="offline" role="alert">The server cannot be reached. Trying again …</p>`}
      <${Current} key=${page.id} page=${page} />
    </div>
    ${useValue(helpOpen) && html`<${Help} />`}
    ${asked && html`<${KeyDialog} asked=${asked} />`}
    <${Questions} /><${Toasts} />`;
}

render(html`<${App} />`, document.getElementById('app'));
// Asks for the key at once, where one is needed.
call('v1/models').catch(() => {});
