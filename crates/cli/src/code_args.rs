//! Flags of `medley code`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::args::{AdapterArgs, SamplingArgs, SpeculationArgs};

/// `medley code`
#[derive(Args, Debug, Clone)]
pub struct CodeArgs {
    /// What to do; - reads it from standard input
    pub task: Option<String>,
    /// A file to work on; may be given several times. With --repo, what is shown first; a folder is all that is below it, and
    /// alone means --repo
    #[arg(long = "file", value_name = "F")]
    pub files: Vec<PathBuf>,
    /// Folder of a program: the files that the task is about are found in it, and changes are printed as one unified diff
    #[arg(long, value_name = "DIR")]
    pub repo: Option<PathBuf>,
    /// Find and mend what is wrong: prints a unified diff
    #[arg(long, group = "aim")]
    pub fix: bool,
    /// Explain what the code does; with --repo, with the places
    #[arg(long, group = "aim")]
    pub explain: bool,
    /// Write tests for the code
    #[arg(long, group = "aim")]
    pub tests: bool,
    /// Say what is wrong with the code; with --repo, with the places
    #[arg(long, group = "aim")]
    pub review: bool,
    /// Write the change of --fix, or any change of --repo, into the files
    #[arg(long)]
    pub apply: bool,
    /// Write over changes that are not committed
    #[arg(long, requires = "apply")]
    pub force: bool,
    /// Print the map of the folder, the files that the task is about first, and ask no model
    #[arg(long, conflicts_with_all = ["aim", "apply"])]
    pub map: bool,
    /// Who chooses the files of --repo that are shown
    #[arg(long, value_enum, default_value = "rank")]
    pub choose: Choose,
    /// What a model is asked about at once [default: definition for models under a billion parameters, else files]
    #[arg(long, value_enum)]
    pub scope: Option<Scope>,
    /// Name in the catalog, file or folder [default: smollm2-135m]
    #[arg(long, value_name = "M")]
    pub model: Option<String>,
    /// Most tokens of prompt and text together [default: the model's limit]
    #[arg(long, value_name = "N")]
    pub context: Option<usize>,
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

/// Who chooses the files that a model is shown.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choose {
    /// The words and names of the task
    Rank,
    /// The model, out of the map
    Model,
}

/// What a model is asked about at once.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One function or type after another, each alone
    Definition,
    /// All files that are shown
    Files,
}
