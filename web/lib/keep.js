// What is kept in the browser: one IndexedDB with a store per kind. Where there is none (some private windows), what is
// kept lives as long as the page.

const STORES = ['talks', 'steps'];
let opening = null;
const memory = Object.fromEntries(STORES.map((name) => [name, new Map()]));

function open() {
  opening ??= new Promise((resolve) => {
    let request;
    try {
      request = indexedDB.open('medley', 1);
    } catch {
      resolve(null);
      return;
    }
    request.onupgradeneeded = () => {
      for (const name of STORES) request.result.createObjectStore(name, { keyPath: 'id' });
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => resolve(null);
  });
  return opening;
}

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function within(store, mode, work, instead) {
  const base = await open();
  if (!base) return instead(memory[store]);
  return settled(work(base.transaction(store, mode).objectStore(store)));
}

export const keep = {
  all: (store) => within(store, 'readonly', (s) => s.getAll(), (m) => [...m.values()]),
  get: (store, id) => within(store, 'readonly', (s) => s.get(id), (m) => m.get(id)),
  put: (store, item) => within(store, 'readwrite', (s) => s.put(item), (m) => m.set(item.id, item)),
  remove: (store, id) => within(store, 'readwrite', (s) => s.delete(id), (m) => m.delete(id)),
  clear: (store) => within(store, 'readwrite', (s) => s.clear(), (m) => m.clear()),
};
