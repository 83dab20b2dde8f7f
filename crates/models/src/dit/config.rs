//! Shape of a diffusion transformer.

use serde_json::{Value, json};

use super::stem::Stem;
use super::time::TimeMixing;
use crate::json::{choice, float, required, size, sizes, switch};
use crate::parameters::{Init, List, Parameter, xavier};
use crate::{ConfigError, Result};
use medley_nn::weights::Tensors;

/// How text states reach the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextKind {
    /// Not at all.
    None,
    /// Image tokens look at text states in each block (Chen et al. 2023, PixArt-α).
    Cross,
    /// Text tokens run beside image tokens with weights of their own, and all look at all (Esser et al. 2024, MMDiT).
    Joint,
}

/// How the frames of a clip see each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeKind {
    /// Not at all: the model makes pictures.
    None,
    /// Tokens look at their frame, then at their place in all frames (Ho et al. 2022, Ma et al. 2024, Latte).
    Factorised,
    /// All tokens of a clip look at all.
    Full,
}

/// Shape of a diffusion transformer.
#[derive(Clone, Debug, PartialEq)]
pub struct DitConfig {
    /// Channels of a sample.
    pub channels: usize,
    /// Height and width that it was trained at; others that the patch divides run as well.
    pub sample_size: [usize; 2],
    /// Pixels along a side of a patch, which is one token.
    pub patch_size: usize,
    /// Channels of the levels of convolutions between pixels and tokens, outermost first, each of which halves the sides;
    /// as many as make a patch of one pixel. None where a patch is a token by one matrix.
    pub stem_channels: Vec<usize>,
    /// Pixels along a side of a block whose colours the outermost level takes as channels of one pixel, in the order of
    /// PyTorch's `pixel_unshuffle`; 1 for none. A model of pictures twice as fine costs the same with blocks of 2.
    pub unshuffle: usize,
    /// Width of the states.
    pub hidden_size: usize,
    /// Blocks.
    pub layers: usize,
    /// Attention heads; their width is a multiple of 4.
    pub heads: usize,
    /// Width of the feed-forward block.
    pub intermediate_size: usize,
    /// How text states reach the picture.
    pub text: TextKind,
    /// Width of the text states.
    pub text_width: usize,
    /// Classes; there is one more row, for none.
    pub classes: usize,
    /// Whether all blocks share one modulation, with a table each (Chen et al. 2023), and do not have their own.
    pub shared_modulation: bool,
    /// Frames of the clips that it was trained at; 1 for pictures.
    pub frames: usize,
    /// Frames of a patch.
    pub frame_patch: usize,
    /// How frames see each other.
    pub time: TimeKind,
    /// Whether the first frame follows the last one.
    pub loops: bool,
    /// Base of the rotary positions.
    pub rope_theta: f32,
    /// Added to variances.
    pub norm_eps: f32,
}

/// Width of the sinusoids of the time.
pub(super) const TIME_WIDTH: usize = 256;

impl DitConfig {
    /// Name in `config.json`.
    pub const MODEL_TYPE: &str = "dit";

    /// Reads `config.json` as [`DitConfig::to_json`] writes it.
    ///
    /// # Errors
    /// [`ConfigError`] names the key that is missing or cannot be used.
    pub fn from_json(c: &Value) -> Result<Self> {
        required(c, "model_type", Self::MODEL_TYPE)?;
        let side = |key: &str, default: &str| {
            if c.get(key).is_some() {
                size(c, key, 1..=1 << 16)
            } else {
                size(c, default, 1..=1 << 16)
            }
        };
        let optional = |key: &str| match c.get(key) {
            Some(_) => size(c, key, 0..=1 << 20),
            None => Ok(0),
        };
        let time = match c.get("time") {
            None => TimeKind::None,
            Some(_) => choice(
                c,
                "time",
                &[
                    ("factorised", TimeKind::Factorised),
                    ("full", TimeKind::Full),
                ],
            )?,
        };
        let counted = |key: &str| match c.get(key) {
            Some(_) => size(c, key, 1..=1 << 16),
            None => Ok(1),
        };
        let text = choice(
            c,
            "text",
            &[
                ("none", TextKind::None),
                ("cross", TextKind::Cross),
                ("joint", TextKind::Joint),
            ],
        )?;
        let config = Self {
            channels: size(c, "channels", 1..=4096)?,
            sample_size: [
                side("sample_height", "sample_size")?,
                side("sample_width", "sample_size")?,
            ],
            patch_size: size(c, "patch_size", 1..=64)?,
            stem_channels: match c.get("stem_channels").and_then(Value::as_array) {
                Some(list) if !list.is_empty() => sizes(c, "stem_channels", 1..=1 << 14)?,
                _ => Vec::new(),
            },
            unshuffle: counted("pixel_unshuffle")?,
            hidden_size: size(c, "hidden_size", 4..=1 << 16)?,
            layers: size(c, "num_hidden_layers", 1..=1024)?,
            heads: size(c, "num_attention_heads", 1..=1024)?,
            intermediate_size: size(c, "intermediate_size", 1..=1 << 18)?,
            text,
            text_width: optional("text_width")?,
            classes: optional("num_classes")?,
            shared_modulation: switch(c, "shared_modulation", false)?,
            frames: counted("sample_frames")?,
            frame_patch: counted("frame_patch_size")?,
            time,
            loops: switch(c, "loop", false)?,
            rope_theta: float(c, "rope_theta", 100.0)?,
            norm_eps: float(c, "norm_eps", 1e-6)?,
        };
        config.check()?;
        Ok(config)
    }

