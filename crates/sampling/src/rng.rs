//! Random numbers that depend on nothing but a seed and a position.
//!
//! Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): integer
//! arithmetic only, so every platform draws the same numbers, and any position is reached at once.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// What a draw is for. Draws of different purposes at one position are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Choosing the token that is kept.
    Token = 0,
    /// Choosing the token that a draft model proposes.
    Draft = 1,
    /// Deciding whether a proposed token is kept.
    Acceptance = 2,
}

/// A counter-based generator: the same seed, purpose and position give the same number, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CounterRng {
    key: [u32; 2],
}

impl CounterRng {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            key: [seed as u32, (seed >> 32) as u32],
        }
    }

    /// A number in [0, 1) with 53 random bits.
    pub(crate) fn uniform(&self, purpose: Purpose, position: u64) -> f64 {
        let counter = [position as u32, (position >> 32) as u32, purpose as u32, 0];
        let words = philox(counter, self.key);
        let bits = (u64::from(words[0]) << 32 | u64::from(words[1])) >> 11;
        bits as f64 * (1.0 / (1u64 << 53) as f64)
    }
}

fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..ROUNDS {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        let low = u64::from(MULTIPLIERS[0]) * u64::from(counter[0]);
        let high = u64::from(MULTIPLIERS[1]) * u64::from(counter[2]);
        counter = [
            (high >> 32) as u32 ^ counter[1] ^ key[0],
            high as u32,
            (low >> 32) as u32 ^ counter[3] ^ key[1],
            low as u32,
        ];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers_of_the_random123_distribution() {
        assert_eq!(
            philox([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn uniform_fills_the_unit_interval_evenly() {
        let rng = CounterRng::new(7);
        let mut bins = [0u32; 16];
        for position in 0..16_000 {
            let u = rng.uniform(Purpose::Token, position);
            assert!((0.0..1.0).contains(&u));
            bins[(u * 16.0) as usize] += 1;
        }
        let chi: f64 = bins
            .iter()
            .map(|&n| (f64::from(n) - 1000.0).powi(2) / 1000.0)
            .sum();
        // 15 degrees of freedom: 37.7 is exceeded by chance once in a thousand.
        assert!(chi < 37.7, "chi-square {chi}");
    }

    #[test]
    fn seed_purpose_and_position_all_matter() {
        let a = CounterRng::new(1).uniform(Purpose::Token, 5);
        assert_ne!(a, CounterRng::new(2).uniform(Purpose::Token, 5));
        assert_ne!(a, CounterRng::new(1 | 1 << 32).uniform(Purpose::Token, 5));
        assert_ne!(a, CounterRng::new(1).uniform(Purpose::Draft, 5));
        assert_ne!(a, CounterRng::new(1).uniform(Purpose::Token, 6));
        assert_ne!(a, CounterRng::new(1).uniform(Purpose::Token, 5 | 1 << 32));
    }
}
