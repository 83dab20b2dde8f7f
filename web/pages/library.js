// The library: every work that the server has made, with its recipe.
import { html, useEffect, useRef, useState } from '../lib/html.js';
import { ApiError } from '../lib/api.js';
import { ago } from '../lib/format.js';
import { Icon } from '../lib/icons.js';
import { jobs } from '../lib/jobs.js';
import { getWork, listWorks, removeWork } from '../lib/library.js';
import { go, route } from '../lib/route.js';
import { useValue } from '../lib/state.js';
import { Empty, Select } from '../ui/controls.js';
import { confirm } from '../ui/dialog.js';
import { Picture, thumbnailPath } from '../ui/picture.js';
import { complain, toast } from '../ui/toast.js';
import { Compare, WorkDialog } from '../ui/work.js';

const MEDIA = [['', 'All media'], ['image', 'Pictures'], ['text', 'Texts'], ['speech', 'Speech'], ['music', 'Music'], ['video', 'Films']];

/** A work in small; `open` and `choose` are told which. */
export function Card({ work, chosen, choosing, open, choose }) {
  const name = work.title || work.prompt || 'Untitled';
  return html`<li class="work-card ${chosen ? 'chosen' : ''}">
    <button type="button" class="plain" aria-pressed=${choosing ? chosen : null} onClick=${(event) => (choosing || event.shiftKey ? choose(work) : open(work))}>
      <span class="work-thumb">${work.medium === 'image' || work.medium === 'video'
        ? html`<${Picture} path=${thumbnailPath(work)} loading="lazy" width=${work.width} height=${work.height} />`
        : html`<span class="work-excerpt">${work.prompt || work.title}</span>`}</span>
      <span class="work-name">${name}</span><small>${work.model} · ${ago(work.created_at)}</small></button>
    ${chosen && html`<b class="work-check"><${Icon} name="check" size="16" /></b>`}
  </li>`;
}

/** The works that are asked for, page after page. */
function useWorks(asked) {
  const [list, setList] = useState(null);
  const [more, setMore] = useState(false);
  const [missing, setMissing] = useState(false);
  const turn = useRef(0);
  const load = async (after) => {
    const mine = (turn.current += 1);
    try {
      const answer = await listWorks({ ...asked, ...(after && { after }) });
      if (mine !== turn.current) return;
      setList((old) => (after ? [...old, ...answer.data] : answer.data));
      setMore(answer.has_more);
    } catch (error) {
      if (error instanceof ApiError && error.missing) setMissing(true);
      else complain(error);
    }
  };
  const done = [...useValue(jobs).values()].filter((job) => job.state === 'done').length;
  useEffect(() => {
    const timer = setTimeout(load, asked.q ? 180 : 0);
    return () => clearTimeout(timer);
  }, [asked.q, asked.medium, asked.tag, done]);
  return { list, setList, more, missing, next: () => load(list.at(-1)?.id) };
}

export function Page() {
  const { rest } = useValue(route);
  const [q, setQ] = useState('');
  const [medium, setMedium] = useState('');
  const [tag, setTag] = useState('');
  const [choosing, setChoosing] = useState(false);
  const [chosen, setChosen] = useState([]);
  const [comparing, setComparing] = useState(false);
  const [opened, setOpened] = useState(null);
  const end = useRef();
  const { list, setList, more, missing, next } = useWorks({ q: q.trim(), medium, tag });

  useEffect(() => {
    if (rest[0]) getWork(rest[0]).then(setOpened, complain);
    else setOpened(null);
  }, [rest[0]]);
  useEffect(() => {
    if (!more || !end.current) return undefined;
    const watch = new IntersectionObserver(([entry]) => entry.isIntersecting && next(), { rootMargin: '400px' });
    watch.observe(end.current);
    return () => watch.disconnect();
  }, [more, list?.length]);

  const tags = [...new Set((list ?? []).flatMap((work) => work.tags))].sort();
  if (tag && !tags.includes(tag)) tags.push(tag);
  const choose = (work) => {
    setChoosing(true);
    setChosen((old) => (old.some((other) => other.id === work.id) ? old.filter((other) => other.id !== work.id) : [...old, work]));
  };
  const stop = () => { setChoosing(false); setChosen([]); };
  const changed = (now, before) => {
    setList((old) => old.flatMap((work) => (work.id !== before.id ? [work] : now ? [now] : [])));
    if (!now) go('library', { replace: true });
  };
  const remove = async () => {
    const count = chosen.length;
    if (!(await confirm(count === 1 ? 'Delete this work?' : `Delete these ${count} works?`, { detail: 'Their files are deleted too.' }))) return;
    const ended = await Promise.allSettled(chosen.map((work) => removeWork(work)));
    const gone = new Set(chosen.filter((_, index) => ended[index].status === 'fulfilled').map((work) => work.id));
    setList((old) => old.filter((work) => !gone.has(work.id)));
    if (gone.size < count) toast(`${count - gone.size} could not be deleted.`, { kind: 'bad' });
    stop();
  };
  const both = chosen.length === 2 && chosen.every((work) => work.medium === 'image');
  return html`<main class="page" tabindex="-1">
    <header class="page-head"><h1>Library</h1>
      <label class="search"><${Icon} name="search" size="16" /><span class="unseen">Search the works</span><input type="search" data-main placeholder="Search" value=${q} onInput=${(event) => setQ(event.target.value)} /></label>
      <${Select} id="medium" label="Medium" value=${medium} options=${MEDIA} change=${setMedium} />
      ${tags.length > 0 && html`<${Select} id="tag" label="Tag" value=${tag} options=${[['', 'All tags'], ...tags.map((name) => [name, name])]} change=${setTag} />`}
      <button type="button" class="toggle" aria-pressed=${choosing} onClick=${() => (choosing ? stop() : setChoosing(true))}><${Icon} name="check" size="17" />Select</button></header>
    ${choosing && html`<div class="chosen-bar" role="status"><span>${chosen.length} selected</span>
      <button type="button" disabled=${!both} onClick=${() => setComparing(true)}><${Icon} name="compare" size="17" />Compare</button>
      <button type="button" class="danger" disabled=${!chosen.length} onClick=${remove}><${Icon} name="trash" size="17" />Delete</button><button type="button" class="quiet" onClick=${stop}>Done</button></div>`}
    ${missing && html`<${Empty} icon="library" title="This server keeps no library" />`}
    ${list?.length === 0 && (q || medium || tag
      ? html`<${Empty} icon="search" title="Nothing found"><button type="button" onClick=${() => { setQ(''); setMedium(''); setTag(''); }}>Show all</button><//>`
      : html`<${Empty} icon="library" title="Nothing here yet"><p>What you draw is kept here with its recipe. <a href="#/draw">Draw something.</a></p><//>`)}
    <ul class="works">${(list ?? []).map((work) => html`<${Card} key=${work.id} work=${work} choosing=${choosing} chosen=${chosen.some((other) => other.id === work.id)} open=${(one) => go(`library/${one.id}`)} choose=${choose} />`)}</ul>
    ${more && html`<div ref=${end} class="more-line"><button type="button" onClick=${next}>More</button></div>`}
    ${opened && html`<${WorkDialog} work=${opened} among=${list ?? []} changed=${changed} close=${() => go('library', { replace: true })} />`}
    ${comparing && html`<${Compare} works=${chosen} close=${() => setComparing(false)} />`}
  </main>`;
}
