//! Personal data in what visitors write, masked before it is kept.

/// Digits that make a run of them a number of a person: telephones, cards, accounts.
const DIGITS: usize = 7;

/// A text with mail addresses, telephone, card and account numbers masked. What only looks like one is masked as well.
pub fn masked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let space = rest.len() - rest.trim_start().len();
        out.push_str(&rest[..space]);
        rest = &rest[space..];
        if let Some(length) = number(rest) {
            out.push_str("[number]");
            rest = &rest[length..];
            continue;
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        out.push_str(&word(&rest[..end]));
        rest = &rest[end..];
    }
    out
}

/// A word, masked if it is an address, or has many digits.
fn word(word: &str) -> String {
    let is_sign = |c: char| !c.is_alphanumeric();
    let bare = word.trim_matches(is_sign);
    let mail = bare
        .split_once('@')
        .is_some_and(|(name, host)| !name.is_empty() && host.contains('.'));
    let digits = bare.chars().filter(char::is_ascii_digit).count();
    let with = if mail {
        "[mail]"
    } else if digits >= DIGITS {
        "[number]"
    } else {
        return word.to_owned();
    };
    word.replace(bare, with)
}

/// The length of a number at the beginning of a text, its groups apart or not; nothing for one with few digits.
fn number(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    if !first.is_ascii_digit() && !"+(".contains(first) && !is_account(text) {
        return None;
    }
    let (mut digits, mut end) = (0, 0);
    for (at, sign) in text.char_indices() {
        if sign.is_ascii_digit() {
            digits += 1;
            end = at + 1;
        } else if !(" -/().+".contains(sign) || at < 2 && sign.is_ascii_uppercase()) {
            break;
        }
    }
    (digits >= DIGITS).then_some(end)
}

/// Whether a text begins as an IBAN: two letters and two digits.
fn is_account(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!(bytes, [a, b, c, d, ..] if a.is_ascii_uppercase() && b.is_ascii_uppercase() && c.is_ascii_digit() && d.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_numbers_are_masked_and_the_rest_stays() {
        for (text, wanted) in [
            (
                "Write to ada@example.org, please.",
                "Write to [mail], please.",
            ),
            ("Call +49 (30) 123 456-78 today", "Call [number] today"),
            ("My card is 4111 1111 1111 1111.", "My card is [number]."),
            (
                "IBAN DE89 3704 0044 0532 0130 00 is mine",
                "IBAN [number] is mine",
            ),
            (
                "Order A123 of 2024 costs 15 euros",
                "Order A123 of 2024 costs 15 euros",
            ),
            ("a  b\n", "a  b\n"),
            ("", ""),
        ] {
            assert_eq!(masked(text), wanted);
        }
    }
}
