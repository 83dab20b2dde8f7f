//! What a model asks of the machine per token, so that a speed can be held against the machine's limits.

use std::path::Path;

use anyhow::{Context, Result};
use medley_formats::TensorInfo;
use medley_formats::gguf::Gguf;
use serde::{Deserialize, Serialize};

/// Work per token of a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Bytes of weights that one generated token reads: every matrix once, the embedding only if it is the head too,
    /// of the experts only those in use. The cache is not counted.
    pub decode_bytes: f64,
    /// Operations (two per multiply-add) of the layers' matrices for one prompt token. Attention and the head, which
    /// only the last prompt token needs, are not counted.
    pub prefill_ops: f64,
}

impl Workload {
    /// From the tensors of a GGUF file.
    pub fn of(model: &Path) -> Result<Self> {
        let file = Gguf::open(model).with_context(|| format!("cannot read {}", model.display()))?;
        let metadata = file.metadata();
        let number = |key: &str| {
            let architecture = metadata.str("general.architecture")?;
            metadata.u64(&format!("{architecture}.{key}"))
        };
        let used = match (number("expert_used_count"), number("expert_count")) {
            (Some(used), Some(count)) if count > 0 => used as f64 / count as f64,
            _ => 1.0,
        };
        Ok(Self::of_tensors(file.tensors(), used))
    }

    /// From a list of tensors, of whose experts the share `experts_used` works on each token.
    fn of_tensors(tensors: &[TensorInfo], experts_used: f64) -> Self {
        let untied = tensors.iter().any(|tensor| tensor.name == "output.weight");
        let mut work = Self {
            decode_bytes: 0.0,
            prefill_ops: 0.0,
        };
        for tensor in tensors {
            if tensor.name == "token_embd.weight" && untied {
                continue;
            }
            let elements: usize = tensor.shape.iter().product();
            let share = if tensor.name.contains("_exps.") {
                experts_used
            } else {
                1.0
            };
            let bytes = tensor.dtype.bytes_for(elements).unwrap_or(0);
            work.decode_bytes += share * bytes as f64;
            if tensor.name.starts_with("blk.") && tensor.shape.len() > 1 {
                work.prefill_ops += share * 2.0 * elements as f64;
            }
        }
        work
    }
}

#[cfg(test)]
mod tests {
    use medley_formats::DType;

    use super::*;

    fn tensor(name: &str, shape: &[usize]) -> TensorInfo {
        TensorInfo {
            name: name.into(),
            dtype: DType::F16,
            shape: shape.to_vec(),
        }
    }

    #[test]
    fn tied_and_untied_heads() {
        let mut tensors = vec![
            tensor("token_embd.weight", &[100, 10]),
            tensor("blk.0.attn_q.weight", &[10, 10]),
            tensor("blk.0.attn_norm.weight", &[10]),
        ];
        let tied = Workload::of_tensors(&tensors, 1.0);
        assert_eq!(
            (tied.decode_bytes, tied.prefill_ops),
            (2.0 * 1110.0, 2.0 * 100.0)
        );
        tensors.push(tensor("output.weight", &[100, 10]));
        let untied = Workload::of_tensors(&tensors, 1.0);
        assert_eq!(untied, tied);
    }

    #[test]
    fn experts_count_by_their_use() {
        let tensors = [tensor("blk.0.ffn_up_exps.weight", &[8, 10, 10])];
        let work = Workload::of_tensors(&tensors, 0.25);
        assert_eq!((work.decode_bytes, work.prefill_ops), (400.0, 400.0));
    }
}
