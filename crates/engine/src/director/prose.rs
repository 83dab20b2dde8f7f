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

/// Whether a text names somebody or something that was not `said`, or writes a part of the `name` wrongly or behind another
/// word than it has there.
pub(super) fn misnames(text: &str, name: &str, said: &HashSet<String>) -> bool {
    let name: Vec<String> = plain_words(name).collect();
    let mut begins = true;
    let mut before = String::new();
    for word in text.split_whitespace() {
        let upper = word.chars().find(|c| c.is_alphanumeric());
        let upper = upper.is_some_and(char::is_uppercase);
        for plain in plain_words(word) {
            let known = said.contains(&plain);
            // A name of several words has them in their order.
            let place = name.iter().position(|part| *part == plain);
            let astray = place.is_some_and(|at| at > 0 && name[at - 1] != before);
            let near = !known && name.iter().any(|part| misspells(&plain, part));
            if near || upper && (!known && !begins || astray) {
                return true;
            }
            before = plain;
        }
        begins = word.ends_with(['.', '!', '?', ':', '–']);
    }
    false
}

/// Whether a word is a name but for a letter, or begins like it and goes on otherwise.
fn misspells(word: &str, name: &str) -> bool {
    let common = word.chars().zip(name.chars()).take_while(|(a, b)| a == b);
    let several = word.strip_suffix('s') == Some(name);
    let like = name.len() > 3 && strsim::osa_distance(name, word) == 1;
    !several && word != name && (like || common.count() > 3)
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
    fn other_names_than_those_that_were_said_are_seen() {
        let said: HashSet<String> = plain_words("Velo Verde, bicycles in Leeds").collect();
        let wrong = |text| misnames(text, "Velo Verde", &said);
        for text in [
            "Vega Verde mends bicycles.",
            "Bicycles by Folo",
            "The Luminous Company.",
            "Vela mends them.",
            "Velos Verde",
        ] {
            assert!(wrong(text), "{text}");
        }
        for text in [
            "Velo Verde mends bicycles. All of Leeds rides.",
            "Velo Verde's door",
            "A velo for you",
            "Green things are verde.",
        ] {
            assert!(!wrong(text), "{text}");
        }
        let said = HashSet::from(["lumen".to_owned()]);
        assert!(misnames("Lumin has a library.", "Lumen", &said));
        assert!(misnames("Lumens and lumena", "Lumen", &said));
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
