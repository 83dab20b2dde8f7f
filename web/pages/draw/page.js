// Draw: the request, the picture as it comes, and those before it.
import { html, useEffect, useState } from '../../lib/html.js';
import { ApiError, settings } from '../../lib/api.js';
import { Icon } from '../../lib/icons.js';
import { useBegin } from '../../lib/begin.js';
import { jobs } from '../../lib/jobs.js';
import { getWork, listWorks, takeRecipe } from '../../lib/library.js';
import { isGan, loadModels, models, serving } from '../../lib/models.js';
import { go as to, route } from '../../lib/route.js';
import { useValue } from '../../lib/state.js';
import { Choice, Empty } from '../../ui/controls.js';
import { Picture, thumbnailPath } from '../../ui/picture.js';
import { complain } from '../../ui/toast.js';
import { Compare } from '../../ui/work.js';
import { draw, fill, form, requestOf, shown, start, usualForm } from './desk.js';
import { Form } from './form.js';
import { LatentMap } from './map.js';
import { Result } from './result.js';

/** Works that are shown under the picture. */
const BEFORE = 24;

function useRecent(ended) {
  const [works, setWorks] = useState([]);
  useEffect(() => {
    listWorks({ medium: 'image', limit: BEFORE }).then((list) => setWorks(list.data), (error) => {
      if (!(error instanceof ApiError && error.missing)) complain(error);
    });
  }, [ended]);
  return works;
}

function Before({ works, current, compare }) {
  const [picking, setPicking] = useState(null);
  const pick = (work) => {
    if (!picking) {
      if (work.job) shown.set({ id: work.job });
      else to(`library/${work.id}`);
      return;
    }
    const next = picking.some((other) => other.id === work.id) ? picking.filter((other) => other.id !== work.id) : [...picking, work];
    if (next.length === 2) {
      compare(next);
      setPicking(null);
    } else {
      setPicking(next);
    }
  };
  if (!works.length) return null;
  return html`<section class="before" aria-label="Drawn before"><div class="row"><h2>Drawn before</h2>
      <button type="button" class="quiet tiny toggle" aria-pressed=${Boolean(picking)} onClick=${() => setPicking(picking ? null : [])}><${Icon} name="compare" size="16" />${picking ? 'Pick two' : 'Compare'}</button></div>
    <div class="strip">${works.map((work) => html`<button type="button" key=${work.id} class="thumb" aria-pressed=${picking ? picking.some((other) => other.id === work.id) : work.job === current}
      title=${work.title || work.prompt} aria-label=${work.title || work.prompt || 'A picture'} onClick=${() => pick(work)}><${Picture} path=${thumbnailPath(work)} loading="lazy" width=${work.width} height=${work.height} /></button>`)}</div></section>`;
}

export function Page() {
  const known = useValue(models);
  const values = useValue(form);
  const now = useValue(shown);
  const all = useValue(jobs);
  const { query } = useValue(route);
  const [comparing, setComparing] = useState(null);
  const painters = serving(known, 'image');
  const model = painters.find((one) => one.name === values.model);
  const job = now.id ? all.get(now.id) : null;
  const busy = now.waiting === true;
  const works = useRecent(job?.state);
  useEffect(() => { loadModels().catch(complain); }, []);
  useEffect(() => {
    const id = query.get('reuse');
    if (!id) return;
    const recipe = takeRecipe();
    if (recipe) fill(recipe);
    else getWork(id).then((work) => fill(work.recipe), complain);
    to('draw', { replace: true });
  }, [query]);
  useEffect(() => {
    if (painters.length && !model) {
      const usual = painters.find((one) => one.name === settings.get().drawModel) ?? painters[0];
      form.change({ model: usual.name });
    }
  }, [known, values.model]);

  const go = () => {
    if (!model || busy) return;
    if (values.tab === 'map') form.change({ tab: 'picture' });
    draw(requestOf(values, isGan(model)), values.strength).catch(complain);
  };
  useBegin(known, (prompt) => {
    const usual = painters.find((one) => !isGan(one)) ?? painters[0];
    if (!usual || busy) return;
    start.set(null);
    form.set({ ...usualForm, model: usual.name, prompt });
    draw(requestOf(form.get(), isGan(usual)), null).catch(complain);
  });
  const gan = isGan(model);
  const map = gan && values.tab === 'map';
  if (known && !painters.length) {
    return html`<main class="page" tabindex="-1"><${Empty} icon="draw" title="No model here draws"><p>A model that draws is on the <a href="#/models">page of models</a>.</p><//></main>`;
  }
  return html`<main class="draw" tabindex="-1">
    <h1 class="unseen">Draw</h1>
    <${Form} painters=${painters} go=${go} busy=${busy} />
    <section class="easel" aria-label="The picture">
      ${gan && html`<${Choice} label="What is shown" value=${values.tab} change=${(tab) => form.change({ tab })} options=${[['picture', 'Picture'], ['map', 'Latent map']]} />`}
      ${map ? html`<${LatentMap} model=${model} prompt=${values.prompt} truncation=${values.truncation} kept=${(id) => { shown.set({ id }); form.change({ tab: 'picture' }); }} />` : html`
        ${now.id || now.begun ? html`<${Result} shown=${now} />` : html`<div class="easel-empty"><${Empty} icon="image" title="Nothing drawn yet"><p>Say what is to be seen, then press Draw.</p><//></div>`}
        <${Before} works=${works} current=${now.id} compare=${setComparing} />`}
    </section>
    ${comparing && html`<${Compare} works=${comparing} close=${() => setComparing(null)} />`}
  </main>`;
}
