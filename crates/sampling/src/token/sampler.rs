use super::config::SamplerConfig;
use super::filter::{self, Left, Scratch};
use super::logprob;
use super::penalty::{DryState, Penalties};
use super::select;
use crate::rng::{CounterRng, Purpose};
use crate::{SamplingError, TokenMask};

/// A token that was chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampled {
    /// The token's id.
    pub id: u32,
    /// Its natural log-probability in the model's own distribution, before bias, mask, penalties,
    /// filters and temperature. `None` unless [`SamplerConfig::logprobs`] asks for it.
    pub logprob: Option<f32>,
}

/// Probabilities of the tokens that can be chosen, by rising id; they sum to 1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    entries: Vec<(u32, f64)>,
}

impl Distribution {
    /// The tokens of a probability above 0 with it, by rising id.
    pub fn entries(&self) -> &[(u32, f64)] {
        &self.entries
    }

    /// The probability of one token.
    pub fn probability(&self, id: u32) -> f64 {
        self.entries
            .binary_search_by_key(&id, |entry| entry.0)
            .map_or(0.0, |at| self.entries[at].1)
    }

    /// A distribution from weights, which need not sum to 1. `None` when none is above 0.
    pub(crate) fn from_weights(weights: impl Iterator<Item = (u32, f64)>) -> Option<Self> {
        let mut entries: Vec<(u32, f64)> = weights.filter(|entry| entry.1 > 0.0).collect();
        entries.sort_unstable_by_key(|entry| entry.0);
        let total: f64 = entries.iter().map(|entry| entry.1).sum();
        for entry in &mut entries {
            entry.1 /= total;
        }
        (!entries.is_empty()).then_some(Self { entries })
    }

    /// The token at `uniform`, in [0, 1), of the cumulative distribution.
    pub(crate) fn pick(&self, uniform: f64) -> Option<u32> {
        let mut rest = uniform;
        let found = self.entries.iter().find(|entry| {
            rest -= entry.1;
            rest < 0.0
        });
        found.or(self.entries.last()).map(|entry| entry.0)
    }
}

/// Chooses one token after another for one text.
///
/// The choice depends only on the configuration, the tokens seen so far and the logits. The random
/// number of each step belongs to the step's position, so it does not matter in what portions or
/// with what speculation a text is generated.
#[derive(Clone, Debug)]
pub struct Sampler {
    config: SamplerConfig,
    vocab_size: usize,
    rng: CounterRng,
    purpose: Purpose,
    position: u64,
    edits: Edits,
    scratch: Scratch,
}

impl Sampler {
    /// A sampler for one text of a model with `vocab_size` tokens.
    ///
    /// # Errors
    /// A parameter outside its range; see [`SamplerConfig::validate`].
    pub fn new(config: &SamplerConfig, vocab_size: usize) -> Result<Self, SamplingError> {
        config.validate(vocab_size)?;
        Ok(Self {
            config: config.clone(),
            vocab_size,
            rng: CounterRng::new(config.seed),
            purpose: Purpose::Token,
            position: 0,
            edits: Edits::new(config),
            scratch: Scratch::default(),
        })
    }

    /// What the sampler was made with.
    pub fn config(&self) -> &SamplerConfig {
        &self.config
    }

    /// The number of logits that every row must have.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Takes in tokens that were not generated: the prompt. Penalties and DRY look at them too.
    pub fn observe(&mut self, tokens: &[u32]) {
        for &id in tokens {
            self.edits.observe(id);
        }
    }

    /// Takes in a generated token that [`Sampler::sample`] did not choose, such as one that a
    /// constraint forces. It uses up a position of the random sequence.
    pub fn accept(&mut self, id: u32) {
        self.position += 1;
        self.edits.observe(id);
    }

    /// Chooses the next token from `logits`, one for each token of the vocabulary, among those
    /// that `mask` allows, and takes it in.
    ///
    /// # Errors
    /// A row of the wrong width, a logit that is NaN or +∞, or no token left to choose. The
    /// sampler is unchanged then.
    pub fn sample(
        &mut self,
        logits: &[f32],
        mask: Option<&TokenMask>,
    ) -> Result<Sampled, SamplingError> {
        let uniform = self.uniform(self.purpose);
        let temperature = self.config.temperature;
        let Prepared { row, top, raw_top } = prepare(
            &mut self.edits,
            &mut self.scratch,
            self.vocab_size,
            logits,
            mask,
        )?;
        let id = if temperature == 0.0 {
            select::first_at(row, &self.scratch.maxima, top)
        } else {
            let left = filter::filter(&self.config, row, top, &mut self.scratch);
            filter::draw(left, row, top, temperature, uniform, &mut self.scratch)
        };
        let id = id.ok_or(SamplingError::NothingAllowed)?;
        self.accept(id);
        let logprob = self.config.logprobs.then(|| {
            let normaliser = logprob::log_sum_exp_with(logits, raw_top);
            logprob::of(logits, id, normaliser)
        });
        Ok(Sampled { id, logprob })
    }

