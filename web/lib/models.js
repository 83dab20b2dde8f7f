// The models of the server: those it serves, and those it could have.
import { ApiError, call } from './api.js';
import { state } from './state.js';

/** `{name, medium, architecture, installed, loaded, …}`, or null before they were asked for. */
export const models = state(null);

/** GANs draw in one pass, and have a latent space to walk in. */
export const isGan = (model) => /gan/i.test(model?.architecture ?? model?.name ?? '');

const GUESS = /^(icons|icon-|.*diffusion|.*dit\b)/i;

async function catalog() {
  try {
    const list = await call('v1/catalog');
    return Array.isArray(list) ? list : list.data;
  } catch (error) {
    if (error instanceof ApiError && error.missing) return [];
    throw error;
  }
}

let running = null;

/** Asks anew; requests at the same time are one. */
export function loadModels() {
  running ??= (async () => {
    try {
      const [known, served] = await Promise.all([catalog(), call('v1/models')]);
      const names = new Set(known.map((model) => model.name));
      const own = served.data.filter((model) => !names.has(model.id)).map((model) => ({
        name: model.id, medium: GUESS.test(model.id) ? 'image' : 'text', architecture: model.id === 'minilm' ? 'bert' : '',
        installed: true, own: true,
      }));
      const usable = new Set(served.data.map((model) => model.id));
      models.set([...known, ...own].map((model) => ({ ...model, served: usable.has(model.name) })));
    } finally {
      running = null;
    }
    return models.get();
  })();
  return running;
}

/** Those that write, or those that draw. */
export function serving(list, medium) {
  return (list ?? []).filter((model) => model.served && model.medium === medium && model.architecture !== 'bert');
}
