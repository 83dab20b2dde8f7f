//! A decoder from nothing: its configuration and its first weights.

use std::collections::HashMap;

use medley_nn::weights::Tensors;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Error, Result, random};

/// Sizes of a decoder of the Llama line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecoderShape {
    /// Number of token ids.
    pub vocab: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward block.
    pub intermediate: usize,
    /// Layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Longest sequence.
    pub context: usize,
    /// Whether the head is the embedding matrix.
    pub tied: bool,
}

impl DecoderShape {
    /// Refuses sizes that no decoder has.
    pub fn check(&self) -> Result<()> {
        let heads = self.heads.max(1);
        let fits = self.heads > 0
            && self.kv_heads > 0
            && self.hidden.is_multiple_of(heads)
            && (self.hidden / heads).is_multiple_of(2)
            && self.heads.is_multiple_of(self.kv_heads);
        if !fits {
            return Err(Error::Setting(format!(
                "a width of {} cannot be {} heads of an even width over {} of keys",
                self.hidden, self.heads, self.kv_heads
            )));
        }
        if [
            self.vocab,
            self.hidden,
            self.intermediate,
            self.layers,
            self.context,
        ]
        .contains(&0)
        {
            return Err(Error::Setting("every size of a model is at least 1".into()));
        }
        Ok(())
    }

    /// Its `config.json`.
    pub fn config(&self) -> Value {
        json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocab,
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.hidden / self.heads.max(1),
            "max_position_embeddings": self.context,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "attention_bias": false,
            "tie_word_embeddings": self.tied,
            "torch_dtype": "float32",
        })
    }

    /// Names and shapes of its tensors.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (d, f) = (self.hidden, self.intermediate);
        let kv = self.kv_heads * (d / self.heads.max(1));
        let mut list = vec![("model.embed_tokens.weight".to_owned(), vec![self.vocab, d])];
        for layer in 0..self.layers {
            for (name, shape) in [
                ("input_layernorm", vec![d]),
                ("self_attn.q_proj", vec![d, d]),
                ("self_attn.k_proj", vec![kv, d]),
                ("self_attn.v_proj", vec![kv, d]),
                ("self_attn.o_proj", vec![d, d]),
                ("post_attention_layernorm", vec![d]),
                ("mlp.gate_proj", vec![f, d]),
                ("mlp.up_proj", vec![f, d]),
                ("mlp.down_proj", vec![d, f]),
            ] {
                list.push((format!("model.layers.{layer}.{name}.weight"), shape));
            }
        }
        list.push(("model.norm.weight".to_owned(), vec![d]));
        if !self.tied {
            list.push(("lm_head.weight".to_owned(), vec![self.vocab, d]));
        }
        list
    }

    /// Numbers of all parameters.
    pub fn parameters(&self) -> usize {
        let each = self.tensors().into_iter();
        each.map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// First weights: norms 1, matrices normal with a deviation of 0.02, those that write into the residual stream
    /// smaller by the root of their number (Radford et al. 2019, GPT-2).
    pub fn fresh(&self, seed: u64) -> Tensors {
        let mut tensors = HashMap::new();
        for (number, (name, shape)) in self.tensors().into_iter().enumerate() {
            let count = shape.iter().product();
            let writes = name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
            let deviation = match writes {
                true => 0.02 / (2.0 * self.layers as f64).sqrt(),
                false => 0.02,
            };
            let values = match shape.len() {
                1 => vec![1.0; count],
                _ => random::normal(seed, random::Purpose::Weights, number as u64, count)
                    .map(|x| (x * deviation) as f32)
                    .collect(),
            };
            tensors.insert(name, (shape, values));
        }
        tensors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: DecoderShape = DecoderShape {
        vocab: 50,
        hidden: 16,
        intermediate: 24,
        layers: 2,
        heads: 2,
        kv_heads: 1,
        context: 32,
        tied: true,
    };

    #[test]
    fn the_first_weights_make_a_decoder() {
        let tensors = SMALL.fresh(3);
        assert_eq!(tensors["model.layers.1.self_attn.k_proj.weight"].0, [8, 16]);
        let config = SMALL.config();
        let (_, parameters) =
            medley_models::decoder::trainable(&tensors, &config, &medley_nn::Device::Cpu).unwrap();
        assert_eq!(parameters.count(), SMALL.parameters());
        let values = &tensors["model.embed_tokens.weight"].1;
        let deviation = (values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32).sqrt();
        assert!((0.017..0.023).contains(&deviation), "{deviation}");
        assert_eq!(SMALL.fresh(3), tensors);
        assert_ne!(SMALL.fresh(4), tensors);
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        assert!(SMALL.check().is_ok());
        for wrong in [
            DecoderShape { heads: 3, ..SMALL },
            DecoderShape { heads: 0, ..SMALL },
            DecoderShape {
                kv_heads: 0,
                ..SMALL
            },
            DecoderShape { heads: 16, ..SMALL },
            DecoderShape { layers: 0, ..SMALL },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
