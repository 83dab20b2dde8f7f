//! All of a sound, window by window.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use medley_media::audio::{MEL_HOP, MEL_RATE, log_mel};
use medley_models::whisper::Memory;
use medley_types::{
    Event, HeardWord, Transcript, TranscriptRequest, TranscriptSegment, TranscriptTask,
};

use super::decode::{Manner, Written};
use super::silence::may_speak;
use super::{Ear, Listener, MAX_SECONDS};
use crate::{PipelineError, Run};

/// Frames of a spectrogram a second.
const FRAME_RATE: f64 = MEL_RATE as f64 / MEL_HOP as f64;
/// Seconds from one token of time to the next.
const TIME_STEP: f64 = 0.02;
/// Temperatures that are tried one after the other.
const TEMPERATURES: [f64; 6] = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];
/// Texts that are compressed further than this repeat themselves.
const MAX_COMPRESSION: f64 = 2.4;
/// Texts of a lower mean log-probability are doubtful.
const MIN_LOGPROB: f64 = -1.0;
/// Above this probability of silence a doubtful text is none.
const NO_SPEECH: f64 = 0.6;
/// A text that was drawn more freely than this is no guide to the next.
const TRUSTED: f64 = 0.5;

/// What a run has found so far.
struct Found {
    transcript: Transcript,
    /// Tokens that the next window is told of, from `reset` on.
    past: Vec<u32>,
    reset: usize,
}

/// How far a run has come, in seconds of sound. It is told at every step, so that whoever shares the machine gets a turn.
struct Told {
    done: usize,
    total: usize,
}

impl Told {
    /// Whether the run shall end.
    fn tell(&mut self, run: &mut Run) -> bool {
        run.emit(Event::Progress {
            stage: "listen".to_owned(),
            done: self.done,
            total: self.total,
        });
        run.check().is_err()
    }
}

/// A window, and what was written for it.
struct Window<'a> {
    /// Its beginning in frames.
    seek: usize,
    /// Frames of it that are sound.
    frames: usize,
    memory: &'a Memory,
    written: Written,
    compression: f64,
}

/// Tokens of a stretch with its beginning and end in seconds of the window.
struct Stretch {
    start: f64,
    end: f64,
    tokens: Vec<u32>,
}

impl Listener for Ear {
    fn complete(&self, request: &TranscriptRequest) -> Result<TranscriptRequest, PipelineError> {
        self.completed(request)
    }

    fn listen(
        &self,
        samples: &[f32],
        request: &TranscriptRequest,
        run: &mut Run,
    ) -> Result<Transcript, PipelineError> {
        let request = self.completed(request)?;
        let duration = samples.len() as f64 / f64::from(MEL_RATE);
        if duration > MAX_SECONDS {
            return Err(PipelineError::InvalidRequest(format!(
                "the sound lasts {duration:.0} seconds; at most {MAX_SECONDS:.0} are heard at a time"
            )));
        }
        let mut found = Found {
            transcript: Transcript {
                duration,
                language: request.language.clone().unwrap_or_default(),
                language_probability: f64::from(u8::from(request.language.is_some())),
                ..Transcript::default()
            },
            past: match &request.prompt {
                Some(prompt) => self.tokenizer.encode(&format!(" {}", prompt.trim()))?,
                None => Vec::new(),
            },
            reset: 0,
        };
        self.all(samples, &request, &mut found, run)?;
        let mut transcript = found.transcript;
        transcript.text = text_of(&transcript.segments);
        if transcript.language.is_empty() {
            transcript.language = "en".to_owned();
        }
        run.emit(Event::Done);
        Ok(transcript)
    }

