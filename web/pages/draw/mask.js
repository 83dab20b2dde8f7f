// A brush over the picture that is begun with: what is painted is drawn anew.
import { html, useEffect, useRef, useState } from '../../lib/html.js';
import { Icon } from '../../lib/icons.js';
import { Choice, Range } from '../../ui/controls.js';
import { Dialog } from '../../ui/dialog.js';
import { start } from './desk.js';

const PAINT = 'rgb(224, 70, 60)';

/** Half of all or nothing: the edge of a stroke has no half-drawn pixels. */
function painted(canvas) {
  const { data } = canvas.getContext('2d', { willReadFrequently: true }).getImageData(0, 0, canvas.width, canvas.height);
  return { data, any: data.some((value, index) => index % 4 === 3 && value > 127) };
}

/** As `/v1/images/edits` has masks: a picture that is transparent where it is to be drawn anew. */
function asFile(canvas) {
  const { data, any } = painted(canvas);
  if (!any) return Promise.resolve(null);
  const out = Object.assign(document.createElement('canvas'), { width: canvas.width, height: canvas.height });
  const context = out.getContext('2d');
  const pixels = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < data.length; i += 4) pixels.data[i + 3] = data[i + 3] > 127 ? 0 : 255;
  context.putImageData(pixels, 0, 0);
  return new Promise((resolve) => out.toBlob(resolve, 'image/png'));
}

export function Mask({ close }) {
  const { url, width, height, maskUrl } = start.get();
  const canvas = useRef();
  const last = useRef(null);
  const before = useRef([]);
  const [size, setSize] = useState(12);
  const [tool, setTool] = useState('paint');
  const [spot, setSpot] = useState(null);
  useEffect(() => {
    if (!maskUrl) return;
    const image = new Image();
    image.onload = () => canvas.current?.getContext('2d').drawImage(image, 0, 0);
    image.src = maskUrl;
  }, []);
  /** Width of the brush in pixels of the picture; `size` is percent of its longer side. */
  const brush = (Math.max(width, height) * size) / 100;
  const point = (event) => {
    const box = canvas.current.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
  };
  const stroke = (to) => {
    const context = canvas.current.getContext('2d');
    context.globalCompositeOperation = tool === 'paint' ? 'source-over' : 'destination-out';
    Object.assign(context, { strokeStyle: PAINT, lineWidth: brush, lineCap: 'round', lineJoin: 'round' });
    context.beginPath();
    context.moveTo(...(last.current ?? to));
    context.lineTo(to[0] + 0.01, to[1]);
    context.stroke();
    last.current = to;
  };
  const remember = () => {
    before.current.push(canvas.current.getContext('2d').getImageData(0, 0, width, height));
    if (before.current.length > 12) before.current.shift();
  };
  const down = (event) => {
    canvas.current.setPointerCapture(event.pointerId);
    remember();
    stroke(point(event));
  };
  const move = (event) => {
    setSpot([event.offsetX, event.offsetY, brush * (canvas.current.clientWidth / width)]);
    if (last.current) for (const one of event.getCoalescedEvents?.() ?? [event]) stroke(point(one));
  };
  const up = () => { last.current = null; };
  const undo = () => {
    const old = before.current.pop();
    if (old) canvas.current.getContext('2d').putImageData(old, 0, 0);
  };
  const invert = () => {
    remember();
    const context = canvas.current.getContext('2d');
    context.globalCompositeOperation = 'xor';
    context.fillStyle = PAINT;
    context.fillRect(0, 0, width, height);
  };
  const clear = () => { remember(); canvas.current.getContext('2d').clearRect(0, 0, width, height); };
  const done = async () => {
    const mask = await asFile(canvas.current);
    start.set((now) => ({ ...now, mask, maskUrl: mask ? canvas.current.toDataURL('image/png') : null }));
    close();
  };
  const keys = (event) => {
    if (event.key === '[') setSize((now) => Math.max(1, now - 2));
    if (event.key === ']') setSize((now) => Math.min(60, now + 2));
    if (event.key === 'z' && (event.ctrlKey || event.metaKey)) { event.preventDefault(); undo(); }
  };
  return html`<${Dialog} title="What is to be drawn anew" wide close=${close}>
    <div class="mask" onKeyDown=${keys}>
      <div class="mask-tools"><${Choice} label="Tool" value=${tool} change=${setTool} options=${[['paint', 'Paint'], ['erase', 'Erase']]} />
        <div class="grow"><${Range} label="Brush" min=${1} max=${60} usual=${12} value=${size} change=${(value) => setSize(value ?? 12)} /></div>
        <div class="row"><button type="button" onClick=${undo}><${Icon} name="again" size="16" />Undo</button><button type="button" onClick=${invert}>Invert</button><button type="button" onClick=${clear}>Clear</button></div></div>
      <div class="mask-stage" style=${{ aspectRatio: `${width} / ${height}`, maxWidth: `calc((100dvh - 290px) * ${width / height})` }}>
        <img src=${url} alt="" class=${width <= 96 ? 'pixels' : ''} />
        <canvas ref=${canvas} width=${width} height=${height} aria-label="Paint here" onPointerDown=${down} onPointerMove=${move} onPointerUp=${up} onPointerCancel=${up} onPointerLeave=${() => setSpot(null)}></canvas>
        ${spot && html`<i class="mask-spot" style=${{ left: `${spot[0]}px`, top: `${spot[1]}px`, width: `${spot[2]}px`, height: `${spot[2]}px` }}></i>`}
      </div>
    </div>
    <footer><button type="button" onClick=${close}>Cancel</button><button type="button" class="primary" onClick=${done}>Use this mask</button></footer>
  <//>`;
}
