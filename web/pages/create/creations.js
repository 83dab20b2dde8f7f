// Creations on the server: many works of one brief.
import { call, pause, send } from '../../lib/api.js';
import { download } from '../../lib/format.js';
import { useEffect, useRef, useState } from '../../lib/html.js';

/** How often one that is made is looked at. */
const EVERY = 700;

const path = (id, rest = '') => `v1/creations/${encodeURIComponent(id)}${rest}`;

export const listCreations = async () => (await call('v1/creations')).data;
export const listKits = async () => (await call('v1/kits')).data;
export const beginCreation = (request) => call('v1/creations', { body: request });
export const removeCreation = (id) => call(path(id), { method: 'DELETE' });
export const cancelCreation = (id) => call(path(id, '/cancel'), { method: 'POST' });
export const resumeCreation = (id) => call(path(id, '/resume'), { method: 'POST' });
export const filePath = (id, name) => path(id, `/files/${encodeURIComponent(name)}`);

/** Sends an edited plan and makes anew what it changes. */
export async function changePlan(id, plan) {
  await call(path(id, '/plan'), { method: 'PUT', body: plan });
  return resumeCreation(id);
}

export async function saveFile(id, name) {
  download(name, await (await send(filePath(id, name))).blob());
}

export async function saveZip(creation) {
  download(`${creation.id}.zip`, await (await send(path(creation.id, '/zip'))).blob());
}

export const isGoing = (creation) => creation?.state === 'queued' || creation?.state === 'running';
export const isThere = (work) => work.state === 'done' || work.state === 'kept';

/** Works that are there, and how far all are, 0 to 1. */
export function howFar({ works }) {
  const there = works.filter(isThere).length;
  const begun = works.filter((work) => work.state === 'running').reduce((sum, { progress }) => sum + (progress ?? 0), 0);
  return { there, share: works.length ? (there + begun) / works.length : null };
}

/**
 * A creation, looked at again as long as it is made. Gives `{creation, error, stamps, look}`; `stamps` has another number for
 * each work whenever it was made anew, so that its old file is not shown.
 */
export function useCreation(id) {
  const [state, setState] = useState({ creation: null, error: null });
  const stamps = useRef({});
  const before = useRef({});
  const [turn, setTurn] = useState(0);
  const take = (creation) => {
    for (const work of creation.works) {
      const old = before.current[work.id];
      if (isThere(work) && old !== work.state && !(old && isThere({ state: old }) && work.state === 'kept')) stamps.current[work.id] = Date.now();
      before.current[work.id] = work.state;
    }
    setState({ creation, error: null });
  };
  useEffect(() => {
    const controller = new AbortController();
    const { signal } = controller;
    const watch = async () => {
      while (!signal.aborted) {
        try {
          const found = await call(path(id), { signal, quiet: true });
          if (signal.aborted) return;
          take(found);
          if (!isGoing(found)) return;
        } catch (error) {
          if (signal.aborted || error.name === 'AbortError') return;
          // A server that is away for a moment comes back.
          setState((old) => ({ ...old, error }));
          if (error.status) return;
        }
        await pause(EVERY, signal);
      }
    };
    watch();
    return () => controller.abort();
  }, [id, turn]);
  return { ...state, stamps: stamps.current, look: () => setTurn((n) => n + 1) };
}
