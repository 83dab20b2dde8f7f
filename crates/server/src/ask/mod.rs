//! What `/v1/chat/completions` and `/v1/completions` ask for, read out of their fields.

pub(crate) mod messages;
pub(crate) mod tools;

use medley_types::{Constraint, Prompt, Sampling, TextRequest};
use serde_json::{Value, json};

use crate::error::Answer;
use crate::fields::Fields;
use crate::service::{Names, Wanted};
use tools::Style;

/// Prompts of one request at most.
const PROMPTS: usize = 128;

/// Tokens that `/v1/completions` writes where it is not told.
const COMPLETION_TOKENS: usize = 16;

const CHAT: Names = Names {
    prompt: "messages",
    format: "response_format",
    effort: "reasoning_effort",
    schema: "function.parameters",
};

const COMPLETION: Names = Names {
    prompt: "prompt",
    ..CHAT
};

/// How much a model may be told to think.
const EFFORTS: [&str; 6] = ["none", "minimal", "low", "medium", "high", "xhigh"];

const UNSUPPORTED: &str = "is not supported here";

/// A request with the shape of its answer.
pub(crate) struct Ask {
    pub(crate) wanted: Wanted,
    pub(crate) chat: bool,
    pub(crate) stream: bool,
    /// Whether a stream ends with the count of tokens.
    pub(crate) usage: bool,
    pub(crate) logprobs: bool,
    /// Whether the prompt stands before its text.
    pub(crate) echo: bool,
    /// Whether it is told where the time went.
    pub(crate) timings: bool,
}

impl Ask {
    /// The body of `/v1/chat/completions`.
    pub(crate) fn chat(fields: &Fields) -> Answer<Self> {
        fields.refuse(
            &[
                "functions",
                "function_call",
                "audio",
                "web_search_options",
                "prediction",
                "store",
                "moderation",
            ],
            UNSUPPORTED,
        )?;
        let other = |m: &Value| m.as_str() != Some("text");
        if fields
            .list("modalities")?
            .is_some_and(|m| m.iter().any(other))
        {
            return Err(fields.wrong_value("modalities", "only 'text' can be written"));
        }
        if fields.text("verbosity")?.is_some_and(|v| v != "medium") {
            return Err(fields.unsupported("verbosity", UNSUPPORTED));
        }
        let top = fields.count("top_logprobs", 0..=20)?;
        let logprobs = fields.flag("logprobs")?.unwrap_or(false);
        if top.is_some() && !logprobs {
            return Err(fields.wrong_value("top_logprobs", "it goes with 'logprobs': true"));
        }
        let most = fields.count("max_completion_tokens", 1..=i64::MAX)?;
        let most = most.or(fields.count("max_tokens", 1..=i64::MAX)?);
        let request = TextRequest {
            max_tokens: most,
            logprobs: logprobs.then_some(top.unwrap_or(0)),
            constraint: format(fields)?,
            tools: tools::tools(fields, Style::Chat)?,
            effort: effort(fields, "reasoning_effort")?,
            ..request(fields)?
        };
        let prompt = Prompt::Messages(messages::messages(fields)?);
        Self::new(fields, request, vec![prompt], true)
    }

    /// The body of `/v1/completions`.
    pub(crate) fn completion(fields: &Fields) -> Answer<Self> {
        fields.refuse(
            &["suffix"],
            "is not supported: no model here fills in the middle",
        )?;
        let logprobs = fields.count("logprobs", 0..=5)?;
        let most = fields.count("max_tokens", 0..=i64::MAX)?;
        let request = TextRequest {
            max_tokens: Some(most.unwrap_or(COMPLETION_TOKENS)),
            logprobs,
            constraint: format(fields)?,
            ..request(fields)?
        };
        let mut ask = Self::new(fields, request, prompts(fields)?, false)?;
        ask.wanted.request.echo_logprobs = ask.echo;
        let best = fields.count("best_of", 1..=128)?;
        if best.is_some_and(|best| best != ask.wanted.n && best != 1) {
            return Err(fields.unsupported("best_of", "must be as large as 'n'"));
        }
        Ok(ask)
    }

    fn new(
        fields: &Fields,
        request: TextRequest,
        prompts: Vec<Prompt>,
        chat: bool,
    ) -> Answer<Self> {
        let tier = ["auto", "default"];
        fields.word("service_tier", &tier)?;
        let stream = fields.flag("stream")?.unwrap_or(false);
        let options = fields.object("stream_options")?;
        if options.is_some() && !stream {
            return Err(fields.wrong_value("stream_options", "it goes with 'stream': true"));
        }
        let usage = match options {
            Some(options) => options.flag("include_usage")?.unwrap_or(false),
            None => false,
        };
        Ok(Self {
            chat,
            stream,
            usage,
            logprobs: request.logprobs.is_some(),
            echo: !chat && fields.flag("echo")?.unwrap_or(false),
            timings: fields.flag("timings")?.unwrap_or(false),
            wanted: Wanted {
                request,
                prompts,
                n: fields.count("n", 1..=128)?.unwrap_or(1),
                names: if chat { CHAT } else { COMPLETION },
            },
        })
    }
}

/// How much the model shall think.
pub(crate) fn effort(fields: &Fields, name: &str) -> Answer<Option<String>> {
    Ok(fields.word(name, &EFFORTS)?.map(str::to_owned))
}

/// The model that a request names.
pub(crate) fn model(fields: &Fields) -> Answer<String> {
    fields.required("model")?;
    let model = fields.text("model")?.unwrap_or_default();
    Ok(model.to_owned())
}

