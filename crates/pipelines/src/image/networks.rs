//! The architectures of `models` behind the traits of [`parts`](super::parts).

use medley_models::dcgan::{self, DcganConfig};
use medley_models::dit::{Condition, Dit, DitConfig, TextKind, TextStates};
use medley_models::rrdb::{Rrdb, RrdbConfig};
use medley_models::stylegan2::{self, StyleGan2Config, one_hot};
use medley_models::vae::{Vae, VaeConfig};
use medley_nn::{Tensor, Weights};
use serde_json::{Value, json};

use super::clips::ClipVae;
use super::config::ImageConfig;
use super::parts::{Autoencode, Conditioning, Cost, Denoise, Enlarge, Synthesize};
use crate::PipelineError;

pub(super) const F32: u64 = 4;

pub(super) fn wrong<T>(text: impl Into<String>) -> Result<T, PipelineError> {
    Err(PipelineError::ModelConfig(text.into()))
}

/// The architecture's own configuration, which names itself.
fn model(config: &ImageConfig) -> Value {
    let mut model = config.model.clone();
    if model.is_null() {
        model = json!({});
    }
    if let Some(map) = model.as_object_mut() {
        map.entry("model_type")
            .or_insert_with(|| json!(config.architecture));
    }
    model
}

/// Bytes of parameters in `f32`.
pub(super) fn bytes_of(parameters: &[medley_models::parameters::Parameter]) -> u64 {
    let count = |p: &medley_models::parameters::Parameter| p.shape.iter().product::<usize>() as u64;
    F32 * parameters.iter().map(count).sum::<u64>()
}

pub(super) fn error(error: medley_nn::TensorError) -> PipelineError {
    medley_models::ConfigError::from(error).into()
}

/// What weights without a configuration are.
pub(super) fn detect(weights: &Weights) -> Result<ImageConfig, PipelineError> {
    if let Ok(config) = RrdbConfig::from_weights(weights) {
        return ImageConfig::from_json(json!({
            "medium": "image", "architecture": RrdbConfig::MODEL_TYPE, "model": config.to_json(),
        }));
    }
    if let Ok(config) = DcganConfig::from_generator(weights) {
        return ImageConfig::from_json(json!({
            "medium": "image", "architecture": DcganConfig::MODEL_TYPE, "model": config.to_json(),
            "size": [config.size, config.size],
        }));
    }
    wrong(
        "without a config.json beside them these weights are neither a DCGAN generator nor an RRDB upscaler",
    )
}

pub(super) fn denoiser(
    config: &ImageConfig,
    weights: &Weights,
    autoencoder: Option<&dyn Autoencode>,
) -> Result<Box<dyn Denoise>, PipelineError> {
    let own = DitConfig::from_json(&model(config))?;
    if own.channels != config.channels {
        return wrong(format!(
            "channels is {}, but the transformer has {}",
            config.channels, own.channels
        ));
    }
    let drawn = config.clip.map_or(1, |clip| clip.frames as usize);
    let frames = match autoencoder {
        Some(autoencoder) => autoencoder.latent_frames(drawn),
        None => Some(drawn),
    };
    let Some(frames) = frames else {
        return wrong(format!(
            "clip.frames is {drawn}, but the VAE makes no clips of so many"
        ));
    };
    if own.frames != frames {
        return wrong(format!(
            "clip.frames is {drawn}, which takes {frames} of the transformer, but it has {}",
            own.frames
        ));
    }
    if (own.text != TextKind::None) != config.text_encoder.is_some() {
        return wrong("a transformer that reads text needs a text_encoder, and another none");
    }
    if own.classes != config.classes.len() {
        return wrong(format!(
            "classes names {}, but the transformer has {}",
            config.classes.len(),
            own.classes
        ));
    }
    Ok(Box::new(DitNetwork {
        bytes: bytes_of(&own.parameters()),
        network: Dit::new(own, weights)?,
    }))
}

struct DitNetwork {
    network: Dit,
    bytes: u64,
}

impl Denoise for DitNetwork {
    fn predict(
        &self,
        x: &Tensor,
        timestep: f32,
        known: &[bool],
        conditioning: &Conditioning,
    ) -> Result<Tensor, PipelineError> {
        let batch = x.dim(0).map_err(error)?;
        let text = conditioning.states.as_ref().map(|states| TextStates {
            states,
            lengths: &conditioning.lengths,
        });
        let condition = Condition {
            text: text.filter(|_| self.network.config().text != TextKind::None),
            classes: conditioning.classes.as_deref(),
        };
        Ok(self
            .network
            .forward_clips(x, &vec![timestep; batch], known, &condition)?)
    }

