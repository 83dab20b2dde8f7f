// What all lessons are made of.
import { html, useState } from '../../lib/html.js';
import { seconds } from '../../lib/format.js';
import { Icon } from '../../lib/icons.js';
import { previews } from '../../lib/jobs.js';
import { once } from '../../lib/once.js';
import { useValue } from '../../lib/state.js';
import { Empty } from '../../ui/controls.js';
import { complain } from '../../ui/toast.js';
import { lessons } from './lessons.js';

/** A lesson with its heading, and the way to the others. */
export function Lesson({ id, lead, children }) {
  const at = lessons.findIndex((lesson) => lesson.id === id);
  const [before, here, after] = [lessons[at - 1], lessons[at], lessons[at + 1]];
  return html`<main class="page lesson" tabindex="-1">
    <header class="lesson-head"><p class="crumb"><a href="#/learn">Learn</a> <span aria-hidden="true">/</span> ${here.kind}</p><h1>${here.title}</h1><p class="lead">${lead}</p></header>
    ${children}
    <nav class="lesson-nav" aria-label="Lessons">${before ? html`<a href=${`#/learn/${before.id}`}><${Icon} name="left" size="17" />${before.title}</a>` : html`<span></span>`}
      ${after && html`<a href=${`#/learn/${after.id}`}>${after.title}<${Icon} name="right" size="17" /></a>`}</nav>
  </main>`;
}

/** A part of a lesson. */
export function Part({ title, children }) {
  return html`<section class="card" aria-label=${title}><h2>${title}</h2>${children}</section>`;
}

/** What to try, and what to look for. */
export function Try({ tries, look }) {
  return html`<div class="try"><section><h2>Try it</h2><ol>${tries.map((one) => html`<li>${one}</li>`)}</ol></section>
    <section><h2>Look for</h2><ul>${look.map((one) => html`<li>${one}</li>`)}</ul></section></div>`;
}

/** Numbers of a model: `[name, value]`, those that are known. */
export function Numbers({ of }) {
  const known = of.filter(([, value]) => value != null && value !== '');
  if (!known.length) return null;
  return html`<dl class="numbers">${known.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

/** What a lesson shows where its model is missing. */
export function Missing({ id, what }) {
  return html`<${Lesson} id=${id} lead="This lesson runs a model, which is not here yet."><${Empty} icon="models" title=${`No model here ${what}`}>
    <p>One is on the <a href="#/models">page of models</a>.</p><//><//>`;
}

/** Something that is made and looked at: `{going, job, found, run}`; `found` stays until the next is there. */
export function useMaking() {
  const [state, setState] = useState({ going: false, job: null, found: null });
  const run = async (request) => {
    setState((old) => ({ ...old, going: true, job: null }));
    try {
      const found = await once(request, (job) => setState((old) => ({ ...old, job })));
      setState({ going: false, job: null, found });
      return found;
    } catch (error) {
      setState((old) => ({ ...old, going: false, job: null }));
      complain(error);
      return null;
    }
  };
  return { ...state, run };
}

/** The frames of a making: those that come, or those of what was found. */
export function useFrames(making) {
  const live = useValue(previews).get(making.job)?.get(0);
  return making.going ? live ?? [] : making.found?.frames ?? [];
}

/** How long what was made took. */
export const took = (found) => (found?.timings?.total_s ? `made in ${seconds(found.timings.total_s)}` : null);
