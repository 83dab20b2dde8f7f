// The panel beside a conversation: system prompt and sampling.
import { html } from '../../lib/html.js';
import { Icon } from '../../lib/icons.js';
import { Choice, Range, Switch, Text } from '../../ui/controls.js';
import { toast } from '../../ui/toast.js';
import { makesAny } from './made.js';
import { usual, usualSampling } from './talks.js';

/** `talk` may be one that nobody has written in yet; `change` takes what is new of it. */
export function Panel({ talk, change, close }) {
  const { sampling } = talk;
  const set = (name) => (value) => change({ sampling: { ...sampling, [name]: value ?? usualSampling[name] } });
  const range = (name, label, rest) => html`<${Range} label=${label} value=${sampling[name]} change=${set(name)} ...${rest} />`;
  const asUsual = () => {
    usual.set({ sampling, system: talk.system });
    toast('New chats begin with these settings.');
  };
  return html`<aside class="panel" aria-label="Settings of this chat">
    <header><h2>This chat</h2><button type="button" class="quiet" aria-label="Close the settings" onClick=${close}><${Icon} name="close" /></button></header>
    <div class="panel-body">
      <${Text} label="System prompt" lines="4" value=${talk.system} change=${(system) => change({ system })} placeholder="How the model is to answer" />
      <h3>Sampling</h3>
      ${range('temperature', 'Temperature', { min: 0, max: 2, step: 0.05, usual: 0.8, hint: '0 always takes the likeliest token.' })}
      ${range('top_p', 'Top p', { min: 0, max: 1, step: 0.01, usual: 0.95 })}
      ${range('top_k', 'Top k', { min: 0, max: 200, step: 1, usual: 40, hint: '0 keeps all.' })}
      ${range('min_p', 'Min p', { min: 0, max: 1, step: 0.01, usual: 0.05 })}
      ${range('repeat_penalty', 'Repeat penalty', { min: 1, max: 2, step: 0.01, usual: 1 })}
      ${range('max_tokens', 'Tokens at most', { min: 16, max: 4096, step: 16, usual: 1024 })}
      <${Text} label="Seed" value=${sampling.seed} inputmode="numeric" placeholder="random" change=${(text) => set('seed')(text.replace(/\D/g, ''))} />
      <${Text} label="Stop at" lines="2" value=${sampling.stop} change=${set('stop')} hint="Up to four texts, one a line." />
      <h3>Answer</h3>
      <${Choice} label="Form of the answer" value=${sampling.format} change=${set('format')} options=${[['text', 'Text'], ['json', 'JSON'], ['schema', 'Schema']]} />
      ${sampling.format === 'schema' && html`<${Text} label="JSON schema" lines="6" value=${sampling.schema} change=${set('schema')} spellcheck=${false} class="mono"
        placeholder='{"type": "object", "properties": …}' />`}
      ${makesAny() && html`<${Switch} label="Make what is asked for" on=${talk.makes !== false} change=${(makes) => change({ makes })}
        hint="Who asks for a picture, music, words said aloud or a clip gets it in the chat." />`}
      <${Switch} label="Record probabilities" on=${sampling.record} change=${set('record')} hint="What the look inside shows." />
      <div class="row"><button type="button" onClick=${asUsual}>Use for new chats</button>
        <button type="button" onClick=${() => change({ sampling: usualSampling, system: '' })}>Reset</button></div>
    </div>
  </aside>`;
}
