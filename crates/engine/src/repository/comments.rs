//! Which of a line is code, and which is comment or text.

use super::outline::Family;

/// What each byte of a line is: code, or comment and text.
pub(super) struct Kinds {
    family: Family,
    /// What ends what the line before has begun.
    open: Option<&'static str>,
}

impl Kinds {
    pub(super) fn new(family: Family) -> Self {
        Self { family, open: None }
    }

    /// For each byte of a line whether it is code.
    pub(super) fn of_line(&mut self, line: &str) -> Vec<bool> {
        if self.family == Family::Markdown {
            return vec![false; line.len()];
        }
        let pairs: &[(&str, &'static str)] = match self.family {
            Family::Python => &[("\"\"\"", "\"\"\""), ("'''", "'''")],
            Family::Rust | Family::Script | Family::Go | Family::Braces => &[("/*", "*/")],
            _ => &[],
        };
        let mut code = vec![true; line.len()];
        let mut at = 0;
        while at < line.len() {
            let rest = &line[at..];
            let (length, ends) = if let Some(end) = self.open {
                match rest.find(end) {
                    Some(found) => {
                        self.open = None;
                        (found + end.len(), true)
                    }
                    None => (rest.len(), true),
                }
            } else if let Some((begin, end)) =
                pairs.iter().find(|(begin, _)| rest.starts_with(begin))
            {
                self.open = Some(*end);
                (begin.len(), true)
            } else if self
                .family
                .comment()
                .is_some_and(|sign| rest.starts_with(sign))
            {
                (rest.len(), true)
            } else if rest.starts_with(['"', '\'']) {
                (quoted(rest, self.family), true)
            } else {
                (rest.chars().next().map_or(1, char::len_utf8), false)
            };
            if ends {
                code[at..at + length].fill(false);
            }
            at += length;
        }
        code
    }
}

/// The length of a text in quotation marks that ends on its line; of one that does not, of its mark.
fn quoted(rest: &str, family: Family) -> usize {
    let mark = if rest.starts_with('"') { '"' } else { '\'' };
    if family == Family::Rust && mark == '\'' {
        // A lifetime, or one character.
        let one = rest
            .chars()
            .nth(1)
            .filter(|c| *c != '\\')
            .map(char::len_utf8);
        let end = match one {
            Some(length) => Some(1 + length).filter(|&at| rest[at..].starts_with('\'')),
            None => rest
                .get(3..)
                .and_then(|more| more.find('\''))
                .map(|at| at + 3)
                .filter(|at| *at < 14),
        };
        return end.map_or(1, |at| at + 1);
    }
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == mark => return at + 1,
            '\n' => return 1,
            _ => {}
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_texts_are_told_from_code() {
        let seen = |family: Family, line: &str| -> String {
            let kinds = Kinds::new(family).of_line(line);
            line.bytes()
                .zip(kinds)
                .map(|(byte, code)| if code { char::from(byte) } else { '_' })
                .collect()
        };
        assert_eq!(seen(Family::Python, "a = 'b' # c"), "a = ___ ___");
        assert_eq!(
            seen(Family::Rust, "x('\\'', &'a str) // c"),
            "x(____, &_a str) ____"
        );
        assert_eq!(seen(Family::Script, "a /* b */ c"), "a _______ c");
        let mut kinds = Kinds::new(Family::Python);
        kinds.of_line("\"\"\"begin\n");
        assert!(kinds.of_line("within").iter().all(|code| !code));
        kinds.of_line("end\"\"\"\n");
        assert!(kinds.of_line("code").iter().all(|code| *code));
    }
}
