// Colours for code, by words alone: comments, strings, numbers and the keywords that most languages share. It knows no
// language's grammar, and need not: a wrong colour does no harm.
import { html } from './html.js';

const KEYWORDS = new Set((
  'abstract and as assert async await begin bool break case catch char class const continue def default defer del do done ' +
  'double echo elif else end enum esac export extends extern false False fi final finally float fn for foreach from func ' +
  'function global go goto if impl implements import in inline instanceof int interface is lambda let local long loop match ' +
  'mod module mut namespace new nil None not null or override package pass private protected pub public raise ref return ' +
  'select self Self short signed sizeof static str string String struct super switch template then this throw trait true ' +
  'True try type typedef typeof undefined union unless unsafe unsigned until use using val var virtual void volatile where ' +
  'while with yield SELECT FROM WHERE INSERT INTO UPDATE DELETE CREATE TABLE JOIN ON ORDER BY GROUP LIMIT AND OR NOT'
).split(' '));

const HASHES = /^(py|python|sh|bash|shell|zsh|rb|ruby|yaml|yml|toml|r|perl|make|makefile|dockerfile|conf|ini)$/;
const DASHES = /^(sql|lua|haskell|hs|ada)$/;
const PLAIN = /^(text|txt|plain|md|markdown|csv|log)$/;

function pattern(language) {
  let comment = String.raw`\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)`;
  if (HASHES.test(language)) comment = String.raw`#[^\n]*`;
  if (DASHES.test(language)) comment = String.raw`--[^\n]*`;
  const string = String.raw`"""[\s\S]*?(?:"""|$)|"(?:\\.|[^"\\\n])*"?|` + '`(?:\\\\.|[^`\\\\])*`?|' + String.raw`'(?:\\.|[^'\\\n])*'?`;
  return new RegExp(`(${comment})|(${string})|(\\b\\d[\\w.]*\\b)|([A-Za-z_]\\w*)(\\s*\\()?`, 'g');
}

/** The code as text and marked spans. */
export function highlight(code, language = '') {
  const name = language.toLowerCase();
  if (PLAIN.test(name) || code.length > 20_000) return [code];
  const parts = [];
  let end = 0;
  for (const found of code.matchAll(pattern(name))) {
    const [all, comment, string, number, word, called] = found;
    const kind = comment ? 'comment' : string ? 'string' : number ? 'number'
      : KEYWORDS.has(word) ? 'keyword' : called ? 'call' : '';
    if (!kind) continue;
    const text = word ?? all;
    if (found.index > end) parts.push(code.slice(end, found.index));
    parts.push(html`<span class=${`code-${kind}`}>${text}</span>`);
    end = found.index + text.length;
  }
  parts.push(code.slice(end));
  return parts;
}
