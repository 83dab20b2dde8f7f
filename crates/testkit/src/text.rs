//! What llama.cpp computed on the real language models: greedy continuations, and its distributions
//! and perplexity on a held-out text. golden/README.md says how they were made.

use serde::{Deserialize, Deserializer};

use crate::case::{Case, CaseError};
use crate::compare::log_softmax;

/// Greedy continuations of one model by llama.cpp (greedy.json).
#[derive(Clone, Debug, Deserialize)]
pub struct Greedy {
    /// What computed them.
    pub reference: String,
    /// Name of the model file.
    pub file: String,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// The prompts with their continuations.
    pub prompts: Vec<Prompt>,
}

/// A prompt and its greedy continuation.
#[derive(Clone, Debug, Deserialize)]
pub struct Prompt {
    /// Short name.
    pub id: String,
    /// Whether the model's chat template made [`Prompt::prompt`] of [`Prompt::messages`]; its special
    /// tokens are then parsed and none is added. Otherwise the text is plain, and special tokens are
    /// added as the file says.
    pub chat: bool,
    /// The messages, for a chat.
    pub messages: Option<Vec<serde_json::Value>>,
    /// The text that was tokenized.
    pub prompt: String,
    /// Its tokens.
    pub prompt_ids: Vec<u32>,
    /// The continuation as text, special tokens shown.
    pub text: String,
    /// The continuation that llama.cpp computes in full, without rounding to 8 bits.
    pub exact_steps: Vec<Step>,
    /// The continuation, one entry a token. Ends with the token that ends the turn, if one came.
    pub steps: Vec<Step>,
}

/// llama.cpp's two likeliest tokens at one step; the first was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The token taken.
    pub id: u32,
    /// Its log-probability.
    pub logprob: f32,
    /// The runner-up.
    pub second: u32,
    /// Its log-probability.
    pub second_logprob: f32,
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (id, logprob, second, second_logprob) = Deserialize::deserialize(deserializer)?;
        Ok(Self {
            id,
            logprob,
            second,
            second_logprob,
        })
    }
}

impl Step {
    /// By how much the token taken was likelier than the runner-up, in log-probability.
    pub fn gap(&self) -> f32 {
        self.logprob - self.second_logprob
    }
}

/// How a continuation agrees with llama.cpp's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Agreement {
    /// All compared tokens are the same.
    Same,
    /// The first difference is at a near tie of llama.cpp's two likeliest tokens.
    NearTie {
        /// Index of the first difference.
        step: usize,
        /// llama.cpp's gap there.
        gap: f32,
    },
    /// The first difference is no near tie.
    Differs {
        /// Index of the first difference.
        step: usize,
        /// llama.cpp's gap there.
        gap: f32,
        /// The token there; none if the continuation ended.
        actual: Option<u32>,
    },
}

impl Agreement {
    /// Whether it counts as equal: the same, or different from a near tie on.
    pub fn is_equal(self) -> bool {
        !matches!(self, Self::Differs { .. })
    }
}

impl Greedy {
    /// A gap of log-probabilities up to this is a near tie.
    pub const NEAR_TIE: f32 = 0.05;

    /// The continuations of `model`, a folder below `golden/text`.
    ///
    /// # Errors
    /// [`CaseError`] if there is no such fixture.
    pub fn open(model: &str) -> Result<Self, CaseError> {
        Case::open(&format!("text/{model}"))?.json("greedy.json")
    }
}

impl Prompt {
    /// Compares the first `count` tokens of llama.cpp's continuation (fewer if it ended before).
    pub fn agreement(&self, actual: &[u32], count: usize) -> Agreement {
        agreement(&self.steps, actual, count)
    }

    /// The same with what llama.cpp computes in full.
    pub fn exact_agreement(&self, actual: &[u32], count: usize) -> Agreement {
        agreement(&self.exact_steps, actual, count)
    }
}

