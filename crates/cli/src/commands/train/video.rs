//! `medley train video`

use medley_engine::train::image::{ClipSettings, Time};

use super::image::{Data, learn, open};
use crate::args::Global;
use crate::output::{Failure, Outcome};
use crate::train_args::{TrainTime, TrainVideoArgs};

/// `medley train video`
pub fn run(args: &TrainVideoArgs, global: &Global) -> Outcome {
    if args.image.prediction != "flow" {
        return Err(Failure::usage("--prediction: clips are learned as flow"));
    }
    let stills = match &args.stills {
        Some(folder) => Some(open(
            folder,
            args.image.encoder.as_deref() != Some("none"),
            global,
        )?),
        None => None,
    };
    let clips = ClipSettings {
        frames: args.frames,
        frame_patch: args.frame_patch,
        time: match args.time {
            TrainTime::Factorised => Time::Factorised,
            TrainTime::Full => Time::Full,
        },
        loops: !args.no_loop,
        shared_noise: args.shared_noise,
        known: args.known,
        rate_words: args.rate_words,
        pictures: stills.as_ref().map_or(0, |_| args.still_batch),
        moved: args.moved_batch,
    };
    let data = Data {
        clips: Some(clips),
        stills,
    };
    learn(&args.image, data, global)
}
