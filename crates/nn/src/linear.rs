//! The one linear layer: dense, quantised or with a low-rank adapter on top.

use std::sync::Arc;

use candle_core::Tensor;
use medley_kernels::{PackedMatrix, matmul_many};

use crate::tensor::{from_vec, slice};
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
    /// A frozen layer plus `scale · (x Aᵀ) Bᵀ` (Hu et al. 2021, LoRA).
    Lora {
        /// The layer below.
        base: Box<Linear>,
        /// `[rank, in]`
        a: Tensor,
        /// `[out, rank]`
        b: Tensor,
        /// `alpha / rank`
        scale: f64,
    },
}

impl Linear {
    /// Number of outputs.
    pub fn out_features(&self) -> usize {
        match self {
            Self::Dense { weight, .. } => weight.dims()[0],
            Self::Packed { weight, .. } => weight.rows(),
            Self::Lora { base, .. } => base.out_features(),
        }
    }

    /// Number of inputs.
    pub fn in_features(&self) -> usize {
        match self {
            Self::Dense { weight, .. } => weight.dims()[1],
            Self::Packed { weight, .. } => weight.cols(),
            Self::Lora { base, .. } => base.in_features(),
        }
    }

    /// Bytes that the weights hold in memory.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Dense { weight, .. } => weight.elem_count() * weight.dtype().size_in_bytes(),
            Self::Packed { weight, .. } => weight.bytes(),
            Self::Lora { base, a, b, .. } => base.bytes() + 4 * (a.elem_count() + b.elem_count()),
        }
    }

    /// `[.., in]` → `[.., out]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Dense { weight, bias } => {
                let mut operands = vec![x, weight];
                operands.extend(bias);
                if train::serves(&operands) {
                    return train::linear(x, weight, bias.as_ref());
                }
                let dims = x.dims();
                let rows: usize = dims[..dims.len() - 1].iter().product();
                let mut y = x
                    .reshape((rows, self.in_features()))?
                    .to_dtype(weight.dtype())?
                    .matmul(&weight.t()?)?;
                if let Some(bias) = bias {
                    y = y.broadcast_add(bias)?;
                }
                let mut shape = dims.to_vec();
                shape[dims.len() - 1] = self.out_features();
                Ok(y.to_dtype(x.dtype())?.reshape(shape)?)
            }
            Self::Packed { .. } => Ok(forward_many(x, &[self])?.remove(0)),
            Self::Lora { base, a, b, scale } => {
                let low = Self::Dense {
                    weight: a.clone(),
                    bias: None,
                }
                .forward(x)?;
                let high = Self::Dense {
                    weight: b.clone(),
                    bias: None,
                }
                .forward(&low)?;
                Ok((base.forward(x)? + (high * *scale)?)?)
            }
        }
    }
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
    if !layers
        .iter()
        .all(|layer| matches!(layer, Linear::Packed { .. }))
    {
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
    let mut outputs: Vec<Vec<f32>> = Vec::with_capacity(layers.len());
    for layer in layers {
        outputs.push(match layer {
            Linear::Packed { weight, .. } => vec![0.0; rows * weight.rows()],
            other => other.forward(x)?.flatten_all()?.to_vec1()?,
        });
    }
    let contiguous = x.contiguous()?;
    let input = slice(&contiguous)
        .ok_or_else(|| Error::Config("packed weights need f32 rows on the CPU".into()))?;
    let mut jobs: Vec<_> = layers
        .iter()
        .zip(&mut outputs)
        .filter_map(|(layer, out)| match layer {
            Linear::Packed { weight, .. } => Some((weight.as_ref(), out.as_mut_slice())),
            _ => None,
        })
        .collect();
    matmul_many(&input, rows, &mut jobs);
    for (layer, out) in layers.iter().zip(&mut outputs) {
        if let Linear::Packed {
            bias: Some(bias), ..
        } = layer
        {
            for row in out.chunks_exact_mut(bias.len()) {
                row.iter_mut().zip(bias.iter()).for_each(|(y, b)| *y += b);
            }
        }
    }
    Ok(outputs)
}
