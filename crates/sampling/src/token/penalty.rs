use std::collections::HashMap;

use super::config::{Dry, SamplerConfig};

/// `-1` in a configuration means all tokens.
pub(super) fn window_length(configured: i32) -> usize {
    usize::try_from(configured).unwrap_or(usize::MAX)
}

/// Repetition, frequency and presence penalties over a window of recent tokens.
#[derive(Clone, Debug)]
pub(super) struct Penalties {
    repeat: f32,
    frequency: f32,
    presence: f32,
    window: usize,
    counts: HashMap<u32, u32>,
}

impl Penalties {
    pub(super) fn new(config: &SamplerConfig) -> Option<Self> {
        let penalties = Self {
            repeat: config.repeat_penalty,
            frequency: config.frequency_penalty,
            presence: config.presence_penalty,
            window: window_length(config.repeat_last_n),
            counts: HashMap::new(),
        };
        let idle = penalties.window == 0
            || (penalties.repeat == 1.0 && penalties.frequency == 0.0 && penalties.presence == 0.0);
        (!idle).then_some(penalties)
    }

    /// Takes in the newest token, which `history` already ends with.
    pub(super) fn observe(&mut self, history: &[u32]) {
        let Some(newest) = history.last() else { return };
        *self.counts.entry(*newest).or_insert(0) += 1;
        if history.len() > self.window {
            let leaving = history[history.len() - 1 - self.window];
            if let Some(count) = self.counts.get_mut(&leaving) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&leaving);
                }
            }
        }
    }

    /// The tokens whose logits [`Penalties::apply`] changes.
    pub(super) fn tokens(&self) -> impl Iterator<Item = u32> + '_ {
        self.counts.keys().copied()
    }

    pub(super) fn apply(&self, logits: &mut [f32]) {
        for (&id, &count) in &self.counts {
            let Some(logit) = logits.get_mut(id as usize) else {
                continue;
            };
            // Dividing a negative logit would make the token likelier.
            let scaled = if *logit <= 0.0 {
                *logit * self.repeat
            } else {
                *logit / self.repeat
            };
            let reduced = scaled - (count as f32 * self.frequency + self.presence);
            *logit = reduced.min(f32::MAX);
        }
    }
}

/// The DRY sampler's search for repetitions, with its scratch space.
#[derive(Clone, Debug)]
pub(super) struct DryState {
    config: Dry,
    window: usize,
    /// For each distance back from the newest token, how long a copy of the text's end ends there.
    repeats: Vec<usize>,
    longest: HashMap<u32, usize>,
}

impl DryState {
    pub(super) fn new(config: &Dry) -> Option<Self> {
        let window = window_length(config.penalty_last_n);
        (config.multiplier > 0.0 && window > 0).then(|| Self {
            config: config.clone(),
            window,
            repeats: Vec::new(),
            longest: HashMap::new(),
        })
    }

    /// The tokens whose logits [`DryState::apply`] changed.
    pub(super) fn tokens(&self) -> impl Iterator<Item = u32> + '_ {
        self.longest.keys().copied()
    }

    pub(super) fn apply(&mut self, history: &[u32], logits: &mut [f32]) {
        self.longest.clear();
        let recent = &history[history.len().saturating_sub(self.window)..];
        let allowed = self.config.allowed_length;
        let reach = self.tokens_after_last_breaker(recent);
        if recent.len() <= allowed || reach < allowed {
            return;
        }
        self.measure_repeats(recent);
        for (distance, &length) in self.repeats.iter().enumerate().skip(1) {
            let length = length.min(reach);
            if length >= allowed {
                // The token that followed the copy would make the repetition longer.
                let next = recent[recent.len() - distance];
                let longest = self.longest.entry(next).or_insert(0);
                *longest = (*longest).max(length);
            }
        }
        for (&id, &length) in &self.longest {
            if self.config.sequence_breakers.iter().any(|b| b == &[id]) {
                continue;
            }
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit -= self.penalty(length);
            }
        }
    }

    /// `multiplier · base^(length - allowed)`, short of f32's end.
    fn penalty(&self, length: usize) -> f32 {
        let base = f64::from(self.config.base);
        let mut penalty = f64::from(self.config.multiplier);
        for _ in self.config.allowed_length..length {
            penalty *= base;
            if penalty > 1e30 || base == 1.0 {
                break;
            }
        }
        penalty as f32
    }

    /// How many tokens stand after the newest complete sequence breaker.
    fn tokens_after_last_breaker(&self, recent: &[u32]) -> usize {
        let breakers = &self.config.sequence_breakers;
        if breakers.is_empty() {
            return recent.len();
        }
        (0..recent.len())
            .find(|&after| {
                let text = &recent[..recent.len() - after];
                breakers.iter().any(|breaker| text.ends_with(breaker))
            })
            .unwrap_or(recent.len())
    }

    /// The Z-algorithm on the reversed text: `repeats[d]` becomes the length of the longest common
    /// suffix of the text and the text without its last `d` tokens. Linear in the text.
    fn measure_repeats(&mut self, recent: &[u32]) {
        let n = recent.len();
        let back = |i: usize| recent[n - 1 - i];
        self.repeats.clear();
        self.repeats.resize(n, 0);
        let (mut left, mut right) = (0, 0);
        for distance in 1..n {
            let mut length = 0;
            if distance < right {
                length = self.repeats[distance - left].min(right - distance);
            }
            while distance + length < n && back(length) == back(distance + length) {
                length += 1;
            }
            if distance + length > right {
                (left, right) = (distance, distance + length);
            }
            self.repeats[distance] = length;
        }
    }
}
