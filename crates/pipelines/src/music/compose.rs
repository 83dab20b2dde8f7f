//! The melody, token by token.

use medley_media::score::{Bar, Tune};
use medley_models::decoder::{Decoder, Input, Wanted};
use medley_nn::KvType;
use medley_sampling::{Sampler, SamplerConfig, TokenMask};
use medley_tokenize::notes::{Form, Grammar, Word, canonical, decode, encode, vocabulary_size};
use medley_types::Event;

use super::request::{Plan, refuse};
use crate::{PipelineError, Run};

/// Tunes that are written, of which the best is taken.
const DRAFTS: u64 = 4;

/// Most tokens that a tune gets beside what it goes on with.
const ROOM: usize = 360;

/// Parts that a tune which is gone on with gets.
const MORE_PARTS: u8 = 2;

/// What the model thought of a note of the melody when it wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The note, as in MIDI.
    pub pitch: u8,
    /// How likely it was to the model, among all that the grammar let it write; 0 to 1.
    pub probability: f32,
    /// The likeliest in its place, best first; a rest has no pitch.
    pub others: Vec<(Option<u8>, f32)>,
}

/// The same, by semitones from a reference that only the whole tune tells; a rest has none.
struct Thought {
    semitones: i8,
    probability: f32,
    others: Vec<(Option<i8>, f32)>,
}

/// Notes of each choice that are told.
const OTHERS: usize = 5;

/// What was written.
pub(super) struct Written {
    /// The best tune.
    pub tune: Tune,
    /// What was thought of its notes, in order; of a tune that was gone on with those behind it.
    pub choices: Vec<Choice>,
    /// Tokens of all.
    pub tokens: usize,
}

/// Writes a tune, or goes on with one.
pub(super) fn compose(
    decoder: &Decoder,
    plan: &Plan,
    init: Option<&Tune>,
    run: &mut Run,
) -> Result<Written, PipelineError> {
    let beginning = init
        .map(|tune| Beginning::of(decoder, plan, tune))
        .transpose()?;
    let mut best: Option<(f64, Tune, Vec<Thought>)> = None;
    let mut tokens = 0;
    for draft in 0..DRAFTS {
        run.emit(Event::Progress {
            stage: "write".into(),
            done: draft as usize,
            total: DRAFTS as usize,
        });
        let (ids, ended, thoughts) = write(decoder, plan, beginning.as_ref(), draft, run)?;
        tokens += ids.len();
        let Ok((tune, _)) = decode(&ids) else {
            continue;
        };
        let tune = match &beginning {
            Some(beginning) => beginning.with(tune),
            None => placed(tune),
        };
        if tune.bars.is_empty() {
            continue;
        }
        let worth = worth(&tune) - if ended { 0.0 } else { 2.0 };
        if best.as_ref().is_none_or(|(most, ..)| worth > *most) {
            best = Some((worth, tune, thoughts));
        }
    }
    match best {
        Some((_, tune, thoughts)) => Ok(Written {
            choices: choices(&tune, thoughts),
            tune,
            tokens,
        }),
        None => Err(PipelineError::ModelConfig(
            "it wrote no tune: the context is too short, or the weights are damaged".into(),
        )),
    }
}

/// Lowest and highest mean pitch of a melody that is heard above its chords.
const MEAN_PITCH: std::ops::RangeInclusive<f64> = 66.0..=84.0;

/// The tune, or the tune an octave away where its melody would lie among its chords or too high.
fn placed(tune: Tune) -> Tune {
    let pitches = || {
        tune.bars
            .iter()
            .flat_map(|b| &b.events)
            .filter_map(|e| e.pitch)
    };
    let mean = pitches().map(f64::from).sum::<f64>() / pitches().count().max(1) as f64;
    let moved = match mean {
        low if low < *MEAN_PITCH.start() => tune.transposed(12),
        high if high > *MEAN_PITCH.end() => tune.transposed(-12),
        _ => None,
    };
    moved.unwrap_or(tune)
}

/// What was thought of a tune's last notes, as their pitches.
fn choices(tune: &Tune, thoughts: Vec<Thought>) -> Vec<Choice> {
    let events = tune.bars.iter().flat_map(|bar| &bar.events);
    let pitches: Vec<u8> = events.filter_map(|event| event.pitch).collect();
    let Some(first) = pitches.len().checked_sub(thoughts.len()) else {
        return Vec::new();
    };
    let told = |(&pitch, thought): (&u8, Thought)| {
        let reference = i16::from(pitch) - i16::from(thought.semitones);
        let of = |semitones: i8| u8::try_from(reference + i16::from(semitones)).unwrap_or(pitch);
        let others = thought.others.into_iter();
        Choice {
            pitch,
            probability: thought.probability,
            others: others.map(|(s, p)| (s.map(of), p)).collect(),
        }
    };
    pitches[first..].iter().zip(thoughts).map(told).collect()
}

