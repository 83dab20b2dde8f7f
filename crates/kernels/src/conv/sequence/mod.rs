//! Convolution along sequences, channels last, with weights that are packed once.
//!
//! Positions are taken in blocks that fit the cache: each is copied between the zeros that lie around it, and changed on
//! the way where that is asked for; then register blocks of sums run over taps and channels. An output is one chain of
//! sums, or several of a given length that are added in order; threads split positions.
#![allow(unsafe_code)] // tasks write disjoint rows of one slice; loads through pointers

mod points;

use std::cell::RefCell;
use std::ops::Range;

use crate::pool::{self, SharedMut};
use crate::rowwise::{rows, same_len};
use crate::simd::{Simd, simd_fn};
use crate::{Isa, isa};
use points::Kernels;

/// Numbers of a block's input that stay in the cache.
const BLOCK: usize = 1 << 15;
/// Fewest positions of a block: weights are read once for each.
const LEAST: usize = 96;
/// Positions of a register block, at most.
const TILE: usize = 12;

/// A convolution's weights, packed for this machine.
#[derive(Clone, Debug)]
pub struct Conv1d {
    inputs: usize,
    outputs: usize,
    taps: usize,
    isa: Isa,
    form: Form,
}

/// How weights lie in memory, and so how sums are made.
#[derive(Clone, Debug)]
enum Form {
    /// Panels of outputs: panel, tap, input channel, output; zeros behind the last.
    Panels(Vec<f32>),
    /// At points, by each of which there are fewer products than by taps.
    Points(Kernels),
    /// Output, tap, input channel: few outputs are a sum over the lanes each.
    Rows(Vec<f32>),
}

/// Outputs that are few.
const FEW: usize = 4;
/// Channels from which on turns to points are worth their work.
const MANY: usize = 16;

/// How a convolution is done.
#[derive(Clone, Copy, Debug)]
pub struct Conv1dParams<'a> {
    /// Positions from one tap to the next.
    pub dilation: usize,
    /// Zeros before and behind the sequence.
    pub padding: [usize; 2],
    /// What is done to inputs first: each below 0 is multiplied by this.
    pub slope: Option<f32>,
    /// One number of each output.
    pub bias: Option<&'a [f32]>,
    /// Products that are added in one chain, for a kernel of one tap; 0 for all of them.
    pub chain: usize,
    /// Whether results are added to what stands in the output.
    pub add: bool,
}

impl Default for Conv1dParams<'_> {
    fn default() -> Self {
        Self {
            dilation: 1,
            padding: [0; 2],
            slope: None,
            bias: None,
            chain: 0,
            add: false,
        }
    }
}

impl Conv1d {
    /// Packs a kernel of which `at(output, input, tap)` is an element.
    pub fn pack(sizes: [usize; 3], at: impl Fn(usize, usize, usize) -> f32 + Sync) -> Self {
        let [outputs, inputs, taps] = sizes;
        let isa = isa();
        let width = panel(isa);
        let mut data = vec![0.0; outputs.div_ceil(width) * width * inputs * taps];
        pool::parallel_chunks(&mut data, (width * inputs * taps).max(1), |p, panel| {
            for (row, to) in panel.chunks_exact_mut(width).enumerate() {
                let (tap, input) = (row / inputs, row % inputs);
                for (o, to) in (p * width..outputs).zip(to) {
                    *to = at(o, input, tap);
                }
            }
        });
        Self {
            inputs,
            outputs,
            taps,
            isa,
            form: Form::Panels(data),
        }
    }

    /// Packs the same for the least work: kernels of two to seven taps at points (`points`), few outputs as sums over
    /// lanes. Results are rounded otherwise, by at most −112 dB where those of [`pack`](Self::pack) are by −137 dB, and
    /// an output's last bits depend on where it stands in the sequence.
    pub fn pack_for_speed(
        sizes: [usize; 3],
        at: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        let [outputs, inputs, taps] = sizes;
        let isa = isa();
        let [least, most] = points::TAPS;
        let form = if outputs < FEW {
            let each = inputs * taps;
            let elements = (0..outputs * each).map(|i| {
                let (o, rest) = (i / each, i % each);
                at(o, rest % inputs, rest / inputs)
            });
            Form::Rows(elements.collect())
        } else if (least..=most).contains(&taps) && inputs.min(outputs) >= MANY {
            Form::Points(Kernels::new(isa, sizes, at))
        } else {
            return Self::pack(sizes, at);
        };
        Self {
            inputs,
            outputs,
            taps,
            isa,
            form,
        }
    }

