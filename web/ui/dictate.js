// A button that listens and gives the words to a field.
import { html, useEffect, useRef, useState } from '../lib/html.js';
import { Icon } from '../lib/icons.js';
import { listeners, models } from '../lib/models.js';
import { canRecord, record, transcript } from '../lib/sound.js';
import { useValue } from '../lib/state.js';
import { complain, toast } from './toast.js';

/** `write(text)` is given what was said. Without a microphone or a model that listens there is no button. */
export function Dictate({ write }) {
  const known = listeners(useValue(models));
  const [recording, setRecording] = useState(null);
  const [hearing, setHearing] = useState(false);
  useEffect(() => () => { recording?.drop(); }, [recording]);
  const here = useRef(true);
  useEffect(() => () => { here.current = false; }, []);
  if (!canRecord() || !known.length) return null;
  const press = async () => {
    try {
      if (!recording) {
        const begun = await record();
        if (here.current) setRecording(begun); else begun.drop();
        return;
      }
      const blob = await recording.stop();
      setRecording(null);
      setHearing(true);
      const told = await transcript(blob, { model: known[0].name, words: false });
      if (told.text) write(told.text);
      else toast('Nothing was said.');
    } catch (error) { setRecording(null); complain(error); } finally { setHearing(false); }
  };
  const label = recording ? 'Stop and write' : hearing ? 'Listening …' : 'Dictate';
  return html`<button type="button" class=${`round quiet ${recording ? 'hearing' : ''}`} aria-label=${label} title=${label} aria-pressed=${Boolean(recording)} disabled=${hearing} onClick=${press}><${Icon} name=${recording ? 'stop' : 'mic'} /></button>`;
}