    fn cost(&self, width: usize, height: usize, batch: usize, tokens: usize) -> Cost {
        let c = self.network.config();
        let (hidden, layers) = (c.hidden_size as f64, c.layers as f64);
        let image = ((width / c.patch_size) * (height / c.patch_size)) as f64;
        let text = match c.text {
            TextKind::None => 0.0,
            _ => tokens as f64,
        };
        let wide = c.intermediate_size as f64;
        // Products of the states with matrices: qkv and output (4), feed-forward (2 of another width), cross-attention.
        let stream = 4.0 * hidden * hidden + 2.0 * hidden * wide;
        let (matrices, seen) = match c.text {
            TextKind::Joint => ((image + text) * stream, (image + text).powi(2)),
            TextKind::Cross => (
                image * (stream + 2.0 * hidden * hidden) + 2.0 * text * hidden * hidden,
                image * (image + text),
            ),
            TextKind::None => (image * stream, image * image),
        };
        // Four convolutions a level of the stem, and the way to the next level and back.
        let patch = (c.patch_size / c.unshuffle).pow(2) as f64;
        let stem = c.stem_channels.iter().enumerate().map(|(i, &channels)| {
            let next = c.stem_channels.get(i + 1).map_or(hidden, |&n| n as f64);
            let (pixels, channels) = (image * patch / 4f64.powi(i as i32), channels as f64);
            pixels * channels * (4.0 * 9.0 * channels + 2.0 * next)
        });
        let stem: f64 = stem.sum();
        let outermost = c.stem_channels.first().map_or(0.0, |&n| n as f64 * patch);
        // Scores and their sums over values take two products more.
        let flops = 2.0 * (layers * (matrices + 2.0 * seen * hidden) + stem) * batch as f64;
        // States, their norm, q, k and v, the wide states of the feed-forward block, and pages that the allocator keeps: as
        // measured at 16384 tokens.
        let states = 10.0 * hidden + 3.0 * wide;
        // Beside them copies of the samples, and states of the outermost level.
        let samples = 12.0 * c.patch_len() as f64 + 6.0 * outermost;
        let values = (image + text) * (states + samples) * batch as f64;
        Cost {
            flops,
            bytes: F32 * values as u64,
        }
    }

    fn weight_bytes(&self) -> u64 {
        self.bytes
    }
}

pub(super) fn gan(
    config: &ImageConfig,
    weights: &Weights,
) -> Result<Box<dyn Synthesize>, PipelineError> {
    let json = model(config);
    let square = |size: usize| {
        if config.size == [size as u32; 2] {
            return Ok(());
        }
        wrong(format!(
            "size is {:?}, but the generator makes {size}x{size}",
            config.size
        ))
    };
    if config.architecture == DcganConfig::MODEL_TYPE {
        let own = match config.model.is_null() {
            true => DcganConfig::from_generator(weights)?,
            false => DcganConfig::from_json(&json)?,
        };
        square(own.size)?;
        return Ok(Box::new(Dcgan {
            bytes: bytes_of(&own.generator_parameters()),
            network: dcgan::Generator::new(own, weights)?,
        }));
    }
    let own = StyleGan2Config::from_json(&json)?;
    square(own.size)?;
    if config.text_encoder.is_none() && own.condition != config.classes.len() {
        return wrong(format!(
            "classes names {}, but the generator takes {}",
            config.classes.len(),
            own.condition
        ));
    }
    Ok(Box::new(StyleGan2 {
        bytes: bytes_of(&own.generator_parameters()),
        network: stylegan2::Generator::new(own, weights)?,
    }))
}

/// Pictures of one channel as grey ones; those of three as they are.
fn coloured(pixels: Tensor) -> Result<Tensor, PipelineError> {
    match pixels.dim(1).map_err(error)? {
        3 => Ok(pixels),
        1 => Tensor::cat(&[&pixels; 3], 1).map_err(error),
        channels => wrong(format!("a picture of {channels} channels has no colours")),
    }
}

/// What a generator of convolutions takes: `widths` gives the channels at each side.
fn pyramid(sides: impl Iterator<Item = (usize, usize)>) -> Cost {
    let mut cost = Cost::default();
    for (side, channels) in sides {
        let values = (side * side * channels) as f64;
        // Two convolutions of 3 × 3 a level.
        cost.flops += 2.0 * 2.0 * 9.0 * values * channels as f64;
        // The values, and those that a convolution gathers.
        cost.bytes = cost
            .bytes
            .max(F32 * (4.0 * values) as u64 + F32 * (9.0 * values) as u64);
    }
    cost
}

struct StyleGan2 {
    network: stylegan2::Generator,
    bytes: u64,
}

impl Synthesize for StyleGan2 {
    fn latent_width(&self) -> usize {
        self.network.config().latent
    }

    fn synthesize(
        &self,
        latents: &Tensor,
        conditioning: &Conditioning,
        truncation: f64,
    ) -> Result<Tensor, PipelineError> {
        let condition = match (&conditioning.classes, &conditioning.pooled) {
            (Some(classes), _) => Some(one_hot(
                classes,
                self.network.config().condition,
                latents.device(),
            )?),
            (None, pooled) => pooled.clone(),
        };
        let styles = self.network.map(latents, condition.as_ref())?;
        let styles = self.network.truncate(&styles, truncation)?;
        coloured(self.network.synthesize(&styles)?)
    }

    fn truncates(&self) -> bool {
        true
    }

    fn cost(&self) -> Cost {
        let c = self.network.config();
        let sides = (2..)
            .map(|i| 1usize << i)
            .take_while(|&side| side <= c.size);
        pyramid(sides.map(|side| (side, c.width(side))))
    }

