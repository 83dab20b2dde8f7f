use std::io::{Read, Write};
use std::path::Path;
use std::time::Instant;

use medley_engine::transcript::{self, TranscriptFormat};
use medley_engine::{PipelineError, Run, image};
use medley_types::{Event, Transcript, TranscriptRequest, TranscriptTask};
use serde_json::{Value, json};

use crate::app::{Bar, DEFAULT_TRANSCRIBE, cancel_token, resolve, store};
use crate::args::Global;
use crate::output::{Failure, Outcome, note, peak_rss, print_json, print_now};
use crate::sound_args::{TaskName, TranscribeArgs, TranscriptFormatName};

/// Longest sound that is read from standard input, in bytes.
const MAX_INPUT: u64 = 2 << 30;

/// `medley transcribe`
pub fn run(args: &TranscribeArgs, global: &Global) -> Outcome {
    let name = args.model.as_deref().unwrap_or(DEFAULT_TRANSCRIBE);
    if global.device != "cpu" {
        return Err(Failure::usage(format!(
            "--device {}: speech is recognised on the cpu",
            global.device
        )));
    }
    let by_name = args
        .output
        .as_deref()
        .map(transcript::check_output)
        .transpose()?;
    let format = match (args.format, by_name) {
        (Some(name), _) => name.into(),
        (None, Some(format)) => format,
        (None, None) => TranscriptFormat::Text,
    };
    let request = TranscriptRequest {
        model: name.to_owned(),
        task: match args.task {
            TaskName::Transcribe => TranscriptTask::Transcribe,
            TaskName::Translate => TranscriptTask::Translate,
        },
        language: args.language.clone().filter(|l| l != "auto"),
        prompt: args.prompt.clone(),
        temperature: args.temperature,
        beam: args.beam,
        words: args.words
            || format == TranscriptFormat::Json
            || global.json && args.format.is_none(),
        seed: args.seed,
    };
    transcript::validate(&request).map_err(|e| Failure::Usage(e.report()))?;
    transcript::check_model(&store()?, name)?;
    let samples = sound(&args.file)?;
    let model = resolve(name, global)?;
    let began = Instant::now();
    let listener = transcript::load(&model.path)?;
    let request = TranscriptRequest {
        model: image::recipe_name(&model),
        ..request
    };
    let request = listener.complete(&request).map_err(|error| match error {
        PipelineError::InvalidRequest(_) => Failure::Usage(error.report()),
        other => other.into(),
    })?;
    let load_s = began.elapsed().as_secs_f64();
    let began = Instant::now();
    // Text goes out as it is heard, unless something else is asked for.
    let live = format == TranscriptFormat::Text && args.output.is_none() && !global.json;
    let heard = listen(&*listener, &samples, &request, live, global)?;
    let timings = json!({ "load_s": load_s, "listen_s": began.elapsed().as_secs_f64() });
    finish(
        args.output.as_deref(),
        format,
        &heard,
        &request,
        timings,
        live,
        global,
    )
}

/// The samples of the file, or of what comes on standard input.
fn sound(file: &Path) -> Outcome<Vec<f32>> {
    if file != Path::new("-") {
        return Ok(transcript::read_sound(file)?);
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(MAX_INPUT + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_INPUT {
        return Err(Failure::usage("standard input is longer than 2 GiB"));
    }
    if bytes.is_empty() {
        return Err(Failure::usage(
            "nothing came on standard input; pipe a sound file in, such as a WAV",
        ));
    }
    Ok(transcript::decode_sound(bytes)?)
}

fn listen(
    listener: &dyn transcript::Listener,
    samples: &[f32],
    request: &TranscriptRequest,
    live: bool,
    global: &Global,
) -> Outcome<Transcript> {
    let mut bar = Bar::new(global);
    let mut broken = None;
    let cancel = cancel_token();
    let ended = cancel.clone();
    let mut run = Run::new(cancel, |event| match event {
        Event::Progress { stage, done, total } => bar.show_steps(&stage, done, total),
        Event::Chunk { text } if live => {
            bar.close();
            if let Err(error) = print_now(&format!("{}\n", text.trim())) {
                broken = Some(error);
                ended.cancel();
            }
        }
        _ => {}
    });
    let heard = listener.listen(samples, request, &mut run);
    drop(run);
    bar.close();
    match broken {
        Some(error) => Err(error.into()),
        None => Ok(heard?),
    }
}

fn finish(
    output: Option<&Path>,
    format: TranscriptFormat,
    heard: &Transcript,
    request: &TranscriptRequest,
    timings: Value,
    live: bool,
    global: &Global,
) -> Outcome {
    let mut files = Vec::new();
    if let Some(path) = output {
        files.push(transcript::write(path, heard, format)?);
        note(
            global,
            &format!("{} ({:.1} s of sound)", path.display(), heard.duration),
        );
    }
    if global.json {
        let mut value = json!(heard);
        value["files"] = json!(files);
        value["model"] = json!(request.model);
        value["timings"] = timings;
        value["peak_rss_bytes"] = json!(peak_rss());
        return print_json(&value);
    }
    if output.is_none() && !live {
        let mut out = std::io::stdout().lock();
        out.write_all(transcript::written(heard, format).as_bytes())?;
        out.flush()?;
    }
    Ok(())
}

impl From<TranscriptFormatName> for TranscriptFormat {
    fn from(name: TranscriptFormatName) -> Self {
        match name {
            TranscriptFormatName::Text => Self::Text,
            TranscriptFormatName::Json => Self::Json,
            TranscriptFormatName::Srt => Self::Srt,
            TranscriptFormatName::Vtt => Self::Vtt,
            TranscriptFormatName::Tsv => Self::Tsv,
        }
    }
}
