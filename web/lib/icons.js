// Line icons on a grid of 24, drawn for this studio.
import { html } from './html.js';

const PATHS = {
  chat: 'M5 5h14a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2h-7l-5 4v-4H5a2 2 0 0 1-2-2V7a2 2 0 0 1 2-2z',
  draw: 'M4 20c0-3 1-4.5 3-5.5L17.5 4a2.1 2.1 0 0 1 3 3L10 17.5C9 19.5 7 20 4 20z M14.5 7l3 3',
  library: 'M4 4h7v7H4z M13 4h7v7h-7z M4 13h7v7H4z M13 13h7v7h-7z',
  jobs: 'M4 6h10 M4 12h16 M4 18h7 M18 4l2 2-2 2 M15 16l2 2 3.5-3.5',
  models: 'M12 3l8 4.5v9L12 21l-8-4.5v-9z M4 7.5l8 4.5 8-4.5 M12 12v9',
  settings: 'M4 7h9 M17 7h3 M4 17h3 M11 17h9 M15 5v4 M9 15v4',
  more: 'M5 11.5a.5.5 0 1 1 0 1a.5.5 0 0 1 0-1z M12 11.5a.5.5 0 1 1 0 1a.5.5 0 0 1 0-1z M19 11.5a.5.5 0 1 1 0 1a.5.5 0 0 1 0-1z',
  plus: 'M12 5v14 M5 12h14',
  close: 'M6 6l12 12 M18 6L6 18',
  send: 'M12 19V5 M6 11l6-6 6 6',
  stop: 'M7 7h10v10H7z',
  copy: 'M9 9h10v10H9z M5 15V5h10',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  edit: 'M4 20l1-4L16.5 4.5l3 3L8 19z',
  again: 'M20 12a8 8 0 1 1-2.5-5.8 M20 4v4.5h-4.5',
  trash: 'M4 7h16 M9 7V4h6v3 M6.5 7l1 13h9l1-13',
  download: 'M12 4v11 M7 10.5l5 5 5-5 M4 20h16',
  upload: 'M12 16V5 M7 9.5l5-5 5 5 M4 20h16',
  left: 'M14.5 6l-6 6 6 6',
  right: 'M9.5 6l6 6-6 6',
  down: 'M6 9.5l6 6 6-6',
  search: 'M11 4a7 7 0 1 1 0 14a7 7 0 0 1 0-14z M16 16l4.5 4.5',
  inside: 'M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12z M12 9a3 3 0 1 1 0 6a3 3 0 0 1 0-6z',
  tune: 'M4 8h8 M16 8h4 M14 6v4 M4 16h4 M12 16h8 M10 14v4',
  listen: 'M7 17c1 2.5 2.4 4 4.3 4 3.2 0 3.3-3.2 4.6-5.2C17.3 13.700 19 12 19 9A7 7 0 0 0 5 9 M8.500 9.500a3.500 3.500 0 0 1 7 0c0 2.500-3 2.500-3 5',
  speak: 'M4 9.5v5h3.500L12 18.500v-13L7.500 9.500z M15.500 9a4 4 0 0 1 0 6 M18 6.500a7.500 7.500 0 0 1 0 11',
  music: 'M9 18V5.500l10-2V16 M6.500 15.500a2.500 2.500 0 1 1 0 5a2.500 2.500 0 0 1 0-5z M16.500 13.500a2.500 2.500 0 1 1 0 5a2.500 2.500 0 0 1 0-5z',
  video: 'M4 6h11v12H4z M15 10.500l5.500-3v9l-5.500-3',
  mic: 'M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3z M6 11a6 6 0 0 0 12 0 M12 17v4 M9 21h6',
  menu: 'M4 7h16 M4 12h16 M4 17h16',
  dice: 'M7 4h10a3 3 0 0 1 3 3v10a3 3 0 0 1-3 3H7a3 3 0 0 1-3-3V7a3 3 0 0 1 3-3z M8.5 8.5h.1 M12 12h.1 M15.5 15.5h.1',
  image: 'M4 5h16v14H4z M4 16l4.5-4.5 4 4 3-3L20 17 M15 9h.01',
  text: 'M5 6h14 M5 11h14 M5 16h8',
  pin: 'M12 21s-6.5-6-6.5-11a6.5 6.5 0 0 1 13 0c0 5-6.5 11-6.5 11z M12 8a2 2 0 1 1 0 4a2 2 0 0 1 0-4z',
  compare: 'M12 3v18 M4 6h5v12H4 M15 6h5v12h-5',
  play: 'M7 5l12 7-12 7z',
  pause: 'M8 5v14 M16 5v14',
  brush: 'M20 4L10.5 13.5 M10.5 13.5a3 3 0 0 0-3.5.5C5 16 6 18 4 19.5c3 1.5 7 .5 8.5-2a3 3 0 0 0-2-4z',
  eraser: 'M8 19l-4-4 10-10 6 6-8 8z M8 19h12 M9 10l6 6',
  sun: 'M12 8a4 4 0 1 1 0 8a4 4 0 0 1 0-8z M12 2.5v2 M12 19.5v2 M2.5 12h2 M19.5 12h2 M5.3 5.3l1.4 1.4 M17.3 17.3l1.4 1.4 M5.3 18.7l1.4-1.4 M17.3 6.7l1.4-1.4',
  moon: 'M20 14.5A8.5 8.5 0 1 1 9.5 4a7 7 0 0 0 10.5 10.5z',
  key: 'M8 11a4 4 0 1 1 0 8a4 4 0 0 1 0-8z M11 12l9-9 M16 7l3 3',
  eject: 'M12 5l7 8H5z M5 18h14',
  branch: 'M7 4v16 M7 14c0-4 10-2 10-7 M17 4v3',
  info: 'M12 3.5a8.5 8.5 0 1 1 0 17a8.5 8.5 0 0 1 0-17z M12 11v5 M12 8h.01',
  keyboard: 'M3 6h18v12H3z M7 10h.01 M11 10h.01 M15 10h.01 M8 14h8',
};

/** An icon; beside a word it says nothing to a screen reader. */
export function Icon({ name, size = 20 }) {
  return html`<svg class="icon" width=${size} height=${size} viewBox="0 0 24 24" fill="none" stroke="currentColor"
    stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;
}
