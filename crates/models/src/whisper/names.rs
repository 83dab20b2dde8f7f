//! The same weights under the names of three kinds of file.

use std::cell::RefCell;
use std::rc::Rc;

use medley_formats::{BlockType, Container};
use medley_nn::{KvType, LayerNorm, Linear, Weights, tensor};

use crate::{ConfigError, Result};

/// How matrices are kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// As 32-bit floats.
    Exact,
    /// In 8 bits with a scale for each 32 (`Q8_0`), which products take to activations in 8 bits.
    Quantised,
}

/// Weights by the names of Hugging Face's checkpoints, without `model.`.
pub(super) struct Source<'a> {
    weights: &'a Weights,
    kind: Container,
    prefix: &'static str,
    precision: Precision,
    /// The matrix that was read last, of which there may be more layers to come.
    last: RefCell<(String, Rc<Vec<f32>>)>,
}

/// Where a layer lies in a file.
struct Place {
    /// The name without `.weight`.
    base: String,
    /// Which of how many layers of the same size lie one below the other.
    part: (usize, usize),
}

impl<'a> Source<'a> {
    pub(super) fn new(weights: &'a Weights, kind: Container, precision: Precision) -> Self {
        let prefix = match weights.has("model.encoder.conv1.weight") {
            true => "model.",
            false => "",
        };
        Self {
            weights,
            kind,
            prefix,
            precision,
            last: RefCell::default(),
        }
    }

    /// How keys and values of a window are kept.
    pub(super) fn kept(&self) -> KvType {
        match self.precision {
            Precision::Exact => KvType::F32,
            Precision::Quantised => KvType::F16,
        }
    }

    /// A matrix with its bias, where it has one.
    pub(super) fn linear(&self, name: &str, out: usize, inputs: usize) -> Result<Linear> {
        let place = self.place(name);
        let weight = self.weight(&place, out * inputs, out)?;
        let bias = self.bias(&place, out)?;
        self.matrix(weight, bias, out, inputs)
    }

    /// A convolution of three taps as a matrix `[out, 3 · in]` over what it sees, tap by tap. `exact` keeps it in
    /// floats.
    pub(super) fn conv(
        &self,
        name: &str,
        out: usize,
        channels: usize,
        exact: bool,
    ) -> Result<Linear> {
        let place = self.place(name);
        let stored = self.weight(&place, out * channels * 3, out)?;
        let mut rows = vec![0.0; stored.len()];
        for (row, stored) in rows
            .chunks_exact_mut(3 * channels)
            .zip(stored.chunks_exact(3 * channels))
        {
            for (i, &value) in stored.iter().enumerate() {
                row[i % 3 * channels + i / 3] = value;
            }
        }
        let bias = self.bias(&place, out)?;
        if exact {
            return Ok(Linear::packed_as(
                BlockType::F32,
                &rows,
                out,
                3 * channels,
                bias,
            )?);
        }
        self.matrix(rows, bias, out, 3 * channels)
    }

    fn matrix(
        &self,
        values: Vec<f32>,
        bias: Option<Vec<f32>>,
        out: usize,
        inputs: usize,
    ) -> Result<Linear> {
        let blocks = inputs.is_multiple_of(BlockType::Q8_0.block_len());
        let ty = match self.precision {
            Precision::Quantised if blocks => BlockType::Q8_0,
            _ => BlockType::F32,
        };
        Ok(Linear::packed_as(ty, &values, out, inputs, bias)?)
    }

    pub(super) fn norm(&self, name: &str, width: usize) -> Result<LayerNorm> {
        let base = self.place(name).base;
        let (weight, bias) = match self.kind {
            Container::CTranslate2 => (format!("{base}/gamma"), format!("{base}/beta")),
            _ => (format!("{base}.weight"), format!("{base}.bias")),
        };
        Ok(LayerNorm {
            weight: tensor::from_vec(self.read(&weight, width)?, &[width])?,
            bias: Some(tensor::from_vec(self.read(&bias, width)?, &[width])?),
            eps: 1e-5,
        })
    }

