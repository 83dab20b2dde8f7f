//! llama.cpp's GBNF grammars, read and written again as Lark.
//!
//! The syntax is that of llama.cpp's `grammars/README.md`: rules `name ::= alternatives`, literals,
//! character classes, `.`, groups, `* + ? {m} {m,} {m,n}`, tokens as `<name>` or `<[id]>`.

mod lark;
mod parse;

use crate::SamplingError;

/// Whether a grammar is written in GBNF: some line defines a rule with `::=`.
pub(super) fn is_gbnf(grammar: &str) -> bool {
    grammar.lines().any(|line| {
        let line = line.trim_start();
        let rest = line.trim_start_matches(is_name);
        rest.len() < line.len() && rest.trim_start().starts_with("::=")
    })
}

/// The same language in llguidance's form of Lark.
///
/// # Errors
/// The first thing that is wrong, with its line and column.
pub(super) fn to_lark(grammar: &str) -> Result<String, SamplingError> {
    parse::parse(grammar).map(|grammar| lark::write(&grammar))
}

/// What a rule's name is made of.
fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

/// A grammar whose references all lead to a rule.
#[derive(Debug)]
struct Grammar {
    rules: Vec<Rule>,
    /// The rule `root`.
    root: usize,
}

#[derive(Debug)]
struct Rule {
    name: String,
    body: Node,
}

/// What a rule is made of.
#[derive(Debug, PartialEq)]
enum Node {
    Literal(String),
    /// One character inside, or when negated outside, the ranges.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// Any one character.
    Any,
    /// A special token, with its angle brackets.
    Token(String),
    /// Another rule, by its place.
    Reference(usize),
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    Repeat(Box<Node>, u32, Option<u32>),
}
