//! The search for scales that types with free scales need.
//!
//! A sub-block `x` is to become `s · q` (symmetric) or `s · q - m` (affine) with codes `q` from a grid. For fixed codes the
//! best scale is that of weighted least squares; for a fixed scale the best codes are the nearest ones. The search
//! starts from a row of scales around the one that maps the extreme onto the end of the grid, takes the best after
//! one step of least squares, and alternates from there (Lloyd's method, <https://en.wikipedia.org/wiki/Lloyd%27s_algorithm>).
//! Then the scales of a super-block are rounded to multiples of a common half: each sub-block takes the neighbour
//! that errs least with its own codes, the common scale is refitted by least squares over all of them, and the better
//! of both attempts stays.
//!
//! Errors are weighted by `σ + |x|` (σ: root mean square of the sub-block), as large weights move more of the output.
//! Sub-blocks come scaled by a power of two such that the super-block's extreme lies in [1, 2): nothing overflows or
//! underflows, and halves are rounded only once.

use half::f16;

use crate::dequant::IQ4_VALUES;

/// Elements of a super-block.
pub(super) const SUPER: usize = 256;
/// Lanes of the sums, so that they vectorise in one fixed order.
const LANES: usize = 8;
/// Scales that are tried on each side of the plain one.
const TRIES: i32 = 9;
/// Steps of alternation after the first.
const POLISH: usize = 3;

/// Codes and what they stand for.
pub(super) trait Grid {
    /// The two ends.
    const ENDS: [f32; 2];
    /// Distance of the first scales that are tried, as a part of an end.
    const STEP: f32;
    /// The value of the grid that is nearest to `v`.
    fn nearest(v: f32) -> f32;
    /// The code of a value of the grid.
    fn code(value: f32) -> u8;
}

/// The integers from `-HALF` to `HALF - 1`, with codes from 0.
pub(super) struct Levels<const HALF: i32>;

impl<const HALF: i32> Grid for Levels<HALF> {
    const ENDS: [f32; 2] = [-HALF as f32, HALF as f32 - 1.0];
    const STEP: f32 = 0.1;

    #[inline(always)]
    fn nearest(v: f32) -> f32 {
        round(v.clamp(Self::ENDS[0], Self::ENDS[1]))
    }

    fn code(value: f32) -> u8 {
        (value as i32 + HALF) as u8
    }
}

/// The table of `IQ4_NL`.
pub(super) struct Iq4;

/// The nearest of [`IQ4_VALUES`] by `floor(2 v)`: borders between neighbours are multiples of a half.
static IQ4_NEAREST: [i8; 512] = {
    let mut table = [0; 512];
    let (mut i, mut code) = (0, 0);
    while i < 512 {
        while code < 15 && i as i32 - 256 >= IQ4_VALUES[code] as i32 + IQ4_VALUES[code + 1] as i32 {
            code += 1;
        }
        table[i] = IQ4_VALUES[code];
        i += 1;
    }
    table
};

impl Grid for Iq4 {
    const ENDS: [f32; 2] = [-127.0, 113.0];
    const STEP: f32 = 1.5;

    #[inline(always)]
    fn nearest(v: f32) -> f32 {
        // Positive before truncation, which is then a floor.
        let at = (v.clamp(-127.5, 127.0) * 2.0 + 256.0) as usize;
        f32::from(IQ4_NEAREST[at & 511])
    }

    fn code(value: f32) -> u8 {
        let value = value as i8;
        IQ4_VALUES.iter().take_while(|&&v| v < value).count() as u8
    }
}

/// The nearest integer, ties to even, for magnitudes below 2^22; vectorises without an instruction for it.
#[inline(always)]
pub(super) fn round(v: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0;
    (v + MAGIC) - MAGIC
}

/// `1 / v`, or 0 where that is no number.
#[inline(always)]
pub(super) fn inverse(v: f32) -> f32 {
    let inverse = 1.0 / v;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// Sums of `N` terms for each element, in a fixed order.
#[inline(always)]
fn sums<const N: usize>(x: &[f32], w: &[f32], terms: impl Fn(f32, f32) -> [f32; N]) -> [f32; N] {
    let mut acc = [[0.0f32; LANES]; N];
    for (x, w) in x
        .as_chunks::<LANES>()
        .0
        .iter()
        .zip(w.as_chunks::<LANES>().0)
    {
        for l in 0..LANES {
            let t = terms(x[l], w[l]);
            for n in 0..N {
                acc[n][l] += t[n];
            }
        }
    }
    acc.map(|a| ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7])))
}

/// The power of two by which a block was divided so that its extreme lies in [1, 2).
#[derive(Clone, Copy)]
pub(super) struct Unit {
    up: f32,
    down: f32,
}

