//! Words and marks, cut as taggers know them: contractions in two, marks by themselves.

/// A piece of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Token {
    pub text: String,
    /// Part of speech.
    pub tag: String,
    /// Whether a space follows.
    pub space: bool,
    /// What a mark is spoken as; none for words.
    pub mark: Option<String>,
}

/// Endings that taggers know as words.
const CONTRACTED: [&str; 7] = ["n't", "'s", "'re", "'ve", "'ll", "'d", "'m"];

/// Cuts a text without digits and signs.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut out: Vec<Token> = Vec::new();
    let mut quoted = false;
    for chunk in text.split_whitespace() {
        let before = out.len();
        split(chunk, &mut quoted, &mut out);
        if let Some(last) = out[before..].last_mut() {
            last.space = true;
        }
    }
    if let Some(last) = out.last_mut() {
        last.space = false;
        // The full stop of an abbreviation ends the sentence as well.
        if last.mark.is_none() && last.text.ends_with('.') {
            out.push(Token {
                text: ".".to_owned(),
                mark: Some(".".to_owned()),
                ..Token::default()
            });
        }
    }
    out
}

fn split(chunk: &str, quoted: &mut bool, out: &mut Vec<Token>) {
    // Letters with full stops between: an abbreviation, whose last stop may end the sentence too.
    if is_dotted(chunk.trim_end_matches([',', ';', ':', '?', '!', ')', '"', '”'])) {
        let end = chunk.rfind('.').map_or(chunk.len(), |at| at + 1);
        words(&chunk[..end], out);
        marks(&chunk[end..], quoted, out);
        return;
    }
    let inside = |c: char| c.is_alphanumeric() || c == '\'' || c == '-' || c == '.' || c == '/';
    let mut rest = chunk;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !inside(c)).unwrap_or(rest.len());
        // Marks at the ends of a run are no part of a word.
        let run = &rest[..end];
        let (start, stop) = match run.find(char::is_alphanumeric) {
            Some(start) => {
                let stop = run.rfind(char::is_alphanumeric).unwrap_or(start);
                (
                    start,
                    stop + run[stop..].chars().next().map_or(0, char::len_utf8),
                )
            }
            None => (end, end),
        };
        marks(&run[..start], quoted, out);
        words(&run[start..stop], out);
        marks(&run[stop..], quoted, out);
        if let Some(mark) = rest[end..].chars().next() {
            marks(&rest[end..end + mark.len_utf8()], quoted, out);
            rest = &rest[end + mark.len_utf8()..];
        } else {
            rest = "";
        }
    }
}

/// "U.S.", "p.m.", "J." are.
fn is_dotted(text: &str) -> bool {
    let Some(body) = text.strip_suffix('.') else {
        return false;
    };
    let single = |part: &str| part.chars().count() == 1 && part.chars().all(char::is_alphabetic);
    body.contains('.') && body.split('.').all(single)
}

/// A run of letters: at hyphens, between letters and digits that are left, and before contracted endings.
fn words(run: &str, out: &mut Vec<Token>) {
    let mut word = |text: &str| {
        if !text.is_empty() {
            out.push(Token {
                text: text.to_owned(),
                ..Token::default()
            });
        }
    };
    let mut from = 0;
    for (at, c) in run.char_indices().filter(|(_, c)| matches!(c, '-' | '/')) {
        contracted(&run[from..at], &mut word);
        from = at + c.len_utf8();
        word(&run[at..from]);
    }
    contracted(&run[from..], &mut word);
}

fn contracted(text: &str, word: &mut impl FnMut(&str)) {
    let lower = text.to_ascii_lowercase();
    let cut = CONTRACTED
        .iter()
        .filter(|ending| lower.len() > ending.len() && lower.ends_with(**ending))
        .map(|ending| text.len() - ending.len())
        .find(|&at| text.is_char_boundary(at));
    match cut {
        Some(at) => {
            word(&text[..at]);
            word(&text[at..]);
        }
        None => word(text),
    }
}

/// Marks, one by one.
fn marks(text: &str, quoted: &mut bool, out: &mut Vec<Token>) {
    let mut last = ' ';
    for c in text.chars() {
        let spoken = match c {
            ',' | '.' | '!' | '?' | ';' | ':' | '…' | '—' | '“' | '”' | '(' | ')' => {
                c.to_string()
            }
            '"' => {
                *quoted = !*quoted;
                if *quoted { "“" } else { "”" }.to_owned()
            }
            '«' => "“".to_owned(),
            '»' => "”".to_owned(),
            '–' => "—".to_owned(),
            '-' if text == "-" || text == "--" => "—".to_owned(),
            '[' | '{' => "(".to_owned(),
            ']' | '}' => ")".to_owned(),
            '。' => ".".to_owned(),
            '、' | '，' => ",".to_owned(),
            '？' => "?".to_owned(),
            '！' => "!".to_owned(),
            _ => String::new(),
        };
        // Three full stops are one pause.
        let again = matches!(c, '.' | '-' | '!' | '?') && c == last;
        last = c;
        if again {
            if let (Some(token), '.') = (out.last_mut(), c) {
                token.mark = Some("…".to_owned());
            }
            continue;
        }
        out.push(Token {
            text: c.to_string(),
            mark: Some(spoken),
            ..Token::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<String> {
        tokens(text).into_iter().map(|t| t.text).collect()
    }

    #[test]
    fn words_are_cut_as_taggers_know_them() {
        assert_eq!(
            cut("Don't say \"it's\"."),
            ["Do", "n't", "say", "\"", "it", "'s", "\"", "."]
        );
        assert_eq!(
            cut("well-known, e.g. U.S."),
            ["well", "-", "known", ",", "e.g.", "U.S.", "."]
        );
        assert_eq!(
            cut("'tis rock 'n' roll..."),
            ["'", "tis", "rock", "'", "n", "'", "roll", "."]
        );
        assert_eq!(cut("(a)b"), ["(", "a", ")", "b"]);
        assert_eq!(cut("—"), ["—"]);
        assert!(cut(" ").is_empty());
    }

    #[test]
    fn quotes_open_and_close_and_stops_join() {
        let spoken: Vec<_> = tokens("\"a\" ... b")
            .into_iter()
            .filter_map(|t| t.mark)
            .collect();
        assert_eq!(spoken, ["“", "”", "…"]);
        assert!(tokens("a b")[0].space && !tokens("a b")[1].space);
    }
}
