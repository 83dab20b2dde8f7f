//! What is asked for of pictures, read out of the fields.

use medley_engine::image::{Format, ImageConfig};
use medley_engine::serving::Purpose;
use medley_types::{ImageRequest, InitPicture};
use serde_json::Value;

use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::service::Service;

/// Longest prompt, in characters.
const PROMPT: usize = 32_000;

/// How much of a picture is made anew where nothing is said and no mask says where.
const STRENGTH: f64 = 0.6;

/// How pictures are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) format: Format,
    pub(crate) name: &'static str,
    pub(super) quality: Option<u8>,
    /// As addresses, not as base64.
    pub(super) url: bool,
    /// As events.
    pub(super) stream: bool,
    /// Events with what a picture looks like so far, of each picture.
    pub(crate) partial: usize,
    /// The word for how carefully they are drawn.
    pub(crate) care: &'static str,
}

impl Sent {
    /// How many steps are taken in place of each of the model's own.
    pub(super) fn steps(&self) -> Option<f64> {
        match self.care {
            "low" => Some(0.5),
            "high" | "hd" => Some(2.0),
            _ => None,
        }
    }
}

/// How pictures are to be sent; refuses what is not drawn here.
pub(crate) fn sent(fields: &Fields, kept: bool) -> Answer<Sent> {
    fields.refuse(&["style"], "is not supported here")?;
    fields.refuse(
        &["input_fidelity"],
        "is not supported: 'strength' says how much of a picture is kept",
    )?;
    for (name, words) in [
        ("background", &["auto", "opaque"]),
        ("moderation", &["auto", "low"]),
    ] {
        fields.word(name, words)?;
    }
    let qualities = ["auto", "standard", "low", "medium", "high", "hd"];
    let care = fields.word("quality", &qualities)?.unwrap_or("auto");
    if fields.get("steps").is_some() && !matches!(care, "auto" | "standard" | "medium") {
        return Err(fields.wrong_value(
            "quality",
            "it stands for a number of steps, as 'steps' does; give one of them",
        ));
    }
    let url = fields.word("response_format", &["b64_json", "url"])? == Some("url");
    if url && !kept {
        return Err(fields.unsupported(
            "response_format",
            "can only be 'b64_json': pictures are not kept here",
        ));
    }
    let stream = fields.flag("stream")?.unwrap_or(false);
    let partial = fields.count("partial_images", 0..=3)?;
    if partial.is_some_and(|partial| partial > 0) && !stream {
        return Err(fields.wrong_value("partial_images", "it goes with 'stream': true"));
    }
    if stream && url {
        return Err(fields.unsupported("response_format", "can only be 'b64_json' in a stream"));
    }
    let (format, name, quality) = format(fields)?;
    Ok(Sent {
        format,
        name,
        quality,
        url,
        stream,
        partial: partial.unwrap_or(0),
        care,
    })
}

fn format(fields: &Fields) -> Answer<(Format, &'static str, Option<u8>)> {
    let name = fields.word("output_format", &["png", "jpeg", "webp"])?;
    let name = name.unwrap_or("png");
    let format = match name {
        "jpeg" => Format::Jpeg,
        "webp" => Format::WebP,
        _ => Format::Png,
    };
    let compression = fields.count("output_compression", 0..=100)?;
    let quality = match (format, compression) {
        (_, None) | (Format::Png, Some(100)) => None,
        (Format::Png, Some(_)) => {
            return Err(
                fields.wrong_value("output_compression", "PNG loses nothing; take jpeg or webp")
            );
        }
        (_, Some(quality)) => Some(u8::try_from(quality.max(1)).unwrap_or(100)),
    };
    Ok((format, name, quality))
}