impl Unit {
    /// Scales `x` to `out`; `None` for a block of zeros.
    pub(super) fn scale(x: &[f32], out: &mut [f32]) -> Option<Self> {
        let max = x.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        if max == 0.0 {
            return None;
        }
        // Denormals get the smallest exponent; both powers are then normal numbers.
        let exponent = (max.to_bits() >> 23).clamp(1, 253);
        let unit = Self {
            up: f32::from_bits(exponent << 23),
            down: f32::from_bits((254 - exponent) << 23),
        };
        out.iter_mut().zip(x).for_each(|(o, v)| *o = v * unit.down);
        Some(unit)
    }

    /// The half that stands for a scale, as it comes back.
    fn rounded(self, d: f32) -> f32 {
        f16::from_bits(super::half(d * self.up)).to_f32() * self.down
    }

    /// A scale in the units of the floats that came in.
    pub(super) fn whole(self, d: f32) -> f32 {
        d * self.up
    }
}

/// Weights of a sub-block's errors.
fn weigh(x: &[f32], w: &mut [f32]) {
    let [squares] = sums(x, x, |x, _| [x * x]);
    let sigma = (squares / x.len() as f32).sqrt();
    w.iter_mut().zip(x).for_each(|(w, x)| *w = sigma + x.abs());
}

/// The scale by which a sub-block errs least.
fn fit<G: Grid>(x: &[f32], w: &[f32]) -> f32 {
    let mut extreme = 0.0f32;
    for &v in x {
        if v.abs() > extreme.abs() {
            extreme = v;
        }
    }
    let id = inverse(extreme);
    if id == 0.0 {
        return 0.0;
    }
    // What the error falls short of the block's weighted square by, and the scale that does it.
    let moments = |id: f32| {
        let [xq, qq] = sums(x, w, |x, w| {
            let q = G::nearest(x * id);
            [w * x * q, w * q * q]
        });
        if qq > 0.0 {
            (xq * xq / qq, xq / qq)
        } else {
            (0.0, 0.0)
        }
    };
    let mut best = (0.0, 0.0);
    for end in G::ENDS {
        for i in -TRIES..=TRIES {
            let found = moments((end + G::STEP * i as f32) * id);
            if found.0 > best.0 {
                best = found;
            }
        }
    }
    for _ in 0..POLISH {
        let found = moments(inverse(best.1));
        if found.0 <= best.0 {
            break;
        }
        best = found;
    }
    best.1
}

/// Weighted squared error of a sub-block with this step.
fn error<G: Grid>(x: &[f32], w: &[f32], step: f32) -> f32 {
    let id = inverse(step);
    let [sum] = sums(x, w, |x, w| {
        let e = x - step * G::nearest(x * id);
        [w * e * e]
    });
    sum
}

/// A block whose sub-blocks share a scale: codes, whole factors of the common scale, and that scale.
pub(super) struct Symmetric {
    pub(super) d: f32,
    pub(super) factors: [i32; 16],
    pub(super) codes: [u8; SUPER],
}

/// A super-block in its unit, with the weights of its errors and the best scale of each sub-block.
struct SymmetricSearch<const SUB: usize> {
    x: [f32; SUPER],
    w: [f32; SUPER],
    scales: [f32; 16],
    /// Factors go from `-half` to `half - 1`.
    half: i32,
}

impl<const SUB: usize> SymmetricSearch<SUB> {
    const COUNT: usize = SUPER / SUB;

    fn new<G: Grid>(x: [f32; SUPER], half: i32) -> Self {
        let (mut w, mut scales) = ([0.0; SUPER], [0.0; 16]);
        for (i, scale) in scales.iter_mut().enumerate().take(Self::COUNT) {
            let range = i * SUB..(i + 1) * SUB;
            weigh(&x[range.clone()], &mut w[range.clone()]);
            *scale = fit::<G>(&x[range.clone()], &w[range]);
        }
        Self { x, w, scales, half }
    }

    /// The error with this common scale, and the factors by which each sub-block errs least.
    fn assign<G: Grid>(&self, d: f32) -> (f32, [i32; 16]) {
        let (id, mut factors, mut total) = (inverse(d), [0; 16], 0.0);
        for (i, chosen) in factors.iter_mut().enumerate().take(Self::COUNT) {
            let range = i * SUB..(i + 1) * SUB;
            let (x, w) = (&self.x[range.clone()], &self.w[range]);
            let middle = round((self.scales[i] * id).clamp(-256.0, 256.0)) as i32;
            let mut best = (f32::INFINITY, 0);
            for factor in middle - 1..=middle + 1 {
                let factor = factor.clamp(-self.half, self.half - 1);
                let e = error::<G>(x, w, d * factor as f32);
                if e < best.0 {
                    best = (e, factor);
                }
            }
            *chosen = best.1;
            total += best.0;
        }
        (total, factors)
    }

