//! Answers out of documents: sentences that the program chooses, each with its place; a language model may phrase them,
//! and what it adds is left out.

mod confidence;
mod follow;
mod phrase;
mod sentences;

use std::collections::HashMap;

use serde::Serialize;

use super::words::terms;
use super::{Collection, Documents, Encoder, Filter, Hit, Search};
use crate::Result;

pub use confidence::{SIGNALS, Signals};
use phrase::cosine;
pub use phrase::{Phraser, cited, raw_request as raw_phrase_request, request as phrase_request};

/// Passages that are read for an answer.
const READ: usize = 12;

/// Sentences of them that are looked at.
const SENTENCES: usize = 128;

/// Sentences of an answer at most.
const CHOSEN: usize = 4;

/// Passages that an answer is taken from at most.
const PLACES: usize = 2;

/// A further sentence of a passage scores at least so much of its best.
const FURTHER: f64 = 0.72;

/// A further passage fits at least so much of the best.
const AS_WELL: f64 = 0.95;

/// Lines that follow a sentence that ends with a colon.
const LISTED: usize = 4;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The question.
    pub text: String,
    /// The questions before it, as they were understood ([`Answer::question`]), the latest last.
    pub earlier: Vec<String>,
    /// Of which documents.
    pub filter: Option<Filter>,
    /// How sure an answer must be; [`SURE`] where nothing is said.
    pub sure: Option<f64>,
}

/// How sure an answer must be, from 0 to 1.
pub const SURE: f64 = 0.5;

/// An answer, or that there is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The question as it was understood.
    pub question: String,
    /// Whether the documents answer it.
    pub answered: bool,
    /// How likely they do, from 0 to 1.
    pub confidence: f64,
    /// The answer; empty where there is none.
    pub text: String,
    /// Its sentences in order, each with the citations that bear it out.
    pub sentences: Vec<Sentence>,
    /// Where it stands, the best first; also where the documents do not answer, as what comes nearest.
    pub citations: Vec<Citation>,
    /// Whether a language model phrased it.
    pub phrased: bool,
    /// What the decision was made by.
    pub signals: Signals,
    /// The passages that were found.
    pub passages: Vec<Hit>,
}

/// A sentence of an answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sentence {
    /// What it says.
    pub text: String,
    /// The citations of it, from 1.
    pub citations: Vec<usize>,
}

/// A place in a document.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Citation {
    /// Id of the document.
    pub document: String,
    /// Its name.
    pub name: String,
    /// What it calls itself.
    pub title: Option<String>,
    /// The headings that the place lies under.
    pub heading: String,
    /// The page that its passage begins on.
    pub page: Option<u32>,
    /// The line that its passage begins on.
    pub line: Option<u32>,
    /// Where it begins in the document's text, in characters.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// What stands there.
    pub quote: String,
}

/// A sentence that may be chosen.
struct Candidate {
    hit: usize,
    start: usize,
    end: usize,
    /// How well it fits by itself.
    score: f64,
    cosine: f64,
    /// How well its passage fits.
    fits: f64,
}

impl Documents {
    /// Answers a question out of a collection; with a phraser, in its words as far as the documents bear them out.
    ///
    /// # Errors
    /// As [`search`](Self::search); what the phraser says.
    pub fn answer(
        &self,
        collection: &Collection,
        question: &Question,
        encoder: &dyn Encoder,
        phraser: Option<&dyn Phraser>,
    ) -> Result<Answer> {
        let asked = follow::alone(&question.text, &question.earlier);
        let vector = encoder.encode(std::slice::from_ref(&asked))?;
        let vector = vector.into_iter().next().unwrap_or_default();
        let search = Search {
            limit: READ,
            filter: question.filter.clone(),
        };
        let found = self.search_by(collection, &asked, &vector, &search)?;
        let weights = self.weights(collection, &asked)?;
        let (passages, candidates) = ranked(found, &vector, &weights, encoder)?;
        let chosen = choose(&passages, &candidates);
        let signals = signals(&passages, &candidates, &chosen, &weights);
        let confidence = signals.confidence();
        let answered = !chosen.is_empty() && confidence >= question.sure.unwrap_or(SURE);
        let citations: Vec<Citation> = chosen.iter().map(|span| cite(&passages, span)).collect();
        let mut answer = Answer {
            question: asked,
            answered,
            confidence,
            text: String::new(),
            sentences: Vec::new(),
            citations,
            phrased: false,
            signals,
            passages,
        };
        if answered {
            answer.say(phraser, encoder)?;
        }
        Ok(answer)
    }

