//! Arguments of `medley train`.

use clap::{Args, Subcommand};

use crate::args::{TrainCompute, parse_size};

/// `medley train`
#[derive(Subcommand, Debug)]
pub enum TrainCommand {
    /// A language model, from nothing or on from a published one
    Text(TrainTextArgs),
    /// A model that writes tunes
    Music(TrainMusicArgs),
    /// A diffusion model that draws what captions say
    Image(TrainImageArgs),
    /// A diffusion model of short clips, on from a model of pictures or from nothing
    Video(TrainVideoArgs),
    /// A generator that draws in one pass, against a discriminator
    Gan(TrainGanArgs),
    /// A scorer of pictures and captions, which measures generators and is none
    Scorer(TrainScorerArgs),
    /// A network that makes pictures larger
    Upscaler(TrainUpscalerArgs),
}

/// Which rule moves the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TrainOptimiser {
    /// AdamW for all
    Adamw,
    /// Muon for the matrices within the model, AdamW for the rest
    Muon,
}

/// What every run takes.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Folder of the run and of the model that it makes
    #[arg(long, value_name = "DIR")]
    pub out: std::path::PathBuf,
    /// Steps [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: Option<u64>,
    /// Go on with the run that is in --out
    #[arg(long)]
    pub resume: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Steps from one evaluation to the next; 0 for none but the last
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub evaluate_every: u64,
    /// Steps from one sample to the next; 0 for none
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub sample_every: u64,
    /// Steps from one checkpoint to the next; 0 for none but the last
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub save_every: u64,
    /// Draws first weights, order and samples [default: random]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
}

/// `medley train text`
#[derive(Args, Debug)]
pub struct TrainTextArgs {
    /// Folder of texts and source files, or of .jsonl files with "text" or "messages"; or one file
    #[arg(long, value_name = "DIR")]
    pub data: std::path::PathBuf,
    /// Published model to go on from: a folder with config.json, tokenizer.json and safetensors; with --lora any language
    /// model, a GGUF file too
    #[arg(long, value_name = "M")]
    pub base: Option<String>,
    /// Train a low-rank adapter of this rank over --base, which stays as it is
    #[arg(
        long,
        value_name = "RANK",
        allow_negative_numbers = true,
        requires = "base"
    )]
    pub lora: Option<usize>,
    /// How strongly the adapter counts: alpha / rank [default: twice the rank]
    #[arg(
        long,
        value_name = "X",
        requires = "lora",
        allow_negative_numbers = true
    )]
    pub lora_alpha: Option<f64>,
    /// Layers that the adapter changes, such as q_proj,v_proj [default: all linear layers]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "lora")]
    pub lora_targets: Vec<String>,
    /// Sequences of a batch
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub batch: usize,
    /// Batches of a step
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub accumulate: usize,
    /// Tokens of a sequence
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub length: usize,
    /// Largest learning rate
    #[arg(long, value_name = "X", default_value_t = 1e-3)]
    pub rate: f64,
    /// Steps until it is reached [default: a twentieth of all, at most 200]
    #[arg(long, value_name = "N")]
    pub warm_up: Option<u64>,
    /// Which rule moves the parameters
    #[arg(long, value_enum, default_value_t = TrainOptimiser::Adamw)]
    pub optimiser: TrainOptimiser,
    /// Share of matrices that is taken away at each step, times the learning rate
    #[arg(long, value_name = "X", default_value_t = 0.1)]
    pub weight_decay: f32,
    /// Decay of averaged weights, which are evaluated and kept [default: none]
    #[arg(long, value_name = "X")]
    pub ema: Option<f64>,
    /// How products are computed
    #[arg(long, value_enum, default_value_t = TrainCompute::F32)]
    pub compute: TrainCompute,
    /// Most tokens of a vocabulary that is made from the data
    #[arg(long, value_name = "N", default_value_t = 4096)]
    pub vocab: usize,
    /// Width of a model from nothing
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub width: usize,
    /// Layers of a model from nothing
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub layers: usize,
    /// Attention heads of a model from nothing
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub heads: usize,
    /// Share of documents that is kept for evaluation
    #[arg(long, value_name = "X", default_value_t = 0.02)]
    pub hold_out: f64,
    /// Documents that are shuffled at a time
    #[arg(long, value_name = "N", default_value_t = 10000)]
    pub shuffle: usize,
    /// The run
    #[command(flatten)]
    pub run: RunArgs,
}

