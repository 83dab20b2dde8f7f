//! Low-rank adapters on the layers of a decoder: those of a file that serve, and new ones that learn.

use std::ops::Range;

use medley_nn::weights::Tensors;
use medley_nn::{Linear, Parameters, Tensor};

use super::adapter::{Adapter, Factors, PEFT, RowOrder, heads_of, reordered};
use super::{Decoder, DecoderLayer, Mlp};
use crate::parameters::{Init, Parameter};
use crate::{ConfigError, Result};

/// Layers that adapters change unless others are named.
pub const TARGETS: [&str; 7] = [
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
];

/// The matrices of a layer, by the names of published checkpoints.
const APART: [&str; 7] = [
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
];

/// Those of Phi 3, which stores several as one.
const JOINED: [&str; 4] = [
    "self_attn.qkv_proj",
    "self_attn.o_proj",
    "mlp.gate_up_proj",
    "mlp.down_proj",
];

/// The matrices of a layer in the checkpoints of a family, or of a GGUF architecture: Phi 3 has one name for both.
pub(super) fn parts(family: &str) -> &'static [&'static str] {
    match family {
        "phi3" => &JOINED,
        _ => &APART,
    }
}

/// A matrix of a published checkpoint that an adapter may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Such as `model.layers.0.self_attn.q_proj`.
    pub name: String,
    /// Outputs and inputs.
    pub shape: [usize; 2],
}

impl Module {
    /// The last part of its name, as adapters name their targets.
    pub fn target(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }
}

/// A linear layer, and the rows of a published matrix that it is.
type Slot<'a> = (&'a mut Linear, Range<usize>);

impl DecoderLayer {
    /// The linear layers that are one matrix of a published checkpoint.
    fn slots(&mut self, part: &str) -> Option<Vec<Slot<'_>>> {
        let attn = &mut self.self_attn;
        let parts: Vec<&mut Linear> = match part {
            "self_attn.q_proj" => vec![&mut attn.q_proj],
            "self_attn.k_proj" => vec![&mut attn.k_proj],
            "self_attn.v_proj" => vec![&mut attn.v_proj],
            "self_attn.o_proj" => vec![&mut attn.o_proj],
            "self_attn.qkv_proj" => vec![&mut attn.q_proj, &mut attn.k_proj, &mut attn.v_proj],
            other => {
                let Mlp::Dense(mlp) = &mut self.mlp else {
                    return None;
                };
                match other {
                    "mlp.gate_proj" => vec![&mut mlp.gate_proj],
                    "mlp.up_proj" => vec![&mut mlp.up_proj],
                    "mlp.down_proj" => vec![&mut mlp.down_proj],
                    "mlp.gate_up_proj" => vec![&mut mlp.gate_proj, &mut mlp.up_proj],
                    _ => return None,
                }
            }
        };
        let mut first = 0;
        let with_rows = parts.into_iter().map(|linear| {
            let rows = first..first + linear.out_features();
            first = rows.end;
            (linear, rows)
        });
        Some(with_rows.collect())
    }
}

impl Decoder {
    /// How rows of queries and keys stand in this model.
    pub fn row_order(&self) -> RowOrder {
        RowOrder::of(&self.config)
    }

    /// Numbers of all weights.
    pub fn weight_count(&self) -> usize {
        let count = |l: &Linear| l.out_features() * l.in_features();
        let mlp =
            |m: &medley_nn::GatedMlp| count(&m.gate_proj) + count(&m.up_proj) + count(&m.down_proj);
        let layers = self.layers.iter().map(|layer| {
            let a = &layer.self_attn;
            let attention = [&a.q_proj, &a.k_proj, &a.v_proj, &a.o_proj];
            let sparse = match &layer.mlp {
                Mlp::Dense(m) => mlp(m),
                Mlp::Sparse(m) => m.experts.iter().map(mlp).sum(),
            };
            attention.into_iter().map(count).sum::<usize>() + sparse
        });
        let head = if self.config.tied {
            0
        } else {
            count(&self.lm_head)
        };
        count(&self.embed_tokens.table) + head + layers.sum::<usize>()
    }

