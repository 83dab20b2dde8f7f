// One message with what can be done to it.
import { html, useEffect, useRef, useState } from '../../lib/html.js';
import { seconds } from '../../lib/format.js';
import { Icon } from '../../lib/icons.js';
import { CopyButton, Markdown } from '../../lib/markdown.js';
import { models, voices } from '../../lib/models.js';
import { useValue } from '../../lib/state.js';
import { aloud, readAloud } from '../../lib/voice.js';
import { Growing } from '../../ui/controls.js';
import { confirm } from '../../ui/dialog.js';
import { complain } from '../../ui/toast.js';
import { Measures, Tokens } from './inside.js';
import { Works } from './made.js';
import { change, deepest, removeNode, siblings } from './talks.js';
import { answer, say } from './write.js';

function Action({ icon, label, run, disabled }) {
  return html`<button type="button" class="quiet tiny" aria-label=${label} title=${label} disabled=${disabled} onClick=${run}><${Icon} name=${icon} size="16" /></button>`;
}

/** Reads an answer aloud, where there is a voice. */
function Aloud({ node }) {
  const [voice] = voices(useValue(models));
  const now = useValue(aloud) === node.id;
  if (!voice || !node.content.trim()) return null;
  // Code and marks are not for the ear; the server takes so many letters at once.
  const text = node.content.replace(/```[\s\S]*?(```|$)/g, ' ').replace(/[*_`#>|]/g, '').slice(0, 4000).trim();
  const read = () => readAloud(node.id, { model: voice.name, text }).catch(complain);
  return html`<${Action} icon=${now ? 'stop' : 'speak'} label=${now ? 'Stop reading' : 'Read aloud'} disabled=${!text} run=${read} />`;
}

/** From one version of a message to the other. */
function Versions({ talk, node, busy }) {
  const all = siblings(talk, node);
  if (all.length < 2) return null;
  const at = all.findIndex((other) => other.id === node.id);
  const show = (step) => change(talk.id, { leaf: deepest(talk, all[at + step]) });
  return html`<span class="versions" role="group" aria-label="Versions">
    <${Action} icon="left" label="Version before" disabled=${busy || at === 0} run=${() => show(-1)} />
    <span aria-label=${`Version ${at + 1} of ${all.length}`}>${at + 1}/${all.length}</span>
    <${Action} icon="right" label="Next version" disabled=${busy || at === all.length - 1} run=${() => show(1)} />
  </span>`;
}

function Editor({ node, done, cancel, label }) {
  const [text, setText] = useState(node.content);
  const field = useRef();
  useEffect(() => field.current.focus(), []);
  const submit = () => text.trim() && done(text.trim());
  const keys = (event) => {
    if (event.key === 'Escape') cancel();
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) submit();
  };
  return html`<div class="editor"><${Growing} field=${field} aria-label="Edit the message" value=${text} change=${setText} onKeyDown=${keys} />
    <div class="row end"><button type="button" onClick=${cancel}>Cancel</button><button type="button" class="primary" onClick=${submit}>${label}</button></div></div>`;
}

function User({ talk, node, busy }) {
  const [editing, setEditing] = useState(false);
  if (editing) {
    const done = (text) => { setEditing(false); say(talk, text, node.parent); };
    return html`<article class="message user" aria-label="You"><${Editor} node=${node} label="Send as a new version" done=${done} cancel=${() => setEditing(false)} /></article>`;
  }
  return html`<article class="message user" aria-label="You">
    <div class="bubble">${node.content}</div>
    <div class="actions"><${Versions} talk=${talk} node=${node} busy=${busy} />
      <${CopyButton} text=${node.content} small label="Copy the message" />
      <${Action} icon="edit" label="Edit and branch" disabled=${busy} run=${() => setEditing(true)} /></div>
  </article>`;
}

function short(node) {
  const { timing } = node;
  if (!timing?.tokens || !timing.decode) return null;
  const rate = (timing.tokens - 1) / timing.decode;
  return `${node.model} · ${timing.tokens} tokens · first after ${seconds(timing.first)} · ${rate.toFixed(rate < 10 ? 1 : 0)} tokens/s`;
}

function Assistant({ talk, node, busy, inside, last }) {
  const [editing, setEditing] = useState(false);
  const going = node.state === 'writing';
  const remove = async () => {
    if (await confirm('Delete this answer and what follows it?')) removeNode(talk, node);
  };
  const rewrite = (content) => {
    setEditing(false);
    Object.assign(node, { content, tokens: [], timing: null, edited: true });
    change(talk.id, {});
  };
  const seen = inside && node.tokens?.length > 0;
  let shown = node.content && html`<${Markdown} text=${node.content} />`;
  if (seen) shown = html`<${Tokens} tokens=${node.tokens} />`;
  if (editing) shown = html`<${Editor} node=${node} label="Keep" done=${rewrite} cancel=${() => setEditing(false)} />`;
  return html`<article class="message assistant" aria-label="Answer" aria-busy=${going}>
    ${node.reasoning && html`<details class="reasoning"><summary>Reasoning</summary><${Markdown} text=${node.reasoning} /></details>`}
    <${Works} node=${node} />
    ${going && !node.content && !node.works?.length ? html`<p class="waiting" role="status">${node.reasoning ? 'Thinking' : 'Reading the prompt'}<i></i><i></i><i></i></p>` : shown}
    ${seen && !editing && html`<${Measures} node=${node} />`}
    ${inside && !seen && !going && node.content && html`<p class="hint">No probabilities were recorded with this answer.</p>`}
    ${node.state === 'failed' && html`<p class="bad" role="alert">${node.error}</p>`}
    ${!going && html`<div class="actions"><${Versions} talk=${talk} node=${node} busy=${busy} />
      ${node.content && html`<${CopyButton} text=${node.content} small label="Copy the answer" />`}
      <${Aloud} node=${node} />
      <${Action} icon="again" label="Answer anew" disabled=${busy} run=${() => answer(talk, node.parent)} />
      ${(node.content || !node.works) && html`<${Action} icon="edit" label="Edit the answer" disabled=${busy} run=${() => setEditing(true)} />`}
      <${Action} icon="trash" label="Delete" disabled=${busy} run=${remove} />
      <span class="hint">${node.state === 'stopped' ? 'Stopped. ' : ''}${node.finish === 'length' ? 'Cut off at the limit of tokens. ' : ''}${node.edited ? 'Edited by you.' : (!seen && short(node)) || ''}</span></div>`}
    ${last && going && html`<span class="unseen" role="status">An answer is being written</span>`}
  </article>`;
}

export function Message(props) {
  return props.node.role === 'user' ? html`<${User} ...${props} />` : html`<${Assistant} ...${props} />`;
}