    /// Channels of the input.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Channels of the output.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        match &self.form {
            Form::Panels(data) | Form::Rows(data) => data.len() * 4,
            Form::Points(kernels) => kernels.bytes(),
        }
    }

    /// Positions of the output for so many of the input.
    pub fn length(&self, n: usize, params: &Conv1dParams<'_>) -> usize {
        let reach = self.taps.saturating_sub(1) * params.dilation;
        (n + params.padding[0] + params.padding[1]).saturating_sub(reach)
    }

    /// `x` `[n, inputs]` to `out` `[length, outputs]`.
    ///
    /// # Panics
    /// When a slice has another length, or chains are asked for with several taps.
    pub fn forward(&self, x: &[f32], params: &Conv1dParams<'_>, out: &mut [f32]) {
        let n = rows("x", x.len(), self.inputs);
        let m = self.length(n, params);
        same_len("out", out.len(), m * self.outputs);
        if let Some(bias) = params.bias {
            same_len("bias", bias.len(), self.outputs);
        }
        let panels = matches!(self.form, Form::Panels(_));
        let chains = params.chain == 0 || self.taps == 1 && panels;
        assert!(chains, "chains need one tap and sums in order");
        if out.is_empty() {
            return;
        }
        if let Form::Points(kernels) = &self.form {
            return kernels.forward(self.isa, x, params, m, out);
        }
        let most = (BLOCK / self.inputs.max(1))
            .max(LEAST)
            .next_multiple_of(TILE);
        // Several blocks for each thread, as far as they are worth their copy.
        let parts = m
            .div_ceil(most)
            .max((4 * pool::threads()).min(m.div_ceil(LEAST)));
        let split = pool::split_parts(m, TILE, parts);
        let out = SharedMut::new(out);
        pool::parallel_for(split.len(), |i| {
            let range = split.range(i);
            let span = range.start * self.outputs..range.end * self.outputs;
            // SAFETY: each range of rows is written by one task.
            let out = unsafe { out.slice(span) };
            SCRATCH.with_borrow_mut(|scratch| self.block(x, n, params, range, scratch, out));
        });
    }

    /// Positions `range` of the output.
    fn block(
        &self,
        x: &[f32],
        n: usize,
        params: &Conv1dParams<'_>,
        range: Range<usize>,
        scratch: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        let c = self.inputs;
        let reach = (self.taps - 1) * params.dilation;
        let first = range.start as isize - params.padding[0] as isize;
        let last = first + (range.len() + reach) as isize;
        let inside = first >= 0 && last <= n as isize;
        let input = match params.slope {
            None if inside => &x[first as usize * c..last as usize * c],
            slope => {
                scratch.clear();
                scratch.resize((range.len() + reach) * c, 0.0);
                let from = first.clamp(0, n as isize) as usize;
                let to = last.clamp(0, n as isize) as usize;
                let at = (from as isize - first).max(0) as usize * c;
                let part = &x[from * c..to.max(from) * c];
                let room = &mut scratch[at..at + part.len()];
                match slope {
                    Some(slope) => leaky(self.isa, part, slope, room),
                    None => room.copy_from_slice(part),
                }
                &scratch[..]
            }
        };
        match &self.form {
            Form::Panels(data) => self.tiles(data, input, params, range.len(), out),
            Form::Rows(data) => {
                let [taps, width] = match params.dilation {
                    // All taps of an output stand side by side.
                    1 => [1, self.taps * c],
                    _ => [self.taps, c],
                };
                let steps = [c, params.dilation * c, taps];
                lean(self.isa, data, input, steps, width, params, out);
            }
            Form::Points(_) => {}
        }
    }

    /// All outputs of `m` positions, of which the input holds everything that they see.
    fn tiles(
        &self,
        data: &[f32],
        input: &[f32],
        params: &Conv1dParams<'_>,
        m: usize,
        out: &mut [f32],
    ) {
        let (c, width) = (self.inputs, panel(self.isa));
        let chain = match params.chain {
            0 => c,
            some => some.min(c.max(1)),
        };
        let size = width * c * self.taps;
        for (p, weights) in data.chunks_exact(size.max(1)).enumerate() {
            let cols = p * width..((p + 1) * width).min(self.outputs);
            for start in (0..m).step_by(TILE) {
                let count = TILE.min(m - start);
                for from in (0..c).step_by(chain.max(1)) {
                    let to = (from + chain).min(c);
                    let call = Call {
                        input: input[start * c..].as_ptr(),
                        stride: c,
                        step: params.dilation * c,
                        taps: self.taps,
                        channels: from..to,
                        weights: weights.as_ptr(),
                        size: c,
                        out: out[start * self.outputs + cols.start..].as_mut_ptr(),
                        out_stride: self.outputs,
                        cols: cols.len(),
                        bias: match params.bias {
                            Some(bias) if to == c => &bias[cols.clone()],
                            _ => &[],
                        },
                        add: params.add || from > 0,
                    };
                    // SAFETY: `count` positions see `taps · dilation` more rows, which the input holds; the output has
                    // `count` rows from here, the panel `cols` columns of them.
                    unsafe { run(self.isa, count, call) };
                }
            }
        }
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Outputs of a panel.
fn panel(isa: Isa) -> usize {
    if isa == Isa::Avx512 { 32 } else { 16 }
}

/// A register block's work.
#[derive(Clone)]
struct Call<'a> {
    input: *const f32,
    /// From row to row.
    stride: usize,
    /// From tap to tap.
    step: usize,
    taps: usize,
    channels: Range<usize>,
    weights: *const f32,
    /// Channels that a tap has weights for.
    size: usize,
    out: *mut f32,
    out_stride: usize,
    cols: usize,
    bias: &'a [f32],
    add: bool,
}

