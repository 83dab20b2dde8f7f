// Conversations: trees of messages, kept in the browser. They live here and not in the page, so that an answer goes on
// being written while another page is open.
import { keep } from '../../lib/keep.js';
import { freshId } from '../../lib/format.js';
import { kept, state } from '../../lib/state.js';

/** What every conversation begins with; null is the server's default. Small models may never come to an end by themselves. */
export const usualSampling = {
  temperature: null, top_p: null, top_k: null, min_p: null, repeat_penalty: null, max_tokens: 1024, seed: '', stop: '',
  format: 'text', schema: '', record: true,
};

/** Sampling and system prompt of new conversations. */
export const usual = kept('chat', { sampling: usualSampling, system: '' });

/** All conversations, newest first; null before they were read. */
export const talks = state(null);

const newestFirst = (list) => list.sort((a, b) => b.changed - a.changed);

export async function loadTalks() {
  if (talks.get()) return;
  const all = await keep.all('talks');
  for (const talk of all) {
    for (const node of Object.values(talk.nodes)) {
      // The page went while this was written.
      if (node.state === 'writing') node.state = 'stopped';
    }
  }
  if (!talks.get()) talks.set(newestFirst(all));
}

export const talkOf = (id) => talks.get()?.find((talk) => talk.id === id) ?? null;

export function newTalk(model) {
  const { sampling, system } = usual.get();
  return {
    id: freshId(), title: '', model, system, sampling: { ...usualSampling, ...sampling }, nodes: {}, leaf: null,
    made: Date.now(), changed: Date.now(),
  };
}

const saving = new Map();

/** Shows a conversation as it is now, and keeps it: at once, or within a second where much comes after another. */
export function save(talk, { soon = false, touch = false } = {}) {
  if (touch) talk.changed = Date.now();
  talks.set((list) => newestFirst([{ ...talk }, ...(list ?? []).filter((other) => other.id !== talk.id)]));
  const write = () => {
    clearTimeout(saving.get(talk.id));
    saving.delete(talk.id);
    const now = talkOf(talk.id);
    if (now) keep.put('talks', now).catch(() => {});
  };
  if (!soon) write();
  else if (!saving.has(talk.id)) saving.set(talk.id, setTimeout(write, 800));
}

export function change(id, part) {
  const talk = talkOf(id);
  if (talk) save(Object.assign(talk, part));
}

export function removeTalk(id) {
  talks.set((list) => list.filter((talk) => talk.id !== id));
  clearTimeout(saving.get(id));
  saving.delete(id);
  return keep.remove('talks', id);
}

/** The messages from the first to a leaf. */
export function path(talk, leaf = talk.leaf) {
  const list = [];
  for (let id = leaf; id; id = talk.nodes[id]?.parent) {
    if (!talk.nodes[id]) break;
    list.unshift(talk.nodes[id]);
  }
  return list;
}

/** The messages that answer the same one, oldest first. */
export function siblings(talk, node) {
  return Object.values(talk.nodes).filter((other) => other.parent === node.parent).sort((a, b) => a.made - b.made);
}

/** The newest end below a message. */
export function deepest(talk, node) {
  const below = Object.values(talk.nodes).filter((other) => other.parent === node.id);
  if (!below.length) return node.id;
  return deepest(talk, below.reduce((a, b) => (b.made >= a.made ? b : a)));
}

export function addNode(talk, role, content, parent, rest = {}) {
  const node = { id: freshId(), parent, role, content, made: Date.now(), ...rest };
  talk.nodes[node.id] = node;
  talk.leaf = node.id;
  return node;
}

/** Takes a message away with all that follows it; its neighbour, or what stood before, is shown then. */
export function removeNode(talk, node) {
  const others = siblings(talk, node).filter((other) => other.id !== node.id);
  const drop = (id) => {
    for (const other of Object.values(talk.nodes)) if (other.parent === id) drop(other.id);
    delete talk.nodes[id];
  };
  drop(node.id);
  talk.leaf = others.length ? deepest(talk, others.at(-1)) : node.parent;
  save(talk);
}

/** A conversation that asks what the recipe of a text asks. */
export function ofRecipe({ model, prompt, sampling = {}, max_tokens = null, seed, stop = [] }) {
  const talk = newTalk(model);
  const messages = prompt.messages ?? [{ role: 'user', content: prompt.raw ?? String(prompt) }];
  talk.system = messages.find(({ role }) => role === 'system')?.content ?? '';
  for (const { role, content } of messages) if (role !== 'system') addNode(talk, role, content, talk.leaf);
  talk.title = titled(messages.at(-1).content);
  const known = Object.keys(usualSampling).filter((name) => name in sampling);
  Object.assign(talk.sampling, Object.fromEntries(known.map((name) => [name, sampling[name]])));
  Object.assign(talk.sampling, { max_tokens, seed: String(seed ?? ''), stop: stop.join('\n') });
  return talk;
}

/** A conversation's first words as its title. */
export function titled(text) {
  const line = text.trim().split('\n')[0];
  return line.length > 60 ? `${line.slice(0, 57).trimEnd()} …` : line;
}

/** A conversation as Markdown. */
export function asMarkdown(talk) {
  const head = [`# ${talk.title || 'Chat'}`, '', `Model: ${talk.model}`, ...(talk.system ? ['', `> ${talk.system.replaceAll('\n', '\n> ')}`] : [])];
  const names = { user: 'You', assistant: 'Medley' };
  const works = (node) => (node.works ?? []).map(({ medium, words }) => `*${medium}: ${words}*\n\n`).join('');
  const parts = path(talk).map((node) => `## ${names[node.role]}\n\n${works(node)}${node.content}`);
  return `${[head.join('\n'), ...parts].join('\n\n')}\n`;
}
