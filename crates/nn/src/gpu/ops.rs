//! Operations of `vision` and layers on an NVIDIA GPU, with their gradients. Each gives what the composition of candle's
//! operations gives, in fewer passes over memory; products are cuBLAS's.

use candle_core::{D, Tensor};
use medley_kernels::Activation;

use super::launch::{Launch, bound};
use crate::vision::{Angles, Candle, Heads};
use crate::{Error, Result};

pub(crate) use super::launch::serves;

/// Rows that one thread adds up.
const SUMMED: usize = 64;

fn some(x: Tensor) -> Option<Tensor> {
    Some(x)
}

/// See [`crate::vision::modulated_layer_norm`].
pub(crate) fn modulated_layer_norm(
    x: &Tensor,
    shift: &Tensor,
    scale: &Tensor,
    eps: f32,
) -> Result<Tensor> {
    let (x, shift, scale) = (x.contiguous()?, shift.contiguous()?, scale.contiguous()?);
    let (samples, tokens, width) = x.dims3()?;
    let (rows, shape) = (samples * tokens, [samples, tokens, width]);
    let made = Launch::new(
        "modulated_norm",
        &[&x, &shift, &scale],
        32 * rows,
        &[width, tokens],
    )
    .with(eps)
    .fresh(&shape)?;
    let back = move |operands: &[&Tensor], _: &Tensor, dy: &Tensor| {
        let [x, _, scale] = operands else {
            candle_core::bail!("a norm has three operands")
        };
        let dx = Launch::new(
            "modulated_norm_rows",
            &[x, scale, dy],
            32 * rows,
            &[width, tokens],
        )
        .with(eps)
        .run(&shape)?;
        let moments = Launch::new("row_moments", &[x], 32 * rows, &[width])
            .with(eps)
            .run(&[rows, 2])?;
        let work = samples * tokens.div_ceil(SUMMED) * width;
        let sums = Launch::new(
            "modulated_norm_sums",
            &[x, dy, &moments],
            work,
            &[width, tokens, SUMMED, samples],
        )
        .add(&[2, samples, width])?;
        Ok(vec![some(dx), some(sums.get(0)?), some(sums.get(1)?)])
    };
    bound("modulated_layer_norm", &[&x, &shift, &scale], made, back)
}

/// Which of the kernel's activations this is.
pub(crate) fn kind(act: Activation) -> Option<usize> {
    match act {
        Activation::Silu => Some(0),
        Activation::GeluTanh => Some(1),
        _ => None,
    }
}

/// An activation of [`kind`].
pub(crate) fn activation(kind: usize, x: &Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    let made = Launch::new("activated", &[&x], x.elem_count(), &[kind]).fresh(x.dims())?;
    let back = move |operands: &[&Tensor], _: &Tensor, dy: &Tensor| {
        let x = operands[0];
        let dx = Launch::new("activated_back", &[x, dy], x.elem_count(), &[kind]).run(x.dims())?;
        Ok(vec![some(dx)])
    };
    bound("activation", &[&x], made, back)
}

/// See [`crate::vision::add_gated`].
pub(crate) fn add_gated(x: &Tensor, y: &Tensor, gate: &Tensor) -> Result<Tensor> {
    let (x, y, gate) = (x.contiguous()?, y.contiguous()?, gate.contiguous()?);
    let (samples, tokens, width) = x.dims3()?;
    let (count, shape) = (x.elem_count(), [samples, tokens, width]);
    let made = Launch::new("add_gated", &[&x, &y, &gate], count, &[width, tokens]).fresh(&shape)?;
    let back = move |operands: &[&Tensor], _: &Tensor, grad: &Tensor| {
        let (y, gate) = (operands[1], operands[2]);
        let dy = Launch::new("gated", &[grad, gate], count, &[width, tokens]).run(&shape)?;
        let work = samples * tokens.div_ceil(SUMMED) * width;
        let dgate = Launch::new("gate_sums", &[y, grad], work, &[width, tokens, SUMMED])
            .add(&[samples, width])?;
        Ok(vec![some(grad.clone()), some(dy), some(dgate)])
    };
    bound("add_gated", &[&x, &y, &gate], made, back)
}

