//! The sampling chain written as plainly as can be, in f64, to hold the fast one against.
#![allow(dead_code, reason = "each test program uses a part")]

use medley_sampling::{Dry, SamplerConfig, TokenMask};

pub mod vocabulary;

/// Random numbers for making test cases (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.uniform()).cos()) as f32
    }

    pub fn logits(&mut self, n: usize, spread: f32) -> Vec<f32> {
        (0..n).map(|_| self.normal() * spread).collect()
    }

    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

/// The distribution that the configuration prescribes after `history`: (id, probability) by id.
pub fn reference(
    config: &SamplerConfig,
    history: &[u32],
    logits: &[f32],
    mask: Option<&TokenMask>,
) -> Vec<(u32, f64)> {
    let edited = edit(config, history, logits, mask);
    let mut left: Vec<(u32, f64)> = (0u32..)
        .zip(&edited)
        .filter(|(_, x)| **x > f32::NEG_INFINITY)
        .map(|(id, &x)| (id, f64::from(x)))
        .collect();
    left.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    if config.temperature == 0.0 {
        return vec![(left[0].0, 1.0)];
    }
    if config.top_k > 0 {
        left.truncate(config.top_k);
    }
    if config.typical_p < 1.0 {
        left = typical(&left, f64::from(config.typical_p));
    }
    if config.top_p < 1.0 {
        let p = softmax(&left, 1.0);
        let mut sum = 0.0;
        let kept = p.iter().position(|p| {
            sum += p;
            sum >= f64::from(config.top_p)
        });
        left.truncate(kept.map_or(left.len(), |at| at + 1));
    }
    if config.min_p > 0.0 {
        let p = softmax(&left, 1.0);
        let floor = p[0] * f64::from(config.min_p);
        let kept = p.iter().filter(|&&p| p >= floor).count();
        left.truncate(kept);
    }
    let p = softmax(&left, f64::from(config.temperature));
    let mut result: Vec<(u32, f64)> = left.iter().map(|t| t.0).zip(p).collect();
    result.retain(|t| t.1 > 0.0);
    result.sort_by_key(|t| t.0);
    result
}

fn softmax(tokens: &[(u32, f64)], temperature: f64) -> Vec<f64> {
    let top = tokens.iter().map(|t| t.1).fold(f64::MIN, f64::max);
    let weights: Vec<f64> = tokens
        .iter()
        .map(|t| ((t.1 - top) / temperature).exp())
        .collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

fn typical(tokens: &[(u32, f64)], wanted: f64) -> Vec<(u32, f64)> {
    let p = softmax(tokens, 1.0);
    let entropy: f64 = p.iter().filter(|&&p| p > 0.0).map(|p| -p * p.ln()).sum();
    let distance = |i: usize| (-p[i].ln() - entropy).abs();
    let mut order: Vec<usize> = (0..tokens.len()).collect();
    order.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)));
    let mut sum = 0.0;
    let mut kept = Vec::new();
    for i in order {
        kept.push(i);
        sum += p[i];
        if sum > wanted {
            break;
        }
    }
    kept.sort_unstable();
    kept.into_iter().map(|i| tokens[i]).collect()
}

fn edit(
    config: &SamplerConfig,
    history: &[u32],
    logits: &[f32],
    mask: Option<&TokenMask>,
) -> Vec<f32> {
    // Adding 0 makes -0 and 0 tie.
    let mut edited: Vec<f32> = logits.iter().map(|x| x + 0.0).collect();
    for &(id, bias) in &config.logit_bias {
        edited[id as usize] += bias;
    }
    for (id, logit) in (0u32..).zip(&mut edited) {
        if mask.is_some_and(|mask| !mask.is_allowed(id)) {
            *logit = f32::NEG_INFINITY;
        }
        let count = last(history, config.repeat_last_n)
            .iter()
            .filter(|&&t| t == id)
            .count();
        if count > 0 {
            if *logit <= 0.0 {
                *logit *= config.repeat_penalty;
            } else {
                *logit /= config.repeat_penalty;
            }
            *logit -= count as f32 * config.frequency_penalty + config.presence_penalty;
        }
        if let Some(dry) = &config.dry {
            *logit -= dry_penalty(dry, last(history, dry.penalty_last_n), id);
        }
    }
    edited
}

fn last(history: &[u32], n: i32) -> &[u32] {
    let n = usize::try_from(n).unwrap_or(usize::MAX);
    &history[history.len().saturating_sub(n)..]
}

/// For one token: how long is the longest end of the text after which it already came once?
fn dry_penalty(dry: &Dry, recent: &[u32], id: u32) -> f32 {
    if recent.len() <= dry.allowed_length || dry.sequence_breakers.contains(&vec![id]) {
        return 0.0;
    }
    let mut longest = None;
    for at in (0..recent.len()).filter(|&at| recent[at] == id) {
        let before = &recent[..at];
        let mut length = 0;
        // An end of the text in which a breaker is complete does not count.
        let whole = |n: usize| {
            let end = &recent[recent.len() - n..];
            !dry.sequence_breakers
                .iter()
                .any(|breaker| completes(recent, end, breaker))
        };
        while length < at
            && before.ends_with(&recent[recent.len() - length - 1..])
            && whole(length + 1)
        {
            length += 1;
        }
        if length >= dry.allowed_length {
            longest = longest.max(Some(length));
        }
    }
    longest.map_or(0.0, |length| {
        dry.multiplier * dry.base.powi((length - dry.allowed_length) as i32)
    })
}

/// Whether `breaker` stands in the text with its last token inside `end`.
fn completes(text: &[u32], end: &[u32], breaker: &[u32]) -> bool {
    let start = text.len() - end.len();
    (start..text.len()).any(|last| text[..=last].ends_with(breaker))
}

/// Pearson's chi-square of drawn counts against probabilities, with its degrees of freedom. Tokens
/// that are expected fewer than five times are pooled; one outside the distribution fails.
pub fn chi_square(counts: &[u64], expected: &[(u32, f64)]) -> (f64, usize) {
    let total: u64 = counts.iter().sum();
    let mut probability = vec![0.0; counts.len()];
    for &(id, p) in expected {
        probability[id as usize] = p;
    }
    let (mut chi, mut cells, mut rare) = (0.0, 0, (0.0, 0.0));
    for (id, (&count, &p)) in counts.iter().zip(&probability).enumerate() {
        assert!(p > 0.0 || count == 0, "token {id} cannot come but did");
        let want = p * total as f64;
        if want >= 5.0 {
            chi += (count as f64 - want).powi(2) / want;
            cells += 1;
        } else {
            rare = (rare.0 + want, rare.1 + count as f64);
        }
    }
    if rare.0 >= 5.0 {
        chi += (rare.1 - rare.0) * (rare.1 - rare.0) / rare.0;
        cells += 1;
    }
    (chi, cells.max(1) - 1)
}

/// Asserts that a chi-square is below what chance exceeds about once in ten thousand
/// (Wilson-Hilferty).
pub fn assert_plausible((chi, freedom): (f64, usize), what: &str) {
    let k = freedom as f64;
    let limit = if freedom == 0 {
        1e-9
    } else {
        k * (1.0 - 2.0 / (9.0 * k) + 3.72 * (2.0 / (9.0 * k)).sqrt()).powi(3)
    };
    assert!(
        chi <= limit,
        "{what}: chi-square {chi:.1} with {freedom} degrees of freedom, limit {limit:.1}"
    );
}
