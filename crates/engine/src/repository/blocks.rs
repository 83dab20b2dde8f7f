//! One definition at a time: what models under a billion parameters can be asked.
//!
//! Such models lose themselves in whole files and in forms of edits, but write a short function anew, or say in a sentence what it
//! does. So the definitions that a request is about are found by rules, each is shown alone, and the answer is held to
//! its first line, its indentation and about its length.

use std::ops::Range;

use medley_types::{Constraint, Message};

use super::ask::{Aim, fenced};
use super::drafts::even;
use super::grammar::quoted;
use super::outline::Family;
use super::rank::parted;
use super::source::identifiers;
use super::{Definition, Edit, Ranking, Repository, SourceFile};
use crate::documents::words::terms;

/// Lines of a definition at most that is asked about alone.
const LONGEST: usize = 60;

/// Lines by which a definition may grow.
const GROWS: usize = 10;

/// Definitions at most that a request names.
const NAMED: usize = 4;

/// Characters of a sentence about a definition.
const SENTENCE: &str = "{10,200}";

/// Words that ask for another first line.
const HEAD: &[&str] = &[
    "argument",
    "arguments",
    "async",
    "class",
    "exported",
    "generic",
    "head",
    "parameter",
    "parameters",
    "private",
    "public",
    "signature",
    "type",
    "types",
];

/// A definition of a file, or lines that stand together where a file has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its file's place in the repository.
    pub file: usize,
    /// What it defines; may be empty.
    pub name: String,
    /// Its lines, from 0.
    pub lines: Range<usize>,
    /// Whether the request says its name.
    pub named: Named,
}

/// How a request says the name of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// It does not.
    No,
    /// As a word, which may mean something else.
    AsWord,
    /// As code is written.
    AsCode,
}

/// What is asked about a block.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockQuestion {
    /// The conversation.
    pub messages: Vec<Message>,
    /// The form of its answer.
    pub constraint: Constraint,
}

impl Repository {
    /// The `most` blocks that a request is about, and all that it names as code: these first, then the likeliest. Prose and
    /// settings are looked at where a user names them, or where there is nothing else.
    pub fn blocks(
        &self,
        request: &str,
        ranking: &Ranking,
        named: &[usize],
        most: usize,
    ) -> Vec<Block> {
        let ranked = ranking.files.iter().map(|(file, _)| *file);
        let code = |file: &usize| {
            let prose = [Family::Markdown, Family::Sections, Family::Other];
            !prose.contains(&Family::of(&self.files[*file].path))
                || ranking.mentioned.contains(file)
        };
        let mut files: Vec<usize> = match named.is_empty() {
            true => ranked.clone().filter(code).collect(),
            false => named.to_vec(),
        };
        if files.is_empty() {
            files = ranked.collect();
        }
        let asked = Said::new(request);
        let mut found: Vec<(f64, Block)> = Vec::new();
        for (place, &file) in files.iter().enumerate() {
            let scores = ranking.pieces.get(file).map_or(&[][..], Vec::as_slice);
            for mut block in of_file(file, &self.files[file]) {
                if asked.writes(&block.name) {
                    block.named = Named::AsCode;
                }
                let pieces = self.files[file].pieces.iter().zip(scores);
                let within = pieces.filter(|(piece, _)| {
                    piece.first < block.lines.end && piece.first + piece.lines > block.lines.start
                });
                let score = within.map(|(_, score)| *score).fold(0.0, f64::max);
                let likely = asked.words_of(&block.name);
                // Of equals, the one in the likelier file.
                found.push((score + 4.0 * likely - 1e-6 * place as f64, block));
            }
        }
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut all: Vec<Block> = found.into_iter().map(|(_, block)| block).collect();
        // A name that is also a word may be meant as one: only the likeliest is taken for it.
        let word = |block: &Block| asked.names(&block.name) && self.defining(&block.name).len() < 3;
        if let Some(likeliest) = all.iter().position(word) {
            let named = &mut all[likeliest].named;
            *named = (*named).max(Named::AsWord);
        }
        all.sort_by_key(|block| std::cmp::Reverse(block.named));
        let written = all
            .iter()
            .filter(|block| block.named == Named::AsCode)
            .count();
        all.truncate(most.max(written.min(NAMED)));
        all
    }

    /// The line of a block, as messages name it.
    pub fn block_place(&self, block: &Block) -> String {
        format!("{}:{}", self.files[block.file].path, block.lines.start + 1)
    }

