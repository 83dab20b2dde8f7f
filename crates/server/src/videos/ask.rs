//! What is asked of a clip, as JSON or as a form with a first frame.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use http_body_util::Limited;
use medley_engine::PipelineError;
use medley_engine::image::{Format, ImageConfig};
use medley_engine::library::Upload;
use medley_engine::video;
use medley_types::{ClipInit, InputFile, Medium, VideoRequest};
use serde_json::{Map, Value};

use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::form::{self, FIELDS};
use crate::jobs::{is_form, usual};
use crate::service::Service;

/// Most bytes of a first frame or clip, with all that comes with it.
pub(super) const UPLOAD: usize = 64 << 20;

/// Longest prompt, in characters.
const PROMPT: usize = 32_000;

/// The file.
const REFERENCE: &str = "input_reference";

/// Fields that are numbers; a form has only words.
const NUMBERS: [&str; 7] = [
    "seconds", "frames", "fps", "steps", "guidance", "upscale", "seed",
];

/// Times as many frames as are drawn that a length is looked for among, and rates.
const TIMES: u32 = 8;
const RATES: std::ops::RangeInclusive<f64> = 1.0..=60.0;

/// A clip that is asked for.
pub(crate) struct Asked {
    fields: Fields,
    reference: Option<Vec<u8>>,
}

impl Asked {
    /// A clip that starts from nothing.
    pub(crate) fn of(fields: Fields) -> Self {
        Self {
            fields,
            reference: None,
        }
    }
}

pub(super) async fn read(service: &Arc<Service>, request: Request) -> Answer<Asked> {
    if is_form(&request) {
        return read_form(service, request).await;
    }
    let most = service.settings.body;
    let request = request.map(|body| Body::new(Limited::new(body, most)));
    let fields = Fields::of_request(request).await?;
    let reference = match fields.get(REFERENCE) {
        None => None,
        Some(Value::String(_)) => fields.text(REFERENCE)?.map(str::to_owned),
        Some(_) => {
            let object = fields.object(REFERENCE)?;
            let why = "no files are kept here under ids; send the picture itself";
            let object = object.filter(|object| !object.iter().all(|(_, v)| v.is_null()));
            match object {
                Some(object) => {
                    object.refuse(&["file_id"], why)?;
                    object.text("image_url")?.map(str::to_owned)
                }
                None => None,
            }
        }
    };
    let reference = reference.map(|url| {
        form::data_url(&url).ok_or_else(|| {
            let problem = "the picture must come as 'data:image/png;base64,…': nothing is fetched";
            fields.wrong_value(REFERENCE, problem)
        })
    });
    let reference = reference.transpose()?;
    Ok(Asked { fields, reference })
}

async fn read_form(service: &Arc<Service>, request: Request) -> Answer<Asked> {
    let mut form = form::open(service, request, UPLOAD).await?;
    let (mut words, mut reference) = (Map::new(), None);
    while let Some(field) = form.next().await? {
        let name = field.name();
        if name == REFERENCE {
            reference = Some(field.bytes().await?);
            continue;
        }
        if words.len() >= FIELDS {
            return Err(ApiError::invalid(None, "The form has too many fields."));
        }
        let text = field.text().await?;
        let number = NUMBERS.contains(&name.as_str());
        let number = number.then(|| serde_json::from_str(text.trim()).ok());
        let value = number.flatten().map_or(Value::String(text), Value::Number);
        words.insert(name, value);
    }
    Ok(Asked {
        fields: Fields::new(words),
        reference,
    })
}

/// What is to be seen.
pub(super) fn prompt(fields: &Fields) -> Answer<String> {
    fields.required("prompt")?;
    let prompt = fields.text("prompt")?.unwrap_or_default().trim();
    if prompt.chars().count() > PROMPT {
        return Err(fields.wrong_value("prompt", &format!("it has more than {PROMPT} characters")));
    }
    Ok(prompt.to_owned())
}

/// A file that a clip starts from.
pub(super) fn upload(bytes: Vec<u8>) -> Upload {
    let mime = Format::of_bytes(&bytes).map_or("video/mp4", Format::mime);
    Upload::new(mime, bytes)
}

