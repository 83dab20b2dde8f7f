//! Normal and uniform noise that PyTorch's CPU generator would give for the same seed.
//!
//! The generator is MT19937 ([Matsumoto and Nishimura 1998](https://doi.org/10.1145/272991.272995)).
//! How its words become numbers follows PyTorch's
//! [DistributionTemplates.h](https://github.com/pytorch/pytorch/blob/main/aten/src/ATen/native/cpu/DistributionTemplates.h)
//! and [DistributionsHelper.h](https://github.com/pytorch/pytorch/blob/main/aten/src/ATen/core/DistributionsHelper.h):
//! from 16 numbers on Box-Muller in f32 over blocks of 16, below that in f64 with the second normal
//! kept for later. The f32 logarithm, sine and cosine are the [Cephes](https://www.netlib.org/cephes/)
//! approximations with the fused multiplications of its AVX2 form, so that the bits are those that
//! PyTorch gives on x86 with AVX2 or AVX-512, on every machine.

/// Where a sampler takes its noise from.
pub trait NormalSource {
    /// Fills `out` with independent standard normal numbers.
    fn fill_normal(&mut self, out: &mut [f32]);
}

const WORDS: usize = 624;
const SHIFT: usize = 397;

/// PyTorch's CPU generator: `TorchRng::new(s)` stands where `torch.manual_seed(s)` does.
#[derive(Clone, Debug)]
pub struct TorchRng {
    state: [u32; WORDS],
    next: usize,
    /// The second normal of the last pair drawn one by one.
    spare: Option<f64>,
}

impl TorchRng {
    /// The generator after `torch.manual_seed(seed)`. As there, only the low 32 bits count.
    pub fn new(seed: u64) -> Self {
        let mut state = [0; WORDS];
        let mut word = seed as u32;
        for (i, slot) in state.iter_mut().enumerate() {
            if i > 0 {
                word = (word ^ (word >> 30))
                    .wrapping_mul(1_812_433_253)
                    .wrapping_add(i as u32);
            }
            *slot = word;
        }
        Self {
            state,
            next: WORDS,
            spare: None,
        }
    }

    /// `torch.rand(out.len())` in f32: numbers in [0, 1) with 24 random bits.
    pub fn fill_uniform(&mut self, out: &mut [f32]) {
        const STEP: f32 = 1.0 / (1u32 << 24) as f32;
        for value in out {
            *value = (self.word() & 0x00FF_FFFF) as f32 * STEP;
        }
    }

    /// `torch.rand(count)` in f32.
    pub fn uniform(&mut self, count: usize) -> Vec<f32> {
        let mut out = vec![0.0; count];
        self.fill_uniform(&mut out);
        out
    }

    /// `torch.randn(count)` in f32.
    pub fn normal(&mut self, count: usize) -> Vec<f32> {
        let mut out = vec![0.0; count];
        self.fill_normal(&mut out);
        out
    }

    fn refill(&mut self) {
        for i in 0..WORDS {
            let mixed = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % WORDS] & 0x7FFF_FFFF);
            let odd = if mixed & 1 == 1 { 0x9908_B0DF } else { 0 };
            self.state[i] = self.state[(i + SHIFT) % WORDS] ^ (mixed >> 1) ^ odd;
        }
        self.next = 0;
    }

    fn word(&mut self) -> u32 {
        if self.next == WORDS {
            self.refill();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9D2C_5680;
        y ^= (y << 15) & 0xEFC6_0000;
        y ^ (y >> 18)
    }

    /// Uniform in [0, 1) with 53 random bits; the first word is the high one.
    fn uniform_f64(&mut self) -> f64 {
        let high = u64::from(self.word()) << 32;
        let bits = (high | u64::from(self.word())) & ((1 << 53) - 1);
        bits as f64 * (1.0 / (1u64 << 53) as f64)
    }

    fn normal_f64(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let angle = 2.0 * std::f64::consts::PI * self.uniform_f64();
        let radius = (-2.0 * (-self.uniform_f64()).ln_1p()).sqrt();
        self.spare = Some(radius * angle.sin());
        radius * angle.cos()
    }
}

