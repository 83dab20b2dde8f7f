// The address after `#/`: a page, and what of it.
import { state } from './state.js';

function read() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [page = '', ...rest] = path.split('/').map(decodeURIComponent);
  return { page: page || 'home', rest, query: new URLSearchParams(query) };
}

export const route = state(read());
addEventListener('hashchange', () => route.set(read()));

/** Goes to a page; `replace` leaves no step to go back to. */
export function go(path, { replace = false } = {}) {
  const hash = `#/${path}`;
  if (location.hash === hash) return;
  if (replace) {
    history.replaceState(null, '', hash);
    route.set(read());
  } else {
    location.hash = hash;
  }
}
