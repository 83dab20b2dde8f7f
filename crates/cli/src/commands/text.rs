use std::path::Path;

use medley_engine::{
    KvType, LoadOptions, PipelineError, Run, Task, TextGenerator, TextModel, work_file,
};
use medley_types::{
    Constraint, Event, FinishReason, Message, Prompt, Request, Sampling, Speculation, TextRequest,
    TextWork,
};
use serde_json::{Value, json};

use crate::app::{DEFAULT_TEXT, adapters, cancel_token, fresh_seed, load_for, prompt_text};
use crate::args::{Global, Kv, SamplingArgs, Speculate, SpeculationArgs, TextArgs};
use crate::output::{Failure, Outcome, note, peak_rss, print_json, print_now};

/// `medley text`
pub fn run(args: &TextArgs, global: &Global) -> Outcome {
    if let Some(path) = &args.output {
        work_file::check_text_output(path)?;
    }
    let mut constraint = constraint(args)?;
    let task: Option<Task> = args
        .task
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|e: PipelineError| Failure::Usage(e.report()))?;
    let prompt = prompt_text(&args.prompt)?;
    if prompt.trim().is_empty() {
        return Err(Failure::Usage(PipelineError::EmptyPrompt.report()));
    }
    let prompt = if args.raw {
        Prompt::Raw(prompt)
    } else if let Some(task) = &task {
        constraint = constraint.or(task.pattern().map(Constraint::Regex));
        Prompt::Messages(task.messages(args.system.as_deref(), &prompt))
    } else {
        let system = args.system.iter().map(|s| Message::new("system", s));
        Prompt::Messages(system.chain([Message::new("user", prompt)]).collect())
    };
    let name = args.model.clone().unwrap_or_else(|| DEFAULT_TEXT.into());
    let copies = matches!(task, Some(Task::Summarize | Task::Correct));
    let (loras, files) = adapters(&args.adapters)?;
    let request = TextRequest {
        model: name,
        loras,
        constraint,
        logprobs: args.logprobs.map(usize::from),
        speculation: speculation(&args.speculation, copies)?,
        ..request(prompt, &args.sampling)
    };
    check(&request)?;
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
    let model = load_for(&request, options, global)?;
    finish(&model, &request, args.output.as_deref(), global)
}

/// Refuses what no model could do before one is loaded.
pub fn check(request: &TextRequest) -> Outcome {
    TextModel::validate(request).map_err(|e| Failure::Usage(e.report()))
}

/// A request with these sampling flags and no model yet.
pub fn request(prompt: Prompt, s: &SamplingArgs) -> TextRequest {
    TextRequest {
        max_tokens: s.max_tokens.map(|n| n as usize),
        sampling: Sampling {
            temperature: s.temperature,
            top_k: s.top_k as usize,
            top_p: s.top_p,
            min_p: s.min_p,
            typical_p: s.typical_p,
            repeat_penalty: s.repeat_penalty,
            repeat_last_n: s.repeat_last_n as usize,
            frequency_penalty: s.frequency_penalty,
            presence_penalty: s.presence_penalty,
            dry_multiplier: s.dry,
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
    let stream = !global.json && output.is_none();
    let cancel = cancel_token();
    let mut closed = false;
    let mut run = Run::new(cancel.clone(), |event| {
        if let Event::Chunk { text } = event
            && stream
            && print_now(&text).is_err()
        {
            closed = true;
            cancel.cancel();
        }
    });
    let work = model.generate(request, &mut run)?;
    drop(run);
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
