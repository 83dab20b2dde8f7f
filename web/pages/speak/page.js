// Speak: a text, the voice that says it, and what the sound looks like.
import { html, useEffect, useRef, useState } from '../../lib/html.js';
import { send } from '../../lib/api.js';
import { download, fileName, seconds } from '../../lib/format.js';
import { useBegin } from '../../lib/begin.js';
import { Icon } from '../../lib/icons.js';
import { submit } from '../../lib/jobs.js';
import { takeRecipe } from '../../lib/library.js';
import { loadModels, models, voices } from '../../lib/models.js';
import { go as to, route } from '../../lib/route.js';
import { captions } from '../../lib/sound.js';
import { kept, state, useValue } from '../../lib/state.js';
import { player, say, voicesOf, wavOf } from '../../lib/voice.js';
import { Empty, Field, Growing, Menu, Range, Select } from '../../ui/controls.js';
import { Spectrogram } from '../../ui/spectrogram.js';
import { complain, toast } from '../../ui/toast.js';

const form = kept('speak', { text: '', model: '', voice: '', speed: null });
/** What was said last: `{samples, rate, words, first, url, request}`. */
const said = state(null);

/** Words of a sentence as one caption. */
function sentences(words) {
  const all = [];
  for (const word of words) {
    if (all.at(-1)?.sentence !== word.sentence) all.push({ sentence: word.sentence, start: word.start, text: '' });
    const last = all.at(-1);
    Object.assign(last, { end: word.end, text: `${last.text} ${word.word}`.trim() });
  }
  return all;
}

/** The request as the server keeps it. */
const recipeOf = ({ model, text, voice, speed }) => ({ medium: 'speech', model, text, seed: 0, ...(voice && { voice }), ...(speed && { speed }) });

async function save(kind, { request, samples, rate, words }) {
  const name = fileName(request.text.slice(0, 40), kind);
  if (kind === 'srt' || kind === 'vtt') {
    download(name, captions(sentences(words), kind), 'text/plain');
  } else if (kind === 'wav') {
    download(name, wavOf(samples, rate));
  } else {
    const { model, text, voice, speed } = request;
    const body = { model, input: text, response_format: kind, ...(voice && { voice }), ...(speed && { speed }) };
    download(name, await (await send('v1/audio/speech', { body })).blob());
  }
}

function Result({ found }) {
  const [at, setAt] = useState(0);
  const audio = useRef();
  const seek = (time) => { audio.current.currentTime = time; setAt(time); };
  const kinds = [['wav', 'WAV'], ['mp3', 'MP3'], ['flac', 'FLAC'], ['opus', 'Opus'], ['srt', 'SRT captions'], ['vtt', 'VTT captions']];
  const items = kinds.map(([kind, name]) => ['download', name, () => save(kind, found).catch(complain)]);
  const keep = () => submit(recipeOf(found.request)).then(() => toast('It is being kept in the library.'), complain);
  return html`<section class="card" aria-label="What was said">
    <${Spectrogram} samples=${found.samples} rate=${found.rate} words=${found.words} phonemes=${found.phonemes} at=${at} seek=${seek} />
    <audio ref=${audio} src=${found.url} controls onTimeUpdate=${(event) => setAt(event.target.currentTime)}></audio>
    <p class="spoken">${found.words.map((word, index) => html`<span key=${index} class=${`word ${at >= word.start && at < word.end ? 'now' : ''}`} onClick=${() => { seek(word.start); audio.current.play().catch(() => {}); }}>${word.word} </span>`)}</p>
    <div class="row"><span class="hint grow">${seconds(found.samples.length / found.rate)} of sound · first after ${seconds(found.first)}</span>
      <button type="button" onClick=${keep}><${Icon} name="library" size="17" />Keep</button>
      <${Menu} label="Download" icon="download" items=${items} /></div>
  </section>`;
}

export function Page() {
  const values = useValue(form);
  const known = voices(useValue(models));
  const found = useValue(said);
  const { query } = useValue(route);
  const [names, setNames] = useState([]);
  const [going, setGoing] = useState(null);
  useEffect(() => () => { going?.abort(); }, [going]);
  const model = known.find((one) => one.name === values.model) ?? known[0];
  useEffect(() => { loadModels().then(voicesOf).then(setNames, complain); }, []);
  useEffect(() => {
    if (!query.get('reuse')) return;
    const recipe = takeRecipe();
    if (recipe) form.change({ text: recipe.text, model: recipe.model, voice: recipe.voice ?? '', speed: recipe.speed ?? null });
    to('speak', { replace: true });
  }, [query]);
  const own = names.filter((one) => one.model === model?.name);
  const voice = own.some((one) => one.id === values.voice) ? values.voice : '';
  const speak = async () => {
    const values = form.get();
    if (!model || !values.text.trim() || going) return;
    const stop = new AbortController();
    const sound = player();
    const stopped = new Promise((resolve) => stop.signal.addEventListener('abort', resolve));
    stop.signal.addEventListener('abort', sound.stop);
    setGoing(stop);
    const request = { model: model.name, text: values.text.trim(), voice, speed: values.speed };
    try {
      const told = await say({ ...request, signal: stop.signal, heard: (samples, rate) => sound.push(samples, rate) });
      if (said.get()) URL.revokeObjectURL(said.get().url);
      said.set({ ...told, request, url: URL.createObjectURL(wavOf(told.samples, told.rate)) });
      await Promise.race([sound.ended(), stopped]);
    } catch (error) { if (error.name !== 'AbortError') complain(error); } finally { sound.stop(); setGoing(null); }
  };
  useBegin(model, (text) => { form.change({ text }); speak(); });
  const keys = (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) { event.preventDefault(); speak(); }
    if (event.key === 'Escape') going?.abort();
  };
  if (known && models.get() && !known.length) {
    return html`<main class="page" tabindex="-1"><${Empty} icon="speak" title="No voice here"><p>A voice is on the <a href="#/models">page of models</a>: hibari.</p><//></main>`;
  }
  return html`<main class="page narrow" tabindex="-1"><header class="page-head"><h1>Speak</h1></header>
    <form class="card" aria-label="What to say" onSubmit=${(event) => { event.preventDefault(); speak(); }} onKeyDown=${keys}>
      <${Field} label="Text">${(id) => html`<${Growing} id=${id} data-main value=${values.text} change=${(text) => form.change({ text })} placeholder="What is to be said" />`}<//>
      <div class="listen-options">
        ${known.length > 1 && html`<${Select} label="Model" value=${model?.name ?? ''} options=${known.map((one) => [one.name, one.name])} change=${(name) => form.change({ model: name, voice: '' })} />`}
        <${Select} label="Voice" value=${voice} options=${[['', 'the usual one'], ...own.map((one) => [one.id, one.id])]} change=${(name) => form.change({ voice: name })} />
        <${Range} label="Speed" min=${0.5} max=${2} step=${0.05} usual=${1} value=${values.speed ?? 1} change=${(speed) => form.change({ speed })} />
      </div>
      <div class="row"><button class="primary" disabled=${Boolean(going) || !values.text.trim()}><${Icon} name="speak" size="18" />Speak</button>
        ${going && html`<button type="button" onClick=${() => going.abort()}><${Icon} name="stop" size="16" />Stop</button><span class="muted" role="status">Speaking</span>`}</div>
    </form>
    ${found && html`<${Result} found=${found} />`}
  </main>`;
}
