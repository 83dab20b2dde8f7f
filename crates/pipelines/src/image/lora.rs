//! Low-rank adapters, added to the weights as they are loaded: W + weight · alpha / rank · B A
//! ([Hu et al. 2021](https://arxiv.org/abs/2106.09685)).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use medley_formats::WeightFile;
use medley_nn::weights::Tensors;
use serde_json::Value;

use crate::PipelineError;
use crate::text::read_json;

/// What files put before the names of layers: PEFT, diffusers.
const PREFIXES: &[&str] = &["base_model.model.", "transformer.", "diffusion_model."];

/// The two factors of a layer's change, and what scales it.
#[derive(Default)]
struct Pair {
    /// `[rank, in]`
    down: Option<(Vec<usize>, Vec<f32>)>,
    /// `[out, rank]`
    up: Option<(Vec<usize>, Vec<f32>)>,
    alpha: Option<f64>,
}

/// Every tensor of `file` with the adapters added, one after the other.
///
/// # Errors
/// [`PipelineError::File`] for an adapter that changes a layer which the model does not have, or in another shape.
pub(super) fn merged(
    file: &WeightFile,
    loras: &[(PathBuf, f64)],
) -> Result<Tensors, PipelineError> {
    let mut tensors = Tensors::new();
    for info in file.tensors() {
        let values = file.to_f32(&info.name)?;
        tensors.insert(info.name.clone(), (info.shape.clone(), values));
    }
    for (path, weight) in loras {
        add(&mut tensors, path, *weight)?;
    }
    Ok(tensors)
}

fn add(tensors: &mut Tensors, path: &Path, weight: f64) -> Result<(), PipelineError> {
    let problem = |problem: String| PipelineError::File {
        path: path.to_owned(),
        problem,
    };
    let default_alpha = alpha_of_peft(path)?;
    let pairs = pairs(&WeightFile::open(path)?)?;
    if pairs.is_empty() {
        return Err(problem(
            "it holds no LoRA (no tensor is called lora_A or lora_down)".into(),
        ));
    }
    for (layer, pair) in pairs {
        let (Some((a_shape, a)), Some((b_shape, b))) = (pair.down, pair.up) else {
            return Err(problem(format!("the LoRA of {layer} is half there")));
        };
        let name = format!("{layer}.weight");
        let Some((shape, values)) = tensors.get_mut(&name) else {
            return Err(problem(format!(
                "it changes {layer}, which this model does not have"
            )));
        };
        let (&[rank, inputs], &[out, same_rank]) = (a_shape.as_slice(), b_shape.as_slice()) else {
            return Err(problem(format!(
                "the LoRA of {layer} is no pair of matrices"
            )));
        };
        if shape.as_slice() != [out, inputs] || rank != same_rank || rank == 0 {
            return Err(problem(format!(
                "the LoRA of {layer} has the shapes {b_shape:?} and {a_shape:?}, which give no {shape:?}"
            )));
        }
        let alpha = pair.alpha.or(default_alpha).unwrap_or(rank as f64);
        let scale = weight * alpha / rank as f64;
        for (row, b) in values.chunks_exact_mut(inputs).zip(b.chunks_exact(rank)) {
            for (&factor, a) in b.iter().zip(a.chunks_exact(inputs)) {
                let factor = (scale * f64::from(factor)) as f32;
                row.iter_mut().zip(a).for_each(|(w, a)| *w += factor * a);
            }
        }
    }
    Ok(())
}

