// A prompt that one page hands to another, which begins with it at once.
import { useEffect } from './html.js';
import { go, route } from './route.js';
import { useValue } from './state.js';

const KEY = 'medley.begin';

/** The page of each medium. */
export const PAGE_OF = { text: 'chat', image: 'draw', speech: 'speak', music: 'music', video: 'video', create: 'create' };

/** Opens the page of a medium and has it begin. */
export function beginAt(medium, prompt) {
  sessionStorage.setItem(KEY, prompt);
  go(`${PAGE_OF[medium]}?begin=1`);
}

/** Calls `run` with the prompt that was handed over, once, as soon as the page is `ready`. */
export function useBegin(ready, run) {
  const { page, query } = useValue(route);
  const asked = query.get('begin') != null;
  useEffect(() => {
    if (!asked || !ready) return;
    const prompt = sessionStorage.getItem(KEY);
    sessionStorage.removeItem(KEY);
    go(page, { replace: true });
    if (prompt) run(prompt);
  }, [asked, Boolean(ready)]);
}