/// `bias` `[width]` added to the rows of `x` `[.., width]`.
pub(crate) fn add_bias(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (x, bias) = (x.contiguous()?, bias.contiguous()?);
    let (width, count) = (bias.elem_count(), x.elem_count());
    let rows = count / width;
    let made = Launch::new("add_bias", &[&x, &bias], count, &[width]).fresh(x.dims())?;
    let back = move |_: &[&Tensor], _: &Tensor, grad: &Tensor| {
        let summed = 4 * SUMMED;
        let work = rows.div_ceil(summed) * width;
        let sums =
            Launch::new("column_sums", &[grad], work, &[width, rows, summed]).add(&[width])?;
        Ok(vec![some(grad.clone()), some(sums)])
    };
    bound("add_bias", &[&x, &bias], made, back)
}

/// What a kernel of `side × side` sees at each pixel of `x` `[batch, height, width, channels]`, zeros around it:
/// `[batch · height · width, side² · channels]`.
pub(crate) fn seen(x: &Tensor, side: usize) -> Result<Tensor> {
    let x = x.contiguous()?;
    let (batch, height, width, channels) = x.dims4()?;
    let (pixels, columns) = (batch * height * width, side * side * channels);
    let numbers = [height, width, channels, side];
    let made = Launch::new("seen", &[&x], pixels * columns, &numbers).fresh(&[pixels, columns])?;
    let back = move |operands: &[&Tensor], _: &Tensor, grad: &Tensor| {
        let x = operands[0];
        let dx = Launch::new("seen_back", &[grad], x.elem_count(), &numbers).run(x.dims())?;
        Ok(vec![some(dx)])
    };
    bound("seen", &[&x], made, back)
}

/// See [`crate::vision::beside`].
pub(crate) fn beside(x: &Tensor, frames: usize, closed: bool) -> Result<Tensor> {
    let x = x.contiguous()?;
    let (rows, height, width, channels) = x.dims4()?;
    let numbers = [frames, height * width, channels, usize::from(closed)];
    let made = Launch::new("beside", &[&x], 3 * x.elem_count(), &numbers).fresh(&[
        rows,
        height,
        width,
        3 * channels,
    ])?;
    let back = move |operands: &[&Tensor], _: &Tensor, grad: &Tensor| {
        let x = operands[0];
        let dx = Launch::new("beside_back", &[grad], x.elem_count(), &numbers).run(x.dims())?;
        Ok(vec![some(dx)])
    };
    bound("beside", &[&x], made, back)
}

/// See [`crate::vision::pixel_unshuffle`] and, `back`, [`crate::vision::pixel_shuffle`].
pub(crate) fn shuffled(x: &Tensor, factor: usize, back: bool) -> Result<Tensor> {
    let x = x.contiguous()?;
    let (batch, height, width, channels) = x.dims4()?;
    // The image of single pixels.
    let image = match back {
        true => [
            height * factor,
            width * factor,
            channels / (factor * factor),
        ],
        false => [height, width, channels],
    };
    let numbers = [image[0], image[1], image[2], factor];
    let shape = match back {
        true => [batch, image[0], image[1], image[2]],
        false => [
            batch,
            height / factor,
            width / factor,
            channels * factor * factor,
        ],
    };
    let (there, home) = match back {
        true => ("shuffled", "unshuffled"),
        false => ("unshuffled", "shuffled"),
    };
    let made = Launch::new(there, &[&x], x.elem_count(), &numbers).fresh(&shape)?;
    let gradient = move |operands: &[&Tensor], _: &Tensor, grad: &Tensor| {
        let x = operands[0];
        let dx = Launch::new(home, &[grad], x.elem_count(), &numbers).run(x.dims())?;
        Ok(vec![some(dx)])
    };
    bound("pixel_shuffle", &[&x], made, gradient)
}

/// `[a, b, c, d]` → `[a, c, b, d]`
pub(crate) fn swapped(x: &Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    let (a, b, c, d) = x.dims4()?;
    let count = x.elem_count();
    let made = Launch::new("swapped", &[&x], count, &[b, c, d]).fresh(&[a, c, b, d])?;
    let back = move |_: &[&Tensor], _: &Tensor, grad: &Tensor| {
        let dx = Launch::new("swapped", &[grad], count, &[c, b, d]).run(&[a, b, c, d])?;
        Ok(vec![some(dx)])
    };
    bound("swapped", &[&x], made, back)
}

/// Full attention; one stream, whose norms are those of queries and of keys.
pub(crate) struct Attention<'a> {
    pub(crate) heads: Heads,
    /// Queries and keys of a sample.
    pub(crate) tokens: [usize; 2],
    pub(crate) batch: usize,
    pub(crate) angles: Option<&'a Angles>,
    /// Keys of each sample that count.
    pub(crate) lengths: &'a [usize],
}

