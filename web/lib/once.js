// Works that are shown and not kept: a job makes them, and they are taken out of the library again.
import { call, send } from './api.js';
import { forget, outcome, submit, wayOf } from './jobs.js';
import { getWork } from './library.js';
import { filePath } from '../ui/picture.js';

/** What was made: the request → a promise of it. */
const made = new Map();
const MOST = 400;

async function make(request, begun) {
  const job = await submit(request);
  begun?.(job.id);
  const done = await outcome(job.id);
  if (done.state !== 'done') throw new Error(done.error?.message ?? 'It was stopped.');
  const [id] = done.works;
  const [work, file, way] = await Promise.all([getWork(id), send(filePath({ id })), wayOf(job.id)]);
  const url = URL.createObjectURL(await file.blob());
  const gone = [call(`v1/library/${id}`, { method: 'DELETE' }), call(`v1/jobs/${job.id}`, { method: 'DELETE' })];
  Promise.allSettled(gone).then(() => forget(job.id));
  const { recipe, timings, width, height } = work;
  return { url, recipe, timings, width, height, frames: way?.get(0) ?? [] };
}

/**
 * `{url, recipe, timings, width, height, frames}` of a request, `frames` being the way to it; the same request is carried
 * out once. `begun` is told the job, where one begins.
 */
export function once(request, begun) {
  const key = JSON.stringify(request);
  if (!made.has(key)) {
    const coming = make(request, begun);
    coming.catch(() => made.delete(key));
    made.set(key, coming);
    if (made.size > MOST) {
      const [oldest, old] = made.entries().next().value;
      made.delete(oldest);
      old.then(({ url }) => URL.revokeObjectURL(url), () => {});
    }
  }
  return made.get(key);
}