    fn nearest<G: Grid>(&self, d: f32, factors: &[i32; 16], at: usize) -> f32 {
        let step = d * factors[at / SUB] as f32;
        G::nearest(self.x[at] * inverse(step))
    }

    /// The common scale that is best for these factors and their codes.
    fn refit<G: Grid>(&self, d: f32, factors: &[i32; 16]) -> f32 {
        let (mut xq, mut qq) = (0.0, 0.0);
        for at in 0..SUPER {
            let q = factors[at / SUB] as f32 * self.nearest::<G>(d, factors, at);
            xq += self.w[at] * self.x[at] * q;
            qq += self.w[at] * q * q;
        }
        xq * inverse(qq)
    }
}

/// Finds codes for a super-block of `SUPER / SUB` sub-blocks with factors from `-half` to `half - 1`.
pub(super) fn symmetric<G: Grid, const SUB: usize>(
    values: &[f32; SUPER],
    half: i32,
) -> Option<Symmetric> {
    let mut x = [0.0; SUPER];
    let unit = Unit::scale(values, &mut x)?;
    let search = SymmetricSearch::<SUB>::new::<G>(x, half);
    let largest = search
        .scales
        .iter()
        .fold(0.0f32, |m, &s| if s.abs() > m.abs() { s } else { m });
    let mut d = unit.rounded(largest / -half as f32);
    let (total, mut factors) = search.assign::<G>(d);
    let refitted = unit.rounded(search.refit::<G>(d, &factors));
    if refitted != d {
        let again = search.assign::<G>(refitted);
        if again.0 < total {
            (factors, d) = (again.1, refitted);
        }
    }
    let codes = std::array::from_fn(|at| G::code(search.nearest::<G>(d, &factors, at)));
    Some(Symmetric {
        d: unit.whole(d),
        factors,
        codes,
    })
}

/// The scale by which a block of its own errs least, with its codes.
pub(super) fn single<G: Grid>(values: &[f32; 32]) -> Option<(f32, [u8; 32])> {
    let (mut x, mut w) = ([0.0; 32], [0.0; 32]);
    let unit = Unit::scale(values, &mut x)?;
    weigh(&x, &mut w);
    let d = unit.rounded(fit::<G>(&x, &w));
    let id = inverse(d);
    Some((unit.whole(d), x.map(|v| G::code(G::nearest(v * id)))))
}

/// Scale and minimum of `s · q - m` with `q` from 0 to `TOP` by which a sub-block errs least; `m` is not negative.
fn fit_affine<const TOP: u8>(x: &[f32], w: &[f32]) -> (f32, f32) {
    let top = f32::from(TOP);
    let low = x.iter().copied().fold(0.0, f32::min);
    let high = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let id = inverse(high - low);
    if id == 0.0 {
        return (0.0, -low);
    }
    let [sw, swx] = sums(x, w, |x, w| [w, w * x]);
    // What the error falls short of the block's weighted square by, scale and minimum, all by least squares.
    let moments = |id: f32, m: f32| -> (f32, f32, f32) {
        let [q1, q2, xq] = sums(x, w, |x, w| {
            let q = round(((x + m) * id).clamp(0.0, top));
            [w * q, w * q * q, w * x * q]
        });
        let det = sw * q2 - q1 * q1;
        let (mut s, mut m) = (0.0, -1.0);
        if det > 1e-6 * sw * q2 {
            (s, m) = ((sw * xq - swx * q1) / det, (q1 * xq - q2 * swx) / det);
        }
        if m < 0.0 {
            (s, m) = (xq * inverse(q2), 0.0);
        }
        let gain = 2.0 * s * xq - 2.0 * m * swx - s * s * q2 + 2.0 * s * m * q1 - m * m * sw;
        (gain, s, m)
    };
    let mut best = (f32::NEG_INFINITY, 0.0, -low);
    for i in -10..=TRIES {
        let found = moments((top + 0.1 * i as f32) * id, -low);
        if found.0 > best.0 && found.1 > 0.0 {
            best = found;
        }
    }
    for _ in 0..POLISH {
        let found = moments(inverse(best.1), best.2);
        if found.0 <= best.0 || found.1 <= 0.0 {
            break;
        }
        best = found;
    }
    (best.1, best.2)
}

fn error_affine<const TOP: u8>(x: &[f32], w: &[f32], step: f32, m: f32) -> f32 {
    let (id, top) = (inverse(step), f32::from(TOP));
    let [sum] = sums(x, w, |x, w| {
        let e = x - (step * round(((x + m) * id).clamp(0.0, top)) - m);
        [w * e * e]
    });
    sum
}

/// A super-block with scales and minima: codes, whole factors of the two common scales, and those.
pub(super) struct Affine {
    pub(super) d: f32,
    pub(super) dmin: f32,
    pub(super) scales: [u8; 16],
    pub(super) mins: [u8; 16],
    pub(super) codes: [u8; SUPER],
}

