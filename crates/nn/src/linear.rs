//! The one linear layer: dense, quantised or with a low-rank adapter on top.

use std::sync::Arc;

use candle_core::Tensor;
use medley_kernels::{BlockType, Int8Matrix, PackedMatrix, matmul_many, quantize};

use crate::tensor::{from_vec, slice};
use crate::weights::pack_f32;
use crate::{Error, Result, train};

/// `y = x Wᵀ + b` with `W` of shape `[out, in]`.
#[derive(Clone)]
pub enum Linear {
    /// A tensor: any device, trainable.
    Dense {
        /// `[out, in]`
        weight: Tensor,
        /// `[out]`
        bias: Option<Tensor>,
    },
    /// A matrix of any GGUF element type, repacked for this CPU; not trainable.
    Packed {
        /// `[out, in]`
        weight: Arc<PackedMatrix>,
        /// `[out]`
        bias: Option<Arc<[f32]>>,
    },
    /// A matrix of whole numbers, whose activations are quantised as they come, all rows with one scale, as ONNX's
    /// dynamic quantisation does; not trainable.
    Int8 {
        /// `[out, in]`
        weight: Arc<Int8Matrix>,
        /// `[out]`
        bias: Option<Arc<[f32]>>,
    },
    /// A frozen layer plus `scale · (x Aᵀ) Bᵀ` (Hu et al. 2021, LoRA).
    Lora {
        /// The layer below.
        base: Box<Linear>,
        /// `[rank, in]`: dense where it learns, packed where it serves.
        a: Box<Linear>,
        /// `[out, rank]`
        b: Box<Linear>,
        /// `alpha / rank`, times the weight that the adapter is given.
        scale: f64,
    },
}

/// A packed matrix and the adapters on it, the lowest first.
struct Stack<'a> {
    weight: &'a PackedMatrix,
    bias: Option<&'a [f32]>,
    adapters: Vec<(&'a PackedMatrix, &'a PackedMatrix, f32)>,
}

impl Linear {
    /// A packed matrix `[rows, cols]` of these numbers.
    pub fn packed(values: &[f32], rows: usize, cols: usize) -> Result<Self> {
        let weight = Arc::new(pack_f32(values, rows, cols)?);
        Ok(Self::Packed { weight, bias: None })
    }

    /// A packed matrix `[rows, cols]` of these numbers, which it keeps as elements of type `ty`, with a bias `[rows]`.
    ///
    /// # Errors
    /// [`Error::Config`] for numbers that `ty` cannot hold, [`Error::Kernel`] where rows are not whole blocks of it.
    pub fn packed_as(
        ty: BlockType,
        values: &[f32],
        rows: usize,
        cols: usize,
        bias: Option<Vec<f32>>,
    ) -> Result<Self> {
        let bytes = ty
            .bytes_for(values.len())
            .ok_or_else(|| Error::Config(format!("{} numbers are no whole {ty}", values.len())))?;
        let mut stored = vec![0; bytes];
        quantize(ty, values, &mut stored).map_err(|e| Error::Config(e.to_string()))?;
        Ok(Self::Packed {
            weight: Arc::new(PackedMatrix::pack(ty, rows, cols, &stored)?),
            bias: bias.map(Into::into),
        })
    }

    /// Number of outputs.
    pub fn out_features(&self) -> usize {
        match self {
            Self::Dense { weight, .. } => weight.dims()[0],
            Self::Packed { weight, .. } => weight.rows(),
            Self::Int8 { weight, .. } => weight.rows(),
            Self::Lora { base, .. } => base.out_features(),
        }
    }

    /// Number of inputs.
    pub fn in_features(&self) -> usize {
        match self {
            Self::Dense { weight, .. } => weight.dims()[1],
            Self::Packed { weight, .. } => weight.cols(),
            Self::Int8 { weight, .. } => weight.cols(),
            Self::Lora { base, .. } => base.in_features(),
        }
    }

    /// Where it computes.
    pub fn device(&self) -> &candle_core::Device {
        match self {
            Self::Dense { weight, .. } => weight.device(),
            Self::Packed { .. } | Self::Int8 { .. } => &candle_core::Device::Cpu,
            Self::Lora { base, .. } => base.device(),
        }
    }

