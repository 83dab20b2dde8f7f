//! The command line: flags and their meanings. The reference in docs/cli.md is generated from this file.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use medley_types::LatentShare;

/// One program for text, code, pictures, sound and film, on this machine.
#[derive(Parser, Debug)]
#[command(
    name = "medley",
    version,
    arg_required_else_help = true,
    infer_subcommands = false
)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
    /// Settings of every command
    #[command(flatten)]
    pub global: Global,
}

/// Settings of every command.
#[derive(Args, Debug, Clone)]
pub struct Global {
    /// Print one JSON object on stdout, all else on stderr
    #[arg(long, global = true)]
    pub json: bool,
    /// Threads to compute with [default: one per core]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Where to compute: cpu, cuda:N or metal
    #[arg(long, global = true, value_name = "DEVICE", default_value = "cpu")]
    pub device: String,
    /// No progress and no notes on stderr
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Leave prompt and recipe out of written files
    #[arg(long, global = true)]
    pub no_recipe: bool,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Write text from a prompt
    Text(TextArgs),
    /// Make every medium from one brief: texts, pictures, music, a voice, a film and a page
    Create(crate::create_args::CreateArgs),
    /// Talk with a model
    Chat(ChatArgs),
    /// Write, explain, fix or test code
    Code(crate::code_args::CodeArgs),
    /// Draw pictures from a prompt
    Image(ImageArgs),
    /// Write music from a prompt, or go on with a tune
    Music(crate::sound_args::MusicArgs),
    /// Say a text
    Speech(crate::sound_args::SpeechArgs),
    /// Make a short film from a prompt, a picture, a clip or a timeline
    Video(crate::video_args::VideoArgs),
    /// Write down what is said in a sound
    Transcribe(crate::sound_args::TranscribeArgs),
    /// Turn texts into vectors
    Embed(EmbedArgs),
    /// Read your own documents, for questions to be answered out of them
    #[command(subcommand)]
    Docs(crate::docs_args::DocsCommand),
    /// Answer a question out of your own documents, and say where the answer stands
    Ask(crate::docs_args::AskArgs),
    /// Make support desks that answer visitors out of a collection, and see what was asked there
    #[command(subcommand)]
    Desk(crate::desk_args::DeskCommand),
    /// Read one document from standard input, in a process of its own
    #[command(hide = true)]
    ReadDocument {
        /// What it is written in
        format: String,
    },
    /// Serve models over HTTP, for programs that speak OpenAI's API
    Serve(ServeArgs),
    /// Make, list or remove the keys that clients of `medley serve` must bring
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Run the recipe inside a file again
    Remake(RemakeArgs),
    /// Say what a file is and how it was made
    Inspect(InspectArgs),
    /// List, fetch, show, convert, quantise or remove models
    #[command(subcommand)]
    Models(crate::models_args::ModelsCommand),
    /// Train a model on your own data
    #[command(subcommand)]
    Train(crate::train_args::TrainCommand),
    /// Measure speed or perplexity
    #[command(subcommand)]
    Bench(crate::bench_args::BenchCommand),
    /// Look at this machine: processor, memory, models, what is missing
    Doctor,
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
    /// Print the reference of the command line as Markdown
    #[command(hide = true)]
    HelpMarkdown,
    /// A prompt without a command
    #[command(external_subcommand)]
    Prompt(Vec<String>),
}

/// How tokens are drawn.
#[derive(Args, Debug, Clone)]
pub struct SamplingArgs {
    /// Most tokens to write [default: to the end of the context]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_tokens: Option<u32>,
    /// 0 takes the likeliest token each time [default: 0.8; 0.2 for tasks that keep to their material]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub temperature: Option<f32>,
    /// Only the K likeliest tokens; 0 for all
    #[arg(
        long,
        value_name = "K",
        allow_negative_numbers = true,
        default_value_t = 40
    )]
    pub top_k: u32,
    /// Only the likeliest tokens that together have this probability
    #[arg(
        long,
        value_name = "P",
        allow_negative_numbers = true,
        default_value_t = 0.95
    )]
    pub top_p: f32,
    /// Only tokens with at least this share of the likeliest one's probability
    #[arg(
        long,
        value_name = "P",
        allow_negative_numbers = true,
        default_value_t = 0.05
    )]
    pub min_p: f32,
    /// Locally typical sampling; 1 switches it off
    #[arg(
        long,
        value_name = "P",
        allow_negative_numbers = true,
        default_value_t = 1.0
    )]
    pub typical_p: f32,
    /// Seed of the draw [default: a new one each time]
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// A string that ends the text; may be given several times
    #[arg(long, value_name = "S")]
    pub stop: Vec<String>,
    /// Divides the logits of tokens that occurred lately; 1 switches it off
    #[arg(
        long,
        value_name = "X",
        allow_negative_numbers = true,
        default_value_t = 1.0
    )]
    pub repeat_penalty: f32,
    /// Tokens that the penalties look back on
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        default_value_t = 64
    )]
    pub repeat_last_n: u32,
    /// Taken off a logit for each occurrence of its token
    #[arg(
        long,
        value_name = "X",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    pub frequency_penalty: f32,
    /// Taken off a logit once if its token occurred
    #[arg(
        long,
        value_name = "X",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    pub presence_penalty: f32,
    /// Strength of DRY, the penalty on repeated phrases; 0 switches it off [default: 0; 0.8 for some tasks]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub dry: Option<f32>,
    /// ID=BIAS: added to the logit of a token; may be given several times
    #[arg(long, value_name = "ID=BIAS", value_parser = parse_bias, allow_hyphen_values = true)]
    pub logit_bias: Vec<(u32, f32)>,
}

