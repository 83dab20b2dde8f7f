use std::path::{Path, PathBuf};

use medley_engine::image::{
    self, Companion, ImageConfig, ImageGenerator, ImageInputs, Images, Sources, Speed,
};
use medley_engine::{Resolved, Run};
use medley_types::{Event, ImageRequest, InitPicture, LoraUse, Request};
use serde_json::{Value, json};

use crate::app::{
    self, Bar, DEFAULT_IMAGE, cancel_token, device, fresh_seed, lora_of, prompt_text, resolve,
};
use crate::args::{Global, ImageArgs};
use crate::bench_args::BenchImageArgs;
use crate::output::{Failure, Outcome, note, peak_rss, print_json, print_now};

/// How much of a picture is made anew if nothing is said.
const STRENGTH: f64 = 0.6;

/// Runs that take longer than this are announced.
const LONG_S: f64 = 10.0;

/// What a run has besides its request.
#[derive(Default)]
pub struct Files {
    /// The pictures that it starts from.
    pub inputs: ImageInputs,
    /// Adapters with their weights.
    pub loras: Vec<(PathBuf, f64)>,
}

/// `medley image`
pub fn run(args: &ImageArgs, global: &Global) -> Outcome {
    let mut files = Files::default();
    let mut request = request(args)?;
    image::validate(&request).map_err(|e| Failure::Usage(e.report()))?;
    let output = args.output.clone();
    let output = output.unwrap_or_else(|| image::default_output(&request));
    image::check_output(&output, &request)?;
    read_files(args, &mut request, &mut files)?;
    let name = args.model.as_deref().unwrap_or(DEFAULT_IMAGE);
    let model = find(name, global)?;
    finish(&model, request, &files, &output, global)
}

/// A model of pictures.
pub fn find(name: &str, global: &Global) -> Outcome<Resolved> {
    app::find(name, image::check_medium, global)
}

/// The request that the flags say, its files not yet read.
fn request(args: &ImageArgs) -> Outcome<ImageRequest> {
    let file = || medley_types::InputFile {
        sha256: String::new(),
    };
    let usual = if args.mask.is_some() { 1.0 } else { STRENGTH };
    Ok(ImageRequest {
        model: args.model.clone().unwrap_or_else(|| DEFAULT_IMAGE.into()),
        prompt: match &args.prompt {
            Some(prompt) => prompt_text(prompt)?.trim().to_owned(),
            None => String::new(),
        },
        negative: args.negative.clone().unwrap_or_default(),
        size: args.size,
        steps: args.steps,
        guidance: args.guidance,
        sampler: args.sampler.clone(),
        // PyTorch's generator, whose numbers these are, looks at 32 bits.
        seed: args.seed.unwrap_or_else(|| fresh_seed() & 0xFFFF_FFFF),
        count: args.count,
        grid: args.grid,
        init: args.init.as_ref().map(|_| InitPicture {
            file: file(),
            strength: args.strength.unwrap_or(usual),
        }),
        mask: args.mask.as_ref().map(|_| file()),
        loras: Vec::new(),
        upscale: args.upscale,
        truncation: args.truncation,
        walk: args.walk,
        mix: args.mix.clone(),
    })
}

/// Reads what the flags name, and puts its hashes into the request.
fn read_files(args: &ImageArgs, request: &mut ImageRequest, files: &mut Files) -> Outcome {
    if let (Some(path), Some(init)) = (&args.init, &mut request.init) {
        let (picture, file) = image::read_input(path)?;
        (files.inputs.init, init.file) = (Some(picture), file);
    }
    if let Some(path) = &args.mask {
        let (picture, file) = image::read_input(path)?;
        (files.inputs.mask, request.mask) = (Some(picture), Some(file));
    }
    files.inputs.check()?;
    for lora in &args.lora {
        let (path, weight) = lora_of(lora)?;
        let file = image::hash_file(&path)?;
        request.loras.push(LoraUse { file, weight });
        files.loras.push((path, weight));
    }
    files.inputs.preview_every = args.previews.map(|every| every as usize);
    Ok(())
}

/// Completes a request for this model, runs it and writes its files.
pub fn finish(
    model: &Resolved,
    request: ImageRequest,
    files: &Files,
    output: &Path,
    global: &Global,
) -> Outcome {
    let config = image::read_config(&model.path)?;
    let named = ImageRequest {
        model: image::recipe_name(model),
        ..request
    };
    let request = config.complete(&named)?;
    let generator = load(model, config, &request, files, global)?;
    let speed = Speed::measure(&device(global)?)?;
    let plan = generator.plan(&request, &speed);
    image::check_memory(&plan, medley_engine::available_memory())?;
    if plan.seconds > LONG_S {
        note(
            global,
            &format!(
                "this takes about {} and {:.1} GiB of memory",
                duration(plan.seconds),
                plan.memory_bytes as f64 / f64::from(1 << 30)
            ),
        );
    }
    let (images, previews) = draw(generator.as_ref(), &request, files, output, global)?;
    let written = image::write(output, &request, &images, !global.no_recipe)?;
    if global.json {
        let mut value = json!({
            "files": written,
            "seed": request.seed,
            "model": request.model,
            "timings": images.work.timings,
            "evaluations": images.work.evaluations,
            "plan": plan,
            "peak_rss_bytes": peak_rss(),
        });
        if !previews.is_empty() {
            value["previews"] = json!(previews);
        }
        if !global.no_recipe {
            value["recipe"] = json!(Request::Image(request));
        }
        return print_json(&value);
    }
    for file in &written {
        note(global, &line(file, images.work.timings.total_s));
    }
    Ok(())
}

