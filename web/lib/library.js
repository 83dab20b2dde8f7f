// The works of the server.
import { call, send } from './api.js';
import { download, fileName } from './format.js';
import { jobs, refresh } from './jobs.js';
import { filePath } from '../ui/picture.js';
import { go } from './route.js';

export async function listWorks({ q = '', medium = '', tag = '', after = '', limit = 48 } = {}) {
  const given = Object.entries({ q, medium, tag, after, limit }).filter(([, value]) => value !== '');
  return call(`v1/library?${new URLSearchParams(given)}`);
}

export const getWork = (id) => call(`v1/library/${id}`);
export const changeWork = (id, part) => call(`v1/library/${id}`, { method: 'PATCH', body: part });

/** Deletes a work; its job, where it is known here, has it no longer. */
export async function removeWork(work) {
  await call(`v1/library/${work.id}`, { method: 'DELETE' });
  if (work.job && jobs.get().has(work.job)) await refresh(work.job);
}

const EXTENSIONS = {
  'image/png': 'png', 'image/jpeg': 'jpg', 'image/webp': 'webp', 'image/gif': 'gif', 'text/plain': 'txt', 'text/markdown': 'md',
  'audio/wav': 'wav', 'audio/flac': 'flac', 'audio/mpeg': 'mp3', 'audio/ogg': 'opus', 'video/mp4': 'mp4', 'application/json': 'json',
};

export async function saveWork(work) {
  const answer = await send(filePath(work));
  download(fileName(work.title || work.prompt, EXTENSIONS[work.mime] ?? 'bin'), await answer.blob());
}

/** Opens the page that makes works of this medium, with this one's recipe. */
export function reuse(work) {
  sessionStorage.setItem('medley.reuse', JSON.stringify(work.recipe));
  const page = { image: 'draw', speech: 'speak', music: 'music', video: 'video' }[work.medium] ?? 'chat';
  go(`${page}?reuse=${work.id}`);
}

/** Opens the page that draws, with this picture to begin with. */
export async function begin(work) {
  const [answer, { beginWith }] = await Promise.all([send(filePath(work)), import('../pages/draw/desk.js')]);
  await beginWith(await answer.blob(), work.sha256);
  go('draw');
}

/** The recipe that was given to `reuse`, once. */
export function takeRecipe() {
  const text = sessionStorage.getItem('medley.reuse');
  sessionStorage.removeItem('medley.reuse');
  return text ? JSON.parse(text) : null;
}