/// Guesses at the next tokens: they change how fast a text comes, never the text.
#[derive(Args, Debug, Clone)]
pub struct SpeculationArgs {
    /// Where guesses at the next tokens come from (auto, off or lookup); they make some texts faster and change none
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Speculate::Auto)]
    pub speculate: Speculate,
    /// A small model with the same vocabulary that guesses: name in the catalog, file or folder
    #[arg(long, value_name = "M")]
    pub draft_model: Option<String>,
}

/// Low-rank adapters on a language model.
#[derive(Args, Debug, Clone)]
pub struct AdapterArgs {
    /// An adapter on the model's layers: a folder of PEFT, its safetensors file or a GGUF file; may be given several times
    #[arg(long, value_name = "FILE[:WEIGHT]")]
    pub lora: Vec<String>,
}

/// Where guesses come from.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speculate {
    /// Look-up where parts of the prompt come again: code --fix, and the tasks summarize, rewrite, correct and faq
    Auto,
    /// None are made
    Off,
    /// From what followed the last tokens where they stood before
    Lookup,
}

fn parse_bias(text: &str) -> Result<(u32, f32), String> {
    let wrong = || format!("{text:?} is not of the form ID=BIAS, such as 42=-1.5");
    let (id, bias) = text.split_once('=').ok_or_else(wrong)?;
    Ok((
        id.trim().parse().map_err(|_| wrong())?,
        bias.trim().parse().map_err(|_| wrong())?,
    ))
}

/// `medley text`
#[derive(Args, Debug, Clone)]
pub struct TextArgs {
    /// The prompt; - reads it from standard input. With --file, what to mind about the files
    #[arg(required_unless_present = "files")]
    pub prompt: Option<String>,
    /// A document to work on (txt, md, html, pdf, docx, csv, code); may be given several times
    #[arg(long = "file", value_name = "F", conflicts_with = "raw")]
    pub files: Vec<PathBuf>,
    /// Name in the catalog, file or folder
    #[arg(long, value_name = "M")]
    pub model: Option<String>,
    /// What the model is told before the prompt
    #[arg(long, value_name = "S", conflicts_with = "raw")]
    pub system: Option<String>,
    /// What to do with the prompt or the files: answer, write, summarize, translate:LANGUAGE, rewrite, rewrite:STYLE, headline, email,
    /// post, faq, correct, explain, keywords, classify:LABEL,LABEL or reply. What is longer than the context is worked
    /// through in parts
    #[arg(long, value_name = "T", conflicts_with = "raw")]
    pub task: Option<String>,
    /// How tokens are drawn
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Guesses at the next tokens
    #[command(flatten)]
    pub speculation: SpeculationArgs,
    /// Adapters
    #[command(flatten)]
    pub adapters: AdapterArgs,
    /// The text is JSON that this schema allows
    #[arg(long, value_name = "FILE", group = "constraint")]
    pub json_schema: Option<PathBuf>,
    /// The whole text matches this regular expression
    #[arg(long, value_name = "R", group = "constraint")]
    pub regex: Option<String>,
    /// The text follows this grammar (Lark or GBNF)
    #[arg(long, value_name = "FILE", group = "constraint")]
    pub grammar: Option<PathBuf>,
    /// Report each token's log-probability and N alternatives (with --json)
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(0..=1000), requires = "json")]
    pub logprobs: Option<u16>,
    /// No chat template: go on with the prompt as it stands
    #[arg(long)]
    pub raw: bool,
    /// Most tokens of prompt and text together [default: the model's limit]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub context: Option<usize>,
    /// Element type of the KV cache
    #[arg(long, value_enum, default_value_t = Kv::F16)]
    pub kv: Kv,
    /// Write to this file; .txt, .md or .json
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Element types of a KV cache.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum Kv {
    /// Single precision
    F32,
    /// Half precision
    F16,
    /// 8 bits with a scale for every 32 values
    Q8,
}

