//! The autoencoder of clips behind [`Autoencode`].

use medley_models::vae3d::{Vae3d, Vae3dConfig};
use medley_nn::{Tensor, Weights};
use serde_json::Value;

use super::config::ImageConfig;
use super::networks::{F32, bytes_of, error, wrong};
use super::parts::{Autoencode, Cost};
use crate::PipelineError;

/// Frames of latents that are decoded together.
const AT_ONCE: usize = 2;
/// Latents along the side of a square that is decoded by itself, where the autoencoder can.
const TILE: usize = 64;

pub(super) struct ClipVae {
    network: Vae3d,
    bytes: u64,
}

impl ClipVae {
    pub(super) fn new(
        json: &Value,
        config: &ImageConfig,
        weights: &Weights,
    ) -> Result<Self, PipelineError> {
        let own = Vae3dConfig::from_json(json)?;
        if own.z_dim != config.channels || own.in_channels != 3 || own.out_channels != 3 {
            return wrong(format!(
                "the VAE is for {} latent channels, the denoiser for {}",
                own.z_dim, config.channels
            ));
        }
        Ok(Self {
            bytes: bytes_of(&own.parameters()),
            network: Vae3d::new(own, weights)?,
        })
    }
}

impl Autoencode for ClipVae {
    fn factor(&self) -> u32 {
        self.network.config().factor() as u32
    }

    fn encode(&self, pixels: &Tensor) -> Result<Tensor, PipelineError> {
        let latents = self.encode_clip(&pixels.unsqueeze(2).map_err(error)?)?;
        latents.squeeze(2).map_err(error)
    }

    fn decode(&self, latents: &Tensor) -> Result<Tensor, PipelineError> {
        let pixels = self.decode_clip(&latents.unsqueeze(2).map_err(error)?)?;
        pixels.squeeze(2).map_err(error)
    }

    fn latent_frames(&self, frames: usize) -> Option<usize> {
        self.network.config().latent_frames(frames)
    }

    fn encode_clip(&self, pixels: &Tensor) -> Result<Tensor, PipelineError> {
        let posterior = self.network.encode(pixels)?;
        Ok(self.network.scaled(&posterior.mean)?)
    }

    fn decode_clip(&self, latents: &Tensor) -> Result<Tensor, PipelineError> {
        let tile = (!self.network.config().attention).then_some(TILE);
        let latents = self.network.unscaled(latents)?;
        Ok(self.network.decode_chunked(&latents, AT_ONCE, tile)?)
    }

    fn cost(&self, width: usize, height: usize) -> Cost {
        let c = self.network.config();
        let frames = (AT_ONCE * c.time_factor()) as f64;
        let mut cost = Cost::default();
        for (level, multiple) in c.dim_mult.iter().enumerate() {
            let channels = (multiple * c.base_dim) as f64;
            let values = ((width >> level) * (height >> level)) as f64 * channels;
            let convolutions = 2.0 * (c.num_res_blocks + 1) as f64;
            cost.flops += 2.0 * 27.0 * values * channels * convolutions;
            cost.bytes = cost.bytes.max(F32 * (6.0 * values * frames) as u64);
        }
        cost
    }

    fn weight_bytes(&self) -> u64 {
        self.bytes
    }
}
