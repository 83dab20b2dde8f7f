//! Which tensor gets which element type: the recipes that llama.cpp's file types name.
//!
//! The choices are facts of llama.cpp's `src/llama-quant.cpp` (`llama_tensor_get_type_impl`, `tensor_allows_quantization`,
//! `tensor_type_fallback`) without importance matrix, as far as the architectures that this project runs need them:
//! <https://github.com/ggml-org/llama.cpp/blob/master/src/llama-quant.cpp>

use std::str::FromStr;

use medley_formats::DType;
use medley_formats::gguf::Metadata;
use medley_kernels::BlockType;

use super::ConvertEvent;
use super::write::Planned;

/// A recipe of element types, by the name that llama.cpp gives it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, non_camel_case_types)] // The variants are llama.cpp's own names.
#[non_exhaustive]
pub enum Scheme {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K_S,
    Q3_K_M,
    Q3_K_L,
    Q4_K_S,
    Q4_K_M,
    Q5_K_S,
    Q5_K_M,
    Q6_K,
    IQ4_NL,
    IQ4_XS,
    MXFP4,
    MXFP4_MOE,
}

/// One line of the table: name, `llama_ftype` number, the type that most tensors get.
struct Row(Scheme, &'static str, u32, BlockType);

/// Ordered as the enum, so that `scheme as usize` is the index.
const TABLE: [Row; 21] = [
    Row(Scheme::F32, "F32", 0, BlockType::F32),
    Row(Scheme::F16, "F16", 1, BlockType::F16),
    Row(Scheme::BF16, "BF16", 32, BlockType::BF16),
    Row(Scheme::Q4_0, "Q4_0", 2, BlockType::Q4_0),
    Row(Scheme::Q4_1, "Q4_1", 3, BlockType::Q4_1),
    Row(Scheme::Q5_0, "Q5_0", 8, BlockType::Q5_0),
    Row(Scheme::Q5_1, "Q5_1", 9, BlockType::Q5_1),
    Row(Scheme::Q8_0, "Q8_0", 7, BlockType::Q8_0),
    Row(Scheme::Q2_K, "Q2_K", 10, BlockType::Q2K),
    Row(Scheme::Q3_K_S, "Q3_K_S", 11, BlockType::Q3K),
    Row(Scheme::Q3_K_M, "Q3_K_M", 12, BlockType::Q3K),
    Row(Scheme::Q3_K_L, "Q3_K_L", 13, BlockType::Q3K),
    Row(Scheme::Q4_K_S, "Q4_K_S", 14, BlockType::Q4K),
    Row(Scheme::Q4_K_M, "Q4_K_M", 15, BlockType::Q4K),
    Row(Scheme::Q5_K_S, "Q5_K_S", 16, BlockType::Q5K),
    Row(Scheme::Q5_K_M, "Q5_K_M", 17, BlockType::Q5K),
    Row(Scheme::Q6_K, "Q6_K", 18, BlockType::Q6K),
    Row(Scheme::IQ4_NL, "IQ4_NL", 25, BlockType::IQ4NL),
    Row(Scheme::IQ4_XS, "IQ4_XS", 30, BlockType::IQ4XS),
    // llama.cpp has no name for a dense model in this type; 38 is that of its mixtures.
    Row(Scheme::MXFP4, "MXFP4", 38, BlockType::MXFP4),
    Row(Scheme::MXFP4_MOE, "MXFP4_MOE", 38, BlockType::MXFP4),
];

/// Other names of recipes, as llama.cpp's quantiser takes them.
const ALIASES: [(&str, Scheme); 3] = [
    ("Q3_K", Scheme::Q3_K_M),
    ("Q4_K", Scheme::Q4_K_M),
    ("Q5_K", Scheme::Q5_K_M),
];

/// A name that no recipe has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no element type; it must be one of {}", TABLE.map(|row| row.1).join(", "))]
pub struct UnknownScheme {
    /// As it was given.
    pub name: String,
}

impl FromStr for Scheme {
    type Err = UnknownScheme;

    fn from_str(name: &str) -> Result<Self, UnknownScheme> {
        let rows = TABLE.iter().map(|row| (row.1, row.0));
        rows.chain(ALIASES)
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, scheme)| scheme)
            .ok_or_else(|| UnknownScheme {
                name: name.to_owned(),
            })
    }
}

/// What the recipes ask of a model.
struct Model {
    layers: usize,
    /// Query heads for each key and value head.
    sharing: usize,
    experts: usize,
    /// The large Llama and Qwen 2 models, whose value matrices are an eighth of the others.
    large: bool,
    tied: bool,
}

