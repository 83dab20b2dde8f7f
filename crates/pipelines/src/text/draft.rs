//! Where guesses at the next tokens come from, and how many are worth their cost.

use std::collections::HashMap;
use std::sync::Arc;

use medley_models::decoder::Wanted;
use medley_sampling::Sampler;
use medley_types::Speculation;

use super::{Session, TextModel};
use crate::PipelineError;

/// Most tokens of one draft: with the one before them, the rows that kernels take in the fast way for few.
const LONGEST: usize = 7;
/// Tokens that must have occurred in a row before what followed them is worth a guess.
const GRAM: usize = 2;
/// Earlier occurrences that are looked at, newest first.
const CANDIDATES: usize = 32;
/// What a row beside others costs, in steps of one row: weights are read once for all of them (measured, decision 0010).
const ROW_COST: f64 = 0.1;

/// A source of guesses with its pace.
pub(super) struct Drafter {
    source: Source,
    pace: Pace,
}

enum Source {
    Lookup(Lookup),
    Model(Arc<TextModel>, Box<Session>),
}

impl Drafter {
    /// What `wanted` asks for; none where nothing shall be guessed.
    pub(super) fn new(
        model: &TextModel,
        wanted: &Speculation,
    ) -> Result<Option<Self>, PipelineError> {
        Ok(match wanted {
            Speculation::Off => None,
            Speculation::Lookup => Some(Self {
                source: Source::Lookup(Lookup::default()),
                pace: Pace::new(ROW_COST),
            }),
            Speculation::Draft(name) => {
                let Some(draft) = &model.draft else {
                    return Err(PipelineError::InvalidRequest(format!(
                        "the draft model {name} is not loaded"
                    )));
                };
                let share = draft.decoder.bytes() as f64 / model.decoder.bytes() as f64;
                Some(Self {
                    source: Source::Model(draft.clone(), Box::new(draft.session())),
                    pace: Pace::new(ROW_COST + share),
                })
            }
        })
    }

    /// Takes over what a draft model has read for an earlier part of the talk.
    pub(super) fn resume(&mut self, earlier: Option<Box<Session>>) {
        if let (Source::Model(_, session), Some(earlier)) = (&mut self.source, earlier) {
            *session = earlier;
        }
    }

    /// What the draft model has read.
    pub(super) fn into_session(self) -> Option<Box<Session>> {
        match self.source {
            Source::Lookup(_) => None,
            Source::Model(_, session) => Some(session),
        }
    }

    /// Guesses at most `most` tokens that follow `text`, in a step that has `beside` rows without them. A draft model
    /// draws with a copy of `sampler`: the same random numbers on nearly the same distributions give the same tokens
    /// most often.
    pub(super) fn propose(
        &mut self,
        text: &[u32],
        most: usize,
        beside: usize,
        sampler: &Sampler,
    ) -> Result<Vec<u32>, PipelineError> {
        let length = self.pace.length(most.min(LONGEST), beside);
        if length == 0 {
            return Ok(Vec::new());
        }
        match &mut self.source {
            Source::Lookup(lookup) => Ok(lookup.propose(text, length)),
            Source::Model(model, session) => {
                let room = model.context.saturating_sub(text.len());
                drawn(model, session, text, length.min(room), sampler.clone())
            }
        }
    }

    /// Learns how much of a draft was kept.
    pub(super) fn learn(&mut self, drafted: usize, kept: usize) {
        self.pace.learn(drafted, kept);
    }
}

/// Tokens that the draft model would write.
fn drawn(
    model: &TextModel,
    session: &mut Session,
    text: &[u32],
    length: usize,
    mut sampler: Sampler,
) -> Result<Vec<u32>, PipelineError> {
    let mut draft = Vec::with_capacity(length);
    while draft.len() < length {
        let mut logits = match draft.last() {
            None => session.read(model, text)?,
            Some(&last) => session.step(model, &[last], Wanted::Last)?,
        };
        // Models of one vocabulary may differ in padding behind it.
        logits.resize(sampler.vocab_size(), f32::NEG_INFINITY);
        draft.push(sampler.sample(&logits, None)?.id);
    }
    Ok(draft)
}

/// What followed the last tokens where they stood before ("prompt look-up": Saxena 2023; Yang et al. 2023, "Inference
/// with reference").
#[derive(Default)]
struct Lookup {
    /// Tokens of the text that are entered.
    known: usize,
    /// Where each run of [`GRAM`] tokens ended, oldest first.
    ends: HashMap<[u32; GRAM], Vec<usize>>,
}