/// The request, completed for its model, with the file that it names.
pub(crate) async fn request(
    service: &Service,
    asked: Asked,
) -> Answer<(VideoRequest, Vec<Upload>)> {
    let Asked { fields, reference } = asked;
    let model = match fields.text("model")? {
        Some(model) => model.to_owned(),
        None => {
            let cards = service.cards().await?;
            let none = || fields.wrong_value("model", "no model here makes clips");
            usual(&cards, Medium::Video).ok_or_else(none)?
        }
    };
    let config = service.clip_config(&model).await?;
    let file = match reference {
        Some(bytes) => Some(readable(&fields, bytes).await?),
        None => None,
    };
    let init = file.as_ref().map(|file| ClipInit {
        file: InputFile {
            sha256: file.sha256.clone(),
        },
        pad: false,
    });
    let request = plain(&fields, model, init)?;
    let request = sized(&fields, &config, request)?;
    let request = timed(&fields, &config, request)?;
    let complete = video::complete(&config, &request);
    let complete = complete.map_err(|error| refusal(&error, &fields))?;
    Ok((complete, file.into_iter().collect()))
}

/// The file, once it can be read as a picture or a clip.
async fn readable(fields: &Fields, bytes: Vec<u8>) -> Answer<Upload> {
    let reading =
        tokio::task::spawn_blocking(move || video::clip_of(&bytes).map(|_| upload(bytes)));
    let read = reading.await;
    let read = read.map_err(|_| ApiError::internal("the picture could not be read"))?;
    read.map_err(|error| {
        let told = fields.wrong_value(REFERENCE, &error.to_string());
        ApiError {
            code: Some("invalid_image"),
            ..told
        }
    })
}

/// All but size and time.
fn plain(fields: &Fields, model: String, init: Option<ClipInit>) -> Answer<VideoRequest> {
    let small = |name: &str, most: i64| -> Answer<Option<u32>> {
        let number = fields.integer(name, 1..=most)?;
        Ok(number.and_then(|number| u32::try_from(number).ok()))
    };
    let pad = fields.word("fit", &["crop", "pad"])? == Some("pad");
    let seed = fields.integer("seed", 0..=i64::from(u32::MAX))?;
    let text = |name: &str| -> Answer<Option<String>> { Ok(fields.text(name)?.map(str::to_owned)) };
    Ok(VideoRequest {
        model,
        prompt: prompt(fields)?,
        negative: text("negative_prompt")?.unwrap_or_default(),
        frames: small("frames", 10_000)?,
        fps: small("fps", 240)?,
        steps: small("steps", 1000)?,
        guidance: fields.number("guidance", 0.0..=100.0)?,
        sampler: text("sampler")?,
        upscale: small("upscale", 8)?,
        seed: seed.map_or_else(|| u64::from(rand::random::<u32>()), i64::unsigned_abs),
        init: init.map(|init| ClipInit { pad, ..init }),
        ..VideoRequest::default()
    })
}

/// `size` is what comes out; what is drawn is as many times smaller as it is enlarged.
fn sized(fields: &Fields, config: &ImageConfig, request: VideoRequest) -> Answer<VideoRequest> {
    let Some(text) = fields.text("size")?.filter(|size| *size != "auto") else {
        return Ok(request);
    };
    let sides = text.split_once('x');
    let sides = sides.and_then(|(w, h)| Some([w.parse::<u32>().ok()?, h.parse::<u32>().ok()?]));
    let sides = sides.ok_or_else(|| fields.wrong_value("size", "it must be as '128x128'"))?;
    let times = request.upscale.unwrap_or(config.sampler.upscale).max(1);
    if sides.iter().any(|side| !side.is_multiple_of(times)) {
        let [width, height] = config.size.map(|side| side * times);
        let problem = format!("this model makes {width}x{height}");
        return Err(fields.wrong_value("size", &problem));
    }
    Ok(VideoRequest {
        size: Some(sides.map(|side| side / times)),
        // A size that is drawn would stay as it is.
        upscale: Some(times),
        ..request
    })
}

