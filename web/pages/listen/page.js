// Listen: a sound out of a file or the microphone, and what is said in it.
import { html, useEffect, useMemo, useRef, useState } from '../../lib/html.js';
import { download, fileName, percent } from '../../lib/format.js';
import { Icon } from '../../lib/icons.js';
import { CopyButton } from '../../lib/markdown.js';
import { loadModels, listeners, models } from '../../lib/models.js';
import { canRecord, captions, clock, decode, peaks, record, transcript } from '../../lib/sound.js';
import { kept, state, useValue } from '../../lib/state.js';
import { Empty, Menu, Progress, Select, Text } from '../../ui/controls.js';
import { complain } from '../../ui/toast.js';

const LANGUAGES = [['', 'found out'], ['en', 'English'], ['de', 'German'], ['fr', 'French'], ['es', 'Spanish'], ['it', 'Italian'], ['pt', 'Portuguese'],
  ['nl', 'Dutch'], ['pl', 'Polish'], ['tr', 'Turkish'], ['ru', 'Russian'], ['uk', 'Ukrainian'], ['ar', 'Arabic'], ['hi', 'Hindi'], ['ja', 'Japanese'], ['ko', 'Korean'], ['zh', 'Chinese']];

const form = kept('listen', { model: '', language: '', task: 'transcriptions', prompt: '' });
/** The sound on the desk, `{name, blob, url, samples}`, and what was heard in it. */
const sound = state(null);
const heard = state(null);

const BARS = 240;

/** Takes a sound up; what the browser cannot decode is sent all the same, and has no picture. */
async function take(blob, name) {
  const samples = await decode(blob).catch(() => null);
  if (sound.get()) URL.revokeObjectURL(sound.get().url);
  heard.set(null);
  sound.set({ name, blob, url: URL.createObjectURL(blob), samples });
}

/** The waveform, with the player's place in it. */
function Wave({ samples, at, length, seek }) {
  const bars = useMemo(() => (samples ? peaks(samples, BARS) : null), [samples]);
  if (!bars) return null;
  const go = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * length);
  };
  const keys = (event) => {
    const step = { ArrowLeft: -2, ArrowRight: 2 }[event.key];
    if (step) { event.preventDefault(); seek(Math.max(0, Math.min(length, at + step))); }
  };
  const path = bars.map((x, i) => `M${i + 0.5} ${(24 - x * 22).toFixed(1)}V${(24 + x * 22).toFixed(1)}`).join('');
  return html`<svg class="wave" viewBox="0 0 ${BARS} 48" preserveAspectRatio="none" role="slider" tabindex="0" aria-label="Place in the sound"
      aria-valuemin="0" aria-valuemax=${length.toFixed(1)} aria-valuenow=${at.toFixed(1)} aria-valuetext=${clock(at)} onClick=${go} onKeyDown=${keys}>
    <path d=${path} /><rect x=${(at / Math.max(length, 0.01)) * BARS} y="0" width="1" height="48" /></svg>`;
}

function Player({ found, time, setTime, player }) {
  const length = found.samples ? found.samples.length / 16000 : player.current?.duration || 0;
  const seek = (to) => { player.current.currentTime = to; setTime(to); };
  return html`<div class="card player"><${Wave} samples=${found.samples} at=${time} length=${length} seek=${seek} />
    <audio ref=${player} src=${found.url} controls onTimeUpdate=${(event) => setTime(event.target.currentTime)}></audio></div>`;
}

/** The words of each segment: they come in the order of the text. */
function shared(segments, words) {
  const left = [...words];
  const size = (text) => text.replace(/\s/g, '').length;
  return segments.map((segment) => {
    const own = [];
    for (let room = size(segment.text); room > 0 && left.length && size(left[0].word) <= room;) {
      room -= size(left[0].word);
      own.push(left.shift());
    }
    return own;
  });
}

/** Words that play where they are said. */
function Words({ segment, own, time, play }) {
  if (!own.length) return html`<span>${segment.text.trim()}</span>`;
  return own.map((word) => html`<span class=${`word ${time >= word.start && time < word.end ? 'now' : ''}`} title=${clock(word.start)} onClick=${() => play(word.start)}>${word.word} </span>`);
}

function Result({ told, name, time, play }) {
  const save = (kind) => () => download(fileName(name.replace(/\.[^.]*$/, ''), kind), kind === 'json' ? JSON.stringify(told, null, 2)
    : kind === 'txt' ? `${told.text}\n` : captions(told.segments, kind), kind === 'json' ? 'application/json' : 'text/plain');
  const own = useMemo(() => shared(told.segments, told.words ?? []), [told]);
  const doubt = (s) => (s.avg_logprob < -0.8 ? html`<span class="tag" title=${`Mean probability of a token: ${percent(Math.exp(s.avg_logprob))}`}>unsure</span>` : null);
  return html`<section class="card" aria-label="Transcript">
    <div class="row"><h2 class="grow">Transcript</h2><span class="tag">${told.language}</span>
      <${CopyButton} text=${told.text} label="Copy the text" />
      <${Menu} label="Save" icon="download" items=${[['text', 'Text', save('txt')], ['text', 'SRT captions', save('srt')], ['text', 'VTT captions', save('vtt')], ['text', 'JSON', save('json')]]} /></div>
    ${told.segments.length ? html`<ol class="segments">${told.segments.map((s, at) => html`<li key=${s.id} class=${time >= s.start && time < s.end ? 'now' : ''}>
      <button type="button" class="quiet tiny time" aria-label=${`Play from ${clock(s.start)}`} onClick=${() => play(s.start)}>${clock(s.start)}</button>
      <p><${Words} segment=${s} own=${own[at]} time=${time} play=${play} /> ${doubt(s)}</p></li>`)}</ol>`
    : html`<p class="muted">Nobody speaks in this sound.</p>`}
  </section>`;
}