/// What both ask for alike. `top_k`, `min_p` and `repeat_penalty` are not OpenAI's, but those of other local servers.
pub(crate) fn request(fields: &Fields) -> Answer<TextRequest> {
    let usual = Sampling::default();
    let f32_of = |name: &str, range, usual: f32| -> Answer<f32> {
        Ok(fields.number(name, range)?.map_or(usual, |n| n as f32))
    };
    let sampling = Sampling {
        temperature: f32_of("temperature", 0.0..=2.0, usual.temperature)?,
        top_p: f32_of("top_p", 0.0..=1.0, usual.top_p)?,
        min_p: f32_of("min_p", 0.0..=1.0, usual.min_p)?,
        top_k: fields.count("top_k", 0..=1_000_000)?.unwrap_or(usual.top_k),
        repeat_penalty: f32_of("repeat_penalty", 0.1..=10.0, usual.repeat_penalty)?,
        frequency_penalty: f32_of("frequency_penalty", -2.0..=2.0, 0.0)?,
        presence_penalty: f32_of("presence_penalty", -2.0..=2.0, 0.0)?,
        logit_bias: bias(fields)?,
        ..usual
    };
    let seed = fields.integer("seed", i64::MIN..=i64::MAX)?;
    Ok(TextRequest {
        sampling,
        stop: stop(fields)?,
        ..TextRequest::new(
            model(fields)?,
            Prompt::Tokens(Vec::new()),
            seed.map_or_else(rand::random, |seed| seed as u64),
        )
    })
}

fn bias(fields: &Fields) -> Answer<Vec<(u32, f32)>> {
    let Some(map) = fields.object("logit_bias")? else {
        return Ok(Vec::new());
    };
    let entry = |(id, _): (&String, &Value)| {
        let token = id.parse::<u32>().map_err(|_| {
            fields.wrong_value("logit_bias", "its keys must be ids of tokens, as strings")
        })?;
        let bias = map.number(id, -100.0..=100.0)?.unwrap_or(0.0);
        Ok((token, bias as f32))
    };
    map.iter().map(entry).collect()
}

fn stop(fields: &Fields) -> Answer<Vec<String>> {
    let wrong = || fields.wrong_type("stop", "a string or an array of strings");
    let list: Vec<String> = match fields.get("stop") {
        None => Vec::new(),
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(list)) => list
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong))
            .collect::<Answer<_>>()?,
        Some(_) => return Err(wrong()),
    };
    if list.len() > 4 {
        return Err(fields.wrong_value("stop", "at most 4 strings may be given"));
    }
    if list.iter().any(String::is_empty) {
        return Err(fields.wrong_value("stop", "a stop string must not be empty"));
    }
    Ok(list)
}

fn format(fields: &Fields) -> Answer<Option<Constraint>> {
    let Some(format) = fields.object("response_format")? else {
        return Ok(None);
    };
    format.required("type")?;
    let schema = match format.word("type", &["text", "json_object", "json_schema"])? {
        Some("json_object") => json!({ "type": "object" }),
        Some("json_schema") => {
            format.required("json_schema")?;
            let described = format.object("json_schema")?;
            let described =
                described.ok_or_else(|| format.wrong_type("json_schema", "an object"))?;
            described.required("name")?;
            schema(&described)?
        }
        _ => return Ok(None),
    };
    Ok(Some(Constraint::JsonSchema(schema)))
}

/// A schema with its name, as formats describe it; any object where none is given.
pub(crate) fn schema(described: &Fields) -> Answer<Value> {
    described.text("name")?;
    described.flag("strict")?;
    match described.get("schema") {
        None => Ok(json!({ "type": "object" })),
        Some(schema @ (Value::Object(_) | Value::Bool(_))) => Ok(schema.clone()),
        Some(_) => Err(described.wrong_type("schema", "an object")),
    }
}

/// A text, texts, tokens, or lists of tokens.
fn prompts(fields: &Fields) -> Answer<Vec<Prompt>> {
    fields.required("prompt")?;
    let texts = texts(fields, "prompt", PROMPTS)?;
    let prompt = |text| match text {
        Text::Plain(text) => Prompt::Raw(text),
        Text::Tokens(ids) => Prompt::Tokens(ids),
    };
    Ok(texts.into_iter().map(prompt).collect())
}

/// A text as words or as ids of tokens.
pub(crate) enum Text {
    Plain(String),
    Tokens(Vec<u32>),
}

/// A field that holds a text, texts, tokens, or lists of tokens; at most `most` texts, none of them empty.
pub(crate) fn texts(fields: &Fields, name: &str, most: usize) -> Answer<Vec<Text>> {
    let wrong = || fields.wrong_type(name, "a string, an array of strings, or arrays of tokens");
    let id = |value: &Value| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(wrong)
    };
    let ids = |list: &[Value]| list.iter().map(id).collect::<Answer<Vec<u32>>>();
    let texts: Vec<Text> = match fields.get(name) {
        Some(Value::String(text)) => vec![Text::Plain(text.clone())],
        Some(Value::Array(list)) if list.first().is_some_and(Value::is_number) => {
            vec![Text::Tokens(ids(list)?)]
        }
        Some(Value::Array(list)) => {
            let one = |item: &Value| match item {
                Value::String(text) => Ok(Text::Plain(text.clone())),
                Value::Array(list) => Ok(Text::Tokens(ids(list)?)),
                _ => Err(wrong()),
            };
            list.iter().map(one).collect::<Answer<_>>()?
        }
        _ => return Err(wrong()),
    };
    let empty = |text: &Text| match text {
        Text::Plain(text) => text.is_empty(),
        Text::Tokens(ids) => ids.is_empty(),
    };
    if texts.is_empty() || texts.iter().any(empty) {
        return Err(fields.wrong_value(name, "it must not be empty"));
    }
    if texts.len() > most {
        return Err(fields.wrong_value(name, &format!("at most {most} texts may be given")));
    }
    Ok(texts)
}
