// What lies on the desk: the request as it is being written, and the job that was last asked for.
import { ApiError, send } from '../../lib/api.js';
import { randomSeed } from '../../lib/format.js';
import { outcome, submit, submitForm } from '../../lib/jobs.js';
import { kept, state } from '../../lib/state.js';

export const usualForm = {
  model: '', prompt: '', negative: '', width: null, height: null, steps: null, guidance: null, sampler: '', seed: '', count: 1,
  grid: false, upscale: null, truncation: null, walk: null, strength: null, tab: 'picture', also: null,
};

export const form = kept('draw', usualForm);

/** The fields of recipes that the form has no control for; they are kept until they are removed. */
const ALSO = ['init', 'mask', 'mix', 'loras'];

/** The picture that is begun with, and its mask: `{blob, url, width, height, sha256, mask: blob or null, maskUrl}`;
 * `sha256` of one out of the library. */
export const start = state(null);

/** What is on the page: the job by its id, or pictures that came without one. */
export const shown = state({ id: sessionStorage.getItem('medley.shown') });
shown.listen(({ id }) => id && sessionStorage.setItem('medley.shown', id));

/** The form as a request. What the model decides for itself is left out. */
export function requestOf(values, gan) {
  const request = { medium: 'image', model: values.model, seed: values.seed === '' ? randomSeed() : Number(values.seed) };
  if (values.prompt.trim()) request.prompt = values.prompt.trim();
  if (values.width && values.height) request.size = [values.width, values.height];
  if (values.count > 1) request.count = values.count;
  if (values.count > 1 && values.grid) request.grid = true;
  if (values.upscale) request.upscale = values.upscale;
  if (gan) {
    if (values.truncation != null) request.truncation = values.truncation;
    if (values.walk) request.walk = values.walk;
  } else {
    if (values.negative.trim()) request.negative = values.negative.trim();
    for (const name of ['steps', 'guidance']) if (values[name] != null) request[name] = values[name];
    if (values.sampler) request.sampler = values.sampler;
  }
  return { ...request, ...values.also };
}

/** A recipe back in the form. */
export function fill(recipe) {
  const [width = null, height = null] = recipe.size ?? [];
  const { model, prompt = '', negative = '', steps = null, guidance = null, sampler = '', seed, count = 1, grid = false } = recipe;
  const { upscale = null, truncation = null, walk = null } = recipe;
  const also = Object.fromEntries(ALSO.filter((name) => recipe[name] != null).map((name) => [name, recipe[name]]));
  form.change({ model, prompt, negative, width, height, steps, guidance, sampler, seed: String(seed ?? ''), count, grid, upscale, truncation, walk, tab: 'picture', also });
  if (recipe.init) start.set(null);
}

/** A picture that is begun with goes along with the request; the server keeps it as long as it knows the job. */
function withPicture({ init, mask: old, ...request }, { blob, mask }, strength) {
  const form = new FormData();
  form.set('request', JSON.stringify(request));
  form.set('image', blob, 'image.png');
  if (mask) form.set('mask', mask, 'mask.png');
  if (strength != null) form.set('strength', String(strength));
  return form;
}

/** Draws without jobs, where a server has none: the pictures come at once, and are in no library. */
async function atOnce(request) {
  const body = {
    model: request.model, prompt: request.prompt ?? '', n: request.count ?? 1, seed: request.seed,
    steps: request.steps, guidance: request.guidance, negative_prompt: request.negative,
    size: request.size ? request.size.join('x') : undefined,
  };
  return (await send('v1/images/generations', { body })).json();
}

const asPictures = (answer) => answer.data.map((one) => `data:image/${answer.output_format ?? 'png'};base64,${one.b64_json}`);

/** Takes a file as the picture to begin with: at most 2048 pixels a side, in PNG. */
export async function beginWith(file, sha256 = null) {
  const bitmap = await createImageBitmap(file).catch(() => { throw new Error('This file is no picture that the browser can read.'); });
  const scale = Math.min(1, 2048 / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale))];
  const canvas = Object.assign(document.createElement('canvas'), { width, height });
  canvas.getContext('2d').drawImage(bitmap, 0, 0, width, height);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
  const old = start.get();
  if (old) URL.revokeObjectURL(old.url);
  start.set({ blob, url: URL.createObjectURL(blob), width, height, sha256, mask: null, maskUrl: null });
  const { init, mask, ...also } = form.get().also ?? {};
  form.change({ also });
}

/** Asks for what is in the form. */
export async function draw(request, strength) {
  const begin = start.get();
  const mine = { id: null, waiting: true, request, begun: Date.now() };
  shown.set(mine);
  const set = (part) => shown.set((now) => (now.begun === mine.begun ? { ...now, ...part } : now));
  try {
    if (begin?.sha256 && !begin.mask) request = { ...request, init: { sha256: begin.sha256, strength: strength ?? 0.6 } };
    const form = begin && !request.init ? withPicture(request, begin, strength) : null;
    const job = form ? await submitForm(form) : await submit(request);
    set({ id: job.id, waiting: false });
    await outcome(job.id);
  } catch (error) {
    if (error instanceof ApiError && error.missing && !begin) {
      set({ pictures: asPictures(await atOnce(request)), waiting: false });
      return;
    }
    set({ waiting: false, failed: error.message });
    throw error;
  }
}