    /// The matrices that adapters may change, layer by layer.
    pub fn modules(&mut self) -> Vec<Module> {
        let parts = parts(self.config.family);
        let mut modules = Vec::new();
        for (index, layer) in self.layers.iter_mut().enumerate() {
            for part in parts {
                if let Some(slots) = layer.slots(part)
                    && let Some((linear, rows)) = slots.last()
                {
                    modules.push(Module {
                        name: format!("model.layers.{index}.{part}"),
                        shape: [rows.end, linear.in_features()],
                    });
                }
            }
        }
        modules
    }

    /// The factors of a new adapter of this rank for every layer whose name ends in one of `targets` (all, where it is
    /// empty), by PEFT's names, and as PEFT begins them: A uniform as Kaiming for a slope of √5, B all 0.
    ///
    /// # Errors
    /// [`ConfigError::Adapter`] for a rank that is 0 or not below a matrix's own, for a target that the model does not
    /// have, and for mixtures of experts, which no gradient passes.
    pub fn adapter_parameters(
        &mut self,
        rank: usize,
        targets: &[String],
    ) -> Result<Vec<Parameter>> {
        if self.config.layers.iter().any(|l| l.sparse) {
            let problem = "is a mixture of experts; adapters are trained on dense models";
            return Err(ConfigError::adapter("base", problem));
        }
        let modules = self.modules();
        let mut known: Vec<&str> = Vec::new();
        for module in &modules {
            if !known.contains(&module.target()) {
                known.push(module.target());
            }
        }
        if let Some(unknown) = targets.iter().find(|t| !known.contains(&t.as_str())) {
            let problem = format!("is no layer of this model; it has {}", known.join(", "));
            return Err(ConfigError::adapter(&format!("target {unknown}"), problem));
        }
        let wanted = |m: &&Module| targets.is_empty() || targets.iter().any(|t| t == m.target());
        let mut list = Vec::new();
        for module in modules.iter().filter(wanted) {
            let [out, inputs] = module.shape;
            if rank == 0 || rank > out.min(inputs) {
                let problem = format!(
                    "of {rank} does not fit {} of {out} x {inputs}: it lies between 1 and {}",
                    module.name,
                    out.min(inputs)
                );
                return Err(ConfigError::adapter("rank", problem));
            }
            let parameter = |end: &str, shape: [usize; 2], init| Parameter {
                name: format!("{PEFT}{}.{end}.weight", module.name),
                shape: shape.to_vec(),
                init,
                trained: true,
            };
            let bound = 1.0 / (inputs.max(1) as f32).sqrt();
            list.push(parameter("lora_A", [rank, inputs], Init::Uniform(bound)));
            list.push(parameter("lora_B", [out, rank], Init::Zeros));
        }
        Ok(list)
    }

    /// Puts factors by PEFT's names, with rows as published, onto the layers, where they learn. Everything else of the
    /// model stays as it is.
    pub fn learn(&mut self, factors: &Tensors, scale: f64) -> Result<Parameters> {
        let mut ordered = Tensors::new();
        for (name, (shape, values)) in factors {
            let values = self.rows_to(name, shape, values, self.row_order());
            ordered.insert(name.clone(), (shape.clone(), values));
        }
        let parameters = Parameters::new(&ordered, |_| 0.0, &self.device)?;
        let vars = parameters.vars();
        for (name, a) in &vars {
            let Some(layer) = name
                .strip_prefix(PEFT)
                .and_then(|n| n.strip_suffix(".lora_A.weight"))
            else {
                continue;
            };
            let Some(b) = vars.get(&format!("{PEFT}{layer}.lora_B.weight")) else {
                return Err(ConfigError::adapter(layer, "has only one of its factors"));
            };
            let (a, b) = (a.as_tensor(), b.as_tensor());
            let shape = [b.dim(0)?, a.dim(1)?];
            let dense = |weight: Tensor| Linear::Dense { weight, bias: None };
            self.put(layer, shape, scale, |rows| {
                let part = b.narrow(0, rows.start, rows.len())?;
                Ok((dense(a.clone()), dense(part)))
            })?;
        }
        Ok(parameters)
    }

