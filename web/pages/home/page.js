// The start: one box for anything, the medium that its words ask for, and what was made last.
import { html, useEffect, useRef, useState } from '../../lib/html.js';
import { ApiError, call } from '../../lib/api.js';
import { PAGE_OF, beginAt } from '../../lib/begin.js';
import { Icon } from '../../lib/icons.js';
import { jobs } from '../../lib/jobs.js';
import { listWorks } from '../../lib/library.js';
import { go } from '../../lib/route.js';
import { state, useValue } from '../../lib/state.js';
import { Growing } from '../../ui/controls.js';
import { Dictate } from '../../ui/dictate.js';
import { complain } from '../../ui/toast.js';
import { pages } from '../../pages.js';
import { Card } from '../library.js';

const MEDIA = [['text', 'chat', 'Text'], ['image', 'draw', 'Picture'], ['speech', 'speak', 'Speech'], ['music', 'music', 'Music'], ['video', 'video', 'Film'], ['create', 'create', 'Everything']];
const EXAMPLES = ['Draw a red apple', 'Explain photosynthesis to a child', 'A lively jig in G', 'A clip of a beating red heart', 'Say “Good morning, everyone!”', 'Launch campaign for a small bakery with sourdough bread'];
/** Those that this studio has a page for. */
const media = () => MEDIA.filter(([id]) => pages.some((page) => page.id === PAGE_OF[id]));
/** Works that are shown below. */
const RECENT = 12;

/** What is being written, which a look at another page does not lose. */
const draft = state('');
/** Whether this server can tell what words ask for; null as long as nobody knows. */
const routes = state(null);

async function ask(prompt, signal) {
  if (routes.get() === false || !prompt) return null;
  try {
    const told = await call('v1/route', { body: { prompt }, signal });
    routes.set(true);
    return { ...told, of: prompt };
  } catch (error) {
    if (error instanceof ApiError && error.missing) routes.set(false);
    else if (error.name !== 'AbortError') complain(error);
    return null;
  }
}

/** What the server takes the words for, once nobody has typed for a moment. */
function useRoute(text) {
  const [told, setTold] = useState(null);
  useEffect(() => {
    const prompt = text.trim();
    if (!prompt) { setTold(null); return undefined; }
    const controller = new AbortController();
    const timer = setTimeout(() => ask(prompt, controller.signal).then((answer) => controller.signal.aborted || setTold(answer)), 300);
    return () => { clearTimeout(timer); controller.abort(); };
  }, [text]);
  return told;
}

function Box() {
  const text = useValue(draft);
  const helped = useValue(routes);
  const told = useRoute(text);
  const [picked, setPicked] = useState(null);
  const [going, setGoing] = useState(false);
  const field = useRef();
  useEffect(() => { if (matchMedia('(pointer: fine)').matches) field.current.focus(); }, []);
  const medium = picked ?? told?.medium ?? null;
  const make = async (chosen = picked) => {
    const prompt = text.trim();
    if (!prompt || going) return;
    setGoing(true);
    const answer = told?.of === prompt ? told : await ask(prompt);
    setGoing(false);
    const wanted = chosen ?? answer?.medium;
    if (!wanted) return;
    // What is left of the words was meant for the medium that they ask for.
    const rest = answer && answer.medium === wanted ? answer.prompt : prompt;
    draft.set('');
    beginAt(wanted, rest || prompt);
  };
  const keys = (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    make();
  };
  // Without the server's help a click on a medium is what begins.
  const choose = (id) => { if (helped === false && text.trim()) make(id); else setPicked(picked === id ? null : id); };
  const help = helped === false ? 'Choose what it shall become.' : !medium ? 'Say what you want; what it shall become shows here.'
    : picked ? 'As you chose.' : 'That is what your words ask for. Choose another, if not.';
  return html`<form class="ask" aria-label="What shall I make?" onSubmit=${(event) => { event.preventDefault(); make(); }}>
    <div class="composer"><${Growing} field=${field} data-main aria-label="What shall I make?" placeholder="A red apple, a jig in G, a campaign for my café …" value=${text} change=${(now) => draft.set(now)} onKeyDown=${keys} />
      <${Dictate} write=${(said) => { draft.set((old) => `${old.trimEnd()} ${said}`.trim()); field.current.focus(); }} />
      <button class="round" aria-label="Make it" title="Make it" disabled=${!text.trim() || going || (helped === false && !picked)}><${Icon} name="send" /></button></div>
    <div class="chips" role="group" aria-label="What it becomes">${media().map(([id, icon, name]) => html`<button type="button" key=${id} class="chip" aria-pressed=${medium === id} onClick=${() => choose(id)}><${Icon} name=${icon} size="17" />${name}</button>`)}</div>
    <p class="hint" role="status">${help}</p>
  </form>`;
}

function Recent() {
  const [works, setWorks] = useState([]);
  const done = [...useValue(jobs).values()].filter((job) => job.state === 'done').length;
  useEffect(() => {
    listWorks({ limit: RECENT }).then((list) => setWorks(list.data), (error) => {
      if (!(error instanceof ApiError && (error.missing || error.code === 'nothing_kept'))) complain(error);
    });
  }, [done]);
  if (!works.length) return null;
  return html`<section class="recent" aria-label="Made last"><div class="row"><h2 class="grow">Made last</h2><a href="#/library">The library</a></div>
    <ul class="works">${works.map((work) => html`<${Card} key=${work.id} work=${work} open=${(one) => go(`library/${one.id}`)} />`)}</ul></section>`;
}

export function Page() {
  const text = useValue(draft);
  return html`<main class="page home" tabindex="-1">
    <div class="home-head"><h1>What shall I make?</h1><${Box} />
      ${!text.trim() && html`<div class="examples" role="group" aria-label="Examples">${EXAMPLES.map((example) => html`<button type="button" class="quiet" key=${example} onClick=${() => { draft.set(example); document.querySelector('[data-main]').focus(); }}>${example}</button>`)}</div>`}</div>
    <${Recent} />
  </main>`;
}
