//! Spoken words, music and clips, as the thread that computes makes them.

use std::sync::Arc;
use std::time::Instant;

use medley_media::Audio;
use medley_types::{Event, MusicRequest, SpeechRequest, SpeechTimings, SpeechWork, VideoRequest};

use crate::music::{MusicGenerator, MusicInputs};
use crate::speech::{Level, Piece, Speech, SpeechGenerator};
use crate::video::{VideoGenerator, VideoInputs};
use crate::{CancelToken, PipelineError, Run};

/// Told each sentence as soon as it is there, on the thread that computes.
pub type Hear = Box<dyn FnMut(Piece) + Send>;

/// A text to be said.
pub struct Speaking {
    /// The voice, out of a model that [`Compute::load`](super::Compute::load) gave.
    pub voice: Arc<dyn SpeechGenerator>,
    /// What [`complete`](SpeechGenerator::complete) gave.
    pub request: SpeechRequest,
    /// Who hears it sentence by sentence; without, all of it comes at the end.
    pub heard: Option<Hear>,
    /// Told what happens, on the thread that computes.
    pub events: Box<dyn FnMut(Event) + Send>,
    /// Ends it.
    pub cancel: CancelToken,
}

/// Music to be made.
pub struct Composing {
    /// The model, as [`Compute::load`](super::Compute::load) gave it.
    pub generator: Arc<dyn MusicGenerator>,
    /// What [`complete`](crate::music::complete) gave.
    pub request: MusicRequest,
    /// What it starts from.
    pub inputs: MusicInputs,
    /// Told what happens, on the thread that computes.
    pub events: Box<dyn FnMut(Event) + Send>,
    /// Ends it.
    pub cancel: CancelToken,
}

/// A clip to be made.
pub struct Filming {
    /// The model, as [`Compute::load`](super::Compute::load) gave it.
    pub generator: Arc<dyn VideoGenerator>,
    /// What [`complete`](crate::video::complete) gave.
    pub request: VideoRequest,
    /// What it starts from.
    pub inputs: VideoInputs,
    /// Told what happens, on the thread that computes.
    pub events: Box<dyn FnMut(Event) + Send>,
    /// Ends it.
    pub cancel: CancelToken,
}

/// Says a completed request: all of it, or sentence by sentence, as loud as the first sentence needs it.
pub(super) fn say(
    voice: &dyn SpeechGenerator,
    request: &SpeechRequest,
    heard: Option<Hear>,
    run: &mut Run,
) -> Result<Speech, PipelineError> {
    let Some(mut heard) = heard else {
        return voice.generate(request, run);
    };
    let start = Instant::now();
    let rate = voice.sample_rate();
    let mut level = Level::new(rate, request.loudness);
    let pause = vec![0.0; (request.pause * f64::from(rate)) as usize];
    let mut timings = SpeechTimings::default();
    let mut work = SpeechWork {
        sample_rate: rate,
        ..SpeechWork::default()
    };
    let mut moments = 0;
    voice.stream(request, run, &mut timings, &mut |mut piece| {
        if work.sentences == 0 {
            work.timings.first_s = start.elapsed().as_secs_f64();
        } else if !pause.is_empty() {
            moments += pause.len();
            heard(Piece {
                samples: pause.clone(),
                ..Piece::default()
            });
        }
        level.apply(&mut piece.samples);
        moments += piece.samples.len();
        work.sentences += 1;
        heard(piece);
        Ok(())
    })?;
    work.seconds = moments as f64 / f64::from(rate);
    work.timings = SpeechTimings {
        first_s: work.timings.first_s,
        total_s: start.elapsed().as_secs_f64(),
        ..timings
    };
    run.emit(Event::Done);
    Ok(Speech {
        audio: Audio::new(rate, 1, Vec::new())?,
        work,
    })
}
