// Chat: the conversations, the one that is open, and the place to write.
import { html, useEffect, useLayoutEffect, useRef, useState } from '../../lib/html.js';
import { settings } from '../../lib/api.js';
import { ago, download, fileName } from '../../lib/format.js';
import { useBegin } from '../../lib/begin.js';
import { Icon } from '../../lib/icons.js';
import { getWork, takeRecipe } from '../../lib/library.js';
import { loadModels, models, serving } from '../../lib/models.js';
import { go, route } from '../../lib/route.js';
import { useValue } from '../../lib/state.js';
import { Growing, Menu, Select } from '../../ui/controls.js';
import { Dictate } from '../../ui/dictate.js';
import { ask, confirm } from '../../ui/dialog.js';
import { complain } from '../../ui/toast.js';
import { Message } from './message.js';
import { Panel } from './panel.js';
import { asMarkdown, change, loadTalks, newTalk, ofRecipe, path, removeTalk, talkOf, talks } from './talks.js';
import { answer, say, stop, writing } from './write.js';

const STARTS = [
  'Explain in two sentences why bread rises.',
  'Explain photosynthesis to a child.',
  'Give me five names for a small bakery.',
  'Write a Python function that reverses a string.',
];

function Talks({ list, current, close }) {
  const [query, setQuery] = useState('');
  const words = query.trim().toLowerCase();
  const found = (talk) => !words || talk.title.toLowerCase().includes(words)
    || Object.values(talk.nodes).some((node) => node.content.toLowerCase().includes(words));
  const rename = async (talk) => {
    const title = await ask('Name of the chat', talk.title);
    if (title) change(talk.id, { title });
  };
  const remove = async (talk) => {
    if (!(await confirm('Delete this chat?', { detail: talk.title }))) return;
    stop(talk.id);
    await removeTalk(talk.id);
    if (talk.id === current) go('chat', { replace: true });
  };
  const items = (talk) => [
    ['edit', 'Rename', () => rename(talk)],
    ['download', 'Export as Markdown', () => download(fileName(talk.title, 'md'), asMarkdown(talk), 'text/markdown')],
    ['download', 'Export as JSON', () => download(fileName(talk.title, 'json'), JSON.stringify(talk, null, 2))],
    ['trash', 'Delete', () => remove(talk), true],
  ];
  return html`<aside class="talks" aria-label="Chats">
    <div class="talks-head">
      <button type="button" class="primary grow" onClick=${() => { go('chat'); close(); }}><${Icon} name="plus" size="18" />New chat</button>
      <button type="button" class="quiet only-drawer" aria-label="Close the list" onClick=${close}><${Icon} name="close" /></button>
    </div>
    <label class="search"><${Icon} name="search" size="16" /><span class="unseen">Search the chats</span>
      <input type="search" placeholder="Search" value=${query} onInput=${(event) => setQuery(event.target.value)} /></label>
    <ul>${(list ?? []).filter(found).map((talk) => html`<li key=${talk.id} class=${talk.id === current ? 'current' : ''}>
      <a href=${`#/chat/${talk.id}`} aria-current=${talk.id === current ? 'true' : null} onClick=${close}>
        <span>${talk.title || 'New chat'}</span><small>${ago(talk.changed)}</small></a>
      <${Menu} label=${`What to do with ${talk.title}`} items=${items(talk)} /></li>`)}</ul>
    ${list?.length === 0 && html`<p class="hint pad">Chats are kept in this browser.</p>`}
  </aside>`;
}

function Composer({ busy, submit, halt, ready }) {
  const [text, setText] = useState('');
  const field = useRef();
  useEffect(() => {
    // On phones the keyboard would cover the page at once.
    if (matchMedia('(pointer: fine)').matches) field.current.focus();
  }, []);
  const done = () => {
    if (!text.trim() || busy || !ready) return;
    submit(text.trim());
    setText('');
  };
  const keys = (event) => {
    if (event.key !== 'Enter' || event.isComposing || event.shiftKey) return;
    if (settings.get().send === 'enter' || event.ctrlKey || event.metaKey) {
      event.preventDefault();
      done();
    }
  };
  return html`<form class="composer" onSubmit=${(event) => { event.preventDefault(); done(); }}>
    <${Growing} field=${field} data-main aria-label="Message" placeholder="Write a message" value=${text} change=${setText} onKeyDown=${keys} />
    ${!busy && html`<${Dictate} write=${(said) => { setText((old) => (old.trim() ? `${old.trimEnd()} ${said}` : said)); field.current.focus(); }} />`}
    ${busy
      ? html`<button type="button" class="round" aria-label="Stop" title="Stop (Esc)" onClick=${halt}><${Icon} name="stop" /></button>`
      : html`<button class="round" aria-label="Send" title="Send" disabled=${!text.trim() || !ready}><${Icon} name="send" /></button>`}
  </form>`;
}

function Start({ pick, known }) {
  return html`<div class="start"><h2>What shall we write?</h2>
    ${known && !known.length ? html`<p class="muted">No language model is here yet. <a href="#/models">Get one on the page of models.</a></p>`
      : html`<div class="starts">${STARTS.map((text) => html`<button type="button" onClick=${() => pick(text)}>${text}</button>`)}</div>`}
  </div>`;
}

