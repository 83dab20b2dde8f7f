// Asking the server for answers.
import { events, send } from '../../lib/api.js';
import { state } from '../../lib/state.js';
import { asksFor, make, told } from './made.js';
import { addNode, path, save, talkOf, titled } from './talks.js';

/** Alternatives that are asked for at each token. */
const ALTERNATIVES = 6;

/** Answers on their way: conversation → AbortController. */
export const writing = state(new Map());

function setWriting(id, controller) {
  writing.set((old) => {
    const all = new Map(old);
    if (controller) all.set(id, controller);
    else all.delete(id);
    return all;
  });
}

export const stop = (id) => writing.get().get(id)?.abort();

/** What stands before `node`, as the model reads it. */
function before(talk, node) {
  const messages = path(talk, node.parent).map(({ role, content, works }) => ({ role, content: [told(works ?? []), content].filter(Boolean).join('\n') }));
  const said = messages.filter(({ role, content }) => content || role === 'user');
  if (talk.system.trim()) said.unshift({ role: 'system', content: talk.system.trim() });
  return said;
}

/** The seed that is to be used; undefined for any. */
const seedOf = (talk) => (String(talk.sampling.seed).trim() === '' ? undefined : Number(talk.sampling.seed));

/** The body of a request for the answer to what stands before `node`. */
function body(talk, node) {
  const chosen = talk.sampling;
  const messages = before(talk, node);
  const request = { model: talk.model, messages, stream: true, stream_options: { include_usage: true }, timings: true };
  for (const name of ['temperature', 'top_p', 'top_k', 'min_p', 'repeat_penalty', 'max_tokens']) {
    if (chosen[name] != null) request[name] = chosen[name];
  }
  const seed = seedOf(talk);
  if (seed !== undefined) request.seed = seed;
  const stops = chosen.stop.split('\n').filter(Boolean).slice(0, 4);
  if (stops.length) request.stop = stops;
  if (chosen.record) Object.assign(request, { logprobs: true, top_logprobs: ALTERNATIVES });
  if (chosen.format === 'json') request.response_format = { type: 'json_object' };
  if (chosen.format === 'schema') {
    let schema;
    try {
      schema = JSON.parse(chosen.schema);
    } catch (error) {
      throw new Error(`The JSON schema cannot be read: ${error.message}`);
    }
    request.response_format = { type: 'json_schema', json_schema: { name: 'answer', schema } };
  }
  return request;
}

/** A token as it is kept: its text, its bytes where they are no whole text, its probability, and the others. */
function recorded(token) {
  const kept = { t: token.token, p: Math.exp(token.logprob), o: token.top_logprobs.map((other) => [other.token, Math.exp(other.logprob)]) };
  if (token.bytes && token.token.includes('\ufffd')) kept.b = token.bytes;
  return kept;
}

/** Adds a message of the user's below `parent`, and has it answered. */
export function say(talk, text, parent) {
  const node = addNode(talk, 'user', text, parent);
  if (!talk.title) talk.title = titled(text);
  return answer(talk, node.id);
}

/** Has the message `parent` answered anew. */
export async function answer(talk, parent) {
  if (writing.get().has(talk.id)) return;
  const node = addNode(talk, 'assistant', '', parent, { state: 'writing', model: talk.model, tokens: [] });
  const controller = new AbortController();
  setWriting(talk.id, controller);
  save(talk, { touch: true });
  // The page may have other copies of the conversation by now; the nodes are the same.
  const show = (soon) => save(talkOf(talk.id) ?? talk, { soon });
  try {
    const { signal } = controller;
    const medium = talk.makes === false ? null : await asksFor(talk.nodes[parent].content, signal);
    if (medium) await make({ model: talk.model, medium, messages: before(talk, node), seed: seedOf(talk), node, signal, show });
    else await stream(talk, node, signal, show);
    node.state = 'done';
  } catch (error) {
    node.state = error.name === 'AbortError' ? 'stopped' : 'failed';
    if (node.state === 'failed') node.error = error.message;
  }
  setWriting(talk.id, null);
  if (talkOf(talk.id)) show(false);
}

async function stream(talk, node, signal, show) {
  const start = performance.now();
  const timing = (node.timing = { first: null, decode: null, tokens: 0, prompt: null });
  let painted = 0;
  const response = await send('v1/chat/completions', { body: body(talk, node), signal });
  for await (const { data } of events(response)) {
    if (data === '[DONE]') break;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Error(chunk.error.message);
    const now = performance.now();
    const choice = chunk.choices?.[0];
    const tokens = choice?.logprobs?.content ?? [];
    const text = choice?.delta?.content ?? '';
    if (choice?.delta?.reasoning_content) node.reasoning = (node.reasoning ?? '') + choice.delta.reasoning_content;
    if (text || tokens.length) {
      timing.first ??= (now - start) / 1000;
      timing.decode = (now - start) / 1000 - timing.first;
      node.content += text;
      node.tokens.push(...tokens.map(recorded));
      timing.tokens = node.tokens.length;
    }
    if (choice?.finish_reason) node.finish = choice.finish_reason;
    if (chunk.usage) {
      timing.prompt = chunk.usage.prompt_tokens;
      timing.tokens = chunk.usage.completion_tokens;
    }
    if (chunk.timings) Object.assign(timing, { server: chunk.timings });
    // No more often than a screen shows it.
    if (now - painted > 30) {
      painted = now;
      show(true);
    }
  }
}

