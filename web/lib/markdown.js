// Markdown as elements. No text becomes HTML: what looks like a tag is shown as it was written.
import { Lexer } from '../vendor/marked.js';
import { html, useMemo, useState } from './html.js';
import { highlight } from './highlight.js';
import { Icon } from './icons.js';

/** Puts a text on the clipboard; pages without TLS have no clipboard but the old one. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement('textarea');
    area.value = text;
    area.className = 'unseen';
    document.body.append(area);
    area.select();
    const copied = document.execCommand('copy');
    area.remove();
    return copied;
  }
}

/** A button that copies and says so. */
export function CopyButton({ text, label = 'Copy', small = false }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    setCopied(await copyText(typeof text === 'function' ? text() : text));
    setTimeout(() => setCopied(false), 1500);
  };
  return html`<button type="button" class="quiet ${small ? 'tiny' : ''}" onClick=${copy} aria-label=${label} title=${label}>
    <${Icon} name=${copied ? 'check' : 'copy'} size="16" />${small ? null : html`<span>${copied ? 'Copied' : label}</span>`}
  </button>`;
}

function CodeBlock({ code, language }) {
  return html`<div class="code">
    <div class="code-head"><span>${language || 'code'}</span><${CopyButton} text=${code} /></div>
    <pre tabindex="0" aria-label="Code"><code>${highlight(code, language)}</code></pre>
  </div>`;
}

/** Only links that lead somewhere harmless. */
function address(href) {
  return /^(https?:|mailto:)/i.test(href) ? href : null;
}

const ENTITIES = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#39;': "'" };
const plain = (text) => text.replace(/&(amp|lt|gt|quot|#39);/g, (entity) => ENTITIES[entity]);

function inline(tokens = []) {
  return tokens.map((token) => {
    switch (token.type) {
      case 'strong': return html`<strong>${inline(token.tokens)}</strong>`;
      case 'em': return html`<em>${inline(token.tokens)}</em>`;
      case 'del': return html`<del>${inline(token.tokens)}</del>`;
      case 'codespan': return html`<code>${token.text}</code>`;
      case 'br': return html`<br />`;
      case 'link': {
        const href = address(token.href);
        if (!href) return inline(token.tokens);
        return html`<a href=${href} target="_blank" rel="noopener noreferrer">${inline(token.tokens)}</a>`;
      }
      // No picture is fetched from anywhere: its words stand for it.
      case 'image': return html`<em>${token.text || token.href}</em>`;
      case 'text': return token.tokens ? inline(token.tokens) : plain(token.text);
      case 'escape': return plain(token.text);
      default: return token.raw;
    }
  });
}

function item(token) {
  const box = token.task && html`<input type="checkbox" checked=${token.checked} disabled />`;
  const body = token.tokens.filter((inner) => inner.type !== 'checkbox');
  return html`<li>${box}${blocks(body, !token.loose)}</li>`;
}

function table(token) {
  const cell = (tag) => (one, column) =>
    html`<${tag} style=${{ textAlign: token.align[column] || 'start' }}>${inline(one.tokens)}<//>`;
  return html`<div class="table" tabindex="0"><table>
    <thead><tr>${token.header.map(cell('th'))}</tr></thead>
    <tbody>${token.rows.map((row) => html`<tr>${row.map(cell('td'))}</tr>`)}</tbody>
  </table></div>`;
}

function blocks(tokens, tight = false) {
  return tokens.map((token) => {
    switch (token.type) {
      case 'space': case 'def': return null;
      case 'heading': {
        // The page has its own first and second headings.
        const tag = `h${Math.min(token.depth + 2, 6)}`;
        return html`<${tag}>${inline(token.tokens)}<//>`;
      }
      case 'paragraph': return html`<p>${inline(token.tokens)}</p>`;
      case 'text': return tight ? inline(token.tokens ?? [token]) : html`<p>${inline(token.tokens ?? [token])}</p>`;
      case 'code': return html`<${CodeBlock} code=${token.text} language=${(token.lang || '').split(/\s/)[0]} />`;
      case 'blockquote': return html`<blockquote>${blocks(token.tokens)}</blockquote>`;
      case 'list': return token.ordered
        ? html`<ol start=${token.start || 1}>${token.items.map(item)}</ol>` : html`<ul>${token.items.map(item)}</ul>`;
      case 'table': return table(token);
      case 'hr': return html`<hr />`;
      case 'checkbox': return null;
      default: return html`<p>${token.raw}</p>`;
    }
  });
}

function elements(text) {
  try {
    return blocks(new Lexer({ gfm: true, breaks: true }).lex(text));
  } catch {
    return html`<p>${text}</p>`;
  }
}

/** A text as models write it; read anew only when it is another one. */
export function Markdown({ text }) {
  return html`<div class="prose">${useMemo(() => elements(text), [text])}</div>`;
}
