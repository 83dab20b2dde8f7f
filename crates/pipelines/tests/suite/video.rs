//! The loop from a prompt to a clip, over denoisers whose output is known exactly.

use std::sync::{Arc, Mutex};

use crate::fakes::{Function, Words, generator};
use medley_media::Picture;
use medley_media::film::{Clip, Rate};
use medley_pipelines::image::{Denoise, DiffusionGenerator};
use medley_pipelines::video::{self, Video, VideoGenerator, VideoInputs, VideoModel};
use medley_pipelines::{PipelineError, Run};
use medley_types::{ClipInit, Event, InputFile, VideoRequest};
use serde_json::{Value, json};

const FRAMES: usize = 4;
/// Values of a frame and channel.
const PLANE: usize = 16;

fn config() -> Value {
    json!({
        "medium": "video", "architecture": "dit", "size": [4, 4], "sampler": { "steps": 3 },
        "model": { "loop": true },
        "clip": { "frames": FRAMES, "rate": 2.0, "smooth": 2, "shared_noise": 0.5 },
    })
}

fn request(seed: u64) -> VideoRequest {
    VideoRequest {
        model: "test".into(),
        seed,
        ..VideoRequest::default()
    }
}

fn model(config: Value, denoiser: impl Denoise + 'static) -> VideoModel {
    VideoModel::new(generator(config, denoiser)).unwrap()
}

fn draw(
    model: &VideoModel,
    request: &VideoRequest,
    inputs: &VideoInputs,
) -> Result<Video, PipelineError> {
    let full = video::complete(model.config(), request)?;
    model.generate(&full, inputs, &mut Run::quiet())
}

/// A flow whose frames are darker and darker: velocity (x - x₀) / σ.
fn darker() -> impl Denoise {
    Function(|x: &[f32], t: f32, _| {
        let value = |(i, x): (usize, &f32)| {
            let frame = i / PLANE % FRAMES;
            (x - (0.8 - 0.4 * frame as f32)) / (t / 1000.0)
        };
        x.iter().enumerate().map(value).collect()
    })
}

fn level(frame: &Picture) -> f64 {
    let pixels = frame.pixels();
    pixels.iter().map(|p| f64::from(*p)).sum::<f64>() / pixels.len() as f64
}

#[test]
fn frames_are_in_order_with_others_between() {
    let model = model(config(), darker());
    let video = draw(&model, &request(1), &VideoInputs::default()).unwrap();
    assert_eq!(video.clip.frames().len(), 8);
    assert_eq!(video.work.drawn, 4);
    assert_eq!((video.work.fps, video.work.seconds), (4, 2.0));
    assert_eq!((video.work.width, video.work.height), (4, 4));
    let levels: Vec<f64> = video.clip.frames().iter().map(level).collect();
    for (frame, expected) in [0.8f64, 0.4, 0.0, -0.4].iter().enumerate() {
        assert!(
            (levels[2 * frame] - (expected + 1.0) * 127.5).abs() < 1.5,
            "{levels:?}"
        );
    }
    // Between two frames lies something between them; of a loop, after the last one too.
    assert!(levels[1] < levels[0] && levels[1] > levels[2], "{levels:?}");
    assert!(levels[7] > levels[6] && levels[7] < levels[0], "{levels:?}");
    let same = draw(&model, &request(1), &VideoInputs::default()).unwrap();
    assert_eq!(same.clip, video.clip);
}