fn agreement(steps: &[Step], actual: &[u32], count: usize) -> Agreement {
    let steps = &steps[..count.min(steps.len())];
    let differs = |i: &usize| actual.get(*i) != Some(&steps[*i].id);
    let Some(step) = (0..steps.len()).find(differs) else {
        return Agreement::Same;
    };
    let gap = steps[step].gap();
    let actual = actual.get(step).copied();
    if gap <= Greedy::NEAR_TIE && actual.is_some() {
        Agreement::NearTie { step, gap }
    } else {
        Agreement::Differs { step, gap, actual }
    }
}

#[derive(Clone, Debug, Deserialize)]
struct Figures {
    context: usize,
    chunks: usize,
    bos_at_chunk_start: bool,
    perplexity: f64,
    perplexity_of_llama_perplexity: f64,
    own_divergence: f64,
}

/// llama.cpp on golden/text/heldout.txt, by llama-perplexity's protocol: chunks of
/// [`Heldout::context`] tokens that do not overlap, the first half of each only context, the
/// remainder of the text dropped.
///
/// Feed [`Heldout::input`] of each chunk to the model and hand the logits of every position in
/// [`Heldout::scored`] to [`Score::add`].
#[derive(Clone, Debug)]
pub struct Heldout {
    case: Case,
    figures: Figures,
    tokens: Vec<u32>,
    positions: Vec<usize>,
    top: usize,
    ids: Vec<u32>,
}

impl Heldout {
    /// The fixture of `model`, a folder below `golden/text`.
    ///
    /// # Errors
    /// [`CaseError`] if there is no such fixture or its arrays do not fit together.
    pub fn open(model: &str) -> Result<Self, CaseError> {
        let case = Case::open(&format!("text/{model}"))?;
        let figures: Figures = case.json("perplexity.json")?;
        let positions: Vec<usize> = case
            .ids("kl.positions")?
            .into_iter()
            .map(|p| p as usize)
            .collect();
        let shape = case.shape("kl.ids")?;
        let top = shape.last().copied().unwrap_or(0);
        let expected = [figures.chunks, positions.len(), top];
        if shape != expected || case.shape("tokens")? != [figures.chunks, figures.context] {
            return Err(CaseError::Malformed {
                path: case.folder().join("case.safetensors"),
                reason: format!("kl.ids or tokens have not the shape that {expected:?} asks for"),
            });
        }
        Ok(Self {
            tokens: case.ids("tokens")?,
            ids: case.ids("kl.ids")?,
            figures,
            positions,
            top,
            case,
        })
    }

    /// Number of chunks.
    pub fn chunks(&self) -> usize {
        self.figures.chunks
    }

    /// Tokens in a chunk.
    pub fn context(&self) -> usize {
        self.figures.context
    }

    /// The positions of a chunk whose next token is scored.
    pub fn scored(&self) -> std::ops::Range<usize> {
        self.context() / 2..self.context() - 1
    }

    /// The positions of a chunk that have a divergence.
    pub fn kl_positions(&self) -> &[usize] {
        &self.positions
    }

    /// llama.cpp's perplexity (llama-perplexity itself prints this to four decimals).
    pub fn perplexity(&self) -> f64 {
        self.figures.perplexity
    }

    /// Mean divergence of llama.cpp's defaults from what it computes in full.
    pub fn own_divergence(&self) -> f64 {
        self.figures.own_divergence
    }

    /// What llama-perplexity printed.
    pub fn perplexity_of_llama_perplexity(&self) -> f64 {
        self.figures.perplexity_of_llama_perplexity
    }

    /// The tokens of a chunk as the text has them: what is scored.
    pub fn tokens(&self, chunk: usize) -> &[u32] {
        &self.tokens[chunk * self.context()..][..self.context()]
    }

    /// The tokens of a chunk as the model sees them: where the file's metadata asks for a
    /// beginning-of-sequence token, it stands in place of the first.
    pub fn input(&self, chunk: usize) -> Vec<u32> {
        let mut input = self.tokens(chunk).to_vec();
        if self.figures.bos_at_chunk_start {
            // The whole text was tokenized with its special token in front.
            input[0] = self.tokens[0];
        }
        input
    }