/// # Safety
/// Rows and panel as [`Call`] says.
unsafe fn run(isa: Isa, count: usize, call: Call<'_>) {
    macro_rules! rows {
        ($($n:literal)*) => {
            match count {
                // SAFETY: handed on.
                $($n => unsafe { tile(isa, [(); $n], call) },)*
                _ => debug_assert!(false, "a register block of {count} rows"),
            }
        };
    }
    rows!(1 2 3 4 5 6 7 8 9 10 11 12);
}

simd_fn! {
    unsafe fn tile[const R: usize](s, _rows: [(); R], call: Call<'_>) {
        // Sixteen registers hold six rows, thirty-two twelve.
        if S::LANES == 16 || R <= 6 {
            // SAFETY: handed on.
            unsafe { sums::<S, R>(s, &call, 0) };
            return;
        }
        // SAFETY: handed on; the halves have at most six rows.
        unsafe {
            sums::<S, 6>(s, &call, 0);
            match R - 6 {
                1 => sums::<S, 1>(s, &call, 6),
                2 => sums::<S, 2>(s, &call, 6),
                3 => sums::<S, 3>(s, &call, 6),
                4 => sums::<S, 4>(s, &call, 6),
                5 => sums::<S, 5>(s, &call, 6),
                _ => sums::<S, 6>(s, &call, 6),
            }
        }
    }
}