    fn language(&self, samples: &[f32]) -> Result<(String, f64), PipelineError> {
        let (frames, bands) = (self.model.encoder.frames(), self.model.config().mels);
        let total = frames * MEL_HOP;
        let mel = log_mel(&samples[..samples.len().min(total)], total, bands)?;
        match self.model.encoder.forward(mel, || false)? {
            Some(states) => self.language_of(&self.model.decoder.remember(states)?),
            None => Err(PipelineError::Cancelled),
        }
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Ear {
    fn all(
        &self,
        samples: &[f32],
        request: &TranscriptRequest,
        found: &mut Found,
        run: &mut Run,
    ) -> Result<(), PipelineError> {
        let (window, bands) = (self.model.encoder.frames(), self.model.config().mels);
        let content = samples.len() / MEL_HOP;
        if !may_speak(samples) && content < window || content == 0 {
            return Ok(());
        }
        let mel = log_mel(samples, samples.len() + window * MEL_HOP, bands)?;
        let seconds = |frames: usize| (frames as f64 / FRAME_RATE) as usize;
        let mut seek = 0;
        while seek < content {
            run.check()?;
            let mut told = Told {
                done: seconds(seek),
                total: seconds(content).max(1),
            };
            told.tell(run);
            let frames = window.min(content - seek);
            let heard = &samples[seek * MEL_HOP..(seek + frames) * MEL_HOP];
            if !may_speak(heard) {
                seek += frames;
                continue;
            }
            let part = mel[seek * bands..(seek + window) * bands].to_vec();
            let Some(states) = self.model.encoder.forward(part, || told.tell(run))? else {
                return Err(PipelineError::Cancelled);
            };
            let memory = self.model.decoder.remember(states)?;
            if found.transcript.language.is_empty() {
                let (language, probability) = self.language_of(&memory)?;
                found.transcript.language = language;
                found.transcript.language_probability = probability;
            }
            let (written, compression) = self.write(&memory, request, found, (&mut told, run))?;
            let silent = written.no_speech_prob > NO_SPEECH && written.avg_logprob <= MIN_LOGPROB;
            if silent {
                seek += frames;
                continue;
            }
            let window = Window {
                seek,
                frames,
                memory: &memory,
                written,
                compression,
            };
            seek += self.take(window, request, found, run)?.max(1);
        }
        Ok(())
    }

    /// Writes a window, more freely as long as it comes out as nonsense.
    fn write(
        &self,
        memory: &Memory,
        request: &TranscriptRequest,
        found: &mut Found,
        (told, run): (&mut Told, &mut Run),
    ) -> Result<(Written, f64), PipelineError> {
        let one = request.temperature.map(|t| [t]);
        let temperatures = one.as_ref().map_or(&TEMPERATURES[..], |t| &t[..]);
        let prompt = self.prompt(request, found);
        let mut last = None;
        for &temperature in temperatures {
            let beam = request.beam.unwrap_or(1);
            let manner = Manner {
                temperature,
                beam,
                seed: request.seed,
            };
            let written = self.write_window(&prompt, memory, manner, || told.tell(run))?;
            found.transcript.tokens += written.cost;
            let compression = compression(&self.tokenizer.bytes(&written.tokens));
            let doubtful = written.avg_logprob < MIN_LOGPROB;
            let silent = doubtful && written.no_speech_prob > NO_SPEECH;
            let again = (doubtful || compression > MAX_COMPRESSION) && !silent;
            last = Some((written, compression));
            if !again {
                break;
            }
        }
        last.ok_or_else(|| PipelineError::Step("no temperature was tried".into()))
    }

    /// What was said before, and the tokens that begin a text.
    fn prompt(&self, request: &TranscriptRequest, found: &Found) -> Vec<u32> {
        let t = self.tokenizer.tokens();
        let most = self.model.config().text_context / 2 - 1;
        let past = &found.past[found.reset..];
        let past = &past[past.len().saturating_sub(most)..];
        let mut prompt = Vec::new();
        if !past.is_empty() {
            prompt.push(t.previous);
            prompt.extend(past);
        }
        prompt.extend(self.begins(request, &found.transcript.language));
        prompt
    }

    /// The tokens that begin a text: for English-only models one.
    pub(super) fn begins(&self, request: &TranscriptRequest, language: &str) -> Vec<u32> {
        let t = self.tokenizer.tokens();
        let mut tokens = vec![t.start];
        if self.tokenizer.is_multilingual() {
            let code = t.languages.iter().find(|(code, _)| code == language);
            tokens.extend(code.map(|(_, id)| *id));
            tokens.push(match request.task {
                TranscriptTask::Transcribe => t.transcribe,
                TranscriptTask::Translate => t.translate,
            });
        }
        tokens
    }

    /// Takes the stretches of a window in and gives the frames that are done with.
    fn take(
        &self,
        window: Window<'_>,
        request: &TranscriptRequest,
        found: &mut Found,
        run: &mut Run,
    ) -> Result<usize, PipelineError> {
        let offset = window.seek as f64 / FRAME_RATE;
        let (stretches, mut done) = self.stretches(&window);
        let language = found.transcript.language.clone();
        let words = match request.words {
            true => self.align(
                &self.begins(request, &language),
                &stretches_text(&stretches),
                &window.aligned(),
                &language,
            )?,
            false => Vec::new(),
        };
        let mut words = words.into_iter();
        for stretch in &stretches {
            let own: Vec<HeardWord> = words
                .by_ref()
                .take(usize::from(request.words))
                .flatten()
                .collect();
            let text = self.tokenizer.decode(&stretch.tokens);
            let end = (offset + stretch.end).min(found.transcript.duration);
            if text.trim().is_empty() || end <= offset + stretch.start {
                continue;
            }
            let shifted = own.into_iter().map(|w| HeardWord {
                start: round(w.start + offset),
                end: round(w.end + offset),
                ..w
            });
            found.transcript.words.extend(shifted);
            run.emit(Event::Chunk { text: text.clone() });
            let written = &window.written;
            found.transcript.segments.push(TranscriptSegment {
                id: found.transcript.segments.len(),
                seek: window.seek,
                start: round(offset + stretch.start),
                end: round(end),
                text,
                tokens: stretch.tokens.clone(),
                temperature: written.temperature,
                avg_logprob: written.avg_logprob,
                compression_ratio: window.compression,
                no_speech_prob: written.no_speech_prob,
            });
            found.past.extend(&stretch.tokens);
        }
        if window.written.temperature > TRUSTED {
            found.reset = found.past.len();
        }
        if done == 0 {
            done = window.frames;
        }
        Ok(done)
    }

    /// Cuts the tokens of a window where two times meet; gives the frames that are done with beside.
    fn stretches(&self, window: &Window<'_>) -> (Vec<Stretch>, usize) {
        let times = self.tokenizer.tokens().times;
        let tokens = &window.written.tokens;
        let time = |id: u32| f64::from(id - times) * TIME_STEP;
        let is_time = |i: usize| tokens.get(i).is_some_and(|&id| id >= times);
        let count = tokens.len();
        let one_ends = count >= 2 && is_time(count - 1) && !is_time(count - 2);
        let mut cuts: Vec<usize> = (1..count)
            .filter(|&i| is_time(i - 1) && is_time(i))
            .collect();
        let length = window.frames as f64 / FRAME_RATE;
        if cuts.is_empty() {
            let last = tokens.iter().rfind(|&&id| id > times).map(|&id| time(id));
            let first = tokens
                .first()
                .filter(|&&id| id >= times)
                .map_or(0.0, |&id| time(id));
            let end = last.filter(|&end| end > first).unwrap_or(length);
            let stretch = Stretch {
                start: first.min(end),
                end,
                tokens: tokens.clone(),
            };
            return (vec![stretch], window.frames);
        }
        if one_ends {
            cuts.push(count);
        }
        let (mut stretches, mut from) = (Vec::new(), 0);
        for cut in cuts {
            let part = &tokens[from..cut];
            if let (Some(&first), Some(&last)) = (part.first(), part.last())
                && first >= times
                && last >= times
            {
                stretches.push(Stretch {
                    start: time(first),
                    end: time(last),
                    tokens: part.to_vec(),
                });
            }
            from = cut;
        }
        if one_ends {
            return (stretches, window.frames);
        }
        // What comes behind the last pair is heard again, in a window that begins there.
        let end = stretches.last().map_or(0.0, |s| s.end);
        (stretches, (end * FRAME_RATE).round() as usize)
    }
}

/// What words are found in.
pub(super) struct Aligned<'a> {
    pub(super) memory: &'a Memory,
    /// States that are sound.
    pub(super) states: usize,
}

impl Window<'_> {
    fn aligned(&self) -> Aligned<'_> {
        Aligned {
            memory: self.memory,
            states: self.frames.div_ceil(2),
        }
    }
}

fn stretches_text(stretches: &[Stretch]) -> Vec<&[u32]> {
    stretches.iter().map(|s| s.tokens.as_slice()).collect()
}

/// To milliseconds.
fn round(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

fn text_of(segments: &[TranscriptSegment]) -> String {
    let all: String = segments.iter().map(|s| s.text.as_str()).collect();
    all.trim().to_owned()
}

/// Bytes of a text by the bytes that zlib makes of it.
fn compression(text: &[u8]) -> f64 {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let packed = encoder.write_all(text).and_then(|()| encoder.finish());
    packed.map_or(1.0, |packed| text.len() as f64 / packed.len().max(1) as f64)
}
