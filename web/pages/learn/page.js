// Learn: how each kind of model works, with the model at work.
import { html, useEffect, useState } from '../../lib/html.js';
import { Icon } from '../../lib/icons.js';
import { loadModels } from '../../lib/models.js';
import { route } from '../../lib/route.js';
import { useValue } from '../../lib/state.js';
import { complain } from '../../ui/toast.js';
import { lessons } from './lessons.js';

function Overview() {
  return html`<main class="page lesson" tabindex="-1">
    <header class="lesson-head"><h1>Learn</h1><p class="lead">How the models in this program work, shown by the models themselves. Nothing here is a film or a drawing made beforehand:
      what you see is computed on this machine while you look, and you can change it.</p></header>
    <ul class="lessons">${lessons.map((lesson, index) => html`<li key=${lesson.id}><a href=${`#/learn/${lesson.id}`}><span class="lesson-icon"><${Icon} name=${lesson.icon} size="22" /></span>
      <span><small>${index + 1} · ${lesson.kind}</small><b>${lesson.title}</b><span>${lesson.about}</span></span></a></li>`)}</ul>
    <section class="card" aria-label="What they have in common"><h2>What they have in common</h2>
      <p>Each of them is a long formula with millions of numbers in it, the <i>parameters</i>. Nobody wrote those numbers down. They were found by training: the formula is shown an example, its answer is
        compared with what would have been right, and every number is moved a little in the direction that would have made the answer better. That is done many thousands of times.</p>
      <p>What a model can do therefore comes from its examples. The small models here saw emoji, folk tunes or web pages, and that is what they know.</p></section>
  </main>`;
}

const loaded = new Map();

export function Page() {
  const { rest } = useValue(route);
  const lesson = lessons.find((one) => one.id === rest[0]);
  const [, again] = useState(0);
  useEffect(() => { loadModels().catch(complain); }, []);
  useEffect(() => {
    if (!lesson) return;
    document.title = `${lesson.title} – Medley`;
    lesson.load().then((module) => { loaded.set(lesson.id, module.Page); again((n) => n + 1); }, complain);
  }, [lesson]);
  if (!lesson) return html`<${Overview} />`;
  const Found = loaded.get(lesson.id);
  return Found ? html`<${Found} key=${lesson.id} />` : html`<main class="page" tabindex="-1"></main>`;
}
