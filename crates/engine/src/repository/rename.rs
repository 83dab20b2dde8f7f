//! Another name for something that a program defines, by rules and without a model.
//!
//! A use is renamed where it can only be of what is meant: where the name stands alone in the file that defines it or in
//! one that brings it in, or after the module or type that it belongs to. Other uses are left and listed. In comments and
//! texts only what is written as code is renamed.

use std::collections::HashSet;

use serde::Serialize;

use super::comments::Kinds;
use super::outline::Family;
use super::source::{identifiers, is_word};
use super::{Ranking, Repository, SourceFile};

/// Lines that a statement which brings names in may have.
const STATEMENT: usize = 60;

/// A renaming that a request asks for, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// The name as it is.
    pub from: String,
    /// The name as it shall be.
    pub to: String,
    /// Files that define what is meant; all that do where empty.
    pub files: Vec<usize>,
}

/// A use that was left, because it may be of something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    /// The file.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// What stands there.
    pub text: String,
}

/// What a renaming makes of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Renamed {
    /// Files that change, with their new texts.
    pub texts: Vec<(usize, String)>,
    /// Uses that were left.
    pub left: Vec<Left>,
}

/// Words that a request to rename may have beside the names.
const AROUND: &[&str] = &[
    "a",
    "accordingly",
    "adjust",
    "all",
    "also",
    "and",
    "as",
    "call",
    "called",
    "callers",
    "calls",
    "change",
    "class",
    "code",
    "const",
    "constant",
    "correct",
    "docs",
    "documentation",
    "enum",
    "every",
    "everything",
    "everywhere",
    "file",
    "files",
    "fix",
    "for",
    "from",
    "function",
    "functions",
    "in",
    "interface",
    "is",
    "it",
    "its",
    "method",
    "mentions",
    "name",
    "named",
    "of",
    "on",
    "places",
    "please",
    "project",
    "references",
    "rename",
    "renaming",
    "repo",
    "repository",
    "sites",
    "struct",
    "tests",
    "that",
    "the",
    "there",
    "their",
    "them",
    "this",
    "to",
    "too",
    "trait",
    "type",
    "update",
    "usage",
    "usages",
    "use",
    "used",
    "uses",
    "variable",
    "where",
    "wherever",
    "with",
    "it's",
    "it’s",
    "into",
    "depend",
    "depends",
    "rely",
];

impl Repository {
    /// The renaming that a request is, where it is nothing else and names something that files define: those of `named`
    /// where there are some, those that the request mentions, or else the only one.
    pub fn rename_of(&self, request: &str, ranking: &Ranking, named: &[usize]) -> Option<Rename> {
        let words: Vec<&str> = request
            .split_whitespace()
            .map(|word| word.trim_matches(|c: char| !(is_word(c))))
            .filter(|word| !word.is_empty())
            .collect();
        let lower = |word: &str| word.to_lowercase();
        let start = words
            .iter()
            .position(|word| matches!(lower(word).as_str(), "rename" | "renaming"))?;
        let to = start
            + words[start..]
                .iter()
                .position(|word| matches!(*word, "to" | "into" | "as"))?;
        let new = *words.get(to + 1)?;
        let old = words[start + 1..to]
            .iter()
            .rev()
            .find(|word| !self.defining(word).is_empty())?;
        let known = |word: &&str| {
            AROUND.contains(&lower(word).as_str())
                || *word == *old
                || *word == new
                || self.files.iter().any(|file| file.path.ends_with(*word))
        };
        let valid = identifiers(new).next() == Some(new);
        if !valid || new == *old || !words.iter().all(known) {
            return None;
        }
        let all = self.defining(old);
        let among = |wanted: &dyn Fn(usize) -> bool| {
            all.iter()
                .copied()
                .filter(|&i| wanted(i))
                .collect::<Vec<usize>>()
        };
        let mut files = among(&|index| named.contains(&index));
        if files.is_empty() {
            files = among(&|index| ranking.mentioned.contains(&index));
        }
        Some(Rename {
            from: (*old).to_owned(),
            to: new.to_owned(),
            files,
        })
    }

    /// The files that a request wants to be deleted, where it wants nothing else and says their paths.
    pub fn deletion_of(&self, request: &str, ranking: &Ranking) -> Vec<usize> {
        const DELETE: [&str; 3] = ["delete", "remove", "drop"];
        const AROUND: [&str; 6] = ["the", "file", "files", "and", "please", "source"];
        let words: Vec<String> = request.split_whitespace().map(str::to_lowercase).collect();
        let paths = words
            .iter()
            .filter(|word| word.contains(['.', '/']))
            .count();
        let plain = |word: &String| {
            let word = word.trim_matches(|c: char| !is_word(c));
            DELETE.contains(&word) || AROUND.contains(&word) || word.contains(['.', '/'])
        };
        let begins = words
            .first()
            .is_some_and(|word| DELETE.contains(&word.as_str()));
        // A word that two files end with names neither.
        match begins && paths == ranking.mentioned.len() && words.iter().all(plain) {
            true => ranking.mentioned.iter().copied().collect(),
            false => Vec::new(),
        }
    }