    /// Bytes that the weights hold in memory.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Dense { weight, .. } => weight.elem_count() * weight.dtype().size_in_bytes(),
            Self::Packed { weight, .. } => weight.bytes(),
            Self::Int8 { weight, .. } => weight.bytes(),
            Self::Lora { base, a, b, .. } => base.bytes() + a.bytes() + b.bytes(),
        }
    }

    /// `[.., in]` → `[.., out]`. Gradients reach `x` and what learns, whatever the weights are stored as.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Dense { weight, bias } => dense(x, weight, bias.as_ref()),
            Self::Packed { .. } if x.track_op() => match self.frozen() {
                Some(frozen) if train::serves(&[x]) => train::frozen_linear(x, &frozen),
                _ => self.plain()?.forward(x),
            },
            Self::Packed { .. } => Ok(forward_many(x, &[self])?.remove(0)),
            Self::Int8 { .. } if x.track_op() => self.plain()?.forward(x),
            Self::Int8 { weight, bias } => int8(x, weight, bias.as_deref()),
            Self::Lora { base, a, b, scale } => {
                let learns = train::tracking() && (a.learns() || b.learns());
                if !(x.track_op() || learns) {
                    return self.serve(x);
                }
                if let (Self::Dense { weight: a, .. }, Self::Dense { weight: b, .. }) = (&**a, &**b)
                    && let Some(frozen) = base.frozen()
                    && train::serves(&[x, a, b])
                {
                    return train::lora_linear(x, &frozen, a, b, *scale as f32);
                }
                let change = b.forward(&a.plain()?.forward(x)?)?;
                Ok((base.plain()?.forward(x)? + (change * *scale)?)?)
            }
        }
    }

    /// An adapted layer over rows that nobody asks gradients of.
    fn serve(&self, x: &Tensor) -> Result<Tensor> {
        let Self::Lora { base, a, b, scale } = self else {
            return self.forward(x);
        };
        if self.stack().is_some() {
            return Ok(forward_many(x, &[self])?.remove(0));
        }
        let change = b.still().forward(&a.still().forward(x)?)?;
        Ok((base.forward(x)? + (change * *scale)?)?)
    }

    /// Whether training changes its weights.
    fn learns(&self) -> bool {
        matches!(self, Self::Dense { weight, .. } if weight.track_op())
    }

    /// The same numbers, out of which no gradient comes.
    fn still(&self) -> Self {
        match self {
            Self::Dense { weight, bias } => Self::Dense {
                weight: weight.detach(),
                bias: bias.as_ref().map(Tensor::detach),
            },
            other => other.clone(),
        }
    }

    /// With packed weights as tensors, for plain operations.
    fn plain(&self) -> Result<Self> {
        let (values, bias) = match self {
            Self::Packed { weight, bias } => {
                let mut values = vec![0.0; weight.rows() * weight.cols()];
                weight.floats(0..weight.rows(), &mut values);
                (values, bias)
            }
            Self::Int8 { weight, bias } => {
                let mut values = vec![0.0; weight.rows() * weight.cols()];
                let rows = values.chunks_exact_mut(weight.cols().max(1));
                rows.enumerate().for_each(|(i, row)| weight.row(i, row));
                (values, bias)
            }
            _ => return Ok(self.clone()),
        };
        Ok(Self::Dense {
            weight: from_vec(values, &[self.out_features(), self.in_features()])?,
            bias: match bias {
                Some(bias) => Some(from_vec(bias.to_vec(), &[bias.len()])?),
                None => None,
            },
        })
    }

    /// As training operations take a layer that does not learn; `None` where it does, or is no matrix of theirs.
    pub(crate) fn frozen(&self) -> Option<train::Frozen> {
        match self {
            Self::Packed { weight, bias } => Some(train::Frozen::packed(weight, bias.as_ref())),
            Self::Dense { weight, bias } => train::Frozen::dense(weight, bias.as_ref()),
            Self::Int8 { .. } | Self::Lora { .. } => None,
        }
    }

    /// As the kernels take it; `None` where something in it is not packed.
    fn stack(&self) -> Option<Stack<'_>> {
        match self {
            Self::Packed { weight, bias } => Some(Stack {
                weight,
                bias: bias.as_deref(),
                adapters: Vec::new(),
            }),
            Self::Dense { .. } | Self::Int8 { .. } => None,
            Self::Lora { base, a, b, scale } => {
                let (Self::Packed { weight: a, .. }, Self::Packed { weight: b, .. }) = (&**a, &**b)
                else {
                    return None;
                };
                let mut stack = base.stack()?;
                stack.adapters.push((a, b, *scale as f32));
                Some(stack)
            }
        }
    }
}

fn int8(x: &Tensor, weight: &Int8Matrix, bias: Option<&[f32]>) -> Result<Tensor> {
    let mut shape = x.dims().to_vec();
    match shape.last_mut() {
        Some(last) if *last == weight.cols() => *last = weight.rows(),
        _ => {
            return Err(Error::Config(format!(
                "a layer of {} inputs was given {shape:?}",
                weight.cols()
            )));
        }
    }
    let contiguous = x.contiguous()?;
    let input = slice(&contiguous)
        .ok_or_else(|| Error::Config("int8 weights need f32 rows on the CPU".into()))?;
    let mut out = vec![0.0; shape.iter().product()];
    weight.matmul(&input, bias, &mut out);
    from_vec(out, &shape)
}

