//! Convolution along a sequence by fewer products (Winograd 1980; Lavin and Gray, arXiv:1509.09308).
//!
//! A tile of `m` outputs of `r` taps is a product of polynomials turned about: `m + r − 1` inputs and the kernel are
//! each turned into values at as many points, of which one is infinity, and an output is a sum over their products.
//! Eight points do for two to five taps (six outputs of three taps by 8 products where there were 18), ten for six and
//! seven. Points come in pairs ±a, whose even and odd powers are shared. What it costs is precision: the error is −123 dB
//! with eight points and −112 dB with ten, where plain sums have −137 dB.
#![allow(unsafe_code)] // tasks write disjoint rows of one slice; loads through pointers

use std::ops::Range;

use super::super::direct::Panels;
use super::super::winograd::by_points;
use super::Conv1dParams;
use crate::Isa;
use crate::memory::unspecified;
use crate::pool::{self, SharedMut};
use crate::simd::{Simd, simd_fn};

/// The points are 0, infinity, and the first three or all of these with both signs. Of the fourth points that were
/// tried (from 1/4 to 4), this one loses least.
const PAIRS: [f64; 4] = [1.0, 0.5, 2.0, 0.75];
/// Pairs of points at most, and points.
const MOST_PAIRS: usize = PAIRS.len();
const MOST_POINTS: usize = 2 * MOST_PAIRS + 2;
/// Taps that it is done for.
pub(super) const TAPS: [usize; 2] = [2, 7];

/// Pairs of points for so many taps.
fn pairs(taps: usize) -> usize {
    if taps <= 5 { 3 } else { 4 }
}

/// Kernels at each point.
#[derive(Clone, Debug)]
pub(super) struct Kernels {
    points: Vec<Panels>,
    sizes: [usize; 3],
}

