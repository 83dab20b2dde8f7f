//! Random numbers that depend on nothing but a seed, a purpose and a place, so that a run that goes on draws
//! what the run that was not stopped would have drawn.
//!
//! The mixing function is that of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
//! generators", OOPSLA 2014).

/// What a draw is for; draws of different purposes are independent.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    /// The order of an epoch.
    Order = 1,
    /// Which caption of a picture.
    Caption = 2,
    /// Whether a picture is mirrored.
    Flip = 3,
    /// Where a picture is cut, across.
    CropX = 4,
    /// Where a picture is cut, down.
    CropY = 5,
    /// Which pictures of a group.
    Group = 6,
    /// First weights of a model.
    Weights = 7,
    /// Tokens of a speed measurement.
    Tokens = 8,
    /// Which documents are kept for evaluation.
    HoldOut = 9,
    /// Noise that is mixed into pictures.
    Noise = 10,
    /// How much of it.
    Time = 11,
    /// Whether a caption is left out.
    Drop = 12,
    /// Vectors that pictures are made of.
    Latent = 13,
    /// How pictures are distorted.
    Distort = 14,
    /// How pictures that a scorer learns from are changed.
    Augment = 20,
    /// Noise on them.
    AugmentNoise = 21,
    /// Noise that the frames of a clip have in common.
    SharedNoise = 22,
    /// Which frames of a clip are given.
    Known = 23,
    /// Whether a caption says the rate.
    Rate = 24,
    /// How a still picture is set in motion.
    Motion = 25,
    /// Which part of a picture, and how it is made smaller.
    Part = 15,
}

/// 64 random bits.
pub(crate) fn bits(seed: u64, purpose: Purpose, epoch: u64, place: u64) -> u64 {
    let mut state = seed;
    for word in [purpose as u64, epoch, place] {
        state = mix(state.wrapping_add(0x9E37_79B9_7F4A_7C15)
            ^ mix(word.wrapping_add(0x9E37_79B9_7F4A_7C15)));
    }
    state
}

/// A number below `n`, which is at least 1. The bias of the multiplication is below n / 2⁶⁴.
pub(crate) fn below(n: u64, bits: u64) -> u64 {
    ((u128::from(bits) * u128::from(n)) >> 64) as u64
}

/// A number in (0, 1).
pub(crate) fn unit(seed: u64, purpose: Purpose, epoch: u64, place: u64) -> f64 {
    ((bits(seed, purpose, epoch, place) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// `count` numbers of the standard normal distribution.
pub(crate) fn normal(
    seed: u64,
    purpose: Purpose,
    epoch: u64,
    count: usize,
) -> impl Iterator<Item = f64> {
    normal_at(seed, purpose, epoch, 0..count as u64)
}

/// Those at these places (Box and Muller 1958).
pub(crate) fn normal_at(
    seed: u64,
    purpose: Purpose,
    epoch: u64,
    places: std::ops::Range<u64>,
) -> impl Iterator<Item = f64> {
    let unit = move |place: u64| unit(seed, purpose, epoch, place);
    // Two numbers of a pair come from the same two draws.
    let first = places.start & !1;
    let pair = move |at: u64| {
        let radius = (-2.0 * unit(at).ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * unit(at + 1)).sin_cos();
        [radius * cosine, radius * sine]
    };
    let (skipped, count) = (places.start - first, places.end - places.start);
    let pairs = (first..places.end).step_by(2).flat_map(pair);
    pairs.skip(skipped as usize).take(count as usize)
}

/// A number for a text (FNV-1a).
pub(crate) fn of_text(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mixing_is_that_of_splitmix64() {
        // The first outputs of the generator with seed 1234567, as published with its reference code.
        let mut state = 1_234_567u64;
        let mut next = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            mix(state)
        };
        assert_eq!(next(), 6_457_827_717_110_365_317);
        assert_eq!(next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn draws_are_even_and_differ_by_every_argument() {
        let mut counts = [0u32; 10];
        for place in 0..10_000 {
            counts[below(10, bits(7, Purpose::Order, 0, place)) as usize] += 1;
        }
        assert!(
            counts.iter().all(|&n| (850..1150).contains(&n)),
            "{counts:?}"
        );
        let all = [
            bits(1, Purpose::Order, 0, 0),
            bits(2, Purpose::Order, 0, 0),
            bits(1, Purpose::Flip, 0, 0),
            bits(1, Purpose::Order, 1, 0),
            bits(1, Purpose::Order, 0, 1),
        ];
        let distinct: std::collections::HashSet<u64> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
