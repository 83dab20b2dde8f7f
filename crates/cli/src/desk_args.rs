//! Flags of `medley desk`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `medley desk`
#[derive(Subcommand, Debug, Clone)]
pub enum DeskCommand {
    /// Make a desk, or set up one anew, and print what puts it into a page
    Add(Box<DeskAddArgs>),
    /// List the desks
    List,
    /// Take a desk away; what was asked there goes too
    Remove {
        /// Its name
        name: String,
    },
    /// Print what was asked at a desk and what was said
    Log {
        /// Its name
        name: String,
        /// Write to this file instead, one JSON object a line
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Forget all of it
        #[arg(long)]
        forget: bool,
    },
    /// Print the questions that had no answer, those about the same together
    Unanswered {
        /// The desk's name
        name: String,
    },
}

/// `medley desk add`
#[derive(Args, Debug, Clone)]
pub struct DeskAddArgs {
    /// Its name in addresses: small letters, digits and dashes
    pub name: String,
    /// The collection that it answers from [default: the one of its name]
    #[arg(long, short = 'C', value_name = "C")]
    pub collection: Option<String>,
    /// A site that may show it, such as `https://shop.example`; may be given several times
    #[arg(long, value_name = "ORIGIN")]
    pub origin: Vec<String>,
    /// What visitors call it
    #[arg(long, value_name = "TEXT", default_value = "Help")]
    pub title: String,
    /// What it says first
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub greeting: String,
    /// What it says where the documents do not answer [default: so, in the visitor's language]
    #[arg(long, value_name = "TEXT")]
    pub unknown: Option<String>,
    /// The colour of its buttons
    #[arg(long, value_name = "#RRGGBB", default_value = "#1f5f8b")]
    pub colour: String,
    /// The language of its buttons and notes: en, de, fr or es [default: the page's]
    #[arg(long, value_name = "L")]
    pub language: Option<String>,
    /// The mail address that questions without an answer are handed over to
    #[arg(long, value_name = "ADDRESS")]
    pub mail: Option<String>,
    /// The address that they are posted to as JSON
    #[arg(long, value_name = "URL")]
    pub webhook: Option<String>,
    /// A language model that phrases answers [default: none, what was found is quoted]
    #[arg(long, value_name = "M")]
    pub model: Option<String>,
    /// How that model shall sound
    #[arg(long, value_name = "TEXT")]
    pub tone: Option<String>,
    /// Questions of one visitor in a minute
    #[arg(long, value_name = "N", default_value_t = medley_engine::desk::RATE)]
    pub rate: u32,
    /// How sure an answer must be, from 0 to 1
    #[arg(long, value_name = "X", default_value_t = medley_engine::documents::answer::SURE)]
    pub sure: f64,
    /// Days that questions are kept; 0 keeps none
    #[arg(long, value_name = "N", default_value_t = medley_engine::desk::KEPT)]
    pub days: u32,
    /// Keep mail addresses and numbers of visitors as they were written
    #[arg(long)]
    pub no_mask: bool,
}
