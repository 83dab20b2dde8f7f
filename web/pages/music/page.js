// Music: a prompt, the tune that comes of it, and how sure the model was of each note.
import { html, useEffect, useMemo, useRef, useState } from '../../lib/html.js';
import { call, send } from '../../lib/api.js';
import { download, fileName, percent, randomSeed, seconds } from '../../lib/format.js';
import { useBegin } from '../../lib/begin.js';
import { Icon } from '../../lib/icons.js';
import { submit } from '../../lib/jobs.js';
import { takeRecipe } from '../../lib/library.js';
import { loadModels, models, serving } from '../../lib/models.js';
import { go as to, route } from '../../lib/route.js';
import { kept, state, useValue } from '../../lib/state.js';
import { fileOf } from '../../lib/voice.js';
import { Empty, Field, Menu, Progress, Range, Text } from '../../ui/controls.js';
import { complain, toast } from '../../ui/toast.js';

const form = kept('music', { prompt: '', seconds: null, seed: '', key: '', temperature: null });
/** What was made last, with an address for its sound. */
const made = state(null);

const NAMES = ['C', 'C♯', 'D', 'E♭', 'E', 'F', 'F♯', 'G', 'A♭', 'A', 'B♭', 'B'];
const nameOf = (pitch) => (pitch == null ? 'rest' : `${NAMES[pitch % 12]}${Math.floor(pitch / 12) - 1}`);

/** All notes but drums, with the number of their track. */
function notesOf(tune) {
  return tune.tracks.flatMap((track, number) => (track.drums ? [] : track.notes.map((note) => ({ ...note, number, track: track.name }))));
}

const ROW = 5;

function Roll({ tune, at, seek }) {
  const [over, setOver] = useState(null);
  const notes = useMemo(() => notesOf(tune), [tune]);
  // Drums alone leave an octave empty.
  const pitches = notes.length ? notes.map((note) => note.pitch) : [54, 66];
  const low = Math.min(...pitches) - 2;
  const high = Math.max(...pitches) + 2;
  const height = (high - low) * ROW;
  const scale = Math.max(24, 900 / Math.max(tune.seconds, 1));
  const width = Math.ceil(tune.seconds * scale);
  const box = useRef();
  useEffect(() => {
    const x = at * scale;
    const { scrollLeft, clientWidth } = box.current;
    if (x < scrollLeft || x > scrollLeft + clientWidth * 0.85) box.current.scrollLeft = x - clientWidth * 0.15;
  }, [Math.floor(at)]);
  // Drawn once; the line that moves is not part of it.
  const drawn = useMemo(() => notes.map((note, index) => {
    const choice = tune.melody[note.written];
    const sure = choice ? 0.35 + 0.65 * choice.probability : 0.5;
    return html`<rect key=${index} class=${`t${note.number % 6}`} data-i=${index} x=${(note.start * scale).toFixed(1)} y=${(high - note.pitch) * ROW} width=${Math.max(2, (note.end - note.start) * scale - 1).toFixed(1)} height=${ROW} rx="1.5" opacity=${sure.toFixed(2)} />`;
  }), [tune]);
  const look = (event) => {
    const index = event.target.dataset?.i;
    setOver(index == null ? null : { note: notes[index], x: event.offsetX, y: event.offsetY });
  };
  const choice = over && tune.melody[over.note.written];
  return html`<div class="roll" ref=${box} tabindex="0" role="group" aria-label="What is played">
    <svg width=${width} height=${height} role="img" aria-label=${`Piano roll of ${notes.length} notes`} onPointerMove=${look} onPointerLeave=${() => setOver(null)}
      onClick=${(event) => seek(event.offsetX / scale)}>${drawn}<line x1=${at * scale} x2=${at * scale} y1="0" y2=${height} /></svg>
    ${over && html`<div class="others" role="tooltip" style=${{ left: `${Math.min(over.x + 12, width - 190)}px`, top: `${Math.max(0, over.y - 20)}px` }}>
      <p><code>${nameOf(over.note.pitch)}</code><span>${over.note.track}</span></p>
      ${choice && html`<ol>${choice.others.map((other) => html`<li class=${other.pitch === choice.pitch ? 'chosen' : ''}><code>${nameOf(other.pitch)}</code>
        <span class="bar"><i style=${{ width: `${100 * other.probability}%` }}></i></span><span>${percent(other.probability)}</span></li>`)}</ol>`}</div>`}
  </div>`;
}

async function save(kind, tune) {
  const name = (ending) => fileName(tune.recipe.prompt || 'tune', ending);
  if (kind === 'abc') return download(name('abc'), tune.abc, 'text/plain');
  if (kind === 'mid') return download(name('mid'), fileOf(tune.midi, 'audio/midi'));
  if (kind === 'flac') return download(name('flac'), fileOf(tune.audio.data, 'audio/flac'));
  const { medium, ...request } = tune.recipe;
  return download(name(kind), await (await send('v1/music', { body: { ...request, format: kind } })).blob());
}