    /// What each word of a question weighs: how rare it is in the collection; and how many passages have it.
    fn weights(&self, collection: &Collection, question: &str) -> Result<HashMap<String, Weight>> {
        let all = self.collection(&collection.id)?.passages as f64;
        let mut weights = HashMap::new();
        for word in super::words::words(question).filter(|word| !super::words::is_stop(word)) {
            let count = self.frequency(collection, &word)? as f64;
            let rare = ((all - count + 0.5) / (count + 0.5)).ln_1p().max(0.1);
            let weight = Weight {
                rare,
                known: count > 0.0,
            };
            weights.insert(super::words::stem(&word), weight);
        }
        Ok(weights)
    }
}

/// What a word of a question weighs.
struct Weight {
    rare: f64,
    known: bool,
}

/// Share of the weight of a question's words that a text has.
fn share(text: &str, weights: &HashMap<String, Weight>) -> f64 {
    let has: std::collections::HashSet<String> = terms(text).into_iter().collect();
    let all: f64 = weights.values().map(|weight| weight.rare).sum();
    let there = weights.iter().filter(|(term, _)| has.contains(*term));
    let there: f64 = there.map(|(_, weight)| weight.rare).sum();
    if all > 0.0 { there / all } else { 0.0 }
}

/// Passages by how well they and their best sentence fit, the best first, and the sentences of all.
fn ranked(
    found: Vec<Hit>,
    vector: &[f32],
    weights: &HashMap<String, Weight>,
    encoder: &dyn Encoder,
) -> Result<(Vec<Hit>, Vec<Candidate>)> {
    let candidates = candidates(&found, vector, weights, encoder)?;
    let fits = |(hit, passage): (usize, &Hit)| {
        let own = candidates.iter().filter(|c| c.hit == hit);
        let best = own.map(|c| c.cosine).fold(0.0, f64::max);
        let headed = format!("{} {}", passage.heading, passage.text);
        let cosine = f64::from(passage.cosine);
        0.5 * best + cosine + 0.5 * share(&headed, weights) + passage.score
    };
    let fits: Vec<f64> = found.iter().enumerate().map(fits).collect();
    let mut order: Vec<usize> = (0..found.len()).collect();
    order.sort_by(|a, b| fits[*b].total_cmp(&fits[*a]).then(a.cmp(b)));
    let mut place = vec![0; found.len()];
    for (rank, &hit) in order.iter().enumerate() {
        place[hit] = rank;
    }
    let moved = |candidate: Candidate| Candidate {
        hit: place[candidate.hit],
        fits: fits[candidate.hit],
        ..candidate
    };
    let mut candidates: Vec<Candidate> = candidates.into_iter().map(moved).collect();
    candidates.sort_by_key(|candidate| (candidate.hit, candidate.start));
    let mut pairs: Vec<(usize, Hit)> = place.into_iter().zip(found).collect();
    pairs.sort_by_key(|(rank, _)| *rank);
    Ok((pairs.into_iter().map(|(_, hit)| hit).collect(), candidates))
}

/// The sentences of all passages with their scores.
fn candidates(
    passages: &[Hit],
    vector: &[f32],
    weights: &HashMap<String, Weight>,
    encoder: &dyn Encoder,
) -> Result<Vec<Candidate>> {
    let mut list = Vec::new();
    let mut texts = Vec::new();
    for (hit, passage) in passages.iter().enumerate() {
        for range in sentences::sentences(&passage.text) {
            if texts.len() >= SENTENCES {
                break;
            }
            if sentences::speaks_to_assistants(&passage.text[range.clone()]) {
                continue;
            }
            texts.push(passage.text[range.clone()].to_owned());
            list.push(Candidate {
                hit,
                start: range.start,
                end: range.end,
                score: 0.0,
                cosine: 0.0,
                fits: 0.0,
            });
        }
    }
    let vectors = encoder.encode(&texts)?;
    for ((candidate, text), own) in list.iter_mut().zip(&texts).zip(&vectors) {
        let headed = format!("{} {text}", passages[candidate.hit].heading);
        candidate.cosine = f64::from(cosine(own, vector));
        candidate.score = candidate.cosine + 0.5 * share(&headed, weights);
    }
    Ok(list)
}

/// Sentences that stand together.
struct Span {
    hit: usize,
    start: usize,
    end: usize,
}

