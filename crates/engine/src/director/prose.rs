//! Pieces of prose: sentences, words, what is wrong with them.

use std::collections::HashSet;

/// Sentences as one text.
pub(super) fn joined(sentences: &[String]) -> String {
    sentences.join(" ")
}

/// The words of a text in small letters.
pub(super) fn plain_words(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '\''));
    let words = words.map(|word| {
        word.trim_matches('\'')
            .trim_end_matches("'s")
            .to_lowercase()
    });
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .into_iter()
}

/// Whether two texts share most of their words.
pub(super) fn shares(a: &str, b: &str) -> bool {
    let words = |text: &str| -> HashSet<String> {
        text.to_lowercase()
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| word.len() > 3)
            .map(str::to_owned)
            .collect()
    };
    let (a, b) = (words(a), words(b));
    let common = a.intersection(&b).count();
    common >= 2 && common * 5 >= a.len().min(b.len()) * 3
}

/// One line without quotation marks, markup, tags and doubled blanks.
pub(super) fn tidy(text: &str) -> String {
    let line = text
        .trim()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let text = line.collect::<Vec<_>>().join(" ");
    let text = text
        .replace("**", "")
        .replace(['“', '”', '"'], "")
        .replace('’', "'");
    let words = text
        .split_whitespace()
        .filter(|word| !word.starts_with('#'));
    let text = words.collect::<Vec<_>>().join(" ");
    text.trim_start_matches(['-', '*', '•', ' ']).to_owned()
}

/// Whole sentences; what is not ended is left out.
pub(super) fn sentences(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut from = 0;
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    for (number, &(at, c)) in chars.iter().enumerate() {
        let next = chars.get(number + 1).map(|&(_, c)| c);
        if ".!?".contains(c) && next.is_none_or(char::is_whitespace) {
            let sentence = text[from..at + c.len_utf8()].trim();
            if !sentence.is_empty() {
                found.push(sentence.to_owned());
            }
            from = at + c.len_utf8();
        }
    }
    found
}

/// A question and its answer, in two lines.
pub(super) fn question(text: &str) -> Option<String> {
    let (question, answer) = text.split_once('?')?;
    let answer = joined(&sentences(answer.trim()));
    if answer.is_empty() || question.split_whitespace().count() < 3 {
        return None;
    }
    Some(format!("{}?\n{answer}", question.trim()))
}

/// Whether a word is all capitals, which names of few letters may be, or a chain of words.
pub(super) fn shouts(word: &str) -> bool {
    word.matches('-').count() > 1 || word.chars().filter(|c| c.is_uppercase()).count() > 2
}

/// Whether three words come again in their order, or one word too often.
pub(super) fn repeats(words: &[&str]) -> bool {
    if words.windows(2).any(|pair| pair[0] == pair[1]) {
        return true;
    }
    let mut runs = HashSet::new();
    if words.windows(3).any(|run| !runs.insert(run.join(" "))) {
        return true;
    }
    let long = words.iter().filter(|word| word.len() > 4);
    let mut counts = std::collections::HashMap::new();
    for word in long {
        *counts.entry(*word).or_insert(0usize) += 1;
    }
    let most = counts.values().max().copied().unwrap_or(0);
    most > 3 || most > 1 && words.len() < 9
}

/// Whether a text breaks off: its last word leads on.
pub(super) fn ends_open(words: &[&str]) -> bool {
    const OPEN: &[&str] = &[
        "a", "an", "the", "and", "or", "but", "of", "to", "for", "with", "in", "on", "at", "by",
        "from", "as", "is", "are", "that", "which", "your", "our", "this", "its", "than", "so",
    ];
    words.last().is_none_or(|word| OPEN.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_tidied_and_cut_into_sentences() {
        assert_eq!(
            tidy(" - \"Warm  nights.\"\n#fire **now**"),
            "Warm nights. now"
        );
        assert_eq!(
            sentences("One e.g. two. Three! Four? five"),
            ["One e.g.", "two.", "Three!", "Four?"]
        );
        assert_eq!(
            question("Does it smoke at all? No, never. And so").as_deref(),
            Some("Does it smoke at all?\nNo, never.")
        );
        assert_eq!(question("Really? Yes."), None);
    }

    #[test]
    fn what_repeats_or_breaks_off_is_seen() {
        let split = |text: &'static str| text.split(' ').collect::<Vec<_>>();
        assert!(repeats(&split("light that fire light that fire")));
        assert!(repeats(&split("fire fire fire")));
        assert!(!repeats(&split("a fire for your balcony and your friends")));
        assert!(ends_open(&split("a fire for the")));
        assert!(shares(
            "The warm fire of winter nights.",
            "A warm fire for winter nights."
        ));
        assert!(!shares("A small flame.", "Sit down with friends."));
    }
}
