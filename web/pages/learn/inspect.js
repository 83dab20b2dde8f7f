// A language model looked into: its tokens, what comes next, where it looks.
import { useEffect, useState } from '../../lib/html.js';
import { call } from '../../lib/api.js';

/** Next tokens that are named. */
const CANDIDATES = 1000;

export const inspect = (model, prompt, { attention = false, signal } = {}) => call('v1/inspect/text', { body: { model, prompt, attention, candidates: CANDIDATES }, signal });

/** What the server says of a text once nobody has typed for a moment: `{seen, error}`. */
export function useInspection(model, text, attention = false) {
  const [state, setState] = useState({ seen: null, error: '' });
  useEffect(() => {
    if (!model || !text) {
      setState({ seen: null, error: '' });
      return undefined;
    }
    const controller = new AbortController();
    const timer = setTimeout(() => inspect(model, text, { attention, signal: controller.signal }).then((seen) => setState({ seen, error: '' }), (problem) => {
      if (problem.name !== 'AbortError') setState((old) => ({ ...old, error: problem.message }));
    }), 160);
    return () => { clearTimeout(timer); controller.abort(); };
  }, [model, text, attention]);
  return state;
}

/** A token as it is shown: spaces and ends of lines are seen. */
export const visible = (text) => text.replaceAll('\n', '↵').replaceAll('\t', '⇥').replaceAll(' ', '␣') || '∅';