#[test]
fn a_picture_is_the_first_frame_and_the_end_of_a_clip_the_first_ones() {
    let seen: Arc<Mutex<Vec<Vec<f32>>>> = Arc::default();
    let watched = seen.clone();
    let network = Function(move |x: &[f32], _, _| {
        watched.lock().unwrap().push(x.to_vec());
        vec![0.0; x.len()]
    });
    let model = model(config(), network);
    let grey = |level: u8| Picture::filled(8, 4, [level; 3]).unwrap();
    let init = |frames: Vec<Picture>, rate: u32| VideoInputs {
        init: Some(Clip::new(frames, Rate::new(rate, 1).unwrap(), None).unwrap()),
        preview_every: None,
    };
    let asked = |pad: bool| VideoRequest {
        init: Some(ClipInit {
            file: InputFile {
                sha256: String::new(),
            },
            pad,
        }),
        frames: Some(4),
        ..request(3)
    };
    let value = |level: u8| f32::from(level) / 127.5 - 1.0;
    // A picture; of the padded one rows above and below are white.
    for pad in [false, true] {
        seen.lock().unwrap().clear();
        let video = draw(&model, &asked(pad), &init(vec![grey(51)], 1)).unwrap();
        let first = &video.clip.frames()[0];
        let edge = if pad { 255 } else { 51 };
        assert_eq!((first.pixels()[0], first.pixels()[4 * 3 * 2]), (edge, 51));
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 3);
        for x in seen.iter() {
            assert!((x[8] - value(51)).abs() < 1e-5, "{}", x[8]);
            assert!((x[PLANE + 8] - value(51)).abs() > 1e-3);
        }
    }
    // A clip of ten frames at 10 a second, of which 2 a second are drawn and two of four may be known.
    seen.lock().unwrap().clear();
    let clip: Vec<Picture> = (0..10).map(|i| grey(20 * i)).collect();
    let video = draw(&model, &asked(false), &init(clip, 10)).unwrap();
    let levels: Vec<f64> = video.clip.frames().iter().map(level).collect();
    assert_eq!((levels[0], levels[1]), (80.0, 180.0));
    let missing = draw(&model, &asked(false), &VideoInputs::default()).unwrap_err();
    assert!(missing.to_string().contains("--init"), "{missing}");
}

#[test]
fn the_prompt_says_the_rate_where_the_model_learned_it() {
    let asked: Arc<Mutex<Vec<usize>>> = Arc::default();
    let watched = asked.clone();
    let network = Function(move |x: &[f32], _, tokens| {
        watched.lock().unwrap().push(tokens);
        vec![0.0; x.len()]
    });
    let mut config = config();
    config["text_encoder"] = json!("encoder");
    config["clip"]["rate_in_prompt"] = json!(true);
    let model = VideoModel::new(DiffusionGenerator {
        encoder: Some(Box::new(Words)),
        ..generator(config, network)
    })
    .unwrap();
    let request = VideoRequest {
        prompt: "a heart".into(),
        ..request(1)
    };
    draw(&model, &request, &VideoInputs::default()).unwrap();
    // "a heart, 2 fps"
    assert!(asked.lock().unwrap().iter().all(|tokens| *tokens == 4));
}

#[test]
fn previews_show_all_frames_and_a_cancelled_run_gives_nothing() {
    let model = model(config(), darker());
    let full = video::complete(model.config(), &request(1)).unwrap();
    let inputs = VideoInputs {
        init: None,
        preview_every: Some(1),
    };
    let mut shown = Vec::new();
    let mut run = Run::new(Default::default(), |event| {
        if let Event::Preview { width, height, .. } = event {
            shown.push((width, height));
        }
    });
    model.generate(&full, &inputs, &mut run).unwrap();
    drop(run);
    assert_eq!(shown, [(16, 4); 3]);
    let mut run = Run::quiet();
    run.cancel.cancel();
    let cancelled = model.generate(&full, &inputs, &mut run);
    assert!(matches!(cancelled, Err(PipelineError::Cancelled)));
}

#[test]
fn models_of_pictures_and_of_clips_are_told_apart() {
    let mut still = config();
    still["medium"] = json!("image");
    still.as_object_mut().unwrap().remove("clip");
    let error = VideoModel::new(generator(still, darker())).err().unwrap();
    assert!(error.to_string().contains("medley image"), "{error}");
    let mut wrong = config();
    wrong["clip"]["frames"] = json!(0);
    assert!(medley_pipelines::image::ImageConfig::from_json(wrong).is_err());
    let mut wrong = config();
    wrong["medium"] = json!("image");
    assert!(medley_pipelines::image::ImageConfig::from_json(wrong).is_err());
}
