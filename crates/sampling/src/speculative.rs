//! Speculative decoding: a cheap source proposes several tokens, the model scores them all in one
//! pass, and [`accept`] keeps those that it may without changing what text comes out.
//!
//! - Tokens from a source without randomness (n-grams of the text so far, a draft model at
//!   temperature 0) are compared with what the sampler chooses itself. The text is then the same,
//!   token for token, as without speculation; a proposal of probability p is kept with
//!   probability p, which is the most that any method can do here.
//! - Tokens drawn from a draft model's distribution q are kept with probability min(1, p/q); after
//!   the first that is not, one is drawn from max(0, p - q) (Leviathan et al. 2023, "Fast
//!   inference from transformers via speculative decoding"). The distribution of the text is
//!   unchanged, its single tokens for one seed are not.
//!
//! Both hold for every configuration, since p is what is left after penalties, filters and mask.

use crate::rng::Purpose;
use crate::{Distribution, Sampled, Sampler, SamplingError, TokenMask};

/// A token that a draft model drew, with what it was drawn from.
#[derive(Clone, Debug, PartialEq)]
pub struct DraftToken {
    /// The proposed token.
    pub id: u32,
    /// The draft model's distribution at this place.
    pub distribution: Distribution,
}

/// The proposed continuation.
#[derive(Clone, Copy, Debug)]
pub enum Draft<'a> {
    /// Tokens that were not drawn at random.
    Fixed(&'a [u32]),
    /// Tokens that [`propose`] drew.
    Drawn(&'a [DraftToken]),
}

impl Draft<'_> {
    /// How many tokens are proposed.
    pub fn len(&self) -> usize {
        match self {
            Self::Fixed(ids) => ids.len(),
            Self::Drawn(tokens) => tokens.len(),
        }
    }

    /// Whether no token is proposed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Supplies the mask of each position and hears of each token that is kept.
///
/// `()` is the one for text without constraint, [`crate::Constraint`] the other.
pub trait Guide {
    /// The tokens that may come next; `None` for all.
    ///
    /// # Errors
    /// Whatever the implementation fails with.
    fn mask(&mut self) -> Result<Option<TokenMask>, SamplingError>;

    /// Takes in a token. True ends the text with it.
    ///
    /// # Errors
    /// Whatever the implementation fails with.
    fn accept(&mut self, id: u32) -> Result<bool, SamplingError>;
}

impl Guide for () {
    fn mask(&mut self) -> Result<Option<TokenMask>, SamplingError> {
        Ok(None)
    }

    fn accept(&mut self, _: u32) -> Result<bool, SamplingError> {
        Ok(false)
    }
}

/// Draws one token for a draft. `twin` is the [`Sampler::draft_twin`] of the sampler that will
/// decide; it takes the token in. `logits` are the draft model's.
///
/// # Errors
/// As for [`Sampler::sample`].
pub fn propose(
    twin: &mut Sampler,
    logits: &[f32],
    mask: Option<&TokenMask>,
) -> Result<DraftToken, SamplingError> {
    let distribution = twin.distribution(logits, mask)?;
    let uniform = twin.uniform(Purpose::Draft);
    let id = distribution
        .pick(uniform)
        .ok_or(SamplingError::NothingAllowed)?;
    twin.accept(id);
    Ok(DraftToken { id, distribution })
}

/// What came of a draft.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// The text's next tokens: those of the draft that were kept, then one more.
    pub tokens: Vec<Sampled>,
    /// How many of them are the draft's. Their keys and values stay in the cache; those of the
    /// rest of the draft must go.
    pub kept: usize,
}

/// Decides how much of a draft of n tokens becomes text. `logits` holds n + 1 rows of the model
/// whose text it is: row i is what it says after i tokens of the draft. The sampler and the guide
/// take in every token of the result. It ends early, without the extra token, when `guide` says so.
///
/// # Errors
/// A wrong number of logits, what [`Sampler::sample`] fails with, and what `guide` fails with.
pub fn accept(
    sampler: &mut Sampler,
    guide: &mut dyn Guide,
    logits: &[f32],
    draft: Draft<'_>,
) -> Result<Accepted, SamplingError> {
    let width = sampler.vocab_size();
    let expected = (draft.len() + 1).saturating_mul(width);
    if logits.len() != expected {
        let got = logits.len();
        return Err(SamplingError::LogitCount { got, expected });
    }
    let mut accepted = Accepted {
        tokens: Vec::with_capacity(draft.len() + 1),
        kept: 0,
    };
    for (index, row) in logits.chunks_exact(width).enumerate() {
        let mask = guide.mask()?;
        let mask = mask.as_ref();
        let (token, kept) = match draft {
            Draft::Fixed(ids) => {
                let token = sampler.sample(row, mask)?;
                (token, ids.get(index) == Some(&token.id))
            }
            Draft::Drawn(tokens) => match tokens.get(index) {
                Some(token) => decide(sampler, row, mask, token)?,
                None => (sampler.sample(row, mask)?, false),
            },
        };
        accepted.tokens.push(token);
        accepted.kept += usize::from(kept);
        if guide.accept(token.id)? || !kept {
            break;
        }
    }
    Ok(accepted)
}

/// Keeps a drawn token with probability min(1, p/q), or draws from max(0, p - q) in its place.
fn decide(
    sampler: &mut Sampler,
    logits: &[f32],
    mask: Option<&TokenMask>,
    draft: &DraftToken,
) -> Result<(Sampled, bool), SamplingError> {
    let target = sampler.distribution(logits, mask)?;
    let p = target.probability(draft.id);
    let q = draft.distribution.probability(draft.id);
    // With u < 1, p ≥ q always keeps.
    let kept = sampler.uniform(Purpose::Acceptance) * q < p;
    let id = if kept {
        draft.id
    } else {
        let left = residual(&target, &draft.distribution).unwrap_or(target);
        left.pick(sampler.uniform(Purpose::Token))
            .ok_or(SamplingError::NothingAllowed)?
    };
    Ok((sampler.accept_with_logprob(logits, id), kept))
}

/// max(0, p - q), scaled to sum to 1. `None` when q covers p up to rounding.
fn residual(target: &Distribution, draft: &Distribution) -> Option<Distribution> {
    let mut others = draft.entries().iter().copied().peekable();
    Distribution::from_weights(target.entries().iter().map(|&(id, p)| {
        while others.next_if(|other| other.0 < id).is_some() {}
        let q = others.next_if(|other| other.0 == id).map_or(0.0, |o| o.1);
        (id, p - q)
    }))
}