    /// What is asked about a block.
    pub fn block_question(&self, block: &Block, request: &str, aim: Aim) -> BlockQuestion {
        let file = &self.files[block.file];
        let lines: Vec<&str> = file.text.lines().collect();
        let lines = &lines[block.lines.clone()];
        let code = fenced(&file.path, &lines.join("\n"));
        let request = request.trim();
        let messages = match aim {
            Aim::Explain | Aim::Review => {
                let ask = match (aim, request) {
                    (Aim::Review, _) => "What is wrong or risky in this code?",
                    _ => "What does this code do?",
                };
                vec![
                    Message::new("system", "You explain code in one short, plain sentence."),
                    Message::new(
                        "user",
                        format!("{ask}\n{code}\nAnswer with one short sentence."),
                    ),
                ]
            }
            Aim::Tests => {
                let (shown, test) = Example::of(Family::Python).test();
                turns(
                    "You write short, correct tests.",
                    (shown, test),
                    &format!("Here is code:\n{code}\nA test of it:"),
                )
            }
            Aim::Change | Aim::Fix => {
                let (shown, changed) = Example::of(Family::of(&file.path)).change();
                let said = match request.is_empty() {
                    true => "mend what is wrong",
                    false => request,
                };
                turns(
                    "You are a careful programmer. You change only what the request asks for.",
                    (shown, changed),
                    &format!("Here is code:\n{code}\nChange: {said}\nThe changed code:"),
                )
            }
        };
        let grammar = match aim {
            Aim::Explain | Aim::Review => {
                format!("start: /[A-Z]([^\\n.]|\\.[^ \\n]){SENTENCE}\\./\n")
            }
            Aim::Tests => test_form(&block.name),
            Aim::Change | Aim::Fix => changed_form(&file.path, lines, request),
        };
        BlockQuestion {
            messages,
            constraint: Constraint::Grammar(grammar),
        }
    }

    /// Whether tests of a block can be asked for alone.
    pub fn tests_alone(&self, block: &Block) -> bool {
        Family::of(&self.files[block.file].path) == Family::Python && !block.name.is_empty()
    }

    /// The answer to a block's question as an edit.
    ///
    /// # Errors
    /// Why it will not do: it is cut off, changes nothing, takes away most of what was there though nobody asked for that,
    /// says the same again and again, or loses a bracket.
    pub fn block_edit(
        &self,
        block: &Block,
        aim: Aim,
        request: &str,
        answer: &str,
    ) -> Result<Edit, String> {
        let body = answer.split_once('\n').map_or("", |(_, body)| body);
        let end = body.rfind("```").ok_or("the answer came to no end")?;
        // Empty lines at the end belong to what follows.
        let body = body[..end].trim_end().to_owned() + "\n";
        let file = &self.files[block.file];
        let lines: Vec<&str> = file.text.lines().collect();
        let before = lines[block.lines.clone()].join("\n") + "\n";
        if before == body {
            return Err("the answer changes nothing".into());
        }
        plausible(&before, &body, request, aim)?;
        if aim == Aim::Tests {
            let name = file.path.rsplit('/').next().unwrap_or_default();
            let (stem, name) = (name.split('.').next().unwrap_or_default(), &block.name);
            return Ok(Edit::Create {
                path: format!("tests/test_{stem}_{name}.py"),
                text: format!("from {stem} import {name}\n\n\n{body}"),
            });
        }
        Ok(Edit::Replace {
            path: file.path.clone(),
            find: before,
            replace: body,
        })
    }
}

/// Refuses what small models write when they lose the thread.
fn plausible(before: &str, after: &str, request: &str, aim: Aim) -> Result<(), String> {
    const LESS: [&str; 10] = [
        "delete", "drop", "less", "remove", "replace", "rewrite", "shorten", "shorter", "simplify",
        "simpler",
    ];
    fn lines(text: &str) -> Vec<&str> {
        text.lines()
            .map(str::trim)
            .filter(|line| line.len() > 1)
            .collect()
    }
    let (old, new) = (lines(before), lines(after));
    let kept = old.iter().filter(|line| new.contains(line)).count();
    let less = identifiers(request).any(|word| LESS.contains(&word.to_lowercase().as_str()));
    if aim != Aim::Tests && !less && old.len() > 2 && 2 * kept < old.len() {
        return Err("the answer takes away most of what was there".into());
    }
    let most = if aim == Aim::Tests { 1 } else { 2 };
    let count = |line: &&str| new.iter().filter(|other| *other == line).count();
    if new
        .iter()
        .any(|line| count(line) > most && !old.contains(line))
    {
        return Err("the answer says the same again and again".into());
    }
    match even(before) && !even(after) {
        true => Err("the answer loses a bracket".into()),
        false => Ok(()),
    }
}

/// What a request says: names, and words without their endings.
struct Said<'a> {
    request: &'a str,
    names: Vec<&'a str>,
    words: Vec<String>,
}

impl<'a> Said<'a> {
    fn new(request: &'a str) -> Self {
        Self {
            request,
            names: identifiers(request).collect(),
            words: terms(&parted(request)),
        }
    }

