//! `medley create`

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use medley_engine::director::{
    self, Director, Folder, Happening, Kit, Models, PLAN, Plan, Report, Stage, Watch, WorkState,
};
use medley_engine::serving::{Compute, Limits, StoreShelf};
use medley_engine::{Home, LoadOptions, available_memory, image, work_file};
use medley_types::{ErrorCode, ErrorReport};
use serde_json::{Value, json};

use crate::app::{
    Bar, DEFAULT_IMAGE, DEFAULT_MUSIC, DEFAULT_SPEECH, DEFAULT_TEXT, DEFAULT_VIDEO, cancel_token,
    device, fresh_seed, prompt_text, resolve, store,
};
use crate::args::Global;
use crate::create_args::CreateArgs;
use crate::output::{Failure, Outcome, note, peak_rss, print_json, print_now};

/// Texts that are written at the same time.
const SLOTS: usize = 12;

/// `medley create`
pub fn run(args: &CreateArgs, global: &Global) -> Outcome {
    let home = Home::from_env()?;
    if let Some(name) = &args.print_kit {
        return print_kit(name, &home);
    }
    let begun = Instant::now();
    let brief = args.brief.as_deref().map(prompt_text).transpose()?;
    let display = Arc::new(Mutex::new(Display::new(global)));
    let (folder, plan, director) = match (there(args)?, brief) {
        (Some((folder, plan)), brief) => {
            if let Some(brief) = brief.filter(|brief| brief.trim() != plan.brief) {
                return Err(Failure::usage(format!(
                    "{} holds the works of another brief, {:?}: choose another folder with -o, or leave the brief out to go on",
                    folder.path().display(),
                    plan.brief.chars().take(60).collect::<String>()
                        + if brief.len() > 60 { " …" } else { "" },
                )));
            }
            let plan = changed(plan, args);
            let director = director(&plan.models, &display, global)?;
            (folder, plan, director)
        }
        (None, None) => {
            return Err(Failure::usage(
                "say what it is about, such as \"Ember, a smokeless campfire: warm and witty\", or give the folder of a plan with -o",
            ));
        }
        (None, Some(brief)) => {
            let kit = args
                .kit
                .as_deref()
                .unwrap_or_else(|| director::kit_of(&brief));
            let kit = Kit::find(&home, kit).map_err(|error| Failure::Usage(error.report()))?;
            let models = models(args);
            let director = director(&models, &display, global)?;
            let seed = args.seed.unwrap_or_else(fresh_seed) & 0xFFFF_FFFF;
            let plan = director::now(director.plan(&kit, &brief, &models, seed));
            let plan = plan.map_err(failure)?;
            let folder = Folder::open(&output(args, &plan))?;
            folder.check_free(&plan)?;
            (folder, plan, director)
        }
    };
    folder.write_plan(&plan)?;
    let report = match args.plan_only {
        true => Report::default(),
        false => {
            let carried = director::now(director.carry_out(&folder, Arc::new(plan.clone())));
            let report = carried.map_err(failure);
            lock(&display).bar.close();
            report?
        }
    };
    let archive = match args.zip && report.failure().is_none() {
        true => Some(archive(&folder, &plan)?),
        false => None,
    };
    tell(
        &folder,
        &plan,
        &report,
        archive.as_deref(),
        begun.elapsed().as_secs_f64(),
        &lock(&display),
        global,
    )?;
    match report.failure() {
        None => Ok(()),
        Some(failure) => Err(Failure::Failed(failure.clone())),
    }
}

fn lock(display: &Mutex<Display>) -> std::sync::MutexGuard<'_, Display> {
    display.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What ends a command that a director reports to.
pub fn failure(report: ErrorReport) -> Failure {
    let is = |code: ErrorCode| report.code == code.as_str();
    if is(ErrorCode::Cancelled) {
        Failure::Interrupted
    } else if is(ErrorCode::InvalidRequest) {
        Failure::Usage(report)
    } else {
        Failure::Failed(report)
    }
}

