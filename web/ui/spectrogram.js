// A sound as a spectrogram: time to the right, pitch upwards to 8 kHz, louder is stronger. Lines stand where words begin, and
// below them the phonemes with theirs, and the words themselves.
import { html, useEffect, useMemo, useRef } from '../lib/html.js';
import { peaks } from '../lib/sound.js';

const SIZE = 512;
const HEIGHT = 96;
/** Decibels between the loudest and what is not shown. */
const RANGE = 70;

/** Powers of the frequencies of one window, in place (Cooley and Tukey). */
function transform(re, im) {
  for (let i = 1, j = 0; i < SIZE; i += 1) {
    let bit = SIZE >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j |= bit;
    if (i < j) { [re[i], re[j]] = [re[j], re[i]]; [im[i], im[j]] = [im[j], im[i]]; }
  }
  for (let length = 2; length <= SIZE; length <<= 1) {
    const angle = (-2 * Math.PI) / length;
    for (let from = 0; from < SIZE; from += length) {
      for (let k = 0; k < length / 2; k += 1) {
        const [c, s] = [Math.cos(angle * k), Math.sin(angle * k)];
        const [a, b] = [from + k, from + k + length / 2];
        const [x, y] = [re[b] * c - im[b] * s, re[b] * s + im[b] * c];
        [re[b], im[b], re[a], im[a]] = [re[a] - x, im[a] - y, re[a] + x, im[a] + y];
      }
    }
  }
}

const TOP = 8000;
const mel = (hz) => 2595 * Math.log10(1 + hz / 700);
const hzOf = (mels) => 700 * (10 ** (mels / 2595) - 1);

/** `ear` spaces frequencies as ears do (mel) instead of evenly. */
function paint(canvas, samples, rate, ear) {
  const context = canvas.getContext('2d');
  const { width } = canvas;
  const step = samples.length / width;
  const top = Math.min(SIZE / 2, Math.round((TOP / rate) * SIZE));
  const levels = new Float32Array(width * HEIGHT);
  let loudest = -200;
  const [re, im] = [new Float32Array(SIZE), new Float32Array(SIZE)];
  for (let x = 0; x < width; x += 1) {
    const from = Math.round(x * step) - SIZE / 2;
    for (let i = 0; i < SIZE; i += 1) {
      re[i] = (samples[from + i] ?? 0) * (0.5 - 0.5 * Math.cos((2 * Math.PI * i) / SIZE));
      im[i] = 0;
    }
    transform(re, im);
    for (let y = 0; y < HEIGHT; y += 1) {
      const share = y / HEIGHT;
      const bin = Math.min(top, Math.round(ear ? (hzOf(share * mel(TOP)) / rate) * SIZE : share * top));
      const level = 10 * Math.log10(re[bin] ** 2 + im[bin] ** 2 + 1e-12);
      levels[x * HEIGHT + y] = level;
      loudest = Math.max(loudest, level);
    }
  }
  const picture = context.createImageData(width, HEIGHT);
  const [r, g, b] = getComputedStyle(canvas).color.match(/\d+/g).map(Number);
  for (let x = 0; x < width; x += 1) {
    for (let y = 0; y < HEIGHT; y += 1) {
      const share = Math.max(0, 1 - (loudest - levels[x * HEIGHT + y]) / RANGE);
      const at = ((HEIGHT - 1 - y) * width + x) * 4;
      picture.data.set([r, g, b, Math.round(255 * share * share)], at);
    }
  }
  context.putImageData(picture, 0, 0);
}

/** The outline of a sound, above and below a line in the middle, in a box of 1000 by 100. */
function outline(samples) {
  const all = peaks(samples, 500);
  return all.map((peak, index) => `M${index * 2} ${50 - peak * 48}V${50 + peak * 48}`).join('');
}

/** `at` is the player's place in seconds, `seek` takes a new one; `wave` adds the waveform above, `labels` the words below. */
export function Spectrogram({ samples, rate, words, phonemes = [], at, seek, wave, labels, ear }) {
  const canvas = useRef();
  const length = samples.length / rate;
  useEffect(() => { if (samples.length) paint(canvas.current, samples, rate, ear); }, [samples, ear]);
  const line = useMemo(() => (wave ? outline(samples) : ''), [samples, wave]);
  const share = (time) => `${(100 * time) / Math.max(length, 0.01)}%`;
  const go = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * length);
  };
  const now = words.find((word) => at >= word.start && at < word.end);
  const wide = Math.round(length * 280);
  return html`<div class="spectrogram-scroll" tabindex="0" role="group" aria-label="The sound as a picture"><div class=${`spectrogram ${wave ? 'with-wave' : ''} ${labels ? 'with-words' : ''}`} style=${{ minWidth: phonemes.length ? `${wide}px` : null }} onClick=${go}>
    ${wave && html`<svg class="outline" viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true"><path d=${line} /></svg>`}
    <canvas ref=${canvas} width=${Math.min(1600, Math.max(200, Math.round(length * 120)))} height=${HEIGHT} role="img" aria-label=${`Spectrogram of ${words.length} words`}></canvas>
    ${words.map((word, index) => html`<i key=${index} class=${word === now ? 'now' : ''} style=${{ left: share(word.start), width: share(word.end - word.start) }} title=${word.word}></i>`)}
    ${phonemes.map((phoneme, index) => html`<s key=${`p${index}`} class=${at >= phoneme.start && at < phoneme.end ? 'now' : ''} style=${{ left: share(phoneme.start), width: share(phoneme.end - phoneme.start) }}>${phoneme.symbol}</s>`)}
    ${labels && words.map((word, index) => html`<u key=${`w${index}`} class=${word === now ? 'now' : ''} style=${{ left: share(word.start), width: share(word.end - word.start) }}>${word.word}</u>`)}
    <b style=${{ left: share(at) }}></b></div></div>`;
}