    /// Whether it says a name as it stands.
    fn names(&self, name: &str) -> bool {
        name.len() > 2 && self.names.contains(&name)
    }

    /// Whether it says a name that is no word of prose, or says it as code: called, or in backticks.
    fn writes(&self, name: &str) -> bool {
        let capital = name.chars().skip(1).any(char::is_uppercase);
        self.names(name)
            && (capital
                || name.contains('_')
                || self.request.contains(&format!("{name}("))
                || self.request.contains(&format!("`{name}`")))
    }

    /// The share of a name's words that it says.
    fn words_of(&self, name: &str) -> f64 {
        let words = terms(&parted(&name.replace('_', " ")));
        let common = words
            .iter()
            .filter(|word| self.words.contains(word))
            .count();
        common as f64 / words.len().max(1) as f64
    }
}

/// The definitions of a file with their bodies, as far as they are short; its runs of lines where there are none.
fn of_file(index: usize, file: &SourceFile) -> Vec<Block> {
    let lines: Vec<&str> = file.text.lines().collect();
    let family = Family::of(&file.path);
    let mut blocks = Vec::new();
    for (at, definition) in file.definitions.iter().enumerate() {
        let lines = body(
            &lines,
            definition,
            file.definitions.get(at + 1..).unwrap_or_default(),
        );
        // What holds others is asked about in these.
        let holds = file
            .definitions
            .iter()
            .any(|d| d.indent > definition.indent && lines.contains(&(d.line - 1)));
        if lines.len() <= LONGEST && !holds && family != Family::Markdown {
            blocks.push(Block {
                file: index,
                name: definition.name.clone(),
                lines,
                named: Named::No,
            });
        }
    }
    if blocks.is_empty() {
        let runs = file.pieces.iter().map(|piece| Block {
            file: index,
            name: String::new(),
            lines: piece.first..piece.first + piece.lines,
            named: Named::No,
        });
        blocks = runs.collect();
    }
    blocks
}

/// The lines of a definition: to the next one that is indented no deeper, without what is said before that.
fn body(lines: &[&str], definition: &Definition, next: &[Definition]) -> Range<usize> {
    let start = definition.line - 1;
    let limit = next
        .iter()
        .find(|d| d.indent <= definition.indent)
        .map_or(lines.len(), |d| d.line - 1);
    let indent = |line: &str| line.len() - line.trim_start().len();
    let closes =
        |line: &str| line.trim_start().starts_with(['}', ')', ']']) || line.trim() == "end";
    let mut end = start + 1;
    let mut closed = lines
        .get(start)
        .is_some_and(|line| line.trim_end().ends_with([';', '}']));
    for (at, line) in lines.iter().enumerate().take(limit).skip(start + 1) {
        if closed || line.trim().is_empty() {
            continue;
        }
        let deeper = indent(line) > definition.indent;
        if deeper
            || closes(line)
            || (line.trim() == "{" && end == at)
            || line.trim_start().starts_with("where")
        {
            end = at + 1;
            closed = !deeper && closes(line) && !line.trim_end().ends_with(['{', ':', '(']);
        } else {
            break;
        }
    }
    start..end
}

fn turns(system: &str, (asked, answered): (String, String), question: &str) -> Vec<Message> {
    vec![
        Message::new("system", system),
        Message::new("user", asked),
        Message::new("assistant", answered),
        Message::new("user", question),
    ]
}

/// The block again: with its first line where that is whole and the request does not ask for another, lines that are
/// indented as its body is, and its last line where that closes it.
fn changed_form(path: &str, lines: &[&str], request: &str) -> String {
    let open = fenced(path, "")
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
        + "\n";
    let first = lines.first().copied().unwrap_or_default();
    let said: Vec<String> = identifiers(request).map(str::to_lowercase).collect();
    let keeps = first.trim_end().ends_with(['{', ':'])
        && !said.iter().any(|word| HEAD.contains(&word.as_str()));
    let indent: String = first.chars().take_while(|c| c.is_whitespace()).collect();
    let last = lines.last().copied().unwrap_or_default();
    let closes = keeps && lines.len() > 1 && last.trim_end() == format!("{indent}}}");
    let most = lines.len() + GROWS;
    let free = "LINE: /(`{0,2}[^`\\n][^\\n]{0,200}|`{0,2})\\n/\n";
    let inner = format!("LINE: /(({indent}[ \\t][^\\n]{{0,200}})|)\\n/\n");
    match (keeps, closes) {
        (false, _) => format!("start: {} LINE{{1,{most}}} \"```\"\n{free}", quoted(&open)),
        (true, false) => format!(
            "start: {} {} LINE{{1,{most}}} \"```\"\n{inner}",
            quoted(&open),
            quoted(&format!("{first}\n"))
        ),
        (true, true) => format!(
            "start: {} {} LINE{{1,{most}}} {} \"```\"\n{inner}",
            quoted(&open),
            quoted(&format!("{first}\n")),
            quoted(&format!("{last}\n"))
        ),
    }
}

