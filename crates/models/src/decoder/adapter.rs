//! Low-rank adapters as files hold them: PEFT's safetensors and llama.cpp's GGUF.
//!
//! Names and meaning of PEFT's settings: <https://huggingface.co/docs/peft/package_reference/lora>; of GGUF adapters:
//! llama.cpp, `convert_lora_to_gguf.py` and `src/llama-adapter.cpp`.

use std::collections::BTreeMap;

use medley_formats::WeightFile;
use medley_formats::gguf::{Metadata, Value as GgufValue};
use medley_nn::RopeStyle;
use serde_json::Value;

use super::config::{DecoderConfig, NormLayout};
use super::{FAMILIES, Family, tensor_name};
use crate::{ConfigError, Result};

/// What PEFT puts before the names of a model's layers.
pub(super) const PEFT: &str = "base_model.model.";
/// Beginnings of the names of a language model's layers, by itself or within a model of more media.
const BEGINNINGS: [&str; 4] = [
    "model.layers.",
    "language_model.model.layers.",
    "model.language_model.layers.",
    "layers.",
];

/// The order in which rows of query and key matrices stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOrder {
    /// That of published checkpoints: the halves of a head, which turn together.
    Halves,
    /// That of GGUF files of Llama's kind: what turns together stands side by side.
    Pairs,
}

impl RowOrder {
    /// That of a model, which follows from the way its positions turn.
    pub fn of(config: &DecoderConfig) -> Self {
        let mut ropes = config.ropes.iter();
        match ropes.any(|rope| rope.style == RopeStyle::Interleaved) {
            true => Self::Pairs,
            false => Self::Halves,
        }
    }
}

/// The change of one matrix: `scale · B A`.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// Columns of B and rows of A.
    pub rank: usize,
    /// Outputs and inputs of the matrix.
    pub shape: [usize; 2],
    /// A, `[rank, in]`
    pub a: Vec<f32>,
    /// B, `[out, rank]`
    pub b: Vec<f32>,
    /// `alpha / rank`, or with rank-stabilised scaling `alpha / √rank`.
    pub scale: f64,
}

/// Low-rank changes of a decoder's layers ([Hu et al. 2021](https://arxiv.org/abs/2106.09685)).
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// By the name of a layer in published checkpoints, such as `model.layers.0.self_attn.q_proj`.
    pub layers: BTreeMap<String, Factors>,
    /// How the B of queries and keys is ordered.
    pub order: RowOrder,
    /// `general.architecture` of a GGUF adapter.
    pub architecture: Option<String>,
}

/// A tensor of a GGUF adapter: name, shape (outermost first), numbers.
pub type GgufFactor = (String, [usize; 2], Vec<f32>);

/// Rows of `values [heads × dim, width]` in another order.
pub(super) fn reordered(values: &[f32], width: usize, heads: usize, to: RowOrder) -> Vec<f32> {
    let rows = values.len() / width.max(1);
    let dim = (rows / heads.max(1)).max(1);
    let mut out = Vec::with_capacity(values.len());
    for row in 0..rows {
        let (first, at) = (row / dim * dim, row % dim);
        let from = match to {
            RowOrder::Pairs => at % 2 * (dim / 2) + at / 2,
            RowOrder::Halves => at % (dim / 2).max(1) * 2 + at / (dim / 2).max(1),
        };
        out.extend_from_slice(&values[(first + from) * width..][..width]);
    }
    out
}

/// Heads of a layer whose rows are ordered by them.
pub(super) fn heads_of(config: &DecoderConfig, layer: &str) -> Option<usize> {
    match layer.rsplit('.').next() {
        Some("q_proj") => Some(config.heads),
        Some("k_proj") => Some(config.kv_heads),
        _ => None,
    }
}

/// The tensors of a file, pair by pair.
#[derive(Default)]
struct Pair {
    a: Option<(Vec<usize>, Vec<f32>)>,
    b: Option<(Vec<usize>, Vec<f32>)>,
}

impl Adapter {
    /// Reads an adapter. `settings` is the `adapter_config.json` that PEFT puts beside its weights.
    ///
    /// # Errors
    /// [`ConfigError::Adapter`] for a file that holds anything but pairs of factors, and for settings that cannot be
    /// honoured.
    pub fn read(file: &WeightFile, settings: Option<&Value>) -> Result<Self> {
        match file.metadata() {
            Some(metadata) => Self::from_gguf(file, metadata),
            None => Self::from_peft(file, settings),
        }
    }

    fn from_peft(file: &WeightFile, settings: Option<&Value>) -> Result<Self> {
        let mut pairs = BTreeMap::<String, Pair>::new();
        for info in file.tensors() {
            let (layer, is_a) = peft_layer(&info.name)?;
            let tensor = Some((info.shape.clone(), values(file, &info.name)?));
            let pair = pairs.entry(layer).or_default();
            *if is_a { &mut pair.a } else { &mut pair.b } = tensor;
        }
        let scaling = Scaling::read(settings.unwrap_or(&Value::Null))?;
        Ok(Self {
            layers: factors(pairs, |layer, rank| scaling.of(layer, rank))?,
            order: RowOrder::Halves,
            architecture: None,
        })
    }