/// `medley train music`
#[derive(Args, Debug)]
pub struct TrainMusicArgs {
    /// Folder of tunes, .abc and .mid; or one file
    #[arg(long, value_name = "DIR")]
    pub data: std::path::PathBuf,
    /// Sequences of a batch
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub batch: usize,
    /// Tokens of a sequence
    #[arg(long, value_name = "N", default_value_t = 384)]
    pub length: usize,
    /// Most tokens that the model shall ever read
    #[arg(long, value_name = "N", default_value_t = 768)]
    pub context: usize,
    /// Largest learning rate
    #[arg(long, value_name = "X", default_value_t = 2e-3)]
    pub rate: f64,
    /// Steps until it is reached [default: a twentieth of all, at most 200]
    #[arg(long, value_name = "N")]
    pub warm_up: Option<u64>,
    /// Share of matrices that is taken away at each step, times the learning rate
    #[arg(long, value_name = "X", default_value_t = 0.1)]
    pub weight_decay: f32,
    /// Decay of averaged weights, which are evaluated and kept [default: none]
    #[arg(long, value_name = "X")]
    pub ema: Option<f64>,
    /// How products are computed
    #[arg(long, value_enum, default_value_t = TrainCompute::F32)]
    pub compute: TrainCompute,
    /// Width of the model
    #[arg(long, value_name = "N", default_value_t = 192)]
    pub width: usize,
    /// Layers of the model
    #[arg(long, value_name = "N", default_value_t = 6)]
    pub layers: usize,
    /// Attention heads of the model
    #[arg(long, value_name = "N", default_value_t = 6)]
    pub heads: usize,
    /// Share of tunes that is kept for evaluation
    #[arg(long, value_name = "X", default_value_t = 0.05)]
    pub hold_out: f64,
    /// The run
    #[command(flatten)]
    pub run: RunArgs,
}

/// `medley train image`
#[derive(Args, Debug)]
pub struct TrainImageArgs {
    /// Pictures
    #[command(flatten)]
    pub pictures: PictureArgs,
    /// Model folder to go on from
    #[arg(long, value_name = "DIR")]
    pub base: Option<std::path::PathBuf>,
    /// What reads captions: a GGUF file of a sentence encoder, or `none` for pictures without prompts [default:
    /// the bundled icon-encoder]
    #[arg(long, value_name = "FILE")]
    pub encoder: Option<String>,
    /// Most tokens of a caption
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(2..=512))]
    pub text_tokens: u16,
    /// Share of captions that are left out, which guidance needs
    #[arg(long, value_name = "X", default_value_t = 0.1)]
    pub drop_captions: f64,
    /// What the network gives: flow, epsilon, v or sample
    #[arg(long, value_name = "NAME", default_value = "flow")]
    pub prediction: String,
    /// How noise levels of flow are drawn
    #[arg(long, value_enum, default_value_t = TrainTimes::LogitNormal)]
    pub times: TrainTimes,
    /// Mean of the normal number of logit-normal times: above 0 for more noise, which larger pictures want
    #[arg(
        long,
        value_name = "X",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    pub times_mean: f64,
    /// Noise schedule of epsilon, v and sample: linear, scaled_linear or cosine
    #[arg(long, value_name = "NAME", default_value = "cosine")]
    pub schedule: String,
    /// Largest signal-to-noise ratio that weighs an error of epsilon, v and sample [default: none]
    #[arg(long, value_name = "X")]
    pub min_snr: Option<f64>,
    /// Batches of a step
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub accumulate: usize,
    /// Largest learning rate
    #[arg(long, value_name = "X", default_value_t = 1e-3)]
    pub rate: f64,
    /// Steps until it is reached [default: a twentieth of all, at most 500]
    #[arg(long, value_name = "N")]
    pub warm_up: Option<u64>,
    /// Which rule moves the parameters
    #[arg(long, value_enum, default_value_t = TrainOptimiser::Adamw)]
    pub optimiser: TrainOptimiser,
    /// Share of matrices that is taken away at each step, times the learning rate
    #[arg(long, value_name = "X", default_value_t = 0.01)]
    pub weight_decay: f32,
    /// Decay of averaged weights, which are evaluated and kept; 0 for none
    #[arg(long, value_name = "X", default_value_t = 0.999)]
    pub ema: f64,
    /// How products are computed
    #[arg(long, value_enum, default_value_t = TrainCompute::F32)]
    pub compute: TrainCompute,
    /// Run blocks again for their gradients instead of keeping what they need: less memory, a third more work
    #[arg(long)]
    pub recompute: bool,
    /// Pixels along a side of a patch
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub patch: usize,
    /// Channels of the convolutions between pixels and tokens, outermost first, each level halving the sides until a patch
    /// is one pixel [default: none, a matrix]
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub stem: Vec<usize>,
    /// Pixels along a side of a block that the outermost convolutions take as one pixel, so that pictures N times as fine cost
    /// the same; a --base of single pixels becomes as fine [default: 1, or that of --base]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=8))]
    pub unshuffle: Option<u8>,
    /// Width of the model
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub width: usize,
    /// Blocks of the model
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub layers: usize,
    /// Attention heads of the model
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub heads: usize,
    /// Scale of the guidance in samples, and where a prompt comes without one
    #[arg(long, value_name = "G", default_value_t = 3.0)]
    pub guidance: f64,
    /// What samples are drawn of [default: captions of the data]
    #[arg(long = "prompt", value_name = "PROMPT")]
    pub prompts: Vec<String>,
    /// The run
    #[command(flatten)]
    pub run: RunArgs,
}

