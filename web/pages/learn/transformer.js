// The language model: tokens, what comes next, and attention.
import { html, useRef, useState } from '../../lib/html.js';
import { count, percent } from '../../lib/format.js';
import { Icon } from '../../lib/icons.js';
import { models } from '../../lib/models.js';
import { useValue } from '../../lib/state.js';
import { Field, Growing, Range, Select } from '../../ui/controls.js';
import { complain } from '../../ui/toast.js';
import { Attention } from './attention.js';
import { inspect, useInspection, visible } from './inspect.js';
import { Lesson, Missing, Numbers, Part, Try } from './lesson.js';
import { pick, reshape } from './reshape.js';

const BEGIN = 'The old lighthouse keeper opened the door and saw a';
/** Rows of next tokens that are shown. */
const SHOWN = 12;
/** Tokens that are written in one go, and that can be looked into. */
const GO = 16;
const MOST = 64;

/** Models that go on with a text. */
export const writers = (known) => (known ?? []).filter((model) => model.served && model.medium === 'text' && model.architecture !== 'bert');
export const usualWriter = (known) => writers(known).find((model) => model.chats)?.name ?? writers(known)[0]?.name ?? '';

/** A text as its tokens, each in a colour of its own. */
export function Pieces({ tokens, chosen, choose }) {
  return html`<p class="pieces" role="group" aria-label="The text as tokens">${tokens.map((token, index) => html`<button type="button" key=${index} class=${`piece c${index % 5}`} aria-pressed=${choose ? index === chosen : null}
    title=${`Token number ${token.id} of the vocabulary`} onClick=${() => choose?.(index)}>${visible(token.text)}</button>`)}</p>`;
}

/** The next tokens as bars: the line says what the model thinks, the bar how often sampling would take it. */
export function Bars({ shaped, take, most: shown = SHOWN }) {
  const rows = shaped.rows.slice(0, shown);
  const most = Math.max(...rows.map(({ p, q }) => Math.max(p, q)), 1e-6);
  const rest = shaped.rows.slice(shown);
  const sum = (name) => rest.reduce((total, row) => total + row[name], shaped.others[name]);
  const long = (share) => `${Math.min(100, (100 * share) / most)}%`;
  const bar = ({ p, q }) => html`<span class="next-bar"><i style=${{ width: long(q) }}></i><b style=${{ left: long(p) }}></b></span><span>${percent(q)}</span>`;
  return html`<ol class="next" aria-label="Next tokens">${rows.map((row) => html`<li key=${row.id} class=${row.q > 0 ? '' : 'cut'}>
      <button type="button" disabled=${!take || row.special || row.text.includes('\ufffd')} aria-label=${`Go on with ${row.text}, ${percent(row.q)}`} onClick=${() => take(row)}><code>${row.special ? 'the end' : visible(row.text)}</code>${bar(row)}</button></li>`)}
    <li class="rest"><span><code>${(rest.length + shaped.others.count).toLocaleString()} others</code>${bar({ p: sum('p'), q: sum('q') })}</span></li></ol>`;
}

function Sampling({ values, change }) {
  return html`<div class="listen-options">
    <${Range} label="Temperature" min=${0} max=${2} step=${0.05} usual=${1} value=${values.temperature} change=${(temperature) => change({ temperature: temperature ?? 1 })} hint="Below 1 the likely gets likelier; above 1 all become more alike. 0 always takes the first." />
    <${Range} label="Top k" min=${0} max=${100} usual=${0} value=${values.topK} change=${(topK) => change({ topK: topK ?? 0 })} hint="Only so many of the likeliest are left; 0 leaves all." />
    <${Range} label="Top p" min=${0.05} max=${1} step=${0.01} usual=${1} value=${values.topP} change=${(topP) => change({ topP: topP ?? 1 })} hint="Only the likeliest are left that make up this share together." /></div>`;
}

/** Writes on, token by token, as the sliders say now. */
function useWriting(model, text, setText, values) {
  const [stop, setStop] = useState(null);
  const now = useRef(values);
  now.current = values;
  const write = async (steps) => {
    const controller = new AbortController();
    setStop(controller);
    let written = text;
    try {
      for (let done = 0; done < steps && !controller.signal.aborted; done += 1) {
        const seen = await inspect(model, written, { signal: controller.signal });
        if (seen.tokens.length >= MOST) break;
        const usable = reshape(seen.next, now.current).rows.filter((row) => !row.text.includes('\ufffd'));
        const next = pick(usable);
        if (!next || next.special) break;
        written += next.text;
        setText(written);
      }
    } catch (error) { complain(error); } finally { setStop(null); }
  };
  return { going: Boolean(stop), halt: () => stop?.abort(), write };
}

