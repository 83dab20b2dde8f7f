// Attention: what each token takes from those before it, by layer and head.
import { html, useEffect, useMemo, useRef, useState } from '../../lib/html.js';
import { percent } from '../../lib/format.js';
import { Range, Switch } from '../../ui/controls.js';
import { visible } from './inspect.js';

/** Weights of one head, or of all heads of a layer on average; without the first token, the others share what is left. */
function matrix(layer, head, skip) {
  const mean = (row, at) => (head == null ? layer.reduce((sum, one) => sum + one[row][at], 0) / layer.length : layer[head][row][at]);
  return layer[0].map((weights, row) => {
    const all = weights.map((_, at) => (skip && at === 0 && row > 0 ? 0 : mean(row, at)));
    const sum = all.reduce((total, one) => total + one, 0) || 1;
    return all.map((one) => one / sum);
  });
}

/** A matrix as a picture: a row for each token, darker where it looks. */
function Grid({ rows, label }) {
  const canvas = useRef();
  useEffect(() => {
    const { length } = rows;
    const context = canvas.current.getContext('2d');
    const [r, g, b] = getComputedStyle(canvas.current).color.match(/\d+/g).map(Number);
    const picture = context.createImageData(length, length);
    rows.forEach((row, y) => row.forEach((weight, x) => picture.data.set([r, g, b, Math.round(255 * Math.sqrt(weight))], (y * length + x) * 4)));
    context.clearRect(0, 0, length, length);
    context.putImageData(picture, 0, 0);
  }, [rows]);
  return html`<canvas ref=${canvas} class="pixels" width=${rows.length} height=${rows.length} role="img" aria-label=${label}></canvas>`;
}

export function Attention({ seen, at, choose }) {
  const { attention, tokens, shape } = seen;
  const [layer, setLayer] = useState(null);
  const [head, setHead] = useState(null);
  const [skip, setSkip] = useState(true);
  const here = Math.min(layer ?? Math.floor(shape.layers / 3), shape.layers - 1);
  const heads = attention[here];
  const shown = head != null && head < heads.length ? head : null;
  const grids = useMemo(() => heads.map((_, index) => matrix(heads, index, skip)), [heads, skip]);
  const weights = useMemo(() => matrix(heads, shown, skip)[at], [heads, shown, skip, at]);
  const most = Math.max(...weights, 1e-6);
  const strongest = weights.map((weight, index) => [weight, index]).sort((a, b) => b[0] - a[0]).slice(0, 3);
  return html`<p>To say what comes next, each token gathers from those before it what may matter. How much it takes from where is called <i>attention</i>: weights that sum to 1. Every layer does it anew, with several <i>heads</i> side by side, each looking for something of its own.</p>
    <p class="hint">Click a token: the others are coloured by how much it takes from them.</p>
    <p class="pieces" role="group" aria-label="What the chosen token looks at">${tokens.map((token, index) => html`<button type="button" key=${index} class=${`piece look ${index > at ? 'later' : ''}`} aria-pressed=${index === at}
      aria-label=${`${token.text}${index <= at ? `, ${percent(weights[index])}` : ', comes later'}`} style=${{ '--heat': index <= at ? (weights[index] / most).toFixed(3) : 0 }} onClick=${() => choose(index)}>${visible(token.text)}</button>`)}</p>
    <p class="spoken">“${tokens[at].text.trim() || visible(tokens[at].text)}” takes most from ${strongest.filter(([weight]) => weight > 0.005).map(([weight, index], nth) => html`${nth > 0 && ', '}<b>${tokens[index].text.trim() || visible(tokens[index].text)}</b> (${percent(weight)})`)}.</p>
    <${Range} label="Layer" min=${1} max=${shape.layers} value=${here + 1} usual=${Math.floor(shape.layers / 3) + 1} change=${(value) => setLayer(value == null ? null : value - 1)} />
    <${Switch} label="Leave out the first token" on=${skip} change=${setSkip} hint="Heads that find nothing to look for put their weight on the first token, as on a place to rest. Leaving it out shows the rest." />
    <div class="heads" role="group" aria-label="Heads"><button type="button" aria-pressed=${shown == null} onClick=${() => setHead(null)}><${Grid} rows=${matrix(heads, null, skip)} label="All heads on average" /><span>all</span></button>
      ${grids.map((rows, index) => html`<button type="button" key=${index} aria-pressed=${shown === index} onClick=${() => setHead(index)}><${Grid} rows=${rows} label=${`Head ${index + 1}`} /><span>${index + 1}</span></button>`)}</div>
    <p class="hint">Each square is one head: a row for every token from top to bottom, a column for every token that it may look at. The upper right is empty: no token sees what comes later.</p>`;
}
