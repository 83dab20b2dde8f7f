//! What generators ask of networks, so that a pipeline knows no architecture.

use medley_nn::{Device, Tensor};

use crate::PipelineError;
use crate::embed::EmbeddingModel;

/// What a network is told of the prompts of a batch.
#[derive(Clone, Debug, Default)]
pub struct Conditioning {
    /// States of the text encoder, `[batch, tokens, width]`; rows beyond a text's own length are zero.
    pub states: Option<Tensor>,
    /// Tokens of each text; 0 stands for no text.
    pub lengths: Vec<usize>,
    /// One vector of length 1 for each text, or zeros for no text: `[batch, width]`.
    pub pooled: Option<Tensor>,
    /// One class for each picture.
    pub classes: Option<Vec<u32>>,
}

/// A text as its encoder sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct TextStates {
    /// Last states, tokens × width; none stand for "no text".
    pub states: Vec<f32>,
    /// Width of a state.
    pub width: usize,
    /// The text as one vector of length 1; zeros for no text.
    pub pooled: Vec<f32>,
}

impl TextStates {
    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.states.len() / self.width.max(1)
    }
}

impl Conditioning {
    /// The texts of a batch, padded with zeros to the longest.
    ///
    /// # Errors
    /// [`PipelineError::Model`] from the tensor library.
    pub fn of_texts(texts: &[&TextStates], device: &Device) -> Result<Self, PipelineError> {
        let width = texts.first().map_or(0, |text| text.width);
        let lengths: Vec<usize> = texts.iter().map(|text| text.tokens()).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let mut states = Vec::with_capacity(texts.len() * longest * width);
        let mut pooled = Vec::with_capacity(texts.len() * width);
        for (i, text) in texts.iter().enumerate() {
            states.extend_from_slice(&text.states);
            states.resize((i + 1) * longest * width, 0.0);
            pooled.extend_from_slice(&text.pooled);
        }
        Ok(Self {
            states: Some(tensor(states, &[texts.len(), longest, width], device)?),
            pooled: Some(tensor(pooled, &[texts.len(), width], device)?),
            lengths,
            classes: None,
        })
    }
}

/// A tensor of plain numbers on a device.
pub(crate) fn tensor(
    values: Vec<f32>,
    shape: &[usize],
    device: &Device,
) -> Result<Tensor, PipelineError> {
    Ok(Tensor::from_vec(values, shape, device).map_err(medley_models::ConfigError::from)?)
}

/// The numbers of a tensor, innermost dimension last.
pub(crate) fn numbers(tensor: &Tensor) -> Result<Vec<f32>, PipelineError> {
    let flat = tensor.flatten_all().and_then(|flat| flat.to_vec1());
    Ok(flat.map_err(medley_models::ConfigError::from)?)
}

/// What one pass of a network takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Floating-point operations.
    pub flops: f64,
    /// Bytes of the largest set of intermediate results that exist together.
    pub bytes: u64,
}

/// A network that finds what was mixed into a noisy sample.
pub trait Denoise: Send + Sync {
    /// The model's output for the samples `x` `[batch, channels, frames, height, width]`, of pictures those of one frame, at
    /// the training timestep `timestep`; the same shape. What it means is the configuration's `prediction`. `known`, one for
    /// each frame of each sample or none at all, says which frames are given without noise; the output means nothing there.
    ///
    /// # Errors
    /// [`PipelineError::Model`].
    fn predict(
        &self,
        x: &Tensor,
        timestep: f32,
        known: &[bool],
        conditioning: &Conditioning,
    ) -> Result<Tensor, PipelineError>;

    /// What an evaluation takes for `batch` samples of `width` × `height` and texts of `tokens`.
    fn cost(&self, width: usize, height: usize, batch: usize, tokens: usize) -> Cost;

    /// Bytes that the weights hold in memory.
    fn weight_bytes(&self) -> u64;
}

/// A network that makes a picture of a latent vector.
pub trait Synthesize: Send + Sync {
    /// Numbers of a latent vector.
    fn latent_width(&self) -> usize;

    /// Pictures `[batch, 3, height, width]` in [-1, 1] for standard normal latents `[batch, latent_width]`. `truncation` is
    /// ψ ([Karras et al. 2019](https://arxiv.org/abs/1812.04948), appendix B); 1 where [`truncates`](Self::truncates) is
    /// false.
    ///
    /// # Errors
    /// [`PipelineError::Model`].
    fn synthesize(
        &self,
        latents: &Tensor,
        conditioning: &Conditioning,
        truncation: f64,
    ) -> Result<Tensor, PipelineError>;

