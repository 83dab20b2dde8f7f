// The look inside an answer: how sure the model was of each token, what else it thought of, and where the time went.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from '../../lib/html.js';
import { percent, seconds } from '../../lib/format.js';

/** Tokens that are parts of one letter are shown at the last of them. */
function texts(tokens) {
  const decoder = new TextDecoder();
  return tokens.map((token) => (token.b ? decoder.decode(Uint8Array.from(token.b), { stream: true }) : token.t));
}

/** How strongly a token is tinted, 0 to 1: by its surprise, full at 1 in 64. */
const heat = (p) => Math.min(1, Math.max(0, -Math.log2(Math.max(p, 1e-6)) / 6));

const visible = (text) => text.replaceAll('\n', '↵').replaceAll('\t', '⇥').replace(/^ +| +$/g, (spaces) => '␣'.repeat(spaces.length)) || '∅';

function Others({ token, text, place }) {
  const list = [...token.o];
  if (!list.some(([other]) => other === token.t)) list.push([token.t, token.p]);
  const most = Math.max(...list.map(([, p]) => p), 1e-6);
  return html`<div class="others" role="tooltip" id="token-others" style=${place}>
    <p><code>${visible(text || token.t)}</code><span>${percent(token.p)}</span></p>
    <ol>${list.map(([other, p]) => html`<li class=${other === token.t ? 'chosen' : ''}>
      <code>${visible(other)}</code><span class="bar"><i style=${{ width: `${(p / most) * 100}%` }}></i></span><span>${percent(p)}</span></li>`)}</ol>
  </div>`;
}

/** An answer as its tokens. */
export function Tokens({ tokens }) {
  const root = useRef();
  const [active, setActive] = useState(null);
  const [place, setPlace] = useState({});
  const [start, setStart] = useState(0);
  const written = useMemo(() => texts(tokens), [tokens.length]);
  // The tokens are drawn when there are more of them, not when another one is looked at.
  const spans = useMemo(() => tokens.map((token, index) => {
    const text = written[index];
    const ends = text.endsWith('\n');
    return html`<span class="token" data-i=${index} tabindex=${index === start ? 0 : -1} style=${{ '--heat': heat(token.p).toFixed(3) }}>${
      ends ? html`${text.replace(/\n+$/, '')}<i class="newline">${'↵'.repeat(text.length - text.trimEnd().length || 1)}</i>${text.slice(text.trimEnd().length)}` : text}</span>`;
  }), [tokens.length, start]);
  const look = (event) => {
    const span = event.target.closest?.('[data-i]');
    if (span) setActive(Number(span.dataset.i));
  };
  useLayoutEffect(() => {
    if (active == null) return;
    const span = root.current.querySelector(`[data-i="${active}"]`);
    if (!span) return;
    const box = root.current.getBoundingClientRect();
    const rect = span.getClientRects()[0] ?? span.getBoundingClientRect();
    const width = Math.min(250, box.width);
    const below = rect.bottom + 260 < innerHeight || rect.top < 280;
    setPlace({
      left: `${Math.max(0, Math.min(rect.left - box.left, box.width - width))}px`,
      width: `${width}px`,
      ...(below ? { top: `${rect.bottom - box.top + 6}px` } : { bottom: `${box.bottom - rect.top + 6}px` }),
    });
  }, [active]);
  useEffect(() => {
    if (active == null) return undefined;
    const away = (event) => root.current?.contains(event.target) || setActive(null);
    addEventListener('pointerdown', away);
    return () => removeEventListener('pointerdown', away);
  }, [active]);
  const keys = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === 'Escape') setActive(null);
    if (!step || active == null) return;
    event.preventDefault();
    const next = Math.min(tokens.length - 1, Math.max(0, active + step));
    setStart(next);
    setActive(next);
    root.current.querySelector(`[data-i="${next}"]`)?.focus();
  };
  return html`<div class="tokens" ref=${root} onPointerOver=${look} onFocusIn=${look} onClick=${look} onKeyDown=${keys}
    onPointerLeave=${(event) => event.pointerType === 'mouse' && setActive(null)} onFocusOut=${() => setActive(null)}>
    <div class="token-text" role="group" aria-label="Tokens; arrow keys go from one to the next" aria-describedby=${active == null ? null : 'token-others'}>${spans}</div>
    ${active != null && tokens[active] && html`<${Others} token=${tokens[active]} text=${written[active]} place=${place} />`}
  </div>`;
}

/** What was measured of an answer, under its tokens. */
export function Measures({ node }) {
  const { timing, tokens } = node;
  if (!timing) return null;
  const bits = tokens?.length ? tokens.reduce((sum, token) => sum - Math.log2(Math.max(token.p, 1e-9)), 0) / tokens.length : null;
  // The server's own clock, where it told: what the browser saw has the way and the waiting in it.
  const { server } = timing;
  const prefill = server?.prefill_s ?? timing.first;
  const decode = server?.decode_s ?? timing.decode;
  const steps = server ? server.tokens : timing.tokens - 1;
  const rate = decode > 0 && steps > 0 ? steps / decode : null;
  const cached = server?.cached_tokens ? `, ${server.cached_tokens} of them known` : '';
  const whole = (prefill ?? 0) + (decode ?? 0);
  const fact = (what, value, title) => html`<div title=${title}><dt>${what}</dt><dd>${value}</dd></div>`;
  return html`<div class="measures">
    <div class="legend"><span>sure</span><i></i><span>surprised</span></div>
    <dl>
      ${fact('Prefill', `${seconds(prefill)}${timing.prompt ? ` · ${timing.prompt} tokens${cached}` : ''}`, 'The prompt is read; what was known from before is not read again')}
      ${fact('Decode', `${seconds(decode)} · ${timing.tokens} tokens`, 'From the first token to the last')}
      ${fact('First word', seconds(timing.first), 'After the question was sent, as this browser saw it')}
      ${rate && fact('Rate', `${rate.toFixed(rate < 10 ? 1 : 0)} tokens/s`)}
      ${bits != null && fact('Perplexity', (2 ** bits).toFixed(2), 'Of what was written, to the model that wrote it: between how many tokens it wavered, on average')}
    </dl>
    ${whole > 0 && html`<div class="split" aria-hidden="true"><i style=${{ width: `${(prefill / whole) * 100}%` }}></i></div>`}
  </div>`;
}
