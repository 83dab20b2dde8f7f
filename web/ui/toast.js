// Short messages in a corner, read out by screen readers.
import { html } from '../lib/html.js';
import { state, useValue } from '../lib/state.js';
import { Icon } from '../lib/icons.js';

const toasts = state([]);
let next = 0;

const remove = (id) => toasts.set((all) => all.filter((toast) => toast.id !== id));

/** Shows a message for a while; `action` is `{label, run}`. */
export function toast(text, { kind = 'plain', action } = {}) {
  const id = (next += 1);
  toasts.set((all) => [...all.filter((toast) => toast.text !== text), { id, text, kind, action }].slice(-4));
  setTimeout(remove, kind === 'bad' || action ? 9000 : 4000, id);
}

/** Tells of an error, unless it only says that somebody pressed stop. */
export function complain(error) {
  if (error?.name === 'AbortError') return;
  toast(error?.message || String(error), { kind: 'bad' });
}

export function Toasts() {
  return html`<div class="toasts" role="status" aria-live="polite">
    ${useValue(toasts).map(({ id, text, kind, action }) => html`<div class="toast ${kind}" key=${id}>
      <span>${text}</span>
      ${action && html`<button type="button" class="quiet" onClick=${() => { action.run(); remove(id); }}>${action.label}</button>`}
      <button type="button" class="quiet tiny" aria-label="Dismiss" onClick=${() => remove(id)}><${Icon} name="close" size="16" /></button>
    </div>`)}
  </div>`;
}
