//! What is refused, and what is filled in, before anything is computed.

use medley_types::{ImageRequest, VideoRequest};

use crate::PipelineError;
use crate::image::{self, ClipConfig, ImageConfig};

/// Frames a second that files have.
const FPS: std::ops::RangeInclusive<u32> = 1..=240;
/// Most frames of a clip.
const MAX_FRAMES: u32 = 10_000;

fn refuse<T>(text: String) -> Result<T, PipelineError> {
    Err(PipelineError::InvalidRequest(text))
}

pub(super) fn no_clips(config: &ImageConfig) -> PipelineError {
    PipelineError::ModelConfig(format!(
        "the {} draws pictures: they are made by medley image",
        config.architecture
    ))
}

/// As a request for a picture.
pub(super) fn still(request: &VideoRequest) -> ImageRequest {
    ImageRequest {
        model: request.model.clone(),
        prompt: request.prompt.clone(),
        negative: request.negative.clone(),
        size: request.size,
        steps: request.steps,
        guidance: request.guidance,
        sampler: request.sampler.clone(),
        seed: request.seed,
        count: 1,
        upscale: request.upscale,
        ..ImageRequest::default()
    }
}

/// Refuses what no model could do.
///
/// # Errors
/// [`PipelineError::InvalidRequest`] names the value that is wrong and what would be right.
pub fn validate(request: &VideoRequest) -> Result<(), PipelineError> {
    image::validate(&still(request))?;
    if let Some(fps) = request.fps
        && !FPS.contains(&fps)
    {
        return refuse(format!(
            "the rate is {fps}, but it must be 1 to 240 frames a second"
        ));
    }
    if let Some(frames) = request.frames
        && !(1..=MAX_FRAMES).contains(&frames)
    {
        return refuse(format!(
            "the clip has {frames} frames, but it must have 1 to {MAX_FRAMES}"
        ));
    }
    Ok(())
}

/// The request with every default of this model filled in; what the model cannot honour is refused.
///
/// # Errors
/// As [`ImageConfig::complete`]; [`PipelineError::InvalidRequest`] names the numbers of frames that are nearest.
pub fn complete(
    config: &ImageConfig,
    request: &VideoRequest,
) -> Result<VideoRequest, PipelineError> {
    validate(request)?;
    let clip = config.clip.ok_or_else(|| no_clips(config))?;
    let full = config.complete(&still(request))?;
    let frames = match request.frames {
        None => clip.frames * clip.smooth,
        Some(frames) => right_count(&clip, frames)?,
    };
    let usual = clip.rate * f64::from(frames) / f64::from(clip.frames);
    Ok(VideoRequest {
        prompt: full.prompt,
        size: full.size,
        steps: full.steps,
        guidance: full.guidance,
        sampler: full.sampler,
        upscale: full.upscale,
        frames: Some(frames),
        fps: Some(
            request
                .fps
                .unwrap_or(usual.round().clamp(1.0, 240.0) as u32),
        ),
        ..request.clone()
    })
}

/// The drawn frames, or so many times as many.
fn right_count(clip: &ClipConfig, frames: u32) -> Result<u32, PipelineError> {
    let times = frames / clip.frames;
    if frames.is_multiple_of(clip.frames) && times <= ClipConfig::SMOOTHEST {
        return Ok(frames);
    }
    let below = times.clamp(1, ClipConfig::SMOOTHEST);
    let above = (below + 1).min(ClipConfig::SMOOTHEST);
    let nearest = match times {
        0 => clip.frames.to_string(),
        _ if below == above => (below * clip.frames).to_string(),
        _ => format!("{} or {}", below * clip.frames, above * clip.frames),
    };
    refuse(format!(
        "this model cannot make {frames} frames; the nearest it can is {nearest}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIP: ClipConfig = ClipConfig {
        frames: 16,
        rate: 5.0,
        smooth: 4,
        shared_noise: 0.5,
        rate_in_prompt: true,
    };

    #[test]
    fn counts_that_cannot_be_name_the_nearest() {
        for count in [16, 32, 64, 128] {
            assert_eq!(right_count(&CLIP, count).unwrap(), count);
        }
        for (count, nearest) in [
            (1, "is 16"),
            (15, "is 16"),
            (17, "is 16 or 32"),
            (63, "is 48 or 64"),
            (129, "is 128"),
            (9999, "is 128"),
        ] {
            let text = right_count(&CLIP, count).unwrap_err().to_string();
            assert!(text.ends_with(nearest), "{count}: {text}");
        }
    }

    #[test]
    fn defaults_are_filled_in() {
        let config = ImageConfig::from_json(serde_json::json!({
            "medium": "video", "architecture": "dit", "size": [32, 32], "text_encoder": "encoder",
            "clip": { "frames": 16, "rate": 5.0, "smooth": 4 },
            "sampler": { "steps": 12, "guidance": 2.0, "upscale": 4 },
        }))
        .unwrap();
        let request = VideoRequest {
            model: "clips".into(),
            prompt: "a beating red heart".into(),
            ..VideoRequest::default()
        };
        let full = complete(&config, &request).unwrap();
        assert_eq!((full.frames, full.fps), (Some(64), Some(20)));
        assert_eq!((full.size, full.upscale), (Some([32, 32]), Some(4)));
        assert_eq!((full.steps, full.guidance), (Some(12), Some(2.0)));
        let slow = VideoRequest {
            frames: Some(16),
            fps: Some(8),
            ..request.clone()
        };
        let slow = complete(&config, &slow).unwrap();
        assert_eq!((slow.frames, slow.fps), (Some(16), Some(8)));
        for fps in [0, 241] {
            let request = VideoRequest {
                fps: Some(fps),
                ..request.clone()
            };
            assert!(complete(&config, &request).is_err());
        }
        let none = VideoRequest::default();
        assert!(matches!(
            complete(&config, &none),
            Err(PipelineError::EmptyPrompt)
        ));
    }
}
