//! The baseline of language models: n-grams with interpolated Kneser-Ney smoothing (Kneser and Ney 1995; Chen and Goodman
//! 1999, section 4.1).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::{Error, Result};

/// Bits of a token in a key.
const BITS: u32 = 21;
/// Longest n-grams that fit into a key.
const LONGEST: usize = 6;

/// A key that is spread already.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn write_u128(&mut self, key: u128) {
        let low = (key as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let high = ((key >> 64) as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
        let mixed = low ^ high.rotate_left(31);
        self.0 = mixed ^ (mixed >> 29);
    }
}

type Counts<T> = HashMap<u128, T, BuildHasherDefault<Spread>>;

/// The n-grams of one length.
#[derive(Default)]
struct Order {
    /// How often each comes; of all but the longest after how many different tokens.
    grams: Counts<u32>,
    /// For each context the sum of these over all tokens that follow, and how many different ones do.
    contexts: Counts<(u64, u32)>,
    /// What is taken away from each.
    discount: f64,
}

/// n-grams of a text.
pub struct KneserNey {
    /// From the shortest to the longest.
    orders: Vec<Order>,
    vocab: usize,
}

/// The last `count` tokens in one number; shorter ones do not collide with longer ones of the same order.
fn key(tokens: &[u32]) -> u128 {
    tokens
        .iter()
        .fold(0, |key, &token| key << BITS | u128::from(token))
}

impl KneserNey {
    /// Counts n-grams up to `order` tokens in `stream`.
    ///
    /// # Errors
    /// [`Error::Setting`] for an order beyond 1 to 6, tokens beyond the vocabulary, or one of more than two million.
    pub fn count(stream: &[u32], order: usize, vocab: usize) -> Result<Self> {
        let fits = (1..=LONGEST).contains(&order) && vocab <= 1 << BITS;
        if !fits || stream.iter().any(|&token| token as usize >= vocab) {
            return Err(Error::Setting(format!(
                "n-grams of {order} tokens out of {vocab} cannot be counted"
            )));
        }
        let mut orders: Vec<Order> = (0..order).map(|_| Order::default()).collect();
        for gram in stream.windows(order) {
            *orders[order - 1].grams.entry(key(gram)).or_insert(0) += 1;
        }
        // A shorter one counts once for each token that comes before it.
        for n in (1..order).rev() {
            let mask = (1u128 << (BITS as usize * n)) - 1;
            let (shorter, longer) = orders.split_at_mut(n);
            for gram in longer[0].grams.keys() {
                *shorter[n - 1].grams.entry(gram & mask).or_insert(0) += 1;
            }
        }
        orders.iter_mut().for_each(Order::finish);
        Ok(Self { orders, vocab })
    }

    /// The probability of `token` after `context`, of which the last tokens count.
    pub fn probability(&self, context: &[u32], token: u32) -> f64 {
        let mut p = 1.0 / self.vocab as f64;
        for (n, order) in self.orders.iter().enumerate() {
            let Some(start) = context.len().checked_sub(n) else {
                break;
            };
            let before = key(&context[start..]);
            let Some(&(total, kinds)) = order.contexts.get(&before) else {
                break;
            };
            let gram = before << BITS | u128::from(token);
            let count = f64::from(order.grams.get(&gram).copied().unwrap_or(0));
            let rest = order.discount * f64::from(kinds);
            p = ((count - order.discount).max(0.0) + rest * p) / total as f64;
        }
        p
    }

    /// Nats of every token of `stream` together, but the first, each after those before it.
    pub fn nats(&self, stream: &[u32]) -> f64 {
        let all = 1..stream.len();
        let longest = self.orders.len() - 1;
        all.map(|i| {
            -self
                .probability(&stream[i.saturating_sub(longest)..i], stream[i])
                .ln()
        })
        .sum()
    }
}

impl Order {
    /// Contexts and the discount, from the n-grams that come once and twice.
    fn finish(&mut self) {
        let (mut once, mut twice) = (0u64, 0u64);
        for (gram, &count) in &self.grams {
            once += u64::from(count == 1);
            twice += u64::from(count == 2);
            let entry = self.contexts.entry(gram >> BITS).or_insert((0, 0));
            entry.0 += u64::from(count);
            entry.1 += 1;
        }
        self.discount = match once + 2 * twice {
            0 => 0.5,
            // Above 0, so that what was never seen has a chance.
            sum => (once as f64 / sum as f64).clamp(0.05, 0.95),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Vec<u32> {
        (0..4000u32).map(|i| (i * i / 7 + i / 3) % 11).collect()
    }

    #[test]
    fn probabilities_sum_to_1_after_what_was_seen_and_what_was_not() {
        let stream = stream();
        for order in 1..=5 {
            let model = KneserNey::count(&stream, order, 12).unwrap();
            for context in [
                &[][..],
                &[3],
                &[11, 11, 11, 11],
                &stream[100..104],
                &stream[..9],
            ] {
                let sum: f64 = (0..12).map(|t| model.probability(context, t)).sum();
                assert!((sum - 1.0).abs() < 1e-12, "{order} {context:?}: {sum}");
                assert!(model.probability(context, 11) > 0.0);
            }
        }
    }

    #[test]
    fn a_small_case_by_hand() {
        // Bigrams of a b a b a c: ab 2, ba 2, ac 1; so D₂ = 1 / (1 + 2·2) = 0.2.
        let model = KneserNey::count(&[0, 1, 0, 1, 0, 2], 2, 4).unwrap();
        // After how many different tokens: a 1, b 1, c 1; D₁ is 3 / 3, held to 0.95.
        let lower = |seen: f64| ((seen - 0.95f64).max(0.0) + 0.95 * 3.0 * 0.25) / 3.0;
        let expected = (2.0 - 0.2) / 3.0 + 0.2 * 2.0 / 3.0 * lower(1.0);
        assert!((model.probability(&[0], 1) - expected).abs() < 1e-12);
        let unseen = 0.2 * 2.0 / 3.0 * lower(0.0);
        assert!((model.probability(&[0], 3) - unseen).abs() < 1e-12);
        // Nothing ever followed c.
        assert!((model.probability(&[2], 1) - lower(1.0)).abs() < 1e-12);
    }

    #[test]
    fn longer_contexts_predict_better_what_has_a_pattern() {
        let stream = stream();
        let (known, new) = stream.split_at(3000);
        let bits = |order| KneserNey::count(known, order, 12).unwrap().nats(new);
        assert!(bits(3) < 0.8 * bits(1), "{} {}", bits(3), bits(1));
        assert!(KneserNey::count(known, 7, 12).is_err());
        assert!(KneserNey::count(known, 2, 5).is_err());
    }
}
