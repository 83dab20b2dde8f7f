//! Attention as candle operations: for other devices and as the test of ours.

use candle_core::{D, Tensor};

use super::{Attend, Heads};
use crate::Result;
use crate::vision::Candle;

impl Attend {
    /// The same as candle operations, from rows of queries, of keys and of values.
    pub(in crate::vision) fn plain(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        norms: Option<&Tensor>,
    ) -> Result<Tensor> {
        let Heads { heads, dim, .. } = self.heads;
        let split = |x: &Tensor, tokens: usize| -> Result<Tensor> {
            let x = x.reshape((self.batch, tokens, heads, dim))?;
            Ok(x.transpose(1, 2)?.contiguous()?)
        };
        let q = self.plain_turn(split(q, self.queries)?, norms, 0)?;
        let k = self.plain_turn(split(k, self.keys)?, norms, 1)?;
        let v = split(v, self.keys)?;
        let scale = (dim as f64).powf(-0.5);
        let scores = (q.matmul(&k.transpose(2, 3)?.contiguous()?)? * scale)?;
        let mask: Vec<f32> = self
            .lengths
            .iter()
            .flat_map(|&n| (0..self.keys).map(move |i| if i < n { 0.0 } else { f32::MIN / 2.0 }))
            .collect();
        let mask = Tensor::from_vec(mask, (self.batch, 1, 1, self.keys), q.device())?
            .to_dtype(scores.dtype())?;
        let scores = scores.broadcast_add(&mask)?;
        let peak = scores.max_keepdim(D::Minus1)?.detach();
        let e = scores.broadcast_sub(&peak)?.exp()?;
        let mut mixed = e
            .broadcast_div(&e.sum_keepdim(D::Minus1)?)?
            .matmul(&v)?
            .transpose(1, 2)?
            .reshape((self.batch, self.queries, heads * dim))?;
        if self.lengths.contains(&0) {
            let seen: Vec<f32> = self.lengths.iter().map(|&n| n.min(1) as f32).collect();
            let seen = Tensor::from_vec(seen, (self.batch, 1, 1), q.device())?;
            mixed = mixed.broadcast_mul(&seen.to_dtype(mixed.dtype())?)?;
        }
        Ok(mixed)
    }

    fn plain_turn(&self, x: Tensor, norms: Option<&Tensor>, which: usize) -> Result<Tensor> {
        let Heads { dim, eps, .. } = self.heads;
        let tokens = x.dim(2)?;
        let mut x = x;
        if let Some(norms) = norms {
            let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
            let unit = x.broadcast_div(&(mean + f64::from(eps))?.sqrt()?)?;
            let parts: Vec<Tensor> = self
                .streams(tokens)
                .into_iter()
                .filter(|(range, _)| !range.is_empty())
                .map(|(range, first)| {
                    unit.narrow(2, range.start, range.len())?
                        .broadcast_mul(&norms.get(first + which)?)
                })
                .collect::<Candle<_>>()?;
            x = Tensor::cat(&parts, 2)?;
        }
        if let Some(angles) = &self.angles {
            let half = dim / 2;
            let table = |v: &[f32]| -> Candle<Tensor> {
                Tensor::new(&v[..tokens * half], x.device())?
                    .reshape((tokens, half))?
                    .to_dtype(x.dtype())
            };
            let (cos, sin) = (table(&angles.cos)?, table(&angles.sin)?);
            let (a, b) = (x.narrow(3, 0, half)?, x.narrow(3, half, half)?);
            let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
            let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
            x = Tensor::cat(&[first, second], 3)?;
        }
        Ok(x)
    }
}
