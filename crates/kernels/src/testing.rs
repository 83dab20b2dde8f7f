//! What the unit tests of this crate share.

use crate::{Isa, with_isa};

/// A counter-based generator (SplitMix64), so that a failing case is seen again.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }

    pub(crate) fn normal(&mut self, n: usize, scale: f32) -> Vec<f32> {
        let mut one = || {
            let (u, v) = (1.0 - self.unit(), self.unit());
            (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
        };
        (0..n).map(|_| one() as f32 * scale).collect()
    }
}

/// Runs `f` with each instruction set that this machine has.
pub(crate) fn each_isa(f: impl Fn()) {
    for &isa in Isa::ALL.iter().filter(|isa| isa.available()) {
        with_isa(isa, &f);
    }
}

/// Each element within `relative` of its own size plus `absolute`.
#[track_caller]
pub(crate) fn assert_close(got: &[f32], want: &[f64], relative: f64, absolute: f64) {
    assert_eq!(got.len(), want.len());
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(got) - want).abs();
        assert!(
            error <= relative * want.abs() + absolute,
            "element {i} is {got}, should be {want} (error {error:e})"
        );
    }
}

/// The gradient of a double-precision function by central differences.
pub(crate) fn gradient(x: &[f32], f: impl Fn(&[f32]) -> f64) -> Vec<f64> {
    let mut x = x.to_vec();
    (0..x.len())
        .map(|i| {
            let (old, step) = (x[i], 1e-3 * x[i].abs().max(1.0));
            x[i] = old + step;
            let (up, high) = (x[i], f(&x));
            x[i] = old - step;
            let (down, low) = (x[i], f(&x));
            x[i] = old;
            (high - low) / (f64::from(up) - f64::from(down))
        })
        .collect()
}
