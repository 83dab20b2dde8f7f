use serde::{Deserialize, Serialize};

use crate::{LoraUse, ToolCall, Tools};

/// A turn of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// What was said; of a tool, what came of the call.
    pub content: String,
    /// What the assistant thought before it spoke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// What the assistant asked to be called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Which of these calls a tool answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

impl Message {
    /// A turn of `role`.
    pub fn new(role: &str, content: impl Into<String>) -> Self {
        Self {
            role: role.to_owned(),
            content: content.into(),
            ..Self::default()
        }
    }
}

/// What the model goes on from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// A conversation, written down by the model's own chat template.
    Messages(Vec<Message>),
    /// Plain text to continue, no template.
    Raw(String),
    /// Ids of the model's own tokens to continue.
    Tokens(Vec<u32>),
}

/// How the next token is drawn. Absent values are the model's or the sampler's own defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// 0 takes the likeliest token each time.
    pub temperature: f32,
    /// Only the k likeliest tokens; 0 for all.
    pub top_k: usize,
    /// Only the likeliest tokens that together have this probability.
    pub top_p: f32,
    /// Only tokens that have at least this share of the likeliest one's probability.
    pub min_p: f32,
    /// Locally typical sampling; 1 switches it off.
    pub typical_p: f32,
    /// Divides the logits of tokens that occurred lately; 1 switches it off.
    pub repeat_penalty: f32,
    /// Tokens that the penalties look back on.
    pub repeat_last_n: usize,
    /// Taken off a logit for each occurrence.
    pub frequency_penalty: f32,
    /// Taken off a logit once if the token occurred.
    pub presence_penalty: f32,
    /// Strength of DRY, the penalty on repeated phrases; 0 switches it off.
    pub dry_multiplier: f32,
    /// Added to the logits of single tokens.
    pub logit_bias: Vec<(u32, f32)>,
}

impl Default for Sampling {
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
            dry_multiplier: 0.0,
            logit_bias: Vec::new(),
        }
    }
}

/// What the text must conform to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    /// A JSON schema.
    JsonSchema(serde_json::Value),
    /// A regular expression for the whole text.
    Regex(String),
    /// A grammar in Lark or GBNF notation.
    Grammar(String),
}

/// Where guesses at the next tokens come from. They change how fast a text comes, never the text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speculation {
    /// None are made.
    #[default]
    Off,
    /// From what followed the last tokens where they stood before, in the prompt or in the text.
    Lookup,
    /// From a small model with the same vocabulary: its name, file or folder.
    Draft(String),
}

impl Speculation {
    /// Whether no guesses are made.
    pub fn is_off(&self) -> bool {
        *self == Self::Off
    }
}

/// A task over material that is longer than the context: it is worked through in parts, so that the request holds the
/// task and what it is done over instead of a prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongTask {
    /// The task, such as `summarize` or `translate:French`.
    pub name: String,
    /// What the model is told before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The material, where it came from no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The files whose text is the material, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<crate::InputFile>,
}

/// A request for text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextRequest {
    /// Name, file or folder.
    pub model: String,
    /// What the model goes on from.
    pub prompt: Prompt,
    /// Most tokens to write; up to the end of the context where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// How tokens are drawn.
    #[serde(default)]
    pub sampling: Sampling,
    /// Seed of the draw.
    pub seed: u64,
    /// Strings that end the text and are not part of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// What the text must conform to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<Constraint>,
    /// Alternatives to report for each token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<usize>,
    /// Where guesses at the next tokens come from.
    #[serde(default, skip_serializing_if = "Speculation::is_off")]
    pub speculation: Speculation,
    /// Adapters on the model's layers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loras: Vec<LoraUse>,
    /// Functions that the model may ask to be called.
    #[serde(default, skip_serializing_if = "Tools::is_off")]
    pub tools: Tools,
    /// How much a model thinks before it speaks: `none`, `minimal`, `low`, `medium`, `high`; as its template has it where
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<String>,
    /// Whether the prompt's own tokens are told too, as events before those of the text; of the first nothing is known,
    /// and its log-probability is 0.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub echo_logprobs: bool,
    /// A task over material that does not fit one prompt; the prompt is empty then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Box<LongTask>>,
}

impl TextRequest {
    /// A request of `model` with all else as it usually is.
    pub fn new(model: impl Into<String>, prompt: Prompt, seed: u64) -> Self {
        Self {
            model: model.into(),
            prompt,
            max_tokens: None,
            sampling: Sampling::default(),
            seed,
            stop: Vec::new(),
            constraint: None,
            logprobs: None,
            speculation: Speculation::Off,
            loras: Vec::new(),
            tools: Tools::default(),
            effort: None,
            echo_logprobs: false,
            task: None,
        }
    }
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended it, a stop string came, or the constraint is fulfilled.
    Stop,
    /// The token limit or the end of the context was reached.
    Length,
    /// The user ended it.
    Cancelled,
}

/// A token with its log-probability under the model, before any filter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// Its text; bytes that are no whole character show as U+FFFD.
    pub token: String,
    /// Its id.
    pub id: u32,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// The likeliest tokens at its place, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<TokenLogprob>,
}

/// How fast it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TextTimings {
    /// Seconds to load the model; 0 where it was there already.
    pub load_s: f64,
    /// Prompt tokens read per second.
    pub prefill_tok_s: f64,
    /// Tokens written per second.
    pub decode_tok_s: f64,
    /// Tokens that were guessed.
    #[serde(default)]
    pub drafted: usize,
    /// Guessed tokens that became text.
    #[serde(default)]
    pub accepted: usize,
}

/// A text with what is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextWork {
    /// The text.
    pub text: String,
    /// Tokens that were written.
    pub tokens: usize,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// The stop string that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<String>,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens of the prompt that were known from before and not read again.
    #[serde(default)]
    pub cached_tokens: usize,
    /// How fast it went.
    pub timings: TextTimings,
    /// One entry per token, where asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<TokenLogprob>>,
}
