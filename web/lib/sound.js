// Sound in the browser: recorded, decoded, drawn, and as WAV. And what the server hears in it.
import { call } from './api.js';

/** What the models that listen take in. */
const RATE = 16000;

/** One channel of a file at 16000 samples a second; rejects for what the browser cannot decode. */
export async function decode(blob) {
  const context = new OfflineAudioContext(1, 1, RATE);
  const sound = await context.decodeAudioData(await blob.arrayBuffer());
  const samples = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel += 1) {
    sound.getChannelData(channel).forEach((x, at) => { samples[at] += x / sound.numberOfChannels; });
  }
  return samples;
}

/** Samples as a WAV file of 16 bits. */
export function wav(samples) {
  const view = new DataView(new ArrayBuffer(44 + samples.length * 2));
  const word = (at, text) => [...text].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  word(0, 'RIFF'); view.setUint32(4, 36 + samples.length * 2, true); word(8, 'WAVEfmt ');
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, RATE, true); view.setUint32(28, RATE * 2, true); view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  word(36, 'data'); view.setUint32(40, samples.length * 2, true);
  samples.forEach((x, at) => view.setInt16(44 + at * 2, Math.round(Math.max(-1, Math.min(1, x)) * 32767), true));
  return new Blob([view], { type: 'audio/wav' });
}

/** The loudest of each of `count` parts, 0 to 1. */
export function peaks(samples, count) {
  const size = Math.max(1, samples.length / count);
  const all = Array.from({ length: count }, (_, i) => {
    let most = 0;
    for (let at = Math.floor(i * size); at < Math.min(samples.length, (i + 1) * size); at += 1) most = Math.max(most, Math.abs(samples[at]));
    return most;
  });
  const loudest = Math.max(...all, 0.05);
  return all.map((x) => x / loudest);
}

export const canRecord = () => Boolean(navigator.mediaDevices?.getUserMedia && window.MediaRecorder);

/** Begins to record; `stop()` gives the WAV, `drop()` nothing. */
export async function record() {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true } });
  } catch (error) {
    throw new Error(error.name === 'NotAllowedError' ? 'The browser does not let this page use the microphone.' : 'There is no microphone.');
  }
  const recorder = new MediaRecorder(stream);
  const parts = [];
  recorder.ondataavailable = (event) => parts.push(event.data);
  const ended = new Promise((resolve) => { recorder.onstop = resolve; });
  recorder.start(500);
  const end = async () => {
    if (recorder.state !== 'inactive') recorder.stop();
    await ended;
    stream.getTracks().forEach((track) => track.stop());
  };
  return {
    drop: end,
    async stop() {
      await end();
      return wav(await decode(new Blob(parts, { type: recorder.mimeType })));
    },
  };
}

/** What is said in a sound, with the times of stretches and words. */
export function transcript(blob, { name = 'sound.wav', model, language, task = 'transcriptions', prompt, words = true, signal } = {}) {
  const form = new FormData();
  form.append('file', blob, name);
  form.append('response_format', 'verbose_json');
  if (task === 'transcriptions' && words) {
    form.append('timestamp_granularities[]', 'segment');
    form.append('timestamp_granularities[]', 'word');
  }
  if (model) form.append('model', model);
  if (language && task === 'transcriptions') form.append('language', language);
  if (prompt) form.append('prompt', prompt);
  return call(`v1/audio/${task}`, { form, signal });
}

/** 3661.25 → "1:01:01.3". */
export function clock(time) {
  const tenths = Math.round(time * 10);
  const pad = (n) => String(n).padStart(2, '0');
  const [hours, minutes, rest] = [Math.floor(tenths / 36000), Math.floor(tenths / 600) % 60, tenths % 600];
  const last = `${pad(Math.floor(rest / 10))}.${rest % 10}`;
  return hours ? `${hours}:${pad(minutes)}:${last}` : `${minutes}:${last}`;
}

function stamp(time, point) {
  const ms = Math.round(time * 1000);
  const pad = (n, size = 2) => String(n).padStart(size, '0');
  return `${pad(Math.floor(ms / 3600000))}:${pad(Math.floor(ms / 60000) % 60)}:${pad(Math.floor(ms / 1000) % 60)}${point}${pad(ms % 1000, 3)}`;
}

/** Segments as captions. */
export function captions(segments, form) {
  const cue = (s, at) => `${form === 'srt' ? `${at + 1}\n` : ''}${stamp(s.start, form === 'srt' ? ',' : '.')} --> ${stamp(s.end, form === 'srt' ? ',' : '.')}\n${s.text.trim().replaceAll('-->', '->')}\n\n`;
  return (form === 'vtt' ? 'WEBVTT\n\n' : '') + segments.map(cue).join('');
}