function Source({ busy, recording, toggle }) {
  const file = useRef();
  const picked = (event) => { const [one] = event.target.files; if (one) take(one, one.name).catch(complain); event.target.value = ''; };
  return html`<div class="row">
    <button type="button" disabled=${busy} onClick=${() => file.current.click()}><${Icon} name="upload" size="18" />Open a sound</button>
    <input ref=${file} class="unseen" type="file" tabindex="-1" aria-label="Sound file" accept="audio/*,.wav,.flac,.mp3,.ogg,.m4a,.mp4" onChange=${picked} />
    ${canRecord() && html`<button type="button" class=${recording ? 'danger' : ''} aria-pressed=${Boolean(recording)} disabled=${busy} onClick=${toggle}><${Icon} name=${recording ? 'stop' : 'mic'} size="18" />${recording ? 'Stop' : 'Record'}</button>`}
  </div>`;
}

export function Page() {
  const values = useValue(form);
  const known = listeners(useValue(models));
  const found = useValue(sound);
  const told = useValue(heard);
  const [going, setGoing] = useState(null);
  const [recording, setRecording] = useState(null);
  const [time, setTime] = useState(0);
  const player = useRef();
  const here = useRef(true);
  useEffect(() => () => { here.current = false; }, []);
  useEffect(() => { loadModels().catch(complain); }, []);
  useEffect(() => () => { recording?.drop(); }, [recording]);
  const toggle = async () => {
    try {
      if (!recording) {
        const begun = await record();
        if (here.current) setRecording(begun); else begun.drop();
        return;
      }
      const blob = await recording.stop();
      setRecording(null);
      await take(blob, 'recording.wav');
    } catch (error) { setRecording(null); complain(error); }
  };
  const listen = async () => {
    const stop = new AbortController();
    setGoing(stop);
    try {
      const told = await transcript(found.blob, { name: found.name, ...values, model: known.some((m) => m.name === values.model) ? values.model : known[0]?.name, signal: stop.signal });
      // Another sound may lie there by now.
      if (sound.get() === found) heard.set(told);
    } catch (error) { complain(error); } finally { setGoing(null); }
  };
  const play = (from) => { player.current.currentTime = from; player.current.play().catch(() => {}); };
  const drop = (event) => {
    event.preventDefault();
    const [one] = event.dataTransfer.files;
    if (one) take(one, one.name).catch(complain);
  };
  const set = (key) => (value) => form.change({ [key]: value });
  return html`<main class="page narrow" tabindex="-1" onDragOver=${(event) => event.preventDefault()} onDrop=${drop}>
    <header class="page-head"><h1>Listen</h1><${Source} busy=${Boolean(going)} recording=${recording} toggle=${toggle} /></header>
    ${recording && html`<p class="recording" role="status"><i></i>Recording. Stop when you are done.</p>`}
    ${known && !known.length && html`<p class="muted">No model that listens is here yet. <a href="#/models">Get whisper-base on the page of models.</a></p>`}
    ${found ? html`<${Player} found=${found} time=${time} setTime=${setTime} player=${player} />
      <section class="card"><div class="listen-options">
        <${Select} label="Language" value=${values.language} options=${LANGUAGES} change=${set('language')} />
        <${Select} label="Write" value=${values.task} options=${[['transcriptions', 'what is said'], ['translations', 'it in English']]} change=${set('task')} />
        ${known.length > 1 && html`<${Select} label="Model" value=${values.model} options=${known.map((m) => [m.name, m.name])} change=${set('model')} />`}
        <${Text} label="Names and words to come" value=${values.prompt} change=${set('prompt')} placeholder="none" /></div>
        <div class="row"><button type="button" class="primary" disabled=${Boolean(going) || !known.length} onClick=${listen}><${Icon} name="listen" size="18" />Transcribe</button>
          ${going && html`<button type="button" onClick=${() => going.abort()}>Stop</button>`}<span class="muted grow">${found.name}</span></div>
        ${going && html`<${Progress} share=${null} label="Listening" />`}</section>`
    : !recording && html`<${Empty} icon="listen" title="What was said?"><p>Open a sound, drop one here, or record yourself.</p><//>`}
    ${found && told && html`<${Result} told=${told} name=${found.name} time=${time} play=${play} />`}
  </main>`;
}
