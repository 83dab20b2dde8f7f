use std::path::{Path, PathBuf};
use std::sync::Arc;

use medley_engine::director::{self, Folder, Plan};
use medley_engine::{EngineError, adapter_file, work_file};
use medley_engine::{image, music, speech, video};
use medley_types::{
    CreateRequest, ImageRequest, InputFile, LoraUse, MusicRequest, Request, SpeechRequest,
    TextRequest, VideoRequest,
};

use super::image::{Files, find};
use crate::app::{load_for, with_adapters};
use crate::args::{Global, RemakeArgs};
use crate::output::{Failure, Outcome, note, peak_rss, print_json};
use serde_json::json;

/// `medley remake`
pub fn run(args: &RemakeArgs, global: &Global) -> Outcome {
    make(args, global)?;
    let output = args.output.clone().unwrap_or_else(|| remade(&args.file));
    if output.extension() != args.file.extension() || !output.is_file() {
        return Ok(());
    }
    let same = image::hash_file(&output)? == image::hash_file(&args.file)?;
    let said = match same {
        true => "the same, byte for byte",
        false => "not the same bytes: another model, machine or version made it",
    };
    note(
        global,
        &format!("{} and {}: {said}", output.display(), args.file.display()),
    );
    Ok(())
}

fn make(args: &RemakeArgs, global: &Global) -> Outcome {
    match work_file::recipe(&args.file)? {
        Request::Text(request) => {
            if let Some(path) = &args.output {
                work_file::check_text_output(path)?;
            }
            without_pictures(args, "a text")?;
            let model = match &args.model {
                Some(model) => TextRequest {
                    model: model.clone(),
                    ..request.clone()
                },
                None => request.clone(),
            };
            let files = adapters(args, &request.loras)?;
            let model = load_for(&model, with_adapters(files), global)?;
            super::text::again(
                &model,
                &request,
                (&args.files, args.output.as_deref()),
                global,
            )
        }
        Request::Image(request) => picture(args, request, global),
        Request::Music(request) => tune(args, request, global),
        Request::Speech(request) => spoken(args, request, global),
        Request::Video(request) => film(args, request, global),
        Request::Create(request) => of_brief(args, &request, global),
        _ => Err(Failure::usage(
            "this build makes only texts, pictures, music, speech and films again",
        )),
    }
}

/// A work of a brief: made again with all that it is made of, in a folder that is gone afterwards.
fn of_brief(args: &RemakeArgs, request: &CreateRequest, global: &Global) -> Outcome {
    without_pictures(args, "a work of a brief")?;
    let output = args.output.clone().unwrap_or_else(|| remade(&args.file));
    let plan = Plan::read(request.plan.clone()).map_err(|e| Failure::Usage(e.report()))?;
    let parent = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let folder = tempfile::Builder::new()
        .prefix(".medley-")
        .tempdir_in(parent)?;
    let folder = Folder::open(folder.path()).map(|opened| (opened, folder))?;
    let director = super::create::of_models(&plan.models, Arc::new(|_| {}), global)?;
    let file =
        director::now(director.remake(&folder.0, request)).map_err(super::create::failure)?;
    let made = folder.0.file(&file);
    std::fs::rename(&made, &output)?;
    let mime = director::mime(&file);
    if global.json {
        return print_json(&json!({
            "files": [{ "path": output, "mime": mime }], "model": plan.models,
            "recipe": medley_types::Request::Create(request.clone()), "peak_rss_bytes": peak_rss(),
        }));
    }
    note(global, &format!("{}", output.display()));
    Ok(())
}

fn tune(args: &RemakeArgs, request: MusicRequest, global: &Global) -> Outcome {
    for (given, flag) in [
        (args.mask.is_some(), "--mask"),
        (!args.lora.is_empty(), "--lora"),
    ] {
        if given {
            return Err(Failure::usage(format!("{flag} is not for music")));
        }
    }
    let output = args.output.clone().unwrap_or_else(|| remade(&args.file));
    music::check_output(&output)?;
    let mut inputs = music::MusicInputs::default();
    if let Some(wanted) = &request.init {
        let path = args
            .init
            .as_ref()
            .ok_or_else(|| missing("--init", wanted))?;
        let (tune, found) = music::read_tune(path)?;
        image::check_input(path, &found, wanted, "--init")?;
        inputs.init = Some(tune);
    }
    if let Some(wanted) = &request.soundfont {
        let path = args
            .soundfont
            .as_ref()
            .ok_or_else(|| missing("--soundfont", wanted))?;
        let (font, found) = music::read_soundfont(path)?;
        image::check_input(path, &found, wanted, "--soundfont")?;
        inputs.soundfont = Some(font);
    }
    let completed = music::complete(&request, inputs.init.as_ref());
    let request = completed.map_err(|e| Failure::Usage(e.report()))?;
    let model = known(args.model.as_deref(), &request.model)?;
    let model = super::music::find(model, global)?;
    super::music::finish(&model, request, inputs, (output.as_path(), None), global)
}

/// The model of a recipe, or the one that is given in its place.
fn known<'a>(given: Option<&'a str>, recipe: &'a str) -> Outcome<&'a str> {
    match given {
        Some(model) => Ok(model),
        None if recipe.starts_with("./") && !Path::new(recipe).exists() => {
            Err(EngineError::InputMissing {
                what: "a model that is no longer here",
                flag: "--model",
                identity: format!("its folder was called {}", recipe.trim_start_matches("./")),
                given: None,
            }
            .into())
        }
        None => Ok(recipe),
    }
}