/// What the model thought of the pitch that it took, by its logits; nothing of other words.
fn thought(logits: &[f32], allowed: &[bool], id: u32) -> Option<Thought> {
    let Some(Word::Pitch(semitones)) = Word::of(id) else {
        return None;
    };
    let may = || (0..allowed.len()).filter(|&i| allowed[i]);
    let most = may().map(|i| logits[i]).fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = may().map(|i| (logits[i] - most).exp()).sum();
    let share = |i: usize| (logits[i] - most).exp() / sum;
    let note = |i: usize| match Word::of(i as u32) {
        Some(Word::Pitch(semitones)) => Some((Some(semitones), share(i))),
        Some(Word::Rest) => Some((None, share(i))),
        _ => None,
    };
    let mut others: Vec<(Option<i8>, f32)> = may().filter_map(note).collect();
    others.sort_by(|a, b| b.1.total_cmp(&a.1));
    others.truncate(OTHERS);
    Some(Thought {
        semitones,
        probability: share(id as usize),
        others,
    })
}

/// A tune that is gone on with.
struct Beginning {
    tune: Tune,
    /// Tokens of the bars that the model sees, without the end.
    ids: Vec<u32>,
    /// How many of the tune's bars these are, from its end.
    seen: usize,
}

impl Beginning {
    fn of(decoder: &Decoder, plan: &Plan, tune: &Tune) -> Result<Self, PipelineError> {
        let mut tune = canonical(tune);
        medley_music::harmonise(&mut tune);
        let most = decoder.config().max_positions.saturating_sub(ROOM);
        let mut from = 0;
        loop {
            let part = Tune {
                bars: tune.bars[from..].to_vec(),
                ..tune.clone()
            };
            let ids = encode(&part, &plan.form.traits)
                .map_err(|e| refuse(format!("the tune cannot be gone on with: {e}")))?;
            if ids.len() <= most {
                let ids = ids[..ids.len() - 1].to_vec();
                return Ok(Self {
                    seen: tune.bars.len() - from,
                    tune,
                    ids,
                });
            }
            from += 1;
            if from == tune.bars.len() {
                return Err(refuse("a bar of the tune has too many notes"));
            }
        }
    }

    /// The tune with what was written behind it.
    fn with(&self, written: Tune) -> Tune {
        let more: Vec<Bar> = written.bars.into_iter().skip(self.seen).collect();
        let mut tune = self.tune.clone();
        tune.bars.extend(more);
        tune
    }
}

/// One draft: all its tokens, whether it came to its end, and what was thought of its notes.
fn write(
    decoder: &Decoder,
    plan: &Plan,
    beginning: Option<&Beginning>,
    draft: u64,
    run: &Run,
) -> Result<(Vec<u32>, bool, Vec<Thought>), PipelineError> {
    let config = SamplerConfig {
        temperature: plan.temperature as f32,
        top_k: 0,
        top_p: 0.95,
        min_p: 0.02,
        seed: plan.seed.wrapping_mul(DRAFTS).wrapping_add(draft),
        ..SamplerConfig::default()
    };
    let mut sampler = Sampler::new(&config, vocabulary_size())?;
    let (mut grammar, mut ids) = match beginning {
        Some(beginning) => going_on(plan.form, &beginning.ids),
        None => {
            let grammar = Grammar::new(plan.form);
            let heading = grammar.heading();
            (grammar, heading)
        }
    };
    let most = decoder.config().max_positions.min(ids.len() + ROOM);
    let mut cache = decoder.cache(KvType::F32, most + 1);
    let (mut next, mut allowed, mut thoughts) = (ids.clone(), Vec::new(), Vec::new());
    while !grammar.is_done() && ids.len() < most {
        run.check()?;
        let input = Input {
            tokens: &next,
            cache: &mut cache,
            wanted: Wanted::Last,
        };
        let logits = decoder.forward(&mut [input])?.remove(0);
        grammar.allowed(&mut allowed);
        let mut mask = TokenMask::none(allowed.len());
        (0..allowed.len())
            .filter(|&i| allowed[i])
            .for_each(|i| mask.allow(i as u32));
        let id = sampler.sample(&logits, Some(&mask))?.id;
        thoughts.extend(thought(&logits, &allowed, id));
        if let Some(word) = Word::of(id) {
            grammar.push(word);
        }
        ids.push(id);
        next = vec![id];
    }
    Ok((ids, grammar.is_done(), thoughts))
}

