//! Requests as they are kept: everything that counts is in them.

use medley_types::{
    ImageRequest, Medium, MusicRequest, Prompt, Request, Speculation, SpeechRequest, TextRequest,
    VideoRequest,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::{EngineError, Result};

fn wrong(field: &str, reason: impl Into<String>) -> EngineError {
    EngineError::BadRequest {
        field: field.to_owned(),
        reason: reason.into(),
    }
}

pub(super) fn unknown_medium() -> EngineError {
    wrong(
        "medium",
        "it must be 'text', 'image', 'speech', 'music' or 'video'",
    )
}

/// The request that this JSON is, a recipe, with a seed and a model where it names none. `model` gives the name of the
/// default model of a medium. A prompt for a text may be a plain string, which is what the user says.
///
/// # Errors
/// [`EngineError::BadRequest`] with the field, for what is no request, has a field that no request has, or needs files.
pub fn complete(value: &Value, model: impl FnOnce(Medium) -> Option<String>) -> Result<Request> {
    let Value::Object(fields) = value else {
        return Err(wrong("request", "it must be an object, a recipe"));
    };
    let mut fields = fields.clone();
    let medium = match fields.remove("medium") {
        Some(Value::String(medium)) if medium == "text" => Medium::Text,
        Some(Value::String(medium)) if medium == "image" => Medium::Image,
        Some(Value::String(medium)) if medium == "speech" => Medium::Speech,
        Some(Value::String(medium)) if medium == "music" => Medium::Music,
        Some(Value::String(medium)) if medium == "video" => Medium::Video,
        _ => return Err(unknown_medium()),
    };
    fields.retain(|_, value| !value.is_null());
    if !fields.contains_key("model") {
        let model = model(medium).ok_or_else(|| wrong("model", "there is no model for this"))?;
        fields.insert("model".into(), json!(model));
    }
    if !fields.contains_key("seed") {
        // 32 bits, which every generator of noise takes and every reader of JSON keeps.
        fields.insert("seed".into(), json!(rand::random::<u32>()));
    }
    match medium {
        Medium::Text => text(fields).map(Request::Text),
        Medium::Speech => speech(fields).map(Request::Speech),
        Medium::Music => music(fields).map(Request::Music),
        Medium::Video => video(fields).map(Request::Video),
        _ => image(fields).map(Request::Image),
    }
}

fn speech(fields: Map<String, Value>) -> Result<SpeechRequest> {
    let request: SpeechRequest = read(fields)?;
    let checked = medley_pipelines::speech::validate(&request);
    checked.map_err(|error| wrong("request", error.to_string()))?;
    Ok(request)
}

fn music(fields: Map<String, Value>) -> Result<MusicRequest> {
    let request: MusicRequest = read(fields)?;
    for (given, field) in [
        (request.init.is_some(), "init"),
        (request.soundfont.is_some(), "soundfont"),
    ] {
        if given {
            return Err(wrong(field, "it is a file, which no request can name here"));
        }
    }
    let complete = medley_pipelines::music::complete(&request, None);
    complete.map_err(|error| wrong("request", error.to_string()))
}

fn video(fields: Map<String, Value>) -> Result<VideoRequest> {
    let request: VideoRequest = read(fields)?;
    if request.sound.is_some() {
        return Err(wrong(
            "sound",
            "it is a file, which no request can name here",
        ));
    }
    let checked = medley_pipelines::video::validate(&request);
    checked.map_err(|error| wrong("request", error.to_string()))?;
    Ok(request)
}

fn text(mut fields: Map<String, Value>) -> Result<TextRequest> {
    match fields.get("prompt") {
        None => return Err(wrong("prompt", "it is missing")),
        Some(Value::String(said)) => {
            let said = json!({ "messages": [{ "role": "user", "content": said }] });
            fields.insert("prompt".into(), said);
        }
        Some(_) => {}
    }
    let request: TextRequest = read(fields)?;
    if matches!(&request.prompt, Prompt::Messages(messages) if messages.is_empty()) {
        return Err(wrong("prompt", "it has no messages"));
    }
    if matches!(request.speculation, Speculation::Draft(_)) {
        return Err(wrong("speculation", "no draft model can be named here"));
    }
    if !request.loras.is_empty() {
        return Err(no_adapters());
    }
    Ok(request)
}

fn image(fields: Map<String, Value>) -> Result<ImageRequest> {
    let request: ImageRequest = read(fields)?;
    if !request.loras.is_empty() {
        return Err(no_adapters());
    }
    let checked = medley_pipelines::image::validate(&request);
    checked.map_err(|error| wrong("request", error.to_string()))?;
    Ok(request)
}

fn no_adapters() -> EngineError {
    wrong(
        "loras",
        "adapters are files, which no request can name here",
    )
}

/// Reads a struct; fields that it does not have are refused rather than ignored.
fn read<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T> {
    let mut unknown = None;
    let read = serde_ignored::deserialize(Value::Object(fields), |path| {
        unknown.get_or_insert(path.to_string());
    });
    match (read, unknown) {
        (Err(error), _) => Err(wrong("request", error.to_string())),
        (_, Some(unknown)) => Err(wrong(&unknown, "no such request has this field")),
        (Ok(request), None) => Ok(request),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(value: Value) -> Result<Request> {
        super::complete(&value, |_| Some("usual".into()))
    }

    #[test]
    fn what_is_missing_is_filled_in_and_a_recipe_stays_as_it_is() {
        let Ok(Request::Image(image)) = complete(json!({ "medium": "image", "prompt": "a pear" }))
        else {
            panic!("an image");
        };
        assert_eq!((image.model.as_str(), image.count), ("usual", 1));
        let recipe = json!(Request::Image(ImageRequest {
            steps: Some(7),
            ..image
        }));
        assert_eq!(json!(complete(recipe.clone()).unwrap()), recipe);
        let Ok(Request::Text(text)) =
            complete(json!({ "medium": "text", "prompt": "Hello", "model": "m", "seed": 3 }))
        else {
            panic!("a text");
        };
        assert!(matches!(&text.prompt, Prompt::Messages(m) if m[0].content == "Hello"));
        let recipe = json!(Request::Text(text));
        assert_eq!(json!(complete(recipe.clone()).unwrap()), recipe);
    }

    #[test]
    fn what_cannot_be_kept_is_refused_by_its_field() {
        for (value, field) in [
            (json!([]), "request"),
            (json!({ "prompt": "x" }), "medium"),
            (json!({ "medium": "smell", "prompt": "x" }), "medium"),
            (
                json!({ "medium": "video", "prompt": "x", "fps": 500 }),
                "request",
            ),
            (
                json!({ "medium": "video", "prompt": "x", "sound": { "sha256": "00" } }),
                "sound",
            ),
            (json!({ "medium": "speech", "text": " " }), "request"),
            (
                json!({ "medium": "speech", "text": "x", "speed": 9 }),
                "request",
            ),
            (
                json!({ "medium": "music", "prompt": "x", "seconds": 1 }),
                "request",
            ),
            (
                json!({ "medium": "music", "prompt": "x", "init": { "sha256": "00" } }),
                "init",
            ),
            (json!({ "medium": "text" }), "prompt"),
            (
                json!({ "medium": "text", "prompt": { "messages": [] } }),
                "prompt",
            ),
            (
                json!({ "medium": "text", "prompt": "x", "speculation": { "draft": "/etc/passwd" } }),
                "speculation",
            ),
            (
                json!({ "medium": "text", "prompt": "x", "sampling": { "temprature": 1 } }),
                "sampling.temprature",
            ),
            (
                json!({ "medium": "image", "prompt": "x", "stepps": 3 }),
                "stepps",
            ),
            (
                json!({ "medium": "image", "prompt": "x", "steps": 0 }),
                "request",
            ),
            (
                json!({ "medium": "image", "prompt": "x", "seed": -1 }),
                "request",
            ),
            (
                json!({ "medium": "image", "prompt": "x", "loras": [{ "sha256": "00", "weight": 1 }] }),
                "loras",
            ),
        ] {
            match complete(value.clone()) {
                Err(EngineError::BadRequest { field: found, .. }) => {
                    assert_eq!(found, field, "{value}")
                }
                other => panic!("{value}: {other:?}"),
            }
        }
    }
}
