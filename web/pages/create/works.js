// The works of a creation, each as what it is.
import { html, useEffect, useState } from '../../lib/html.js';
import { send } from '../../lib/api.js';
import { Icon } from '../../lib/icons.js';
import { Markdown } from '../../lib/markdown.js';
import { Progress } from '../../ui/controls.js';
import { useLink, useSource } from '../../ui/picture.js';
import { complain } from '../../ui/toast.js';
import { filePath, isThere, saveFile } from './creations.js';

const ICONS = { text: 'text', image: 'image', poster: 'image', music: 'music', speech: 'speak', video: 'video', film: 'video', page: 'library' };
const STATES = { waiting: 'waits', running: 'is made', done: '', kept: 'kept', failed: 'failed' };

const endingOf = (file) => file.split('.').at(-1);
const KIND = { md: 'text', txt: 'text', png: 'picture', jpg: 'picture', webp: 'picture', gif: 'picture', wav: 'sound', flac: 'sound', mp3: 'sound', opus: 'sound', mp4: 'film', html: 'page' };

function Written({ path, markdown }) {
  const [text, setText] = useState(null);
  useEffect(() => { send(path).then((answer) => answer.text()).then(setText, complain); }, [path]);
  // What stands before the text for programs is not for people.
  const said = text?.replace(/^---\n[\s\S]*?\n---\n/, '').replace(/<!--[\s\S]*?-->/g, '');
  return html`<div class="made-text prose" tabindex="0" role="group" aria-label="The text">${said == null ? '…' : markdown ? html`<${Markdown} text=${said} />` : said}</div>`;
}

function Shown({ path, title }) {
  const source = useSource(path);
  return html`<a class="made-picture" href=${source} target="_blank" rel="noopener" aria-label=${`${title}, in full`}><img src=${source ?? undefined} alt=${title} /></a>`;
}

function Heard({ path, title }) {
  const source = useLink(path);
  return html`<audio controls src=${source ?? undefined} aria-label=${title}></audio>`;
}

function Filmed({ path, title }) {
  const source = useLink(path);
  return html`<video controls playsinline loop src=${source ?? undefined} aria-label=${title}></video>`;
}

/** The page with all works. */
function Paged({ path, title }) {
  const link = useLink(path);
  if (!link) return null;
  return html`<iframe class="made-page" src=${link} sandbox="" loading="lazy" title=${title}></iframe>
    <a href=${link} target="_blank" rel="noopener">Open the page in a window of its own</a>`;
}

function Content({ creation, work, stamp }) {
  const file = work.file ?? work.files?.[0];
  if (!file) return null;
  const path = `${filePath(creation.id, file)}${stamp ? `?v=${stamp}` : ''}`;
  const kind = KIND[endingOf(file)];
  if (kind === 'text') return html`<${Written} path=${path} markdown=${endingOf(file) === 'md'} />`;
  if (kind === 'picture') return html`<${Shown} path=${path} title=${work.title} />`;
  if (kind === 'sound') return html`<${Heard} path=${path} title=${work.title} />`;
  if (kind === 'film') return html`<${Filmed} path=${path} title=${work.title} />`;
  if (kind === 'page') return html`<${Paged} path=${path} title=${work.title} />`;
  return null;
}

/** One work: what it is, how it stands, and what came of it. */
export function Work({ creation, work, stamp }) {
  const there = isThere(work);
  const titles = Object.fromEntries(creation.works.map((other) => [other.id, other.title]));
  const missing = (work.needs ?? []).filter((id) => !isThere(creation.works.find((other) => other.id === id) ?? { state: 'done' }));
  const wide = work.medium === 'page' || work.medium === 'film';
  return html`<li class="made ${wide ? 'wide' : ''} ${there ? '' : 'coming'}" aria-busy=${work.state === 'running'}>
    <div class="row"><span class="model-icon"><${Icon} name=${ICONS[work.medium] ?? 'models'} size="18" /></span><h3 class="grow">${work.title}</h3>
      ${STATES[work.state] && html`<span class=${`tag ${work.state === 'failed' ? 'bad' : ''}`}>${STATES[work.state]}</span>`}</div>
    ${there && html`<${Content} creation=${creation} work=${work} stamp=${stamp} />`}
    ${work.state === 'running' && html`<${Progress} share=${work.progress} label=${work.title} />`}
    ${work.state === 'waiting' && html`<p class="hint">${missing.length ? `It is made of: ${missing.map((id) => titles[id] ?? id).join(', ')}.` : 'It comes in its turn.'}</p>`}
    ${work.error && html`<p class="bad">${work.error.message}${work.error.hint ? ` ${work.error.hint}` : ''}</p>`}
    ${there && html`<div class="row made-files">${(work.files ?? [work.file]).map((file) => html`<button type="button" class="quiet tiny" key=${file} onClick=${() => saveFile(creation.id, file).catch(complain)}><${Icon} name="download" size="15" />${file}</button>`)}</div>`}
  </li>`;
}