/// Heads within rows, as the kernels take them: from which number of a row on, of how many tokens, with what.
#[derive(Clone, Copy)]
struct Part {
    tokens: usize,
    stride: usize,
    start: usize,
    flags: usize,
}

impl Attention<'_> {
    /// Attention of rows that hold queries, keys and values side by side.
    pub(crate) fn among(&self, qkv: &Tensor, norms: Option<&Tensor>) -> Result<Tensor> {
        let width = self.heads.heads * self.heads.dim;
        let flags = self.flags(norms);
        let part = |i: usize| Part {
            tokens: self.tokens[0],
            stride: 3 * width,
            start: i * width,
            flags: if i < 2 { flags } else { 0 },
        };
        self.attend([qkv, qkv], norms, [part(0), part(1), part(2)])
    }

    /// Attention of queries to keys and values that stand side by side.
    pub(crate) fn across(&self, q: &Tensor, kv: &Tensor, norms: Option<&Tensor>) -> Result<Tensor> {
        let width = self.heads.heads * self.heads.dim;
        let flags = self.flags(norms);
        let part = |which: usize, stride: usize, start: usize, flags: usize| Part {
            tokens: self.tokens[which],
            stride,
            start,
            flags,
        };
        let parts = [
            part(0, width, 0, flags),
            part(1, 2 * width, 0, flags),
            part(1, 2 * width, width, 0),
        ];
        self.attend([q, kv], norms, parts)
    }

    fn flags(&self, norms: Option<&Tensor>) -> usize {
        usize::from(norms.is_some()) + 2 * usize::from(self.angles.is_some())
    }

    /// For queries and for keys: the norm's weights, then cosines and sines, in one row of numbers.
    fn tables(&self, norms: Option<&Tensor>, like: &Tensor) -> Candle<[Tensor; 2]> {
        let (dim, half) = (self.heads.dim, self.heads.dim / 2);
        let table = |which: usize| {
            let mut turns = Vec::new();
            if let Some(angles) = self.angles {
                let count = self.tokens[which] * half;
                turns.extend_from_slice(&angles.cos[..count]);
                turns.extend_from_slice(&angles.sin[..count]);
            }
            let weights = match norms {
                Some(norms) => norms.get(which)?.detach().contiguous()?,
                None => Tensor::ones(dim, candle_core::DType::F32, like.device())?,
            };
            match turns.is_empty() {
                true => Ok(weights),
                false => Tensor::cat(&[weights, Tensor::new(turns, like.device())?], 0),
            }
        };
        Ok([table(0)?, table(1)?])
    }

    fn attend(
        &self,
        [q_rows, kv_rows]: [&Tensor; 2],
        norms: Option<&Tensor>,
        parts: [Part; 3],
    ) -> Result<Tensor> {
        let Heads { heads, dim, eps } = self.heads;
        if dim > 256 || dim % 2 == 1 {
            return Err(Error::Config(format!(
                "heads of {dim} do not fit the GPU's kernels"
            )));
        }
        let (batch, [queries, keys]) = (self.batch, self.tokens);
        let (q_rows, kv_rows) = (q_rows.contiguous()?, kv_rows.contiguous()?);
        let together = q_rows.id() == kv_rows.id() || parts[0].stride == 3 * heads * dim;
        let norms = norms.map(Tensor::contiguous).transpose()?;
        let tables = self.tables(norms.as_ref(), &q_rows)?;
        let of = |i: usize| -> Candle<Tensor> {
            let (rows, part) = (if i == 0 { &q_rows } else { &kv_rows }, parts[i]);
            let table = &tables[i.min(1)];
            let turns = table.narrow(0, 0, dim)?;
            let angles = match part.flags & 2 {
                0 => turns.clone(),
                _ => table.narrow(0, dim, table.dim(0)? - dim)?,
            };
            let numbers = [heads, part.tokens, dim, part.stride, part.start, part.flags];
            let work = 32 * batch * part.tokens * heads;
            Launch::new("heads_of", &[rows, &turns, &angles], work, &numbers)
                .with(eps)
                .run(&[batch * heads, part.tokens, dim])
        };
        let (q, k, v) = (of(0)?, of(1)?, of(2)?);
        let scale = (dim as f32).powf(-0.5);
        let masked = self.lengths.iter().any(|&n| n != keys);
        let lengths: Vec<f32> = self.lengths.iter().map(|&n| n as f32).collect();
        let lengths = Tensor::new(lengths, q.device())?;
        let scores = q.matmul(&k.t()?)?;
        let shares = Launch::new(
            "softmax",
            &[&scores, &lengths],
            32 * batch * heads * queries,
            &[keys, heads * queries, usize::from(masked)],
        )
        .with(scale)
        .run(scores.dims())?;
        drop(scores);
        let mixed = shares.matmul(&v)?;
        let made = Launch::new(
            "swapped",
            &[&mixed],
            mixed.elem_count(),
            &[heads, queries, dim],
        )
        .fresh(&[batch, queries, heads * dim])?;
        let back = move |operands: &[&Tensor], _: &Tensor, grad: &Tensor| {
            let dmixed = Launch::new(
                "swapped",
                &[grad],
                grad.elem_count(),
                &[queries, heads, dim],
            )
            .run(&[batch * heads, queries, dim])?;
            let dv = shares.t()?.matmul(&dmixed)?;
            let dshares = dmixed.matmul(&v.t()?)?;
            let rows = 32 * batch * heads * queries;
            let dscores = Launch::new("softmax_back", &[&shares, &dshares], rows, &[keys])
                .with(scale)
                .run(shares.dims())?;
            let gradients = [dscores.matmul(&k)?, dscores.t()?.matmul(&q)?, dv];
            home(
                operands,
                together,
                &gradients,
                &tables,
                &parts,
                (batch, heads, dim, eps),
            )
        };
        let mut operands = vec![&q_rows];
        if !together {
            operands.push(&kv_rows);
        }
        operands.extend(&norms);
        bound("attention", &operands, made, back)
    }
}