    /// An empty score.
    pub fn score(&self) -> Score<'_> {
        Score {
            heldout: self,
            nll: 0.0,
            scored: 0,
            divergences: Vec::new(),
        }
    }

    /// KL(llama.cpp in full ‖ actual) in nats over llama.cpp's likeliest tokens and one bucket for all
    /// others, at the `index`-th of [`Heldout::kl_positions`]. Merging tokens can only lower a
    /// divergence: the full one is about a tenth higher (golden/README.md).
    fn divergence(&self, chunk: usize, index: usize, actual: &[f64]) -> Result<f64, CaseError> {
        let row = chunk * self.positions.len() + index;
        let ids = &self.ids[row * self.top..][..self.top];
        let reference = &self.case.f32s("kl.logprobs")?[row * self.top..][..self.top];
        let rest = f64::from(self.case.f32s("kl.rest")?[row]);
        let mut divergence = 0.0;
        let mut others: f64 = actual.iter().map(|q| q.exp()).sum();
        for (&id, &p) in ids.iter().zip(reference) {
            let (p, q) = (f64::from(p), actual[id as usize]);
            divergence += p.exp() * (p - q);
            others -= q.exp();
        }
        // What is left of a sum near 1 is rounding below this.
        let (rest, others) = (rest.max(1e-12), others.max(1e-12));
        Ok(divergence + rest * (rest / others).ln())
    }
}

/// Sums up a model's logits against a [`Heldout`].
#[derive(Clone, Debug)]
pub struct Score<'a> {
    heldout: &'a Heldout,
    nll: f64,
    scored: usize,
    divergences: Vec<f64>,
}