    /// `config.json`.
    pub fn to_json(&self) -> Value {
        let mut json = json!({
            "model_type": Self::MODEL_TYPE,
            "channels": self.channels,
            "sample_height": self.sample_size[0],
            "sample_width": self.sample_size[1],
            "patch_size": self.patch_size,
            "stem_channels": self.stem_channels,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "intermediate_size": self.intermediate_size,
            "text": match self.text {
                TextKind::None => "none",
                TextKind::Cross => "cross",
                TextKind::Joint => "joint",
            },
            "text_width": self.text_width,
            "num_classes": self.classes,
            "shared_modulation": self.shared_modulation,
            "rope_theta": self.rope_theta,
            "norm_eps": self.norm_eps,
        });
        if self.unshuffle > 1 {
            json["pixel_unshuffle"] = json!(self.unshuffle);
        }
        let time = match self.time {
            TimeKind::None => return json,
            TimeKind::Factorised => "factorised",
            TimeKind::Full => "full",
        };
        json["time"] = json!(time);
        json["sample_frames"] = json!(self.frames);
        json["frame_patch_size"] = json!(self.frame_patch);
        json["loop"] = json!(self.loops);
        json
    }

    /// Fails for a shape that no model can have.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] names the key.
    pub fn check(&self) -> Result<()> {
        if !self.hidden_size.is_multiple_of(self.heads) || !self.head_dim().is_multiple_of(4) {
            return Err(ConfigError::invalid(
                "num_attention_heads",
                self.heads,
                "it must divide hidden_size into heads of a multiple of 4",
            ));
        }
        if self
            .sample_size
            .iter()
            .any(|side| !side.is_multiple_of(self.patch_size))
        {
            return Err(ConfigError::invalid(
                "patch_size",
                self.patch_size,
                "it must divide the sample's height and width",
            ));
        }
        let levels = u32::try_from(self.stem_channels.len()).unwrap_or(u32::MAX);
        let halved = 2usize
            .checked_pow(levels)
            .and_then(|n| n.checked_mul(self.unshuffle));
        if levels > 0 && halved != Some(self.patch_size) {
            let block = match self.unshuffle {
                1 => "one pixel".to_owned(),
                n => format!("blocks of {n}"),
            };
            return Err(ConfigError::invalid(
                "stem_channels",
                format!("{:?}", self.stem_channels),
                &format!(
                    "its levels must halve a patch of {} to {block}",
                    self.patch_size
                ),
            ));
        }
        if levels == 0 && self.unshuffle != 1 {
            return Err(ConfigError::invalid(
                "pixel_unshuffle",
                self.unshuffle,
                "it goes with stem_channels",
            ));
        }
        if (self.text == TextKind::None) != (self.text_width == 0) {
            return Err(ConfigError::invalid(
                "text_width",
                self.text_width,
                "it must be above 0 with text and 0 without",
            ));
        }
        self.check_time()
    }

    fn check_time(&self) -> Result<()> {
        let wrong = |key, value: usize, what| Err(ConfigError::invalid(key, value, what));
        if self.time == TimeKind::None && (self.frames, self.frame_patch) != (1, 1) {
            return wrong("sample_frames", self.frames, "clips need a \"time\"");
        }
        if !self.frames.is_multiple_of(self.frame_patch) {
            return wrong(
                "frame_patch_size",
                self.frame_patch,
                "it must divide sample_frames",
            );
        }
        if self.frame_patch > 1 && !self.stem_channels.is_empty() {
            return wrong(
                "frame_patch_size",
                self.frame_patch,
                "with a stem of convolutions each frame has its tokens",
            );
        }
        if self.time == TimeKind::Full && self.head_dim() < 6 {
            return wrong(
                "num_attention_heads",
                self.heads,
                "heads are to be 6 wide at least where they see frames, rows and columns",
            );
        }
        if self.time == TimeKind::Factorised && self.text == TextKind::Joint {
            return Err(ConfigError::invalid(
                "time",
                "factorised",
                "joint text looks at whole clips: it goes with \"full\"",
            ));
        }
        Ok(())
    }

    /// The same shape for pictures: what a model of clips may begin as.
    #[must_use]
    pub fn of_pictures(&self) -> Self {
        Self {
            frames: 1,
            frame_patch: 1,
            time: TimeKind::None,
            loops: false,
            ..self.clone()
        }
    }

    /// The same shape for samples whose outermost level takes blocks of so many pixels along a side.
    #[must_use]
    pub fn with_blocks(&self, unshuffle: usize) -> Self {
        let scaled = |n: usize| n / self.unshuffle.max(1) * unshuffle;
        Self {
            unshuffle,
            patch_size: scaled(self.patch_size),
            sample_size: self.sample_size.map(scaled),
            ..self.clone()
        }
    }