    /// A table of positions `[rows, width]`.
    pub(super) fn positions(&self, name: &str, rows: usize, width: usize) -> Result<Vec<f32>> {
        let name = match (self.kind, name) {
            (Container::Ggml, "encoder") => "encoder.positional_embedding".to_owned(),
            (Container::Ggml, _) => "decoder.positional_embedding".to_owned(),
            (Container::CTranslate2, name) => format!("{name}/position_encodings/encodings"),
            (_, name) => format!("{}{name}.embed_positions.weight", self.prefix),
        };
        self.read(&name, rows * width)
    }

    /// A weight of so many numbers in `out` rows, brought back from whole numbers where it is stored so.
    fn weight(&self, place: &Place, count: usize, out: usize) -> Result<Vec<f32>> {
        let (part, of) = place.part;
        let name = self.joined(&place.base, "weight");
        let all = self.joint(&name, count * of)?;
        let mut values = all[part * count..(part + 1) * count].to_vec();
        let scale = format!("{name}_scale");
        if self.kind == Container::CTranslate2 && self.weights.has(&scale) {
            // https://github.com/OpenNMT/CTranslate2/blob/master/docs/quantization.md: q = round(w · scale)
            let scales = self.numbers(&scale)?;
            let each = |row: usize| match scales.as_slice() {
                [one] => Some(*one),
                rows => rows.get(part * out + row).copied(),
            };
            for (i, row) in values.chunks_exact_mut((count / out).max(1)).enumerate() {
                let scale = each(i).filter(|s| *s > 0.0 && s.is_finite());
                let scale = scale.ok_or_else(|| {
                    ConfigError::invalid(
                        &scale_name(&name),
                        scales.len(),
                        "it must hold one number of each row",
                    )
                })?;
                row.iter_mut().for_each(|w| *w /= scale);
            }
        }
        Ok(values)
    }

    /// [`Source::read`], once for all layers of a matrix.
    fn joint(&self, name: &str, count: usize) -> Result<Rc<Vec<f32>>> {
        let mut last = self.last.borrow_mut();
        if last.0 != name {
            *last = (name.to_owned(), Rc::new(self.read(name, count)?));
        }
        Ok(last.1.clone())
    }

    fn bias(&self, place: &Place, out: usize) -> Result<Option<Vec<f32>>> {
        let (part, of) = place.part;
        let name = self.joined(&place.base, "bias");
        if !self.weights.has(&name) {
            return Ok(None);
        }
        let all = self.read(&name, out * of)?;
        Ok(Some(all[part * out..(part + 1) * out].to_vec()))
    }

    fn joined(&self, base: &str, what: &str) -> String {
        match self.kind {
            Container::CTranslate2 => format!("{base}/{what}"),
            _ => format!("{base}.{what}"),
        }
    }

    /// So many finite numbers, whatever their shape: biases of whisper.cpp's convolutions are columns.
    fn read(&self, name: &str, count: usize) -> Result<Vec<f32>> {
        let values = self.numbers(name)?;
        if values.len() != count {
            let expected = format!("it must hold {count} numbers");
            return Err(ConfigError::invalid(name, values.len(), &expected));
        }
        match values.iter().all(|v| v.is_finite()) {
            true => Ok(values),
            false => Err(ConfigError::invalid(
                name,
                "not finite",
                "weights are numbers",
            )),
        }
    }

    fn numbers(&self, name: &str) -> Result<Vec<f32>> {
        let shape = self.weights.shape(name)?;
        Ok(self.weights.values(name, &shape)?)
    }

    fn place(&self, name: &str) -> Place {
        match self.kind {
            Container::CTranslate2 => ctranslate2(name),
            Container::Ggml => Place {
                base: ggml(name),
                part: (0, 1),
            },
            _ => Place {
                base: format!("{}{name}", self.prefix),
                part: (0, 1),
            },
        }
    }
}