/// `medley train video`
#[derive(Args, Debug)]
pub struct TrainVideoArgs {
    /// Everything that pictures have
    #[command(flatten)]
    pub image: TrainImageArgs,
    /// Frames of a clip, taken evenly from the whole of each
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub frames: usize,
    /// Frames of a patch; 1 with --stem
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub frame_patch: usize,
    /// How frames see each other
    #[arg(long, value_enum, default_value_t = TrainTime::Factorised)]
    pub time: TrainTime,
    /// Clips that do not begin again where they end
    #[arg(long)]
    pub no_loop: bool,
    /// Share of the noise that the frames of a clip have in common, 0 to 1
    #[arg(long, value_name = "X", default_value_t = 0.5)]
    pub shared_noise: f64,
    /// Share of clips of which frames are given: what --init, continuing and drawing between frames need
    #[arg(long, value_name = "X", default_value_t = 0.3)]
    pub known: f64,
    /// Share of captions that say the frames a second, as `--fps` does
    #[arg(long, value_name = "X", default_value_t = 0.5)]
    pub rate_words: f64,
    /// Folder of captioned pictures that are learned beside the clips, so that the model knows more than moves in the data
    #[arg(long, value_name = "DIR")]
    pub stills: Option<std::path::PathBuf>,
    /// Pictures of a step, beside its clips
    #[arg(long, value_name = "N", default_value_t = 32, requires = "stills")]
    pub still_batch: usize,
    /// Clips of a step that are pictures set in motion (beating, bouncing, spinning …), with captions that say how
    #[arg(long, value_name = "N", default_value_t = 0, requires = "stills")]
    pub moved_batch: usize,
}

/// How the frames of a clip see each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TrainTime {
    /// Each place along the frames by itself: fast
    Factorised,
    /// All of a clip together
    Full,
}

