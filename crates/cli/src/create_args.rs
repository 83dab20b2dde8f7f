//! Flags of `medley create`.

use std::path::PathBuf;

use clap::Args;

/// `medley create`
#[derive(Args, Debug, Clone)]
pub struct CreateArgs {
    /// What it is about: a name, what it is, and how it is to sound; left out, the folder of -o goes on
    pub brief: Option<String>,
    /// The folder of the works [default: words of the name]
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Which works are made: campaign, product, social, lesson, story, one of your own, or a file [default: as the brief says, or campaign]
    #[arg(long, value_name = "K")]
    pub kit: Option<String>,
    /// Put the works into DIR.zip as well
    #[arg(long)]
    pub zip: bool,
    /// Seed of all draws [default: a new one each time]
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Write plan.json and make nothing, so that it can be edited first
    #[arg(long)]
    pub plan_only: bool,
    /// Print a kit, to be copied and changed, and make nothing
    #[arg(long, value_name = "K", conflicts_with_all = ["brief", "output", "plan_only"])]
    pub print_kit: Option<String>,
    /// The language model
    #[arg(long, value_name = "M")]
    pub text_model: Option<String>,
    /// The model of pictures
    #[arg(long, value_name = "M")]
    pub image_model: Option<String>,
    /// The model of clips
    #[arg(long, value_name = "M")]
    pub video_model: Option<String>,
    /// The model of music
    #[arg(long, value_name = "M")]
    pub music_model: Option<String>,
    /// The model of voices
    #[arg(long, value_name = "M")]
    pub speech_model: Option<String>,
}
