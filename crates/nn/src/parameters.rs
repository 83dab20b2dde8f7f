//! The tensors of a model that training changes, by name.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Tensor, Var};

use crate::{Error, Result};

/// A tensor that training changes.
#[derive(Clone)]
pub struct Parameter {
    /// Name, as in published checkpoints. A part of a tensor that is stored as a whole has `#` and its first row behind it.
    pub name: String,
    /// Its numbers.
    pub var: Var,
    /// What was added to the stored numbers (norms of some families are stored as their distance from 1).
    pub offset: f32,
}

/// Parameters of a model in the order in which it was built. Clones are the same list.
#[derive(Clone, Default)]
pub struct Parameters {
    list: Arc<Mutex<Vec<Parameter>>>,
}

impl Parameters {
    fn list(&self) -> MutexGuard<'_, Vec<Parameter>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them.
    pub fn all(&self) -> Vec<Parameter> {
        self.list().clone()
    }

    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<Parameter> {
        self.list().iter().find(|p| p.name == name).cloned()
    }

    /// Numbers of all parameters together.
    pub fn count(&self) -> usize {
        self.list().iter().map(|p| p.var.elem_count()).sum()
    }

    /// A new parameter, or the one that has this name already.
    pub fn add(
        &self,
        name: &str,
        values: Vec<f32>,
        shape: &[usize],
        offset: f32,
        device: &Device,
    ) -> Result<Tensor> {
        let mut list = self.list();
        if let Some(known) = list.iter().find(|p| p.name == name) {
            return Ok(known.var.as_tensor().clone());
        }
        let var = Var::from_vec(values, shape, device)?;
        let tensor = var.as_tensor().clone();
        list.push(Parameter {
            name: name.to_owned(),
            var,
            offset,
        });
        Ok(tensor)
    }
}

impl Parameter {
    /// Its numbers as a file holds them.
    pub fn stored(&self) -> Result<Vec<f32>> {
        let mut values: Vec<f32> = self.var.flatten_all()?.to_vec1()?;
        if self.offset != 0.0 {
            values.iter_mut().for_each(|v| *v -= self.offset);
        }
        Ok(values)
    }

    /// Changes its numbers where they lie, on the CPU; elsewhere they make the way there and back.
    pub fn update(&self, change: impl FnMut(&mut [f32]) + Send) -> Result<()> {
        if !self.var.device().is_cpu() {
            let mut change = change;
            let mut values: Vec<f32> = self.var.flatten_all()?.to_vec1()?;
            change(&mut values);
            let changed = Tensor::from_vec(values, self.var.shape(), self.var.device())?;
            return Ok(self.var.set(&changed)?);
        }
        let op = Update(Mutex::new(change));
        self.var.inplace_op1(&op)?;
        Ok(())
    }

    /// Takes other numbers over, as a file holds them.
    pub fn restore(&self, stored: &[f32]) -> Result<()> {
        if stored.len() != self.var.elem_count() {
            return Err(Error::Shape {
                name: self.name.clone(),
                found: vec![stored.len()],
                expected: self.var.dims().to_vec(),
            });
        }
        self.update(|values| {
            for (value, stored) in values.iter_mut().zip(stored) {
                *value = stored + self.offset;
            }
        })
    }
}

struct Update<F>(Mutex<F>);

impl<F: FnMut(&mut [f32])> InplaceOp1 for Update<F> {
    fn name(&self) -> &'static str {
        "update"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets())
        else {
            candle_core::bail!("a parameter is f32 and contiguous");
        };
        let mut change = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (*change)(&mut values[start..end]);
        Ok(())
    }
}