/// The grammar behind these tokens, with room for more parts.
fn going_on(form: Form, ids: &[u32]) -> (Grammar, Vec<u32>) {
    let words = || ids.iter().filter_map(|&id| Word::of(id));
    let parts = words()
        .filter(|w| matches!(w, Word::Double | Word::Repeat))
        .count();
    let parts = u8::try_from(parts).unwrap_or(200).min(200);
    let mut grammar = Grammar::new(Form {
        parts: (parts + 1, parts + MORE_PARTS),
        ..form
    });
    words()
        .skip(grammar.heading().len())
        .for_each(|w| grammar.push(w));
    (grammar, ids.to_vec())
}

/// How well a tune is made, as far as that can be counted: it ends at home, stays in its key, moves, neither only repeats
/// itself nor never does.
fn worth(tune: &Tune) -> f64 {
    let notes: Vec<u8> = tune
        .bars
        .iter()
        .flat_map(|b| &b.events)
        .filter_map(|e| e.pitch)
        .collect();
    let scale = tune.key.scale();
    let home = notes.last().is_some_and(|p| p % 12 == scale[0]);
    let inside = notes.iter().filter(|p| scale.contains(&(*p % 12))).count();
    let in_key = inside as f64 / notes.len().max(1) as f64;
    let still = notes.windows(2).filter(|w| w[0] == w[1]).count();
    let still = still as f64 / notes.len().max(1) as f64;
    let leaps = notes
        .windows(2)
        .filter(|w| w[0].abs_diff(w[1]) > 12)
        .count();
    let mut seen = std::collections::HashSet::new();
    let bars = tune.bars.iter().map(|b| {
        b.events
            .iter()
            .map(|e| (e.pitch, e.length))
            .collect::<Vec<_>>()
    });
    let again =
        bars.filter(|b| !seen.insert(b.clone())).count() as f64 / tune.bars.len().max(1) as f64;
    // The traditional tunes repeat a quarter of their bars.
    let form = 1.0 - (again - 0.25).abs();
    let octave = notes
        .iter()
        .max()
        .zip(notes.iter().min())
        .map_or(0, |(a, b)| a - b);
    let reach = if (7..=24).contains(&octave) { 0.5 } else { 0.0 };
    f64::from(u8::from(home)) + 2.0 * in_key + form + reach - still - 0.2 * leaps as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tune_that_ends_at_home_in_its_key_is_better() {
        let of = |body: &str| {
            let text = format!("X:1\nM:4/4\nL:1/4\nK:G\n{body}\n");
            worth(&medley_media::abc::read(text.as_bytes()).unwrap())
        };
        let good = of("GABc|d2B2|GABc|B2G2||");
        for worse in [
            "GABc|d2B2|GABc|B2A2||",
            "G^A_B^c|d2B2|G^ABc|B2G2||",
            "GGGG|GGGG|GGGG|GGGG||",
        ] {
            assert!(of(worse) < good, "{worse}");
        }
    }

    #[test]
    fn what_was_thought_of_a_note_is_told_by_its_pitch() {
        let tune = medley_media::abc::read(b"X:1\nM:4/4\nL:1/4\nK:G\nGzBd|\n").unwrap();
        let ids = [0i8, 4, 7].map(|s| Word::Pitch(s).id());
        let rest = Word::Rest.id();
        let mut allowed = vec![false; vocabulary_size()];
        let mut logits = vec![0.0; vocabulary_size()];
        ids.iter()
            .chain([&rest])
            .for_each(|&id| allowed[id as usize] = true);
        // Something that may not be written counts for nothing.
        logits[Word::Pitch(2).id() as usize] = 9.0;
        logits[ids[1] as usize] = 3f32.ln();
        let thoughts = ids.map(|id| thought(&logits, &allowed, id).unwrap());
        let told = choices(&tune, thoughts.into());
        let pitches: Vec<u8> = told.iter().map(|c| c.pitch).collect();
        assert_eq!(pitches, [67, 71, 74]);
        assert!((told[0].probability - 1.0 / 6.0).abs() < 1e-6);
        assert!((told[1].probability - 0.5).abs() < 1e-6);
        assert_eq!(told[0].others[0].0, Some(71));
        assert!(told[2].others.iter().any(|(pitch, _)| pitch.is_none()));
        assert!(thought(&logits, &allowed, rest).is_none());
    }

    #[test]
    fn a_beginning_leaves_room_for_more_parts() {
        let text = "X:1\nM:4/4\nL:1/4\nK:G\n|:GABc|d2B2|GABc|B2G2:|\n";
        let mut tune = canonical(&medley_media::abc::read(text.as_bytes()).unwrap());
        medley_music::harmonise(&mut tune);
        let form = Form::default();
        let ids = encode(&tune, &form.traits).unwrap();
        let (grammar, _) = going_on(form, &ids[..ids.len() - 1]);
        assert!(!grammar.is_done() && grammar.may(Word::Opens) && !grammar.may(Word::End));
    }
}
