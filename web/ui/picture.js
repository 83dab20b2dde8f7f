// Pictures of the library. Where the server asks for a key, `<img>` cannot bring it: the bytes are fetched with it.
import { html, useEffect, useState } from '../lib/html.js';
import { send, settings } from '../lib/api.js';
import { useValue } from '../lib/state.js';

/** Pictures that were fetched with the key: path → promise of an address; files of works never change. */
const fetched = new Map();
const MOST = 300;

function fetchOnce(path) {
  if (!fetched.has(path)) {
    const coming = send(path).then((answer) => answer.blob()).then((blob) => URL.createObjectURL(blob));
    coming.catch(() => fetched.delete(path));
    fetched.set(path, coming);
    if (fetched.size > MOST) {
      const [oldest, address] = fetched.entries().next().value;
      fetched.delete(oldest);
      address.then(URL.revokeObjectURL, () => {});
    }
  }
  return fetched.get(path);
}

/** An address that can be shown for a path of the API, or null while it comes. */
export function useSource(path) {
  const { key } = useValue(settings);
  const [source, setSource] = useState(null);
  useEffect(() => {
    if (!path || !key || path.startsWith('data:') || path.startsWith('blob:')) {
      setSource(path);
      return undefined;
    }
    let here = true;
    fetchOnce(path).then((address) => here && setSource(address), () => {});
    return () => { here = false; };
  }, [path, key]);
  return source;
}

/** A picture; small ones keep their pixels. */
export function Picture({ path, alt = '', width, height, ...rest }) {
  const source = useSource(path);
  const style = { aspectRatio: width && height ? `${width} / ${height}` : null };
  return html`<img src=${source || undefined} alt=${alt} style=${style} class=${width && width <= 96 ? 'pixels' : ''} draggable="false" ...${rest} />`;
}

export const filePath = (work) => `v1/library/${work.id}/file`;
export const thumbnailPath = (work) => `v1/library/${work.id}/thumbnail`;
