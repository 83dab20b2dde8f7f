// Settings: how the studio looks and behaves, the key, and what the server is.
import { html, useEffect, useState } from '../lib/html.js';
import { call, settings } from '../lib/api.js';
import { bytes } from '../lib/format.js';
import { keep } from '../lib/keep.js';
import { loadModels, models, serving } from '../lib/models.js';
import { useValue } from '../lib/state.js';
import { Choice, Select, Text } from '../ui/controls.js';
import { confirm } from '../ui/dialog.js';
import { complain, toast } from '../ui/toast.js';
import { CopyButton } from '../lib/markdown.js';

function Section({ title, children }) {
  return html`<section class="card"><h2>${title}</h2>${children}</section>`;
}

function Server() {
  const [memory, setMemory] = useState(null);
  const [well, setWell] = useState(null);
  useEffect(() => {
    call('health').then((answer) => setWell(answer.status), () => setWell('not reachable'));
    call('v1/memory', { quiet: true }).then(setMemory, () => {});
  }, []);
  const base = new URL('v1', location.href.split('#')[0]).href;
  const served = (useValue(models) ?? []).filter((model) => model.served);
  return html`<${Section} title="This server">
    <dl class="facts">
      <div><dt>Address of the API</dt><dd><code>${base}</code><${CopyButton} small label="Copy the address" text=${base} /></dd></div>
      <div><dt>State</dt><dd>${well ?? '…'}</dd></div>
      <div><dt>Models</dt><dd>${served.map((model) => model.name).join(', ') || '…'}</dd></div>
      ${memory && html`<div><dt>Memory for models</dt><dd>${bytes(memory.used_bytes)}${memory.budget_bytes ? ` of ${bytes(memory.budget_bytes)}` : ''}</dd></div>`}
    </dl>
    <p class="hint">Any OpenAI client works with this address. What you write and draw stays on the machine that runs the server.</p>
  <//>`;
}

export function Page() {
  const now = useValue(settings);
  const known = useValue(models);
  const [key, setKey] = useState(now.key);
  useEffect(() => { loadModels().catch(complain); }, []);
  const theme = (value) => {
    settings.change({ theme: value });
    dispatchEvent(new Event('medley-theme'));
  };
  const options = (medium) => [['', 'the first there is'], ...serving(known, medium).map((model) => [model.name, model.name])];
  const saveKey = (event) => {
    event.preventDefault();
    settings.change({ key: key.trim() });
    loadModels().then(() => toast('The key is kept in this browser.'), complain);
  };
  const clear = async () => {
    if (!(await confirm('Delete all chats of this browser?', { detail: 'Works in the library stay.' }))) return;
    await Promise.all([keep.clear('talks'), keep.clear('steps')]);
    location.reload();
  };
  return html`<main class="page narrow" tabindex="-1"><header class="page-head"><h1>Settings</h1></header>
    <${Section} title="Appearance"><${Choice} label="Theme" value=${now.theme} change=${theme} options=${[['auto', 'As the system'], ['light', 'Light'], ['dark', 'Dark']]} /><//>
    <${Section} title="Defaults">
      <${Select} label="Model of new chats" value=${now.chatModel} options=${options('text')} change=${(chatModel) => settings.change({ chatModel })} />
      <${Select} label="Model that draws" value=${now.drawModel} options=${options('image')} change=${(drawModel) => settings.change({ drawModel })} />
      <${Select} label="Send a message with" value=${now.send} options=${[['enter', 'Enter'], ['ctrl', 'Ctrl Enter']]} change=${(send) => settings.change({ send })} />
    <//>
    <${Section} title="API key"><form class="row bottom" onSubmit=${saveKey}>
      <div class="grow"><${Text} label="Key" type="password" autocomplete="off" value=${key} change=${setKey} placeholder="none" /></div>
      <button>Keep</button></form><p class="hint">Needed only where the server was started with --api-key.</p><//>
    <${Server} />
    <${Section} title="In this browser"><p class="muted">Chats and the steps of pictures are kept here, not on the server.</p>
      <div class="row"><button type="button" class="danger" onClick=${clear}>Delete all chats</button></div><//>
  </main>`;
}