/// `medley chat`
#[derive(Args, Debug, Clone)]
pub struct ChatArgs {
    /// Name in the catalog, file or folder
    #[arg(long, value_name = "M")]
    pub model: Option<String>,
    /// What the model is told before the talk
    #[arg(long, value_name = "S")]
    pub system: Option<String>,
    /// How tokens are drawn
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Guesses at the next tokens
    #[command(flatten)]
    pub speculation: SpeculationArgs,
    /// Adapters
    #[command(flatten)]
    pub adapters: AdapterArgs,
}

/// `medley image`
#[derive(Args, Debug, Clone)]
pub struct ImageArgs {
    /// What is to be seen; - reads it from standard input
    pub prompt: Option<String>,
    /// Name in the catalog, file or folder [default: icons]
    #[arg(long, value_name = "M")]
    pub model: Option<String>,
    /// Size of the picture in pixels; with --upscale, before it is enlarged [default: the model's]
    #[arg(long, value_name = "WxH", value_parser = parse_size, allow_hyphen_values = true)]
    pub size: Option<[u32; 2]>,
    /// Steps of the sampler [default: the model's]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub steps: Option<u32>,
    /// How strongly the prompt counts; 1 is the model alone [default: the model's]
    #[arg(long, value_name = "G", allow_negative_numbers = true)]
    pub guidance: Option<f64>,
    /// How the steps are made: flow_euler, flow_heun, dpmpp_2m, unipc and others [default: the model's]
    #[arg(long, value_name = "NAME")]
    pub sampler: Option<String>,
    /// What is not to be seen
    #[arg(long, value_name = "P")]
    pub negative: Option<String>,
    /// Seed of the first picture [default: a new one each time]
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Pictures to draw, with seeds S, S+1 …: name-1.png, name-2.png …
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        default_value_t = 1
    )]
    pub count: u32,
    /// Put them side by side into one file
    #[arg(long)]
    pub grid: bool,
    /// A picture to start from
    #[arg(long, value_name = "FILE")]
    pub init: Option<PathBuf>,
    /// How much of it is made anew, above 0 to 1 [default: 0.6; with --mask 1]
    #[arg(
        long,
        value_name = "X",
        requires = "init",
        allow_negative_numbers = true
    )]
    pub strength: Option<f64>,
    /// A picture of the same size: only what is white in it is painted anew
    #[arg(long, value_name = "FILE", requires = "init")]
    pub mask: Option<PathBuf>,
    /// An adapter for the model's weights; may be given several times
    #[arg(long, value_name = "FILE[:WEIGHT]")]
    pub lora: Vec<String>,
    /// Make the picture 2, 4, 8 or 16 times as large; 1 leaves it as it was drawn [default: the model's]
    #[arg(long, value_name = "2|4|8|16", allow_negative_numbers = true)]
    pub upscale: Option<u32>,
    /// Truncation of a GAN: 1 as trained, 0 its average picture [default: the model's]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub truncation: Option<f64>,
    /// Frames of a walk through a GAN's pictures, as GIF or animated PNG
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub walk: Option<u32>,
    /// Draw what lies between the pictures of these seeds of a GAN, such as 1:0.7 2:0.3
    #[arg(long, value_name = "SEED:WEIGHT", num_args = 1.., value_parser = parse_share)]
    pub mix: Vec<LatentShare>,
    /// Write what is seen after every N steps to name-step-N.png
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub previews: Option<u32>,
    /// Write to this file; .png, .jpg, .webp or .gif [default: words of the prompt and the seed, .png]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

pub fn parse_size(text: &str) -> Result<[u32; 2], String> {
    let wrong = || format!("{text:?} is not of the form WxH, such as 64x64");
    let (width, height) = text.split_once(['x', 'X']).ok_or_else(wrong)?;
    let side = |text: &str| text.trim().parse().map_err(|_| wrong());
    Ok([side(width)?, side(height)?])
}

/// A seed and how much of it, 1 without a number.
fn parse_share(text: &str) -> Result<LatentShare, String> {
    let (seed, weight) = text.split_once(':').unwrap_or((text, "1"));
    let wrong = || format!("{text:?} is not of the form SEED:WEIGHT, such as 7:0.5");
    Ok(LatentShare {
        seed: seed.parse().map_err(|_| wrong())?,
        weight: weight.parse().map_err(|_| wrong())?,
    })
}