fn scale_name(name: &str) -> String {
    format!("{name}_scale")
}

/// OpenAI's names.
fn ggml(name: &str) -> String {
    let pairs = [
        ("encoder.layer_norm", "encoder.ln_post"),
        ("decoder.layer_norm", "decoder.ln"),
        ("embed_tokens", "token_embedding"),
        (".layers.", ".blocks."),
        ("self_attn_layer_norm", "attn_ln"),
        ("encoder_attn_layer_norm", "cross_attn_ln"),
        ("final_layer_norm", "mlp_ln"),
        ("self_attn.", "attn."),
        ("encoder_attn.", "cross_attn."),
        ("q_proj", "query"),
        ("k_proj", "key"),
        ("v_proj", "value"),
        ("out_proj", "out"),
        ("fc1", "mlp.0"),
        ("fc2", "mlp.2"),
    ];
    let replace = |name: String, (from, to): (&str, &str)| name.replace(from, to);
    pairs.into_iter().fold(name.to_owned(), replace)
}

/// Those of CTranslate2's specification, where projections of one input are one matrix.
fn ctranslate2(name: &str) -> Place {
    let (side, rest) = name.split_once('.').unwrap_or((name, ""));
    let (layer, rest) = match rest.strip_prefix("layers.").and_then(|r| r.split_once('.')) {
        Some((number, rest)) => (format!("{side}/layer_{number}"), rest),
        None => (side.to_owned(), rest),
    };
    let (inside, part) = match rest {
        "self_attn.q_proj" => ("self_attention/linear_0", (0, 3)),
        "self_attn.k_proj" => ("self_attention/linear_0", (1, 3)),
        "self_attn.v_proj" => ("self_attention/linear_0", (2, 3)),
        "self_attn.out_proj" => ("self_attention/linear_1", (0, 1)),
        "self_attn_layer_norm" => ("self_attention/layer_norm", (0, 1)),
        "encoder_attn.q_proj" => ("attention/linear_0", (0, 1)),
        "encoder_attn.k_proj" => ("attention/linear_1", (0, 2)),
        "encoder_attn.v_proj" => ("attention/linear_1", (1, 2)),
        "encoder_attn.out_proj" => ("attention/linear_2", (0, 1)),
        "encoder_attn_layer_norm" => ("attention/layer_norm", (0, 1)),
        "final_layer_norm" => ("ffn/layer_norm", (0, 1)),
        "fc1" => ("ffn/linear_0", (0, 1)),
        "fc2" => ("ffn/linear_1", (0, 1)),
        "embed_tokens" => ("embeddings", (0, 1)),
        other => (other, (0, 1)),
    };
    Place {
        base: format!("{layer}/{inside}"),
        part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_is_found_in_every_file() {
        for (name, openai, other, part) in [
            ("encoder.conv1", "encoder.conv1", "encoder/conv1", (0, 1)),
            (
                "decoder.layer_norm",
                "decoder.ln",
                "decoder/layer_norm",
                (0, 1),
            ),
            (
                "decoder.layers.3.encoder_attn.v_proj",
                "decoder.blocks.3.cross_attn.value",
                "decoder/layer_3/attention/linear_1",
                (1, 2),
            ),
            (
                "encoder.layers.11.self_attn_layer_norm",
                "encoder.blocks.11.attn_ln",
                "encoder/layer_11/self_attention/layer_norm",
                (0, 1),
            ),
            (
                "encoder.layers.0.self_attn.out_proj",
                "encoder.blocks.0.attn.out",
                "encoder/layer_0/self_attention/linear_1",
                (0, 1),
            ),
        ] {
            assert_eq!(ggml(name), openai);
            let place = ctranslate2(name);
            assert_eq!((place.base.as_str(), place.part), (other, part));
        }
    }
}