impl Score<'_> {
    /// Adds the logits (one for each token of the vocabulary) after `position` of `chunk`; positions
    /// outside [`Heldout::scored`] are left out.
    ///
    /// # Errors
    /// [`CaseError`] if the fixture lacks an array.
    pub fn add(&mut self, chunk: usize, position: usize, logits: &[f32]) -> Result<(), CaseError> {
        if !self.heldout.scored().contains(&position) {
            return Ok(());
        }
        let actual = log_softmax(logits);
        let next = self.heldout.tokens(chunk)[position + 1];
        self.nll -= actual[next as usize];
        self.scored += 1;
        if let Ok(index) = self.heldout.positions.binary_search(&position) {
            let divergence = self.heldout.divergence(chunk, index, &actual)?;
            self.divergences.push(divergence);
        }
        Ok(())
    }

    /// Number of tokens scored.
    pub fn scored(&self) -> usize {
        self.scored
    }

    /// e to the mean negative log-likelihood of what was added.
    pub fn perplexity(&self) -> f64 {
        (self.nll / self.scored as f64).exp()
    }

    /// The divergences, in the order in which the rows were added.
    pub fn divergences(&self) -> &[f64] {
        &self.divergences
    }

    /// Mean divergence of what was added.
    pub fn mean_kl(&self) -> f64 {
        self.divergences.iter().sum::<f64>() / self.divergences.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODELS: [&str; 2] = ["smollm2-135m", "gemma3-270m"];

    #[test]
    fn greedy_fixtures_have_ten_prompts() {
        for model in MODELS {
            let greedy = Greedy::open(model).unwrap();
            assert_eq!(greedy.prompts.len(), 10);
            assert_eq!(greedy.sha256.len(), 64);
            for prompt in &greedy.prompts {
                assert!(prompt.steps.len() >= 32, "{model} {}", prompt.id);
                assert!(
                    prompt
                        .steps
                        .iter()
                        .all(|s| s.gap() >= 0.0 && s.logprob <= 0.0)
                );
                assert_eq!(prompt.chat, prompt.messages.is_some());
            }
        }
    }

    #[test]
    fn agreement_forgives_near_ties_only() {
        let step = |id, logprob| Step {
            id,
            logprob,
            second: 9,
            second_logprob: -1.0,
        };
        let prompt = Prompt {
            id: String::new(),
            chat: false,
            messages: None,
            prompt: String::new(),
            prompt_ids: Vec::new(),
            text: String::new(),
            exact_steps: Vec::new(),
            steps: vec![step(1, -0.5), step(2, -0.96), step(3, -0.5)],
        };
        assert_eq!(prompt.agreement(&[1, 2, 3], 32), Agreement::Same);
        assert_eq!(prompt.agreement(&[1, 2, 4], 2), Agreement::Same);
        assert!(prompt.agreement(&[1, 9, 9], 32).is_equal());
        assert!(!prompt.agreement(&[9, 2, 3], 32).is_equal());
        let ended = prompt.agreement(&[1], 32);
        assert!(
            matches!(
                ended,
                Agreement::Differs {
                    step: 1,
                    actual: None,
                    ..
                }
            ),
            "{ended:?}"
        );
    }

    /// The stored log-probabilities of the scored tokens give the stored perplexity, and that is
    /// what llama-perplexity prints.
    #[test]
    fn perplexity_follows_from_the_scores() {
        for model in MODELS {
            let heldout = Heldout::open(model).unwrap();
            assert!(heldout.chunks() >= 4);
            let scores = heldout.case.f32s("logprobs").unwrap();
            assert_eq!(scores.len(), heldout.chunks() * heldout.scored().len());
            let mean = scores.iter().map(|x| f64::from(*x)).sum::<f64>() / scores.len() as f64;
            assert!(((-mean).exp() / heldout.perplexity() - 1.0).abs() < 1e-5);
            let printed = heldout.perplexity_of_llama_perplexity();
            assert!(
                (heldout.perplexity() / printed - 1.0).abs() < 2e-3,
                "{model}"
            );
        }
    }

    /// Logits made of the stored distributions have no divergence; a known change has a known one.
    #[test]
    fn divergence_of_known_logits() {
        let heldout = Heldout::open("smollm2-135m").unwrap();
        let vocabulary = 49152;
        let (chunk, index) = (1, 2);
        let position = heldout.kl_positions()[index];
        let row = chunk * heldout.kl_positions().len() + index;
        let rest = heldout.case.f32s("kl.rest").unwrap()[row];
        let others = (vocabulary - heldout.top) as f32;
        let mut logits = vec![(rest / others).ln(); vocabulary];
        let ids = &heldout.ids[row * heldout.top..][..heldout.top];
        let values = &heldout.case.f32s("kl.logprobs").unwrap()[row * heldout.top..];
        for (id, value) in ids.iter().zip(values) {
            logits[*id as usize] = *value;
        }
        let mut score = heldout.score();
        score.add(chunk, position, &logits).unwrap();
        score.add(chunk, 0, &logits).unwrap();
        assert_eq!((score.scored(), score.divergences().len()), (1, 1));
        assert!(score.mean_kl().abs() < 1e-5, "{}", score.mean_kl());
        // Twice the likeliest token's weight: KL = ln(1 + p) - p·ln 2.
        let p = f64::from(values[0]).exp();
        logits[ids[0] as usize] += 2f32.ln();
        let mut score = heldout.score();
        score.add(chunk, position, &logits).unwrap();
        let expected = (1.0 + p).ln() - p * 2f64.ln();
        assert!(
            (score.mean_kl() - expected).abs() < 1e-5,
            "{} {expected}",
            score.mean_kl()
        );
    }

    #[test]
    fn a_chunk_begins_as_the_metadata_says() {
        let gemma = Heldout::open("gemma3-270m").unwrap();
        assert_eq!((gemma.input(1)[0], gemma.input(1).len()), (2, 512));
        assert_ne!(gemma.tokens(1)[0], 2);
        assert_eq!(gemma.input(1)[1..], gemma.tokens(1)[1..]);
        let smollm = Heldout::open("smollm2-135m").unwrap();
        assert_eq!(smollm.input(1), smollm.tokens(1));
    }
}