/// `medley train gan`
#[derive(Args, Debug)]
pub struct TrainGanArgs {
    /// Pictures
    #[command(flatten)]
    pub pictures: PictureArgs,
    /// Folder of an earlier run whose networks this one goes on with
    #[arg(long, value_name = "DIR")]
    pub base: Option<std::path::PathBuf>,
    /// What reads captions: a GGUF file of a sentence encoder, or `none` for pictures without prompts [default:
    /// the bundled icon-encoder]
    #[arg(long, value_name = "FILE")]
    pub encoder: Option<String>,
    /// Most tokens of a caption
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(2..=512))]
    pub text_tokens: u16,
    /// Learning rate of both networks
    #[arg(long, value_name = "X", default_value_t = 2e-3)]
    pub rate: f64,
    /// What the two networks want
    #[arg(long, value_enum, default_value_t = TrainAdversarial::Logistic)]
    pub loss: TrainAdversarial,
    /// Weight of the penalty on the slope of the discriminator at real pictures (R1's gamma); 0 for none
    #[arg(long, value_name = "X", default_value_t = 0.1)]
    pub penalty: f64,
    /// Steps from one penalty to the next
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub penalty_every: u64,
    /// Probability of each kind of distortion that hides pictures from the discriminator [default: as it turns out to be
    /// needed]
    #[arg(long, value_name = "P")]
    pub distort: Option<f64>,
    /// Decay of averaged weights of the generator, which are evaluated and kept
    #[arg(long, value_name = "X", default_value_t = 0.999)]
    pub ema: f64,
    /// Channels of small states; those at the full size are a quarter
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub width: usize,
    /// Numbers that a picture is made from
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub latent: usize,
    /// Layers that turn them into a style
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub mapping_layers: usize,
    /// Truncation in samples, and where a prompt comes without one
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub truncation: f64,
    /// What samples are drawn of [default: captions of the data]
    #[arg(long = "prompt", value_name = "PROMPT")]
    pub prompts: Vec<String>,
    /// The run
    #[command(flatten)]
    pub run: RunArgs,
}

/// `medley train scorer`
#[derive(Args, Debug)]
pub struct TrainScorerArgs {
    /// Pictures, each told from all the others of its batch; what is held out is not what generators hold out
    #[command(flatten)]
    pub pictures: PictureArgs,
    /// Most tokens of the vocabulary, which is made of the captions
    #[arg(long, value_name = "N", default_value_t = 2048)]
    pub vocab: usize,
    /// Most tokens of a caption
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(2..=512))]
    pub text_tokens: u16,
    /// Channels of the picture tower's stages, each of which but the first halves the sides
    #[arg(
        long,
        value_name = "N,N",
        value_delimiter = ',',
        default_value = "32,64,128,192"
    )]
    pub widths: Vec<usize>,
    /// Residual blocks of each stage
    #[arg(
        long,
        value_name = "N,N",
        value_delimiter = ',',
        default_value = "0,1,1,1"
    )]
    pub blocks: Vec<usize>,
    /// Width of the text tower
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub text_width: usize,
    /// Layers of the text tower
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub text_layers: usize,
    /// Width of the space that both towers meet in
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub embed: usize,
    /// How much pictures are shifted, scaled, turned and made noisy in training, 0 to 2
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub augment: f64,
    /// Largest learning rate
    #[arg(long, value_name = "X", default_value_t = 1e-3)]
    pub rate: f64,
    /// Steps until it is reached [default: a twentieth of all, at most 200]
    #[arg(long, value_name = "N")]
    pub warm_up: Option<u64>,
    /// Share of matrices that is taken away at each step, times the learning rate
    #[arg(long, value_name = "X", default_value_t = 0.1)]
    pub weight_decay: f32,
    /// Decay of averaged weights, which are evaluated and kept; 0 for none
    #[arg(long, value_name = "X", default_value_t = 0.995)]
    pub ema: f64,
    /// How products are computed
    #[arg(long, value_enum, default_value_t = TrainCompute::F32)]
    pub compute: TrainCompute,
    /// The run
    #[command(flatten)]
    pub run: RunArgs,
}

