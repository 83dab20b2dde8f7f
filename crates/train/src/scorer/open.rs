//! A trained scorer.

use std::path::Path;

use medley_formats::WeightFile;
use medley_media::{Filter, Picture};
use medley_models::contrastive::{Contrastive, ContrastiveConfig};
use medley_nn::{Device, Tensor, Weights};
use serde_json::Value;

use super::CaptionReader;
use crate::initial::shape_of;
use crate::{Error, Result};

/// Pictures or captions that are looked at together.
const TOGETHER: usize = 64;

/// What a scorer sees in pictures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features {
    /// `[pictures, features]`: what Fréchet distances are taken of.
    pub pooled: Vec<f32>,
    /// Width of a row of them.
    pub pooled_dim: usize,
    /// `[pictures, embed]`, of length 1: what is compared with captions.
    pub embedded: Vec<f32>,
    /// Width of a row of them.
    pub embed_dim: usize,
}

/// A trained scorer, frozen.
pub struct Scorer {
    network: Contrastive,
    reader: CaptionReader,
    size: [u32; 2],
}

/// Configuration and size of pictures of the scorer in a folder.
pub(super) fn read_config(folder: &Path) -> Result<(ContrastiveConfig, [u32; 2])> {
    let shape = shape_of(folder, ContrastiveConfig::MODEL_TYPE)?;
    let config = ContrastiveConfig::from_json(&shape)?;
    let path = folder.join("config.json");
    let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, "read", e))?;
    let json: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let size: Option<[u32; 2]> = serde_json::from_value(json["size"].clone()).ok();
    match size.filter(|size| size.iter().all(|side| (1..=4096).contains(side))) {
        Some(size) => Ok((config, size)),
        None => Err(Error::State(format!(
            "{}: size must be the width and height of pictures",
            path.display()
        ))),
    }
}

/// The network in a folder; `plain` where gradients are to flow through it to pictures.
pub(super) fn network(
    folder: &Path,
    config: ContrastiveConfig,
    plain: bool,
) -> Result<Contrastive> {
    let path = folder.join("model.safetensors");
    let weights = Weights::from_file(WeightFile::open(&path)?, &path, &Device::Cpu);
    let weights = if plain { weights.plain() } else { weights };
    Ok(Contrastive::new(config, &weights)?)
}

impl Scorer {
    /// The scorer that `medley train scorer` left in `folder`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::State`] or [`Error::Model`] for a folder that holds none.
    pub fn open(folder: &Path) -> Result<Self> {
        let (config, size) = read_config(folder)?;
        let reader = CaptionReader::open(folder, config.text_tokens)?;
        if reader.vocab() != config.vocab_size {
            return Err(Error::State(format!(
                "{}: tokenizer.json has {} tokens, the model {}",
                folder.display(),
                reader.vocab(),
                config.vocab_size
            )));
        }
        Ok(Self {
            network: network(folder, config, false)?,
            reader,
            size,
        })
    }

    /// Width and height that pictures are brought to.
    pub fn size(&self) -> [u32; 2] {
        self.size
    }

    /// The factor of similarities that it was trained to.
    ///
    /// # Errors
    /// Those of tensors.
    pub fn scale(&self) -> Result<f64> {
        Ok(f64::from(crate::step::scalar(&self.network.scale()?)?))
    }

    /// What it sees in pictures, which are brought to its size, transparency over white.
    ///
    /// # Errors
    /// [`Error::Media`] for a picture that cannot be resized.
    pub fn look(&self, pictures: &[Picture]) -> Result<Features> {
        let [width, height] = self.size;
        let mut planes = Vec::with_capacity(pictures.len());
        for picture in pictures {
            let sized = picture
                .over([255; 3])
                .resize(width, height, Filter::default())?;
            planes.push(sized.to_planes());
        }
        self.look_at(&planes)
    }

    /// The same for pictures that have its size, `3 × height × width` numbers in −1 … 1 each.
    ///
    /// # Errors
    /// Where they are not as many.
    pub fn look_at(&self, planes: &[Vec<f32>]) -> Result<Features> {
        let c = self.network.config();
        let mut features = Features {
            pooled_dim: c.feature_dim(),
            embed_dim: c.embed_dim,
            ..Features::default()
        };
        let [width, height] = self.size.map(|side| side as usize);
        for some in planes.chunks(TOGETHER) {
            let shape = (some.len(), 3, height, width);
            let x = Tensor::from_vec(some.concat(), shape, &Device::Cpu);
            let seen = self.network.look(&x.map_err(medley_nn::Error::from)?)?;
            features.pooled.extend(numbers(&seen.pooled)?);
            features.embedded.extend(numbers(&seen.embedding)?);
        }
        Ok(features)
    }

    /// Captions in the common space, `[captions, embed]`, of length 1.
    ///
    /// # Errors
    /// [`Error::Tokenize`] for one that cannot be read.
    pub fn read(&self, captions: &[&str]) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        for some in captions.chunks(TOGETHER) {
            let ids = self.reader.read(some)?;
            all.extend(numbers(&self.network.read(
                &ids.ids,
                ids.tokens,
                &ids.lengths,
            )?)?);
        }
        Ok(all)
    }
}

/// The numbers of a tensor.
pub(super) fn numbers(x: &Tensor) -> Result<Vec<f32>> {
    let values = x.flatten_all().and_then(|x| x.to_vec1::<f32>());
    Ok(values.map_err(medley_nn::Error::from)?)
}
