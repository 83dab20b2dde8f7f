//! What a source file defines, by how its lines begin: near enough for a map, in every language alike.
//!
//! No file is parsed. A line is a definition where, after words such as `pub` or `static`, it begins with a word that
//! defines something in its language, or where it has the form of a function's head in languages without such a word.

use serde::Serialize;

/// Characters of a line that a map shows.
const SHOWN: usize = 100;

/// A line that defines something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Definition {
    /// Its line, from 1.
    pub line: usize,
    /// What it defines; empty where that has no name of its own, as an `impl`.
    pub name: String,
    /// The line without what opens a body, cut where it is long.
    pub text: String,
    /// Columns before it.
    pub indent: usize,
}

/// Languages that define things alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Rust,
    Python,
    Script,
    Go,
    /// C, C++ and what writes heads of functions as they do.
    Braces,
    Ruby,
    Lua,
    Shell,
    Sql,
    Markdown,
    Sections,
    Other,
}

impl Family {
    /// The family of a file, by its name.
    pub fn of(path: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or_default();
        let extension = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        match extension.to_ascii_lowercase().as_str() {
            "rs" => Self::Rust,
            "py" | "pyi" => Self::Python,
            "js" | "mjs" | "cjs" | "jsx" | "ts" | "tsx" | "vue" | "svelte" => Self::Script,
            "go" => Self::Go,
            "c" | "h" | "cc" | "cpp" | "cxx" | "hpp" | "cu" | "cuh" | "m" | "java" | "kt"
            | "kts" | "cs" | "scala" | "swift" | "dart" | "php" | "proto" | "zig" | "groovy"
            | "gradle" => Self::Braces,
            "rb" | "ex" | "exs" | "cr" | "jl" => Self::Ruby,
            "lua" => Self::Lua,
            "sh" | "bash" | "zsh" | "pl" | "pm" => Self::Shell,
            "sql" => Self::Sql,
            "md" | "markdown" => Self::Markdown,
            "toml" | "ini" | "cfg" | "conf" => Self::Sections,
            _ => Self::Other,
        }
    }

    /// Words with which a line defines what the next word names.
    fn keywords(self) -> &'static [&'static str] {
        match self {
            Self::Rust => RUST,
            Self::Python => PYTHON,
            Self::Script => SCRIPT,
            Self::Go => GO,
            Self::Braces => BRACES,
            Self::Ruby => RUBY,
            Self::Lua => LUA,
            Self::Shell => SHELL,
            Self::Sql | Self::Markdown | Self::Sections | Self::Other => &[],
        }
    }

    /// What begins a comment that ends with its line.
    pub fn comment(self) -> Option<&'static str> {
        match self {
            Self::Rust | Self::Script | Self::Go | Self::Braces => Some("//"),
            Self::Python | Self::Ruby | Self::Shell | Self::Sections => Some("#"),
            Self::Lua | Self::Sql => Some("--"),
            Self::Markdown | Self::Other => None,
        }
    }
}

/// Words with which lines define something, by family.
const RUST: &[&str] = &[
    "fn",
    "struct",
    "enum",
    "trait",
    "type",
    "mod",
    "macro_rules!",
    "union",
    "const",
    "static",
];
const PYTHON: &[&str] = &["def", "class"];
const SCRIPT: &[&str] = &[
    "function",
    "function*",
    "class",
    "interface",
    "type",
    "enum",
    "namespace",
];
const GO: &[&str] = &["func", "type"];
const BRACES: &[&str] = &[
    "class",
    "interface",
    "enum",
    "record",
    "struct",
    "union",
    "object",
    "trait",
    "protocol",
    "extension",
    "namespace",
    "fun",
    "func",
    "function",
    "def",
    "fn",
    "message",
    "service",
    "rpc",
    "#define",
    "typedef",
];
const RUBY: &[&str] = &[
    "def",
    "defp",
    "class",
    "module",
    "defmodule",
    "defmacro",
    "struct",
    "function",
    "macro",
];
const LUA: &[&str] = &["function"];
const SHELL: &[&str] = &["function", "sub", "package"];

/// Words that stand before those that define.
const BEFORE: &[&str] = &[
    "pub",
    "export",
    "default",
    "declare",
    "async",
    "unsafe",
    "extern",
    "static",
    "public",
    "private",
    "protected",
    "internal",
    "abstract",
    "final",
    "override",
    "open",
    "sealed",
    "data",
    "inline",
    "virtual",
    "partial",
    "readonly",
    "local",
    "suspend",
    "case",
    "const",
    "constexpr",
    "friend",
    "template",
];