    /// Whether it has an average to truncate towards.
    fn truncates(&self) -> bool;

    /// What a pass takes for one picture.
    fn cost(&self) -> Cost;

    /// Bytes that the weights hold in memory.
    fn weight_bytes(&self) -> u64;
}

/// Between pixels and the latent space that a denoiser works in.
pub trait Autoencode: Send + Sync {
    /// Pixels along each side of a latent value.
    fn factor(&self) -> u32;

    /// Pixels `[batch, 3, height, width]` in [-1, 1] to the mean of their latents, scaled as the denoiser wants them.
    ///
    /// # Errors
    /// [`PipelineError::Model`].
    fn encode(&self, pixels: &Tensor) -> Result<Tensor, PipelineError>;

    /// Latents to pixels in [-1, 1] or a little beyond.
    ///
    /// # Errors
    /// [`PipelineError::Model`].
    fn decode(&self, latents: &Tensor) -> Result<Tensor, PipelineError>;

    /// Frames of latents of a clip of so many frames, or none where it makes no such clips.
    fn latent_frames(&self, frames: usize) -> Option<usize> {
        Some(frames)
    }

    /// Clips `[batch, 3, frames, height, width]` to latents `[batch, channels, latent_frames, ..]`, as
    /// [`encode`](Self::encode) does pictures. Latents of the first frames do not depend on later ones.
    ///
    /// # Errors
    /// [`PipelineError::Model`].
    fn encode_clip(&self, pixels: &Tensor) -> Result<Tensor, PipelineError> {
        frame_by_frame(pixels, |frame| self.encode(frame))
    }

    /// The way back.
    ///
    /// # Errors
    /// [`PipelineError::Model`].
    fn decode_clip(&self, latents: &Tensor) -> Result<Tensor, PipelineError> {
        frame_by_frame(latents, |frame| self.decode(frame))
    }

    /// What decoding one picture of `width` × `height` pixels takes.
    fn cost(&self, width: usize, height: usize) -> Cost;

    /// Bytes that the weights hold in memory.
    fn weight_bytes(&self) -> u64;
}

/// A clip `[batch, channels, frames, height, width]` of what `change` makes of each frame.
fn frame_by_frame(
    clip: &Tensor,
    change: impl Fn(&Tensor) -> Result<Tensor, PipelineError>,
) -> Result<Tensor, PipelineError> {
    let error = medley_models::ConfigError::from;
    let frames: Result<Vec<Tensor>, PipelineError> = (0..clip.dim(2).map_err(error)?)
        .map(|at| {
            let frame = clip.narrow(2, at, 1).and_then(|frame| frame.squeeze(2));
            change(&frame.map_err(error)?)
        })
        .collect();
    Ok(Tensor::stack(&frames?, 2).map_err(error)?)
}

/// A network that enlarges pictures.
pub trait Enlarge: Send + Sync {
    /// How many times longer sides become.
    fn factor(&self) -> u32;

    /// Pixels `[1, 3, height, width]` in [-1, 1] to `factor` times the sides.
    ///
    /// # Errors
    /// [`PipelineError::Model`].
    fn enlarge(&self, pixels: &Tensor) -> Result<Tensor, PipelineError>;

    /// What a pass over `width` × `height` pixels takes.
    fn cost(&self, width: usize, height: usize) -> Cost;

    /// Bytes that the weights hold in memory.
    fn weight_bytes(&self) -> u64;
}

/// A text encoder.
pub trait Encode: Send + Sync {
    /// States of each text, cut to at most `tokens`; an empty text has none.
    ///
    /// # Errors
    /// [`PipelineError::Tokenize`], [`PipelineError::Model`].
    fn encode(&self, texts: &[&str], tokens: usize) -> Result<Vec<TextStates>, PipelineError>;

    /// Bytes that the weights hold in memory.
    fn weight_bytes(&self) -> u64;
}

impl Encode for EmbeddingModel {
    fn encode(&self, texts: &[&str], tokens: usize) -> Result<Vec<TextStates>, PipelineError> {
        let width = self.width();
        let none = || TextStates {
            states: Vec::new(),
            width,
            pooled: vec![0.0; width],
        };
        texts
            .iter()
            .map(|text| {
                if text.trim().is_empty() {
                    return Ok(none());
                }
                let states = self
                    .states_within(&[text], tokens)?
                    .pop()
                    .unwrap_or_default();
                Ok(TextStates {
                    pooled: self.pool(&states),
                    states,
                    width,
                })
            })
            .collect()
    }

    fn weight_bytes(&self) -> u64 {
        Self::weight_bytes(self)
    }
}
