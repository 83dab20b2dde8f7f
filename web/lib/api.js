// Talking to the server that this page came from.
import { kept, state } from './state.js';

export const settings = kept('settings', {
  theme: 'auto', key: '', chatModel: '', drawModel: '', send: 'enter', insideOpen: false,
});

/** What the server says of a request that it does not carry out. */
export class ApiError extends Error {
  constructor(status, { message, code, param } = {}) {
    super(message || `The server answers ${status}.`);
    this.status = status;
    this.code = code;
    this.param = param;
  }
  /** Whether this server has no such endpoint. */
  get missing() {
    return this.status === 501 || this.status === 405 || (this.status === 404 && !this.code);
  }
}

/** The question for a key, where one is open: `{wrong, answer(key or null)}`. */
export const keyQuestion = state(null);
let asking = null;
let declined = false;

/** `quiet` requests, which nobody asked for just now, do not ask a second time. */
function askForKey(wrong, quiet) {
  if (declined && quiet) return Promise.resolve(false);
  asking ??= new Promise((resolve) => {
    keyQuestion.set({
      wrong,
      answer(key) {
        asking = null;
        keyQuestion.set(null);
        declined = !key;
        if (key) settings.change({ key });
        resolve(Boolean(key));
      },
    });
  });
  return asking;
}

/** Reachable or not, as the last request found it. */
export const online = state(true);

/**
 * A response that is well; everything else is an `ApiError`. `body` is sent as JSON, `form` as it is. Where the server
 * asks for a key, so does this.
 */
export async function send(path, { method, body, form, signal, headers = {}, quiet = false } = {}) {
  const key = settings.get().key;
  const init = { method: method || (body || form ? 'POST' : 'GET'), signal, headers: { ...headers } };
  if (key) init.headers.Authorization = `Bearer ${key}`;
  if (body) {
    init.headers['Content-Type'] = 'application/json';
    init.body = JSON.stringify(body);
  } else if (form) {
    init.body = form;
  }
  let response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    online.set(false);
    throw new ApiError(0, { message: 'The server cannot be reached.' });
  }
  if (!online.get()) online.set(true);
  if (response.ok) return response;
  if (response.status === 401) {
    // Another request may have asked meanwhile.
    const again = settings.get().key !== key || (await askForKey(Boolean(key), quiet));
    if (again) return send(path, { method, body, form, signal, headers, quiet });
  }
  const told = await response.json().catch(() => ({}));
  throw new ApiError(response.status, told.error);
}

/** The JSON of an answer. */
export async function call(path, options) {
  const response = await send(path, options);
  return response.status === 204 ? null : response.json();
}

/** Server-sent events of a response: `{event, data}`, `data` as text. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let event = { event: 'message', data: [] };
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === '') {
          if (event.data.length) yield { event: event.event, data: event.data.join('\n') };
          event = { event: 'message', data: [] };
        } else if (line.startsWith('data:')) {
          event.data.push(line.slice(line[5] === ' ' ? 6 : 5));
        } else if (line.startsWith('event:')) {
          event.event = line.slice(6).trim();
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Waits, unless the signal comes first. */
export function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