    fn weight_bytes(&self) -> u64 {
        self.bytes
    }
}

struct Dcgan {
    network: dcgan::Generator,
    bytes: u64,
}

impl Synthesize for Dcgan {
    fn latent_width(&self) -> usize {
        self.network.config().latent
    }

    fn synthesize(
        &self,
        latents: &Tensor,
        _: &Conditioning,
        _: f64,
    ) -> Result<Tensor, PipelineError> {
        coloured(self.network.forward(latents)?)
    }

    fn truncates(&self) -> bool {
        false
    }

    fn cost(&self) -> Cost {
        let c = self.network.config();
        let sides = (2..)
            .map(|i| 1usize << i)
            .take_while(|&side| side <= c.size);
        pyramid(sides.map(|side| (side, c.generator_features * c.size / side)))
    }

    fn weight_bytes(&self) -> u64 {
        self.bytes
    }
}

pub(super) fn upscaler(
    config: &ImageConfig,
    weights: &Weights,
) -> Result<Box<dyn Enlarge>, PipelineError> {
    let own = match config.model.is_null() {
        true => RrdbConfig::from_weights(weights)?,
        false => RrdbConfig::from_json(&model(config))?,
    };
    if own.channels != 3 || own.scale < 2 {
        return wrong(format!(
            "an upscaler makes colour pictures larger, this one has {} channels and the scale {}",
            own.channels, own.scale
        ));
    }
    Ok(Box::new(RrdbNetwork {
        bytes: bytes_of(&own.parameters()),
        network: Rrdb::new(own, weights)?,
    }))
}

struct RrdbNetwork {
    network: Rrdb,
    bytes: u64,
}

impl Enlarge for RrdbNetwork {
    fn factor(&self) -> u32 {
        self.network.config().scale as u32
    }

    fn enlarge(&self, pixels: &Tensor) -> Result<Tensor, PipelineError> {
        // Its pictures lie in [0, 1].
        let unit = ((pixels + 1.0).map_err(error)? * 0.5).map_err(error)?;
        let large = self.network.forward(&unit)?;
        ((large * 2.0).map_err(error)? - 1.0).map_err(error)
    }

    fn cost(&self, width: usize, height: usize) -> Cost {
        let c = self.network.config();
        let (f, g) = (c.features as f64, c.growth as f64);
        // Sides of the states are those of the picture, or what is left of them.
        let pixels = (width * height) as f64 * (c.scale as f64 / 4.0).powi(2);
        let dense: f64 = (0..5)
            .map(|i| (f + f64::from(i) * g) * if i == 4 { f } else { g })
            .sum();
        let body = 3.0 * c.blocks as f64 * dense + f * f;
        // Two convolutions at the full side, one at half of it.
        let up = f * f * (4.0 + 2.0 * 16.0);
        let large = pixels * 16.0 * f;
        Cost {
            flops: 2.0 * 9.0 * pixels * (body + up),
            bytes: F32 * (4.0 * large) as u64,
        }
    }

    fn weight_bytes(&self) -> u64 {
        self.bytes
    }
}

pub(super) fn autoencoder(
    json: &Value,
    config: &ImageConfig,
    weights: &Weights,
) -> Result<Box<dyn Autoencode>, PipelineError> {
    if json["model_type"] == "vae3d" || json["_class_name"] == "AutoencoderKLWan" {
        return Ok(Box::new(ClipVae::new(json, config, weights)?));
    }
    let own = VaeConfig::from_json(json)?;
    if own.latent_channels != config.channels || own.in_channels != 3 || own.out_channels != 3 {
        return wrong(format!(
            "the VAE is for {} latent channels, the denoiser for {}",
            own.latent_channels, config.channels
        ));
    }
    Ok(Box::new(VaeNetwork {
        bytes: bytes_of(&own.parameters()),
        network: Vae::new(own, weights)?,
    }))
}

struct VaeNetwork {
    network: Vae,
    bytes: u64,
}

impl Autoencode for VaeNetwork {
    fn factor(&self) -> u32 {
        self.network.config().factor() as u32
    }

    fn encode(&self, pixels: &Tensor) -> Result<Tensor, PipelineError> {
        let posterior = self.network.encode(pixels)?;
        Ok(self.network.scaled(&posterior.mean)?)
    }

    fn decode(&self, latents: &Tensor) -> Result<Tensor, PipelineError> {
        Ok(self.network.decode(&self.network.unscaled(latents)?)?)
    }

    fn cost(&self, width: usize, height: usize) -> Cost {
        let c = self.network.config();
        let mut cost = Cost::default();
        for (level, &channels) in c.block_out_channels.iter().enumerate() {
            let values = ((width >> level) * (height >> level) * channels) as f64;
            let convolutions = 2.0 * (c.layers_per_block + 1) as f64;
            cost.flops += 2.0 * 9.0 * values * channels as f64 * convolutions;
            cost.bytes = cost.bytes.max(F32 * (6.0 * values) as u64);
        }
        cost
    }

    fn weight_bytes(&self) -> u64 {
        self.bytes
    }
}
