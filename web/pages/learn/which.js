// Which model for what: all of them in small, what they share, and a table.
import { html, useState } from '../../lib/html.js';
import { Icon } from '../../lib/icons.js';
import { models, voices } from '../../lib/models.js';
import { useValue } from '../../lib/state.js';
import { seconds } from '../../lib/format.js';
import { Steps } from '../../ui/steps.js';
import { Canvas, painter, usePlace } from './diffusion.js';
import { Emerging, filmer } from './film.js';
import { Between, forger } from './gan.js';
import { useInspection } from './inspect.js';
import { Lesson, useFrames, useMaking } from './lesson.js';
import { reshape } from './reshape.js';
import { Bars, usualWriter } from './transformer.js';
import { useSaying } from './voice.js';

/** One kind of model in small. */
function Small({ id, title, what, here, children }) {
  return html`<section class="small" aria-label=${title}><h2>${title}</h2><p>${what}</p>${here ? children : html`<p class="hint">Its model is not here. <a href="#/models">Models</a></p>`}<a href=${`#/learn/${id}`}>How it works</a></section>`;
}

function Words({ model }) {
  const [text, setText] = useState('Once upon a time there was a');
  const { seen } = useInspection(model, text);
  return html`<p class="sofar">${text}</p>${seen && html`<${Bars} most=${4} shaped=${reshape(seen.next, { temperature: 1, topK: 0, topP: 1 })} take=${(row) => setText((old) => (seen.tokens.length < 40 ? old + row.text : old))} />`}`;
}

function Drawn({ model }) {
  const making = useMaking();
  const frames = useFrames(making);
  const [at, setAt] = usePlace(frames, making.going);
  return html`${(making.found || making.job) && html`<div class="one"><${Canvas} frames=${frames} at=${at} found=${making.found} kind="noisy" alt="A heart, out of noise" /></div>`}
    ${making.found ? html`<${Steps} frames=${frames} at=${at} setAt=${setAt} />` : html`<button type="button" disabled=${making.going} onClick=${() => making.run({ medium: 'image', model: model.name, prompt: 'a blue heart', seed: 7 })}><${Icon} name="play" size="17" />Draw a heart</button>`}`;
}

function Said({ model }) {
  const { going, found, run } = useSaying(model);
  return html`<button type="button" disabled=${going} onClick=${() => run('Good morning!')}><${Icon} name="speak" size="17" />Say “Good morning!”</button>
    ${found && html`<p class="hint">${found.phonemes.map((one) => one.symbol).join(' ')} · ${found.samples.length.toLocaleString()} numbers, the first after ${seconds(found.first)}</p>`}`;
}

function Clip({ model }) {
  const making = useMaking();
  return html`<${Emerging} making=${making} small />${!making.found && html`<button type="button" disabled=${making.going} onClick=${() => making.run({ medium: 'video', model: model.name, prompt: 'a beating red heart', seed: 3 })}><${Icon} name="play" size="17" />Let a heart beat</button>`}`;
}

const TABLE = [
  ['Write, answer, sum up, translate, code', 'Language model', 'Anything in words; goes on from what you give it', 'Facts it did not learn, arithmetic, counting letters; it sounds sure when it is wrong', 'chat'],
  ['A picture of something you describe', 'Diffusion', 'Variety, following words, changing a part of a picture', 'Takes many steps; writing inside pictures, exact numbers of things', 'draw'],
  ['Many pictures of one kind at once, or in between', 'GAN', 'Speed, smooth walks from one to another', 'Narrow: knows what it was shown and little else; hard to train', 'draw'],
  ['Say a text aloud', 'Speech model with vocoder', 'Clear words, quick, always the same voice', 'Does not understand the text: irony, odd names', 'speak'],
  ['A tune', 'Language model over notes', 'Melodies that keep their bars, every note explained', 'Songs with a plan over minutes; singing', 'music'],
  ['A short clip', 'Space-time diffusion', 'One simple movement, in a loop', 'Stories, several things at once, anything long', 'video'],
  ['Write down what was said', 'Recognition (encoder and language model)', 'Speech in many languages, times of words', 'Noise and several people at once; it may invent words in silence', 'listen'],
  ['Answer out of your own documents', 'Search by meaning, then quotes', 'Says where it stands', 'What no document says', null],
];

