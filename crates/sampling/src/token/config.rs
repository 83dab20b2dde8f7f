use serde::{Deserialize, Serialize};

use crate::SamplingError;

/// How the next token is chosen from the logits.
///
/// The steps run in llama.cpp's default order, each on what the one before it left: logit bias,
/// mask, repetition / frequency / presence penalties, DRY, top-k, typical, top-p, min-p,
/// temperature. At temperature 0 the filters have nothing to do and the likeliest token is taken.
///
/// The default is llama.cpp's: temperature 0.8, top-k 40, top-p 0.95, min-p 0.05, no penalty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplerConfig {
    /// Divides the logits before the last softmax: 0 takes the likeliest token (of equal ones the
    /// lowest id), below 1 sharpens, above 1 flattens. 0 to 100.
    pub temperature: f32,
    /// Keeps this many of the likeliest tokens; of equal ones the lowest ids. 0 keeps all.
    pub top_k: usize,
    /// Keeps the fewest likeliest tokens whose probabilities sum to at least this. 0 to 1; 1 keeps
    /// all (nucleus sampling, Holtzman et al. 2019).
    pub top_p: f32,
    /// Keeps the tokens at least this many times as likely as the likeliest. 0 to 1; 0 keeps all.
    pub min_p: f32,
    /// Keeps the fewest tokens, those of the most expected surprise first, whose probabilities sum
    /// to more than this. 0 to 1; 1 keeps all (locally typical sampling, Meister et al. 2022).
    pub typical_p: f32,
    /// Divides the positive and multiplies the negative logits of recent tokens. Above 0, to 100;
    /// 1 does nothing (CTRL, Keskar et al. 2019).
    pub repeat_penalty: f32,
    /// How many recent tokens the three penalties look at: 0 none, -1 all.
    pub repeat_last_n: i32,
    /// Is taken from a recent token's logit once for each time it occurred. -100 to 100.
    pub frequency_penalty: f32,
    /// Is taken from a recent token's logit once. -100 to 100.
    pub presence_penalty: f32,
    /// Penalises tokens that would continue a repetition.
    pub dry: Option<Dry>,
    /// Is added to the logits of these tokens; -∞ forbids one.
    pub logit_bias: Vec<(u32, f32)>,
    /// Whether to report the log-probability of each chosen token. It takes a look at the whole
    /// row, which choosing alone does not.
    pub logprobs: bool,
    /// The same seed on the same logits gives the same tokens, on every platform.
    pub seed: u64,
}

/// "Don't repeat yourself": a token that would extend a sequence which already occurred is made
/// less likely, the more so the longer the sequence (p-e-w's sampler, as llama.cpp has it).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dry {
    /// The penalty is `multiplier · base^(length - allowed_length)`. 0 to 100; 0 does nothing.
    pub multiplier: f32,
    /// 1 to 100.
    pub base: f32,
    /// Repeated sequences shorter than this are free. At least 1.
    pub allowed_length: usize,
    /// How many recent tokens to search for repetitions: 0 none, -1 all.
    pub penalty_last_n: i32,
    /// Token sequences that no repetition reaches across, such as the token of a line break.
    pub sequence_breakers: Vec<Vec<u32>>,
}

impl Default for SamplerConfig {
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            typical_p: 1.0,
            repeat_penalty: 1.0,
            repeat_last_n: 64,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            dry: None,
            logit_bias: Vec::new(),
            logprobs: false,
            seed: 0,
        }
    }
}

impl Default for Dry {
    fn default() -> Self {
        Self {
            multiplier: 0.8,
            base: 1.75,
            allowed_length: 2,
            penalty_last_n: -1,
            sequence_breakers: Vec::new(),
        }
    }
}

impl SamplerConfig {
    /// The likeliest token at every step, with nothing between it and the model.
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            ..Self::default()
        }
    }

    /// The model's own distribution: temperature 1 and no filter.
    pub fn unfiltered(seed: u64) -> Self {
        Self {
            temperature: 1.0,
            seed,
            ..Self::greedy()
        }
    }

    /// Checks every parameter against its range, and every token id against a vocabulary of
    /// `vocab_size`.
    ///
    /// # Errors
    /// The first parameter that is wrong, with the range it must lie in.
    pub fn validate(&self, vocab_size: usize) -> Result<(), SamplingError> {
        let last = match u32::try_from(vocab_size) {
            Ok(size) if size > 0 => size - 1,
            _ => return Err(SamplingError::VocabularySize { size: vocab_size }),
        };
        within("temperature", self.temperature, 0.0..=100.0, "0 to 100")?;
        within("top_p", self.top_p, 0.0..=1.0, "0 to 1")?;
        within("min_p", self.min_p, 0.0..=1.0, "0 to 1")?;
        within("typical_p", self.typical_p, 0.0..=1.0, "0 to 1")?;
        let above_zero = f32::MIN_POSITIVE..=100.0;
        let range = "above 0 and at most 100";
        within("repeat_penalty", self.repeat_penalty, above_zero, range)?;
        let range = "-100 to 100";
        within(
            "frequency_penalty",
            self.frequency_penalty,
            -100.0..=100.0,
            range,
        )?;
        within(
            "presence_penalty",
            self.presence_penalty,
            -100.0..=100.0,
            range,
        )?;
        window("repeat_last_n", self.repeat_last_n)?;
        for &(id, bias) in &self.logit_bias {
            known("logit_bias", id, last)?;
            if bias.is_nan() || bias == f32::INFINITY {
                return Err(SamplingError::OutOfRange {
                    parameter: "logit_bias",
                    value: format!("{bias} for token {id}"),
                    allowed: "a finite number, or -inf to forbid the token",
                });
            }
        }
        self.dry.as_ref().map_or(Ok(()), |dry| dry.validate(last))
    }
}

