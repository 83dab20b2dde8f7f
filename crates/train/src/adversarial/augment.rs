//! Pictures distorted before the discriminator sees them, as often as it needs it.

use medley_nn::{Error as NnError, Tensor, TensorError};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::random::{Purpose, below, bits, unit};

/// How often pictures are distorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Augmentation {
    /// As often as it takes to keep the discriminator from knowing its pictures by heart
    /// ([Karras et al. 2020](https://arxiv.org/abs/2006.06676)).
    #[default]
    Adaptive,
    /// Each kind of distortion with this probability.
    Fixed(f64),
}

/// Mean sign of the scores of real pictures that is aimed at.
const TARGET: f64 = 0.6;
/// Steps from one adjustment to the next.
const EVERY: u64 = 4;
/// Pictures over which the probability can go from 0 to 1.
const PICTURES: u64 = 100_000;
/// Distortions that almost always happen are learned as if they were in the pictures (figure 4 there).
const MOST: f64 = 0.8;

/// The probability of distortions, steered by how sure the discriminator is of real pictures. All of it are whole numbers,
/// so that a run that goes on has the very same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adaptive {
    /// The probability, in parts of [`PICTURES`].
    level: u64,
    /// Sum of signs since the last adjustment.
    signs: i64,
    /// Scores since then.
    scores: u64,
    /// Steps since then.
    steps: u64,
}

impl Adaptive {
    /// The probability of each distortion.
    pub fn probability(&self, how: Augmentation) -> f64 {
        match how {
            Augmentation::Adaptive => self.level as f64 / PICTURES as f64,
            Augmentation::Fixed(p) => p,
        }
    }

    /// Takes in the scores of a step's real pictures.
    pub fn see(&mut self, real: &[f32]) {
        let signs = real
            .iter()
            .map(|&s| i64::from(s > 0.0) - i64::from(s < 0.0));
        self.signs += signs.sum::<i64>();
        self.scores += real.len() as u64;
        self.steps += 1;
        if self.steps < EVERY {
            return;
        }
        let mean = self.signs as f64 / self.scores.max(1) as f64;
        if mean > TARGET {
            let most = (MOST * PICTURES as f64) as u64;
            self.level = (self.level + self.scores).min(most);
        } else {
            self.level = self.level.saturating_sub(self.scores);
        }
        (self.signs, self.scores, self.steps) = (0, 0, 0);
    }
}

/// What is done to a picture: the distortions of [Zhao et al. 2020](https://arxiv.org/abs/2006.10738) and mirroring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distortion {
    /// Added to every value, −½ to ½.
    pub brightness: f32,
    /// Factor of the distance of colours from the mean of their pixel, 0 to 2.
    pub saturation: f32,
    /// Factor of the distance of values from the mean of the picture, ½ to 1½.
    pub contrast: f32,
    /// Left for right.
    pub mirrored: bool,
    /// Pixels to the right and down; what comes in repeats the edge.
    pub shift: [i32; 2],
    /// Corner (left, top) of a square of half the sides that becomes 0. It may lie partly outside.
    pub cut: Option<[i32; 2]>,
}

impl Default for Distortion {
    /// None.
    fn default() -> Self {
        Self {
            brightness: 0.0,
            saturation: 1.0,
            contrast: 1.0,
            mirrored: false,
            shift: [0; 2],
            cut: None,
        }
    }
}

impl Distortion {
    /// The distortions of the `i`th picture of a batch. Each kind is there with `probability`; `draw` is the seed, and the
    /// number of the batch.
    pub(crate) fn random(
        probability: f64,
        (seed, batch): (u64, u64),
        i: usize,
        size: usize,
    ) -> Self {
        let mut out = Self::default();
        let place = |number: u64| i as u64 * 16 + number;
        let number = |n: u64| unit(seed, Purpose::Distort, batch, place(n)) as f32;
        let whole =
            |n: u64, count: u64| below(count, bits(seed, Purpose::Distort, batch, place(n))) as i32;
        let happens = |n: u64| unit(seed, Purpose::Distort, batch, place(n)) < probability;
        let side = size as i32;
        if happens(0) {
            out.brightness = number(1) - 0.5;
        }
        if happens(2) {
            out.saturation = 2.0 * number(3);
        }
        if happens(4) {
            out.contrast = 0.5 + number(5);
        }
        out.mirrored = happens(6) && number(7) < 0.5;
        if happens(8) {
            // An eighth of the side each way.
            let most = side / 8;
            out.shift = [9, 10].map(|n| whole(n, 2 * most as u64 + 1) - most);
        }
        if happens(11) {
            out.cut = Some([12, 13].map(|n| whole(n, size as u64 + 1) - side / 4));
        }
        out
    }

    /// Where the pixel at `x`, `y` comes from.
    fn source(&self, x: usize, y: usize, [width, height]: [usize; 2]) -> usize {
        let from = |at: usize, shift: i32, side: usize| {
            (at as i64 - i64::from(shift)).clamp(0, side as i64 - 1) as usize
        };
        let (x, y) = (
            from(x, self.shift[0], width),
            from(y, self.shift[1], height),
        );
        y * width + if self.mirrored { width - 1 - x } else { x }
    }

