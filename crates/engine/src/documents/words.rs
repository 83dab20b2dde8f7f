//! Words of questions and texts, as they are compared: lower case, without endings, without those that say nothing.

/// Words that stand in every text.
const STOP: &[&str] = &[
    "a", "about", "after", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be",
    "been", "before", "being", "but", "by", "can", "could", "did", "do", "does", "doing", "don",
    "for", "from", "get", "gets", "had", "has", "have", "having", "he", "her", "his", "how", "i",
    "if", "in", "into", "is", "it", "its", "just", "let", "may", "me", "might", "mine", "more",
    "most", "must", "my", "no", "not", "now", "of", "off", "on", "one", "only", "or", "our", "out",
    "own", "please", "s", "say", "shall", "she", "should", "so", "some", "such", "t", "tell",
    "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those",
    "to", "too", "up", "us", "very", "want", "was", "way", "we", "were", "what", "when", "where",
    "which", "while", "who", "whom", "whose", "why", "will", "with", "would", "you", "your",
];

/// Whether a word, in lower case, says nothing by itself.
pub fn is_stop(word: &str) -> bool {
    STOP.binary_search(&word).is_ok()
}

/// The words of a text in lower case, split as the index splits them.
pub fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// The words of a text that say something, without their endings.
pub fn terms(text: &str) -> Vec<String> {
    let said = words(text).filter(|word| !is_stop(word));
    said.map(|word| stem(&word)).collect()
}

/// An English word without the endings of its forms: near enough to tell whether two forms are of one word.
pub fn stem(word: &str) -> String {
    if word.len() < 4 || !word.is_ascii() {
        return word.to_owned();
    }
    let mut stem = word;
    for (ending, least) in [
        ("ization", 4),
        ("ations", 4),
        ("ation", 4),
        ("ments", 4),
        ("ment", 4),
        ("ingly", 4),
        ("ings", 3),
        ("ions", 4),
        ("ing", 3),
        ("ion", 4),
        ("ies", 3),
        ("ied", 3),
        ("ers", 3),
        ("ed", 3),
        ("er", 4),
        ("es", 3),
        ("ly", 4),
        ("s", 3),
        ("e", 3),
        ("y", 3),
    ] {
        if let Some(rest) = stem.strip_suffix(ending)
            && rest.len() >= least
            && !(ending == "s" && rest.ends_with('s'))
        {
            stem = rest;
            break;
        }
    }
    // Doubled before an ending: `stopped`, `running`.
    let bytes = stem.as_bytes();
    let doubled = matches!(bytes, [.., a, b] if a == b && !b"aeiouls".contains(b));
    let stem = if doubled {
        &stem[..stem.len() - 1]
    } else {
        stem
    };
    stem.strip_suffix('e')
        .filter(|rest| rest.len() > 3)
        .unwrap_or(stem)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_word_have_one_stem() {
        assert!(STOP.is_sorted());
        for forms in [
            &[
                "encrypt",
                "encrypted",
                "encrypting",
                "encryption",
                "encrypts",
            ][..],
            &["delete", "deleted", "deleting", "deletes"],
            &["repository", "repositories"],
            &["archive", "archives", "archived", "archiving"],
            &["stop", "stopped", "stopping", "stops"],
        ] {
            let stems: Vec<String> = forms.iter().map(|form| stem(form)).collect();
            assert!(stems.iter().all(|s| *s == stems[0]), "{stems:?}");
        }
        assert_eq!(
            terms("How do I restore Deleted files?"),
            [stem("restore"), stem("deleted"), stem("files")]
        );
    }
}
