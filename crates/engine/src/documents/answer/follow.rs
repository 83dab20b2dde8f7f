//! Questions that go on from others, made to stand alone.

use super::super::words::{is_stop, terms, words};

/// Words that stand for something said before.
const POINTING: &[&str] = &[
    "he", "her", "his", "it", "its", "she", "that", "their", "them", "there", "these", "they",
    "this", "those",
];

/// Beginnings of questions that go on from the one before.
const GOING_ON: &[&str] = &[
    "and ",
    "but ",
    "or ",
    "what about",
    "how about",
    "what if",
    "why not",
    "also ",
];

/// Words that are taken over at most.
const TAKEN: usize = 8;

/// A question as it is searched for: what it leaves unsaid is taken from the question before. `earlier` are the questions
/// of the conversation as they were understood, the latest last.
pub(super) fn alone(question: &str, earlier: &[String]) -> String {
    let Some(before) = earlier.last() else {
        return question.to_owned();
    };
    let lower = question.trim().to_lowercase();
    let points = words(&lower).any(|word| POINTING.contains(&word.as_str()));
    let goes_on = GOING_ON.iter().any(|start| lower.starts_with(start));
    let own = terms(question);
    if !points && !goes_on && own.len() >= 2 {
        return question.to_owned();
    }
    let mut taken: Vec<&str> = Vec::new();
    for word in before.split_whitespace() {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '-');
        let lower = bare.to_lowercase();
        let new = terms(bare).iter().any(|term| !own.contains(term));
        if !is_stop(&lower) && new && !taken.contains(&bare) {
            taken.push(bare);
        }
    }
    taken.truncate(TAKEN);
    match taken.is_empty() {
        true => question.to_owned(),
        false => format!("{} ({})", question.trim(), taken.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_unsaid_is_taken_from_the_question_before() {
        let before = ["How do I return unused shoes?".to_owned()];
        let asked = |question| alone(question, &before);
        assert_eq!(
            asked("How long does it take?"),
            "How long does it take? (return unused shoes)"
        );
        assert_eq!(asked("And socks?"), "And socks? (return unused shoes)");
        assert_eq!(
            asked("Which payment methods are accepted?"),
            "Which payment methods are accepted?"
        );
        assert_eq!(
            alone("How long does it take?", &[]),
            "How long does it take?"
        );
    }
}