    /// Turns the weights of a model of this shape into those of `finer`, which differs in its blocks: it begins with the mean
    /// of each block, and gives all pixels of one alike.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for blocks that are no multiple of those there are.
    pub fn refine(&self, finer: &Self, tensors: &mut Tensors) -> Result<()> {
        match finer.unshuffle / self.unshuffle.max(1) {
            1 if finer.unshuffle == self.unshuffle => Ok(()),
            _ if self.unshuffle == 1 => {
                super::stem::refine(tensors, finer.unshuffle * finer.unshuffle);
                Ok(())
            }
            _ => Err(ConfigError::invalid(
                "pixel_unshuffle",
                finer.unshuffle,
                &format!("the weights are of blocks of {}", self.unshuffle),
            )),
        }
    }

    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.heads.max(1)
    }

    /// Channels of the pixels of the outermost level of the stem.
    pub(super) fn block_channels(&self) -> usize {
        self.channels * self.unshuffle * self.unshuffle
    }

    /// Elements of a patch.
    pub fn patch_len(&self) -> usize {
        self.channels * self.frame_patch * self.patch_size * self.patch_size
    }

    /// Every parameter, with the values of adaLN-zero before training: each block begins as the identity and the
    /// output as 0.
    pub fn parameters(&self) -> Vec<Parameter> {
        let (h, mut list) = (self.hidden_size, List::default());
        let small = Init::Normal(0.02);
        let patch = self.patch_len();
        match self.stem_channels.is_empty() {
            true => list.linear("x_embedder", h, patch, xavier(h, patch)),
            false => Stem::parameters(self, &mut list),
        }
        list.linear("t_embedder.fc1", h, TIME_WIDTH, small);
        list.linear("t_embedder.fc2", h, h, small);
        if self.classes > 0 {
            list.push("y_embedder.weight".into(), &[self.classes + 1, h], small);
        }
        if self.text != TextKind::None {
            let width = self.text_width;
            list.linear("text_embedder.fc1", h, width, xavier(h, width));
            list.linear("text_embedder.fc2", h, h, xavier(h, h));
            list.linear("pool_embedder", h, width, small);
        }
        if self.shared_modulation {
            list.linear("adaLN_modulation", 6 * h, h, Init::Zeros);
            if self.text == TextKind::Joint {
                list.linear("text.adaLN_modulation", 6 * h, h, Init::Zeros);
            }
            if self.time == TimeKind::Factorised {
                list.linear("time.adaLN_modulation", 3 * h, h, Init::Zeros);
            }
        }
        for i in 0..self.layers {
            let prefix = format!("blocks.{i}");
            self.stream(&mut list, &prefix, true);
            if self.time == TimeKind::Factorised {
                TimeMixing::parameters(self, &mut list, &format!("{prefix}.time"));
            }
            match self.text {
                TextKind::Joint => {
                    self.stream(&mut list, &format!("{prefix}.text"), i + 1 < self.layers);
                }
                TextKind::Cross => {
                    let prefix = format!("{prefix}.cross");
                    list.linear(&format!("{prefix}.q"), h, h, xavier(h, h));
                    list.linear(&format!("{prefix}.kv"), 2 * h, h, xavier(h, h));
                    self.norms(&mut list, &prefix);
                    list.linear(&format!("{prefix}.proj"), h, h, Init::Zeros);
                }
                TextKind::None => {}
            }
        }
        list.linear("final.adaLN_modulation", 2 * h, h, Init::Zeros);
        if self.stem_channels.is_empty() {
            list.linear("final.linear", patch, h, Init::Zeros);
        }
        list.0
    }

    pub(super) fn norms(&self, list: &mut List, prefix: &str) {
        for name in ["q_norm", "k_norm"] {
            list.push(
                format!("{prefix}.{name}.weight"),
                &[self.head_dim()],
                Init::Ones,
            );
        }
    }

    /// A stream of tokens through a block; one that goes nowhere after the attention has no more than it needs for it.
    fn stream(&self, list: &mut List, prefix: &str, whole: bool) {
        let (h, wide) = (self.hidden_size, self.intermediate_size);
        let parts = if whole { 6 } else { 2 };
        if self.shared_modulation {
            let name = format!("{prefix}.modulation_table");
            list.push(name, &[parts * h], Init::Zeros);
        } else {
            list.linear(
                &format!("{prefix}.adaLN_modulation"),
                parts * h,
                h,
                Init::Zeros,
            );
        }
        list.linear(&format!("{prefix}.attn.qkv"), 3 * h, h, xavier(h, h));
        self.norms(list, &format!("{prefix}.attn"));
        if whole {
            list.linear(&format!("{prefix}.attn.proj"), h, h, xavier(h, h));
            list.linear(&format!("{prefix}.mlp.fc1"), wide, h, xavier(wide, h));
            list.linear(&format!("{prefix}.mlp.fc2"), h, wide, xavier(h, wide));
        }
    }
}
