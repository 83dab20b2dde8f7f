// The way to a picture, step by step.
import { html, useEffect, useState } from '../lib/html.js';
import { Icon } from '../lib/icons.js';

/** A slider through the steps; `at` is a step's place, the last of all being the work itself. */
export function Steps({ frames, at, setAt }) {
  const [playing, setPlaying] = useState(false);
  const last = frames.length;
  useEffect(() => {
    if (!playing) return undefined;
    const timer = setTimeout(() => {
      if (at >= last) setPlaying(false);
      else setAt(at + 1);
    }, at === last - 1 ? 400 : 110);
    return () => clearTimeout(timer);
  }, [playing, at]);
  if (last < 2) return null;
  const play = () => {
    if (!playing && at >= last) setAt(0);
    setPlaying(!playing);
  };
  const frame = frames[Math.min(at, last - 1)];
  const words = at >= last ? 'The work' : `Step ${frame.done} of ${frame.total}`;
  return html`<div class="steps"><button type="button" class="quiet" aria-label=${playing ? 'Pause' : 'Play the steps'} onClick=${play}><${Icon} name=${playing ? 'pause' : 'play'} size="18" /></button>
    <input type="range" aria-label="Denoising step" aria-valuetext=${words} min="0" max=${last} value=${at} onInput=${(event) => { setPlaying(false); setAt(event.target.valueAsNumber); }} />
    <output>${words}</output></div>`;
}