export function Page() {
  const known = useValue(models);
  const [writer, drawer, gan, voice, film] = [usualWriter(known), painter(known), forger(known), voices(known)[0], filmer(known)];
  return html`<${Lesson} id="which" lead="Five kinds of models, what they have in common, how they differ, and which one to take.">
    <div class="smalls">
      <${Small} id="transformer" title="Language model" what="One token after another. Click to go on." here=${writer}><${Words} model=${writer} /><//>
      <${Small} id="diffusion" title="Diffusion" what="All of a picture at once, a little cleaner at every step." here=${drawer}><${Drawn} model=${drawer} /><//>
      <${Small} id="gan" title="GAN" what="All of a picture in one pass; places between two others." here=${gan}><${Between} model=${gan} prompt="grinning face" places=${4} /><//>
      <${Small} id="voice" title="Speech" what="Phonemes, how they sound, and then a wave." here=${voice}><${Said} model=${voice} /><//>
      <${Small} id="film" title="Space-time model" what="All frames at once, looking at each other." here=${film}><${Clip} model=${film} /><//>
    </div>
    <section class="card" aria-label="What they share"><h2>What they share</h2>
      <p><b>They learned from examples.</b> None of them has rules that somebody wrote. What was not in the examples, they do not know; what was wrong or one-sided in them, they repeat.</p>
      <p><b>They work with chance.</b> A language model draws its next token, the others begin with random numbers. That is why the same prompt can give many results, and why the same <i>seed</i> gives the same one again.</p>
      <p><b>Most are built of the same block.</b> The transformer, with its attention, was made for text. The models here that draw and film use it too: patches of a picture look at each other as words do.</p></section>
    <section class="card" aria-label="How they differ"><h2>How they differ</h2>
      <p><b>A language model writes in order.</b> Text is a row of separate signs, so it can say for each how likely it is, choose one, and go on. It cannot take back what it has written.</p>
      <p><b>Diffusion shapes everything together.</b> A picture has no first pixel. So the model begins with noise everywhere and moves all of it towards something likely, in steps, and can still change its mind in the middle.</p>
      <p><b>A GAN learned against a judge.</b> It never says how likely a picture is. It only learned to make what the judge lets pass, in one go.</p>
      <p><b>A voice must keep to its text.</b> What is said is given; only how it sounds is the model's to choose. So it begins with the phonemes and not with noise.</p></section>
    <section class="card" aria-label="How they belong together"><h2>How they belong together</h2>
      <p><b>A text encoder joins words and pictures.</b> It is half a language model: it reads your prompt and gives numbers that stand for its meaning. The model that draws looks at them at every step. Without it, a picture model has no words.</p>
      <p><b>One can write for another.</b> On the page <a href="#/create">Create</a> a language model plans: it turns one brief into prompts for all the others, which then make their works.</p>
      <p><b>They finish each other's work.</b> Pictures are drawn small and enlarged by a network of its own. A tune is written as notes by a language model, and played by a synthesizer, which is no model at all. A clip may begin with a picture.</p></section>
    <section class="card" aria-label="Which to choose"><h2>Which to choose</h2><div class="table" tabindex="0" role="group" aria-label="Table of models"><table class="choose"><thead><tr><th>You want</th><th>Take</th><th>It is good at</th><th>It is bad at</th></tr></thead>
      <tbody>${TABLE.map(([want, take, good, bad, page]) => html`<tr><td>${page ? html`<a href=${`#/${page}`}>${want}</a>` : want}</td><td>${take}</td><td>${good}</td><td>${bad}</td></tr>`)}</tbody></table></div>
      <p class="hint">Larger models of each kind are bad at fewer of these things, but at the same ones.</p></section><//>`;
}
