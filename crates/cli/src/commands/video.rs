//! `medley video`

use std::path::{Path, PathBuf};

use medley_engine::image::{self, Companion, ImageConfig, Sources, Speed, recipe_name};
use medley_engine::video::{self, Audio, Clip, Video, VideoGenerator, VideoInputs, VideoModel};
use medley_engine::{Resolved, Run};
use medley_types::{ClipInit, Event, InputFile, Request, VideoRequest};
use serde_json::{Value, json};

use crate::app::{
    Bar, DEFAULT_VIDEO, cancel_token, device, fresh_seed, prompt_text, resolve, store,
};
use crate::args::Global;
use crate::bench_args::BenchImageArgs;
use crate::output::{Failure, Outcome, note, peak_rss, print_json, print_now};
use crate::video_args::VideoArgs;

/// What a run has besides its request.
#[derive(Default)]
pub struct Files {
    /// What it starts from.
    pub inputs: VideoInputs,
    /// What is heard.
    pub sound: Option<Audio>,
}

/// `medley video`
pub fn run(args: &VideoArgs, global: &Global) -> Outcome {
    if let Some(timeline) = &args.timeline {
        return compose(timeline, args, global);
    }
    let mut request = request(args)?;
    let output = args.output.clone();
    let output = output.unwrap_or_else(|| video::default_output(&request));
    video::check_output(&output, args.sound.is_some())?;
    video::check_codec(&output, request.codec)?;
    if args.prompt.is_none() && args.init.is_some() {
        return improve(args, &output, global);
    }
    video::validate(&request).map_err(|e| Failure::Usage(e.report()))?;
    let mut files = Files::default();
    if let Some(path) = &args.init {
        let (clip, file) = video::read_init(path)?;
        request.init = Some(ClipInit {
            file,
            pad: args.pad,
        });
        files.inputs.init = Some(clip);
    }
    if let Some(path) = &args.sound {
        let (sound, file) = video::read_sound(path)?;
        (files.sound, request.sound) = (Some(sound), Some(file));
    }
    files.inputs.preview_every = args.previews.map(|every| every as usize);
    let model = find(args.model.as_deref().unwrap_or(DEFAULT_VIDEO), global)?;
    finish(&model, request, &files, &output, global)
}

/// The request that the flags say, its files not yet read.
fn request(args: &VideoArgs) -> Outcome<VideoRequest> {
    Ok(VideoRequest {
        model: args.model.clone().unwrap_or_else(|| DEFAULT_VIDEO.into()),
        prompt: match &args.prompt {
            Some(prompt) => prompt_text(prompt)?.trim().to_owned(),
            None => String::new(),
        },
        negative: args.negative.clone().unwrap_or_default(),
        size: args.size,
        frames: args.frames,
        fps: args.fps,
        steps: args.steps,
        guidance: args.guidance,
        sampler: args.sampler.clone(),
        // PyTorch's generator, whose numbers these are, looks at 32 bits.
        seed: args.seed.unwrap_or_else(|| fresh_seed() & 0xFFFF_FFFF),
        upscale: args.upscale,
        codec: args.codec.map(Into::into),
        ..VideoRequest::default()
    })
}

/// A model of clips.
pub fn find(name: &str, global: &Global) -> Outcome<Resolved> {
    video::check_medium(&store()?, name)?;
    resolve(name, global)
}

/// Completes a request for this model, runs it and writes its file.
pub fn finish(
    model: &Resolved,
    request: VideoRequest,
    files: &Files,
    output: &Path,
    global: &Global,
) -> Outcome {
    let config = image::read_config(&model.path)?;
    let named = VideoRequest {
        model: recipe_name(model),
        ..request
    };
    let request = video::complete(&config, &named)?;
    let generator = load(model, config, &request, global)?;
    let plan = generator.plan(&request, &Speed::measure(&device(global)?)?);
    image::check_memory(&plan, medley_engine::available_memory())?;
    let (made, previews) = draw(&generator, &request, files, output, global)?;
    let Video { clip, work } = made;
    let clip = clip.with_audio(files.sound.clone());
    let written = video::write(output, &clip, (!global.no_recipe).then_some(&request))?;
    if global.json {
        let mut value = json!({
            "files": [written],
            "seed": request.seed,
            "model": request.model,
            "work": work,
            "timings": work.timings,
            "plan": plan,
            "peak_rss_bytes": peak_rss(),
        });
        if !previews.is_empty() {
            value["previews"] = json!(previews);
        }
        if !global.no_recipe {
            value["recipe"] = json!(Request::Video(request));
        }
        return print_json(&value);
    }
    tell(
        &written,
        &format!("seed {}, {:.1} s", request.seed, work.timings.total_s),
        global,
    );
    Ok(())
}