/// From gradients of queries, keys and values as heads to those of the rows and of the norms.
fn home(
    operands: &[&Tensor],
    together: bool,
    gradients: &[Tensor; 3],
    tables: &[Tensor; 2],
    parts: &[Part; 3],
    (batch, heads, dim, eps): (usize, usize, usize, f32),
) -> Candle<Vec<Option<Tensor>>> {
    let rows_of = |i: usize| operands[usize::from(i > 0 && !together)];
    // Threads with work, and numbers for the kernels; `warps` where fewer than that are started.
    let shape = |i: usize, warps: usize| {
        let part = &parts[i];
        let numbers = [
            heads,
            part.tokens,
            dim,
            part.stride,
            part.start,
            part.flags,
            warps,
        ];
        (32 * batch * part.tokens * heads, numbers)
    };
    let mut made = Vec::new();
    for first in [0, 1] {
        if first == 1 && together {
            break;
        }
        let rows = rows_of(first);
        let members: &[usize] = match (together, first) {
            (true, _) => &[0, 1, 2],
            (false, 0) => &[0],
            (false, _) => &[1, 2],
        };
        let whole = Launch::new("heads_of_back", &[rows], 0, &[]).zeros(rows.dims())?;
        for &i in members {
            let inputs = [rows, &tables[i.min(1)], &gradients[i]];
            let (work, numbers) = shape(i, 0);
            Launch::new("heads_of_back", &inputs, work, &numbers)
                .with(eps)
                .write(&whole)?;
        }
        made.push(Some(whole.tensor()));
    }
    if parts[0].flags & 1 == 1 {
        let sums = [0, 1].map(|i| -> Candle<Tensor> {
            // So many warps that each has some rows.
            let warps = (batch * parts[i].tokens * heads).min(2048);
            let inputs = [rows_of(i), &tables[i], &gradients[i]];
            let (work, numbers) = shape(i, warps);
            let mut launch = Launch::new("head_norm_sums", &inputs, work, &numbers).with(eps);
            launch.threads = Some(32 * warps);
            launch.add(&[dim])
        });
        let [of_queries, of_keys] = sums;
        made.push(Some(Tensor::stack(&[of_queries?, of_keys?], 0)?));
    }
    Ok(made)
}

/// A layer's product, and its bias in one pass.
pub(crate) fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let mut shape = x.dims().to_vec();
    let rows = x.reshape(((), x.dim(D::Minus1)?))?.contiguous()?;
    let mut y = rows.matmul(&weight.t()?)?;
    if let Some(bias) = bias {
        y = add_bias(&y, bias)?;
    }
    if let Some(last) = shape.last_mut() {
        *last = weight.dim(0)?;
    }
    Ok(y.reshape(shape)?)
}
