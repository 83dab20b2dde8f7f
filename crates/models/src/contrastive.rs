//! Two towers that put pictures and captions into one space (Radford et al. 2021, CLIP), small enough to be trained with
//! the pictures at hand: what measures generators, and is none.
//!
//! The image tower is a residual network of convolutions with group norms before their activations (He et al. 2016; Wu &
//! He 2018), which takes pictures of any size. The text tower is a transformer that looks both ways, whose states are
//! averaged.

use medley_nn::vision::{Conv2d, GroupNorm, Heads, activation, channels_last, self_attention};
use medley_nn::{Activation, Embedding, LayerNorm, Linear, Tensor, Weights};
use serde_json::{Value, json};

use crate::json::{required, size, sizes};
use crate::parameters::{Init, List, Parameter, xavier};
use crate::{ConfigError, Result};

/// Shape of both towers.
#[derive(Clone, Debug, PartialEq)]
pub struct ContrastiveConfig {
    /// Channels of a picture.
    pub channels: usize,
    /// Channels of the image tower's stages; each stage after the first halves the sides.
    pub image_widths: Vec<usize>,
    /// Residual blocks of each stage: 0 or more of the first, at least 1 of the others.
    pub image_blocks: Vec<usize>,
    /// Groups of the norms.
    pub norm_groups: usize,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Tokens of a caption that are read.
    pub text_tokens: usize,
    /// Width of the text tower.
    pub text_width: usize,
    /// Layers of the text tower.
    pub text_layers: usize,
    /// Attention heads of the text tower.
    pub text_heads: usize,
    /// Width of the space that both meet in.
    pub embed_dim: usize,
}

/// Added to variances.
const EPS: f32 = 1e-5;
/// Added to squared lengths of embeddings.
const LENGTH_EPS: f64 = 1e-12;
/// Logarithms of the factor of similarities before training (a temperature of 0.07) and of the largest, 100, both as in
/// the paper.
const FIRST_SCALE: f64 = 2.659_260_036_932_778;
const LARGEST_SCALE: f64 = 4.605_170_185_988_092;

impl ContrastiveConfig {
    /// Name in `config.json`.
    pub const MODEL_TYPE: &str = "contrastive";

    /// Reads `config.json` as [`ContrastiveConfig::to_json`] writes it.
    ///
    /// # Errors
    /// [`ConfigError`] names the key that is missing or cannot be used.
    pub fn from_json(c: &Value) -> Result<Self> {
        required(c, "model_type", Self::MODEL_TYPE)?;
        let config = Self {
            channels: size(c, "channels", 1..=64)?,
            image_widths: sizes(c, "image_widths", 1..=4096)?,
            image_blocks: sizes(c, "image_blocks", 0..=64)?,
            norm_groups: size(c, "norm_groups", 1..=1024)?,
            vocab_size: size(c, "vocab_size", 1..=1 << 20)?,
            text_tokens: size(c, "text_tokens", 1..=4096)?,
            text_width: size(c, "text_width", 1..=8192)?,
            text_layers: size(c, "text_layers", 0..=64)?,
            text_heads: size(c, "text_heads", 1..=256)?,
            embed_dim: size(c, "embed_dim", 1..=8192)?,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let stages = self.image_widths.len();
        if self.image_blocks.len() != stages || self.image_blocks[1..].contains(&0) {
            return Err(ConfigError::invalid(
                "image_blocks",
                format!("{:?}", self.image_blocks),
                "it must hold a number for each of image_widths, 0 for none but the first",
            ));
        }
        let divided = |width: &usize| width.is_multiple_of(self.norm_groups);
        if !self.image_widths.iter().all(divided) {
            return Err(ConfigError::invalid(
                "norm_groups",
                self.norm_groups,
                "it must divide each of image_widths",
            ));
        }
        if !self.text_width.is_multiple_of(self.text_heads) {
            return Err(ConfigError::invalid(
                "text_heads",
                self.text_heads,
                "it must divide text_width",
            ));
        }
        Ok(())
    }

    /// `config.json`.
    pub fn to_json(&self) -> Value {
        json!({
            "model_type": Self::MODEL_TYPE,
            "channels": self.channels,
            "image_widths": self.image_widths,
            "image_blocks": self.image_blocks,
            "norm_groups": self.norm_groups,
            "vocab_size": self.vocab_size,
            "text_tokens": self.text_tokens,
            "text_width": self.text_width,
            "text_layers": self.text_layers,
            "text_heads": self.text_heads,
            "embed_dim": self.embed_dim,
        })
    }

    /// Width of the image tower's pooled features.
    pub fn feature_dim(&self) -> usize {
        self.image_widths.last().copied().unwrap_or(0)
    }

    /// Name, channels before and after, and stride of every residual block.
    fn image_layout(&self) -> Vec<(String, [usize; 2], usize)> {
        let mut layout = Vec::new();
        let mut inputs = self.image_widths[0];
        for (i, (&width, &blocks)) in self.image_widths.iter().zip(&self.image_blocks).enumerate() {
            for j in 0..blocks {
                let stride = if i > 0 && j == 0 { 2 } else { 1 };
                layout.push((format!("visual.stages.{i}.{j}"), [inputs, width], stride));
                inputs = width;
            }
        }
        layout
    }

    /// Every parameter with its value before training.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut list = List::default();
        self.image_parameters(&mut list);
        self.text_parameters(&mut list);
        list.push("logit_scale".into(), &[1], Init::Zeros);
        list.0
    }