/// One file, for people.
fn tell(file: &Value, more: &str, global: &Global) {
    note(
        global,
        &format!(
            "{} ({}x{}, {} frames, {:.1} s long, {more})",
            file["path"].as_str().unwrap_or(""),
            file["width"],
            file["height"],
            file["frames"],
            file["seconds"].as_f64().unwrap_or(0.0)
        ),
    );
}

/// A model that stands beside another one.
fn beside(model: &Resolved, name: Option<&str>, global: &Global) -> Outcome<Option<PathBuf>> {
    let Some(name) = name else { return Ok(None) };
    match image::companion(&model.path, name) {
        Companion::Inside(folder) => Ok(Some(folder)),
        Companion::Named(name) => Ok(Some(resolve(&name, global)?.path)),
    }
}

/// The generator with everything that the request needs beside the model.
pub fn load(
    model: &Resolved,
    config: ImageConfig,
    request: &VideoRequest,
    global: &Global,
) -> Outcome<VideoModel> {
    let upscaler = match request.upscale {
        None | Some(1) => None,
        Some(_) => Some(config.upscaler.as_deref().unwrap_or(UPSCALER)),
    };
    let sources = Sources {
        model: model.path.clone(),
        text_encoder: beside(model, config.text_encoder.as_deref(), global)?,
        vae: beside(model, config.vae.as_deref(), global)?,
        upscaler: beside(model, upscaler, global)?,
        loras: Vec::new(),
    };
    Ok(video::load(config, &sources, &device(global)?)?)
}

/// Enlarges frames where a model names nothing else.
const UPSCALER: &str = "icon-upscaler";

/// Runs the request with a progress bar; previews go to files beside the output.
fn draw(
    generator: &dyn VideoGenerator,
    request: &VideoRequest,
    files: &Files,
    output: &Path,
    global: &Global,
) -> Outcome<(Video, Vec<PathBuf>)> {
    let mut bar = Bar::new(global);
    let mut previews = Vec::new();
    let mut failed = None;
    let mut run = Run::new(cancel_token(), |event| match event {
        Event::Progress { stage, done, total } => bar.show_steps(&stage, done, total),
        Event::Preview {
            done,
            width,
            height,
            rgb,
            ..
        } => {
            let path = output.with_extension("png");
            let path = image::numbered(&path, &format!("step-{done}"));
            match image::write_preview(&path, width, height, rgb) {
                Ok(()) => previews.push(path),
                Err(error) => failed = failed.take().or(Some(error)),
            }
        }
        _ => {}
    });
    let made = generator.generate(request, &files.inputs, &mut run);
    drop(run);
    bar.close();
    match (made, failed) {
        (Err(error), _) => Err(error.into()),
        (Ok(_), Some(error)) => Err(error.into()),
        (Ok(made), None) => Ok((made, previews)),
    }
}

/// Enlarges the clip of `--init`, or makes it smoother.
fn improve(args: &VideoArgs, output: &Path, global: &Global) -> Outcome {
    let factor = args.upscale.unwrap_or(1);
    let times = args.interpolate.unwrap_or(1);
    if factor == 1 && times == 1 {
        return Err(Failure::usage(
            "--init without a prompt: say what is to be done with the clip, --upscale 4 or --interpolate 2",
        ));
    }
    if ![1, 2, 4].contains(&factor) {
        return Err(Failure::usage(format!(
            "--upscale {factor}: frames are upscaled 2 or 4 times"
        )));
    }
    let path = args.init.as_deref().unwrap_or(Path::new(""));
    let (clip, _): (Clip, InputFile) = video::read_init(path)?;
    let upscaler = match factor {
        1 => None,
        _ => {
            let name = args.model.as_deref().unwrap_or(UPSCALER);
            let folder = resolve(name, global)?.path;
            Some(image::load_upscaler(&folder, &device(global)?)?)
        }
    };
    let mut bar = Bar::new(global);
    let mut run = Run::new(cancel_token(), |event| {
        if let Event::Progress { stage, done, total } = event {
            bar.show_steps(&stage, done, total);
        }
    });
    let made = video::improve(clip, (upscaler.as_ref(), factor), times, &mut run);
    drop(run);
    bar.close();
    let mut clip = made?;
    if let Some(path) = &args.sound {
        clip = clip.with_audio(Some(video::read_sound(path)?.0));
    }
    let written = video::write_as(output, &clip, None, args.codec.map(Into::into))?;
    if global.json {
        return print_json(&json!({ "files": [written], "peak_rss_bytes": peak_rss() }));
    }
    tell(&written, &format!("from {}", path.display()), global);
    Ok(())
}