    fn keeps(&self, x: usize, y: usize, [width, height]: [usize; 2]) -> bool {
        let within = |at: usize, from: i32, side: usize| {
            (from..from + side as i32 / 2).contains(&(at as i32))
        };
        !self
            .cut
            .is_some_and(|[left, top]| within(x, left, width) && within(y, top, height))
    }
}

/// Pictures `[batch, channels, height, width]` with a distortion each, in the order of its fields; gradients flow back.
///
/// # Errors
/// [`crate::Error::Nn`] where there are not as many distortions.
pub fn distort(x: &Tensor, distortions: &[Distortion]) -> Result<Tensor> {
    if distortions.iter().all(|d| *d == Distortion::default()) {
        return Ok(x.clone());
    }
    let moved = coloured(x, distortions).and_then(|y| moved(&y, distortions));
    Ok(moved.map_err(NnError::from)?)
}

fn coloured(x: &Tensor, distortions: &[Distortion]) -> std::result::Result<Tensor, TensorError> {
    let each = |f: fn(&Distortion) -> f32| {
        let values: Vec<f32> = distortions.iter().map(f).collect();
        Tensor::from_vec(values, (distortions.len(), 1, 1, 1), x.device())
    };
    let x = x.broadcast_add(&each(|d| d.brightness)?)?;
    let around = |x: &Tensor, mean: Tensor, factors: Tensor| {
        x.broadcast_sub(&mean)?
            .broadcast_mul(&factors)?
            .broadcast_add(&mean)
    };
    let grey = x.mean_keepdim(1)?;
    let x = around(&x, grey, each(|d| d.saturation)?)?;
    let mean = x.mean_keepdim((1, 2, 3))?;
    around(&x, mean, each(|d| d.contrast)?)
}

fn moved(x: &Tensor, distortions: &[Distortion]) -> std::result::Result<Tensor, TensorError> {
    let (batch, channels, height, width) = x.dims4()?;
    let (sides, plane) = ([width, height], height * width);
    let (mut index, mut kept) = (Vec::new(), Vec::new());
    for d in distortions {
        let places = || (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let row: Vec<u32> = places()
            .map(|(x, y)| d.source(x, y, sides) as u32)
            .collect();
        (0..channels).for_each(|_| index.extend_from_slice(&row));
        kept.extend(places().map(|(x, y)| f32::from(u8::from(d.keeps(x, y, sides)))));
    }
    let index = Tensor::from_vec(index, (batch, channels, plane), x.device())?;
    let kept = Tensor::from_vec(kept, (batch, 1, height, width), x.device())?;
    x.contiguous()?
        .reshape((batch, channels, plane))?
        .gather(&index, 2)?
        .reshape((batch, channels, height, width))?
        .broadcast_mul(&kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probability_follows_the_sign_of_real_scores() {
        let how = Augmentation::Adaptive;
        let mut adaptive = Adaptive::default();
        let sure = [1.0f32; 8];
        // Eight in ten positive: a mean sign of 0.6, which is what is aimed at.
        let aimed = [1.0f32, 1.0, 1.0, 1.0, -1.0, 1.0, 1.0, 1.0, 1.0, -1.0];
        for _ in 0..3 {
            adaptive.see(&sure);
        }
        assert_eq!(adaptive.probability(how), 0.0);
        adaptive.see(&sure);
        assert_eq!(adaptive.probability(how), 32.0 / 100_000.0);
        for _ in 0..4 {
            adaptive.see(&aimed);
        }
        assert_eq!(adaptive.probability(how), 0.0);
        for _ in 0..20_000 {
            adaptive.see(&sure);
        }
        assert_eq!(adaptive.probability(how), MOST);
        assert_eq!(adaptive.probability(Augmentation::Fixed(0.25)), 0.25);
    }

    #[test]
    fn each_kind_comes_as_often_as_asked() {
        let draw = |i: u64| Distortion::random(0.3, (5, i / 100), (i % 100) as usize, 32);
        let all: Vec<Distortion> = (0..4000u64).map(draw).collect();
        let none = Distortion::default();
        let share = |is: &dyn Fn(&Distortion) -> bool| {
            all.iter().filter(|d| is(d)).count() as f64 / all.len() as f64
        };
        let near = |found: f64, expected: f64| (found - expected).abs() < 0.03;
        assert!(near(share(&|d| d.brightness != 0.0), 0.3));
        assert!(near(share(&|d| d.saturation != 1.0), 0.3));
        assert!(near(share(&|d| d.contrast != 1.0), 0.3));
        assert!(near(share(&|d| d.mirrored), 0.15));
        // One shift in 81 is none.
        assert!(near(share(&|d| d.shift != [0; 2]), 0.3));
        assert!(near(share(&|d| d.cut.is_some()), 0.3));
        let within = |d: &Distortion| {
            d.shift.iter().all(|s| (-4..=4).contains(s))
                && d.cut
                    .is_none_or(|c| c.iter().all(|c| (-8..=24).contains(c)))
                && (-0.5..=0.5).contains(&d.brightness)
                && (0.0..=2.0).contains(&d.saturation)
                && (0.5..=1.5).contains(&d.contrast)
        };
        assert!(all.iter().all(within));
        // Kinds come independently of each other.
        assert!(near(share(&|d| *d == none), 0.7f64.powi(5) * 0.85));
        assert!((0..100).all(|i| Distortion::random(0.0, (5, 1), i, 32) == none));
    }
}
