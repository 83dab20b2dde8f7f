use std::path::Path;

use medley_engine::{PipelineError, Resolved, Run, image, speech};
use medley_types::{Request, SpeechRequest};
use serde_json::{Value, json};

use crate::app::{self, DEFAULT_SPEECH, cancel_token, prompt_text, with_bar};
use crate::args::Global;
use crate::bench_args::BenchSpeechArgs;
use crate::output::{Failure, Outcome, note, peak_rss, print_json, print_now};
use crate::sound_args::SpeechArgs;

/// `medley speech`
pub fn run(args: &SpeechArgs, global: &Global) -> Outcome {
    // A file or folder is a voice by itself.
    let own = args.voice.as_deref().filter(|voice| is_path(voice));
    if let (Some(voice), Some(model)) = (own, &args.model) {
        return Err(Failure::usage(format!(
            "--voice {voice} is a file of its own and not a voice of --model {model}"
        )));
    }
    let name = own.or(args.model.as_deref()).unwrap_or(DEFAULT_SPEECH);
    let request = SpeechRequest {
        model: name.to_owned(),
        text: prompt_text(&args.text)?.trim().to_owned(),
        voice: args.voice.clone().filter(|_| own.is_none()),
        speed: args.speed,
        pause: args.pause,
        loudness: args.loudness,
        seed: args.seed,
    };
    speech::validate(&request).map_err(|e| Failure::Usage(e.report()))?;
    let output = args.output.clone();
    let output = output.unwrap_or_else(|| speech::default_output(&request));
    speech::check_output(&output)?;
    if let Some(path) = &args.captions {
        speech::check_captions(path)?;
    }
    if let Some(rate) = args.sample_rate {
        speech::check_rate(rate)?;
    }
    let model = find(name, global)?;
    let files = Files {
        output: &output,
        captions: args.captions.as_deref(),
        rate: args.sample_rate,
    };
    finish(&model, request, &files, global)
}

fn is_path(voice: &str) -> bool {
    voice.ends_with(".onnx") || voice.contains(std::path::MAIN_SEPARATOR)
}

/// A model of voices.
pub fn find(name: &str, global: &Global) -> Outcome<Resolved> {
    app::find(name, speech::check_medium, global)
}

/// What is written, and how.
pub struct Files<'a> {
    /// The sound.
    pub output: &'a Path,
    /// When each word is said.
    pub captions: Option<&'a Path>,
    /// Samples a second, where they are not the voice's.
    pub rate: Option<u32>,
}

/// A voice of a model, ready to speak.
fn load(
    model: &Resolved,
    voice: Option<&str>,
    global: &Global,
) -> Outcome<Box<dyn speech::SpeechGenerator>> {
    if global.device != "cpu" {
        return Err(Failure::usage(format!(
            "--device {}: voices are computed on the cpu",
            global.device
        )));
    }
    speech::load(&model.path, voice).map_err(|error| match error {
        PipelineError::InvalidRequest(_) => Failure::Usage(error.report()),
        other => other.into(),
    })
}

/// Completes a request for this model, runs it and writes its files.
pub fn finish(model: &Resolved, request: SpeechRequest, files: &Files, global: &Global) -> Outcome {
    let Files {
        output,
        captions,
        rate,
    } = *files;
    let generator = load(model, request.voice.as_deref(), global)?;
    let request = generator.complete(&SpeechRequest {
        model: image::recipe_name(model),
        ..request
    })?;
    let made = with_bar(global, |run| generator.generate(&request, run))?;
    let made = speech::at_rate(made, rate)?;
    let mut files = vec![speech::write(output, &request, &made, !global.no_recipe)?];
    if let Some(path) = captions {
        files.push(speech::write_captions(path, &made)?);
    }
    tell(request, &made, &files, output, global)
}

/// Says what was written.
fn tell(
    request: SpeechRequest,
    made: &speech::Speech,
    files: &[Value],
    output: &Path,
    global: &Global,
) -> Outcome {
    if !made.work.skipped.is_empty() {
        note(
            global,
            &format!("the voice has no sound for {}", made.work.skipped),
        );
    }
    if global.json {
        let mut value = json!({
            "files": files,
            "seed": request.seed,
            "model": request.model,
            "voice": request.voice,
            "words": made.work.words,
            "skipped": made.work.skipped,
            "timings": made.work.timings,
            "peak_rss_bytes": peak_rss(),
        });
        if !global.no_recipe {
            value["recipe"] = json!(Request::Speech(request));
        }
        return print_json(&value);
    }
    note(
        global,
        &format!(
            "{} ({:.1} s of sound, {:.2} s)",
            output.display(),
            made.work.seconds,
            made.work.timings.total_s
        ),
    );
    Ok(())
}

/// `medley bench speech`
pub fn bench(args: &BenchSpeechArgs, global: &Global) -> Outcome {
    let model = find(args.model.as_deref().unwrap_or(DEFAULT_SPEECH), global)?;
    let generator = load(&model, args.voice.as_deref(), global)?;
    let request = generator.complete(&SpeechRequest {
        model: image::recipe_name(&model),
        text: args.text.trim().to_owned(),
        voice: args.voice.clone(),
        ..SpeechRequest::default()
    })?;
    let mut works = Vec::new();
    for _ in 0..=args.rounds {
        let mut run = Run::new(cancel_token(), |_| {});
        works.push(generator.generate(&request, &mut run)?.work);
    }
    works.remove(0);
    works.sort_by(|a, b| a.timings.total_s.total_cmp(&b.timings.total_s));
    let work = &works[works.len() / 2];
    let (sound, timings) = (work.seconds, work.timings);
    if global.json {
        return print_json(&json!({
            "model": request.model,
            "voice": request.voice,
            "seconds": sound,
            "rounds": args.rounds,
            "timings": timings,
            "peak_rss_bytes": peak_rss(),
            "threads": medley_engine::threads(),
        }));
    }
    Ok(print_now(&format!(
        "{sound:.1} s of sound: {:.3} s, {:.0} times as fast as it sounds; the first after {:.3} s (median of {})\n",
        timings.total_s,
        sound / timings.total_s,
        timings.first_s,
        args.rounds
    ))?)
}