    fn from_gguf(file: &WeightFile, metadata: &Metadata) -> Result<Self> {
        let text = |key: &str| metadata.str(key).unwrap_or("");
        for (key, wanted) in [("general.type", "adapter"), ("adapter.type", "lora")] {
            if text(key) != wanted {
                let problem = format!("is {:?}, not {wanted:?}: this is no LoRA", text(key));
                return Err(ConfigError::adapter(key, problem));
            }
        }
        let architecture = text("general.architecture").to_owned();
        let alpha = metadata.f32("adapter.lora.alpha").filter(|a| *a != 0.0);
        let mut pairs = BTreeMap::<String, Pair>::new();
        for info in file.tensors() {
            let (layer, is_a) = gguf_layer(&info.name, &architecture)?;
            let tensor = Some((info.shape.clone(), values(file, &info.name)?));
            let pair = pairs.entry(layer).or_default();
            *if is_a { &mut pair.a } else { &mut pair.b } = tensor;
        }
        let scale = |_: &str, rank: usize| alpha.map_or(1.0, |a| f64::from(a) / rank as f64);
        let pairs_of_rows = FAMILIES
            .iter()
            .any(|f| f.gguf == architecture && f.reordered);
        Ok(Self {
            layers: factors(pairs, scale)?,
            order: match pairs_of_rows {
                true => RowOrder::Pairs,
                false => RowOrder::Halves,
            },
            architecture: Some(architecture),
        })
    }

    /// Refuses a model of another family than a GGUF adapter names.
    pub fn check_family(&self, config: &DecoderConfig) -> Result<()> {
        let Some(mine) = &self.architecture else {
            return Ok(());
        };
        let family = family(config)?;
        if family.gguf == mine {
            return Ok(());
        }
        let problem = format!("is {mine}; the model is {}", family.gguf);
        Err(ConfigError::adapter("architecture", problem))
    }

    /// The same changes with query and key rows in this order.
    pub fn ordered(mut self, config: &DecoderConfig, order: RowOrder) -> Self {
        if self.order != order {
            for (layer, factors) in &mut self.layers {
                if let Some(heads) = heads_of(config, layer) {
                    factors.b = reordered(&factors.b, factors.rank, heads, order);
                }
            }
            self.order = order;
        }
        self
    }

    /// As llama.cpp reads it: metadata, and tensors with name, shape and numbers.
    pub fn to_gguf(
        self,
        config: &DecoderConfig,
        name: &str,
    ) -> Result<(Metadata, Vec<GgufFactor>)> {
        let family = family(config)?;
        let order = match family.reordered {
            true => RowOrder::Pairs,
            false => RowOrder::Halves,
        };
        let adapter = self.ordered(config, order);
        // One alpha stands for all layers; what differs from it goes into B.
        let alpha_of = |f: &Factors| f.scale * f.rank as f64;
        let alpha = adapter.layers.values().next().map_or(1.0, alpha_of);
        let mut metadata = Metadata::default();
        let mut set = |key: &str, value: GgufValue| metadata.insert(key.to_owned(), value);
        set(
            "general.architecture",
            GgufValue::String(family.gguf.into()),
        );
        set("general.type", GgufValue::String("adapter".into()));
        set("general.name", GgufValue::String(name.into()));
        set("adapter.type", GgufValue::String("lora".into()));
        set("adapter.lora.alpha", GgufValue::F32(alpha as f32));
        let mut tensors = Vec::new();
        for (layer, factors) in adapter.layers {
            let more = (alpha_of(&factors) / alpha) as f32;
            let [out, inputs] = factors.shape;
            let name = tensor_name(config.norms, &format!("{layer}.weight"));
            let mut b = factors.b;
            if more != 1.0 {
                b.iter_mut().for_each(|v| *v *= more);
            }
            tensors.push((format!("{name}.lora_a"), [factors.rank, inputs], factors.a));
            tensors.push((format!("{name}.lora_b"), [out, factors.rank], b));
        }
        Ok((metadata, tensors))
    }
}

fn family(config: &DecoderConfig) -> Result<&'static Family> {
    let found = FAMILIES.iter().find(|f| f.name == config.family);
    found.ok_or_else(|| ConfigError::missing("family"))
}

fn values(file: &WeightFile, name: &str) -> Result<Vec<f32>> {
    Ok(file.to_f32(name).map_err(medley_nn::Error::from)?)
}