/// The pairs of a file by layer.
fn pairs(file: &WeightFile) -> Result<BTreeMap<String, Pair>, PipelineError> {
    let mut pairs = BTreeMap::<String, Pair>::new();
    for info in file.tensors() {
        let mut name = info.name.as_str();
        for prefix in PREFIXES {
            name = name.strip_prefix(prefix).unwrap_or(name);
        }
        let ends = |ends: &[&str]| ends.iter().find_map(|end| name.strip_suffix(end));
        let tensor = || Ok::<_, PipelineError>((info.shape.clone(), file.to_f32(&info.name)?));
        if let Some(layer) = ends(&[
            ".lora_A.weight",
            ".lora_A.default.weight",
            ".lora_down.weight",
        ]) {
            pairs.entry(layer.to_owned()).or_default().down = Some(tensor()?);
        } else if let Some(layer) = ends(&[
            ".lora_B.weight",
            ".lora_B.default.weight",
            ".lora_up.weight",
        ]) {
            pairs.entry(layer.to_owned()).or_default().up = Some(tensor()?);
        } else if let Some(layer) = ends(&[".alpha"]) {
            let alpha = tensor()?.1.first().map(|&alpha| f64::from(alpha));
            pairs.entry(layer.to_owned()).or_default().alpha = alpha;
        }
    }
    Ok(pairs)
}

/// `lora_alpha` of the `adapter_config.json` that PEFT puts beside its weights.
fn alpha_of_peft(path: &Path) -> Result<Option<f64>, PipelineError> {
    let config = path.with_file_name("adapter_config.json");
    if !config.is_file() {
        return Ok(None);
    }
    Ok(read_json(&config)?
        .get("lora_alpha")
        .and_then(Value::as_f64))
}

#[cfg(test)]
mod tests {
    use medley_formats::DType;
    use medley_formats::safetensors::{TensorData, write};

    use super::*;

    fn save(path: &Path, tensors: &[(&str, &[usize], &[f32])]) {
        let stored: Vec<Vec<u8>> = tensors
            .iter()
            .map(|(_, _, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect())
            .collect();
        let data: Vec<TensorData> = tensors
            .iter()
            .zip(&stored)
            .map(|(&(name, shape, _), bytes)| TensorData {
                name,
                dtype: DType::F32,
                shape,
                bytes,
            })
            .collect();
        write(path, &data, &[]).unwrap();
    }

    #[test]
    fn a_change_is_added_scaled() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        save(
            &at("model.safetensors"),
            &[
                ("x.weight", &[2, 3], &[1., 2., 3., 4., 5., 6.]),
                ("y.weight", &[1, 1], &[7.]),
            ],
        );
        save(
            &at("lora.safetensors"),
            &[
                ("base_model.model.x.lora_A.weight", &[1, 3], &[1., 0., 2.]),
                ("base_model.model.x.lora_B.weight", &[2, 1], &[10., -1.]),
            ],
        );
        let file = WeightFile::open(&at("model.safetensors")).unwrap();
        let merge = |weight| merged(&file, &[(at("lora.safetensors"), weight)]);
        let tensors = merge(0.5).unwrap();
        assert_eq!(tensors["x.weight"].1, [6., 2., 13., 3.5, 5., 5.]);
        assert_eq!(tensors["y.weight"].1, [7.]);
        // alpha / rank of PEFT's own configuration.
        std::fs::write(at("adapter_config.json"), r#"{"lora_alpha": 2}"#).unwrap();
        assert_eq!(
            merge(0.5).unwrap()["x.weight"].1,
            [11., 2., 23., 3., 5., 4.]
        );
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        save(&at("model.safetensors"), &[("x.weight", &[2, 3], &[0.; 6])]);
        let file = WeightFile::open(&at("model.safetensors")).unwrap();
        for (tensors, words) in [
            (vec![("x.bias", &[1][..], &[0.0f32][..])], "no LoRA"),
            (vec![("x.lora_A.weight", &[1, 3], &[0.; 3])], "half"),
            (
                vec![
                    ("z.lora_A.weight", &[1, 3], &[0.; 3]),
                    ("z.lora_B.weight", &[2, 1], &[0.; 2]),
                ],
                "does not have",
            ),
            (
                vec![
                    ("x.lora_A.weight", &[1, 2], &[0.; 2]),
                    ("x.lora_B.weight", &[2, 1], &[0.; 2]),
                ],
                "give no [2, 3]",
            ),
        ] {
            save(&at("lora.safetensors"), &tensors);
            let text = merged(&file, &[(at("lora.safetensors"), 1.0)])
                .unwrap_err()
                .to_string();
            assert!(text.contains(words) && !text.contains('\n'), "{text}");
        }
    }
}