    fn image_parameters(&self, list: &mut List) {
        // He et al. 2015, for what an activation follows.
        const GAIN: f32 = 2.45;
        list.conv(
            "visual.conv_in",
            self.image_widths[0],
            self.channels,
            3,
            1.0,
        );
        for (name, [inputs, out], stride) in self.image_layout() {
            list.norm(&format!("{name}.norm1"), inputs);
            list.conv(&format!("{name}.conv1"), out, inputs, 3, GAIN);
            list.norm(&format!("{name}.norm2"), out);
            list.conv(&format!("{name}.conv2"), out, out, 3, 1.0);
            if inputs != out || stride != 1 {
                list.conv(&format!("{name}.shortcut"), out, inputs, 1, GAIN);
            }
        }
        let width = self.feature_dim();
        list.norm("visual.norm", width);
        let shape = [self.embed_dim, width];
        let init = Init::Normal((width as f32).powf(-0.5));
        list.push("visual.proj.weight".into(), &shape, init);
    }

    fn text_parameters(&self, list: &mut List) {
        let w = self.text_width;
        let table = |rows| [rows, w];
        let name = |name: &str| format!("text.{name}.weight");
        let init = Init::Normal(0.02);
        list.push(name("token_embedding"), &table(self.vocab_size), init);
        let init = Init::Normal(0.01);
        list.push(name("position_embedding"), &table(self.text_tokens), init);
        for i in 0..self.text_layers {
            let name = |part: &str| format!("text.layers.{i}.{part}");
            list.norm(&name("norm1"), w);
            list.linear(&name("qkv"), 3 * w, w, xavier(w, w));
            list.linear(&name("proj"), w, w, Init::Normal(0.02));
            list.norm(&name("norm2"), w);
            list.linear(&name("fc1"), 4 * w, w, xavier(4 * w, w));
            list.linear(&name("fc2"), w, 4 * w, Init::Normal(0.02));
        }
        list.norm("text.norm", w);
        let init = Init::Normal((w as f32).powf(-0.5));
        list.push(name("proj"), &[self.embed_dim, w], init);
    }
}

/// A residual block.
struct Block {
    norm1: GroupNorm,
    conv1: Conv2d,
    norm2: GroupNorm,
    conv2: Conv2d,
    /// Where channels or sides change.
    shortcut: Option<Conv2d>,
}

