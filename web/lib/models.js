// The models of the server: those it serves, and those it could have.
import { ApiError, call } from './api.js';
import { state } from './state.js';

/** `{name, medium, architecture, installed, loaded, …}`, or null before they were asked for. */
export const models = state(null);

/** GANs draw in one pass, and have a latent space to walk in. */
export const isGan = (model) => /gan/i.test(model?.architecture ?? model?.name ?? '');

const EARS = /whisper|^ggml-/i;

/** The catalog with what the user has beside it; where a server keeps none, what it serves writes. */
async function catalog() {
  try {
    return (await call('v1/catalog')).data;
  } catch (error) {
    if (!(error instanceof ApiError && (error.missing || error.code === 'nothing_kept'))) throw error;
  }
  const { data } = await call('v1/models');
  return data.map(({ id }) => ({ name: id, medium: 'text', architecture: '', installed: true, served: true, chats: true, own: true }));
}

let running = null;

/** Asks anew; requests at the same time are one. */
export function loadModels() {
  running ??= (async () => {
    try {
      models.set(await catalog());
    } finally {
      running = null;
    }
    return models.get();
  })();
  return running;
}

/** Those that listen. */
export function listeners(list) {
  return (list ?? []).filter((model) => model.served && (model.architecture === 'whisper' || (model.own && EARS.test(model.name))));
}

/** Those that speak. */
export function voices(list) {
  return (list ?? []).filter((model) => model.served && model.medium === 'speech' && model.architecture !== 'whisper');
}

/** Those that make works of a medium. Of those that write, only such as answer: the others go on with a text. */
export function serving(list, medium) {
  const makes = (model) => model.served && model.medium === medium && (medium !== 'text' || model.chats);
  return (list ?? []).filter(makes);
}
