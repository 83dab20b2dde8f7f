// Values that several components look at.
import { useEffect, useState } from './html.js';

/** A value with listeners: `get`, `set` (a value, or a function of the old one), `listen`. */
export function state(value) {
  const listeners = new Set();
  return {
    get: () => value,
    set(next) {
      value = typeof next === 'function' ? next(value) : next;
      for (const listener of [...listeners]) listener(value);
    },
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** The value, and a new picture of the component whenever it changes. */
export function useValue(source) {
  const [, again] = useState(0);
  useEffect(() => {
    // It may have changed between the first picture and this.
    again((n) => n + 1);
    return source.listen(() => again((n) => n + 1));
  }, [source]);
  return source.get();
}

/** As `state`, kept in localStorage under `medley.NAME`; what is stored is laid over `usual`. */
export function kept(name, usual) {
  const key = `medley.${name}`;
  const read = () => {
    try {
      return { ...usual, ...JSON.parse(localStorage.getItem(key) || '{}') };
    } catch {
      return usual;
    }
  };
  const inner = state(read());
  addEventListener('storage', (event) => {
    if (event.key === key) inner.set(read());
  });
  return {
    ...inner,
    set(next) {
      inner.set(next);
      try {
        localStorage.setItem(key, JSON.stringify(inner.get()));
      } catch {
        // Private windows may keep nothing; the value holds until the page goes.
      }
    },
    change(part) {
      this.set((old) => ({ ...old, ...part }));
    },
  };
}
