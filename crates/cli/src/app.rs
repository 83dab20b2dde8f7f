//! What the commands share: settings of the process, models by name, the end of a run by Ctrl-C.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use medley_engine::convert::{ConvertEvent, ConvertOptions};
use medley_engine::{
    CancelFlag, CancelToken, EngineError, Home, LoadOptions, PipelineError, PullEvent, PullOptions,
    PullStage, Resolved, Run, Store, TextModel, adapter_file,
};
use medley_types::{ErrorCode, ErrorReport, Event, LoraUse, Speculation, TextRequest};

use crate::args::{AdapterArgs, Global};
use crate::output::{Failure, Outcome, draws, note};

/// Default model of pictures.
pub const DEFAULT_IMAGE: &str = "icons";

/// Default model of music.
pub const DEFAULT_MUSIC: &str = "tunes";
/// Default model of films.
pub const DEFAULT_VIDEO: &str = "clips";

/// Default model of voices.
pub const DEFAULT_SPEECH: &str = "hibari";

/// Default model that listens.
pub const DEFAULT_TRANSCRIBE: &str = "whisper-base";

/// Default language model.
pub const DEFAULT_TEXT: &str = "smollm2-135m";

/// Threads, instruction set and device, before anything is computed.
pub fn prepare(global: &Global) -> Outcome {
    if let Err(error) = medley_engine::requested_isa() {
        return Err(Failure::Usage(
            ErrorReport::new(ErrorCode::InvalidRequest, error.to_string())
                .with_hint("MEDLEY_ISA may be scalar, avx2 or avx512"),
        ));
    }
    medley_engine::only_this_pool();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    medley_engine::set_threads(global.threads.map_or(cores, usize::from));
    device(global)?;
    Ok(())
}

/// A model by name, once `check` says that it makes what is wanted.
pub fn find(
    name: &str,
    check: fn(&Store, &str) -> Result<(), EngineError>,
    global: &Global,
) -> Outcome<Resolved> {
    check(&store()?, name)?;
    resolve(name, global)
}

/// Runs a generator, whose steps a bar shows.
pub fn with_bar<T>(
    global: &Global,
    generate: impl FnOnce(&mut Run) -> Result<T, PipelineError>,
) -> Outcome<T> {
    let mut bar = Bar::new(global);
    let mut run = Run::new(cancel_token(), |event| {
        if let Event::Progress { stage, done, total } = event {
            bar.show_steps(&stage, done, total);
        }
    });
    let made = generate(&mut run);
    drop(run);
    bar.close();
    Ok(made?)
}

/// The device of `--device`.
pub fn device(global: &Global) -> Outcome<medley_engine::Device> {
    medley_engine::device(&global.device)
        .map_err(|message| Failure::usage(format!("--device {}: {message}", global.device)))
}

/// What Ctrl-C sets. A second Ctrl-C ends the process at once.
fn interrupts() -> &'static (CancelToken, CancelFlag) {
    static FLAGS: OnceLock<(CancelToken, CancelFlag)> = OnceLock::new();
    FLAGS.get_or_init(|| {
        let flags = (CancelToken::default(), CancelFlag::new());
        let (token, pull) = flags.clone();
        let _ = ctrlc::set_handler(move || {
            if token.is_cancelled() {
                std::process::exit(130);
            }
            token.cancel();
            pull.cancel();
        });
        flags
    })
}

/// Ends a generator on Ctrl-C.
pub fn cancel_token() -> CancelToken {
    interrupts().0.clone()
}

/// A seed for a run that names none.
pub fn fresh_seed() -> u64 {
    // 53 bits, so that the number survives every JSON reader.
    rand::random::<u64>() >> 11
}

/// The models of this machine and those that can be had.
pub fn store() -> Outcome<Store> {
    Ok(Store::open(Home::from_env()?)?)
}

/// Settings of a pull that Ctrl-C ends.
pub fn pull_options(source: Option<&str>) -> PullOptions {
    PullOptions {
        source: source.map(str::to_owned),
        cancel: interrupts().1.clone(),
        ..PullOptions::default()
    }
}

/// Settings of a conversion that Ctrl-C ends.
pub fn convert_options(force: bool) -> ConvertOptions {
    ConvertOptions {
        force,
        cancel: interrupts().1.clone(),
    }
}

/// The files of a model by catalog name, file, folder or `hf:` name; fetched where they are missing.
pub fn model_path(model: &str, global: &Global) -> Outcome<std::path::PathBuf> {
    Ok(resolve(model, global)?.path)
}

/// A model by catalog name, file, folder or `hf:` name; fetched where it is missing.
pub fn resolve(model: &str, global: &Global) -> Outcome<Resolved> {
    let mut bar = Bar::new(global);
    let resolved =
        store()?.resolve_or_pull(model, &pull_options(None), &mut |event| bar.show(&event));
    bar.close();
    Ok(resolved?)
}

/// A language model, ready to write.
pub fn load_text(model: Option<&str>, options: LoadOptions, global: &Global) -> Outcome<TextModel> {
    let path = model_path(model.unwrap_or(DEFAULT_TEXT), global)?;
    Ok(TextModel::load(
        &path,
        &LoadOptions {
            device: device(global)?,
            ..options
        },
    )?)
}

