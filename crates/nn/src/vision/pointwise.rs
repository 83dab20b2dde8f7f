//! Element by element: activations, and sums under a gate.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Shape, Tensor};
use medley_kernels as kernels;
use medley_kernels::{Activation, pool};

use super::{Candle, expect, gradient, image, numbers, ours, read, result};
use crate::Result;
use crate::tensor::activate;

/// Elements that a task takes at a time.
const PART: usize = 1 << 14;

/// `act(x)`, of any shape, with a gradient.
pub fn activation(act: Activation, x: &Tensor) -> Result<Tensor> {
    if ours(&[x]) {
        return Ok(x.contiguous()?.apply_op1(Activate(act))?);
    }
    #[cfg(feature = "cuda")]
    if let Some(kind) = crate::gpu::ops::kind(act).filter(|_| crate::gpu::ops::serves(&[x])) {
        return crate::gpu::ops::activation(kind, x);
    }
    activate(act, x)
}

struct Activate(Activation);

impl CustomOp1 for Activate {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Candle<(CpuStorage, Shape)> {
        let mut values = numbers(x, xl)?.to_vec();
        kernels::activate(self.0, &mut values);
        result(values, xl.dims())
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Candle<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let (xs, dy) = (read(x)?, read(&grad)?);
        let mut dx = kernels::unspecified(xs.len());
        kernels::activate_backward(self.0, &xs, &dy, &mut dx);
        gradient(dx, x)
    }
}

/// `x` where it is positive, `slope · x` elsewhere.
pub fn leaky_relu(x: &Tensor, slope: f32) -> Result<Tensor> {
    if ours(&[x]) {
        let op = Leaky { slope, gain: 1.0 };
        return Ok(x.contiguous()?.apply_op1(op)?);
    }
    plain_leaky(x, slope)
}

/// The same as candle operations.
pub(super) fn plain_leaky(x: &Tensor, slope: f32) -> Result<Tensor> {
    let slope = f64::from(slope);
    Ok(((x.relu()? * (1.0 - slope))? + (x * slope)?)?)
}

/// `gain · leaky_relu(x + bias)`, with `bias` `[channels]` over the last dimension (StyleGAN's layers).
pub fn leaky_relu_bias(x: &Tensor, bias: &Tensor, slope: f32, gain: f32) -> Result<Tensor> {
    let channels = x.dims().last().copied().unwrap_or(0);
    expect("a bias", bias, &[channels])?;
    if ours(&[x, bias]) && channels > 0 {
        let op = Leaky { slope, gain };
        return Ok(x.contiguous()?.apply_op2(&bias.contiguous()?, op)?);
    }
    Ok((plain_leaky(&x.broadcast_add(bias)?, slope)? * f64::from(gain))?)
}

struct Leaky {
    slope: f32,
    gain: f32,
}

impl Leaky {
    /// The gradient of what was activated, from the sign of the result.
    fn gradient(&self, y: &[f32], dy: &[f32]) -> Vec<f32> {
        let (high, low) = (self.gain, self.gain * self.slope);
        let mut dx = kernels::unspecified(y.len());
        pool::parallel_chunks(&mut dx, PART, |i, dx| {
            let at = i * PART..i * PART + dx.len();
            for ((dx, y), dy) in dx.iter_mut().zip(&y[at.clone()]).zip(&dy[at]) {
                *dx = dy * if *y > 0.0 { high } else { low };
            }
        });
        dx
    }
}

impl CustomOp1 for Leaky {
    fn name(&self) -> &'static str {
        "leaky_relu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Candle<(CpuStorage, Shape)> {
        let mut values = numbers(x, xl)?.to_vec();
        let (slope, gain) = (self.slope, self.gain);
        pool::parallel_chunks(&mut values, PART, |_, part| {
            part.iter_mut()
                .for_each(|x| *x = gain * if *x > 0.0 { *x } else { slope * *x });
        });
        result(values, xl.dims())
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, grad: &Tensor) -> Candle<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let dx = self.gradient(&read(y)?, &read(&grad)?);
        gradient(dx, x)
    }
}

impl CustomOp2 for Leaky {
    fn name(&self) -> &'static str {
        "leaky_relu_bias"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Candle<(CpuStorage, Shape)> {
        let (x, bias) = (numbers(x, xl)?, numbers(b, bl)?);
        let mut out = kernels::unspecified(x.len());
        let part = PART.next_multiple_of(bias.len());
        pool::parallel_chunks(&mut out, part, |i, out| {
            let x = &x[i * part..i * part + out.len()];
            let rows = out
                .chunks_exact_mut(bias.len())
                .zip(x.chunks_exact(bias.len()));
            for (out, x) in rows {
                for ((out, x), b) in out.iter_mut().zip(x).zip(bias) {
                    let sum = x + b;
                    *out = self.gain * if sum > 0.0 { sum } else { self.slope * sum };
                }
            }
        });
        result(out, xl.dims())
    }

    fn bwd(
        &self,
        x: &Tensor,
        bias: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Candle<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let dx = self.gradient(&read(y)?, &read(&grad)?);
        let mut dbias = vec![0.0; bias.elem_count()];
        kernels::sum_rows(&dx, &mut dbias);
        Ok((gradient(dx, x)?, gradient(dbias, bias)?))
    }
}

