// Files of the server. Where it asks for a key, elements of a page cannot bring it: pictures are fetched with it, and frames and
// players get a link that opens for a while.
import { html, useEffect, useState } from '../lib/html.js';
import { call, send, settings } from '../lib/api.js';
import { useValue } from '../lib/state.js';
import { complain } from './toast.js';

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

/** Links: path → `{coming, until}`, the time in seconds since 1970. */
const links = new Map();
const HOURS = 6 * 3600;

async function linkTo(path) {
  const { url, expires_at } = await call('v1/links', { body: { path: `/${path}`, seconds: HOURS }, quiet: true });
  links.get(path).until = expires_at;
  // The studio may lie below another path.
  return url.slice(1);
}

function linkOnce(path) {
  const now = Date.now() / 1000;
  if (!links.has(path) || links.get(path).until < now + 600) {
    links.set(path, { until: now + HOURS });
    const coming = linkTo(path);
    coming.catch(() => links.delete(path));
    links.get(path).coming = coming;
  }
  return links.get(path).coming;
}

/** An address of a path of the API that opens without the key, or null while it comes. */
export function useLink(path) {
  const { key } = useValue(settings);
  const [link, setLink] = useState(null);
  useEffect(() => {
    if (!path || !key) {
      setLink(path);
      return undefined;
    }
    let here = true;
    const [plain, query] = path.split('?');
    linkOnce(plain).then((url) => here && setLink(query ? `${url}&${query}` : url), complain);
    return () => { here = false; };
  }, [path, key]);
  return link;
}

/** A picture; small ones keep their pixels. */
export function Picture({ path, alt = '', width, height, ...rest }) {
  const source = useSource(path);
  const style = { aspectRatio: width && height ? `${width} / ${height}` : null };
  return html`<img src=${source || undefined} alt=${alt} style=${style} class=${width && width <= 96 ? 'pixels' : ''} draggable="false" ...${rest} />`;
}

export const filePath = (work) => `v1/library/${work.id}/file`;
export const thumbnailPath = (work) => `v1/library/${work.id}/thumbnail`;
