//! Whether the passages that were found answer a question.
//!
//! A logistic regression over what a search shows. Its weights come from the calibrating half of the questions in
//! `crates/xtask/desk` (`cargo xtask prove desk-answers` fits them anew and prints them); the other half is what is
//! reported.

use serde::Serialize;

/// What is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Signals {
    /// Highest cosine of a passage with the question.
    pub passage: f64,
    /// Highest cosine of a sentence with the question.
    pub sentence: f64,
    /// Share of what the question's words weigh that the best passage has.
    pub passage_words: f64,
    /// The same of the sentences that were chosen.
    pub sentence_words: f64,
    /// The same of words that no passage of the collection has.
    pub unknown: f64,
    /// How the best passage stands in both lists: 1 where it is first in both.
    pub agreement: f64,
}

/// The numbers of [`Signals`], in its order.
pub const SIGNALS: usize = 6;

/// What each counts, and the constant.
const WEIGHTS: [f64; SIGNALS] = [1.64, 3.83, 1.79, 1.55, -2.65, 2.61];
const CONSTANT: f64 = -5.75;

impl Signals {
    /// As numbers, in order.
    pub fn numbers(&self) -> [f64; SIGNALS] {
        [
            self.passage,
            self.sentence,
            self.passage_words,
            self.sentence_words,
            self.unknown,
            self.agreement,
        ]
    }

    /// How likely it is that the question is answered, from 0 to 1.
    pub fn confidence(&self) -> f64 {
        let sum: f64 = self.numbers().iter().zip(WEIGHTS).map(|(x, w)| x * w).sum();
        1.0 / (1.0 + (-(sum + CONSTANT)).exp())
    }
}
