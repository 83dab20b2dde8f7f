//! The tensors of a model that training changes, by name.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Tensor, Var};

use crate::weights::{Tensors, Vars};
use crate::{Error, Result};

/// A tensor that training changes.
#[derive(Clone)]
pub struct Parameter {
    /// Name, as in published checkpoints.
    pub name: String,
    /// Its numbers.
    pub var: Var,
    /// What was added to the stored numbers (norms of some families are stored as their distance from 1).
    pub offset: f32,
}

/// Parameters of a model, sorted by name. Clones share the variables.
#[derive(Clone, Default)]
pub struct Parameters {
    list: Vec<Parameter>,
}

impl Parameters {
    /// Variables of these numbers. `offset` says what is added to each by its name.
    pub fn new(tensors: &Tensors, offset: impl Fn(&str) -> f32, device: &Device) -> Result<Self> {
        let mut names: Vec<&String> = tensors.keys().collect();
        names.sort();
        let list = names
            .into_iter()
            .map(|name| {
                let (shape, values) = &tensors[name];
                let offset = offset(name);
                let values = values.iter().map(|v| v + offset).collect::<Vec<_>>();
                Ok(Parameter {
                    name: name.clone(),
                    var: Var::from_vec(values, shape.as_slice(), device)?,
                    offset,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { list })
    }

    /// Those of variables that exist.
    pub fn from_vars(vars: &Vars) -> Self {
        let parameter = |(name, var): (&String, &Var)| Parameter {
            name: name.clone(),
            var: var.clone(),
            offset: 0.0,
        };
        Self {
            list: vars.iter().map(parameter).collect(),
        }
    }

    /// The variables by name, for [`crate::Weights::from_vars`].
    pub fn vars(&self) -> Vars {
        let pair = |p: &Parameter| (p.name.clone(), p.var.clone());
        self.list.iter().map(pair).collect()
    }

    /// All of them.
    pub fn all(&self) -> &[Parameter] {
        &self.list
    }

    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.list.iter().find(|p| p.name == name)
    }

    /// Numbers of all parameters together.
    pub fn count(&self) -> usize {
        self.list.iter().map(|p| p.var.elem_count()).sum()
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
    pub fn update(&self, mut change: impl FnMut(&mut [f32])) -> Result<()> {
        if !self.var.device().is_cpu() {
            let mut values: Vec<f32> = self.var.flatten_all()?.to_vec1()?;
            change(&mut values);
            let changed = Tensor::from_vec(values, self.var.shape(), self.var.device())?;
            return Ok(self.var.set(&changed)?);
        }
        self.var.inplace_op1(&Update(Mutex::new(change)))?;
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