/// Words before a parenthesis that are no names of functions.
const CONTROL: &[&str] = &[
    "if", "for", "while", "switch", "return", "catch", "else", "do", "sizeof", "match", "with",
    "and", "or", "not", "new", "throw", "await", "yield", "super", "this", "assert", "defined",
    "using", "elif", "elseif", "foreach",
];

/// The definitions of a file in order.
pub(super) fn outline(path: &str, text: &str) -> Vec<Definition> {
    let family = Family::of(path);
    let mut fenced = false;
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if family == Family::Markdown && line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        if let Some(name) = defines(family, trimmed.trim_end(), indent) {
            found.push(Definition {
                line: index + 1,
                name,
                text: shown(trimmed),
                indent,
            });
        }
    }
    found
}

/// What a line defines; an empty name for what has none of its own.
fn defines(family: Family, line: &str, indent: usize) -> Option<String> {
    match family {
        Family::Markdown => {
            return (line.starts_with('#') && line.contains("# ")).then(String::new);
        }
        Family::Sections => return (indent == 0 && line.starts_with('[')).then(String::new),
        Family::Sql => return created(line),
        Family::Other => return None,
        _ => {}
    }
    if line.is_empty() || family.comment().is_some_and(|sign| line.starts_with(sign)) {
        return None;
    }
    if family == Family::Rust && (line.starts_with("impl ") || line.starts_with("impl<")) {
        return Some(String::new());
    }
    let mut rest = line;
    loop {
        let (word, after) = split_word(rest);
        if family.keywords().contains(&word) && !(word == "const" && split_word(after).0 == "fn") {
            return keyword_name(family, word, after);
        }
        if !BEFORE.contains(&word.split('(').next().unwrap_or_default()) {
            break;
        }
        rest = after;
    }
    match family {
        Family::Script => variable_function(line, indent).or_else(|| head(family, line, indent)),
        Family::Braces | Family::Shell => head(family, line, indent),
        _ => None,
    }
}

/// The first word of a line, and what follows it.
fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    // `pub(crate)` and `extern "C"` are one word each.
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) if word == "extern" && rest.starts_with('"') => {
            (word, rest.split_once(' ').map_or("", |(_, rest)| rest))
        }
        Some((word, rest)) => (word, rest),
        None => (text, ""),
    }
}

/// The name after a word that defines.
fn keyword_name(family: Family, word: &str, after: &str) -> Option<String> {
    let mut after = after.trim_start();
    if family == Family::Go && word == "func" && after.starts_with('(') {
        // The receiver.
        after = after.split_once(')')?.1.trim_start();
    }
    if word == "const" || word == "static" {
        after = after.strip_prefix("mut ").unwrap_or(after);
    }
    if word == "typedef" {
        let name = after.trim_end_matches(';').rsplit([' ', '*']).next()?;
        return Some(name.to_owned());
    }
    let name = leading_name(after);
    // Lua's and Ruby's names of methods have their table or class before them.
    let name = match family {
        Family::Lua | Family::Ruby => {
            let path: &str = after.split(['(', ' ', ';']).next().unwrap_or_default();
            path.rsplit(['.', ':']).next().unwrap_or(name)
        }
        _ => name,
    };
    (!name.is_empty() && name != "_").then(|| name.to_owned())
}

fn leading_name(text: &str) -> &str {
    let end = text.find(|c: char| !super::source::is_word(c) && c != '$');
    &text[..end.unwrap_or(text.len())]
}

/// `const name = (…) =>`, `exports.name = function`.
fn variable_function(line: &str, indent: usize) -> Option<String> {
    if indent > 0 || !(line.contains("=>") || line.contains("function")) {
        return None;
    }
    let (left, _) = line.split_once('=')?;
    let left = left.split(':').next()?.trim_end();
    let name = left.rsplit([' ', '.']).next()?;
    let declared = left.contains("const ") || left.contains("let ") || left.contains("exports.");
    (declared && !name.is_empty() && leading_name(name) == name).then(|| name.to_owned())
}