    /// The files that define a name.
    pub(super) fn defining(&self, name: &str) -> Vec<usize> {
        let defines = |file: &SourceFile| {
            file.definitions
                .iter()
                .any(|d| d.name == name && !name.is_empty())
        };
        (0..self.files.len())
            .filter(|&i| defines(&self.files[i]))
            .collect()
    }

    /// The texts of `now` with another name; `files` define what is meant, all that do where empty.
    pub(super) fn renamed(
        &self,
        from: &str,
        to: &str,
        files: &[usize],
        now: &[(usize, String)],
    ) -> Result<Renamed, String> {
        if identifiers(to).next() != Some(to) {
            return Err(format!("{to:?} is no name"));
        }
        let mut files = files.to_vec();
        if files.is_empty() {
            files = self.defining(from);
        }
        let family = match files.as_slice() {
            [] => return Err(format!("nothing in this folder defines {from}")),
            [only] => Family::of(&self.files[*only].path),
            many => {
                let places: Vec<String> =
                    many.iter().filter_map(|&i| self.place(i, from)).collect();
                return Err(format!(
                    "{from} is defined in several places: {}; say which with --file",
                    places.join(", ")
                ));
            }
        };
        let meant = Meant::new(from, to, &self.files[files[0]]);
        let mut renamed = Renamed::default();
        for (index, text) in now {
            let file = &self.files[*index];
            if Family::of(&file.path) != family && Family::of(&file.path) != Family::Markdown {
                continue;
            }
            let visible = *index == files[0]
                || meant.brought_in(text, family, &file.path, &self.files[files[0]].path);
            let here = *index == files[0];
            if !here
                && visible
                && file.definitions.iter().any(|d| d.name == *from)
                && family != Family::Markdown
            {
                // It has one of its own.
                continue;
            }
            let (after, left) = meant.renamed(text, Family::of(&file.path), here, visible);
            if after != *text {
                renamed.texts.push((*index, after));
            }
            let lines: Vec<&str> = text.lines().collect();
            renamed.left.extend(left.into_iter().map(|line| {
                Left {
                    path: file.path.clone(),
                    line,
                    text: lines
                        .get(line - 1)
                        .map_or(String::new(), |line| line.trim().to_owned()),
                }
            }));
        }
        match renamed.texts.is_empty() {
            true => Err(format!("{from} is not used as a name of its own")),
            false => Ok(renamed),
        }
    }

    fn place(&self, index: usize, name: &str) -> Option<String> {
        let file = self.files.get(index)?;
        let line = file.definitions.iter().find(|d| d.name == name)?.line;
        Some(format!("{}:{line}", file.path))
    }
}

/// What is renamed: a name with what it belongs to.
struct Meant<'a> {
    from: &'a str,
    to: &'a str,
    /// Words that may stand before it: its module, its types, and the language's words for these.
    before: HashSet<String>,
    /// What it belongs to, in small letters.
    types: Vec<String>,
    /// Its module's name.
    module: String,
    /// Whether it belongs to a type, so that it stands alone nowhere but where it is defined.
    method: bool,
}

impl<'a> Meant<'a> {
    fn new(from: &'a str, to: &'a str, file: &SourceFile) -> Self {
        let module = module(&file.path);
        let at = file.definitions.iter().position(|d| d.name == from);
        let indent = at.map_or(0, |at| file.definitions[at].indent);
        let mut before: HashSet<String> =
            ["self", "Self", "this", "cls", "crate", "super", "exports"]
                .map(str::to_owned)
                .into();
        before.insert(module.clone());
        // What it is indented under: a class, or the words of an `impl`.
        let owner = at.and_then(|at| {
            file.definitions[..at]
                .iter()
                .rev()
                .find(|d| d.indent < indent)
        });
        let owners: Vec<&str> =
            owner.map_or(Vec::new(), |owner| identifiers(&owner.text).collect());
        before.extend(owners.iter().map(|name| (*name).to_owned()));
        Self {
            from,
            to,
            before,
            types: owners.iter().map(|name| name.to_lowercase()).collect(),
            module,
            method: owner.is_some(),
        }
    }