/// What is found for one pair of common scales.
#[derive(Clone, Copy)]
struct Assigned {
    d: f32,
    dmin: f32,
    total: f32,
    scales: [u8; 16],
    mins: [u8; 16],
}

/// A super-block in its unit, with the weights of its errors and the best scale and minimum of each sub-block.
struct AffineSearch<const TOP: u8, const SUB: usize> {
    x: [f32; SUPER],
    w: [f32; SUPER],
    fits: [(f32, f32); 16],
    limit: u8,
}

impl<const TOP: u8, const SUB: usize> AffineSearch<TOP, SUB> {
    const COUNT: usize = SUPER / SUB;

    fn new(x: [f32; SUPER], limit: u8) -> Self {
        let (mut w, mut fits) = ([0.0; SUPER], [(0.0, 0.0); 16]);
        for (i, fit) in fits.iter_mut().enumerate().take(Self::COUNT) {
            let range = i * SUB..(i + 1) * SUB;
            weigh(&x[range.clone()], &mut w[range.clone()]);
            *fit = fit_affine::<TOP>(&x[range.clone()], &w[range]);
        }
        Self { x, w, fits, limit }
    }

    /// The factors by which each sub-block errs least with these common scales.
    fn assign(&self, d: f32, dmin: f32) -> Assigned {
        let mut all = Assigned {
            d,
            dmin,
            total: 0.0,
            scales: [0; 16],
            mins: [0; 16],
        };
        let near = |v: f32, id: f32| {
            let middle = round((v * id).clamp(0.0, f32::from(self.limit))) as u8;
            middle.saturating_sub(1)..=(middle + 1).min(self.limit)
        };
        for i in 0..Self::COUNT {
            let range = i * SUB..(i + 1) * SUB;
            let (x, w) = (&self.x[range.clone()], &self.w[range]);
            let mut best = f32::INFINITY;
            for scale in near(self.fits[i].0, inverse(d)) {
                for min in near(self.fits[i].1, inverse(dmin)) {
                    let (step, m) = (d * f32::from(scale), dmin * f32::from(min));
                    let e = error_affine::<TOP>(x, w, step, m);
                    if e < best {
                        (best, all.scales[i], all.mins[i]) = (e, scale, min);
                    }
                }
            }
            all.total += best;
        }
        all
    }

    fn code(&self, a: &Assigned, at: usize) -> f32 {
        let step = a.d * f32::from(a.scales[at / SUB]);
        let m = a.dmin * f32::from(a.mins[at / SUB]);
        round(((self.x[at] + m) * inverse(step)).clamp(0.0, f32::from(TOP)))
    }

    /// The two common scales that are best for these factors and their codes; `None` where they do not determine them.
    fn refit(&self, found: &Assigned) -> Option<(f32, f32)> {
        let (mut aa, mut ab, mut bb, mut xa, mut xb) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for at in 0..SUPER {
            let a = f32::from(found.scales[at / SUB]) * self.code(found, at);
            let b = f32::from(found.mins[at / SUB]);
            let (w, x) = (self.w[at], self.x[at]);
            aa += w * a * a;
            ab += w * a * b;
            bb += w * b * b;
            xa += w * x * a;
            xb += w * x * b;
        }
        let det = aa * bb - ab * ab;
        (det > 1e-6 * aa * bb).then(|| ((xa * bb - xb * ab) / det, (xa * ab - xb * aa) / det))
    }
}

/// Finds codes from 0 to `TOP` for a super-block of `SUPER / SUB` sub-blocks with factors from 0 to `limit`.
pub(super) fn affine<const TOP: u8, const SUB: usize>(
    values: &[f32; SUPER],
    limit: u8,
) -> Option<Affine> {
    let mut x = [0.0; SUPER];
    let unit = Unit::scale(values, &mut x)?;
    let search = AffineSearch::<TOP, SUB>::new(x, limit);
    let (top_s, top_m) = search.fits.iter().fold((0.0f32, 0.0f32), |top, fit| {
        (top.0.max(fit.0), top.1.max(fit.1))
    });
    let common = |top: f32| unit.rounded(top / f32::from(limit));
    let mut best = search.assign(common(top_s), common(top_m));
    if let Some((d, dmin)) = search.refit(&best) {
        let (d, dmin) = (unit.rounded(d), unit.rounded(dmin));
        if d > 0.0 && dmin > 0.0 && (d, dmin) != (best.d, best.dmin) {
            let again = search.assign(d, dmin);
            if again.total < best.total {
                best = again;
            }
        }
    }
    Some(Affine {
        d: unit.whole(best.d),
        dmin: unit.whole(best.dmin),
        scales: best.scales,
        mins: best.mins,
        codes: std::array::from_fn(|at| search.code(&best, at) as u8),
    })
}