/// One file, for people.
fn line(file: &Value, seconds: f64) -> String {
    let text = |key: &str| file[key].as_str().unwrap_or("").to_owned();
    let frames = match file["frames"].as_u64() {
        Some(frames) => format!("{frames} frames, "),
        None => String::new(),
    };
    format!(
        "{} ({}x{}, {frames}seed {}, {seconds:.1} s)",
        text("path"),
        file["width"],
        file["height"],
        file["seed"]
    )
}

fn duration(seconds: f64) -> String {
    if seconds < 90.0 {
        format!("{seconds:.0} s")
    } else if seconds < 5400.0 {
        format!("{:.0} min", seconds / 60.0)
    } else {
        format!("{:.1} h", seconds / 3600.0)
    }
}

/// The generator with everything that the request needs beside the model.
pub fn load(
    model: &Resolved,
    config: ImageConfig,
    request: &ImageRequest,
    files: &Files,
    global: &Global,
) -> Outcome<Box<dyn ImageGenerator>> {
    let beside = |name: &Option<String>| -> Outcome<Option<PathBuf>> {
        let Some(name) = name else { return Ok(None) };
        match image::companion(&model.path, name) {
            Companion::Inside(folder) => Ok(Some(folder)),
            Companion::Named(name) => Ok(Some(resolve(&name, global)?.path)),
        }
    };
    let upscaler = match request.upscale {
        None | Some(1) => None,
        Some(_) => {
            let usual = || Some("icon-upscaler".to_owned());
            beside(&config.upscaler.clone().or_else(usual))?
        }
    };
    let sources = Sources {
        model: model.path.clone(),
        text_encoder: beside(&config.text_encoder)?,
        vae: beside(&config.vae)?,
        upscaler,
        loras: files.loras.clone(),
    };
    Ok(image::load(config, &sources, &device(global)?)?)
}

/// Runs the request with a progress bar; previews go to files beside the output.
fn draw(
    generator: &dyn ImageGenerator,
    request: &ImageRequest,
    files: &Files,
    output: &Path,
    global: &Global,
) -> Outcome<(Images, Vec<PathBuf>)> {
    let mut bar = Bar::new(global);
    let mut previews = Vec::new();
    let mut failed = None;
    let targets = image::outputs(output, request);
    let mut run = Run::new(cancel_token(), |event| match event {
        Event::Progress { stage, done, total } => bar.show_steps(&stage, done, total),
        Event::Preview {
            index,
            done,
            width,
            height,
            rgb,
            ..
        } => {
            let target = targets.get(index).or(targets.first());
            let path = image::numbered(target.map_or(output, |path| path), &format!("step-{done}"));
            match image::write_preview(&path, width, height, rgb) {
                Ok(()) => previews.push(path),
                Err(error) => failed = failed.take().or(Some(error)),
            }
        }
        _ => {}
    });
    let images = generator.generate(request, &files.inputs, &mut run);
    drop(run);
    bar.close();
    match (images, failed) {
        (Err(error), _) => Err(error.into()),
        (Ok(_), Some(error)) => Err(error.into()),
        (Ok(images), None) => Ok((images, previews)),
    }
}

/// `medley bench image`
pub fn bench(args: &BenchImageArgs, global: &Global) -> Outcome {
    let name = args.model.as_deref().unwrap_or(DEFAULT_IMAGE);
    let model = find(name, global)?;
    let config = image::read_config(&model.path)?;
    let reads = config.has_prompt();
    let request = config.complete(&ImageRequest {
        model: image::recipe_name(&model),
        prompt: if reads {
            args.prompt.clone()
        } else {
            String::new()
        },
        size: args.size,
        steps: args.steps,
        guidance: args.guidance,
        upscale: args.upscale,
        seed: 1,
        count: 1,
        ..ImageRequest::default()
    })?;
    let generator = load(&model, config, &request, &Files::default(), global)?;
    let plan = generator.plan(&request, &Speed::measure(&device(global)?)?);
    image::check_memory(&plan, medley_engine::available_memory())?;
    let mut works = Vec::new();
    for _ in 0..=args.rounds {
        let mut run = Run::new(cancel_token(), |_| {});
        let images = generator.generate(&request, &ImageInputs::default(), &mut run)?;
        works.push(images.work);
    }
    works.remove(0);
    works.sort_by(|a, b| a.timings.total_s.total_cmp(&b.timings.total_s));
    let work = &works[works.len() / 2];
    let per_s = work.evaluations as f64 / work.timings.sample_s;
    let value = json!({
        "model": request.model,
        "size": request.size,
        "steps": request.steps,
        "guidance": request.guidance,
        "upscale": request.upscale,
        "rounds": args.rounds,
        "picture_s": work.timings.total_s,
        "evaluations": work.evaluations,
        "evaluations_s": per_s,
        "timings": work.timings,
        "plan": plan,
        "peak_rss_bytes": peak_rss(),
        "threads": medley_engine::threads(),
    });
    if global.json {
        return print_json(&value);
    }
    Ok(print_now(&format!(
        "picture of {}x{}: {:.3} s (median of {})\nsampling: {per_s:.1} evaluations/s\nload: {:.3} s\npeak memory: {:.0} MiB\n",
        work.width,
        work.height,
        work.timings.total_s,
        args.rounds,
        work.timings.load_s,
        peak_rss() as f64 / f64::from(1 << 20),
    ))?)
}
