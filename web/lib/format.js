// Numbers and times for people.

/** 1234567 → "1.2 MB". */
export function bytes(count) {
  if (count == null) return '–';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let value = count;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** 134515008 → "135 million". */
export function count(number) {
  if (number == null) return null;
  const [size, word] = number >= 1e9 ? [1e9, ' billion'] : number >= 1e6 ? [1e6, ' million'] : [1, ''];
  const value = number / size;
  return `${word && value < 100 ? value.toFixed(1) : Math.round(value).toLocaleString()}${word}`;
}

/** Seconds: "84 ms", "2.3 s", "3 min 5 s". */
export function seconds(value) {
  if (value == null || Number.isNaN(value)) return '–';
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 60) return `${value.toFixed(value < 10 ? 1 : 0)} s`;
  return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
}

/** 0.0123 → "1.2 %". */
export function percent(share) {
  const value = share * 100;
  if (value > 0 && value < 0.1) return '< 0.1 %';
  return `${value >= 99.95 || value === 0 ? Math.round(value) : value.toFixed(1)} %`;
}

/** Milliseconds since 1970, or seconds as the API has them. */
export function moment(time) {
  if (typeof time === 'string') return new Date(time);
  return new Date(time > 1e11 ? time : time * 1000);
}

/** "just now", "5 min ago", "14:05", "3 May". */
export function ago(time) {
  if (!time) return '';
  const then = moment(time);
  const minutes = (Date.now() - then) / 60000;
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${Math.floor(minutes)} min ago`;
  if (then.toDateString() === new Date().toDateString()) {
    return then.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  }
  const old = then.getFullYear() !== new Date().getFullYear();
  return then.toLocaleDateString([], { day: 'numeric', month: 'short', ...(old && { year: 'numeric' }) });
}

/** A number that no other of this browser has, and that sorts by time. */
export function freshId() {
  const random = crypto.getRandomValues(new Uint32Array(2));
  return Date.now().toString(36) + [...random].map((n) => n.toString(36)).join('');
}

export function randomSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000;
}

/** Offers a text or a blob as a file. */
export function download(name, content, type = 'application/json') {
  const blob = content instanceof Blob ? content : new Blob([content], { type });
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A title as the name of a file. */
export function fileName(title, extension) {
  const plain = (title || 'medley').toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-|-$/g, '');
  return `${plain.slice(0, 50) || 'medley'}.${extension}`;
}
