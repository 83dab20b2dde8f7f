// Speech: phonemes, spectrogram, waveform.
import { html, useEffect, useRef, useState } from '../../lib/html.js';
import { seconds } from '../../lib/format.js';
import { Icon } from '../../lib/icons.js';
import { models, voices } from '../../lib/models.js';
import { useValue } from '../../lib/state.js';
import { player, say, wavOf } from '../../lib/voice.js';
import { Choice, Field, Growing, Range } from '../../ui/controls.js';
import { Spectrogram } from '../../ui/spectrogram.js';
import { complain } from '../../ui/toast.js';
import { Lesson, Missing, Numbers, Part, Try } from './lesson.js';

/** Seconds of the close-up. */
const CLOSE = 0.03;

/** Says a text; what was said before stays until this is there. */
export function useSaying(model) {
  const [state, setState] = useState({ going: false, found: null });
  const address = useRef(null);
  useEffect(() => () => { if (address.current) URL.revokeObjectURL(address.current); }, []);
  const run = async (text, speed) => {
    setState((old) => ({ ...old, going: true }));
    const sound = player();
    try {
      const found = await say({ model: model.name, text, speed, heard: (samples, rate) => sound.push(samples, rate) });
      if (address.current) URL.revokeObjectURL(address.current);
      address.current = URL.createObjectURL(wavOf(found.samples, found.rate));
      setState({ going: false, found: { ...found, text, url: address.current } });
      await sound.ended();
    } catch (error) {
      setState((old) => ({ ...old, going: false }));
      complain(error);
    } finally {
      sound.stop();
    }
  };
  return { ...state, run };
}

/** The place that a sound is played at, as often as the screen shows it. */
function usePlayhead(audio) {
  const [at, setAt] = useState(0);
  useEffect(() => {
    let frame;
    const follow = () => {
      if (audio.current && !audio.current.paused) setAt(audio.current.currentTime);
      frame = requestAnimationFrame(follow);
    };
    follow();
    return () => cancelAnimationFrame(frame);
  }, []);
  return [at, setAt];
}

/** Words with the phonemes that are said in them. */
function Spoken({ found, at, play }) {
  const inside = (word) => found.phonemes.map((one, index) => ({ ...one, index })).filter(({ start, end }) => (start + end) / 2 >= word.start && (start + end) / 2 < word.end);
  return html`<ul class="said">${found.words.map((word, index) => html`<li key=${index}><b>${word.word}</b><span>${inside(word).map((one) => html`<button type="button" key=${one.index} class=${at >= one.start && at < one.end ? 'now' : ''}
    aria-label=${`Hear ${one.symbol}`} onClick=${() => play(one)}>${one.symbol}</button>`)}</span></li>`)}</ul>`;
}

/** A few hundredths of a second of the wave. */
function CloseUp({ found, phoneme }) {
  const middle = (phoneme.start + phoneme.end) / 2;
  const from = Math.max(0, Math.round((middle - CLOSE / 2) * found.rate));
  const piece = found.samples.slice(from, from + Math.round(CLOSE * found.rate));
  const most = piece.reduce((peak, x) => Math.max(peak, Math.abs(x)), 0.01);
  const path = [...piece].map((x, index) => `${index ? 'L' : 'M'}${((1000 * index) / piece.length).toFixed(1)} ${(50 - (46 * x) / most).toFixed(1)}`).join('');
  return html`<figure class="close-up"><svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label=${`The wave of ${phoneme.symbol}`}><path d=${path} /></svg>
    <figcaption>“${phoneme.symbol}”, ${Math.round(CLOSE * 1000)} thousandths of a second out of its middle; it is ${Math.round((phoneme.end - phoneme.start) * 1000)} long</figcaption></figure>`;
}