    /// What a parameter of [`Decoder::learn`] is in PEFT's files, out of its numbers here.
    pub fn published(&self, name: &str, shape: &[usize], values: &[f32]) -> Vec<f32> {
        match self.row_order() {
            RowOrder::Halves => values.to_vec(),
            RowOrder::Pairs => self.rows_to(name, shape, values, RowOrder::Halves),
        }
    }

    /// B of queries and keys in another order; `Halves` means from pairs.
    fn rows_to(&self, name: &str, shape: &[usize], values: &[f32], order: RowOrder) -> Vec<f32> {
        let heads = name
            .strip_suffix(".lora_B.weight")
            .and_then(|layer| heads_of(&self.config, layer));
        match heads {
            Some(heads) if self.row_order() == RowOrder::Pairs => {
                reordered(values, shape.get(1).copied().unwrap_or(1), heads, order)
            }
            _ => values.to_vec(),
        }
    }

    /// Puts an adapter onto the layers, `weight` times as strong as it was trained; the weights below it stay as they
    /// are stored.
    ///
    /// # Errors
    /// [`ConfigError::Adapter`] names the layer that the model does not have, or has in another shape.
    pub fn attach(&mut self, adapter: Adapter, weight: f64) -> Result<()> {
        adapter.check_family(&self.config)?;
        let order = self.row_order();
        let adapter = adapter.ordered(&self.config, order);
        let (device, packs) = (self.device.clone(), self.packs());
        for (layer, factors) in &adapter.layers {
            let Factors { rank, shape, .. } = *factors;
            let matrix = |values: &[f32], shape: [usize; 2]| -> Result<Linear> {
                if packs {
                    return Ok(Linear::packed(values, shape[0], shape[1])?);
                }
                let weight = Tensor::from_slice(values, &shape[..], &device)?;
                Ok(Linear::Dense { weight, bias: None })
            };
            let a = matrix(&factors.a, [rank, shape[1]])?;
            self.put(layer, shape, factors.scale * weight, |rows| {
                let part = &factors.b[rows.start * rank..rows.end * rank];
                Ok((a.clone(), matrix(part, [rows.len(), rank])?))
            })?;
        }
        Ok(())
    }

    /// Whether its matrices are packed.
    fn packs(&self) -> bool {
        matches!(self.embed_tokens.table, Linear::Packed { .. })
    }

    /// Puts factors onto the linear layers of a published matrix; `make` gives them for some of its rows.
    fn put(
        &mut self,
        layer: &str,
        shape: [usize; 2],
        scale: f64,
        make: impl Fn(Range<usize>) -> Result<(Linear, Linear)>,
    ) -> Result<()> {
        let count = self.layers.len();
        let missing = || {
            let problem = format!("is no matrix of this model, which has {count} layers");
            ConfigError::adapter(layer, problem)
        };
        let (index, part) = layer
            .strip_prefix("model.layers.")
            .and_then(|rest| rest.split_once('.'))
            .ok_or_else(missing)?;
        let index: usize = index.parse().map_err(|_| missing())?;
        let slots = self
            .layers
            .get_mut(index)
            .and_then(|layer| layer.slots(part))
            .ok_or_else(missing)?;
        let (out, inputs) = slots
            .last()
            .map_or((0, 0), |(linear, rows)| (rows.end, linear.in_features()));
        if shape != [out, inputs] {
            let problem = format!(
                "changes a matrix of {} x {}; this model's is {out} x {inputs}, so it was made for another",
                shape[0], shape[1]
            );
            return Err(ConfigError::adapter(layer, problem));
        }
        for (linear, rows) in slots {
            let (a, b) = make(rows)?;
            *linear = Linear::Lora {
                base: Box::new(linear.clone()),
                a: Box::new(a),
                b: Box::new(b),
                scale,
            };
        }
        Ok(())
    }
}
