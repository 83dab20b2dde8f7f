// The jobs of the server, live: one stream of events for the whole studio.
import { ApiError, call, events, pause, send } from './api.js';
import { keep } from './keep.js';
import { state } from './state.js';

/** All jobs that are known here, by id. */
export const jobs = state(new Map());
/** Jobs that wait or run. */
export const busyJobs = state(0);
/** Whether this server has jobs: null as long as nobody knows. */
export const haveJobs = state(null);
/** Pictures of the way, by job: `Map(job → Map(index → [{done, total, image, noisy}]))`; `noisy` where samples are pixels. */
export const previews = state(new Map());

const ENDED = new Set(['done', 'failed', 'cancelled']);
/** Jobs whose way is kept in the browser. */
const KEPT_WAYS = 60;

export const ended = (job) => ENDED.has(job?.state);

function put(list) {
  jobs.set((old) => {
    const all = new Map(old);
    for (const job of list) {
      const known = all.get(job.id);
      // The end of a quick job may come before the answer that it was taken.
      all.set(job.id, ended(known) && !ended(job) ? { ...job, ...known } : { ...known, ...job });
    }
    return all;
  });
  busyJobs.set([...jobs.get().values()].filter((job) => !ended(job)).length);
}

export function forget(id) {
  jobs.set((old) => {
    const all = new Map(old);
    all.delete(id);
    return all;
  });
}

/** The jobs before those that are known, or the newest. */
export async function loadJobs({ after, limit = 50 } = {}) {
  const query = new URLSearchParams({ limit, ...(after && { after }) });
  const list = await call(`v1/jobs?${query}`);
  put(list.data);
  return list.has_more;
}

export async function submit(request, priority = 0) {
  const job = await call('v1/jobs', { body: { request, priority } });
  put([job]);
  return job;
}

/** The same, with files. */
export async function submitForm(form) {
  const job = await call('v1/jobs', { form });
  put([job]);
  return job;
}

export async function cancel(id) {
  const job = await call(`v1/jobs/${id}/cancel`, { method: 'POST' });
  if (job?.id) put([job]);
}

/** Asks for a job anew; whether it is there. */
export async function refresh(id) {
  try {
    put([await call(`v1/jobs/${id}`)]);
    return true;
  } catch {
    // It was deleted meanwhile.
    return false;
  }
}

/** Resolves to the job when it has ended. The signal only stops the waiting. */
export function outcome(id, signal) {
  return new Promise((resolve, reject) => {
    let stop = () => {};
    const look = () => {
      const job = jobs.get().get(id);
      if (!ended(job)) return;
      stop();
      resolve(job);
    };
    stop = jobs.listen(look);
    signal?.addEventListener('abort', () => {
      stop();
      reject(new DOMException('', 'AbortError'));
    });
    look();
  });
}

function take(kind, data) {
  const id = data.job;
  const known = jobs.get().get(id);
  // A stream begins with how jobs stand; those that ended long ago are news to nobody.
  if (ENDED.has(kind) && (!known || ended(known))) return;
  const news = { id };
  if (kind === 'queued') news.state = 'queued';
  if (kind === 'progress') Object.assign(news, { state: 'running', progress: { stage: data.stage, done: data.done, total: data.total } });
  if (kind === 'preview') addPreview(id, data);
  if (kind === 'chunk') news.text = (known?.text ?? '') + data.text;
  if (ENDED.has(kind)) Object.assign(news, { works: data.works ?? known?.works ?? [], error: data.error ?? null });
  // The end of a job is told by the server's own account of it, with its times.
  if (ENDED.has(kind)) {
    keepWay(id);
    refresh(id).then(() => put([{ ...news, state: kind }]));
  } else if (!ended(known)) {
    put([news]);
    if (!known?.request) refresh(id);
  }
}

function addPreview(id, { index = 0, done, total, image, noisy }) {
  previews.set((old) => {
    const all = new Map(old);
    const ways = new Map(all.get(id));
    const frames = ways.get(index) ?? [];
    if (!frames.some((frame) => frame.done === done)) ways.set(index, [...frames, { done, total, image, noisy }]);
    all.set(id, ways);
    return all;
  });
}

async function keepWay(id) {
  const ways = previews.get().get(id);
  if (!ways) return;
  await keep.put('steps', { id, at: Date.now(), ways });
  const all = await keep.all('steps');
  all.sort((a, b) => b.at - a.at);
  for (const old of all.slice(KEPT_WAYS)) keep.remove('steps', old.id);
}

/** The pictures of the way of a job, where this browser saw it. */
export async function wayOf(id) {
  return previews.get().get(id) ?? (await keep.get('steps', id))?.ways ?? null;
}

async function watch() {
  for (let wait = 1000; ; wait = Math.min(wait * 2, 20_000)) {
    try {
      const stream = await send('v1/jobs/events', { quiet: true });
      haveJobs.set(true);
      await loadJobs();
      for await (const { event, data } of events(stream)) {
        wait = 1000;
        take(event, JSON.parse(data));
      }
    } catch (error) {
      if (error instanceof ApiError && error.missing) {
        haveJobs.set(false);
        return;
      }
    }
    await pause(wait);
  }
}

watch();