/// Refuses the flags of pictures for another work.
fn without_pictures(args: &RemakeArgs, what: &str) -> Outcome {
    for (given, flag) in [
        (args.init.is_some(), "--init"),
        (args.mask.is_some(), "--mask"),
    ] {
        if given {
            return Err(Failure::usage(format!(
                "{flag} is for pictures, this is {what}"
            )));
        }
    }
    Ok(())
}

fn spoken(args: &RemakeArgs, request: SpeechRequest, global: &Global) -> Outcome {
    without_pictures(args, "speech")?;
    if !args.lora.is_empty() {
        return Err(Failure::usage("--lora: voices take no adapters"));
    }
    let output = args.output.clone().unwrap_or_else(|| remade(&args.file));
    speech::validate(&request)?;
    speech::check_output(&output)?;
    let name = known(args.model.as_deref(), &request.model)?;
    let model = super::speech::find(name, global)?;
    let files = super::speech::Files {
        output: &output,
        captions: None,
        rate: None,
    };
    super::speech::finish(&model, request, &files, global)
}

fn film(args: &RemakeArgs, request: VideoRequest, global: &Global) -> Outcome {
    for (given, flag) in [
        (args.mask.is_some(), "--mask"),
        (!args.lora.is_empty(), "--lora"),
    ] {
        if given {
            return Err(Failure::usage(format!("{flag} is not for films")));
        }
    }
    let output = args.output.clone().unwrap_or_else(|| remade(&args.file));
    video::validate(&request)?;
    video::check_output(&output, request.sound.is_some())?;
    let mut files = super::video::Files::default();
    if let Some(wanted) = &request.init {
        let path = args
            .init
            .as_ref()
            .ok_or_else(|| missing("--init", &wanted.file))?;
        let (clip, found) = video::read_init(path)?;
        image::check_input(path, &found, &wanted.file, "--init")?;
        files.inputs.init = Some(clip);
    }
    if let Some(wanted) = &request.sound {
        let path = args
            .sound
            .as_ref()
            .ok_or_else(|| missing("--sound", wanted))?;
        let (sound, found) = video::read_sound(path)?;
        image::check_input(path, &found, wanted, "--sound")?;
        files.sound = Some(sound);
    }
    let name = known(args.model.as_deref(), &request.model)?;
    let model = super::video::find(name, global)?;
    super::video::finish(&model, request, &files, &output, global)
}

fn picture(args: &RemakeArgs, request: ImageRequest, global: &Global) -> Outcome {
    let output = match &args.output {
        Some(path) => path.clone(),
        None => remade(&args.file),
    };
    image::validate(&request)?;
    image::check_output(&output, &request)?;
    let files = files(args, &request)?;
    let model = find(known(args.model.as_deref(), &request.model)?, global)?;
    super::image::finish(&model, request, &files, &output, global)
}

/// `name-remade.png` in the current folder.
fn remade(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default();
    image::numbered(Path::new(name), "remade")
}

/// The files that the recipe names by their hashes.
fn files(args: &RemakeArgs, request: &ImageRequest) -> Outcome<Files> {
    let mut files = Files::default();
    let picture = |path: &Option<PathBuf>, wanted: &InputFile, flag| -> Outcome<_> {
        let Some(path) = path else {
            return Err(missing(flag, wanted).into());
        };
        let (picture, found) = image::read_input(path)?;
        image::check_input(path, &found, wanted, flag)?;
        Ok(Some(picture))
    };
    if let Some(init) = &request.init {
        files.inputs.init = picture(&args.init, &init.file, "--init")?;
    } else if args.init.is_some() {
        return Err(Failure::usage("--init: this recipe starts from no picture"));
    }
    if let Some(mask) = &request.mask {
        files.inputs.mask = picture(&args.mask, mask, "--mask")?;
    } else if args.mask.is_some() {
        return Err(Failure::usage("--mask: this recipe has no mask"));
    }
    files.loras = adapters(args, &request.loras)?;
    Ok(files)
}

/// The adapters of a recipe, in its order.
fn adapters(args: &RemakeArgs, wanted: &[LoraUse]) -> Outcome<Vec<(PathBuf, f64)>> {
    if args.lora.len() > wanted.len() {
        return Err(Failure::usage(format!(
            "--lora: this recipe has {} adapters, not {}",
            wanted.len(),
            args.lora.len()
        )));
    }
    let mut files = Vec::new();
    for (index, lora) in wanted.iter().enumerate() {
        let Some(path) = args.lora.get(index) else {
            return Err(missing("--lora", &lora.file).into());
        };
        let path = adapter_file(path)?;
        image::check_input(&path, &image::hash_file(&path)?, &lora.file, "--lora")?;
        files.push((path, lora.weight));
    }
    Ok(files)
}

fn missing(flag: &'static str, wanted: &InputFile) -> EngineError {
    EngineError::InputMissing {
        what: "a file that is needed again",
        flag,
        identity: format!("its SHA-256 is {}", wanted.sha256),
        given: None,
    }
}
