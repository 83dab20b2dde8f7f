//! A look into a language model: what it thinks comes next after a text, and what it looks at to say so.

use medley_sampling::log_sum_exp;

use super::TextModel;
use crate::PipelineError;

/// Most tokens of a text that is looked into: the weights grow with their square, in every head of every layer.
pub const WATCHED: usize = 64;

/// Width of the classes that unlikely tokens are counted in, in nats.
const CLASS: f64 = 0.125;

/// Tokens with the logarithms of their probabilities.
type Named = Vec<(u32, f64)>;
/// Logarithms of mean probabilities, each with the number of tokens that it is the mean of.
type Classes = Vec<(f64, usize)>;

/// What was seen.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The text as the model reads it.
    pub tokens: Vec<u32>,
    /// The likeliest next tokens with the natural logarithm of their probability, likeliest first.
    pub next: Vec<(u32, f64)>,
    /// All others, counted by their probability: the logarithm of their mean, and how many they are, likeliest first.
    pub rest: Vec<(f64, usize)>,
    /// For each layer and head the weights of attention, `[length × length]` row after row: what each token takes from
    /// itself and those before it. Rows sum to 1.
    pub heads: Vec<Vec<Vec<f32>>>,
}

impl TextModel {
    /// Reads a text, plain and without a chat template, and says what was seen; `likeliest` next tokens are named.
    ///
    /// # Errors
    /// [`PipelineError::EmptyPrompt`], and [`PipelineError::InvalidRequest`] for more than [`WATCHED`] tokens.
    pub fn watch(&self, text: &str, likeliest: usize) -> Result<Watched, PipelineError> {
        let tokens = self.tokenizer.encode(text, true, false)?;
        if tokens.is_empty() {
            return Err(PipelineError::EmptyPrompt);
        }
        if tokens.len() > WATCHED {
            return Err(PipelineError::InvalidRequest(format!(
                "the prompt has {} tokens, but at most {WATCHED} can be looked into",
                tokens.len()
            )));
        }
        let (logits, layers) = self.decoder.forward_watched(&tokens)?;
        let (next, rest) = ranked(&logits, likeliest);
        let heads = layers
            .iter()
            .map(|layer| {
                let rows: Vec<Vec<Vec<f32>>> = layer.to_vec3()?;
                Ok(rows.into_iter().map(|head| head.concat()).collect())
            })
            .collect::<Result<_, medley_nn::Error>>()
            .map_err(medley_models::ConfigError::from)?;
        Ok(Watched {
            tokens,
            next,
            rest,
            heads,
        })
    }
}

/// The likeliest by number with their log-probabilities, and the classes of all others.
fn ranked(logits: &[f32], likeliest: usize) -> (Named, Classes) {
    let whole = log_sum_exp(logits);
    let mut all: Vec<(u32, f64)> = (0u32..)
        .zip(logits)
        .map(|(id, &logit)| (id, f64::from(logit) - whole))
        .collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let others = all.split_off(likeliest.min(all.len()));
    let mut rest: Vec<(i64, f64, usize)> = Vec::new();
    for (_, logprob) in others {
        let class = (logprob / CLASS).floor() as i64;
        match rest.last_mut() {
            Some((last, sum, count)) if *last == class => {
                *sum += logprob.exp();
                *count += 1;
            }
            _ => rest.push((class, logprob.exp(), 1)),
        }
    }
    let mean = |(_, sum, count): (i64, f64, usize)| ((sum / count as f64).ln(), count);
    let rest = rest.into_iter().map(mean);
    (all, rest.filter(|(mean, _)| mean.is_finite()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_what_is_not_named() {
        let logits: Vec<f32> = (0..1000)
            .map(|i| ((i * 7919) % 1000) as f32 / 150.0)
            .collect();
        let (next, rest) = ranked(&logits, 20);
        assert_eq!(next.len(), 20);
        assert!(next.windows(2).all(|pair| pair[0].1 >= pair[1].1));
        assert_eq!(logits[next[0].0 as usize], 999.0 / 150.0);
        assert_eq!(rest.iter().map(|class| class.1).sum::<usize>(), 980);
        assert!(rest.len() < 60, "{} classes", rest.len());
        // All of the distribution is there, at other temperatures too.
        for temperature in [1.0, 0.5, 2.0] {
            let mass = |logprob: f64| (logprob / temperature).exp();
            let found: f64 = next.iter().map(|one| mass(one.1)).sum::<f64>()
                + rest
                    .iter()
                    .map(|&(mean, count)| mass(mean) * count as f64)
                    .sum::<f64>();
            let scaled: Vec<f32> = logits.iter().map(|x| x / temperature as f32).collect();
            let exact = (log_sum_exp(&scaled) - log_sum_exp(&logits) / temperature).exp();
            assert!(
                (found / exact - 1.0).abs() < 2e-3,
                "{temperature}: {found} {exact}"
            );
        }
        assert_eq!(ranked(&logits, 5000).1, []);
    }
}
