//! Files that appear whole or not at all.

use std::io::Write;
use std::path::Path;

use medley_formats::DType;
use medley_formats::safetensors::{TensorData, write};
use medley_kernels::BlockType;
use medley_nn::Parameters;
use serde::Serialize;
use serde_json::{Value, json};

use crate::captions::ENCODER;
use crate::{Error, Result, Trainer};

/// Writes a file under a temporary name in its folder, and renames it when it is on disk.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let failed = |e| Error::io(path, "write", e);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".partial");
    // As `File::create` would make it; temporary files are private by default.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}

/// Writes a model's `model.safetensors` in f32, with the weights as they are.
pub fn write_weights(parameters: &Parameters, path: &Path) -> Result<()> {
    let parameters = parameters.all();
    let values: Vec<Vec<f32>> = parameters
        .iter()
        .map(|p| Ok(p.stored()?))
        .collect::<Result<_>>()?;
    let tensors: Vec<TensorData> = parameters
        .iter()
        .zip(&values)
        .map(|(p, values)| TensorData {
            name: &p.name,
            dtype: DType::Block(BlockType::F32),
            shape: p.var.dims(),
            bytes: bytemuck::cast_slice(values),
        })
        .collect();
    Ok(write(path, &tensors, &[("format", "pt")])?)
}

/// Writes the folder of a picture model: its weights, `config.json`, and `training.json` with what it was made by.
pub fn write_model(
    trainer: &Trainer,
    folder: &Path,
    config: &Value,
    settings: &impl Serialize,
) -> Result<()> {
    write_weights(trainer.parameters(), &folder.join("model.safetensors"))?;
    let json = |name: &str, value: &Value| {
        write_whole(&folder.join(name), format!("{value:#}\n").as_bytes())
    };
    json("config.json", config)?;
    let recipe =
        json!({ "medium": config["medium"], "training": settings, "steps_made": trainer.steps() });
    json("training.json", &recipe)
}

/// Puts the encoder of captions into a model's folder, where it is not there yet.
pub fn copy_encoder(encoder: Option<&Path>, folder: &Path) -> Result<()> {
    let target = folder.join(ENCODER);
    match encoder {
        Some(encoder) if !target.exists() => {
            let bytes = std::fs::read(encoder).map_err(|e| Error::io(encoder, "read", e))?;
            write_whole(&target, &bytes)
        }
        _ => Ok(()),
    }
}
