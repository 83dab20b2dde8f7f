// Pictures of the library. Where the server asks for a key, `<img>` cannot bring it: the bytes are fetched with it.
import { html, useEffect, useState } from '../lib/html.js';
import { send, settings } from '../lib/api.js';
import { useValue } from '../lib/state.js';

/** An address that can be shown for a path of the API, or null while it comes. */
export function useSource(path) {
  const { key } = useValue(settings);
  const [source, setSource] = useState(null);
  useEffect(() => {
    if (!path || !key || path.startsWith('data:') || path.startsWith('blob:')) {
      setSource(path);
      return undefined;
    }
    let url = null;
    const controller = new AbortController();
    send(path, { signal: controller.signal }).then((answer) => answer.blob()).then((blob) => {
      url = URL.createObjectURL(blob);
      setSource(url);
    }, () => {});
    return () => {
      controller.abort();
      if (url) URL.revokeObjectURL(url);
    };
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
