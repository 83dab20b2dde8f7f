//! Speculation changes how fast a text comes, never what comes.

#![allow(clippy::unwrap_used, reason = "a test stops when something is wrong")]

mod common;

use common::{Random, assert_plausible, chi_square, reference};
use medley_sampling::speculative::{self, Draft, Guide};
use medley_sampling::{Sampler, SamplerConfig, SamplingError, TokenMask};

const VOCAB: usize = 7;

/// A "model": logits that depend on the last two tokens.
fn model(text: &[u32], seed: u64) -> Vec<f32> {
    let (a, b) = match text {
        [.., a, b] => (*a, *b),
        [b] => (99, *b),
        [] => (99, 99),
    };
    Random(seed ^ u64::from(a) << 20 ^ u64::from(b) << 8).logits(VOCAB, 1.2)
}

const TARGET: u64 = 100;
const DRAFT: u64 = 200;

/// Rows of the target model for a draft after a text.
fn rows(text: &[u32], draft: &[u32]) -> Vec<f32> {
    (0..=draft.len())
        .flat_map(|kept| model(&[text, &draft[..kept]].concat(), TARGET))
        .collect()
}

fn configs() -> Vec<(&'static str, SamplerConfig)> {
    let base = SamplerConfig::unfiltered(0);
    vec![
        ("plain", base.clone()),
        (
            "defaults",
            SamplerConfig {
                min_p: 0.2,
                ..SamplerConfig::default()
            },
        ),
        (
            "top-k",
            SamplerConfig {
                top_k: 3,
                temperature: 1.4,
                ..base.clone()
            },
        ),
        (
            "top-p",
            SamplerConfig {
                top_p: 0.7,
                ..base.clone()
            },
        ),
        (
            "penalties",
            SamplerConfig {
                repeat_penalty: 1.5,
                presence_penalty: 0.4,
                ..base
            },
        ),
        ("greedy", SamplerConfig::greedy()),
    ]
}

#[test]
fn a_fixed_draft_gives_the_very_same_text() {
    let mut random = Random(1);
    for (name, config) in configs() {
        let (mut kept, mut proposed) = (0, 0);
        for seed in 0..200 {
            let config = SamplerConfig {
                seed,
                ..config.clone()
            };
            let mut alone = Sampler::new(&config, VOCAB).unwrap();
            let mut text = vec![3];
            alone.observe(&text);
            while text.len() < 30 {
                let token = alone.sample(&model(&text, TARGET), None).unwrap();
                text.push(token.id);
            }
            let mut sampler = Sampler::new(&config, VOCAB).unwrap();
            let mut got = vec![3];
            sampler.observe(&got);
            while got.len() < 30 {
                // A draft that is right at first and then anything, of any length.
                let right = random.below(4).min(text.len() - got.len());
                let mut draft = text[got.len()..][..right].to_vec();
                draft.extend((0..random.below(3)).map(|_| random.below(VOCAB) as u32));
                let logits = rows(&got, &draft);
                let accepted =
                    speculative::accept(&mut sampler, &mut (), &logits, Draft::Fixed(&draft))
                        .unwrap();
                assert!(accepted.kept >= right.min(draft.len()));
                assert_eq!(accepted.tokens.len(), accepted.kept + 1);
                kept += accepted.kept;
                proposed += draft.len();
                got.extend(accepted.tokens.iter().map(|t| t.id));
            }
            got.truncate(30);
            assert_eq!(got, text, "{name}, seed {seed}");
        }
        assert!(kept * 2 > proposed);
    }
}

/// Draws three tokens by drafts of a length from a draft model, and counts each text of three.
fn speculate(config: &SamplerConfig, ahead: usize, runs: u64) -> (Vec<u64>, f64) {
    let mut counts = vec![0; VOCAB.pow(3)];
    let (mut kept, mut proposed) = (0, 0);
    for seed in 0..runs {
        let config = SamplerConfig {
            seed,
            ..config.clone()
        };
        let mut sampler = Sampler::new(&config, VOCAB).unwrap();
        let mut text = vec![3, 5];
        sampler.observe(&text);
        while text.len() < 5 {
            let mut twin = sampler.draft_twin();
            let mut draft = Vec::new();
            for _ in 0..ahead {
                let ids: Vec<u32> = draft
                    .iter()
                    .map(|t: &speculative::DraftToken| t.id)
                    .collect();
                let logits = model(&[&text[..], &ids].concat(), DRAFT);
                draft.push(speculative::propose(&mut twin, &logits, None).unwrap());
            }
            let ids: Vec<u32> = draft.iter().map(|t| t.id).collect();
            let logits = rows(&text, &ids);
            let accepted =
                speculative::accept(&mut sampler, &mut (), &logits, Draft::Drawn(&draft)).unwrap();
            text.extend(accepted.tokens.iter().map(|t| t.id));
            kept += accepted.kept;
            proposed += ahead;
        }
        let index = text[2..5]
            .iter()
            .fold(0, |index, &id| index * VOCAB + id as usize);
        counts[index] += 1;
    }
    (counts, kept as f64 / proposed as f64)
}