/// `x + gate · y` with `x` and `y` `[batch, tokens, width]` and a gate `[batch, width]` for each sample.
pub fn add_gated(x: &Tensor, y: &Tensor, gate: &Tensor) -> Result<Tensor> {
    let (batch, tokens, width) = x.dims3()?;
    expect("what is added", y, x.dims())?;
    expect("a gate", gate, &[batch, width])?;
    if ours(&[x, y, gate]) && x.elem_count() > 0 {
        let op = Gated { tokens, width };
        return Ok(x
            .contiguous()?
            .apply_op3(&y.contiguous()?, &gate.contiguous()?, op)?);
    }
    #[cfg(feature = "cuda")]
    if crate::gpu::ops::serves(&[x, y, gate]) {
        return crate::gpu::ops::add_gated(x, y, gate);
    }
    plain_gated(x, y, gate)
}

/// The same as candle operations.
pub(super) fn plain_gated(x: &Tensor, y: &Tensor, gate: &Tensor) -> Result<Tensor> {
    Ok((x + y.broadcast_mul(&gate.unsqueeze(1)?)?)?)
}

struct Gated {
    tokens: usize,
    width: usize,
}

impl CustomOp3 for Gated {
    fn name(&self) -> &'static str {
        "add_gated"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        y: &CpuStorage,
        yl: &Layout,
        g: &CpuStorage,
        gl: &Layout,
    ) -> Candle<(CpuStorage, Shape)> {
        let (x, y, gate) = (numbers(x, xl)?, numbers(y, yl)?, numbers(g, gl)?);
        let (len, width) = (self.tokens * self.width, self.width);
        let mut out = kernels::unspecified(x.len());
        pool::parallel_chunks(&mut out, len, |i, out| {
            let gate = &gate[i * width..(i + 1) * width];
            let at = i * len..(i + 1) * len;
            let rows = x[at.clone()]
                .chunks_exact(width)
                .zip(y[at].chunks_exact(width));
            for (out, (x, y)) in out.chunks_exact_mut(width).zip(rows) {
                for (((out, x), y), g) in out.iter_mut().zip(x).zip(y).zip(gate) {
                    *out = x + g * y;
                }
            }
        });
        result(out, xl.dims())
    }

    fn bwd(
        &self,
        _: &Tensor,
        y: &Tensor,
        gate: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Candle<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (ys, gates, dout) = (read(y)?, read(gate)?, read(&grad)?);
        let (len, width) = (self.tokens * self.width, self.width);
        let mut dy = kernels::unspecified(ys.len());
        pool::parallel_chunks(&mut dy, len, |i, dy| {
            let gate = &gates[i * width..(i + 1) * width];
            let dout = dout[i * len..(i + 1) * len].chunks_exact(width);
            for (dy, dout) in dy.chunks_exact_mut(width).zip(dout) {
                for ((dy, d), g) in dy.iter_mut().zip(dout).zip(gate) {
                    *dy = d * g;
                }
            }
        });
        let mut dgate = vec![0.0; gates.len()];
        pool::parallel_chunks(&mut dgate, width, |i, dgate| {
            let at = i * len..(i + 1) * len;
            add_products(&ys[at.clone()], &dout[at], dgate);
        });
        drop((ys, gates, dout));
        Ok((Some(grad), gradient(dy, y)?, gradient(dgate, gate)?))
    }
}

/// Images `[batch, height, width, channels]` times a factor `[batch, channels]` for each channel of each of them.
pub fn scale_channels(x: &Tensor, factors: &Tensor) -> Result<Tensor> {
    let [batch, height, width, channels] = image(x)?;
    expect("factors of channels", factors, &[batch, channels])?;
    if ours(&[x, factors]) && x.elem_count() > 0 {
        let op = Scale {
            pixels: height * width,
            channels,
        };
        return Ok(x.contiguous()?.apply_op2(&factors.contiguous()?, op)?);
    }
    plain_scale(x, factors)
}

/// The same as candle operations.
pub(super) fn plain_scale(x: &Tensor, factors: &Tensor) -> Result<Tensor> {
    Ok(x.broadcast_mul(&factors.unsqueeze(1)?.unsqueeze(1)?)?)
}

struct Scale {
    pixels: usize,
    channels: usize,
}

impl Scale {
    fn apply(&self, x: &[f32], factors: &[f32]) -> Vec<f32> {
        let (len, width) = (self.pixels * self.channels, self.channels);
        let mut out = kernels::unspecified(x.len());
        pool::parallel_chunks(&mut out, len, |i, out| {
            let factors = &factors[i * width..(i + 1) * width];
            let x = x[i * len..(i + 1) * len].chunks_exact(width);
            for (out, x) in out.chunks_exact_mut(width).zip(x) {
                for ((y, x), f) in out.iter_mut().zip(x).zip(factors) {
                    *y = x * f;
                }
            }
        });
        out
    }
}

impl CustomOp2 for Scale {
    fn name(&self) -> &'static str {
        "scale_channels"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        f: &CpuStorage,
        fl: &Layout,
    ) -> Candle<(CpuStorage, Shape)> {
        result(self.apply(numbers(x, xl)?, numbers(f, fl)?), xl.dims())
    }

    fn bwd(
        &self,
        x: &Tensor,
        factors: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Candle<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (xs, fs, dy) = (read(x)?, read(factors)?, read(&grad)?);
        let (len, width) = (self.pixels * self.channels, self.channels);
        let dx = self.apply(&dy, &fs);
        let mut sums = vec![0.0; fs.len()];
        pool::parallel_chunks(&mut sums, width, |i, sums| {
            let at = i * len..(i + 1) * len;
            add_products(&xs[at.clone()], &dy[at], sums);
        });
        Ok((gradient(dx, x)?, gradient(sums, factors)?))
    }
}

/// Adds to `sums` the products of two sets of rows, column by column.
fn add_products(x: &[f32], y: &[f32], sums: &mut [f32]) {
    let width = sums.len();
    for (x, y) in x.chunks_exact(width).zip(y.chunks_exact(width)) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += x * y;
        }
    }
}