/// `medley embed`
#[derive(Args, Debug, Clone)]
pub struct EmbedArgs {
    /// The text; - reads one text per line from standard input
    #[arg(default_value = "-")]
    pub text: String,
    /// Name in the catalog, or folder
    #[arg(long, value_name = "M", default_value = "minilm")]
    pub model: String,
}

/// `medley serve`
#[derive(Args, Debug, Clone)]
pub struct ServeArgs {
    /// Address to listen on; 0.0.0.0 lets other machines in
    #[arg(long, value_name = "H", default_value = "127.0.0.1")]
    pub host: std::net::IpAddr,
    /// Port to listen on; 0 takes a free one
    #[arg(long, value_name = "P", default_value_t = 8080)]
    pub port: u16,
    /// A key that requests must bring; may be given several times [default: $MEDLEY_API_KEY, or none is needed]
    #[arg(long, value_name = "K")]
    pub api_key: Vec<String>,
    /// Memory for all models together, such as 8G or 500M [default: three quarters of what is free]
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub memory: Option<u64>,
    /// A model to serve beside those that are here: name in the catalog, file or folder; it is loaded at once [default: smollm2-135m]
    #[arg(long, value_name = "M")]
    pub model: Option<String>,
    /// What is written to stderr: off, error, warn, info (every request) or debug
    #[arg(long, value_name = "LEVEL", default_value = "warn", value_parser = ["off", "error", "warn", "info", "debug"])]
    pub log: String,
    /// Write it as one JSON object a line
    #[arg(long)]
    pub log_json: bool,
}

/// `medley keys`
#[derive(Subcommand, Debug)]
pub enum KeysCommand {
    /// Make a key and print it, this once; from the first one on, requests need one
    Add {
        /// Whose it is
        name: String,
        /// What it lets do: generate, jobs, library, models, documents or metrics; may be given several times [default: all]
        #[arg(long, value_name = "SCOPE")]
        scope: Vec<String>,
        /// Requests that it lets through in a minute [default: any number]
        #[arg(long, value_name = "N")]
        requests_per_minute: Option<u32>,
        /// Jobs of it that may be on their way at once [default: 1000]
        #[arg(long, value_name = "N")]
        jobs: Option<usize>,
    },
    /// List the keys: whose they are, and what they let do
    List,
    /// Remove a key; a server that runs lets it in no more
    Remove {
        /// Whose it is
        name: String,
    },
}

/// A number of bytes with K, M, G or T behind it, of 1024 each.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return Err("write a number of bytes, or one with K, M, G or T behind it".into()),
    };
    let wrong = |_| "write a number of bytes, or one with K, M, G or T behind it".to_owned();
    let number: u64 = digits.parse().map_err(wrong)?;
    match number.checked_mul(1 << unit) {
        Some(bytes) if bytes > 0 => Ok(bytes),
        _ => Err("that many bytes cannot be".into()),
    }
}

/// `medley remake`
#[derive(Args, Debug, Clone)]
pub struct RemakeArgs {
    /// A file that medley wrote
    pub file: PathBuf,
    /// The model, where the recipe's is a folder that is not here
    #[arg(long, value_name = "M")]
    pub model: Option<String>,
    /// The picture, clip or tune that it was started from
    #[arg(long, value_name = "FILE")]
    pub init: Option<PathBuf>,
    /// The sound that goes with the film
    #[arg(long, value_name = "FILE")]
    pub sound: Option<PathBuf>,
    /// The SoundFont that played it
    #[arg(long, value_name = "FILE")]
    pub soundfont: Option<PathBuf>,
    /// The mask that it was painted under
    #[arg(long, value_name = "FILE")]
    pub mask: Option<PathBuf>,
    /// An adapter that it was made with; may be given several times
    #[arg(long, value_name = "FILE")]
    pub lora: Vec<PathBuf>,
    /// A file that a long task was done over; may be given several times
    #[arg(long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Write to this file [default: texts to standard output, pictures and sound to name-remade in the current folder]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `medley inspect`
#[derive(Args, Debug, Clone)]
pub struct InspectArgs {
    /// A work or a model file
    pub file: PathBuf,
}

/// Whose training is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TrainedModel {
    /// A decoder of 6 layers of 384, 16 sequences of 256 tokens
    Decoder,
    /// A diffusion transformer of 8 layers of 256, 32 pictures of 32 pixels
    Transformer,
}

/// How training multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TrainCompute {
    /// 32-bit numbers throughout
    F32,
    /// Factors of products rounded to bf16; weights, sums and activations are 32-bit
    Bf16,
}