impl Kernels {
    /// Of the kernel of which `at(output, input, tap)` is an element; `sizes` are outputs, inputs and taps.
    pub(super) fn new(
        isa: Isa,
        sizes: [usize; 3],
        at: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        let [outputs, inputs, taps] = sizes;
        let by_tap = by_tap(sizes, at);
        let point = |shares: &[f32; TAPS[1]]| {
            Panels::filled(isa, inputs, outputs, |input, columns, to| {
                let each = inputs * outputs;
                let first = input * outputs + columns.start;
                let width = columns.len();
                let taps = (0..taps).map(|k| &by_tap[k * each + first..][..width]);
                weigh(isa, &mut taps.zip(shares), to);
            })
        };
        Self {
            points: shares(taps).iter().map(point).collect(),
            sizes,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.points.iter().map(Panels::bytes).sum()
    }

    /// `length` rows of outputs of `n` rows of `x`.
    pub(super) fn forward(
        &self,
        isa: Isa,
        x: &[f32],
        params: &Conv1dParams<'_>,
        length: usize,
        out: &mut [f32],
    ) {
        match pairs(self.sizes[2]) {
            3 => self.with(isa, &EIGHT, x, params, length, out),
            _ => self.with(isa, &TEN, x, params, length, out),
        }
    }

    fn with<const P: usize>(
        &self,
        isa: Isa,
        turns: &Turns<P>,
        x: &[f32],
        params: &Conv1dParams<'_>,
        length: usize,
        out: &mut [f32],
    ) {
        let [outputs, inputs, taps] = self.sizes;
        let zeros = vec![0.0; inputs];
        let made = 2 * P + 3 - taps;
        let work = Work {
            x,
            inputs,
            outputs,
            made,
            length,
            params,
            zeros: &zeros,
        };
        // Tiles stand in groups, one for each place modulo the dilation.
        let total = length.div_ceil(made * params.dilation) * params.dilation;
        let out = SharedMut::new(out);
        by_points(
            isa,
            &self.points,
            [inputs, outputs],
            total,
            |range, to| turn_inputs(isa, turns, &work, range, to),
            |range, from| turn_outputs(isa, turns, &work, range, from, &out),
        );
    }
}

/// A matrix `[inputs, outputs]` for each tap.
fn by_tap(sizes: [usize; 3], at: impl Fn(usize, usize, usize) -> f32 + Sync) -> Vec<f32> {
    /// Outputs whose weights are read side by side.
    const RUN: usize = 16;
    let [outputs, inputs, taps] = sizes;
    let mut all = unspecified(outputs * inputs * taps);
    let shared = SharedMut::new(&mut all);
    pool::parallel_for(outputs.div_ceil(RUN), |run| {
        let run = run * RUN..((run + 1) * RUN).min(outputs);
        for (i, k) in (0..inputs).flat_map(|i| (0..taps).map(move |k| (i, k))) {
            let first = (k * inputs + i) * outputs;
            // SAFETY: these outputs are written by one task.
            let to = unsafe { shared.slice(first + run.start..first + run.end) };
            for (to, o) in to.iter_mut().zip(run.clone()) {
                *to = at(o, i, k);
            }
        }
    });
    all
}

simd_fn! {
    /// The sum of some rows, each times its share.
    fn weigh(s, rows: &mut dyn Iterator<Item = (&[f32], &f32)>, to: &mut [f32]) {
        to.fill(0.0);
        for (row, &share) in rows {
            let share = s.splat(share);
            for (to, x) in to.chunks_mut(S::LANES).zip(row.chunks(S::LANES)) {
                let sum = s.fma(share, s.load_part(x, 0.0), s.load_part(to, 0.0));
                s.store_part(to, sum);
            }
        }
    }
}

/// What a kernel's taps weigh at each point: powers of the point, over the product of its distances from the others.
fn shares(taps: usize) -> Vec<[f32; TAPS[1]]> {
    let pairs = PAIRS.iter().take(pairs(taps)).flat_map(|&a| [a, -a]);
    let finite: Vec<f64> = std::iter::once(0.0).chain(pairs).collect();
    let share = |point: &f64| {
        let others = finite.iter().filter(|other| *other != point);
        let by: f64 = others.map(|other| point - other).product();
        std::array::from_fn(|k| (point.powi(k as i32) / by) as f32)
    };
    let mut all: Vec<_> = finite.iter().map(share).collect();
    all.push(std::array::from_fn(|k| f32::from(k + 1 == taps)));
    all
}

/// How `2 · P + 2` inputs are turned to the points, and the products there back. With the pairs ±a, the inputs at 0 and
/// infinity are the coefficients of `q(x²)` with `q(y) = Π (y − a²)`, in even and odd places; those at ±a, of
/// `x (x ± a) q(x²) / (x² − a²)`.
struct Turns<const P: usize> {
    whole: [f32; MOST_PAIRS + 1],
    even: [[f32; P]; P],
    odd: [[f32; P]; P],
    /// Of each pair, by exponent.
    powers: [[f32; P]; MOST_POINTS],
}

const EIGHT: Turns<3> = Turns::new();
const TEN: Turns<4> = Turns::new();

impl<const P: usize> Turns<P> {
    const fn new() -> Self {
        let mut turns = Self {
            whole: [0.0; MOST_PAIRS + 1],
            even: [[0.0; P]; P],
            odd: [[0.0; P]; P],
            powers: [[0.0; P]; MOST_POINTS],
        };
        let whole = product::<P>(P);
        let mut i = 0;
        while i <= P {
            turns.whole[i] = whole[i] as f32;
            i += 1;
        }
        let mut pair = 0;
        while pair < P {
            let rest = product::<P>(pair);
            let mut k = 0;
            while k < P {
                turns.even[pair][k] = rest[k] as f32;
                turns.odd[pair][k] = (rest[k] * PAIRS[pair]) as f32;
                k += 1;
            }
            let (mut j, mut power) = (0, 1.0);
            while j < MOST_POINTS {
                turns.powers[j][pair] = power as f32;
                power *= PAIRS[pair];
                j += 1;
            }
            pair += 1;
        }
        turns
    }
}

/// The coefficients of `Π (y − a²)` over the first `P` points but `without`.
const fn product<const P: usize>(without: usize) -> [f64; MOST_PAIRS + 1] {
    let mut all = [0.0; MOST_PAIRS + 1];
    all[0] = 1.0;
    let mut i = 0;
    while i < P {
        if i != without {
            let square = PAIRS[i] * PAIRS[i];
            let mut k = MOST_PAIRS;
            while k > 0 {
                all[k] = all[k - 1] - square * all[k];
                k -= 1;
            }
            all[0] *= -square;
        }
        i += 1;
    }
    all
}

/// What all tasks share.
struct Work<'a> {
    /// `[n, inputs]`
    x: &'a [f32],
    inputs: usize,
    outputs: usize,
    /// Outputs of a tile.
    made: usize,
    /// Outputs of all of them.
    length: usize,
    params: &'a Conv1dParams<'a>,
    zeros: &'a [f32],
}

impl Work<'_> {
    /// The place of a tile's first output.
    fn first(&self, tile: usize) -> usize {
        let step = self.params.dilation;
        tile / step * step * self.made + tile % step
    }

    /// The row that a tile sees `i`th, zeros outside of the sequence.
    #[inline(always)]
    fn row(&self, first: usize, i: usize) -> &[f32] {
        let at = (first + i * self.params.dilation).wrapping_sub(self.params.padding[0]);
        let from = at.wrapping_mul(self.inputs);
        match at < self.x.len() / self.inputs {
            true => &self.x[from..from + self.inputs],
            false => self.zeros,
        }
    }
}

/// As many of the lanes as are left.
///
/// # Safety
/// `left` numbers can be read.
#[inline(always)]
unsafe fn load<S: Simd>(s: S, from: *const f32, left: usize) -> S::V {
    // SAFETY: handed on.
    unsafe {
        match left >= S::LANES {
            true => s.load_ptr(from),
            false => s.load_part(std::slice::from_raw_parts(from, left), 0.0),
        }
    }
}

/// As many of the lanes as are left.
///
/// # Safety
/// `left` numbers can be written, by nobody else.
#[inline(always)]
unsafe fn store<S: Simd>(s: S, to: *mut f32, left: usize, v: S::V) {
    // SAFETY: handed on.
    unsafe {
        match left >= S::LANES {
            true => s.store_ptr(to, v),
            false => s.store_part(std::slice::from_raw_parts_mut(to, left), v),
        }
    }
}