/// The exact probability of each text of three tokens.
fn exact(config: &SamplerConfig) -> Vec<(u32, f64)> {
    let mut texts = vec![(vec![3, 5], 1.0)];
    for _ in 0..3 {
        texts = texts
            .into_iter()
            .flat_map(|(text, p): (Vec<u32>, f64)| {
                let next = reference(config, &text, &model(&text, TARGET), None);
                next.into_iter()
                    .map(move |(id, q)| ([&text[..], &[id]].concat(), p * q))
            })
            .collect();
    }
    let index = |t: &[u32]| t[2..].iter().fold(0, |i, id| i * VOCAB as u32 + id);
    texts.iter().map(|(text, p)| (index(text), *p)).collect()
}

#[test]
fn a_drawn_draft_leaves_the_distribution_of_whole_texts_unchanged() {
    for (name, config) in configs() {
        for ahead in [1, 3] {
            let (counts, share) = speculate(&config, ahead, 10_000);
            let what = format!("{name}, {ahead} ahead");
            assert_plausible(chi_square(&counts, &exact(&config)), &what);
            // The two models differ: some drafts are kept and some are not.
            let mixed = (0.02..0.98).contains(&share);
            assert!(mixed || name == "greedy", "{what}: {share} kept");
        }
    }
}

/// The acceptance rate of a good draft is the overlap of the distributions, Σ min(p, q).
#[test]
fn no_acceptable_token_is_thrown_away() {
    let config = SamplerConfig::unfiltered(0);
    let p = reference(&config, &[], &model(&[3, 5], TARGET), None);
    let q = reference(&config, &[], &model(&[3, 5], DRAFT), None);
    let overlap: f64 = p.iter().zip(&q).map(|(p, q)| p.1.min(q.1)).sum();
    let mut kept = 0;
    for seed in 0..20_000 {
        let config = SamplerConfig {
            seed,
            ..config.clone()
        };
        let mut sampler = Sampler::new(&config, VOCAB).unwrap();
        let logits = model(&[3, 5], DRAFT);
        let draft = speculative::propose(&mut sampler.draft_twin(), &logits, None).unwrap();
        let rows = rows(&[3, 5], &[draft.id]);
        kept += speculative::accept(&mut sampler, &mut (), &rows, Draft::Drawn(&[draft]))
            .unwrap()
            .kept;
    }
    let share = kept as f64 / 20_000.0;
    assert!(
        (share - overlap).abs() < 0.014,
        "{share} kept, {overlap} possible"
    );
}

/// Allows only tokens that differ from the last, and ends after token 0.
struct NoRepeat(Option<u32>);

impl Guide for NoRepeat {
    fn mask(&mut self) -> Result<Option<TokenMask>, SamplingError> {
        let mut mask = TokenMask::all(VOCAB);
        self.0.into_iter().for_each(|id| mask.forbid(id));
        Ok(Some(mask))
    }

    fn accept(&mut self, id: u32) -> Result<bool, SamplingError> {
        assert_ne!(self.0, Some(id));
        self.0 = Some(id);
        Ok(id == 0)
    }
}

#[test]
fn a_guide_holds_inside_a_draft_and_can_end_it() {
    let mut random = Random(8);
    let mut ended = 0;
    for seed in 0..300 {
        let config = SamplerConfig::unfiltered(seed);
        let mut sampler = Sampler::new(&config, VOCAB).unwrap();
        let draft: Vec<u32> = (0..4).map(|_| random.below(VOCAB) as u32).collect();
        let logits = rows(&[], &draft);
        let mut guide = NoRepeat(None);
        let accepted =
            speculative::accept(&mut sampler, &mut guide, &logits, Draft::Fixed(&draft)).unwrap();
        let ids: Vec<u32> = accepted.tokens.iter().map(|t| t.id).collect();
        assert!(
            !ids[..ids.len() - 1].contains(&0),
            "nothing comes after the end"
        );
        assert_eq!(ids[..accepted.kept], draft[..accepted.kept]);
        ended += usize::from(accepted.kept == ids.len());
    }
    assert!(ended > 0, "some drafts end with their own last token");
}

#[test]
fn a_wrong_number_of_rows_is_an_error() {
    let mut sampler = Sampler::new(&SamplerConfig::greedy(), VOCAB).unwrap();
    let error = speculative::accept(&mut sampler, &mut (), &[0.0; VOCAB], Draft::Fixed(&[1]));
    let want = SamplingError::LogitCount {
        got: VOCAB,
        expected: 2 * VOCAB,
    };
    assert_eq!(error, Err(want));
}