/// The request. `seed`, `steps`, `guidance`, `negative_prompt`, `sampler`, `upscale` and, of edits, `strength` are our own.
pub(crate) async fn request(service: &Service, fields: &Fields) -> Answer<ImageRequest> {
    let prompt = match fields.required("prompt")? {
        Value::String(text) => text.trim().to_owned(),
        _ => return Err(fields.wrong_type("prompt", "a string")),
    };
    if prompt.chars().count() > PROMPT {
        return Err(fields.wrong_value("prompt", &format!("it has more than {PROMPT} characters")));
    }
    let size = match fields.text("size")? {
        None | Some("auto") => None,
        Some(text) => {
            let sides = text.split_once('x').and_then(|(width, height)| {
                Some([width.parse::<u32>().ok()?, height.parse::<u32>().ok()?])
            });
            let form = "write WIDTHxHEIGHT in pixels, or auto";
            Some(sides.ok_or_else(|| fields.wrong_value("size", form))?)
        }
    };
    let seed = fields.integer("seed", 0..=i64::from(u32::MAX))?;
    let upscale = fields.count("upscale", 1..=4)?;
    if upscale == Some(3) {
        return Err(fields.wrong_value(
            "upscale",
            "pictures are made 2 or 4 times larger; 1 leaves them",
        ));
    }
    let small = |number: usize| u32::try_from(number).unwrap_or(1);
    Ok(ImageRequest {
        model: model(service, fields).await?,
        prompt,
        size,
        negative: fields
            .text("negative_prompt")?
            .unwrap_or_default()
            .to_owned(),
        steps: fields.count("steps", 1..=1000)?.map(small),
        guidance: fields.number("guidance", 0.0..=100.0)?,
        sampler: fields.text("sampler")?.map(str::to_owned),
        upscale: upscale.map(small),
        seed: seed.map_or_else(|| u64::from(rand::random::<u32>()), |seed| seed as u64),
        count: fields.count("n", 1..=10)?.map_or(1, small),
        ..ImageRequest::default()
    })
}

/// The model that is named, or the first that draws.
async fn model(service: &Service, fields: &Fields) -> Answer<String> {
    if let Some(model) = fields.text("model")? {
        return Ok(model.to_owned());
    }
    let cards = service.cards().await?;
    let card = cards.into_iter().find(|c| c.purpose == Purpose::Image);
    let card = card.ok_or_else(|| fields.wrong_value("model", "no model here draws pictures"))?;
    Ok(card.id)
}

/// How much of a picture with this SHA-256 is made anew.
pub(crate) fn init(fields: &Fields, sha256: String, masked: bool) -> Answer<InitPicture> {
    let strength = fields.number("strength", 0.0..=1.0)?;
    if strength == Some(0.0) {
        return Err(fields.wrong_value("strength", "it must be above 0"));
    }
    let usual = if masked { 1.0 } else { STRENGTH };
    Ok(InitPicture {
        file: medley_types::InputFile { sha256 },
        strength: strength.unwrap_or(usual),
    })
}

/// The request completed for a model, with more steps or fewer where that is asked for.
pub(crate) fn complete(
    config: &ImageConfig,
    fields: &Fields,
    sent: &Sent,
    request: &ImageRequest,
) -> Answer<ImageRequest> {
    let complete = config.complete(request);
    let complete = complete.map_err(|error| of_pipeline(&error, request))?;
    with_care(sent, fields, complete)
}

/// More steps or fewer than the model's own, for who asks for more care or less.
fn with_care(sent: &Sent, fields: &Fields, complete: ImageRequest) -> Answer<ImageRequest> {
    let Some(factor) = sent.steps() else {
        return Ok(complete);
    };
    let Some(steps) = complete.steps else {
        let why = "the model draws in one pass, which is no more or less careful";
        return Err(fields.wrong_value("quality", why));
    };
    let steps = (f64::from(steps) * factor).round().clamp(1.0, 1000.0);
    Ok(ImageRequest {
        steps: Some(steps as u32),
        ..complete
    })
}

/// What the model cannot honour, with the field where it is known.
fn of_pipeline(error: &medley_engine::PipelineError, request: &ImageRequest) -> ApiError {
    use medley_engine::PipelineError;
    let told = ApiError::of_pipeline(error, "prompt");
    match error {
        PipelineError::InvalidRequest(message)
            if request.size.is_some() && message.contains("cannot draw") =>
        {
            told.about("size")
        }
        PipelineError::InvalidRequest(message) if message.contains("to start from") => {
            told.about("image")
        }
        _ => told,
    }
}