simd_fn! {
    /// Writes what tiles see at the points.
    fn turn_inputs[const P: usize](
        s,
        turns: &Turns<P>,
        work: &Work<'_>,
        tiles: Range<usize>,
        to: &mut [f32],
    ) {
        let (k, count, points) = (work.inputs, tiles.len(), 2 * P + 2);
        assert!(to.len() >= points * count * k, "room for all tiles");
        for (t, tile) in tiles.enumerate() {
            let first = work.first(tile);
            let mut rows = [work.zeros; MOST_POINTS];
            for (i, row) in rows.iter_mut().enumerate().take(points) {
                *row = work.row(first, i);
            }
            let base = to.as_mut_ptr();
            for c in (0..k).step_by(S::LANES) {
                let mut d = [s.zero(); MOST_POINTS];
                for (d, row) in d.iter_mut().zip(&rows).take(points) {
                    // SAFETY: rows have `k` elements, of which `k - c` are left.
                    *d = unsafe { load(s, row.as_ptr().add(c), k - c) };
                }
                if let Some(slope) = work.params.slope {
                    let slope = s.splat(slope);
                    for d in d.iter_mut().take(points) {
                        *d = s.select_lt(*d, s.zero(), s.mul(*d, slope), *d);
                    }
                }
                // SAFETY: inside of `to` by the assertion above: this point's channels of this tile from `c` on.
                let put = |point: usize| unsafe { base.add((point * count + t) * k + c) };
                let left = k - c;
                let (mut zero, mut infinity) = (s.zero(), s.zero());
                for i in 0..=P {
                    let by = s.splat(turns.whole[i]);
                    zero = s.fma(by, d[2 * i], zero);
                    infinity = s.fma(by, d[2 * i + 1], infinity);
                }
                // SAFETY: as above, with `left` channels there.
                unsafe {
                    store(s, put(0), left, zero);
                    store(s, put(points - 1), left, infinity);
                }
                for pair in 0..P {
                    let (mut even, mut odd) = (s.zero(), s.zero());
                    for i in 0..P {
                        even = s.fma(s.splat(turns.even[pair][i]), d[2 * i + 2], even);
                        odd = s.fma(s.splat(turns.odd[pair][i]), d[2 * i + 1], odd);
                    }
                    // SAFETY: as above.
                    unsafe {
                        store(s, put(1 + 2 * pair), left, s.add(even, odd));
                        store(s, put(2 + 2 * pair), left, s.sub(even, odd));
                    }
                }
            }
        }
    }
}

simd_fn! {
    /// Writes the outputs of tiles from the products at the points.
    fn turn_outputs[const P: usize](
        s,
        turns: &Turns<P>,
        work: &Work<'_>,
        tiles: Range<usize>,
        from: &[f32],
        out: &SharedMut<'_, f32>,
    ) {
        let (m, count, points) = (work.outputs, tiles.len(), 2 * P + 2);
        assert!(from.len() >= points * count * m, "all tiles");
        for (t, tile) in tiles.enumerate() {
            let first = work.first(tile);
            let base = from.as_ptr();
            for c in (0..m).step_by(S::LANES) {
                let end = m.min(c + S::LANES);
                // SAFETY: inside of `from` by the assertion above: this point's channels of this tile from `c` on.
                let at = |point: usize| unsafe { base.add((point * count + t) * m + c) };
                let left = m - c;
                let bias = match work.params.bias {
                    Some(bias) => s.load_part(&bias[c..end], 0.0),
                    None => s.zero(),
                };
                let (mut sums, mut differences) = ([s.zero(); P], [s.zero(); P]);
                for pair in 0..P {
                    // SAFETY: as above, with `left` channels there.
                    let (plus, minus) = unsafe {
                        let plus = load(s, at(1 + 2 * pair), left);
                        (plus, load(s, at(2 + 2 * pair), left))
                    };
                    sums[pair] = s.add(plus, minus);
                    differences[pair] = s.sub(plus, minus);
                }
                for j in 0..work.made {
                    let row = first + j * work.params.dilation;
                    if row >= work.length {
                        break;
                    }
                    let mut y = bias;
                    if j == 0 {
                        // SAFETY: as above.
                        y = s.add(y, unsafe { load(s, at(0), left) });
                    }
                    if j + 1 == work.made {
                        // SAFETY: as above.
                        y = s.add(y, unsafe { load(s, at(points - 1), left) });
                    }
                    let each = if j % 2 == 0 { &sums } else { &differences };
                    for (power, v) in turns.powers[j].iter().zip(each) {
                        y = s.fma(s.splat(*power), *v, y);
                    }
                    // SAFETY: each output is written by one task.
                    let to = unsafe { out.slice(row * m + c..row * m + end) };
                    if work.params.add {
                        y = s.add(y, s.load_part(to, 0.0));
                    }
                    s.store_part(to, y);
                }
            }
        }
    }
}