fn dense(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let mut operands = vec![x, weight];
    operands.extend(bias);
    if train::serves(&operands) {
        return train::linear(x, weight, bias);
    }
    #[cfg(feature = "cuda")]
    if crate::gpu::ops::serves(&operands) {
        return crate::gpu::ops::linear(x, weight, bias);
    }
    let dims = x.dims();
    let rows: usize = dims[..dims.len() - 1].iter().product();
    let mut y = x
        .reshape((rows, weight.dim(1)?))?
        .to_dtype(weight.dtype())?
        .matmul(&weight.t()?)?;
    if let Some(bias) = bias {
        y = y.broadcast_add(bias)?;
    }
    let mut shape = dims.to_vec();
    shape[dims.len() - 1] = weight.dim(0)?;
    Ok(y.to_dtype(x.dtype())?.reshape(shape)?)
}

/// The matrices of dense layers without bias that training operations serve as one, over this input.
pub(crate) fn joint<'a>(x: &Tensor, layers: &[&'a Linear]) -> Option<Vec<&'a Tensor>> {
    let weights: Vec<&Tensor> = layers
        .iter()
        .map(|layer| match layer {
            Linear::Dense { weight, bias: None } => Some(weight),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let operands: Vec<&Tensor> = weights.iter().copied().chain([x]).collect();
    train::serves(&operands).then_some(weights)
}

/// Several layers over one input. Packed layers share the quantisation of `x` and one parallel region.
pub fn forward_many(x: &Tensor, layers: &[&Linear]) -> Result<Vec<Tensor>> {
    if x.track_op() || !layers.iter().all(|layer| layer.stack().is_some()) {
        return layers.iter().map(|layer| layer.forward(x)).collect();
    }
    let mut shape = x.dims().to_vec();
    let last = shape.len() - 1;
    let outputs = project(x, layers)?;
    layers
        .iter()
        .zip(outputs)
        .map(|(layer, out)| {
            shape[last] = layer.out_features();
            from_vec(out, &shape)
        })
        .collect()
}

/// As [`forward_many`], for a caller that goes on with the numbers: one `[rows × out]` vector per layer.
pub fn project(x: &Tensor, layers: &[&Linear]) -> Result<Vec<Vec<f32>>> {
    let dims = x.dims();
    let width = dims[dims.len() - 1];
    if let Some(layer) = layers.iter().find(|layer| layer.in_features() != width) {
        return Err(Error::Config(format!(
            "a layer of {} inputs was given rows of {width}",
            layer.in_features()
        )));
    }
    let rows = x.elem_count() / width.max(1);
    let stacks: Vec<Option<Stack>> = layers.iter().map(|layer| layer.stack()).collect();
    let mut outputs: Vec<Vec<f32>> = Vec::with_capacity(layers.len());
    let mut lows: Vec<Vec<Vec<f32>>> = Vec::with_capacity(layers.len());
    for (layer, stack) in layers.iter().zip(&stacks) {
        let (out, low) = match stack {
            Some(stack) => (vec![0.0; rows * stack.weight.rows()], stack.lows(rows)),
            None => (layer.forward(x)?.flatten_all()?.to_vec1()?, Vec::new()),
        };
        outputs.push(out);
        lows.push(low);
    }
    let contiguous = x.contiguous()?;
    let input = slice(&contiguous)
        .ok_or_else(|| Error::Config("packed weights need f32 rows on the CPU".into()))?;
    let mut jobs: Vec<(&PackedMatrix, &mut [f32])> = Vec::new();
    for ((stack, out), lows) in stacks.iter().zip(&mut outputs).zip(&mut lows) {
        let Some(stack) = stack else { continue };
        jobs.push((stack.weight, out.as_mut_slice()));
        let downs = stack.adapters.iter().zip(lows);
        jobs.extend(downs.map(|((a, ..), low)| (*a, low.as_mut_slice())));
    }
    matmul_many(&input, rows, &mut jobs);
    for ((stack, out), lows) in stacks.iter().zip(&mut outputs).zip(&lows) {
        if let Some(stack) = stack {
            stack.finish(lows, out);
        }
    }
    Ok(outputs)
}

impl Stack<'_> {
    /// Room for `x Aᵀ` of each adapter.
    fn lows(&self, rows: usize) -> Vec<Vec<f32>> {
        let each = self.adapters.iter();
        each.map(|(a, ..)| vec![0.0; rows * a.rows()]).collect()
    }

    /// Adds bias and adapters to what the matrix gave.
    fn finish(&self, lows: &[Vec<f32>], out: &mut [f32]) {
        if let Some(bias) = self.bias {
            for row in out.chunks_exact_mut(bias.len()) {
                row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
            }
        }
        for ((_, b, scale), low) in self.adapters.iter().zip(lows) {
            let mut change = vec![0.0; out.len()];
            b.matmul(low, &mut change);
            out.iter_mut()
                .zip(&change)
                .for_each(|(y, c)| *y += scale * c);
        }
    }
}