function Result({ tune }) {
  const [at, setAt] = useState(0);
  const audio = useRef();
  const seek = (time) => { audio.current.currentTime = time; setAt(time); };
  useEffect(() => {
    let frame;
    const follow = () => { if (audio.current && !audio.current.paused) setAt(audio.current.currentTime); frame = requestAnimationFrame(follow); };
    follow();
    return () => cancelAnimationFrame(frame);
  }, []);
  const { recipe } = tune;
  const facts = [recipe.style, recipe.key, recipe.metre, recipe.tempo && `${Math.round(recipe.tempo)} quarters a minute`, `${tune.bars} bars`, `seed ${tune.seed}`];
  const items = [['wav', 'WAV'], ['mp3', 'MP3'], ['flac', 'FLAC'], ['opus', 'Opus'], ['mid', 'MIDI'], ['abc', 'ABC']]
    .map(([kind, name]) => ['download', name, () => save(kind, tune).catch(complain)]);
  const keep = () => submit(recipe).then(() => toast('It is being kept in the library.'), complain);
  return html`<section class="card" aria-label="The tune">
    <${Roll} tune=${tune} at=${at} seek=${seek} />
    <audio ref=${audio} src=${tune.url} controls></audio>
    <p class="hint">Stronger notes of the melody are those that the model was surer of; what else it thought of shows on hover.</p>
    <div class="row"><span class="hint grow">${facts.filter(Boolean).join(' · ')} · made in ${seconds(tune.timings.total_s)}</span>
      <button type="button" onClick=${keep}><${Icon} name="library" size="17" />Keep</button>
      <${Menu} label="Download" icon="download" items=${items} /></div>
    <details><summary>ABC</summary><pre class="abc" tabindex="0">${tune.abc.split('\n').filter((line) => !line.startsWith('%')).join('\n')}</pre></details>
  </section>`;
}

export function Page() {
  const values = useValue(form);
  const known = useValue(models);
  const tune = useValue(made);
  const { query } = useValue(route);
  const [going, setGoing] = useState(null);
  const makers = serving(known, 'music');
  useEffect(() => { loadModels().catch(complain); }, []);
  useEffect(() => {
    if (!query.get('reuse')) return;
    const recipe = takeRecipe();
    if (recipe) form.change({ prompt: recipe.prompt ?? '', seconds: recipe.seconds ?? null, seed: String(recipe.seed ?? ''), key: recipe.key ?? '', temperature: recipe.temperature ?? null });
    to('music', { replace: true });
  }, [query]);
  const make = async () => {
    const values = form.get();
    if (!values.prompt.trim() || going || !makers.length) return;
    const stop = new AbortController();
    setGoing(stop);
    const body = { prompt: values.prompt.trim(), format: 'json', seed: values.seed === '' ? randomSeed() : Number(values.seed) };
    for (const name of ['seconds', 'temperature']) if (values[name] != null) body[name] = values[name];
    if (values.key.trim()) body.key = values.key.trim();
    try {
      const told = await call('v1/music', { body, signal: stop.signal });
      if (made.get()) URL.revokeObjectURL(made.get().url);
      made.set({ ...told, url: URL.createObjectURL(fileOf(told.audio.data, 'audio/flac')) });
    } catch (error) { if (error.name !== 'AbortError') complain(error); } finally { setGoing(null); }
  };
  useBegin(known, (prompt) => { form.change({ prompt, seed: '', key: '', seconds: null }); make(); });
  const keys = (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) { event.preventDefault(); make(); }
    if (event.key === 'Escape') going?.abort();
  };
  const set = (name) => (value) => form.change({ [name]: value });
  if (known && !makers.length) {
    return html`<main class="page" tabindex="-1"><${Empty} icon="music" title="No model here makes music"><p>One is on the <a href="#/models">page of models</a>: tunes.</p><//></main>`;
  }
  return html`<main class="page" tabindex="-1"><header class="page-head"><h1>Music</h1></header>
    <form class="card" aria-label="What to play" onSubmit=${(event) => { event.preventDefault(); make(); }} onKeyDown=${keys}>
      <${Field} label="Prompt">${(id) => html`<input id=${id} type="text" data-main value=${values.prompt} onInput=${(event) => set('prompt')(event.target.value)} placeholder="A slow waltz in D minor" />`}<//>
      <div class="listen-options">
        <${Range} label="Seconds" min=${5} max=${180} usual=${null} value=${values.seconds} change=${set('seconds')} />
        <${Range} label="Freedom" min=${0} max=${1.5} step=${0.05} usual=${null} value=${values.temperature} change=${set('temperature')} />
        <${Text} label="Key" value=${values.key} change=${set('key')} placeholder="as the prompt says" />
        <${Text} label="Seed" value=${values.seed} inputmode="numeric" placeholder="random" change=${(text) => set('seed')(text.replace(/\D/g, '').slice(0, 9))} />
      </div>
      <div class="row"><button class="primary" disabled=${Boolean(going) || !values.prompt.trim()}><${Icon} name="music" size="18" />Make music</button>
        ${going && html`<button type="button" onClick=${() => going.abort()}><${Icon} name="stop" size="16" />Stop</button>`}</div>
      ${going && html`<${Progress} share=${null} label="Making music" />`}
    </form>
    ${tune && html`<${Result} key=${tune.url} tune=${tune} />`}
  </main>`;
}