/** Keeps the end in sight while it grows, unless the reader has scrolled away from it. */
function useFollow(list, id) {
  const held = useRef(true);
  useLayoutEffect(() => {
    held.current = true;
    list.current.scrollTop = list.current.scrollHeight;
  }, [id]);
  useLayoutEffect(() => {
    if (held.current) list.current.scrollTop = list.current.scrollHeight;
  });
  return () => {
    // The last event may come when the page has gone.
    if (!list.current) return;
    const { scrollTop, scrollHeight, clientHeight } = list.current;
    held.current = scrollHeight - scrollTop - clientHeight < 48;
  };
}

export function Page() {
  const list = useValue(talks);
  const known = useValue(models);
  const chosen = useValue(settings);
  const busyTalks = useValue(writing);
  const { rest, query } = useValue(route);
  const [drawer, setDrawer] = useState(false);
  const [panel, setPanel] = useState(false);
  const [draft, setDraft] = useState(() => newTalk(''));
  const thread = useRef();
  useEffect(() => { loadTalks().catch(complain); loadModels().catch(complain); }, []);

  useEffect(() => {
    const work = query.get('reuse');
    if (!work) return;
    const again = async () => {
      await loadTalks();
      const talk = ofRecipe(takeRecipe() ?? (await getWork(work)).recipe);
      answer(talk, talk.leaf);
      go(`chat/${talk.id}`, { replace: true });
    };
    again().catch(complain);
  }, [query]);

  const id = rest[0];
  const talk = (id && talkOf(id)) || null;
  useEffect(() => {
    if (id && list && !talk) go('chat', { replace: true });
    if (!id) setDraft(newTalk(''));
  }, [id, list && !talk]);
  const writers = serving(known, 'text');
  const usualModel = writers.find((model) => model.name === chosen.chatModel)?.name ?? writers[0]?.name ?? '';
  const shown = talk ?? { ...draft, model: draft.model || usualModel };
  const busy = busyTalks.has(shown.id);
  const inside = chosen.insideOpen;

  const update = (part) => (talk ? change(talk.id, part) : setDraft({ ...shown, ...part }));
  const submit = (text) => {
    const open = talk ?? { ...shown };
    say(open, text, open.leaf);
    if (!talk) go(`chat/${open.id}`);
  };
  useBegin(list && usualModel, (prompt) => {
    const fresh = newTalk(usualModel);
    say(fresh, prompt, null);
    go(`chat/${fresh.id}`, { replace: true });
  });
  const toggleInside = () => settings.change({ insideOpen: !settings.get().insideOpen });
  const pickModel = (model) => {
    settings.change({ chatModel: model });
    update({ model });
  };
  useEffect(() => {
    const keys = (event) => {
      if (document.querySelector('dialog[open]')) return;
      if (event.key === 'Escape' && busy) stop(shown.id);
      if (event.altKey && event.code === 'KeyN') { event.preventDefault(); go('chat'); }
      if (event.altKey && event.code === 'KeyI') { event.preventDefault(); toggleInside(); }
    };
    addEventListener('keydown', keys);
    return () => removeEventListener('keydown', keys);
  }, [busy, shown.id]);
  const scrolled = useFollow(thread, shown.id);

  const nodes = path(shown);
  const names = writers.map((model) => [model.name, model.name]);
  if (shown.model && !names.some(([name]) => name === shown.model)) names.unshift([shown.model, shown.model]);
  return html`<main class="chat ${drawer ? 'drawer-open' : ''} ${panel ? 'panel-open' : ''}" tabindex="-1">
    <${Talks} list=${list} current=${id} close=${() => setDrawer(false)} />
    <div class="veil" onClick=${() => { setDrawer(false); setPanel(false); }}></div>
    <section class="thread" aria-label="Conversation">
      <header class="bar">
        <button type="button" class="quiet only-drawer" aria-label="Chats" onClick=${() => setDrawer(true)}><${Icon} name="menu" /></button>
        <h1>${talk?.title || 'New chat'}</h1>
        <${Select} id="chat-model" label="Model" value=${shown.model} options=${names} change=${pickModel} />
        <button type="button" class="quiet toggle" aria-label="Look inside" aria-pressed=${inside} title="Look inside (Alt I)" onClick=${toggleInside}><${Icon} name="inside" /><span class="wide-only">Look inside</span></button>
        <button type="button" class="quiet toggle" aria-pressed=${panel} aria-label="Settings of this chat" title="System prompt and sampling" onClick=${() => setPanel(!panel)}><${Icon} name="tune" /></button>
      </header>
      <div class="messages" ref=${thread} onScroll=${scrolled}>
        <div class="column">
          ${nodes.length === 0 && html`<${Start} pick=${submit} known=${known && writers} />`}
          ${nodes.map((node, index) => html`<${Message} key=${node.id} talk=${shown} node=${node} busy=${busy} inside=${inside} last=${index === nodes.length - 1} />`)}
        </div>
      </div>
      <${Composer} key=${shown.id} busy=${busy} ready=${Boolean(shown.model)} submit=${submit} halt=${() => stop(shown.id)} />
    </section>
    ${panel && html`<${Panel} talk=${shown} change=${update} close=${() => setPanel(false)} />`}
  </main>`;
}