    /// The distribution that [`Sampler::sample`] would choose from now. At temperature 0 all of it
    /// is on one token.
    ///
    /// # Errors
    /// As for [`Sampler::sample`].
    pub fn distribution(
        &mut self,
        logits: &[f32],
        mask: Option<&TokenMask>,
    ) -> Result<Distribution, SamplingError> {
        let temperature = self.config.temperature;
        let Prepared { row, top, .. } = prepare(
            &mut self.edits,
            &mut self.scratch,
            self.vocab_size,
            logits,
            mask,
        )?;
        if temperature == 0.0 {
            let id = select::first_at(row, &self.scratch.maxima, top);
            return Distribution::from_weights(id.map(|id| (id, 1.0)).into_iter())
                .ok_or(SamplingError::NothingAllowed);
        }
        let left = filter::filter(&self.config, row, top, &mut self.scratch);
        filter::weights(left, row, top, temperature, &mut self.scratch);
        let list = &self.scratch.list;
        let weights = self.scratch.masses.iter().zip(0u32..);
        Distribution::from_weights(weights.map(|(&weight, index)| match left {
            Left::All => (index, weight),
            Left::List => (list[index as usize].id(), weight),
        }))
        .ok_or(SamplingError::NothingAllowed)
    }

    /// A sampler in the same state whose random choices are independent of this one's: with it a
    /// draft model proposes tokens for [`crate::speculative`] decoding.
    pub fn draft_twin(&self) -> Self {
        Self {
            purpose: Purpose::Draft,
            scratch: Scratch::default(),
            ..self.clone()
        }
    }

    /// Takes in a token that was chosen by other means from a row that was looked at already.
    pub(crate) fn accept_with_logprob(&mut self, logits: &[f32], id: u32) -> Sampled {
        self.accept(id);
        let wanted = self.config.logprobs;
        let logprob = wanted.then(|| logprob::of(logits, id, logprob::log_sum_exp(logits)));
        Sampled { id, logprob }
    }

    /// The random number, in [0, 1), that belongs to the current position.
    pub(crate) fn uniform(&self, purpose: Purpose) -> f64 {
        self.rng.uniform(purpose, self.position)
    }
}

/// What changes the logits before they are filtered.
#[derive(Clone, Debug)]
struct Edits {
    bias: Vec<(u32, f32)>,
    penalties: Option<Penalties>,
    dry: Option<DryState>,
    history: Vec<u32>,
    buffer: Vec<f32>,
}

impl Edits {
    fn new(config: &SamplerConfig) -> Self {
        Self {
            bias: config.logit_bias.clone(),
            penalties: Penalties::new(config),
            dry: config.dry.as_ref().and_then(DryState::new),
            history: Vec::new(),
            buffer: Vec::new(),
        }
    }

    fn observe(&mut self, id: u32) {
        if self.penalties.is_none() && self.dry.is_none() {
            return;
        }
        self.history.push(id);
        if let Some(penalties) = &mut self.penalties {
            penalties.observe(&self.history);
        }
    }

    /// The edited row; `None` when nothing is to be changed. Keeps the block maxima true.
    fn apply(
        &mut self,
        logits: &[f32],
        mask: Option<&TokenMask>,
        maxima: &mut [f32],
    ) -> Option<&[f32]> {
        let look_back = !self.history.is_empty();
        if mask.is_none() && self.bias.is_empty() && !look_back {
            return None;
        }
        self.buffer.clear();
        self.buffer.extend_from_slice(logits);
        let row = &mut self.buffer[..];
        if let Some(mask) = mask {
            mask.apply(row);
            select::refresh_masked(row, maxima, mask);
        }
        for &(id, bias) in &self.bias {
            if let Some(logit) = row.get_mut(id as usize) {
                *logit = (*logit + bias).min(f32::MAX);
            }
        }
        select::refresh(row, maxima, self.bias.iter().map(|bias| bias.0));
        if let Some(penalties) = &self.penalties {
            penalties.apply(row);
            select::refresh(row, maxima, penalties.tokens());
        }
        if let Some(dry) = &mut self.dry {
            dry.apply(&self.history, row);
            select::refresh(row, maxima, dry.tokens());
        }
        Some(&self.buffer)
    }
}

/// A row that is ready to be filtered; its block maxima are in the scratch.
struct Prepared<'a> {
    row: &'a [f32],
    /// The greatest logit of `row`.
    top: f32,
    /// The greatest logit that the model gave.
    raw_top: f32,
}

fn prepare<'a>(
    edits: &'a mut Edits,
    scratch: &mut Scratch,
    vocab_size: usize,
    logits: &'a [f32],
    mask: Option<&TokenMask>,
) -> Result<Prepared<'a>, SamplingError> {
    if logits.len() != vocab_size {
        return Err(SamplingError::LogitCount {
            got: logits.len(),
            expected: vocab_size,
        });
    }
    let maxima = &mut scratch.maxima;
    if !select::block_maxima(logits, maxima) {
        return Err(bad_logit(logits));
    }
    let raw_top = select::highest(maxima);
    let mut top = raw_top;
    let mut row = logits;
    if let Some(edited) = edits.apply(logits, mask, maxima) {
        top = select::highest(maxima);
        row = edited;
    }
    if top == f32::NEG_INFINITY {
        return Err(SamplingError::NothingAllowed);
    }
    Ok(Prepared { row, top, raw_top })
}

fn bad_logit(logits: &[f32]) -> SamplingError {
    let found = (0u32..)
        .zip(logits)
        .find(|(_, x)| x.is_nan() || **x == f32::INFINITY);
    let (id, value) = found.unwrap_or((0, &f32::NAN));
    SamplingError::BadLogit {
        id,
        value: value.to_string(),
    }
}