/// Frames and rate for the seconds that are asked for: those that come nearest, and of them those that are nearest to the usual
/// number of frames.
fn timed(fields: &Fields, config: &ImageConfig, request: VideoRequest) -> Answer<VideoRequest> {
    let seconds = match fields.get("seconds") {
        // OpenAI has it as a word.
        Some(Value::String(text)) => {
            let number = text.trim().parse::<f64>().ok().filter(|s| s.is_finite());
            let wrong = || fields.wrong_value("seconds", "it must be a number of seconds");
            Some(number.ok_or_else(wrong)?)
        }
        _ => fields.number("seconds", 0.0..=600.0)?,
    };
    let (Some(seconds), Some(clip)) = (seconds, config.clip) else {
        return Ok(request);
    };
    if request.frames.is_some() && request.fps.is_some() {
        let problem = "'frames' and 'fps' say it already";
        return Err(fields.wrong_value("seconds", problem));
    }
    let ways = (1..=TIMES).map(|times| times * clip.frames);
    let ways = ways.filter(|frames| request.frames.is_none_or(|asked| asked == *frames));
    let ways = ways.map(|frames| {
        let rate = f64::from(frames) / seconds;
        let rate = request
            .fps
            .map_or(rate.round().clamp(*RATES.start(), *RATES.end()), f64::from);
        let off = (f64::from(frames) / rate - seconds).abs();
        let unusual = frames.abs_diff(clip.frames * clip.smooth);
        (off, unusual, frames, rate)
    });
    let best = ways.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    // A number of frames that cannot be is refused with all else.
    let Some((off, _, frames, rate)) = best else {
        return Ok(request);
    };
    if off > 0.25 * seconds {
        let nearest = f64::from(frames) / rate;
        let problem = format!("this model can make {nearest:.1} seconds, the nearest to it");
        return Err(fields.wrong_value("seconds", &problem));
    }
    Ok(VideoRequest {
        frames: Some(frames),
        fps: Some(rate as u32),
        ..request
    })
}

/// What is wrong, with the field that says it.
fn refusal(error: &PipelineError, fields: &Fields) -> ApiError {
    let message = error.to_string();
    let given = |name: &&str| fields.get(name).is_some();
    let blamed = [
        ("frames", "frames"),
        ("size", "cannot draw"),
        ("steps", "steps"),
        ("sampler", "sampler"),
        ("guidance", "guidance"),
        ("upscale", "larger"),
        ("upscale", "upscal"),
        ("negative_prompt", "negative"),
    ];
    let blamed = blamed
        .into_iter()
        .filter(|(_, word)| message.contains(word));
    match blamed.map(|(name, _)| name).find(given) {
        Some(name) => fields.wrong_value(name, &message),
        None => ApiError::of_pipeline(error, "prompt"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        let Value::Object(map) = value else {
            panic!("an object");
        };
        Fields::new(map)
    }

    fn config() -> ImageConfig {
        ImageConfig::from_json(json!({
            "medium": "video", "architecture": "dit", "size": [32, 32], "text_encoder": "encoder",
            "clip": { "frames": 16, "rate": 5.0, "smooth": 4 },
            "sampler": { "steps": 12, "guidance": 2.0, "upscale": 4 },
        }))
        .unwrap()
    }

    #[test]
    fn seconds_become_frames_and_a_rate() {
        let time = |value| {
            let asked = fields(value);
            let request = plain(&asked, "clips".into(), None).unwrap();
            timed(&asked, &config(), request).map(|r| (r.frames, r.fps))
        };
        for (seconds, frames, fps) in [("4", 64, 16), ("8", 64, 8), ("12", 48, 4), ("3.2", 64, 20)]
        {
            let found = time(json!({ "prompt": "x", "seconds": seconds })).unwrap();
            assert_eq!(found, (Some(frames), Some(fps)), "{seconds}");
        }
        let slow = json!({ "prompt": "x", "seconds": 2, "fps": 8 });
        assert_eq!(time(slow).unwrap(), (Some(16), Some(8)));
        assert_eq!(time(json!({ "prompt": "x" })).unwrap(), (None, None));
        for wrong in [json!("soon"), json!("NaN"), json!(500), json!(-1)] {
            let error = time(json!({ "prompt": "x", "seconds": wrong })).unwrap_err();
            assert_eq!(error.param.as_deref(), Some("seconds"), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_those_that_come_out() {
        let size = |text: &str| {
            let asked = fields(json!({ "prompt": "x", "size": text }));
            let request = plain(&asked, "clips".into(), None).unwrap();
            sized(&asked, &config(), request).map(|r| r.size)
        };
        assert_eq!(size("128x128").unwrap(), Some([32, 32]));
        let error = size("130x128").unwrap_err();
        assert!(error.message.contains("128x128"), "{}", error.message);
        assert!(size("large").is_err());
    }
}
