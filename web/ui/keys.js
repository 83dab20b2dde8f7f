// Keys that work everywhere, and the list of them.
import { html } from '../lib/html.js';
import { go } from '../lib/route.js';
import { state } from '../lib/state.js';
import { pages } from '../pages.js';
import { Dialog } from './dialog.js';

export const helpOpen = state(false);

/** Whether letters go into a field now. */
export function typing(event) {
  return event.target.closest?.('input:not([type=range],[type=checkbox],[type=radio]), textarea, select, [contenteditable]') != null;
}

addEventListener('keydown', (event) => {
  if (document.querySelector('dialog[open]')) return;
  if (event.altKey && !event.ctrlKey && !event.metaKey && /^Digit[1-9]$/.test(event.code)) {
    const page = pages[Number(event.code.slice(5)) - 1];
    if (page) {
      event.preventDefault();
      go(page.id);
    }
  } else if (event.key === '?' && !typing(event)) {
    helpOpen.set(true);
  } else if (event.key === '/' && !typing(event) && !event.ctrlKey && !event.metaKey) {
    const field = document.querySelector('[data-main]');
    if (field) {
      event.preventDefault();
      field.focus();
    }
  }
});

const KEYS = [
  ['Everywhere', [['Alt 1 – 9', 'Go to a page'], ['/', 'To the prompt or the search'], ['?', 'This list'], ['Esc', 'Close, or stop what is being made']]],
  ['Home', [['Enter', 'Make it'], ['Shift Enter', 'New line']]],
  ['Chat', [['Enter', 'Send'], ['Shift Enter', 'New line'], ['Alt N', 'New chat'], ['Alt I', 'Look inside'], ['← →', 'From token to token, inside']]],
  ['Draw', [['Ctrl Enter', 'Draw'], ['← →', 'From step to step'], ['[ ]', 'Smaller and larger brush']]],
];

export function Help() {
  return html`<${Dialog} title="Keys" close=${() => helpOpen.set(false)}>
    <div class="keys">${KEYS.map(([where, list]) => html`<section><h3>${where}</h3><dl>
      ${list.map(([key, what]) => html`<div><dt><kbd>${key}</kbd></dt><dd>${what}</dd></div>`)}</dl></section>`)}</div>
  <//>`;
}
