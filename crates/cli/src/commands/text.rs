use std::path::{Path, PathBuf};

use medley_engine::documents::{Material, Readers, material};
use medley_engine::long::Asked;
use medley_engine::{
    EngineError, KvType, LoadOptions, PipelineError, Run, Task, TextGenerator, TextModel, work_file,
};
use medley_types::{
    Constraint, Event, FinishReason, InputFile, LongTask, Message, Prompt, Request, Sampling,
    Speculation, TextRequest, TextWork,
};
use serde_json::{Value, json};

use crate::app::{Bar, DEFAULT_TEXT, adapters, cancel_token, fresh_seed, load_for, prompt_text};
use crate::args::{Global, Kv, SamplingArgs, Speculate, SpeculationArgs, TextArgs};
use crate::output::{Failure, Outcome, note, peak_rss, print_json, print_now};

/// `medley text`
pub fn run(args: &TextArgs, global: &Global) -> Outcome {
    if let Some(path) = &args.output {
        work_file::check_text_output(path)?;
    }
    let given = constraint(args)?;
    let task: Option<Task> = args
        .task
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|e: PipelineError| Failure::Usage(e.report()))?;
    let asked = asked(args)?;
    let (loras, files) = adapters(&args.adapters)?;
    let copies = task.as_ref().is_some_and(Task::copies);
    let mut template = TextRequest {
        model: args.model.clone().unwrap_or_else(|| DEFAULT_TEXT.into()),
        loras,
        constraint: given,
        logprobs: args.logprobs.map(usize::from),
        speculation: speculation(&args.speculation, copies)?,
        ..request(Prompt::Messages(Vec::new()), &args.sampling)
    };
    if let Some(task) = &task {
        let usual = task.sampling();
        let (sampling, given) = (&mut template.sampling, &args.sampling);
        sampling.temperature = given.temperature.unwrap_or(usual.temperature);
        sampling.dry_multiplier = given.dry.unwrap_or(usual.dry_multiplier);
    }
    check(&template)?;
    let kv_type = match args.kv {
        Kv::F32 => KvType::F32,
        Kv::F16 => KvType::F16,
        Kv::Q8 => KvType::Q8,
    };
    let options = LoadOptions {
        context: args.context,
        kv_type,
        loras: files,
        ..LoadOptions::default()
    };
    let model = load_for(&template, options, global)?;
    let output = args.output.as_deref();
    let Some(task) = task else {
        let request = TextRequest {
            prompt: asked.prompt(args.raw),
            ..template
        };
        return finish(&model, &request, output, global);
    };
    let form = Asked {
        task: &task,
        system: asked.system.as_deref(),
    };
    if form.fits(&model, &asked.material)? {
        return finish(
            &model,
            &form.request(&asked.material, &template),
            output,
            global,
        );
    }
    let request = TextRequest {
        task: Some(Box::new(LongTask {
            name: task.to_string(),
            system: asked.system.clone(),
            text: asked.files.is_empty().then(|| asked.material.clone()),
            files: asked.files,
        })),
        ..template
    };
    finish_long(&model, &request, &asked.material, output, global)
}

/// What is asked over what.
struct Wanted {
    system: Option<String>,
    material: String,
    files: Vec<InputFile>,
}

impl Wanted {
    /// The prompt where there is no task.
    fn prompt(self, raw: bool) -> Prompt {
        if raw {
            return Prompt::Raw(self.material);
        }
        let system = self.system.iter().map(|s| Message::new("system", s));
        Prompt::Messages(
            system
                .chain([Message::new("user", self.material)])
                .collect(),
        )
    }
}

/// The material out of prompt and files. A prompt beside files says what to mind: of a task to the model, else before
/// their text.
fn asked(args: &TextArgs) -> Outcome<Wanted> {
    let prompt = args.prompt.as_deref().map(prompt_text).transpose()?;
    let said = prompt.filter(|prompt| !prompt.trim().is_empty());
    let mut system = args.system.clone();
    if args.files.is_empty() {
        let material = said.ok_or_else(|| Failure::Usage(PipelineError::EmptyPrompt.report()))?;
        return Ok(Wanted {
            system,
            material,
            files: Vec::new(),
        });
    }
    let found = material(&args.files, &Readers::this_program())?;
    let mut text = found.text;
    match said {
        Some(said) if args.task.is_some() => {
            system = Some(system.map_or(said.clone(), |system| format!("{system}\n{said}")));
        }
        Some(said) => text = format!("{said}\n\n{text}"),
        None => {}
    }
    Ok(Wanted {
        system,
        material: text,
        files: found.files,
    })
}

/// Makes a text again, from the files of `--file` where it was made over some.
pub fn again(
    model: &TextModel,
    request: &TextRequest,
    (paths, output): (&[PathBuf], Option<&Path>),
    global: &Global,
) -> Outcome {
    let Some(task) = &request.task else {
        if !paths.is_empty() {
            return Err(Failure::usage(
                "--file: the recipe of this text holds all that it was made from",
            ));
        }
        return finish(model, request, output, global);
    };
    if let Some(text) = &task.text {
        return finish_long(model, request, text, output, global);
    }
    let found = match paths.len() == task.files.len() {
        true => material(paths, &Readers::this_program())?,
        false => Material::default(),
    };
    if found.files != task.files {
        let hashes: Vec<&str> = task.files.iter().map(|file| file.sha256.as_str()).collect();
        return Err(EngineError::InputMissing {
            what: "the files it was made over, in their order",
            flag: "--file",
            identity: format!("SHA-256 {}", hashes.join(", ")),
            given: paths.first().cloned(),
        }
        .into());
    }
    finish_long(model, request, &found.text, output, global)
}

