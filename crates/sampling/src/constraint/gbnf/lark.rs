use std::fmt::Write;

use super::{Grammar, Node};

/// Writes a grammar as Lark.
///
/// GBNF knows only characters, Lark distinguishes rules from terminals, and a terminal takes as
/// much text as it can. So each stretch of a rule that is regular (that leads to no rule which
/// contains itself) becomes one terminal, as large as possible: inside it nothing is lost, and
/// there are few seams where taking as much as possible could exclude a text.
pub(super) fn write(grammar: &Grammar) -> String {
    let mut writer = Writer {
        grammar,
        regular: regular_rules(grammar),
        terminals: String::new(),
        pieces: 0,
    };
    let mut rules = format!(
        "start: {}\n",
        writer.rule_text(&Node::Reference(grammar.root))
    );
    for (place, rule) in grammar.rules.iter().enumerate() {
        let name = writer.name(place);
        if writer.regular[place] {
            let body = writer.terminal_text(&rule.body);
            let _ = writeln!(writer.terminals, "{name}: {body}");
        } else {
            let body = writer.rule_text(&rule.body);
            let _ = writeln!(rules, "{name}: {body}");
        }
    }
    rules + &writer.terminals
}

/// Which rules lead to no special token and to no rule that contains itself.
fn regular_rules(grammar: &Grammar) -> Vec<bool> {
    let mut regular = vec![false; grammar.rules.len()];
    loop {
        let before = regular.iter().filter(|&&r| r).count();
        for (place, rule) in grammar.rules.iter().enumerate() {
            regular[place] |= is_regular(&rule.body, &regular);
        }
        if regular.iter().filter(|&&r| r).count() == before {
            return regular;
        }
    }
}

fn is_regular(node: &Node, rules: &[bool]) -> bool {
    match node {
        Node::Literal(_) | Node::Class { .. } | Node::Any => true,
        Node::Token(_) => false,
        Node::Reference(place) => rules[*place],
        Node::Sequence(nodes) | Node::Choice(nodes) => nodes.iter().all(|n| is_regular(n, rules)),
        Node::Repeat(node, ..) => is_regular(node, rules),
    }
}

struct Writer<'a> {
    grammar: &'a Grammar,
    regular: Vec<bool>,
    terminals: String,
    pieces: usize,
}

impl Writer<'_> {
    /// Lark's names of terminals are in capitals, those of rules are not.
    fn name(&self, place: usize) -> String {
        let name = self.grammar.rules[place].name.replace('-', "_");
        if self.regular[place] {
            format!("R{place}_{}", name.to_ascii_uppercase())
        } else {
            format!("r{place}_{}", name.to_ascii_lowercase())
        }
    }

    /// A regular stretch as a terminal of its own.
    fn piece(&mut self, nodes: &[Node]) -> String {
        if let [Node::Reference(place)] = nodes {
            return self.name(*place);
        }
        let texts: Vec<String> = nodes.iter().map(|node| self.terminal_text(node)).collect();
        self.pieces += 1;
        let name = format!("P{}", self.pieces);
        let _ = writeln!(self.terminals, "{name}: {}", texts.join(" "));
        name
    }

    fn rule_text(&mut self, node: &Node) -> String {
        if is_regular(node, &self.regular) {
            return self.piece(std::slice::from_ref(node));
        }
        match node {
            Node::Sequence(nodes) => {
                let regular = &self.regular;
                let stretches: Vec<(bool, &[Node])> = nodes
                    .chunk_by(|a, b| is_regular(a, regular) && is_regular(b, regular))
                    .map(|stretch| (is_regular(&stretch[0], regular), stretch))
                    .collect();
                let texts: Vec<String> = stretches
                    .into_iter()
                    .map(|(regular, stretch)| match stretch {
                        [single] if !regular => self.rule_text(single),
                        stretch => self.piece(stretch),
                    })
                    .collect();
                texts.join(" ")
            }
            Node::Choice(nodes) => {
                let texts: Vec<String> = nodes.iter().map(|node| self.rule_text(node)).collect();
                format!("({})", texts.join(" | "))
            }
            Node::Repeat(node, min, max) => repeat(&self.rule_text(node), *min, *max),
            Node::Reference(place) => self.name(*place),
            Node::Token(token) => token.clone(),
            Node::Literal(_) | Node::Class { .. } | Node::Any => self.terminal_text(node),
        }
    }

    fn terminal_text(&self, node: &Node) -> String {
        match node {
            Node::Literal(text) => quote(text),
            Node::Class { negated, ranges } => class(*negated, ranges),
            Node::Any => "/(?s:.)/".into(),
            Node::Token(token) => token.clone(),
            Node::Reference(place) => self.name(*place),
            Node::Sequence(nodes) if nodes.is_empty() => quote(""),
            Node::Sequence(nodes) => {
                let texts: Vec<String> =
                    nodes.iter().map(|node| self.terminal_text(node)).collect();
                texts.join(" ")
            }
            Node::Choice(nodes) => {
                let texts: Vec<String> =
                    nodes.iter().map(|node| self.terminal_text(node)).collect();
                format!("({})", texts.join(" | "))
            }
            Node::Repeat(node, min, max) => repeat(&self.terminal_text(node), *min, *max),
        }
    }
}

fn repeat(text: &str, min: u32, max: Option<u32>) -> String {
    match (min, max) {
        (_, Some(0)) => quote(""),
        (0, None) => format!("({text})*"),
        (1, None) => format!("({text})+"),
        (0, Some(1)) => format!("({text})?"),
        (min, None) => format!("({text}){{{min},}}"),
        (min, Some(max)) => format!("({text}){{{min},{max}}}"),
    }
}

/// A literal in JSON's syntax, which Lark's is.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        let _ = match c {
            '"' | '\\' => write!(quoted, "\\{c}"),
            c if c.is_ascii_control() => write!(quoted, "\\u{:04x}", u32::from(c)),
            c => write!(quoted, "{c}"),
        };
    }
    quoted + "\""
}

fn class(negated: bool, ranges: &[(char, char)]) -> String {
    let mut text = String::from(if negated { "/[^" } else { "/[" });
    for &(low, high) in ranges {
        let _ = write!(
            text,
            "\\u{{{:x}}}-\\u{{{:x}}}",
            u32::from(low),
            u32::from(high)
        );
    }
    text + "]/"
}