/// Makes one film of a timeline.
fn compose(from: &Path, args: &VideoArgs, global: &Global) -> Outcome {
    let output = match &args.output {
        Some(path) => path.clone(),
        None => PathBuf::from(from.file_name().unwrap_or_default()).with_extension("mp4"),
    };
    video::check_output(&output, false)?;
    let codec = args.codec.map(Into::into);
    video::check_codec(&output, codec)?;
    let mut timeline = video::read_timeline(from)?;
    if codec.is_some() {
        timeline.codec = video::codec_of(codec);
    }
    let mut bar = Bar::new(global);
    let cancel = cancel_token();
    let made = video::render(&timeline, from, &output, &mut |done, total| {
        bar.show_steps("frame", done as usize, total as usize);
        !cancel.is_cancelled()
    });
    bar.close();
    let written = match made {
        Err(_) if cancel.is_cancelled() => return Err(Failure::Interrupted),
        Err(error) => return Err(error.into()),
        Ok(written) => written,
    };
    if global.json {
        return print_json(&json!({ "files": [written], "peak_rss_bytes": peak_rss() }));
    }
    tell(&written, &format!("from {}", from.display()), global);
    Ok(())
}

/// `medley bench video`
pub fn bench(args: &BenchImageArgs, global: &Global) -> Outcome {
    let model = find(args.model.as_deref().unwrap_or(DEFAULT_VIDEO), global)?;
    let config = image::read_config(&model.path)?;
    let drawn = config.clip.map_or(1, |clip| clip.frames);
    let request = VideoRequest {
        model: recipe_name(&model),
        prompt: args.prompt.clone(),
        size: args.size,
        steps: args.steps,
        guidance: args.guidance,
        upscale: args.upscale,
        frames: Some(drawn),
        seed: 1,
        ..VideoRequest::default()
    };
    let request = video::complete(&config, &request)?;
    let generator = load(&model, config, &request, global)?;
    let mut works = Vec::new();
    for _ in 0..=args.rounds {
        let mut run = Run::new(cancel_token(), |_| {});
        let made = generator.generate(&request, &VideoInputs::default(), &mut run)?;
        works.push(made.work);
    }
    works.remove(0);
    works.sort_by(|a, b| a.timings.sample_s.total_cmp(&b.timings.sample_s));
    let work = &works[works.len() / 2];
    let upscale_s = work.timings.upscale_s / f64::from(drawn);
    let per_s = work.evaluations as f64 / work.timings.sample_s;
    if global.json {
        return print_json(&json!({
            "model": request.model,
            "size": request.size,
            "frames": drawn,
            "steps": request.steps,
            "guidance": request.guidance,
            "upscale": request.upscale,
            "rounds": args.rounds,
            "evaluations": work.evaluations,
            "evaluations_s": per_s,
            "timings": { "sample_s": work.timings.sample_s, "upscale_s": upscale_s },
            "peak_rss_bytes": peak_rss(),
            "threads": medley_engine::threads(),
        }));
    }
    Ok(print_now(&format!(
        "clip of {drawn} frames: {:.3} s to draw (median of {}), {per_s:.2} evaluations/s\na frame enlarged: {upscale_s:.3} s\npeak memory: {:.0} MiB\n",
        work.timings.sample_s,
        args.rounds,
        peak_rss() as f64 / f64::from(1 << 20),
    ))?)
}
