use std::collections::HashMap;

use super::{Grammar, Node, Rule, is_name};
use crate::SamplingError;
use crate::constraint::DEEPEST_NESTING;

/// Finding out which rules contain themselves takes time with the square of their number.
const MOST_RULES: usize = 10_000;
/// The highest count in braces.
const HIGHEST_COUNT: u32 = 100_000;

/// Reads a grammar.
pub(super) fn parse(text: &str) -> Result<Grammar, SamplingError> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
        names: HashMap::new(),
        rules: Vec::new(),
    };
    parser.space(true);
    while parser.at < text.len() {
        parser.rule()?;
        parser.space(true);
    }
    parser.finish()
}

struct Parser<'a> {
    text: &'a str,
    /// Offset in bytes, always at a character's start.
    at: usize,
    depth: usize,
    names: HashMap<&'a str, usize>,
    /// Name, place of the first mention, and body once it is defined.
    rules: Vec<(&'a str, usize, Option<Node>)>,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take(&mut self, wanted: &str) -> bool {
        let found = self.rest().starts_with(wanted);
        self.at += if found { wanted.len() } else { 0 };
        found
    }

    fn fail<T>(&self, at: usize, reason: impl Into<String>) -> Result<T, SamplingError> {
        let before = &self.text[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
        Err(SamplingError::Grammar {
            place: format!("line {line}, column {column}"),
            reason: reason.into(),
        })
    }

    /// Skips blanks and comments, and line breaks where they do not end a rule.
    fn space(&mut self, breaks: bool) {
        loop {
            match self.peek() {
                Some(' ' | '\t') => self.at += 1,
                Some('\r' | '\n') if breaks => self.at += 1,
                Some('#') => {
                    let end = self.rest().find(['\r', '\n']);
                    self.at += end.unwrap_or(self.rest().len());
                }
                _ => return,
            }
        }
    }

    fn name(&mut self) -> &'a str {
        let rest = self.rest();
        let name = &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())];
        self.at += name.len();
        name
    }

    /// The place of a rule that is defined or mentioned at `at`.
    fn place(&mut self, name: &'a str, at: usize) -> usize {
        let next = self.rules.len();
        let place = *self.names.entry(name).or_insert(next);
        if place == next {
            self.rules.push((name, at, None));
        }
        place
    }

    fn rule(&mut self) -> Result<(), SamplingError> {
        let start = self.at;
        let name = self.name();
        if name.is_empty() {
            return self.fail(start, "a rule must begin with its name");
        }
        self.space(false);
        if !self.take("::=") {
            return self.fail(self.at, format!("`::=` must follow the name {name:?}"));
        }
        self.space(true);
        let body = self.choice(false)?;
        if !matches!(self.peek(), None | Some('\r' | '\n')) {
            let c = self.peek().unwrap_or(' ');
            return self.fail(self.at, format!("{c:?} is not expected here"));
        }
        let place = self.place(name, start);
        if self.rules[place].2.replace(body).is_some() {
            return self.fail(start, format!("the rule {name:?} is defined a second time"));
        }
        Ok(())
    }

    fn choice(&mut self, nested: bool) -> Result<Node, SamplingError> {
        let mut branches = vec![self.sequence(nested)?];
        while self.take("|") {
            self.space(true);
            branches.push(self.sequence(nested)?);
        }
        Ok(match branches.pop() {
            Some(only) if branches.is_empty() => only,
            last => {
                branches.extend(last);
                Node::Choice(branches)
            }
        })
    }

    fn sequence(&mut self, nested: bool) -> Result<Node, SamplingError> {
        let mut parts = Vec::new();
        while let Some(part) = self.atom()? {
            self.space(nested);
            let part = self.repetition(part, nested)?;
            parts.push(part);
        }
        Ok(match parts.pop() {
            Some(only) if parts.is_empty() => only,
            last => {
                parts.extend(last);
                Node::Sequence(parts)
            }
        })
    }

    /// The next element, or nothing where a sequence ends.
    fn atom(&mut self) -> Result<Option<Node>, SamplingError> {
        let start = self.at;
        let node = match self.peek() {
            Some('"') => self.literal()?,
            Some('[') => self.class()?,
            Some('.') => {
                self.at += 1;
                Node::Any
            }
            Some('<') => self.token()?,
            Some('!') => return self.fail(start, "negated tokens are not supported"),
            Some('(') => {
                self.at += 1;
                self.depth += 1;
                if self.depth > DEEPEST_NESTING {
                    let reason = format!("groups nest deeper than {DEEPEST_NESTING}");
                    return self.fail(start, reason);
                }
                self.space(true);
                let group = self.choice(true)?;
                if !self.take(")") {
                    return self.fail(start, "the group that begins here is not closed by `)`");
                }
                self.depth -= 1;
                group
            }
            Some(c) if is_name(c) => {
                let name = self.name();
                Node::Reference(self.place(name, start))
            }
            _ => return Ok(None),
        };
        Ok(Some(node))
    }

    fn repetition(&mut self, mut node: Node, nested: bool) -> Result<Node, SamplingError> {
        loop {
            let (min, max) = match self.peek() {
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('?') => (0, Some(1)),
                Some('{') => self.counts()?,
                _ => return Ok(node),
            };
            self.at += 1;
            self.space(nested);
            node = Node::Repeat(Box::new(node), min, max);
        }
    }

    /// `{m}`, `{m,}` or `{m,n}`, up to the closing brace.
    fn counts(&mut self) -> Result<(u32, Option<u32>), SamplingError> {
        let start = self.at;
        self.at += 1;
        self.space(false);
        let min = self.count()?;
        self.space(false);
        let mut max = Some(min);
        if self.take(",") {
            self.space(false);
            max = None;
            if self.peek() != Some('}') {
                max = Some(self.count()?);
                self.space(false);
            }
        }
        if self.peek() != Some('}') {
            return self.fail(start, "a count is written {m}, {m,} or {m,n}");
        }
        if max.is_some_and(|max| max < min) {
            return self.fail(start, "the second count is lower than the first");
        }
        Ok((min, max))
    }

    fn count(&mut self) -> Result<u32, SamplingError> {
        let start = self.at;
        let digits = self.rest().len()
            - self
                .rest()
                .trim_start_matches(|c: char| c.is_ascii_digit())
                .len();
        let number = self.rest()[..digits].parse().ok();
        self.at += digits;
        match number {
            Some(number) if number <= HIGHEST_COUNT => Ok(number),
            _ => self.fail(
                start,
                format!("a count is a number of 0 to {HIGHEST_COUNT}"),
            ),
        }
    }

    fn literal(&mut self) -> Result<Node, SamplingError> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.peek() {
                Some('"') => {
                    self.at += 1;
                    return Ok(Node::Literal(text));
                }
                None | Some('\n') => {
                    return self.fail(start, "the literal that begins here is not closed by `\"`");
                }
                Some(_) => text.push(self.character()?),
            }
        }
    }

    fn class(&mut self) -> Result<Node, SamplingError> {
        let start = self.at;
        self.at += 1;
        let negated = self.take("^");
        let mut ranges = Vec::new();
        while !self.take("]") {
            if matches!(self.peek(), None | Some('\n')) {
                return self.fail(start, "the class that begins here is not closed by `]`");
            }
            let from = self.at;
            let low = self.character()?;
            let mut high = low;
            let rest = self.rest();
            if rest.starts_with('-') && !rest.starts_with("-]") {
                self.at += 1;
                high = self.character()?;
            }
            if high < low {
                return self.fail(from, format!("the range {low:?} to {high:?} is empty"));
            }
            ranges.push((low, high));
        }
        if ranges.is_empty() {
            return self.fail(start, "a class must name at least one character");
        }
        Ok(Node::Class { negated, ranges })
    }

    fn token(&mut self) -> Result<Node, SamplingError> {
        let start = self.at;
        let token = self.rest().find('>').map(|end| &self.rest()[..=end]);
        match token {
            Some(token) if token.len() > 2 && !token.contains(char::is_whitespace) => {
                self.at += token.len();
                Ok(Node::Token(token.to_owned()))
            }
            _ => self.fail(start, "a token is written <name> or <[id]>"),
        }
    }

    /// One character of a literal or class, escaped or not.
    fn character(&mut self) -> Result<char, SamplingError> {
        let start = self.at;
        let plain = self.next();
        if plain != Some('\\') {
            return plain.map_or_else(|| self.fail(start, "a character is missing"), Ok);
        }
        let digits = match self.next() {
            Some('n') => return Ok('\n'),
            Some('r') => return Ok('\r'),
            Some('t') => return Ok('\t'),
            Some(c @ ('\\' | '"' | '[' | ']' | '-' | '^')) => return Ok(c),
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => {
                let known = r#"\n \r \t \\ \" \[ \] \xHH \uHHHH \UHHHHHHHH"#;
                return self.fail(start, format!("unknown escape: there are {known}"));
            }
        };
        let code = self.rest().get(..digits);
        let code = code.filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = code.and_then(|code| u32::from_str_radix(code, 16).ok());
        match code.and_then(char::from_u32) {
            Some(c) => {
                self.at += digits;
                Ok(c)
            }
            None => self.fail(
                start,
                format!("{digits} hexadecimal digits of a character must follow"),
            ),
        }
    }

    fn finish(self) -> Result<Grammar, SamplingError> {
        for (name, at, body) in &self.rules {
            if body.is_none() {
                return self.fail(*at, format!("the rule {name:?} is not defined"));
            }
        }
        if self.rules.len() > MOST_RULES {
            return self.fail(self.at, format!("there are more than {MOST_RULES} rules"));
        }
        let Some(&root) = self.names.get("root") else {
            return self.fail(0, "there is no rule \"root\", with which the text begins");
        };
        let rules = self.rules.into_iter().map(|(name, _, body)| Rule {
            name: name.to_owned(),
            body: body.unwrap_or(Node::Sequence(Vec::new())),
        });
        Ok(Grammar {
            rules: rules.collect(),
            root,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(grammar: &str) -> String {
        parse(grammar).unwrap_err().to_string()
    }

    #[test]
    fn reads_every_form() {
        let grammar = parse(
            "# a comment\nroot ::= (\"a\\n\\x41\\u00e9\\U0001F600\" | [^a-c\\]-] \n  | .)* item{2,3} <|end|>\n\
             item ::=\n  \"x\" | # another\n  \"\"\n",
        )
        .unwrap();
        assert_eq!(grammar.rules[grammar.root].name, "root");
        let choice = Node::Choice(vec![
            Node::Literal("a\nAé😀".into()),
            Node::Class {
                negated: true,
                ranges: vec![('a', 'c'), (']', ']'), ('-', '-')],
            },
            Node::Any,
        ]);
        let Node::Sequence(parts) = &grammar.rules[grammar.root].body else {
            panic!("root is a sequence");
        };
        assert_eq!(parts[0], Node::Repeat(Box::new(choice), 0, None));
        let Node::Repeat(item, 2, Some(3)) = &parts[1] else {
            panic!("item is repeated");
        };
        let Node::Reference(item) = **item else {
            panic!("item is a rule");
        };
        assert_eq!(
            grammar.rules[item].body,
            Node::Choice(vec![
                Node::Literal("x".into()),
                Node::Literal(String::new())
            ])
        );
        assert_eq!(parts[2], Node::Token("<|end|>".into()));
    }

    #[test]
    fn errors_name_line_and_column() {
        assert_eq!(
            error("root ::= \"a\"\nb = \"c\""),
            "the grammar is wrong at line 2, column 3: `::=` must follow the name \"b\""
        );
        assert!(error("root ::= nothing").contains("line 1, column 10: the rule \"nothing\""));
        assert!(error("a ::= \"b\"").contains("no rule \"root\""));
        assert!(error("root ::= \"a").contains("column 10: the literal"));
        assert!(error("root ::= [a").contains("the class"));
        assert!(error("root ::= []").contains("at least one"));
        assert!(error("root ::= [z-a]").contains("column 11: the range"));
        assert!(error("root ::= (\"a\"").contains("the group"));
        assert!(error("root ::= \"a\")").contains("')' is not expected"));
        assert!(error("root ::= \"\\q\"").contains("unknown escape"));
        assert!(error("root ::= \"\\uD800\"").contains("hexadecimal"));
        assert!(error("root ::= \"a\"{3,1}").contains("lower than"));
        assert!(error("root ::= \"a\"{9999999}").contains("0 to 100000"));
        assert!(error("root ::= \"a\"\nroot ::= \"b\"").contains("second time"));
        assert!(error(&format!("root ::= {}", "(".repeat(100_000))).contains("deeper than"));
    }

    #[test]
    fn no_text_makes_it_panic() {
        let full =
            "root ::= (\"a\\n\\x41\" | [^a-c] | .)* item{2,3} <|e|>\nitem ::= é \"\\u00e9\" # c\né";
        for end in (0..full.len()).filter(|&end| full.is_char_boundary(end)) {
            let _ = parse(&full[..end]);
            let _ = parse(&full[end..]);
        }
    }
}