impl Block {
    fn new(
        weights: &Weights,
        name: &str,
        [inputs, out]: [usize; 2],
        (stride, groups): (usize, usize),
    ) -> Result<Self> {
        let part = |part: &str| format!("{name}.{part}");
        let conv = |name: &str, io, kernel| Conv2d::new(weights, &part(name), io, kernel);
        let norm = |name: &str, width| GroupNorm::new(weights, &part(name), width, groups, EPS);
        Ok(Self {
            norm1: norm("norm1", inputs)?,
            conv1: conv("conv1", [inputs, out], 3)?.stepping(stride, 1),
            norm2: norm("norm2", out)?,
            conv2: conv("conv2", [out, out], 3)?,
            shortcut: match inputs != out || stride != 1 {
                true => Some(conv("shortcut", [inputs, out], 1)?.stepping(stride, 0)),
                false => None,
            },
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = activation(Activation::Silu, &self.norm1.forward(x)?)?;
        let kept = match &self.shortcut {
            Some(conv) => conv.forward(&y)?,
            None => x.clone(),
        };
        let y = self.conv1.forward(&y)?;
        let y = activation(Activation::Silu, &self.norm2.forward(&y)?)?;
        Ok((kept + self.conv2.forward(&y)?)?)
    }
}

/// A layer of the text tower.
struct Layer {
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl Layer {
    fn new(weights: &Weights, name: &str, w: usize) -> Result<Self> {
        let part = |part: &str| format!("{name}.{part}");
        let linear = |name: &str, out, inputs| weights.linear(&part(name), out, inputs);
        Ok(Self {
            norm1: weights.layer_norm(&part("norm1"), w, EPS)?,
            qkv: linear("qkv", 3 * w, w)?,
            proj: linear("proj", w, w)?,
            norm2: weights.layer_norm(&part("norm2"), w, EPS)?,
            fc1: linear("fc1", 4 * w, w)?,
            fc2: linear("fc2", w, 4 * w)?,
        })
    }

    fn forward(&self, x: &Tensor, heads: Heads, lengths: &[usize]) -> Result<Tensor> {
        let qkv = self.qkv.forward(&self.norm1.forward(x)?)?;
        let mixed = self_attention(&qkv, None, heads, None, None, Some(lengths))?;
        let x = (x + self.proj.forward(&mixed)?)?;
        let y = self.fc1.forward(&self.norm2.forward(&x)?)?;
        let y = activation(Activation::GeluTanh, &y)?;
        Ok((&x + self.fc2.forward(&y)?)?)
    }
}

/// What the image tower sees.
pub struct Seen {
    /// States after each stage, `[batch, height, width, channels]`, the sides halved from one to the next.
    pub stages: Vec<Tensor>,
    /// The last states, normed and averaged over all places, `[batch, feature_dim]`.
    pub pooled: Tensor,
    /// The pictures in the common space, `[batch, embed_dim]`, of length 1.
    pub embedding: Tensor,
}

/// Both towers with their weights.
pub struct Contrastive {
    config: ContrastiveConfig,
    conv_in: Conv2d,
    /// By stage.
    stages: Vec<Vec<Block>>,
    norm: GroupNorm,
    proj: Linear,
    token_embedding: Embedding,
    /// `[text_tokens, text_width]`
    position_embedding: Tensor,
    layers: Vec<Layer>,
    text_norm: LayerNorm,
    text_proj: Linear,
    /// `[1]`: logarithm of the factor of similarities over its first value.
    logit_scale: Tensor,
}

impl Contrastive {
    /// Makes every layer of `config` out of `weights`.
    ///
    /// # Errors
    /// [`ConfigError`] where a weight is missing or has another shape.
    pub fn new(config: ContrastiveConfig, weights: &Weights) -> Result<Self> {
        let c = &config;
        let (w, features) = (c.text_width, c.feature_dim());
        let table = weights.matrix(
            "text.token_embedding.weight",
            &[c.vocab_size, w],
            0..c.vocab_size,
            w,
            None,
        )?;
        let mut stages: Vec<Vec<Block>> = c.image_widths.iter().map(|_| Vec::new()).collect();
        let mut layout = c.image_layout().into_iter();
        for (stage, &blocks) in stages.iter_mut().zip(&c.image_blocks) {
            for (name, io, stride) in layout.by_ref().take(blocks) {
                stage.push(Block::new(weights, &name, io, (stride, c.norm_groups))?);
            }
        }
        Ok(Self {
            conv_in: Conv2d::new(
                weights,
                "visual.conv_in",
                [c.channels, c.image_widths[0]],
                3,
            )?,
            stages,
            norm: GroupNorm::new(weights, "visual.norm", features, c.norm_groups, EPS)?,
            proj: weights.linear("visual.proj", c.embed_dim, features)?,
            token_embedding: Embedding { table },
            position_embedding: weights
                .tensor("text.position_embedding.weight", &[c.text_tokens, w])?,
            layers: (0..c.text_layers)
                .map(|i| Layer::new(weights, &format!("text.layers.{i}"), w))
                .collect::<Result<_>>()?,
            text_norm: weights.layer_norm("text.norm", w, EPS)?,
            text_proj: weights.linear("text.proj", c.embed_dim, w)?,
            logit_scale: weights.tensor("logit_scale", &[1])?,
            config,
        })
    }

    /// Shape.
    pub fn config(&self) -> &ContrastiveConfig {
        &self.config
    }

    /// What is seen in pictures `[batch, channels, height, width]`, −1 … 1, of any size.
    ///
    /// # Errors
    /// Where they have other channels.
    pub fn look(&self, x: &Tensor) -> Result<Seen> {
        let stages = self.stages(x)?;
        let last = stages.last().unwrap_or(x);
        let y = activation(Activation::Silu, &self.norm.forward(last)?)?;
        let pooled = y.mean(2)?.mean(1)?;
        let embedding = unit(&self.proj.forward(&pooled)?)?;
        Ok(Seen {
            stages,
            pooled,
            embedding,
        })
    }

    /// The states after each stage alone; see [`Seen::stages`].
    ///
    /// # Errors
    /// As [`Contrastive::look`].
    pub fn stages(&self, x: &Tensor) -> Result<Vec<Tensor>> {
        let (_, channels, height, width) = x.dims4()?;
        if channels != self.config.channels || height == 0 || width == 0 {
            return Err(medley_nn::Error::Config(format!(
                "pictures of {channels} × {height} × {width} for a model of {} channels",
                self.config.channels
            ))
            .into());
        }
        let mut x = self.conv_in.forward(&channels_last(x)?)?;
        let mut states = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            for block in stage {
                x = block.forward(&x)?;
            }
            states.push(x.clone());
        }
        Ok(states)
    }

    /// Captions in the common space, `[batch, embed_dim]`, of length 1. `ids` holds `tokens` of each, of which the first
    /// `lengths` count; a caption without any has no direction, and length 0.
    ///
    /// # Errors
    /// Where there are more tokens than the model reads, or ids beyond its vocabulary.
    pub fn read(&self, ids: &[u32], tokens: usize, lengths: &[usize]) -> Result<Tensor> {
        let (batch, w) = (lengths.len(), self.config.text_width);
        let fits = (1..=self.config.text_tokens).contains(&tokens)
            && ids.len() == batch * tokens
            && lengths.iter().all(|&n| n <= tokens);
        if !fits {
            return Err(medley_nn::Error::Config(format!(
                "{} ids as {batch} captions of {tokens} tokens for a model that reads {}",
                ids.len(),
                self.config.text_tokens
            ))
            .into());
        }
        let positions = self.position_embedding.narrow(0, 0, tokens)?;
        let rows = self
            .token_embedding
            .forward(ids, positions.device())?
            .reshape((batch, tokens, w))?;
        let mut x = rows.broadcast_add(&positions)?;
        let heads = Heads {
            heads: self.config.text_heads,
            dim: w / self.config.text_heads,
            eps: EPS,
        };
        for layer in &self.layers {
            x = layer.forward(&x, heads, lengths)?;
        }
        let x = self.text_norm.forward(&x)?;
        let share = |n: usize, i: usize| if i < n { 1.0 / n as f32 } else { 0.0 };
        let shares: Vec<f32> = lengths
            .iter()
            .flat_map(|&n| (0..tokens).map(move |i| share(n, i)))
            .collect();
        let shares = Tensor::from_vec(shares, (batch, tokens, 1), x.device())?;
        let mean = x.broadcast_mul(&shares)?.sum(1)?;
        unit(&self.text_proj.forward(&mean)?)
    }

    /// The factor of similarities, `[1]`: at most 100.
    ///
    /// # Errors
    /// Those of tensors.
    pub fn scale(&self) -> Result<Tensor> {
        let logarithm = (&self.logit_scale + FIRST_SCALE)?;
        Ok(logarithm.minimum(LARGEST_SCALE)?.exp()?)
    }
}

/// Rows of length 1.
fn unit(x: &Tensor) -> Result<Tensor> {
    let length = (x.sqr()?.sum_keepdim(1)? + LENGTH_EPS)?.sqrt()?;
    Ok(x.broadcast_div(&length)?)
}