/// Refuses what no model could do before one is loaded.
pub fn check(request: &TextRequest) -> Outcome {
    TextModel::validate(request).map_err(|e| Failure::Usage(e.report()))
}

/// A request with these sampling flags and no model yet.
pub fn request(prompt: Prompt, s: &SamplingArgs) -> TextRequest {
    let usual = Sampling::default();
    TextRequest {
        max_tokens: s.max_tokens.map(|n| n as usize),
        sampling: Sampling {
            temperature: s.temperature.unwrap_or(usual.temperature),
            top_k: s.top_k as usize,
            top_p: s.top_p,
            min_p: s.min_p,
            typical_p: s.typical_p,
            repeat_penalty: s.repeat_penalty,
            repeat_last_n: s.repeat_last_n as usize,
            frequency_penalty: s.frequency_penalty,
            presence_penalty: s.presence_penalty,
            dry_multiplier: s.dry.unwrap_or(usual.dry_multiplier),
            logit_bias: s.logit_bias.clone(),
        },
        stop: s.stop.clone(),
        ..TextRequest::new(DEFAULT_TEXT, prompt, s.seed.unwrap_or_else(fresh_seed))
    }
}

/// Where guesses come from; `copies` says that much of the prompt will come again.
pub fn speculation(args: &SpeculationArgs, copies: bool) -> Outcome<Speculation> {
    match (&args.draft_model, args.speculate) {
        (Some(draft), Speculate::Auto) => Ok(Speculation::Draft(draft.clone())),
        (Some(_), Speculate::Off | Speculate::Lookup) => Err(Failure::usage(
            "--draft-model makes the guesses, so --speculate must be auto or left out",
        )),
        (None, Speculate::Lookup) => Ok(Speculation::Lookup),
        (None, Speculate::Auto) if copies => Ok(Speculation::Lookup),
        (None, Speculate::Auto | Speculate::Off) => Ok(Speculation::Off),
    }
}

/// Runs a request and delivers the text as the flags say.
pub fn finish(
    model: &TextModel,
    request: &TextRequest,
    output: Option<&Path>,
    global: &Global,
) -> Outcome {
    delivered(request, output, global, |run| model.generate(request, run))
}

/// As [`finish`] for a task over material that does not fit.
fn finish_long(
    model: &TextModel,
    request: &TextRequest,
    material: &str,
    output: Option<&Path>,
    global: &Global,
) -> Outcome {
    let long = request.task.as_ref();
    let name = long.map_or("", |task| task.name.as_str());
    let task: Task = name.parse()?;
    let asked = Asked {
        task: &task,
        system: long.and_then(|task| task.system.as_deref()),
    };
    delivered(request, output, global, |run| {
        asked.write_long(model, material, request, run)
    })
}

fn delivered(
    request: &TextRequest,
    output: Option<&Path>,
    global: &Global,
    write: impl FnOnce(&mut Run) -> Result<TextWork, PipelineError>,
) -> Outcome {
    let stream = !global.json && output.is_none();
    let cancel = cancel_token();
    let mut closed = false;
    let mut bar = Bar::new(global);
    let mut run = Run::new(cancel.clone(), |event| match event {
        Event::Chunk { text } if stream => {
            // The bar and a text would write over one another.
            bar.close();
            if print_now(&text).is_err() {
                closed = true;
                cancel.cancel();
            }
        }
        Event::Progress { stage, done, total } if stage == "parts" || stage == "summaries" => {
            bar.show_steps(&stage, done, total);
        }
        _ => {}
    });
    let work = write(&mut run);
    drop(run);
    bar.close();
    let work = work?;
    if closed {
        return Err(Failure::Closed);
    }
    let recipe = Request::Text(request.clone());
    if stream && !work.text.ends_with('\n') {
        print_now("\n")?;
    }
    if work.finish_reason == FinishReason::Cancelled {
        return Err(Failure::Interrupted);
    }
    let mut files = Vec::new();
    if let Some(path) = output {
        files.push(work_file::write_text(
            path,
            &work,
            (!global.no_recipe).then_some(&recipe),
        )?);
    }
    if global.json {
        print_json(&object(&work, request, &recipe, &files, global))?;
    } else if let Some(path) = output {
        note(
            global,
            &format!("{} ({} tokens)", path.display(), work.tokens),
        );
    }
    Ok(())
}

fn object(
    work: &TextWork,
    request: &TextRequest,
    recipe: &Request,
    files: &[Value],
    global: &Global,
) -> Value {
    let mut value = json!({
        "text": work.text,
        "tokens": work.tokens,
        "finish_reason": work.finish_reason,
        "prompt_tokens": work.prompt_tokens,
        "timings": work.timings,
        "seed": request.seed,
        "model": request.model,
        "peak_rss_bytes": peak_rss(),
    });
    if let Some(logprobs) = &work.logprobs {
        value["logprobs"] = json!(logprobs);
    }
    if !files.is_empty() {
        value["files"] = json!(files);
    }
    if !global.no_recipe {
        value["recipe"] = json!(recipe);
    }
    value
}

fn constraint(args: &TextArgs) -> Outcome<Option<Constraint>> {
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|e| Failure::file(path, e));
    if let Some(path) = &args.json_schema {
        let schema = serde_json::from_str(&read(path)?)
            .map_err(|e| Failure::file(path, format!("not valid JSON: {e}")))?;
        return Ok(Some(Constraint::JsonSchema(schema)));
    }
    if let Some(path) = &args.grammar {
        return Ok(Some(Constraint::Grammar(read(path)?)));
    }
    Ok(args.regex.clone().map(Constraint::Regex))
}
