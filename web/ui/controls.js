// The controls that pages are made of: each with its label.
import { html, useEffect, useId, useRef, useState } from '../lib/html.js';
import { Icon } from '../lib/icons.js';

/** A label over a control; `children` is a function of the control's id. */
export function Field({ label, hint, children, side }) {
  const id = useId();
  return html`<div class="field">
    <div class="field-head"><label for=${id}>${label}</label>${side}</div>
    ${children(id)}
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
  </div>`;
}

/** A number by slider and by hand. `usual` is shown where nothing was chosen, and chosen again by its button. */
export function Range({ label, value, usual, min, max, step = 1, change, hint }) {
  const shown = value ?? usual;
  const side = value != null && value !== usual
    ? html`<button type="button" class="quiet tiny" onClick=${() => change(null)}>default</button>` : null;
  const typed = (event) => {
    const number = event.target.valueAsNumber;
    if (!Number.isNaN(number)) change(Math.min(max, Math.max(min, number)));
  };
  return html`<${Field} label=${label} hint=${hint} side=${side}>${(id) => html`<div class="range">
    <input type="range" id=${id} min=${min} max=${max} step=${step} value=${shown ?? min} onInput=${(event) => change(event.target.valueAsNumber)} />
    <input type="number" aria-label=${`${label}, as a number`} min=${min} max=${max} step=${step} value=${shown ?? ''} placeholder="auto" onChange=${typed} />
  </div>`}<//>`;
}

export function Select({ label, value, options, change, hint, id: given }) {
  const select = (id) => html`<div class="select"><select id=${id} aria-label=${given ? label : null} value=${value} onChange=${(event) => change(event.target.value)}>
    ${options.map(([key, name]) => html`<option value=${key} selected=${key === value}>${name}</option>`)}
  </select><${Icon} name="down" size="16" /></div>`;
  return given ? select(given) : html`<${Field} label=${label} hint=${hint}>${select}<//>`;
}

export function Text({ label, value, change, hint, lines, ...rest }) {
  return html`<${Field} label=${label} hint=${hint}>${(id) => lines
    ? html`<textarea id=${id} rows=${lines} value=${value} onInput=${(event) => change(event.target.value)} ...${rest}></textarea>`
    : html`<input id=${id} type="text" value=${value} onInput=${(event) => change(event.target.value)} ...${rest} />`}<//>`;
}

export function Switch({ label, on, change, hint }) {
  const id = useId();
  return html`<div class="switch-line"><div><label for=${id}>${label}</label>${hint && html`<p class="hint">${hint}</p>`}</div>
    <input id=${id} type="checkbox" role="switch" checked=${on} onChange=${(event) => change(event.target.checked)} /></div>`;
}

/** One of a few, side by side. */
export function Choice({ label, value, options, change }) {
  const name = useId();
  return html`<fieldset class="choice"><legend class="unseen">${label}</legend>
    ${options.map(([key, text]) => html`<label><input type="radio" name=${name} checked=${key === value} onChange=${() => change(key)} /><span>${text}</span></label>`)}
  </fieldset>`;
}

/** A text area that grows with what is in it. */
export function Growing({ field, value, change, ...rest }) {
  const own = useRef();
  const area = field ?? own;
  useEffect(() => {
    area.current.style.height = 'auto';
    area.current.style.height = `${area.current.scrollHeight + 2}px`;
  }, [value]);
  return html`<textarea ref=${area} rows="1" value=${value} onInput=${(event) => change(event.target.value)} ...${rest}></textarea>`;
}

/** A button that opens a list of others. `items` are `[icon, label, run, danger]`. */
export function Menu({ label, icon = 'more', items, size = 18 }) {
  const [open, setOpen] = useState(false);
  const root = useRef();
  useEffect(() => {
    if (!open) return undefined;
    root.current.querySelector('[role=menuitem]')?.focus();
    const away = (event) => root.current?.contains(event.target) || setOpen(false);
    addEventListener('pointerdown', away);
    return () => removeEventListener('pointerdown', away);
  }, [open]);
  const keys = (event) => {
    if (!open) return;
    const all = [...root.current.querySelectorAll('[role=menuitem]')];
    const at = all.indexOf(document.activeElement);
    if (event.key === 'Escape') {
      event.stopPropagation();
      setOpen(false);
      root.current.firstElementChild.focus();
    } else if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      event.preventDefault();
      all[(at + (event.key === 'ArrowDown' ? 1 : all.length - 1)) % all.length].focus();
    } else if (event.key === 'Tab') {
      setOpen(false);
    }
  };
  return html`<div class="menu" ref=${root} onKeyDown=${keys}>
    <button type="button" class="quiet" aria-label=${label} title=${label} aria-haspopup="menu" aria-expanded=${open} onClick=${() => setOpen(!open)}><${Icon} name=${icon} size=${size} /></button>
    ${open && html`<div class="menu-list" role="menu">${items.map(([name, text, run, danger]) => html`
      <button type="button" role="menuitem" class=${danger ? 'bad' : ''} onClick=${() => { setOpen(false); run(); }}><${Icon} name=${name} size="17" />${text}</button>`)}</div>`}
  </div>`;
}

/** What a page says where there is nothing to show. */
export function Empty({ icon, title, children }) {
  return html`<div class="empty"><${Icon} name=${icon} size="34" /><h2>${title}</h2>${children}</div>`;
}

/** How far something is, 0 to 1; null is "somewhere on the way". */
export function Progress({ share, label }) {
  return html`<div class="progress ${share == null ? 'going' : ''}" role="progressbar" aria-label=${label} aria-valuemin="0" aria-valuemax="100"
    aria-valuenow=${share == null ? null : Math.round(share * 100)}><div style=${{ width: `${(share ?? 0.3) * 100}%` }}></div></div>`;
}
