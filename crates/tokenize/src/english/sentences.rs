//! Sentences, so that a voice says one at a time.

use super::tables::LEADING;

/// The sentences of a text, in their order, without the spaces around them. A line that is empty ends one as well.
pub fn sentences(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut from = 0;
        let mut letters = line.char_indices().peekable();
        while let Some((at, letter)) = letters.next() {
            if !matches!(letter, '.' | '!' | '?' | '…' | '。' | '！' | '？') {
                continue;
            }
            let mut end = at + letter.len_utf8();
            // What closes belongs to the sentence.
            while let Some(&(next, closing)) = letters.peek() {
                if !matches!(
                    closing,
                    '.' | '!' | '?' | '…' | '"' | '”' | '’' | '\'' | ')' | ']'
                ) {
                    break;
                }
                end = next + closing.len_utf8();
                letters.next();
            }
            if ends(&line[from..at], letter, &line[end..]) {
                push(&mut found, &line[from..end]);
                from = end;
            }
        }
        push(&mut found, &line[from..]);
    }
    found
}

fn push<'a>(found: &mut Vec<&'a str>, text: &'a str) {
    let text = text.trim();
    if text.chars().any(char::is_alphanumeric) {
        found.push(text);
    }
}

/// Whether a sentence ends with `mark`: no title, initial or abbreviation stands before a full stop, and what follows
/// does not go on in small letters.
fn ends(before: &str, mark: char, after: &str) -> bool {
    if !after.is_empty() && !after.starts_with(char::is_whitespace) && mark.is_ascii() {
        return false;
    }
    let Some(next) = after.trim_start().chars().next() else {
        return true;
    };
    if mark == '.' {
        if next.is_lowercase() {
            return false;
        }
        let word = before
            .rsplit([' ', '(', '"', '“', '\''])
            .next()
            .unwrap_or("");
        let initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase);
        return !(LEADING.contains(&word) || initial);
    }
    !next.is_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_where_people_end_them() {
        let text = "Dr. Smith came at 5.30 p.m. today. \"Really?\" he said. Yes! J. K. Rowling… wrote it (twice.) And\n\nthen no stop";
        assert_eq!(
            sentences(text),
            [
                "Dr. Smith came at 5.30 p.m. today.",
                "\"Really?\" he said.",
                "Yes!",
                "J. K. Rowling… wrote it (twice.)",
                "And",
                "then no stop",
            ]
        );
        assert_eq!(sentences("  \n ... \n"), Vec::<&str>::new());
        assert_eq!(
            sentences("See example.com for more."),
            ["See example.com for more."]
        );
    }
}