function Live({ model, options, setModel }) {
  const [text, setText] = useState(BEGIN);
  const [values, setValues] = useState({ temperature: 1, topK: 0, topP: 1 });
  const [chosen, setChosen] = useState(null);
  const { seen, error } = useInspection(model, text, true);
  const { going, halt, write } = useWriting(model, text, setText, values);
  const shaped = seen && reshape(seen.next, values);
  const change = (part) => setValues((old) => ({ ...old, ...part }));
  const at = Math.min(chosen ?? Infinity, (seen?.tokens.length ?? 1) - 1);
  const { shape } = seen ?? {};
  return html`
    <${Part} title="1. A text becomes tokens">
      <${Field} label="Begin a text">${(id) => html`<${Growing} id=${id} data-main value=${text} change=${(now) => { halt(); setChosen(null); setText(now); }} />`}<//>
      ${options.length > 1 && html`<${Select} label="Model" value=${model} options=${options.map((one) => [one.name, one.name])} change=${setModel} />`}
      ${error && html`<p class="bad" role="alert">${error}</p>`}
      ${seen && html`<${Pieces} tokens=${seen.tokens} chosen=${at} choose=${setChosen} />`}
      <p>The model does not read letters. Its text is cut into <i>tokens</i>: common words are one token, rare ones several, and the space in front belongs to the word (it is shown as ␣). Each is a number out of a fixed list, the vocabulary.</p>
      <${Numbers} of=${[['Tokens here', seen && `${seen.tokens.length} of at most ${MOST}`], ['Parameters', count(options.find((one) => one.name === model)?.parameters)], ['In the vocabulary', shape?.vocab_size.toLocaleString()], ['Numbers for each token', shape?.hidden_size.toLocaleString()], ['Layers', shape?.layers],
        ['Heads in each', shape?.heads], ['It could read at once', shape && `${shape.context.toLocaleString()} tokens`]]} />
    <//>
    <${Part} title="2. What comes next">
      <p>For every token of its vocabulary the model says how likely it comes next. That is all it does. Click one to go on with it, or let chance decide.</p>
      ${shaped && html`<${Bars} shaped=${shaped} take=${(row) => setText(text + row.text)} />`}
      <p class="hint">The bar is how often a token would be drawn with these settings; the small line is what the model itself says.</p>
      <div class="row"><button type="button" class="primary" disabled=${going || !shaped} onClick=${() => write(1)}><${Icon} name="dice" size="17" />Draw one</button>
        ${going ? html`<button type="button" onClick=${halt}><${Icon} name="stop" size="16" />Stop</button>` : html`<button type="button" disabled=${!shaped} onClick=${() => write(GO)}><${Icon} name="play" size="17" />Write on</button>`}
        <button type="button" class="quiet" onClick=${() => { halt(); setText(BEGIN); }}><${Icon} name="again" size="16" />From the beginning</button></div>
      <${Sampling} values=${values} change=${change} />
    <//>
    <${Part} title="3. Where it looks">
      ${seen?.attention && html`<${Attention} seen=${seen} at=${at} choose=${setChosen} />`}
    <//>
    <${Try} tries=${['Begin with “The capital of France is”, then with “My favourite city is”. How sure is the model each time?', 'Put the temperature to 0 and let it write; then to 2. Then to 2 with top p 0.9.', 'Click an unlikely token and see how all that follows changes.']}
      look=${['It never plans a sentence: each token is chosen, and then all is read again with that token in it.', 'Where only one thing can follow, one bar takes nearly everything; where many can, they share.', 'A wrong turn is not taken back. That is one reason why such models state false things so fluently.']} />`;
}

export function Page() {
  const known = useValue(models);
  const [chosen, setChosen] = useState('');
  const options = writers(known);
  const model = options.some((one) => one.name === chosen) ? chosen : usualWriter(known);
  if (known && !options.length) return html`<${Missing} id="transformer" what="writes" />`;
  return html`<${Lesson} id="transformer" lead="A language model was trained to guess the next piece of text, over and over, on very much text. Chat, code and summaries all come from this one skill.">
    ${model && html`<${Live} key=${model} model=${model} options=${options} setModel=${setChosen} />`}<//>`;
}