/// A function of Python that asserts something.
fn test_form(name: &str) -> String {
    let head = quoted(&format!("```py\ndef test_{name}():\n"));
    format!(
        "start: {head} LINE{{0,6}} ASSERT{{1,3}} \"```\"\nLINE: /    [a-z][^\\n]{{0,160}}\\n/\nASSERT: /    assert [^\\n]{{2,160}}\\n/\n"
    )
}

/// Invented code that is changed as asked: small models follow an example better than words.
struct Example {
    language: &'static str,
    before: &'static str,
    after: &'static str,
}

impl Example {
    fn of(family: Family) -> Self {
        match family {
            Family::Rust => Self {
                language: "rs",
                before: "fn area(width: i64, height: i64) -> i64 {\n    width * height\n}",
                after: "fn area(width: i64, height: i64) -> i64 {\n    if width < 0 || height < 0 {\n        return 0;\n    }\n    width * height\n}",
            },
            Family::Script => Self {
                language: "js",
                before: "function area(width, height) {\n  return width * height;\n}",
                after: "function area(width, height) {\n  if (width < 0 || height < 0) {\n    return 0;\n  }\n  return width * height;\n}",
            },
            Family::Go | Family::Braces => Self {
                language: "c",
                before: "int area(int width, int height) {\n    return width * height;\n}",
                after: "int area(int width, int height) {\n    if (width < 0 || height < 0) {\n        return 0;\n    }\n    return width * height;\n}",
            },
            _ => Self {
                language: "py",
                before: "def area(width, height):\n    return width * height",
                after: "def area(width, height):\n    if width < 0 or height < 0:\n        return 0\n    return width * height",
            },
        }
    }

    fn block(&self, code: &str) -> String {
        format!("```{}\n{code}\n```", self.language)
    }

    fn change(&self) -> (String, String) {
        let asked = format!(
            "Here is code:\n{}\nChange: give 0 for negative sizes\nThe changed code:",
            self.block(self.before)
        );
        (asked, self.block(self.after))
    }

    fn test(&self) -> (String, String) {
        let asked = format!("Here is code:\n{}\nA test of it:", self.block(self.before));
        (
            asked,
            self.block("def test_area():\n    assert area(2, 3) == 6\n    assert area(0, 5) == 0"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_end_before_the_next_and_without_what_is_said_of_it() {
        let of = |path: &str, text: &str| -> Vec<(String, Range<usize>)> {
            let file = SourceFile::new(path.into(), text, false).unwrap();
            of_file(0, &file)
                .into_iter()
                .map(|block| (block.name, block.lines))
                .collect()
        };
        let named = |name: &str, lines: Range<usize>| (name.to_owned(), lines);
        assert_eq!(
            of(
                "a.py",
                "import a\n\n\nclass B:\n    def c(self):\n        return 1\n\n        # d\n\n    @e\n    def f(self): pass\n\n\nx = 1\n"
            ),
            [named("c", 4..8), named("f", 10..11)]
        );
        assert_eq!(
            of(
                "a.rs",
                "const A: u8 = 1;\n/// b\nfn b(\n    c: u8,\n) -> u8 {\n    c\n}\n\n/// d\n#[test]\nfn d()\nwhere\n    A: B,\n{\n}\n"
            ),
            [named("A", 0..1), named("b", 2..7), named("d", 10..15)]
        );
        assert_eq!(
            of("a.txt", "one\ntwo\n\nthree\n"),
            [named("", 0..2), named("", 3..4)]
        );
    }

    #[test]
    fn an_answer_becomes_an_edit_of_the_block_alone() {
        let folder = tempfile::tempdir().unwrap();
        let text = "def first():\n    return 1\n\n\ndef second():\n    return 2\n";
        std::fs::write(folder.path().join("a.py"), text).unwrap();
        let repository = Repository::open(folder.path()).unwrap();
        let request = "make second return 3";
        let ranking = repository.rank(request).unwrap();
        let blocks = repository.blocks(request, &ranking, &[], 1);
        let block = Block {
            file: 0,
            name: "second".into(),
            lines: 4..6,
            named: Named::AsWord,
        };
        assert_eq!(blocks, std::slice::from_ref(&block));
        assert_eq!(repository.block_place(&block), "a.py:5");
        let edit = repository.block_edit(
            &block,
            Aim::Change,
            request,
            "```py\ndef second():\n    return 3\n\n```",
        );
        let replace = Edit::Replace {
            path: "a.py".into(),
            find: "def second():\n    return 2\n".into(),
            replace: "def second():\n    return 3\n".into(),
        };
        assert_eq!(edit, Ok(replace));
    }
}
