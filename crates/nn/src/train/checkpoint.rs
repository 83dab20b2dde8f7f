//! Blocks whose inner results are not kept for the backward pass.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor, Var};

use super::gradients::{Left, add_to_sink, handle};
use super::{Compute, numbers, tensor, with_compute};
use crate::Result;

type Block = Arc<dyn Fn(&[Tensor]) -> candle_core::Result<Tensor> + Send + Sync>;

/// `f` of `inputs` (f32 on the CPU, contiguous; `f` gives such a one too), whose inner results are thrown away and made
/// again when gradients are asked for: memory for a second forward pass
/// ([Chen et al. 2016](https://arxiv.org/abs/1604.06174)). Parameters that `f` uses get their gradients by
/// [`backward`](super::backward) only.
///
/// # Errors
/// Those of `f`.
pub fn checkpoint<E: std::fmt::Display>(
    inputs: &[&Tensor],
    f: impl Fn(&[Tensor]) -> std::result::Result<Tensor, E> + Send + Sync + 'static,
) -> Result<Tensor> {
    let block: Block = Arc::new(move |inputs: &[Tensor]| {
        f(inputs).map_err(|e| candle_core::Error::Msg(e.to_string()))
    });
    let detached: Vec<Tensor> = inputs.iter().map(|x| x.detach()).collect();
    let output = block(&detached)?.detach().contiguous()?;
    let Some(first) = inputs
        .first()
        .filter(|_| inputs.iter().any(|x| x.track_op()))
    else {
        return Ok(output);
    };
    let (handle, left) = handle(inputs)?;
    let op = Again {
        block,
        inputs: inputs.iter().map(|&x| x.clone()).collect(),
        output: Mutex::new(Some(numbers(&output)?.to_vec())),
        shape: output.shape().clone(),
        left,
        compute: super::compute(),
    };
    // The first one stands for itself, so that the operation has a place among candle's; its gradient goes by the handle.
    Ok(first.detach().apply_op2(&handle, op)?)
}

struct Again {
    block: Block,
    inputs: Vec<Tensor>,
    /// What the forward pass made, until candle has taken it.
    output: Mutex<Option<Vec<f32>>>,
    shape: Shape,
    left: Left,
    compute: Compute,
}

impl CustomOp2 for Again {
    fn name(&self) -> &'static str {
        "checkpoint"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let mut output = self.output.lock().unwrap_or_else(|e| e.into_inner());
        match output.take() {
            Some(values) => Ok((CpuStorage::F32(values), self.shape.clone())),
            None => candle_core::bail!("a checkpoint has one forward pass"),
        }
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let own: Vec<Var> = self
            .inputs
            .iter()
            .map(|x| Var::from_tensor(&x.detach()))
            .collect::<candle_core::Result<_>>()?;
        let inputs: Vec<Tensor> = own.iter().map(|x| x.as_tensor().clone()).collect();
        let store = with_compute(self.compute, || {
            let output = (self.block)(&inputs)?;
            // Its gradient with respect to the output is the one that came in.
            (output * grad)?.sum_all()?.backward()
        })?;
        for id in store.get_ids() {
            let is_input = own.iter().any(|x| x.as_tensor().id() == *id);
            if let (false, Some(gradient)) = (is_input, store.get_id(*id)) {
                add_to_sink(*id, &gradient.contiguous()?)?;
            }
        }
        let mut left = self.left.lock().unwrap_or_else(|e| e.into_inner());
        for (input, own) in self.inputs.iter().zip(&own) {
            if let (true, Some(gradient)) = (input.track_op(), take(own, &store)?) {
                // One tensor may be several inputs.
                let sum = match left.remove(&input.id()) {
                    Some(other) => (other + gradient)?,
                    None => gradient,
                };
                left.insert(input.id(), sum);
            }
        }
        Ok((None, Some(tensor(vec![0.0], &[1])?)))
    }
}

/// The gradient of an input of the second pass: what our operations added to the buffer of [`super::backward`], as to
/// that of a parameter, and what candle's left in its store.
fn take(
    own: &Var,
    store: &candle_core::backprop::GradStore,
) -> candle_core::Result<Option<Tensor>> {
    let buffered = super::gradients::take_from_sink(own.as_tensor().id(), own.dims())?;
    let stored = store.get(own.as_tensor()).cloned();
    Ok(match (buffered, stored) {
        (Some(a), Some(b)) => Some((a + b)?),
        (a, b) => a.or(b),
    })
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::{Gradients, backward, linear};
    use super::*;

    fn variable(shape: (usize, usize), seed: f32) -> Var {
        let count = shape.0 * shape.1;
        let values: Vec<f32> = (0..count).map(|i| (i as f32 * seed).sin()).collect();
        Var::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    /// Two layers by our operations and one by candle's, and an input that is used twice.
    fn block(x: &Tensor, y: &Tensor, weights: &[Var; 2]) -> Result<Tensor> {
        let h = linear(x, weights[0].as_tensor(), None)?;
        let h = (h * y)?.tanh()?;
        let h = linear(&h, weights[0].as_tensor(), None)?;
        Ok((h.matmul(&weights[1].t()?)? + x)?)
    }

    #[test]
    fn gradients_are_those_without_it_bit_for_bit() {
        let (x, y) = (variable((3, 8), 0.7), variable((3, 8), 1.3));
        let weights = [variable((8, 8), 0.3), variable((8, 8), 0.9)];
        let run = |again: bool| {
            // Two blocks, so that a gradient comes in and goes out.
            let mut h = (x.as_tensor() * 2.0).unwrap();
            for _ in 0..2 {
                h = match again {
                    false => block(&h, &y, &weights).unwrap(),
                    true => {
                        let weights = weights.clone();
                        let f = move |t: &[Tensor]| block(&t[0], &t[1], &weights);
                        checkpoint(&[&h, y.as_tensor()], f).unwrap()
                    }
                };
            }
            let loss = h.sqr().unwrap().sum_all().unwrap();
            let mut gradients = Gradients::default();
            backward(&loss, &mut gradients).unwrap();
            let of = |v: &Var| gradients.get(v).unwrap().to_vec();
            let value = loss.to_scalar::<f32>().unwrap();
            (value, [of(&x), of(&y), of(&weights[0]), of(&weights[1])])
        };
        let (expected, found) = (run(false), run(true));
        assert_eq!(expected.0, found.0);
        for (a, b) in expected.1.iter().zip(&found.1) {
            assert!(a.iter().any(|v| *v != 0.0));
            for (a, b) in a.iter().zip(b) {
                assert!((a - b).abs() <= 1e-5 * a.abs().max(1.0), "{a} {b}");
            }
        }
    }

    #[test]
    fn errors_of_the_block_come_out_and_nothing_tracked_is_just_computed() {
        let x = Tensor::zeros((2, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
        let wrong = checkpoint(&[&x], |_| Err::<Tensor, _>("no".to_owned()));
        assert!(wrong.unwrap_err().to_string().contains("no"));
        let same = checkpoint(&[&x], |t| Ok::<_, crate::Error>((&t[0] + 1.0)?)).unwrap();
        assert!(!same.track_op());
        assert_eq!(same.to_vec2::<f32>().unwrap(), [[1.0, 1.0], [1.0, 1.0]]);
    }
}