/// The name of a function whose head has no word for it: `int parse(const char *text) {`.
fn head(family: Family, line: &str, indent: usize) -> Option<String> {
    let (before, after) = line.split_once('(')?;
    if family == Family::Shell {
        return (after.trim_start().starts_with(')')).then(|| before.trim().to_owned());
    }
    let opens = line.ends_with('{')
        || (family == Family::Braces && line.ends_with([')', ',']) && indent == 0);
    let declares = family == Family::Braces && indent == 0 && line.ends_with(");");
    if indent > 8 || !(opens || declares) || before.contains(['=', '"', '\'']) {
        return None;
    }
    let name = before.rsplit(|c: char| !super::source::is_word(c)).next()?;
    let first = before.split(|c: char| !super::source::is_word(c)).next()?;
    let typed = before.trim_end().len() > name.len();
    // Within a class of a script, a method's name stands alone.
    let methods = family == Family::Script && indent > 0;
    let wanted = !name.is_empty() && !CONTROL.contains(&name) && !CONTROL.contains(&first);
    (wanted && (methods || (typed && family == Family::Braces))).then(|| name.to_owned())
}

/// What a statement of SQL creates.
fn created(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    if !words.next()?.eq_ignore_ascii_case("create") {
        return None;
    }
    const KINDS: [&str; 7] = [
        "table",
        "view",
        "function",
        "procedure",
        "index",
        "trigger",
        "type",
    ];
    words.find(|word| KINDS.iter().any(|kind| word.eq_ignore_ascii_case(kind)))?;
    const FILLING: [&str; 3] = ["if", "not", "exists"];
    let name = words.find(|word| {
        !FILLING
            .iter()
            .any(|filling| word.eq_ignore_ascii_case(filling))
    })?;
    let name = name.split(['(', ';']).next().unwrap_or_default();
    Some(name.trim_matches(['"', '`']).to_owned())
}

/// A line as a map shows it.
fn shown(line: &str) -> String {
    let line = line.trim_end().trim_end_matches('{').trim_end();
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &str, text: &str) -> Vec<(usize, String)> {
        let found = outline(path, text).into_iter();
        found.map(|d| (d.line, d.name)).collect()
    }

    #[test]
    fn definitions_of_many_languages_are_found_with_their_lines() {
        let cases: [(&str, &str, &[&str]); 12] = [
            (
                "a.rs",
                "//! fn no\nuse a::b;\npub(crate) const fn two() {}\nimpl<T> A for B {\n    pub async fn three(&self) {\n        if x(1) {}\n    }\n}\nstatic mut FOUR: u8 = 1;\nmacro_rules! five {\n",
                &["two", "", "three", "FOUR", "five"],
            ),
            (
                "a.py",
                "# def no\nclass One(Base):\n    async def two(self):\n        return three(1)\n",
                &["One", "two"],
            ),
            (
                "a.ts",
                "export default class One {\n  two(a: number) {\n    if (a) {\n    }\n  }\n}\nexport const three = async (x) => {\nconst no = 4;\nexports.four = function () {\n",
                &["One", "two", "three", "four"],
            ),
            (
                "a.go",
                "func (r *One) Two(a int) error {\ntype Three struct {\n",
                &["Two", "Three"],
            ),
            (
                "a.c",
                "#define ONE 1\nstatic int two(const char *a) {\n    return three(a);\n}\nint four(void);\n  else if (a) {\n",
                &["ONE", "two", "four"],
            ),
            (
                "A.java",
                "public final class A {\n    public static void main(String[] a) {\n        for (int i : a) {\n    }\n",
                &["A", "main"],
            ),
            ("a.rb", "module One\n  def self.two(a)\n", &["One", "two"]),
            (
                "a.lua",
                "local function one(a)\nfunction M.two(a)\n",
                &["one", "two"],
            ),
            ("a.sh", "one() {\nfunction two {\n", &["one", "two"]),
            (
                "a.sql",
                "CREATE TABLE IF NOT EXISTS one (\ncreate or replace view two as\n",
                &["one", "two"],
            ),
            ("a.md", "# One\n```\n# no\n```\n## Two\n#no\n", &["", ""]),
            ("a.toml", "[one]\nkey = [1]\n", &[""]),
        ];
        for (path, text, wanted) in cases {
            let found: Vec<String> = names(path, text)
                .into_iter()
                .map(|(_, name)| name)
                .collect();
            assert_eq!(found, wanted, "{path}");
        }
        assert_eq!(names("a.py", "\n\ndef f():\n"), [(3, "f".to_owned())]);
        let long = format!("def f({}):", "a, ".repeat(60));
        assert_eq!(outline("a.py", &long)[0].text.chars().count(), SHOWN + 1);
    }
}
