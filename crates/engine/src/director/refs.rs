//! What texts of a plan say of other works: `@ID`, `@ID.PART`, `@ID.PART.N`.

/// The ids that a text names behind `@`, whether they are works or not.
pub fn ids(text: &str) -> Vec<String> {
    pieces(text)
        .filter_map(|piece| match piece {
            Piece::Ref(name) => Some(name.split('.').next().unwrap_or("").to_owned()),
            Piece::Plain(_) => None,
        })
        .collect()
}

/// The text with what `say` gives for each reference; one that it does not know stays as it is.
pub fn fill(text: &str, say: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    for piece in pieces(text) {
        match piece {
            Piece::Plain(plain) => out.push_str(plain),
            Piece::Ref(name) => match say(name) {
                Some(said) => out.push_str(&said),
                None => {
                    out.push('@');
                    out.push_str(name);
                }
            },
        }
    }
    out
}

enum Piece<'t> {
    Plain(&'t str),
    /// Without its `@`.
    Ref(&'t str),
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut parts = text.split('@');
    let first = parts.next().unwrap_or("");
    let mut before = first.chars().next_back();
    let mut out = vec![Piece::Plain(first)];
    for part in parts {
        let of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        let end = part.find(|c| !of_name(c)).unwrap_or(part.len());
        // A full stop behind a reference ends the sentence.
        let name = part[..end].trim_end_matches(['.', '-']);
        // What stands behind a letter is an address: somebody@example.org.
        let address = before.is_some_and(char::is_alphanumeric);
        if name.is_empty() || address {
            out.push(Piece::Plain("@"));
            out.push(Piece::Plain(part));
        } else {
            out.push(Piece::Ref(name));
            out.push(Piece::Plain(&part[name.len()..]));
        }
        before = part.chars().next_back();
    }
    out.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_and_filled() {
        assert_eq!(
            ids("Say @copy.headline. Then @script, not me@copy.org or @ 5"),
            ["copy", "script"]
        );
        let say = |name: &str| (name == "copy.list.2").then(|| "two".to_owned());
        assert_eq!(
            fill("one, @copy.list.2. @nobody a@b @", &say),
            "one, two. @nobody a@b @"
        );
    }
}