/// `medley train upscaler`
#[derive(Args, Debug)]
pub struct TrainUpscalerArgs {
    /// Folder of pictures as they are to come out, metadata.jsonl, a table, or WebDataset archives
    #[arg(long, value_name = "DIR")]
    pub data: std::path::PathBuf,
    /// How much larger sides become: 2 or 4
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub scale: usize,
    /// Size that the large pictures are brought to
    #[arg(long, value_name = "WxH", value_parser = parse_size, default_value = "128x128")]
    pub size: [u32; 2],
    /// Side of the parts of large pictures that a step learns from
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub patch: usize,
    /// Largest deviation of noise on small pictures, of a range of 1
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    pub noise: f64,
    /// Weight of a discriminator's judgement beside the error of pixels; 0 for no discriminator
    #[arg(long, value_name = "W", default_value_t = 0.0)]
    pub adversarial: f64,
    /// Scorer whose view of pictures is to be met too: a name of the catalog, such as icon-scorer, or a folder that
    /// `medley train scorer` made [default: none]
    #[arg(long, value_name = "M")]
    pub perceptual: Option<String>,
    /// Weight of that scorer's view beside the error of pixels
    #[arg(long, value_name = "W", default_value_t = 0.1, requires = "perceptual")]
    pub perceptual_weight: f64,
    /// Weight of the penalty on the discriminator's slope (R1's gamma)
    #[arg(long, value_name = "X", default_value_t = 0.1)]
    pub penalty: f64,
    /// Channels of the states
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub features: usize,
    /// Blocks
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub blocks: usize,
    /// Channels that each convolution of a block adds
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub growth: usize,
    /// Folder of an upscaler of the same shape to go on from
    #[arg(long, value_name = "DIR")]
    pub base: Option<std::path::PathBuf>,
    /// Parts of a batch
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub batch: usize,
    /// Largest learning rate
    #[arg(long, value_name = "X", default_value_t = 1e-3)]
    pub rate: f64,
    /// Steps until it is reached [default: a twentieth of all, at most 500]
    #[arg(long, value_name = "N")]
    pub warm_up: Option<u64>,
    /// Decay of averaged weights, which are evaluated and kept
    #[arg(long, value_name = "X", default_value_t = 0.999)]
    pub ema: f64,
    /// How often a picture is mirrored, 0 to 1
    #[arg(long, value_name = "X", default_value_t = 0.5)]
    pub flip: f64,
    /// Share of groups of pictures that is kept for evaluation
    #[arg(long, value_name = "X", default_value_t = 0.02)]
    pub hold_out: f64,
    /// Most pictures of a group in an epoch, each epoch others [default: all]
    #[arg(long, value_name = "N")]
    pub per_group: Option<usize>,
    /// Pictures that are shuffled at a time
    #[arg(long, value_name = "N", default_value_t = 100000)]
    pub shuffle: usize,
    /// The run
    #[command(flatten)]
    pub run: RunArgs,
}

/// What two networks that are trained against each other want.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TrainAdversarial {
    /// The non-saturating logistic loss
    Logistic,
    /// Scores beyond 1 and -1
    Hinge,
}

/// How noise levels of flow are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TrainTimes {
    /// More of the middle ones
    LogitNormal,
    /// All alike
    Uniform,
}

/// Pictures to train on.
#[derive(Args, Debug)]
pub struct PictureArgs {
    /// Folder of pictures, or clips to make clips, with captions in sidecar files or their names, metadata.jsonl, a table, or
    /// WebDataset archives
    #[arg(long, value_name = "DIR")]
    pub data: std::path::PathBuf,
    /// Size that pictures are brought to
    #[arg(long, value_name = "WxH", value_parser = parse_size, default_value = "32x32")]
    pub size: [u32; 2],
    /// How other proportions are met
    #[arg(long, value_enum, default_value_t = TrainCrop::Centre)]
    pub crop: TrainCrop,
    /// How often a picture is mirrored, 0 to 1
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    pub flip: f64,
    /// Pictures of a batch
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub batch: usize,
    /// Share of groups of pictures that is kept for evaluation
    #[arg(long, value_name = "X", default_value_t = 0.02)]
    pub hold_out: f64,
    /// Most pictures of a group in an epoch, each epoch others [default: all]
    #[arg(long, value_name = "N")]
    pub per_group: Option<usize>,
    /// Pictures that are shuffled at a time
    #[arg(long, value_name = "N", default_value_t = 100000)]
    pub shuffle: usize,
}

/// How other proportions are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TrainCrop {
    /// What stands over is cut off on both sides
    Centre,
    /// What stands over is cut off, each time elsewhere
    Random,
    /// The picture lies in the middle of white
    Fit,
}