/// Rows `first .. first + R`.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn sums<S: Simd, const R: usize>(s: S, call: &Call<'_>, first: usize) {
    let mut acc = [[s.zero(); 2]; R];
    let width = 2 * S::LANES;
    // SAFETY: the rows, taps, channels and the panel are as long as the caller says.
    unsafe {
        let base = call.input.add(first * call.stride);
        for tap in 0..call.taps {
            let x: [*const f32; R] =
                std::array::from_fn(|r| base.add(r * call.stride + tap * call.step));
            let w = call.weights.add(tap * call.size * width);
            for c in call.channels.clone() {
                let at = w.add(c * width);
                let (w0, w1) = (s.load_ptr(at), s.load_ptr(at.add(S::LANES)));
                for (acc, x) in acc.iter_mut().zip(&x) {
                    let v = s.splat(*x.add(c));
                    acc[0] = s.fma(v, w0, acc[0]);
                    acc[1] = s.fma(v, w1, acc[1]);
                }
            }
        }
        for (r, acc) in acc.into_iter().enumerate() {
            let out = call.out.add((first + r) * call.out_stride);
            let out = std::slice::from_raw_parts_mut(out, call.cols);
            for (half, (mut sum, out)) in acc.into_iter().zip(out.chunks_mut(S::LANES)).enumerate()
            {
                if call.add {
                    sum = s.add(sum, s.load_part(out, 0.0));
                }
                if let Some(bias) = call.bias.get(half * S::LANES..) {
                    sum = s.add(sum, s.load_part(bias, 0.0));
                }
                s.store_part(out, sum);
            }
        }
    }
}

simd_fn! {
    fn leaky(s, x: &[f32], slope: f32, out: &mut [f32]) {
        let slope = s.splat(slope);
        for (x, out) in x.chunks(S::LANES).zip(out.chunks_mut(S::LANES)) {
            let v = s.load_part(x, 0.0);
            s.store_part(out, s.select_lt(v, s.zero(), s.mul(v, slope), v));
        }
    }
}

