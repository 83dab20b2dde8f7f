//! Where gradients of parameters gather.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor, TensorId, Var};
use medley_kernels::optim::add_scaled;
use medley_kernels::unspecified;

use super::{numbers, tensor};
use crate::Result;

/// The gradient of a parameter, in memory that is kept from step to step.
struct Buffer {
    values: Vec<f32>,
    /// Whether it holds a gradient of this step.
    filled: bool,
}

/// Gradients of parameters, added up over the calls of [`backward`] since the last [`Gradients::clear`].
#[derive(Default)]
pub struct Gradients {
    buffers: HashMap<TensorId, Buffer>,
    /// Whose gradients are kept, where not all are.
    wanted: Option<HashSet<TensorId>>,
}

impl Gradients {
    /// Those of these parameters alone. (candle computes gradients of constants too.)
    pub fn of<'a>(parameters: impl IntoIterator<Item = &'a Var>) -> Self {
        Self {
            buffers: HashMap::new(),
            wanted: Some(parameters.into_iter().map(|var| var.id()).collect()),
        }
    }

    /// The gradient of a parameter, or `None` where none has reached it.
    pub fn get(&self, parameter: &Tensor) -> Option<&[f32]> {
        let buffer = self.buffers.get(&parameter.id()).filter(|b| b.filled)?;
        Some(&buffer.values)
    }

    /// Forgets all gradients; their memory is kept for the next step, if this one used it. (candle computes gradients of
    /// constants too, which are others in each step: kept, they would fill the memory.)
    pub fn clear(&mut self) {
        self.buffers
            .retain(|_, buffer| std::mem::take(&mut buffer.filled));
    }

    /// Bytes of all buffers.
    pub fn bytes(&self) -> usize {
        self.buffers.values().map(|b| 4 * b.values.len()).sum()
    }

    /// Hands the buffer of a parameter to `write`, which adds to it where it is told so and else writes all of it.
    fn with(&mut self, id: TensorId, len: usize, write: impl FnOnce(&mut [f32], bool)) {
        let buffer = self.buffers.entry(id).or_insert_with(|| Buffer {
            values: unspecified(len),
            filled: false,
        });
        write(&mut buffer.values, buffer.filled);
        buffer.filled = true;
    }
}

thread_local! {
    /// Gradients that a backward pass on this thread adds to.
    static SINK: RefCell<Option<Gradients>> = const { RefCell::new(None) };
}

/// The backward pass of `loss`, a tensor of one element: adds the gradients of all parameters to `gradients`.
pub fn backward(loss: &Tensor, gradients: &mut Gradients) -> Result<()> {
    let outer = SINK.replace(Some(std::mem::take(gradients)));
    let store = loss.backward();
    let taken = SINK.replace(outer);
    *gradients = taken.unwrap_or_default();
    let store = store?;
    for id in store.get_ids() {
        let unwanted = gradients.wanted.as_ref().is_some_and(|w| !w.contains(id));
        let Some(gradient) = store.get_id(*id).filter(|_| !unwanted) else {
            continue;
        };
        let gradient = gradient.contiguous()?;
        let add_to = |values: &[f32], sum: &mut [f32], add: bool| {
            add_scaled(sum, values, 1.0, !add);
        };
        match gradient.device().is_cpu() {
            true => {
                let values = numbers(&gradient)?;
                gradients.with(*id, values.len(), |sum, add| add_to(&values, sum, add));
            }
            false => {
                let values: Vec<f32> = gradient.flatten_all()?.to_vec1()?;
                gradients.with(*id, values.len(), |sum, add| add_to(&values, sum, add));
            }
        }
    }
    Ok(())
}

/// Adds a gradient to the buffer of the running [`backward`].
///
/// # Errors
/// Where there is none: gradients of parameters inside a checkpoint have no other place.
pub(super) fn add_to_sink(id: TensorId, gradient: &Tensor) -> candle_core::Result<()> {
    let values = numbers(gradient)?;
    SINK.with_borrow_mut(|sink| match sink {
        Some(gradients) => {
            gradients.with(id, values.len(), |sum, add| {
                add_scaled(sum, &values, 1.0, !add);
            });
            Ok(())
        }
        None => {
            candle_core::bail!("gradients through a checkpoint need the backward of this crate")
        }
    })
}

/// Takes a gradient out of the buffers of the running [`backward`], if there is one of this tensor.
pub(super) fn take_from_sink(id: TensorId, dims: &[usize]) -> candle_core::Result<Option<Tensor>> {
    let taken = SINK.with_borrow_mut(|sink| sink.as_mut().and_then(|g| g.buffers.remove(&id)));
    taken
        .filter(|buffer| buffer.filled)
        .map(|buffer| tensor(buffer.values, dims))
        .transpose()
}

/// Makes the gradient of an operand by `write` (see [`Gradients::with`]): in the buffer of the running [`backward`],
/// where the operand is a parameter, else as a tensor that candle goes on with.
pub(crate) fn gradient_of(
    operand: &Tensor,
    write: impl FnOnce(&mut [f32], bool),
) -> candle_core::Result<Option<Tensor>> {
    if !operand.track_op() {
        return Ok(None);
    }
    let len = operand.elem_count();
    if operand.is_variable() {
        let left = SINK.with_borrow_mut(|sink| match sink {
            Some(gradients) => {
                gradients.with(operand.id(), len, write);
                None
            }
            None => Some(write),
        });
        let Some(write) = left else {
            return Ok(None);
        };
        return fresh(operand, write);
    }
    fresh(operand, write)
}

fn fresh(
    operand: &Tensor,
    write: impl FnOnce(&mut [f32], bool),
) -> candle_core::Result<Option<Tensor>> {
    let mut values = unspecified(operand.elem_count());
    write(&mut values, false);
    tensor(values, operand.dims()).map(Some)
}

/// Gradients that an operation over many operands leaves for a [`Handle`].
pub(super) type Left = Arc<Mutex<HashMap<TensorId, Tensor>>>;

/// Operations of candle have at most three operands. One that has more takes a handle instead: a tensor of one number
/// that depends on the others, and hands on the gradients that were left for them.
struct Handle(Left);

impl CustomOp3 for Handle {
    fn name(&self) -> &'static str {
        "operands"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), Shape::from(1)))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let mut left = self.0.lock().unwrap_or_else(|e| e.into_inner());
        // The first is a parameter or the handle before, whose gradient has one element as this one's.
        let first = match left.remove(&a.id()) {
            None if a.dims() == [1] && a.track_op() => Some(grad.clone()),
            found => found,
        };
        let second = left.remove(&b.id());
        Ok((first, second, left.remove(&c.id())))
    }
}

/// A handle to all of `operands`, and where to leave their gradients.
pub(super) fn handle(operands: &[&Tensor]) -> Result<(Tensor, Left)> {
    let left = Left::default();
    let mut last = Tensor::zeros(1, candle_core::DType::F32, &candle_core::Device::Cpu)?;
    for pair in operands.chunks(2) {
        let (a, b) = (pair[0], pair.get(1).unwrap_or(&pair[0]));
        last = last.apply_op3(a, b, Handle(left.clone()))?;
    }
    Ok((last, left))
}