/// Settings of a model with these adapters.
pub fn with_adapters(loras: Vec<(PathBuf, f64)>) -> LoadOptions {
    LoadOptions {
        loras,
        ..LoadOptions::default()
    }
}

/// The model of a request, with the draft model that it names.
pub fn load_for(
    request: &TextRequest,
    options: LoadOptions,
    global: &Global,
) -> Outcome<TextModel> {
    let model = load_text(Some(&request.model), options, global)?;
    let Speculation::Draft(draft) = &request.speculation else {
        return Ok(model);
    };
    let draft = load_text(Some(draft), LoadOptions::default(), global)?;
    Ok(model.with_draft(Arc::new(draft))?)
}

/// `FILE` or `FILE:WEIGHT`.
pub fn lora_of(text: &str) -> Outcome<(PathBuf, f64)> {
    if Path::new(text).exists() {
        return Ok((text.into(), 1.0));
    }
    match text
        .rsplit_once(':')
        .map(|(path, weight)| (path, weight.parse::<f64>()))
    {
        Some((path, Ok(weight))) => Ok((path.into(), weight)),
        Some((_, Err(_))) => Err(Failure::usage(format!(
            "--lora {text}: write FILE or FILE:WEIGHT, such as style.safetensors:0.8"
        ))),
        None => Ok((text.into(), 1.0)),
    }
}

/// Files of adapters, and how strongly each counts.
pub type Weighted = Vec<(PathBuf, f64)>;

/// The adapters of `--lora`, which a request knows by their content.
pub fn adapters(args: &AdapterArgs) -> Outcome<(Vec<LoraUse>, Weighted)> {
    let (mut uses, mut files) = (Vec::new(), Vec::new());
    for text in &args.lora {
        let (path, weight) = lora_of(text)?;
        let path = adapter_file(&path)?;
        let file = medley_engine::image::hash_file(&path)?;
        uses.push(LoraUse { file, weight });
        files.push((path, weight));
    }
    Ok((uses, files))
}

/// A prompt from the command line, or from standard input where it is `-`.
pub fn prompt_text(prompt: &str) -> Outcome<String> {
    if prompt != "-" {
        return Ok(prompt.to_owned());
    }
    const LIMIT: u64 = 64 << 20;
    let mut bytes = Vec::new();
    std::io::stdin().take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(Failure::usage("standard input is longer than 64 MiB"));
    }
    String::from_utf8(bytes).map_err(|e| {
        Failure::usage(format!(
            "standard input is not UTF-8 (byte {})",
            e.utf8_error().valid_up_to()
        ))
    })
}

/// A progress bar on a terminal; lines for what begins and fails everywhere.
pub struct Bar {
    bar: Option<ProgressBar>,
    global: Global,
}

impl Bar {
    /// A bar that is not drawn yet.
    pub fn new(global: &Global) -> Self {
        Self {
            bar: None,
            global: global.clone(),
        }
    }

    /// Shows how far a pull has come.
    pub fn show(&mut self, event: &PullEvent) {
        match event {
            PullEvent::Waiting { name } => {
                self.say(&format!("waiting for another medley that fetches {name}"))
            }
            PullEvent::Started { name, source, .. } => {
                self.say(&format!("fetching {name} from {source}"))
            }
            PullEvent::Licence {
                name,
                licence,
                note,
            } => {
                let note = note.as_ref().map(|n| format!(" — {n}")).unwrap_or_default();
                self.say(&format!("{name}: licence {licence}{note}"));
            }
            PullEvent::Progress {
                stage,
                what,
                done,
                total,
            } => self.progress(*stage, what, *done, *total),
            PullEvent::SourceFailed { source, reason, .. } => {
                self.say(&format!("{source}: {reason}"))
            }
            _ => {}
        }
    }

    /// Shows how far a conversion has come.
    pub fn show_conversion(&mut self, event: &ConvertEvent) {
        match event {
            ConvertEvent::Note(text) => self.say(&format!("note: {text}")),
            ConvertEvent::Progress {
                tensor,
                done,
                total,
            } => self.advance(&format!("writing {tensor}"), *done, *total),
            _ => {}
        }
    }

    /// A line that stays.
    pub fn say(&mut self, text: &str) {
        match &self.bar {
            Some(bar) if !self.global.quiet => bar.suspend(|| eprintln!("{text}")),
            _ => note(&self.global, text),
        }
    }

    fn progress(&mut self, stage: PullStage, what: &str, done: u64, total: Option<u64>) {
        let message = format!("{stage:?} {what}").to_lowercase();
        self.advance(&message, done, total.unwrap_or(done));
    }

    /// Shows how far a generator has come.
    pub fn show_steps(&mut self, stage: &str, done: usize, total: usize) {
        let template = "{msg} [{bar:30}] {pos}/{len} {eta}";
        self.draw(template, stage, done as u64, total as u64);
    }

    fn advance(&mut self, message: &str, done: u64, total: u64) {
        let template = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}";
        self.draw(template, message, done, total);
    }

    fn draw(&mut self, template: &str, message: &str, done: u64, total: u64) {
        if !draws(&self.global) {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(0);
            let style = ProgressStyle::with_template(template);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        bar.set_message(message.to_owned());
        bar.set_length(total);
        bar.set_position(done);
    }

    /// Takes the bar away.
    pub fn close(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
