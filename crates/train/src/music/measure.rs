//! What a model of tunes is worth: its surprise at tunes that it has not seen, and what its own are like.

use std::collections::{HashMap, HashSet};

use medley_media::score::{BarEnd, Tune};
use medley_models::decoder::trainable;
use medley_nn::Device;
use medley_nn::train::evaluating;
use medley_tokenize::notes::vocabulary_size;

use super::data::TuneSource;
use super::task::{HEADING, is_note};
use crate::step::scalar;
use crate::text::ngram::KneserNey;
use crate::text::{NextToken, TokenBatch};
use crate::{Error, Result};

/// Numbers about some tunes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Likeness {
    /// Tunes.
    pub tunes: usize,
    /// Share of notes, by number, that belong to the key.
    pub in_key: f64,
    /// Share of bars that are as long as the metre says; upbeats and the bars that they are missing from count as valid
    /// together.
    pub valid_bars: f64,
    /// Share of bars that are the same as an earlier bar of their tune.
    pub repetition: f64,
    /// Notes of the longest run, in intervals and lengths, that is found in one training tune; the mean over the tunes.
    pub mean_copied: f64,
    /// The longest of all.
    pub longest_copied: usize,
}

/// A model beside its data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Card {
    /// Tunes that were held out, and the notes of them that were asked for.
    pub held_out: usize,
    /// Notes in them.
    pub notes: usize,
    /// Bits for each note, all its tokens counted, by the model.
    pub model: f64,
    /// The same by trigrams with Kneser-Ney smoothing.
    pub trigram: f64,
    /// What held-out tunes are like.
    pub data: Likeness,
    /// What the given tunes are like.
    pub written: Likeness,
}

/// Measures the model in `folder` on the tunes below `data` that a share of `hold_out` keeps, and the tunes that it wrote.
///
/// # Errors
/// Where the folder holds no model, or nothing is held out.
pub fn measure(
    folder: &std::path::Path,
    data: &std::path::Path,
    hold_out: f64,
    length: usize,
    written: &[Tune],
) -> Result<Card> {
    let source = TuneSource::open(data)?;
    let (train, held) = source.split(hold_out)?;
    if held.is_empty() {
        return Err(Error::Setting(
            "nothing is held out that could be measured on".into(),
        ));
    }
    let tokens = |places: &[usize]| -> Vec<Vec<u32>> {
        places.iter().map(|&i| source.pieces[i].tokens()).collect()
    };
    let (known, asked) = (tokens(&train), tokens(&held));
    let cut = |t: &Vec<u32>| t[..t.len().min(length + 1)].to_vec();
    let asked: Vec<Vec<u32>> = asked.iter().map(cut).collect();
    let notes = asked
        .iter()
        .flatten()
        .filter(|id| is_note(**id))
        .count()
        .max(1);
    let grams = KneserNey::count(&known.concat(), 3, vocabulary_size())?;
    let per_note = |nats: f64| nats / std::f64::consts::LN_2 / notes as f64;
    let by_grams: f64 = asked.iter().map(|t| of_grams(&grams, t)).sum();
    let (config, tensors) = crate::text::published(folder)?;
    let (decoder, _) = trainable(&tensors, &config, &Device::Cpu)?;
    let objective = NextToken {
        decoder,
        device: Device::Cpu,
    };
    let by_model = evaluating(|| of_model(&objective, &asked, length))?;
    let runs = Runs::of(train.iter().map(|&i| &source.pieces[i].tune));
    let held_tunes: Vec<Tune> = held
        .iter()
        .map(|&i| source.pieces[i].tune.clone())
        .collect();
    Ok(Card {
        held_out: held.len(),
        notes,
        model: per_note(by_model),
        trigram: per_note(by_grams),
        data: likeness(&held_tunes, &runs),
        written: likeness(written, &runs),
    })
}

fn of_grams(grams: &KneserNey, tokens: &[u32]) -> f64 {
    let of = |i: usize| -grams.probability(&tokens[i - 2..i], tokens[i]).ln();
    (HEADING..tokens.len()).map(of).sum()
}