impl Model {
    fn new(metadata: &Metadata, planned: &[Planned]) -> Self {
        let arch = metadata.str("general.architecture").unwrap_or("");
        let number = |key: &str| metadata.usize(&format!("{arch}.{key}"));
        let heads = number("attention.head_count").unwrap_or(1);
        let kv_heads = number("attention.head_count_kv").unwrap_or(heads).max(1);
        let layers = number("block_count").unwrap_or(0);
        let large = layers == 80 && (arch == "qwen2" || arch == "llama" && heads != kv_heads);
        Self {
            layers,
            sharing: heads / kv_heads,
            experts: number("expert_count").unwrap_or(0),
            large,
            tied: planned.iter().all(|t| t.name != "output.weight"),
        }
    }
}

impl Scheme {
    /// Every recipe.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.0)
    }

    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        TABLE[self as usize].1
    }

    /// The number in `general.file_type`.
    #[must_use]
    pub const fn file_type(self) -> u32 {
        TABLE[self as usize].2
    }

    /// The type that most tensors get.
    #[must_use]
    pub const fn base(self) -> BlockType {
        TABLE[self as usize].3
    }

    /// Sets the type of each tensor.
    pub(super) fn assign(
        self,
        metadata: &Metadata,
        planned: &mut [Planned],
        events: &mut dyn FnMut(ConvertEvent),
    ) {
        let model = Model::new(metadata, planned);
        // llama.cpp counts attention and feed-forward matrices in the order of layers, whatever the file's order is.
        let mut order: Vec<usize> = (0..planned.len()).collect();
        order.sort_by_key(|&i| (layer_of(&planned[i].name), planned[i].name.clone()));
        let values = planned.iter().filter(|t| is_value(&t.name)).count();
        let (mut value, mut down) = (0, 0);
        let mut coarse = 0;
        for i in order {
            let tensor = &planned[i];
            let DType::Block(from) = tensor.dtype else {
                continue;
            };
            let name = &tensor.name;
            if !takes_blocks(name, &tensor.shape) {
                // Half precision norms and biases are what no runtime expects.
                planned[i].dtype = if from.is_float() {
                    DType::F32
                } else {
                    tensor.dtype
                };
                continue;
            }
            let mut ty = self.base();
            if !ty.is_float() {
                let layer = Place {
                    value,
                    values,
                    down: layer_or(&model, name, down),
                };
                ty = self.mixed(&model, name, &tensor.shape, layer);
                value += usize::from(is_value(name));
                down += usize::from(name.contains("ffn_down"));
                let fitting = fitting(ty, &tensor.shape);
                coarse += usize::from(fitting != ty);
                ty = fitting;
            }
            planned[i].dtype = DType::Block(ty);
        }
        if coarse > 0 {
            events(ConvertEvent::Note(format!(
                "{coarse} of {} tensors have rows that are not whole blocks of {}; they get the next type that fits",
                planned.len(),
                self.name()
            )));
        }
    }

    fn mixed(self, model: &Model, name: &str, shape: &[usize], place: Place) -> BlockType {
        use BlockType as B;
        let base = self.base();
        let embedding = matches!(name, "token_embd.weight" | "per_layer_token_embd.weight");
        if name == "output.weight" || (model.tied && embedding) {
            let row = shape.last().copied().unwrap_or(0);
            let whole = row.is_multiple_of(base.block_len());
            return match self {
                Self::MXFP4 | Self::MXFP4_MOE | Self::Q8_0 => B::Q8_0,
                _ if !whole => B::Q8_0,
                _ => B::Q6K,
            };
        }
        if self == Self::MXFP4_MOE {
            let experts = shape.len() > 2 && shape[0] > 1;
            return if experts { B::MXFP4 } else { B::Q8_0 };
        }
        if embedding {
            return if self == Self::MXFP4 { B::Q8_0 } else { base };
        }
        if is_value(name) {
            self.value_matrix(model, place)
        } else if name.contains("attn_k.weight") && model.experts == 8 {
            B::Q8_0
        } else if name.contains("ffn_down") {
            self.down_matrix(model, place.down)
        } else if name.contains("attn_output.weight") {
            self.output_projection(model)
        } else {
            base
        }
    }

    /// Value matrices, and the stacked query, key and value matrices of Phi 3.
    fn value_matrix(self, model: &Model, place: Place) -> BlockType {
        use BlockType as B;
        let mut ty = match self {
            Self::Q2_K if model.sharing >= 4 => B::Q4K,
            Self::Q2_K => B::Q3K,
            Self::Q3_K_M if place.value < 2 => B::Q5K,
            Self::Q3_K_M => B::Q4K,
            Self::Q3_K_L => B::Q5K,
            Self::IQ4_NL | Self::IQ4_XS if model.sharing >= 4 => B::Q5K,
            Self::Q4_K_M | Self::Q5_K_M if deserves_more(place.value, place.values) => B::Q6K,
            Self::Q4_K_S if place.value < 4 => B::Q5K,
            _ => self.base(),
        };
        if model.large && matches!(ty, B::Q3K | B::Q4K) {
            ty = B::Q5K;
        }
        if model.experts == 8 && !matches!(self, Self::MXFP4) {
            ty = B::Q8_0;
        }
        ty
    }

    fn down_matrix(self, model: &Model, layer: usize) -> BlockType {
        use BlockType as B;
        let first = |part: usize| layer < model.layers / part;
        match self {
            Self::Q2_K => B::Q3K,
            Self::Q3_K_M if first(16) => B::Q5K,
            Self::Q3_K_M => B::Q4K,
            Self::Q3_K_L => B::Q5K,
            Self::Q4_K_M | Self::Q5_K_M if deserves_more(layer, model.layers) => B::Q6K,
            Self::IQ4_NL | Self::IQ4_XS | Self::Q4_K_S if first(8) => B::Q5K,
            _ => self.base(),
        }
    }

    fn output_projection(self, model: &Model) -> BlockType {
        use BlockType as B;
        match self {
            Self::Q2_K
            | Self::Q3_K_S
            | Self::Q3_K_M
            | Self::IQ4_NL
            | Self::Q4_K_S
            | Self::Q4_K_M
            | Self::IQ4_XS
                if model.experts == 8 =>
            {
                B::Q5K
            }
            _ if model.experts == 8 => self.base(),
            Self::Q2_K => B::Q3K,
            Self::Q3_K_M => B::Q4K,
            Self::Q3_K_L => B::Q5K,
            _ => self.base(),
        }
    }
}