impl Dry {
    fn validate(&self, last: u32) -> Result<(), SamplingError> {
        within("dry.multiplier", self.multiplier, 0.0..=100.0, "0 to 100")?;
        within("dry.base", self.base, 1.0..=100.0, "1 to 100")?;
        window("dry.penalty_last_n", self.penalty_last_n)?;
        if self.allowed_length == 0 {
            return Err(SamplingError::OutOfRange {
                parameter: "dry.allowed_length",
                value: "0".into(),
                allowed: "at least 1",
            });
        }
        for breaker in &self.sequence_breakers {
            if breaker.is_empty() {
                return Err(SamplingError::OutOfRange {
                    parameter: "dry.sequence_breakers",
                    value: "an empty sequence".into(),
                    allowed: "sequences of at least one token",
                });
            }
            for &id in breaker {
                known("dry.sequence_breakers", id, last)?;
            }
        }
        Ok(())
    }
}

fn within(
    parameter: &'static str,
    value: f32,
    range: std::ops::RangeInclusive<f32>,
    allowed: &'static str,
) -> Result<(), SamplingError> {
    // NaN is in no range.
    if range.contains(&value) {
        return Ok(());
    }
    Err(SamplingError::OutOfRange {
        parameter,
        value: value.to_string(),
        allowed,
    })
}

fn window(parameter: &'static str, value: i32) -> Result<(), SamplingError> {
    if value >= -1 {
        return Ok(());
    }
    Err(SamplingError::OutOfRange {
        parameter,
        value: value.to_string(),
        allowed: "a number of tokens, 0 for none or -1 for all",
    })
}

fn known(parameter: &'static str, id: u32, last: u32) -> Result<(), SamplingError> {
    if id <= last {
        return Ok(());
    }
    Err(SamplingError::UnknownToken {
        parameter,
        id,
        last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(change: impl FnOnce(&mut SamplerConfig)) -> String {
        let mut config = SamplerConfig {
            dry: Some(Dry::default()),
            ..SamplerConfig::default()
        };
        assert_eq!(config.validate(10), Ok(()));
        change(&mut config);
        let message = config.validate(10).unwrap_err().to_string();
        assert!(!message.contains('\n'));
        message
    }

    fn dry(config: &mut SamplerConfig) -> &mut Dry {
        config.dry.as_mut().unwrap()
    }

    #[test]
    fn every_parameter_is_checked_and_named() {
        assert_eq!(
            message(|c| c.temperature = -0.5),
            "temperature is -0.5, but it must be 0 to 100"
        );
        assert_eq!(
            message(|c| c.top_p = 1.5),
            "top_p is 1.5, but it must be 0 to 1"
        );
        assert_eq!(
            message(|c| c.min_p = f32::NAN),
            "min_p is NaN, but it must be 0 to 1"
        );
        assert!(message(|c| c.temperature = f32::INFINITY).contains("inf"));
        assert!(message(|c| c.typical_p = -1.0).starts_with("typical_p is -1"));
        assert!(message(|c| c.repeat_penalty = 0.0).contains("above 0"));
        assert!(message(|c| c.frequency_penalty = 101.0).contains("-100 to 100"));
        assert!(message(|c| c.presence_penalty = f32::NAN).starts_with("presence_penalty"));
        assert!(message(|c| c.repeat_last_n = -2).contains("-1 for all"));
        assert_eq!(
            message(|c| c.logit_bias = vec![(10, 1.0)]),
            "logit_bias names token 10, but the vocabulary ends at token 9"
        );
        assert!(message(|c| c.logit_bias = vec![(3, f32::NAN)]).contains("token 3"));
        assert!(message(|c| dry(c).multiplier = -1.0).starts_with("dry.multiplier"));
        assert!(message(|c| dry(c).base = 0.5).starts_with("dry.base is 0.5"));
        assert!(message(|c| dry(c).allowed_length = 0).contains("at least 1"));
        assert!(message(|c| dry(c).penalty_last_n = -7).contains("dry.penalty_last_n"));
        assert!(message(|c| dry(c).sequence_breakers = vec![vec![]]).contains("empty"));
        assert!(message(|c| dry(c).sequence_breakers = vec![vec![1, 11]]).contains("token 11"));
        assert!(SamplerConfig::default().validate(0).is_err());
    }

    #[test]
    fn json_fills_in_defaults_and_refuses_unknown_names() {
        let config: SamplerConfig =
            serde_json::from_str(r#"{"temperature": 0, "seed": 9}"#).unwrap();
        assert_eq!(
            (config.temperature, config.seed, config.top_k),
            (0.0, 9, 40)
        );
        assert!(serde_json::from_str::<SamplerConfig>(r#"{"temprature": 1}"#).is_err());
        assert!(serde_json::from_str::<SamplerConfig>(r#"{"seed": -1}"#).is_err());
    }
}