impl Lookup {
    /// `text` goes on from what it was at the last call.
    fn propose(&mut self, text: &[u32], length: usize) -> Vec<u32> {
        let Some(last) = self.take_in(text) else {
            return Vec::new();
        };
        let earlier = self.ends.get(&last).into_iter().flatten().rev();
        let earlier = earlier.skip_while(|&&end| end == text.len());
        let agreement = |end: usize| {
            let back = text[..end].iter().rev().zip(text.iter().rev());
            back.take_while(|(a, b)| a == b).count()
        };
        // The longest agreement; of equal ones the newest.
        let best = earlier
            .take(CANDIDATES)
            .map(|&end| (agreement(end), end))
            .max();
        let Some((_, end)) = best else {
            return Vec::new();
        };
        // Where the copy reaches the text's own end, it goes on with itself: a repetition.
        let mut draft = Vec::with_capacity(length);
        for i in end..end + length {
            let next = text.get(i).or_else(|| draft.get(i - text.len())).copied();
            draft.extend(next);
        }
        draft
    }

    /// Enters the tokens that are new, and gives the last run of the text.
    fn take_in(&mut self, text: &[u32]) -> Option<[u32; GRAM]> {
        let first = self.known.max(GRAM - 1) + 1;
        self.known = text.len();
        for end in first..=text.len() {
            if let Some(&gram) = text[..end].last_chunk::<GRAM>() {
                self.ends.entry(gram).or_default().push(end);
            }
        }
        text.last_chunk::<GRAM>().copied()
    }
}

/// How long drafts shall be: as long as a step with the draft is expected to write more for its cost than one without.
struct Pace {
    /// Estimated probability that the next token of a draft is kept, given the ones before it.
    kept: f64,
    /// Cost of one token of a draft, in steps of one row.
    cost: f64,
}

impl Pace {
    /// What is assumed before anything was measured, and come back to slowly while nothing is drafted.
    const PRIOR: f64 = 0.75;
    /// Weight of the newest token in the estimate.
    const NEWEST: f64 = 0.1;

    fn new(cost: f64) -> Self {
        Self {
            kept: Self::PRIOR,
            cost,
        }
    }

    /// The best length up to `most` in a step of `beside` other rows.
    fn length(&mut self, most: usize, beside: usize) -> usize {
        let others = beside.saturating_sub(1) as f64;
        let base = 1.0 + ROW_COST * others;
        let (mut expected, mut next) = (1.0 + others, 1.0);
        let (mut best, mut best_rate) = (0, expected / base);
        for length in 1..=most {
            next *= self.kept;
            expected += next;
            let rate = expected / (base + self.cost * length as f64);
            if rate > best_rate {
                (best, best_rate) = (length, rate);
            }
        }
        if best == 0 {
            self.kept += 0.01 * (Self::PRIOR - self.kept);
        }
        best
    }

    fn learn(&mut self, drafted: usize, kept: usize) {
        for index in 0..drafted.min(kept + 1) {
            let hit = f64::from(u8::from(index < kept));
            self.kept += Self::NEWEST * (hit - self.kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_followed_the_longest_agreement_is_guessed() {
        let mut lookup = Lookup::default();
        assert!(lookup.propose(&[1, 2], 4).is_empty());
        let text = [9, 1, 2, 3, 4, 5, 8, 1, 2, 3, 6, 7, 9, 1, 2, 3];
        // "1 2 3" came last before 6, but "9 1 2 3" before 4.
        assert_eq!(lookup.propose(&text, 3), [4, 5, 8]);
        let longer = [&text[..], &[6]].concat();
        assert_eq!(lookup.propose(&longer, 2), [7, 9]);
    }

    #[test]
    fn a_repetition_goes_on_beyond_the_end() {
        let mut lookup = Lookup::default();
        assert_eq!(lookup.propose(&[5, 1, 2, 1, 2, 1], 5), [2, 1, 2, 1, 2]);
        assert_eq!(Lookup::default().propose(&[7; 4], 3), [7, 7, 7]);
    }

    #[test]
    fn drafts_grow_with_success_and_end_with_failure() {
        let mut pace = Pace::new(ROW_COST);
        let first = pace.length(LONGEST, 1);
        (0..20).for_each(|_| pace.learn(4, 4));
        let later = pace.length(LONGEST, 1);
        assert!(0 < first && first < later, "{first}, {later}");
        assert_eq!(pace.length(2, 1), 2);
        (0..100).for_each(|_| pace.learn(4, 0));
        assert_eq!(pace.length(LONGEST, 1), 0);
        let waited = (0..1000).find(|_| pace.length(LONGEST, 1) > 0);
        assert!(waited.is_some_and(|steps| steps > 5), "{waited:?}");
    }

    #[test]
    fn beside_many_sequences_drafts_are_shorter() {
        let mut pace = Pace::new(ROW_COST);
        assert!(pace.length(LONGEST, 16) < pace.length(LONGEST, 1));
    }
}