fn of_model(objective: &NextToken, tunes: &[Vec<u32>], length: usize) -> Result<f64> {
    let mut nats = 0.0;
    for tokens in tunes {
        let count = tokens.len() - 1;
        let target = |i: usize| {
            if i < HEADING {
                medley_nn::train::IGNORED
            } else {
                tokens[i]
            }
        };
        let batch = TokenBatch {
            length: count.min(length),
            ids: tokens[..count].to_vec(),
            targets: (1..=count).map(target).collect(),
        };
        let loss = f64::from(scalar(&objective.loss_of(&batch)?)?);
        nats += loss * batch.counted() as f64;
    }
    Ok(nats)
}

/// Intervals with lengths, as melodies are compared in every key.
fn steps(tune: &Tune) -> Vec<u32> {
    let events = tune.bars.iter().flat_map(|b| &b.events);
    let mut before = 0i32;
    events
        .map(|e| {
            let pitch = e.pitch.map_or(before, i32::from);
            let step = (pitch - before + 128) as u32;
            before = pitch;
            // A rest is no repeated note.
            step << 16 | (e.length & 0x7FFF) << 1 | u32::from(e.pitch.is_none())
        })
        .collect()
}

/// Length of the runs by which training tunes are found again.
const SEED_RUN: usize = 6;

/// Where runs of notes stand in the training tunes.
struct Runs {
    tunes: Vec<Vec<u32>>,
    places: HashMap<Vec<u32>, Vec<(usize, usize)>>,
}

impl Runs {
    fn of<'a>(tunes: impl Iterator<Item = &'a Tune>) -> Self {
        let tunes: Vec<Vec<u32>> = tunes.map(steps).collect();
        let mut places: HashMap<Vec<u32>, Vec<(usize, usize)>> = HashMap::new();
        for (number, tune) in tunes.iter().enumerate() {
            for (at, run) in tune.windows(SEED_RUN).enumerate() {
                places.entry(run.to_vec()).or_default().push((number, at));
            }
        }
        Self { tunes, places }
    }

    /// Notes of the longest run of a tune that one training tune has as well; 0 below the shortest that is looked for.
    fn longest(&self, tune: &Tune) -> usize {
        let own = steps(tune);
        let mut longest = 0;
        for at in 0..own.len().saturating_sub(SEED_RUN) {
            let Some(places) = self.places.get(&own[at..at + SEED_RUN]) else {
                continue;
            };
            for &(number, place) in places {
                let theirs = &self.tunes[number][place..];
                let same = own[at..]
                    .iter()
                    .zip(theirs)
                    .take_while(|(a, b)| a == b)
                    .count();
                longest = longest.max(same);
            }
        }
        longest
    }
}

fn likeness(tunes: &[Tune], runs: &Runs) -> Likeness {
    let (mut notes, mut inside, mut bars, mut valid, mut again) = (0, 0, 0, 0, 0);
    let (mut copied, mut longest) = (0, 0);
    for tune in tunes {
        let signs = tune.signs();
        let mut seen = HashSet::new();
        let mut room = None;
        for (bar, (metre, key)) in tune.bars.iter().zip(&signs) {
            let scale = key.scale();
            let pitches = bar.events.iter().filter_map(|e| e.pitch);
            pitches.for_each(|p| {
                notes += 1;
                inside += usize::from(scale.contains(&(p % 12)));
            });
            bars += 1;
            let (length, full) = (bar.length(), metre.bar());
            let upbeat = room.is_none() && length < full;
            let ends = bar.end != BarEnd::Plain;
            valid += usize::from(length == full || upbeat || (ends && length < full));
            again += usize::from(!seen.insert(events_of(bar)));
            room = if ends { None } else { Some(full) };
        }
        let run = runs.longest(tune);
        copied += run;
        longest = longest.max(run);
    }
    let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
    Likeness {
        tunes: tunes.len(),
        in_key: share(inside, notes),
        valid_bars: share(valid, bars),
        repetition: share(again, bars),
        mean_copied: share(copied, tunes.len()),
        longest_copied: longest,
    }
}

fn events_of(bar: &medley_media::score::Bar) -> Vec<(Option<u8>, u32)> {
    bar.events.iter().map(|e| (e.pitch, e.length)).collect()
}
