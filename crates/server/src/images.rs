use axum::Json;
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use medley_engine::PipelineError;
use medley_engine::image::{self, Format, Images, Speed};
use medley_engine::serving::Purpose;
use medley_types::{ImageRequest, Request};
use serde_json::{Value, json};

use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::said::now;
use crate::service::Service;

/// Longest prompt, in characters.
const PROMPT: usize = 32_000;

/// How pictures are sent.
#[derive(Clone, Copy)]
struct Sent {
    format: Format,
    name: &'static str,
    quality: Option<u8>,
}

/// Carries out a request for pictures.
pub(crate) async fn respond(service: &Service, fields: &Fields) -> Answer {
    refuse(fields)?;
    let sent = sent(fields)?;
    let request = request(service, fields).await?;
    let (generator, _place) = service.painter(&request.model).await?;
    let complete = generator.config().complete(&request);
    let complete = complete.map_err(|error| of_pipeline(&error, &request))?;
    // How long it takes is not asked here, so any speed does.
    let plan = generator.plan(&complete, &Speed { flops_per_s: 1e9 });
    let memory = image::check_memory(&plan, medley_engine::available_memory());
    memory.map_err(|error| {
        ApiError::unavailable(Some("insufficient_memory"), error.to_string()).about("size")
    })?;
    let images = service.draw(generator, complete.clone()).await?;
    let size = format!("{}x{}", images.work.width, images.work.height);
    let encoding = tokio::task::spawn_blocking(move || encode(&images, &complete, sent));
    let data = encoding
        .await
        .map_err(|_| ApiError::internal("the pictures could not be written"))??;
    let answer = json!({
        "created": now(), "data": data, "background": "opaque", "output_format": sent.name, "size": size,
    });
    Ok(Json(answer).into_response())
}

/// Refuses what is not drawn here.
fn refuse(fields: &Fields) -> Answer<()> {
    let why = "is not supported here";
    fields.refuse(&["stream", "partial_images", "style"], why)?;
    if fields.word("response_format", &["b64_json", "url"])? == Some("url") {
        return Err(fields.unsupported(
            "response_format",
            "can only be 'b64_json': pictures are not kept here",
        ));
    }
    for (name, words) in [
        ("quality", &["auto", "standard"]),
        ("background", &["auto", "opaque"]),
        ("moderation", &["auto", "low"]),
    ] {
        fields.word(name, words)?;
    }
    Ok(())
}

fn sent(fields: &Fields) -> Answer<Sent> {
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
    Ok(Sent {
        format,
        name,
        quality,
    })
}

/// `seed`, `steps`, `guidance` and `negative_prompt` are our own.
async fn request(service: &Service, fields: &Fields) -> Answer<ImageRequest> {
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
    let model = match fields.text("model")? {
        Some(model) => model.to_owned(),
        None => {
            let cards = service.cards().await?;
            let card = cards.into_iter().find(|c| c.purpose == Purpose::Image);
            card.ok_or_else(|| fields.wrong_value("model", "no model here draws pictures"))?
                .id
        }
    };
    let seed = fields.integer("seed", 0..=i64::from(u32::MAX))?;
    Ok(ImageRequest {
        model,
        prompt,
        size,
        negative: fields
            .text("negative_prompt")?
            .unwrap_or_default()
            .to_owned(),
        steps: fields
            .count("steps", 1..=1000)?
            .map(|n| u32::try_from(n).unwrap_or(1)),
        guidance: fields.number("guidance", 0.0..=100.0)?,
        seed: seed.map_or_else(|| u64::from(rand::random::<u32>()), |seed| seed as u64),
        count: u32::try_from(fields.count("n", 1..=10)?.unwrap_or(1)).unwrap_or(1),
        ..ImageRequest::default()
    })
}

/// What the model cannot honour, with the field where it is known.
fn of_pipeline(error: &PipelineError, request: &ImageRequest) -> ApiError {
    let told = ApiError::of_pipeline(error, "prompt");
    match error {
        PipelineError::InvalidRequest(message)
            if request.size.is_some() && message.contains("cannot draw") =>
        {
            told.about("size")
        }
        _ => told,
    }
}

/// The pictures with their recipes inside, each with that which makes it alone.
fn encode(images: &Images, request: &ImageRequest, sent: Sent) -> Answer<Vec<Value>> {
    let pictures = images.pictures.iter().zip(&images.work.seeds);
    let one = |(picture, &seed)| {
        let alone = ImageRequest {
            seed,
            count: 1,
            ..request.clone()
        };
        let recipe = json!(Request::Image(alone)).to_string();
        let bytes = image::encode(picture, sent.format, sent.quality, Some(&recipe));
        let bytes = bytes.map_err(|error| ApiError::internal(error.to_string()))?;
        Ok(json!({ "b64_json": STANDARD.encode(bytes) }))
    };
    pictures.map(one).collect()
}