/// The layer of one of PEFT's tensors, and whether it is A.
fn peft_layer(tensor: &str) -> Result<(String, bool)> {
    let ends = [
        (".lora_A.weight", true),
        (".lora_A.default.weight", true),
        (".lora_B.weight", false),
        (".lora_B.default.weight", false),
    ];
    let found = ends
        .iter()
        .find_map(|(end, is_a)| Some((tensor.strip_suffix(end)?, *is_a)));
    let Some((layer, is_a)) = found else {
        let problem = "is no factor of a linear layer (lora_A.weight or lora_B.weight)";
        return Err(ConfigError::adapter(&format!("tensor {tensor}"), problem));
    };
    let layer = layer.strip_prefix(PEFT).unwrap_or(layer);
    let rest = BEGINNINGS.iter().find_map(|b| layer.strip_prefix(b));
    match rest {
        Some(rest) => Ok((format!("model.layers.{rest}"), is_a)),
        None => Err(ConfigError::adapter(
            &format!("tensor {tensor}"),
            "changes no layer of a language model",
        )),
    }
}

/// The layer of a tensor of a GGUF adapter, and whether it is A.
fn gguf_layer(tensor: &str, architecture: &str) -> Result<(String, bool)> {
    let wrong = || {
        ConfigError::adapter(
            &format!("tensor {tensor}"),
            "is no factor of a linear layer (blk.N.….weight.lora_a or .lora_b)",
        )
    };
    let (name, is_a) = match tensor.strip_suffix(".weight.lora_a") {
        Some(name) => (name, true),
        None => (
            tensor.strip_suffix(".weight.lora_b").ok_or_else(wrong)?,
            false,
        ),
    };
    let (index, short) = name
        .strip_prefix("blk.")
        .and_then(|rest| rest.split_once('.'))
        .ok_or_else(wrong)?;
    let stems = super::adapt::parts(architecture).iter();
    // Names of matrices do not hang on where norms stand.
    let long = stems.map(|stem| format!("model.layers.{index}.{stem}"));
    let mut long = long.filter(|long| {
        tensor_name(NormLayout::Pre, &format!("{long}.weight"))
            == format!("blk.{index}.{short}.weight")
    });
    Ok((long.next().ok_or_else(wrong)?, is_a))
}

/// Whole pairs that are matrices and fit each other.
fn factors(
    pairs: BTreeMap<String, Pair>,
    scale: impl Fn(&str, usize) -> f64,
) -> Result<BTreeMap<String, Factors>> {
    if pairs.is_empty() {
        return Err(ConfigError::adapter("file", "holds no tensors"));
    }
    let each = pairs.into_iter().map(|(layer, pair)| {
        let (Some((a_shape, a)), Some((b_shape, b))) = (pair.a, pair.b) else {
            return Err(ConfigError::adapter(&layer, "has only one of its factors"));
        };
        match (a_shape.as_slice(), b_shape.as_slice()) {
            (&[rank, inputs], &[out, same]) if rank == same && rank > 0 => {
                let factors = Factors {
                    rank,
                    shape: [out, inputs],
                    scale: scale(&layer, rank),
                    a,
                    b,
                };
                Ok((layer, factors))
            }
            _ => Err(ConfigError::adapter(
                &layer,
                format!(
                    "has factors of the shapes {b_shape:?} and {a_shape:?}, which have no product"
                ),
            )),
        }
    });
    each.collect()
}

/// How PEFT's settings scale the layers.
struct Scaling {
    alpha: Option<f64>,
    stabilised: bool,
    /// By the ends of names.
    alphas: Vec<(String, f64)>,
}

impl Scaling {
    fn read(settings: &Value) -> Result<Self> {
        let kind = settings["peft_type"].as_str().unwrap_or("LORA");
        if kind != "LORA" {
            return Err(ConfigError::adapter(
                "peft_type",
                format!("is {kind}, not LORA"),
            ));
        }
        let on = |key: &str| match &settings[key] {
            Value::Null | Value::Bool(false) => false,
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
            Value::String(text) => text != "none",
            _ => true,
        };
        for key in [
            "use_dora",
            "bias",
            "modules_to_save",
            "fan_in_fan_out",
            "use_qalora",
        ] {
            if on(key) {
                let problem = format!("is {}, which is not honoured here", settings[key]);
                return Err(ConfigError::adapter(key, problem));
            }
        }
        let alphas = settings["alpha_pattern"].as_object().into_iter().flatten();
        let alphas = alphas.map(|(name, alpha)| match alpha.as_f64() {
            Some(alpha) => Ok((name.trim_start_matches('^').to_owned(), alpha)),
            None => Err(ConfigError::adapter(
                "alpha_pattern",
                "must be numbers by layer",
            )),
        });
        Ok(Self {
            alpha: settings["lora_alpha"].as_f64(),
            stabilised: on("use_rslora"),
            alphas: alphas.collect::<Result<_>>()?,
        })
    }

    fn of(&self, layer: &str, rank: usize) -> f64 {
        let own = self.alphas.iter().find(|(end, _)| {
            layer
                .strip_suffix(end.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        });
        let Some(alpha) = own.map(|(_, alpha)| *alpha).or(self.alpha) else {
            return 1.0;
        };
        let rank = rank as f64;
        alpha / if self.stabilised { rank.sqrt() } else { rank }
    }
}