    /// Whether a file brings the name in from where it is defined.
    fn brought_in(&self, text: &str, family: Family, path: &str, home: &str) -> bool {
        if self.method {
            return false;
        }
        let folder = |path: &str| {
            path.rsplit_once('/')
                .map_or("", |(folder, _)| folder)
                .to_owned()
        };
        match family {
            // One package, or headers: names are there without being brought in.
            Family::Go => return folder(path) == folder(home),
            Family::Braces | Family::Shell | Family::Lua | Family::Ruby | Family::Sql => {
                return true;
            }
            _ => {}
        }
        let lines: Vec<&str> = text.lines().collect();
        let begins = |line: &str| {
            let line = line.trim_start();
            [
                "import ",
                "import{",
                "from ",
                "use ",
                "pub use ",
                "pub(crate) use ",
                "export ",
            ]
            .iter()
            .any(|word| line.starts_with(word))
                || line.contains("require(")
        };
        (0..lines.len()).filter(|&at| begins(lines[at])).any(|at| {
            let statement = statement(&lines[at..]);
            let words: HashSet<&str> = identifiers(&statement).collect();
            let all = statement.contains('*');
            (words.contains(self.from) || all) && words.contains(self.module.as_str())
        })
    }

    /// A text with the new name, and the lines of uses that were left.
    fn renamed(
        &self,
        text: &str,
        family: Family,
        here: bool,
        visible: bool,
    ) -> (String, Vec<usize>) {
        let mut out = String::with_capacity(text.len());
        let mut left = Vec::new();
        let mut kinds = Kinds::new(family);
        for (index, line) in text.split_inclusive('\n').enumerate() {
            let plain = kinds.of_line(line);
            let mut at = 0;
            let mut written = 0;
            while let Some(found) = line[at..].find(self.from).map(|found| found + at) {
                let end = found + self.from.len();
                at = end;
                let whole = !line[..found].ends_with(is_word) && !line[end..].starts_with(is_word);
                if !whole {
                    continue;
                }
                let (before, after) = (&line[..found], &line[end..]);
                let told = here || visible || family == Family::Markdown;
                let meant = match plain.get(found) {
                    Some(false) => (told && is_written(before, after)).then_some(true),
                    _ => self.is_meant(before, after, here, visible),
                };
                match meant {
                    Some(true) => {
                        out.push_str(&line[written..found]);
                        out.push_str(self.to);
                        written = end;
                    }
                    Some(false) => left.push(index + 1),
                    None => {}
                }
            }
            out.push_str(&line[written..]);
        }
        left.dedup();
        (out, left)
    }

    /// Whether a use in code is of what is meant; nothing where it is surely of something else.
    fn is_meant(&self, before: &str, after: &str, here: bool, visible: bool) -> Option<bool> {
        let before = before.trim_end();
        let joined = ["::", "->", ".", "?."]
            .into_iter()
            .find(|sign| before.ends_with(sign));
        if let Some(sign) = joined {
            let owner = before[..before.len() - sign.len()]
                .rsplit(|c: char| !is_word(c))
                .next()
                .unwrap_or_default();
            // A value that is called as its type is one of it.
            let plain = owner.replace('_', "").to_lowercase();
            let typed = self.types.contains(&plain);
            if self.before.contains(owner) || typed {
                return Some(true);
            }
            // Of another value or module, which are not known here.
            return after.starts_with('(').then_some(false);
        }
        if self.method {
            // Where it is defined, and nowhere else without its owner.
            let defines = before
                .rsplit(|c: char| !is_word(c))
                .next()
                .unwrap_or_default();
            let heads = [
                "fn", "def", "func", "fun", "function", "async", "get", "set", "static",
            ];
            return (here && (heads.contains(&defines) || after.starts_with('('))).then_some(true);
        }
        // `name=value` gives an argument its name, which is another's.
        let argument =
            before.ends_with(['(', ',']) && after.starts_with('=') && !after.starts_with("==");
        if argument {
            return None;
        }
        (here || visible).then_some(true)
    }
}

/// Whether a name in prose is written as code is: with what calls it, or in backticks.
fn is_written(before: &str, after: &str) -> bool {
    after.starts_with('(') || (before.ends_with('`') && after.starts_with('`'))
}

/// The name by which other files know a file's contents.
fn module(path: &str) -> String {
    let mut parts = path.rsplit('/');
    let stem = parts
        .next()
        .unwrap_or_default()
        .split('.')
        .next()
        .unwrap_or_default();
    match stem {
        "mod" | "__init__" | "index" => parts.next().unwrap_or(stem).to_owned(),
        // A package of Go is its folder.
        _ if path.ends_with(".go") => parts.next().unwrap_or("main").to_owned(),
        other => other.to_owned(),
    }
}

/// A statement from its first line on, until its brackets are closed.
fn statement(lines: &[&str]) -> String {
    let mut text = String::new();
    let mut depth = 0i64;
    for line in lines.iter().take(STATEMENT) {
        text.push_str(line);
        text.push('\n');
        for c in line.chars() {
            match c {
                '(' | '{' | '[' => depth += 1,
                ')' | '}' | ']' => depth -= 1,
                _ => {}
            }
        }
        if depth <= 0 && !line.trim_end().ends_with(['\\', ',']) {
            break;
        }
    }
    text
}