fn print_kit(name: &str, home: &Home) -> Outcome {
    match Kit::text(name) {
        Some(text) => Ok(print_now(text)?),
        None => {
            let names = Kit::names(home).join(", ");
            Err(Failure::usage(format!(
                "--print-kit {name}: kits are {names}"
            )))
        }
    }
}

/// The folder of `-o` and its plan, where there is one.
fn there(args: &CreateArgs) -> Outcome<Option<(Folder, Plan)>> {
    let Some(path) = args
        .output
        .as_deref()
        .filter(|path| path.join(PLAN).exists())
    else {
        return Ok(None);
    };
    let folder = Folder::open(path)?;
    let plan = folder
        .plan()
        .map_err(|error| Failure::Usage(error.report()))?;
    Ok(plan.map(|plan| (folder, plan)))
}

/// The plan with the models that the flags name.
fn changed(mut plan: Plan, args: &CreateArgs) -> Plan {
    for (given, own) in [
        (&args.text_model, &mut plan.models.text),
        (&args.image_model, &mut plan.models.image),
        (&args.video_model, &mut plan.models.video),
        (&args.music_model, &mut plan.models.music),
        (&args.speech_model, &mut plan.models.speech),
    ] {
        if let Some(given) = given {
            own.clone_from(given);
        }
    }
    plan
}

fn models(args: &CreateArgs) -> Models {
    let or =
        |given: &Option<String>, usual: &str| given.clone().unwrap_or_else(|| usual.to_owned());
    Models {
        text: or(&args.text_model, DEFAULT_TEXT),
        image: or(&args.image_model, DEFAULT_IMAGE),
        video: or(&args.video_model, DEFAULT_VIDEO),
        music: or(&args.music_model, DEFAULT_MUSIC),
        speech: or(&args.speech_model, DEFAULT_SPEECH),
    }
}

fn output(args: &CreateArgs, plan: &Plan) -> PathBuf {
    let words = || image::words_of(&plan.name).unwrap_or_else(|| "works".into());
    args.output
        .clone()
        .unwrap_or_else(|| PathBuf::from(words()))
}

/// The director with the models of a plan, which are fetched where they are missing.
fn director(models: &Models, display: &Arc<Mutex<Display>>, global: &Global) -> Outcome<Director> {
    let shown = display.clone();
    let watch: Watch = Arc::new(move |happening| lock(&shown).show(happening));
    of_models(models, watch, global)
}

/// A director over the thread that computes, within three quarters of the memory that is free.
pub fn of_models(models: &Models, watch: Watch, global: &Global) -> Outcome<Director> {
    let text = resolve(&models.text, global)?;
    for name in [&models.image, &models.video, &models.music, &models.speech] {
        resolve(name, global)?;
    }
    let options = LoadOptions {
        device: device(global)?,
        ..LoadOptions::default()
    };
    let mut shelf = StoreShelf::new(store()?, options);
    if text.entry.is_none() {
        shelf = shelf.with(&text);
    }
    let shelf = Arc::new(shelf);
    let limits = Limits {
        memory: match available_memory() {
            0 => u64::MAX,
            free => free / 4 * 3,
        },
        slots: SLOTS,
        prefix_bytes: 64 << 20,
    };
    let compute = Arc::new(Compute::start(shelf.clone(), limits)?);
    Ok(Director {
        stage: Stage {
            compute,
            shelf,
            cancel: cancel_token(),
        },
        recipes: !global.no_recipe,
        watch,
    })
}

/// Packs the works beside their folder.
fn archive(folder: &Folder, plan: &Plan) -> Outcome<PathBuf> {
    let path = std::path::absolute(folder.path())?;
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let packed = director::zip(folder, plan, &name)?;
    let file = folder.path().with_file_name(format!("{name}.zip"));
    work_file::write(&file, &packed)?;
    Ok(file)
}