simd_fn! {
    /// Few outputs of each position. `steps` are from row to row, from tap to tap, and how many of these there are, each
    /// `width` numbers.
    fn lean(
        s,
        weights: &[f32],
        input: &[f32],
        steps: [usize; 3],
        width: usize,
        params: &Conv1dParams<'_>,
        out: &mut [f32],
    ) {
        let [row, step, taps] = steps;
        let outputs = weights.len() / (taps * width).max(1);
        for (t, out) in out.chunks_exact_mut(outputs).enumerate() {
            let weights = weights.chunks_exact(taps * width);
            for (o, (weights, out)) in weights.zip(out).enumerate() {
                let mut sum = s.zero();
                for (tap, weights) in weights.chunks_exact(width).enumerate() {
                    let x = &input[t * row + tap * step..][..width];
                    for (x, w) in x.chunks(S::LANES).zip(weights.chunks(S::LANES)) {
                        sum = s.fma(s.load_part(x, 0.0), s.load_part(w, 0.0), sum);
                    }
                }
                let bias = params.bias.map_or(0.0, |bias| bias[o]);
                let before = if params.add { *out } else { 0.0 };
                *out = before + (s.sum(sum) + bias);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, assert_close, each_isa};

    fn reference(x: &[f32], w: &[f32], sizes: [usize; 3], p: &Conv1dParams<'_>) -> Vec<f64> {
        let [outputs, inputs, taps] = sizes;
        let n = x.len() / inputs;
        let m = n + p.padding[0] + p.padding[1] - (taps - 1) * p.dilation;
        let mut out = Vec::new();
        for t in 0..m {
            for o in 0..outputs {
                let mut sum = p.bias.map_or(0.0, |b| f64::from(b[o]));
                for k in 0..taps {
                    let Some(at) = (t + k * p.dilation)
                        .checked_sub(p.padding[0])
                        .filter(|&at| at < n)
                    else {
                        continue;
                    };
                    for i in 0..inputs {
                        let v = x[at * inputs + i];
                        let v = if v < 0.0 {
                            v * p.slope.unwrap_or(1.0)
                        } else {
                            v
                        };
                        sum += f64::from(v) * f64::from(w[(o * inputs + i) * taps + k]);
                    }
                }
                out.push(sum);
            }
        }
        out
    }

    #[test]
    fn every_form_is_the_sum_over_taps_and_channels() {
        let mut random = Random::new(8);
        for (n, sizes, dilation, padding, slope) in [
            (1, [1, 1, 1], 1, [0, 0], None),
            (3, [5, 3, 7], 1, [3, 3], Some(0.1)),
            (40, [33, 17, 3], 4, [4, 4], None),
            (700, [19, 40, 5], 6, [12, 12], Some(0.1)),
            (25, [64, 8, 2], 1, [1, 1], None),
            (1, [16, 16, 7], 12, [36, 36], Some(0.1)),
            (100, [128, 33, 2], 1, [1, 1], Some(0.1)),
            (333, [17, 40, 4], 5, [9, 6], None),
            (90, [40, 32, 6], 2, [0, 0], Some(0.1)),
            (500, [32, 32, 7], 3, [9, 9], Some(0.1)),
            (70, [1, 35, 7], 1, [3, 3], Some(0.01)),
            (70, [2, 35, 3], 3, [3, 3], None),
        ] {
            let [outputs, inputs, taps] = sizes;
            let x = random.normal(n * inputs, 1.0);
            let w = random.normal(outputs * inputs * taps, 1.0);
            let bias = random.normal(outputs, 1.0);
            let params = Conv1dParams {
                dilation,
                padding,
                slope,
                bias: Some(&bias),
                ..Conv1dParams::default()
            };
            let want = reference(&x, &w, sizes, &params);
            each_isa(|| {
                let at = |o: usize, i: usize, k: usize| w[(o * inputs + i) * taps + k];
                for conv in [Conv1d::pack(sizes, at), Conv1d::pack_for_speed(sizes, at)] {
                    let mut out = vec![0.0; want.len()];
                    conv.forward(&x, &params, &mut out);
                    assert_close(&out, &want, 1e-4, 3e-4);
                    let more = Conv1dParams {
                        add: true,
                        ..params
                    };
                    conv.forward(&x, &more, &mut out);
                    let twice: Vec<f64> = want.iter().map(|v| 2.0 * v).collect();
                    assert_close(&out, &twice, 1e-4, 6e-4);
                }
            });
        }
    }

    #[test]
    fn chains_are_added_in_order() {
        let mut random = Random::new(9);
        let (n, outputs, inputs) = (5, 3, 300);
        let (x, w) = (
            random.normal(n * inputs, 1.0),
            random.normal(outputs * inputs, 1.0),
        );
        let chained = |chain: usize| -> Vec<f32> {
            let mut all = Vec::new();
            for x in x.chunks(inputs) {
                for w in w.chunks(inputs) {
                    let mut total: Option<f32> = None;
                    for (x, w) in x.chunks(chain).zip(w.chunks(chain)) {
                        let sum = x
                            .iter()
                            .zip(w)
                            .fold(0.0f32, |sum, (x, w)| x.mul_add(*w, sum));
                        total = Some(total.map_or(sum, |total| sum + total));
                    }
                    all.push(total.unwrap_or(0.0));
                }
            }
            all
        };
        let conv = Conv1d::pack([outputs, inputs, 1], |o, i, _| w[o * inputs + i]);
        if conv.isa == Isa::Scalar {
            return;
        }
        for (chain, steps) in [(0, inputs), (128, 128), (256, 256), (7, 7)] {
            let params = Conv1dParams {
                chain,
                ..Conv1dParams::default()
            };
            let mut out = vec![0.0; n * outputs];
            conv.forward(&x, &params, &mut out);
            assert_eq!(out, chained(steps), "{chain}");
        }
    }

    #[test]
    fn threads_change_nothing() {
        let mut random = Random::new(10);
        let x = random.normal(3000 * 24, 1.0);
        let w = random.normal(40 * 24 * 3, 1.0);
        let at = |o: usize, i: usize, k: usize| w[(o * 24 + i) * 3 + k];
        let sizes = [40, 24, 3];
        let params = Conv1dParams {
            padding: [1, 1],
            slope: Some(0.1),
            ..Conv1dParams::default()
        };
        for conv in [Conv1d::pack(sizes, at), Conv1d::pack_for_speed(sizes, at)] {
            let mut outs = Vec::new();
            for threads in [1, 2, 3] {
                pool::set_threads(threads);
                let mut out = vec![0.0; 3000 * 40];
                conv.forward(&x, &params, &mut out);
                outs.push(out);
            }
            pool::set_threads(0);
            assert!(outs.windows(2).all(|pair| pair[0] == pair[1]));
        }
    }
}