/// Where a tensor stands among its kind.
#[derive(Clone, Copy)]
struct Place {
    /// Value matrices before this one, and in all.
    value: usize,
    values: usize,
    /// The layer of a down projection.
    down: usize,
}

/// The layer by name in mixtures; in others the number of matrices before it.
fn layer_or(model: &Model, name: &str, counted: usize) -> usize {
    if model.experts > 1 {
        usize::try_from(layer_of(name)).unwrap_or(0)
    } else {
        counted
    }
}

/// The layer in a name such as `blk.3.attn_q.weight`; -1 where there is none.
fn layer_of(name: &str) -> i64 {
    name.strip_prefix("blk.")
        .and_then(|rest| rest.split_once('.')?.0.parse().ok())
        .unwrap_or(-1)
}

/// The first and last eighth of the layers, and every third between.
fn deserves_more(layer: usize, layers: usize) -> bool {
    layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2
}

fn is_value(name: &str) -> bool {
    ["attn_v.weight", "attn_qkv.weight", "attn_kv_b.weight"]
        .iter()
        .any(|part| name.contains(part))
}

/// Whether a tensor is a matrix that may lose precision.
fn takes_blocks(name: &str, shape: &[usize]) -> bool {
    // ggml counts dimensions up to the last that is not 1.
    let dimensions = shape.iter().skip_while(|&&n| n == 1).count();
    const KEPT: [&str; 9] = [
        "_norm.weight",
        "ffn_gate_inp.weight",
        "altup",
        "laurel",
        "per_layer_model_proj",
        "ssm_conv1d",
        "shortconv.conv.weight",
        "attn_rel_b.weight",
        "rope_f",
    ];
    dimensions >= 2
        && name.ends_with("weight")
        && !matches!(name, "position_embd.weight" | "token_types.weight")
        && !KEPT.iter().any(|part| name.contains(part))
}

/// The type, or the next one whose blocks fit the rows.
fn fitting(ty: BlockType, shape: &[usize]) -> BlockType {
    use BlockType as B;
    let row = shape.last().copied().unwrap_or(1);
    let fits = |ty: BlockType| row.is_multiple_of(ty.block_len());
    if fits(ty) {
        return ty;
    }
    let next = match ty {
        B::IQ4XS => B::IQ4NL,
        B::Q2K | B::Q3K => B::Q4_0,
        B::Q4K => B::Q5_0,
        B::Q5K => B::Q5_1,
        B::Q6K => B::Q8_0,
        other => other,
    };
    if fits(next) { next } else { B::F16 }
}

#[cfg(test)]
mod tests;
