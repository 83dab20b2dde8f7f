//! Flags of `medley docs` and `medley ask`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use medley_engine::documents::answer::SURE;
use medley_engine::documents::{USUAL, USUAL_ENCODER};

/// `medley docs`
#[derive(Subcommand, Debug, Clone)]
pub enum DocsCommand {
    /// Read files and folders into a collection; what is there already is read again where it has changed
    Add(DocsAddArgs),
    /// List collections, or the documents of one
    List {
        /// The collection [default: all, without their documents]
        #[arg(long, short = 'C', value_name = "C")]
        collection: Option<String>,
    },
    /// Take documents out of a collection
    Remove(DocsRemoveArgs),
}

/// `medley docs add`
#[derive(Args, Debug, Clone)]
pub struct DocsAddArgs {
    /// Files and folders: txt, md, html, pdf, docx, csv and source code
    #[arg(required = true, value_name = "DIR|FILE")]
    pub paths: Vec<PathBuf>,
    /// The collection to put them in
    #[arg(long, short = 'C', value_name = "C", default_value = USUAL)]
    pub collection: String,
    /// The model that makes the vectors of a new collection
    #[arg(long, value_name = "M", default_value = USUAL_ENCODER)]
    pub model: String,
    /// What is said of these documents, for searches to be narrowed by; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub attribute: Vec<String>,
    /// Stay, and bring the collection up to date whenever something changes
    #[arg(long)]
    pub watch: bool,
}

/// `medley docs remove`
#[derive(Args, Debug, Clone)]
pub struct DocsRemoveArgs {
    /// Documents by name, path or id
    #[arg(required_unless_present = "all", value_name = "NAME")]
    pub names: Vec<String>,
    /// The collection that they are in
    #[arg(long, short = 'C', value_name = "C", default_value = USUAL)]
    pub collection: String,
    /// The whole collection
    #[arg(long, conflicts_with = "names")]
    pub all: bool,
}

/// `medley ask`
#[derive(Args, Debug, Clone)]
pub struct AskArgs {
    /// The question; - reads one per line from standard input
    pub question: String,
    /// The collection that is asked
    #[arg(long, short = 'C', value_name = "C", default_value = USUAL)]
    pub collection: String,
    /// A language model that phrases what was found; what the documents do not bear out is left out [default: none, what
    /// was found is quoted]
    #[arg(long, value_name = "M")]
    pub model: Option<String>,
    /// How sure an answer must be, from 0 to 1
    #[arg(long, value_name = "X", default_value_t = SURE)]
    pub sure: f64,
    /// Only documents with this attribute; may be given several times
    #[arg(long = "where", value_name = "KEY=VALUE")]
    pub narrow: Vec<String>,
}
