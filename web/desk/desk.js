// A support desk in a page: one script, no library, nothing from elsewhere. All that comes from the desk is put into
// the page as text, never as HTML; styles and elements live in a shadow and meet none of the page's.
(() => {
  'use strict';
  const desk = "{DESK}";
  const script = document.currentScript;
  const base = new URL('.', script.src).href;
  const whole = script.hasAttribute('data-page');

  const TEXTS = {
    en: { open: 'Ask a question', close: 'Close', send: 'Send', ask: 'Your question', thinking: 'Looking it up …',
      unknown: 'I have no answer to that in our documents.', sources: 'Where it says so', page: 'page',
      failed: 'That did not work. Please try again.', many: 'Too many questions. Please wait a minute.',
      mail: 'Write to us', person: 'Ask a person', contact: 'Your mail address or telephone number',
      passed: 'Thank you. We will get back to you.', you: 'You', log: 'Conversation' },
    de: { open: 'Frage stellen', close: 'Schließen', send: 'Senden', ask: 'Ihre Frage', thinking: 'Ich sehe nach …',
      unknown: 'Darauf habe ich in unseren Unterlagen keine Antwort.', sources: 'Wo es steht', page: 'Seite',
      failed: 'Das hat nicht geklappt. Bitte versuchen Sie es noch einmal.',
      many: 'Zu viele Fragen. Bitte warten Sie eine Minute.', mail: 'Schreiben Sie uns', person: 'Einen Menschen fragen',
      contact: 'Ihre Mailadresse oder Telefonnummer', passed: 'Danke. Wir melden uns.', you: 'Sie', log: 'Gespräch' },
    fr: { open: 'Poser une question', close: 'Fermer', send: 'Envoyer', ask: 'Votre question', thinking: 'Je cherche …',
      unknown: 'Je ne trouve pas de réponse dans nos documents.', sources: 'Où cela se trouve', page: 'page',
      failed: 'Cela n’a pas fonctionné. Veuillez réessayer.', many: 'Trop de questions. Veuillez patienter une minute.',
      mail: 'Écrivez-nous', person: 'Demander à une personne', contact: 'Votre adresse ou numéro de téléphone',
      passed: 'Merci. Nous vous répondrons.', you: 'Vous', log: 'Conversation' },
    es: { open: 'Hacer una pregunta', close: 'Cerrar', send: 'Enviar', ask: 'Su pregunta', thinking: 'Buscando …',
      unknown: 'No encuentro la respuesta en nuestros documentos.', sources: 'Dónde se dice', page: 'página',
      failed: 'No ha funcionado. Inténtelo de nuevo.', many: 'Demasiadas preguntas. Espere un minuto.',
      mail: 'Escríbanos', person: 'Preguntar a una persona', contact: 'Su correo o teléfono',
      passed: 'Gracias. Le responderemos.', you: 'Usted', log: 'Conversación' },
  };

  const STYLE = `
    :host { all: initial; --accent: #1f5f8b; font: 16px/1.45 system-ui, sans-serif; color: #1b1b1b; }
    * { box-sizing: border-box; }
    button, input { font: inherit; color: inherit; }
    button:focus-visible, input:focus-visible, a:focus-visible, summary:focus-visible { outline: 3px solid #f5a623; outline-offset: 2px; }
    .door { position: fixed; right: 1rem; bottom: 1rem; padding: .75rem 1.1rem; border: 0; border-radius: 2rem; cursor: pointer;
      background: var(--accent); color: #fff; box-shadow: 0 2px 10px #0005; z-index: 2147483000; }
    .desk { position: fixed; right: 1rem; bottom: 1rem; width: min(24rem, calc(100vw - 2rem)); height: min(34rem, calc(100vh - 2rem));
      display: flex; flex-direction: column; background: #fff; border-radius: .75rem; overflow: hidden; box-shadow: 0 4px 24px #0006;
      z-index: 2147483000; }
    .whole { position: static; width: min(44rem, 100%); height: calc(100vh - 2rem); margin: 1rem auto; }
    [hidden] { display: none !important; }
    header { display: flex; align-items: center; gap: .5rem; padding: .6rem .9rem; background: var(--accent); color: #fff; }
    h2 { flex: 1; margin: 0; font-size: 1.05rem; }
    .shut { border: 0; background: none; color: #fff; font-size: 1.5rem; line-height: 1; cursor: pointer; padding: .1rem .5rem; }
    .log { flex: 1; overflow-y: auto; padding: .9rem; }
    .turn { margin: 0 0 .8rem; padding: .55rem .75rem; border-radius: .6rem; background: #f0f2f4; white-space: pre-wrap;
      overflow-wrap: anywhere; }
    .mine { background: var(--accent); color: #fff; margin-left: 2rem; }
    details { margin-top: .5rem; white-space: normal; font-size: .88rem; }
    summary { cursor: pointer; }
    ol { margin: .3rem 0 0; padding-left: 1.3rem; }
    q { color: #444; display: block; }
    sup { font-size: .7rem; margin-left: .1rem; }
    .ways { margin-top: .5rem; display: flex; gap: .6rem; flex-wrap: wrap; white-space: normal; }
    .ways a, .ways button { border: 1px solid var(--accent); border-radius: .4rem; padding: .25rem .6rem; background: #fff; color: #1b1b1b;
      text-decoration: none; cursor: pointer; }
    form { display: flex; gap: .5rem; padding: .6rem; border-top: 1px solid #ccd; }
    input { flex: 1; min-width: 0; padding: .5rem .6rem; border: 1px solid #889; border-radius: .4rem; background: #fff; }
    form button { border: 0; border-radius: .4rem; padding: .5rem .9rem; background: var(--accent); color: #fff; cursor: pointer; }
    button:disabled { opacity: .6; cursor: default; }
    .ways form { padding: 0; border: 0; width: 100%; }`;

  const make = (name, given = {}, ...inside) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(given)) {
      if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
      else if (value === true) element.setAttribute(key, '');
      else if (value !== false && value != null) element.setAttribute(key, value);
    }
    element.append(...inside.filter((one) => one != null && one !== false));
    return element;
  };

  const session = () => {
    const fresh = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, '0')).join('');
    try {
      const name = `desk-${desk.name}`;
      const kept = sessionStorage.getItem(name) || fresh();
      sessionStorage.setItem(name, kept);
      return kept;
    } catch {
      return (session.own ||= fresh());
    }
  };

  const call = async (path, body) => {
    const response = await fetch(base + path, {
      method: body ? 'POST' : 'GET',
      headers: { authorization: `Bearer ${desk.key}`, ...(body && { 'content-type': 'application/json' }) },
      body: body && JSON.stringify(body),
      credentials: 'omit',
      referrerPolicy: 'no-referrer',
    });
    if (!response.ok) throw Object.assign(new Error(response.statusText), { status: response.status });
    return response.json();
  };

  const start = (about) => {
    const wanted = (about.language || document.documentElement.lang || navigator.language || 'en').slice(0, 2).toLowerCase();
    const words = TEXTS[wanted] || TEXTS.en;
    const host = make('div', { lang: TEXTS[wanted] ? wanted : 'en' });
    const shadow = host.attachShadow({ mode: 'open' });
    host.style.setProperty('--accent', about.colour);
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    shadow.adoptedStyleSheets = [sheet];

    const log = make('div', { class: 'log', role: 'log', 'aria-live': 'polite', 'aria-label': words.log, tabindex: '0' });
    const field = make('input', { type: 'text', maxlength: '1000', autocomplete: 'off', 'aria-label': words.ask, placeholder: words.ask });
    const send = make('button', { type: 'submit' }, words.send);
    const form = make('form', {}, field, send);
    const shut = make('button', { class: 'shut', type: 'button', 'aria-label': words.close }, '×');
    const panel = make('section', { class: whole ? 'desk whole' : 'desk', role: whole ? 'region' : 'dialog', 'aria-label': about.title, hidden: !whole },
      make('header', {}, make('h2', {}, about.title), !whole && shut), log, form);
    const door = make('button', { class: 'door', type: 'button', 'aria-expanded': 'false', hidden: whole }, about.title || words.open);

    const show = (open) => {
      panel.hidden = !open;
      door.hidden = open;
      door.setAttribute('aria-expanded', String(open));
      (open ? field : door).focus();
    };
    door.addEventListener('click', () => show(true));
    shut.addEventListener('click', () => show(false));
    panel.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && !whole) show(false);
    });

    const say = (mine, ...inside) => {
      const turn = make('div', { class: mine ? 'turn mine' : 'turn' }, ...inside);
      log.append(turn);
      log.scrollTop = log.scrollHeight;
      return turn;
    };
    const place = (one) => {
      const title = one.heading || one.title || '';
      return [one.name, title, one.page && `${words.page} ${one.page}`].filter(Boolean).join(' · ');
    };
    const said = (answer) => {
      const inside = [];
      for (const sentence of answer.sentences) {
        if (inside.length) inside.push(' ');
        inside.push(sentence.text, ...sentence.citations.map((number) => make('sup', {}, String(number))));
      }
      const items = answer.citations.map((one) => make('li', {}, place(one), make('q', {}, one.quote)));
      inside.push(make('details', {}, make('summary', {}, words.sources), make('ol', {}, ...items)));
      return inside;
    };
    const person = (question) => {
      const ways = make('div', { class: 'ways' });
      if (about.mail) {
        const to = `mailto:${about.mail}?subject=${encodeURIComponent(question.slice(0, 120))}&body=${encodeURIComponent(question)}`;
        ways.append(make('a', { href: to }, words.mail));
      }
      if (about.hand_over) {
        const button = make('button', { type: 'button' }, words.person);
        button.addEventListener('click', () => {
          const contact = make('input', { type: 'text', maxlength: '200', 'aria-label': words.contact, placeholder: words.contact, required: true });
          const own = make('form', {}, contact, make('button', { type: 'submit' }, words.send));
          own.addEventListener('submit', async (event) => {
            event.preventDefault();
            try {
              await call('hand-over', { question, contact: contact.value, session: session() });
              own.replaceWith(words.passed);
              field.focus();
            } catch {
              say(false, words.failed);
            }
          });
          button.replaceWith(own);
          contact.focus();
        });
        ways.append(button);
      }
      return ways.childNodes.length ? ways : null;
    };

    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      const question = field.value.trim();
      if (!question || send.disabled) return;
      field.value = '';
      say(true, question);
      const waiting = say(false, words.thinking);
      send.disabled = true;
      try {
        const answer = await call('ask', { question, session: session() });
        if (answer.answered) waiting.replaceChildren(...said(answer));
        else waiting.replaceChildren(...[answer.text || words.unknown, person(question)].filter(Boolean));
      } catch (error) {
        waiting.replaceChildren(error.status === 429 ? words.many : words.failed);
      }
      send.disabled = false;
      log.scrollTop = log.scrollHeight;
      field.focus();
    });

    if (about.greeting) say(false, about.greeting);
    shadow.append(door, panel);
    document.body.append(host);
    if (whole) field.focus();
  };

  // Where the desk lets this page in, it shows itself; elsewhere nothing is to be seen.
  call('about').then(start, () => {});
})();