/// One line that says what is being done, and one for each work that is there.
struct Display {
    bar: Bar,
    titles: HashMap<String, (String, String)>,
    begun: HashMap<String, Instant>,
    seconds: HashMap<String, f64>,
    ended: usize,
}

impl Display {
    fn new(global: &Global) -> Self {
        Self {
            bar: Bar::new(global),
            titles: HashMap::new(),
            begun: HashMap::new(),
            seconds: HashMap::new(),
            ended: 0,
        }
    }

    fn show(&mut self, happening: Happening) {
        match happening {
            Happening::Planned(plan) => {
                let title =
                    |w: &director::WorkPlan| (w.id.clone(), (w.title.clone(), w.file.clone()));
                self.titles = plan.works.iter().map(title).collect();
                let said = format!("{}: {} ({})", plan.name, plan.what, plan.kit);
                self.bar.say(&said);
            }
            Happening::Progress {
                id,
                stage,
                done,
                total,
            } => {
                let title = self.titles.get(&id).map_or("", |(title, _)| title);
                let message = format!(
                    "{} of {} · {title}: {stage}",
                    self.ended + 1,
                    self.titles.len()
                );
                self.bar.show_steps(&message, done, total);
            }
            Happening::Aside { file, now } => {
                self.bar
                    .say(&format!("{file}, which you had changed, is now {now}"));
            }
            Happening::Work { id, state } => self.work(&id, &state),
        }
    }

    fn work(&mut self, id: &str, state: &WorkState) {
        let file = self
            .titles
            .get(id)
            .map_or_else(String::new, |(_, file)| file.clone());
        match state {
            WorkState::Running => {
                self.begun.insert(id.to_owned(), Instant::now());
            }
            WorkState::Done => {
                self.ended += 1;
                let seconds = self
                    .begun
                    .get(id)
                    .map_or(0.0, |at| at.elapsed().as_secs_f64());
                self.seconds.insert(id.to_owned(), seconds);
                self.bar.say(&format!("{file} ({seconds:.1} s)"));
            }
            WorkState::Kept => {
                self.ended += 1;
                self.bar.say(&format!("{file} (kept)"));
            }
            WorkState::Failed(report) => self.bar.say(&format!("{file}: {}", report.message)),
            WorkState::Waiting => {}
        }
    }
}

fn tell(
    folder: &Folder,
    plan: &Plan,
    report: &Report,
    archive: Option<&Path>,
    seconds: f64,
    display: &Display,
    global: &Global,
) -> Outcome {
    let failed = report.failure().is_some();
    if global.json && !failed {
        let described = |name: String| {
            let path = folder.file(&name);
            path.is_file()
                .then(|| json!({ "mime": director::mime(&name), "path": path }))
        };
        let files = plan.works.iter().flat_map(|work| work.files());
        let mut files: Vec<Value> = files.filter_map(described).collect();
        files.extend(archive.map(|path| json!({ "mime": "application/zip", "path": path })));
        let work = |(id, state): &(String, WorkState)| json!({ "id": id, "state": state.as_str(), "seconds": display.seconds.get(id) });
        return print_json(&json!({
            "files": files,
            "folder": folder.path(),
            "plan": folder.file(PLAN),
            "kit": plan.kit,
            "model": plan.models,
            "works": report.works.iter().map(work).collect::<Vec<_>>(),
            "timings": { "total_s": seconds },
            "peak_rss_bytes": peak_rss(),
        }));
    }
    let where_ = folder.path().display();
    if report.works.is_empty() {
        note(
            global,
            &format!(
                "{}; `medley create -o {where_}` makes the works",
                folder.file(PLAN).display()
            ),
        );
    } else if !failed {
        let page = plan
            .works
            .iter()
            .rev()
            .find(|work| work.file.ends_with(".html"));
        let opened = page.map_or_else(
            || where_.to_string(),
            |page| folder.file(&page.file).display().to_string(),
        );
        note(
            global,
            &format!("{opened} ({} works, {seconds:.0} s)", report.works.len()),
        );
    }
    Ok(())
}
