// Works within a conversation: pictures, music, speech and clips that an answer holds.
import { html, useEffect, useState } from '../../lib/html.js';
import { call, events, send } from '../../lib/api.js';
import { download, fileName } from '../../lib/format.js';
import { Icon } from '../../lib/icons.js';
import { models, serving, voices } from '../../lib/models.js';

/** What there is of each medium: its word, and what is said while it is made. */
const MEDIA = {
  image: { word: 'picture', going: 'Drawing' },
  music: { word: 'music', going: 'Making music' },
  speech: { word: 'recording', going: 'Speaking' },
  video: { word: 'clip', going: 'Making a clip' },
};

const has = (medium) => (medium === 'speech' ? voices(models.get()) : serving(models.get(), medium)).length > 0;

/** Whether this server makes anything but text. */
export const makesAny = () => Object.keys(MEDIA).some(has);

/** The medium that a message asks for; null where it asks for none that is made here. */
export async function asksFor(prompt, signal) {
  if (!makesAny()) return null;
  const { medium, asked } = await call('v1/route', { body: { prompt }, signal });
  return asked && MEDIA[medium] && has(medium) ? medium : null;
}

/** What a model that goes on with the conversation reads of the works. */
export const told = (works) => works.map(({ medium, words }) => `Here is the ${MEDIA[medium].word}: ${words}`).join('\n');

/** Has a work made as an answer to `messages`; `show` is called whenever there is more of it. */
export async function make({ model, medium, messages, seed, node, signal, show }) {
  const tool = { type: `${medium}_generation`, ...(medium === 'image' && { partial_images: 3 }), ...(seed != null && { seed }) };
  const body = { model, input: messages, tools: [tool], tool_choice: { type: tool.type }, stream: true, store: false };
  const response = await send('v1/responses', { body, signal });
  const works = (node.works = []);
  const numbers = new Map();
  for await (const { data } of events(response)) {
    const event = JSON.parse(data);
    const work = works[numbers.get(event.output_index)];
    if (event.type === 'response.output_item.added' && event.item.type === `${tool.type}_call`) {
      numbers.set(event.output_index, works.length);
      works.push({ medium, state: 'going', words: '' });
    } else if (event.type.endsWith('.partial_image')) {
      Object.assign(work, { data: event.partial_image_b64, mime: 'image/png' });
    } else if (event.type === 'response.output_item.done' && work) {
      const { status, result, revised_prompt, text, mime, output_format } = event.item;
      Object.assign(work, { state: status === 'completed' ? 'done' : 'failed', words: revised_prompt ?? text ?? '', data: result, mime: mime ?? 'image/png', ending: output_format });
    } else if (event.type === 'response.output_text.delta') {
      node.content += event.delta;
    } else if (event.type === 'response.failed' || event.error) {
      throw new Error((event.response?.error ?? event.error).message);
    }
    show(event.type === 'response.output_text.delta');
  }
}

/** An address of what is in base64. */
function useAddress({ data, mime }) {
  const [address, setAddress] = useState(null);
  useEffect(() => {
    if (!data) return undefined;
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const url = URL.createObjectURL(new Blob([bytes], { type: mime }));
    setAddress(url);
    return () => URL.revokeObjectURL(url);
  }, [data, mime]);
  return data ? address : null;
}

function Shown({ work, address }) {
  const { medium, words, state } = work;
  if (!address) return null;
  if (medium === 'image') return html`<img src=${address} alt=${words || 'The picture so far'} class=${state === 'going' ? 'so-far' : ''} />`;
  if (medium === 'video') return html`<video controls playsinline loop src=${address} aria-label=${words}></video>`;
  return html`<audio controls src=${address} aria-label=${words}></audio>`;
}

function Work({ work }) {
  const address = useAddress(work);
  const { medium, words, state, ending } = work;
  const { going, word } = MEDIA[medium];
  const save = async () => download(fileName(words, ending), await (await fetch(address)).blob());
  return html`<figure class=${`chat-work ${medium}`} aria-busy=${state === 'going'}>
    <${Shown} work=${work} address=${address} />
    <figcaption>${state === 'going' && html`<span class="waiting" role="status">${going}<i></i><i></i><i></i></span>`}
      ${state === 'failed' && html`<span class="muted">The ${word} was not made.</span>`}
      ${state === 'done' && html`<span class="grow">${words}</span><button type="button" class="quiet tiny" aria-label=${`Save the ${word}`} title=${`Save the ${word}`} onClick=${save}><${Icon} name="download" size="16" /></button>`}</figcaption>
  </figure>`;
}

/** The works of an answer. */
export function Works({ node }) {
  if (!node.works?.length) return null;
  return html`<div class="chat-works">${node.works.map((work, index) => html`<${Work} key=${index} work=${work} />`)}</div>`;
}