function Result({ found }) {
  const audio = useRef();
  const [at, setAt] = usePlayhead(audio);
  const [close, setClose] = useState(null);
  const [ear, setEar] = useState(true);
  const until = useRef(null);
  useEffect(() => { setClose(null); setAt(0); }, [found]);
  useEffect(() => { if (until.current != null && at >= until.current) { audio.current.pause(); until.current = null; } }, [at]);
  const seek = (time) => { until.current = null; audio.current.currentTime = time; setAt(time); };
  const play = (phoneme) => {
    setClose(phoneme);
    audio.current.currentTime = phoneme.start;
    until.current = phoneme.end;
    audio.current.play().catch(() => {});
  };
  return html`
    <${Part} title="1. Letters become phonemes"><p>First the text is written as it is said: numbers and signs as words, then each word as its sounds, the <i>phonemes</i>. They come from a dictionary; what is not in it, a small network spells out. ˈ and ˌ mark where the stress is. Click one to hear it alone.</p>
      <${Spoken} found=${found} at=${at} play=${play} />
      ${close && html`<${CloseUp} found=${found} phoneme=${close} />`}<//>
    <${Part} title="2. Phonemes become a spectrogram"><p>The model says for each phoneme how long it lasts, and how high and loud the voice is. From that it makes a <i>spectrogram</i>: at each moment, how strong each pitch is. Time goes to the right, low is below. Dark bands that bend are vowels; clouds at the top are hissing sounds.</p>
      <${Spectrogram} samples=${found.samples} rate=${found.rate} words=${found.words} phonemes=${found.phonemes} at=${at} seek=${seek} wave labels ear=${ear} />
      <audio ref=${audio} src=${found.url} controls></audio>
      <${Choice} label="How pitches are spaced" value=${ear} change=${setEar} options=${[[true, 'As ears hear (mel)'], [false, 'Evenly, in hertz']]} /><//>
    <${Part} title="3. The spectrogram becomes a wave"><p>A loudspeaker needs the wave at the top: thousands of numbers a second that say where its membrane is. Making it out of the spectrogram is the work of the <i>vocoder</i>. Some vocoders are networks, trained against a judge as in the lesson on GANs. The voice “hibari” has its
        network say what belongs together, pulses at the voice's pitch, noise, and a free part, and adds them up by a formula.</p>
      <${Numbers} of=${[['Numbers a second', found.rate.toLocaleString()], ['Here', `${found.samples.length.toLocaleString()} for ${seconds(found.samples.length / found.rate)}`], ['Phonemes', found.phonemes.length || null], ['First sound after', seconds(found.first)]]} /><//>`;
}

function Live({ model }) {
  const [text, setText] = useState('She sells sea shells. I read a book, and you read it too.');
  const [speed, setSpeed] = useState(null);
  const { going, found, run } = useSaying(model);
  const submit = (event) => { event?.preventDefault(); if (text.trim() && !going) run(text.trim(), speed); };
  return html`<form class="card" aria-label="What to say" onSubmit=${submit}>
      <${Field} label="A sentence">${(id) => html`<${Growing} id=${id} data-main value=${text} change=${(now) => setText(now.slice(0, 300))} />`}<//>
      <${Range} label="Speed" min=${0.5} max=${2} step=${0.05} usual=${1} value=${speed} change=${setSpeed} />
      <div class="row"><button class="primary" disabled=${going || !text.trim()}><${Icon} name="speak" size="18" />Say it</button><span class="muted" role="status">${going ? 'Speaking' : ''}</span></div></form>
    ${found && html`<${Result} found=${found} />`}`;
}

export function Page() {
  const known = useValue(models);
  const model = voices(known)[0];
  if (known && !model) return html`<${Missing} id="voice" what="speaks" />`;
  return html`<${Lesson} id="voice" lead="A voice is made in three stages: what is said, how it sounds, and the wave that reaches your ear.">
    ${model && html`<${Live} model=${model} />`}
    <${Try} tries=${['Compare “sh” and “s” in “She sells”: which has its cloud higher up?', 'Say “12 May” or “Dr. Smith lives on Park Dr.” and look at the words that were made of it.', 'Invent a word, such as “blorfing”, and see how it is spelt out.']}
      look=${['Click a vowel, then an “s”: the wave of a vowel repeats itself, that of a hiss never does.', 'At half speed the phonemes last longer, but the voice is not lower: length and pitch are separate.', 'Words that are spelt alike may be said differently; the words beside them decide.']} /><//>`;
}