/// The sentences that answer best, as spans: of the first passage its best sentence and those about it that do nearly as
/// well, then the same of another passage that fits about as well.
fn choose(passages: &[Hit], candidates: &[Candidate]) -> Vec<Span> {
    let best_of = |hit: usize| {
        let own = candidates.iter().enumerate().filter(|(_, c)| c.hit == hit);
        own.max_by(|a, b| a.1.score.total_cmp(&b.1.score).then(b.0.cmp(&a.0)))
    };
    let mut left = CHOSEN;
    let mut spans = Vec::new();
    let mut most = None;
    for hit in 0..passages.len() {
        let Some((at, candidate)) = best_of(hit) else {
            continue;
        };
        let most = *most.get_or_insert(candidate.fits);
        if left == 0 || spans.len() >= PLACES || candidate.fits < most * AS_WELL {
            break;
        }
        let enough = candidate.score * FURTHER;
        spans.push(grow(at, passages, candidates, enough, &mut left));
    }
    spans
}

/// A sentence with its neighbours in the passage that do nearly as well.
fn grow(
    at: usize,
    passages: &[Hit],
    candidates: &[Candidate],
    enough: f64,
    left: &mut usize,
) -> Span {
    let hit = candidates[at].hit;
    let same = |index: usize| candidates.get(index).filter(|c| c.hit == hit);
    let (mut first, mut last) = (at, at);
    *left = left.saturating_sub(1);
    while *left > 0 {
        let after = same(last + 1).filter(|c| c.score >= enough);
        let before = first
            .checked_sub(1)
            .and_then(&same)
            .filter(|c| c.score >= enough);
        match (before, after) {
            (_, Some(_)) => last += 1,
            (Some(_), None) => first -= 1,
            (None, None) => break,
        }
        *left -= 1;
    }
    // What a colon promises belongs to it.
    let text = &passages[hit].text;
    let promises = |c: &Candidate| text[c.start..c.end].ends_with(':');
    if same(last).is_some_and(promises) {
        for _ in 0..LISTED {
            if same(last + 1).is_none() {
                break;
            }
            last += 1;
        }
    }
    Span {
        hit,
        start: candidates[first].start,
        end: candidates[last].end,
    }
}

fn signals(
    passages: &[Hit],
    candidates: &[Candidate],
    chosen: &[Span],
    weights: &HashMap<String, Weight>,
) -> Signals {
    let Some(span) = chosen.first() else {
        return Signals::default();
    };
    let passage = &passages[span.hit];
    let highest = |numbers: &mut dyn Iterator<Item = f64>| numbers.fold(0.0, f64::max);
    let headed = format!("{} {}", passage.heading, passage.text);
    let said = format!(
        "{} {}",
        passage.heading,
        &passage.text[span.start..span.end]
    );
    let all: f64 = weights.values().map(|weight| weight.rare).sum();
    let unknown: f64 = weights.values().filter(|w| !w.known).map(|w| w.rare).sum();
    Signals {
        passage: highest(&mut passages.iter().map(|p| f64::from(p.cosine))),
        sentence: highest(&mut candidates.iter().map(|c| c.cosine)),
        passage_words: share(&headed, weights),
        sentence_words: share(&said, weights),
        unknown: if all > 0.0 { unknown / all } else { 1.0 },
        agreement: passage.score,
    }
}

fn cite(passages: &[Hit], span: &Span) -> Citation {
    let passage = &passages[span.hit];
    let quote = &passage.text[span.start..span.end];
    let start = passage.start + passage.text[..span.start].chars().count();
    Citation {
        document: passage.document.clone(),
        name: passage.name.clone(),
        title: passage.title.clone(),
        heading: passage.heading.clone(),
        page: passage.page,
        line: passage.line,
        start,
        end: start + quote.chars().count(),
        quote: quote.to_owned(),
    }
}

impl Answer {
    /// Fills in what is said: the quotes, or what a phraser makes of them as far as they bear it out.
    fn say(&mut self, phraser: Option<&dyn Phraser>, encoder: &dyn Encoder) -> Result<()> {
        let quotes: Vec<String> = self.citations.iter().map(|c| c.quote.clone()).collect();
        if let Some(phraser) = phraser {
            let text = phraser.phrase(&self.question, &quotes)?;
            let kept = phrase::supported(&text, &quotes, encoder)?;
            let sentence = |kept: phrase::Supported| Sentence {
                text: kept.text,
                citations: kept.facts.iter().map(|fact| fact + 1).collect(),
            };
            self.sentences = kept.into_iter().map(sentence).collect();
            self.phrased = !self.sentences.is_empty();
        }
        if !self.phrased {
            let quoted = quotes.into_iter().enumerate();
            let sentence = |(index, text)| Sentence {
                text,
                citations: vec![index + 1],
            };
            self.sentences = quoted.map(sentence).collect();
        }
        let texts: Vec<&str> = self.sentences.iter().map(|s| s.text.as_str()).collect();
        self.text = texts.join(if self.phrased { " " } else { "\n\n" });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
