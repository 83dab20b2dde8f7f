//! From the folders of models to generators.

use std::path::{Component, Path, PathBuf};
use std::time::Instant;

use medley_formats::WeightFile;
use medley_nn::{Device, Weights};

use super::config::{ImageConfig, Kind};
use super::lora;
use super::networks;
use super::parts::{Autoencode, Encode};
use super::upscale::Upscaler;
use super::{DiffusionGenerator, GanGenerator, ImageGenerator};
use crate::PipelineError;
use crate::embed::EmbeddingModel;
use crate::text::read_json;

/// A model that stands beside another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Companion {
    /// A folder or file inside the model's own folder.
    Inside(PathBuf),
    /// A name of the catalog.
    Named(String),
}

/// Where everything is that a request needs.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The model: its folder, or one file of weights whose shapes say what it is.
    pub model: PathBuf,
    /// The text encoder.
    pub text_encoder: Option<PathBuf>,
    /// The autoencoder.
    pub vae: Option<PathBuf>,
    /// The upscaler.
    pub upscaler: Option<PathBuf>,
    /// Adapters with their weights.
    pub loras: Vec<(PathBuf, f64)>,
}

/// What `name` stands for in the configuration of the model at `model`: a folder or file of that name inside it, or else a
/// name of the catalog.
pub fn companion(model: &Path, name: &str) -> Companion {
    let inside = Path::new(name)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let folder = model.join(name);
    if inside && folder.exists() {
        return Companion::Inside(folder);
    }
    Companion::Named(name.to_owned())
}

/// The configuration of a model's folder or file. A file of weights has one beside it, or is told by its tensors.
///
/// # Errors
/// [`PipelineError::File`], [`PipelineError::Format`], [`PipelineError::ModelConfig`].
pub fn read_config(path: &Path) -> Result<ImageConfig, PipelineError> {
    if path.is_dir() {
        return ImageConfig::open(path);
    }
    match path.parent() {
        Some(folder) if folder.join("config.json").is_file() => ImageConfig::open(folder),
        _ => networks::detect(&weights(path, &Device::Cpu)?),
    }
}

fn weight_file(path: &Path) -> PathBuf {
    if path.is_dir() {
        path.join("model.safetensors")
    } else {
        path.to_owned()
    }
}

fn weights(path: &Path, device: &Device) -> Result<Weights, PipelineError> {
    let file = weight_file(path);
    Ok(Weights::from_file(WeightFile::open(&file)?, &file, device))
}

/// What `sources` names, open.
struct Parts {
    weights: Weights,
    encoder: Option<Box<dyn Encode>>,
    upscaler: Option<Upscaler>,
    start: Instant,
}

impl Parts {
    fn open(sources: &Sources, device: &Device) -> Result<Self, PipelineError> {
        let start = Instant::now();
        let weights = match sources.loras.as_slice() {
            [] => weights(&sources.model, device)?,
            loras => {
                let file = WeightFile::open(&weight_file(&sources.model))?;
                Weights::from_tensors(lora::merged(&file, loras)?, device)
            }
        };
        Ok(Self {
            weights,
            encoder: match &sources.text_encoder {
                Some(path) => Some(Box::new(EmbeddingModel::load(path)?)),
                None => None,
            },
            upscaler: match &sources.upscaler {
                Some(path) => Some(load_upscaler(path, device)?),
                None => None,
            },
            start,
        })
    }

    fn diffusion(
        self,
        config: ImageConfig,
        sources: &Sources,
        device: &Device,
    ) -> Result<DiffusionGenerator, PipelineError> {
        let autoencoder = match &sources.vae {
            Some(path) => Some(load_vae(path, &config, device)?),
            None => None,
        };
        let denoiser = networks::denoiser(&config, &self.weights, autoencoder.as_deref())?;
        Ok(DiffusionGenerator {
            denoiser,
            encoder: self.encoder,
            autoencoder,
            upscaler: self.upscaler,
            device: device.clone(),
            load_s: self.start.elapsed().as_secs_f64(),
            config,
        })
    }
}

/// A generator of everything that `sources` names.
///
/// # Errors
/// [`PipelineError::File`], [`PipelineError::Format`] and [`PipelineError::Model`] for files that are missing, damaged, or
/// of another shape than their configuration says.
pub fn load(
    config: ImageConfig,
    sources: &Sources,
    device: &Device,
) -> Result<Box<dyn ImageGenerator>, PipelineError> {
    if config.clip.is_some() {
        return Err(PipelineError::ModelConfig(
            "it draws clips: they are made by medley video".into(),
        ));
    }
    let parts = Parts::open(sources, device)?;
    Ok(match config.kind()? {
        Kind::Diffusion => Box::new(parts.diffusion(config, sources, device)?),
        Kind::Gan => Box::new(GanGenerator {
            network: networks::gan(&config, &parts.weights)?,
            encoder: parts.encoder,
            upscaler: parts.upscaler,
            device: device.clone(),
            load_s: parts.start.elapsed().as_secs_f64(),
            config,
        }),
        Kind::Upscaler => {
            return Err(PipelineError::ModelConfig(
                "an upscaler draws no pictures".into(),
            ));
        }
    })
}

/// A denoiser of pictures or clips with what stands around it.
///
/// # Errors
/// As [`load`].
pub fn load_diffusion(
    config: ImageConfig,
    sources: &Sources,
    device: &Device,
) -> Result<DiffusionGenerator, PipelineError> {
    Parts::open(sources, device)?.diffusion(config, sources, device)
}

/// An upscaler's folder, or a published checkpoint of one.
///
/// # Errors
/// As [`load`].
pub fn load_upscaler(path: &Path, device: &Device) -> Result<Upscaler, PipelineError> {
    let config = read_config(path)?;
    if config.kind()? != Kind::Upscaler {
        return Err(PipelineError::ModelConfig(format!(
            "{} is no upscaler",
            config.architecture
        )));
    }
    Ok(Upscaler {
        network: networks::upscaler(&config, &weights(path, device)?)?,
        device: device.clone(),
    })
}

/// A VAE's folder in diffusers' layout.
fn load_vae(
    path: &Path,
    config: &ImageConfig,
    device: &Device,
) -> Result<Box<dyn Autoencode>, PipelineError> {
    let json = read_json(&path.join("config.json"))?;
    let file = ["model.safetensors", "diffusion_pytorch_model.safetensors"]
        .map(|name| path.join(name))
        .into_iter()
        .find(|file| file.is_file())
        .unwrap_or_else(|| path.join("model.safetensors"));
    networks::autoencoder(&json, config, &weights(&file, device)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn companions_are_folders_inside_or_names() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(
            companion(model, "src"),
            Companion::Inside(model.join("src"))
        );
        for name in ["minilm", "../pipelines", "/"] {
            assert_eq!(companion(model, name), Companion::Named(name.into()));
        }
    }
}
