use super::select::{self, Candidate};
use crate::math;

/// The logarithm of Σ e^x over a row of logits: a token's log-probability is its logit less this.
/// NaN when a logit is NaN or +∞, -∞ when all are -∞.
pub fn log_sum_exp(logits: &[f32]) -> f64 {
    let mut maxima = Vec::new();
    if !select::block_maxima(logits, &mut maxima) {
        return f64::NAN;
    }
    log_sum_exp_with(logits, select::highest(&maxima))
}

/// As [`log_sum_exp`], with the greatest logit known.
pub(super) fn log_sum_exp_with(logits: &[f32], top: f32) -> f64 {
    if top == f32::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    f64::from(top) + math::ln(select::mass(logits, top))
}

/// The log-probability of one token, given the row's [`log_sum_exp`].
pub(super) fn of(logits: &[f32], id: u32, normaliser: f64) -> f32 {
    let logit = logits.get(id as usize).copied().unwrap_or(f32::NAN);
    (f64::from(logit) - normaliser) as f32
}

/// The `n` likeliest tokens of the model's own distribution (before penalties, filters and
/// temperature) with their natural log-probabilities, likeliest first; of equally likely ones the
/// lower id first. Fewer when fewer have a probability above 0; none when a logit is NaN or +∞.
pub fn top_logprobs(logits: &[f32], n: usize) -> Vec<(u32, f32)> {
    let mut maxima = Vec::new();
    if !select::block_maxima(logits, &mut maxima) {
        return Vec::new();
    }
    let (mut order, mut best): (_, Vec<Candidate>) = (Vec::new(), Vec::new());
    select::top_k(logits, &maxima, n, &mut order, &mut best);
    let normaliser = log_sum_exp_with(logits, select::highest(&maxima));
    best.iter()
        .map(|c| (c.id(), (f64::from(c.logit()) - normaliser) as f32))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_probabilities_are_the_softmax() {
        let logits = [1.0f32, 3.0, -2.0, 3.0, f32::NEG_INFINITY];
        let sum: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
        assert!((log_sum_exp(&logits) - sum.ln()).abs() < 1e-6);
        let top = top_logprobs(&logits, 10);
        assert_eq!(top.iter().map(|t| t.0).collect::<Vec<_>>(), [1, 3, 0, 2]);
        for (id, logprob) in top {
            let want = f64::from(logits[id as usize]) - sum.ln();
            assert!((f64::from(logprob) - want).abs() < 1e-6);
        }
        assert_eq!(top_logprobs(&logits, 1).len(), 1);
        assert!(top_logprobs(&logits, 0).is_empty());
        assert!(top_logprobs(&[], 3).is_empty());
    }

    #[test]
    fn broken_rows_give_nothing() {
        assert!(top_logprobs(&[0.0, f32::NAN], 2).is_empty());
        assert!(log_sum_exp(&[0.0, f32::INFINITY]).is_nan());
        assert_eq!(log_sum_exp(&[f32::NEG_INFINITY; 3]), f64::NEG_INFINITY);
        assert!(top_logprobs(&[f32::NEG_INFINITY; 3], 2).is_empty());
        // Large logits do not overflow.
        assert_eq!(top_logprobs(&[3e38, -3e38], 1), [(0, 0.0)]);
    }
}
