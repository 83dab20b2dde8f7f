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

/// What was written.
pub(super) struct Written {
    /// The best tune.
    pub tune: Tune,
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
    let mut best: Option<(f64, Tune)> = None;
    let mut tokens = 0;
    for draft in 0..DRAFTS {
        run.emit(Event::Progress {
            stage: "write".into(),
            done: draft as usize,
            total: DRAFTS as usize,
        });
        let (ids, ended) = write(decoder, plan, beginning.as_ref(), draft, run)?;
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
        if best.as_ref().is_none_or(|(most, _)| worth > *most) {
            best = Some((worth, tune));
        }
    }
    match best {
        Some((_, tune)) => Ok(Written { tune, tokens }),
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

/// One draft: all its tokens, and whether it came to its end.
fn write(
    decoder: &Decoder,
    plan: &Plan,
    beginning: Option<&Beginning>,
    draft: u64,
    run: &Run,
) -> Result<(Vec<u32>, bool), PipelineError> {
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
    let (mut next, mut allowed) = (ids.clone(), Vec::new());
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
        if let Some(word) = Word::of(id) {
            grammar.push(word);
        }
        ids.push(id);
        next = vec![id];
    }
    Ok((ids, grammar.is_done()))
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
