// Spoken words from the server: heard while they are made, and kept as samples.
import { call, events, send } from './api.js';
import { state } from './state.js';

/** The names of the voices, by model. */
export async function voicesOf() {
  const { data } = await call('v1/audio/voices');
  return data;
}

/** Samples a second of what comes. */
const RATE = 24000;

const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** Samples out of 16-bit numbers. */
function samplesOf(text) {
  const bytes = bytesOf(text);
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length >> 1 }, (_, at) => view.getInt16(at * 2, true) / 32768);
}

/** Plays pieces one behind the other, the first at once. */
export function player() {
  const context = new AudioContext();
  let next = 0;
  let heard = Promise.resolve();
  return {
    context,
    push(samples, rate) {
      const buffer = context.createBuffer(1, samples.length, rate);
      buffer.copyToChannel(samples, 0);
      const source = context.createBufferSource();
      source.buffer = buffer;
      source.connect(context.destination);
      next = Math.max(next, context.currentTime + 0.03);
      source.start(next);
      next += buffer.duration;
      heard = new Promise((resolve) => source.addEventListener('ended', resolve));
    },
    /** Resolves when all has been heard. */
    ended: () => heard,
    stop: () => context.close().catch(() => {}),
  };
}

/**
 * Says a text. `heard(samples, rate, words)` is told each sentence as it comes, `words` with their times in the whole.
 * Gives all of it: `{samples, rate, words, phonemes, first}`, `first` in seconds until the first sound.
 */
export async function say({ model, text, voice, speed, signal, heard = () => {} }) {
  const begun = performance.now();
  const body = { model, input: text, response_format: 'pcm', stream_format: 'sse' };
  if (voice) body.voice = voice;
  if (speed) body.speed = speed;
  const response = await send('v1/audio/speech', { body, signal });
  const pieces = [];
  const words = [];
  const phonemes = [];
  let [rate, first] = [RATE, null];
  for await (const { data } of events(response)) {
    const event = JSON.parse(data);
    if (event.error) throw new Error(event.error.message);
    if (event.type !== 'speech.audio.delta') continue;
    first ??= (performance.now() - begun) / 1000;
    rate = event.sample_rate ?? rate;
    const samples = samplesOf(event.audio);
    pieces.push(samples);
    words.push(...(event.words ?? []));
    phonemes.push(...(event.phonemes ?? []));
    heard(samples, rate, event.words ?? []);
  }
  const samples = new Float32Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) { samples.set(piece, at); at += piece.length; }
  return { samples, rate, words, phonemes, first };
}

/** A WAV file of one channel and 16 bits. */
export function wavOf(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + samples.length * 2));
  const word = (at, text) => [...text].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  word(0, 'RIFF'); view.setUint32(4, 36 + samples.length * 2, true); word(8, 'WAVEfmt ');
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, rate * 2, true); view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  word(36, 'data'); view.setUint32(40, samples.length * 2, true);
  samples.forEach((x, at) => view.setInt16(44 + at * 2, Math.round(Math.max(-1, Math.min(1, x)) * 32767), true));
  return new Blob([view], { type: 'audio/wav' });
}

/** Bytes in base64 as a file. */
export const fileOf = (text, type) => new Blob([bytesOf(text)], { type });

/** What is being read aloud: an id, or null. */
export const aloud = state(null);
let reading = null;

/** Reads a text aloud, or stops if it is what is read. */
export async function readAloud(id, request) {
  const stop = aloud.get() === id;
  reading?.abort();
  if (stop) return;
  const mine = (reading = new AbortController());
  const sound = player();
  mine.signal.addEventListener('abort', sound.stop);
  aloud.set(id);
  try {
    await say({ ...request, signal: mine.signal, heard: (samples, rate) => sound.push(samples, rate) });
    await Promise.race([sound.ended(), new Promise((resolve) => { mine.signal.addEventListener('abort', resolve); })]);
  } catch (error) {
    if (error.name !== 'AbortError') throw error;
  } finally {
    sound.stop();
    if (reading === mine) { reading = null; aloud.set(null); }
  }
}