impl NormalSource for TorchRng {
    fn fill_normal(&mut self, out: &mut [f32]) {
        const BLOCK: usize = 16;
        if out.len() < BLOCK {
            for value in out {
                *value = self.normal_f64() as f32;
            }
            return;
        }
        self.fill_uniform(out);
        let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
        blocks.iter_mut().for_each(box_muller);
        if !rest.is_empty() {
            // The last 16 are drawn once more, over what is there already.
            let at = out.len() - BLOCK;
            let mut last = [0.0; BLOCK];
            self.fill_uniform(&mut last);
            box_muller(&mut last);
            out[at..].copy_from_slice(&last);
        }
    }
}

/// Sixteen uniform numbers into normal ones: radii from the first eight, angles from the others.
fn box_muller(block: &mut [f32; 16]) {
    let (radii, angles) = block.split_at_mut(8);
    for (a, b) in radii.iter_mut().zip(angles) {
        let radius = (-2.0 * ln(1.0 - *a)).sqrt();
        let (sin, cos) = sin_cos(std::f32::consts::TAU * *b);
        (*a, *b) = (radius * cos, radius * sin);
    }
}

/// Cephes' `logf` for normal numbers in (0, 1].
fn ln(x: f32) -> f32 {
    const P: [f32; 9] = [
        7.037_683_6e-2,
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    let bits = x.to_bits();
    let mut exponent = ((bits >> 23) as i32 - 126) as f32;
    // The mantissa in [1/2, 1).
    let mut m = f32::from_bits((bits & 0x007F_FFFF) | 0x3F00_0000);
    if m < std::f32::consts::FRAC_1_SQRT_2 {
        exponent -= 1.0;
        m = (m - 1.0) + m;
    } else {
        m -= 1.0;
    }
    let square = m * m;
    let series = P[1..].iter().fold(P[0], |y, &p| y.mul_add(m, p)) * m;
    let low = series.mul_add(square, exponent * -2.121_944_4e-4);
    exponent.mul_add(0.693_359_4, m + square.mul_add(-0.5, low))
}

/// Cephes' `sinf` and `cosf` for x ≥ 0.
fn sin_cos(x: f32) -> (f32, f32) {
    // To the nearest even multiple of π/4, which is taken away in three exact pieces.
    let octant = ((x * (4.0 / std::f32::consts::PI)) as i32 + 1) & !1;
    let y = octant as f32;
    let r = y.mul_add(-0.785_156_25, x);
    let r = y.mul_add(-3.774_895e-8, y.mul_add(-2.418_756_5e-4, r));
    let z = r * r;
    let cos = z.mul_add(2.443_315_7e-5, -1.388_731_6e-3);
    let cos = cos.mul_add(z, 4.166_664_6e-2) * z;
    let cos = cos.mul_add(z, -(z * 0.5)) + 1.0;
    let sin = z.mul_add(-1.951_529_6e-4, 8.332_161e-3);
    let sin = (sin.mul_add(z, -1.666_665_5e-1) * z).mul_add(r, r);
    match octant & 6 {
        0 => (sin, cos),
        2 => (cos, -sin),
        4 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_mt19937() {
        // The reference implementation's output for its default seed: the first and the 10000th.
        let mut rng = TorchRng::new(5489);
        assert_eq!(rng.word(), 3_499_211_612);
        let last = (1..10_000).map(|_| rng.word()).last();
        assert_eq!(last, Some(4_123_659_995));
    }

    #[test]
    fn approximations_are_close_to_the_system() {
        for i in 1..=1 << 16 {
            let u = i as f32 / (1 << 16) as f32;
            let want = f64::from(u).ln();
            assert!((f64::from(ln(u)) - want).abs() <= 2e-7 * want.abs().max(1e-2));
            let angle = std::f32::consts::TAU * u;
            let (sin, cos) = sin_cos(angle);
            assert!((f64::from(sin) - f64::from(angle).sin()).abs() < 2e-7);
            assert!((f64::from(cos) - f64::from(angle).cos()).abs() < 2e-7);
        }
    }

    #[test]
    fn no_numbers_take_no_words() {
        let mut rng = TorchRng::new(1);
        rng.fill_normal(&mut []);
        rng.fill_uniform(&mut []);
        assert_eq!(rng.next, WORDS);
    }
}
