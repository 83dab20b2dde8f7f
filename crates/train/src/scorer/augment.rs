//! Changes of pictures that leave what they show: the scorer has to see through what generators get slightly wrong.

use medley_kernels::pool::parallel_chunks;

use crate::random::{Purpose, normal, unit};

/// Largest changes at a strength of 1: scale and stretch (logarithm), turn (radians), shift (of a side), contrast
/// (logarithm), brightness, and deviation of noise (pixels are −1 … 1).
const SCALE: f64 = 0.14;
const STRETCH: f64 = 0.06;
const TURN: f64 = 0.12;
const SHIFT: f64 = 0.125;
const CONTRAST: f64 = 0.15;
const BRIGHTNESS: f64 = 0.08;
const NOISE: f64 = 0.08;

/// How one picture is changed.
struct Change {
    /// From places of the new picture to those of the old one, around the middle.
    matrix: [f64; 4],
    shift: [f64; 2],
    contrast: f32,
    brightness: f32,
    noise: f32,
}

impl Change {
    /// The change of picture `at` of batch `number`.
    fn draw(strength: f64, seed: u64, number: u64, at: u64) -> Self {
        let even = |place: u64, most: f64| {
            let u = unit(seed, Purpose::Augment, number, at * 16 + place);
            (2.0 * u - 1.0) * most * strength
        };
        let (scale, stretch) = (even(0, SCALE), even(1, STRETCH));
        let (w, h) = ((scale + stretch).exp(), (scale - stretch).exp());
        let (sin, cos) = even(2, TURN).sin_cos();
        Self {
            matrix: [cos * w, -sin * h, sin * w, cos * h],
            shift: [even(3, SHIFT), even(4, SHIFT)],
            contrast: even(5, CONTRAST).exp() as f32,
            brightness: even(6, BRIGHTNESS) as f32,
            noise: even(7, NOISE).max(0.0) as f32,
        }
    }

    /// One plane; between pixels it is interpolated, beyond the edge the edge goes on.
    fn plane(&self, from: &[f32], to: &mut [f32], [height, width]: [usize; 2]) {
        let (cx, cy) = (width as f64 / 2.0, height as f64 / 2.0);
        let (sx, sy) = (self.shift[0] * width as f64, self.shift[1] * height as f64);
        let [a, b, c, d] = self.matrix;
        for (at, to) in to.iter_mut().enumerate() {
            let dx = (at % width) as f64 + 0.5 - cx;
            let dy = (at / width) as f64 + 0.5 - cy;
            let x = (a * dx + b * dy + cx + sx - 0.5).clamp(0.0, (width - 1) as f64);
            let y = (c * dx + d * dy + cy + sy - 0.5).clamp(0.0, (height - 1) as f64);
            let (left, top) = (x as usize, y as usize);
            let (right, below) = ((left + 1).min(width - 1), (top + 1).min(height - 1));
            let (fx, fy) = ((x - left as f64) as f32, (y - top as f64) as f32);
            let row = |y: usize| {
                let (l, r) = (from[y * width + left], from[y * width + right]);
                l + (r - l) * fx
            };
            let value = row(top) + (row(below) - row(top)) * fy;
            *to = value * self.contrast + self.brightness;
        }
    }
}

/// Changes pictures `[batch, channels, height, width]` by `strength`, each in another way, the same way for the same seed
/// and `number`.
pub(super) fn augment(
    pixels: &mut [f32],
    [_, channels, height, width]: [usize; 4],
    strength: f64,
    (seed, number): (u64, u64),
) {
    let (plane, values) = (height * width, channels * height * width);
    if strength <= 0.0 || values == 0 {
        return;
    }
    parallel_chunks(pixels, values, |at, picture| {
        let change = Change::draw(strength, seed, number, at as u64);
        let old = picture.to_vec();
        for (from, to) in old.chunks_exact(plane).zip(picture.chunks_exact_mut(plane)) {
            change.plane(from, to, [height, width]);
        }
        if change.noise > 0.0 {
            let place = number.wrapping_mul(1 << 20).wrapping_add(at as u64);
            let noise = normal(seed, Purpose::AugmentNoise, place, values);
            for (value, noise) in picture.iter_mut().zip(noise) {
                *value += change.noise * noise as f32;
            }
        }
        for value in picture {
            *value = value.clamp(-1.0, 1.0);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disc() -> Vec<f32> {
        let inside = |i: usize| {
            let (x, y) = ((i % 32) as f64 - 15.5, (i % 1024 / 32) as f64 - 15.5);
            x.hypot(y) < 8.0
        };
        let one = (0..3 * 1024).map(|i| if inside(i) { 1.0 } else { -1.0 });
        one.cycle().take(2 * 3 * 1024).collect()
    }

    #[test]
    fn changes_are_small_differ_and_come_again() {
        let before = disc();
        let run = |strength, number| {
            let mut pixels = before.clone();
            augment(&mut pixels, [2, 3, 32, 32], strength, (7, number));
            pixels
        };
        assert_eq!(run(0.0, 3), before);
        let after = run(1.0, 3);
        assert_eq!(after, run(1.0, 3));
        assert_ne!(after, run(1.0, 4));
        assert_ne!(after[..3072], after[3072..]);
        // The disc is still there: most pixels keep their side of grey.
        let kept = before.iter().zip(&after).filter(|(b, a)| *b * *a > 0.0);
        let share = kept.count() as f64 / before.len() as f64;
        assert!((0.8..0.999).contains(&share), "{share}");
        assert!(after.iter().all(|x| (-1.0..=1.0).contains(x)));
    }
}
