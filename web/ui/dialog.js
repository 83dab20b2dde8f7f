// Dialogs, on the browser's own element: focus stays inside, Escape closes.
import { html, useEffect, useId, useRef, useState } from '../lib/html.js';
import { state, useValue } from '../lib/state.js';
import { Icon } from '../lib/icons.js';

/** A dialog that is open as long as it is there. `wide` for pictures. */
export function Dialog({ title, close, wide, children, label }) {
  const dialog = useRef();
  const id = useId();
  useEffect(() => {
    const before = document.activeElement;
    dialog.current.showModal();
    return () => before?.isConnected && before.focus();
  }, []);
  const outside = (event) => event.target === dialog.current && close();
  return html`<dialog ref=${dialog} class=${wide ? 'wide' : ''} aria-labelledby=${title ? id : null} aria-label=${title ? null : label}
    onCancel=${(event) => { event.preventDefault(); close(); }} onMouseDown=${outside}>
    <div class="dialog">
      ${title && html`<header><h2 id=${id}>${title}</h2>
        <button type="button" class="quiet" aria-label="Close" onClick=${close}><${Icon} name="close" /></button></header>`}
      ${children}
    </div>
  </dialog>`;
}

const question = state(null);

/** Asks; resolves to whether the answer was yes. */
export function confirm(text, { yes = 'Delete', detail = '' } = {}) {
  return new Promise((resolve) => {
    question.set({ text, detail, yes, answer: (value) => { question.set(null); resolve(value); } });
  });
}

/** Asks for a line of text; resolves to it, or to null. */
export function ask(text, value = '', { yes = 'Save' } = {}) {
  return new Promise((resolve) => {
    question.set({ text, value, yes, asks: true, answer: (given) => { question.set(null); resolve(given); } });
  });
}

function Line({ asked }) {
  const [text, setText] = useState(asked.value);
  const field = useRef();
  useEffect(() => { field.current.focus(); field.current.select(); }, []);
  const submit = (event) => { event.preventDefault(); asked.answer(text.trim() || null); };
  return html`<form onSubmit=${submit}>
    <input ref=${field} type="text" aria-label=${asked.text} value=${text} onInput=${(event) => setText(event.target.value)} />
    <footer><button type="button" onClick=${() => asked.answer(null)}>Cancel</button>
      <button class="primary">${asked.yes}</button></footer>
  </form>`;
}

/** The one open question. */
export function Questions() {
  const asked = useValue(question);
  if (!asked) return null;
  return html`<${Dialog} title=${asked.text} close=${() => asked.answer(asked.asks ? null : false)}>
    ${asked.asks ? html`<${Line} asked=${asked} />` : html`
      ${asked.detail && html`<p class="muted">${asked.detail}</p>`}
      <footer><button type="button" onClick=${() => asked.answer(false)}>Cancel</button>
        <button type="button" class="danger" autofocus onClick=${() => asked.answer(true)}>${asked.yes}</button></footer>`}
  <//>`;
}
