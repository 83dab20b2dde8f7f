//! The built program with real models: what a user types, checked from outside.
//!
//! A case is a function over [`Program`]; add it to [`CASES`]. Models are kept between runs in one `MEDLEY_HOME`.

mod code;
mod create;
mod films;
pub mod jobs;
mod lessons;
mod pictures;
pub mod serve;
mod sound;
pub mod studio;
mod vectors;
mod voices;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::process;
use crate::steps::Steps;

/// No command of these cases takes longer on the slowest machine, a first download apart.
const TIME_LIMIT: Duration = Duration::from_secs(600);

type Case = fn(&Program) -> Result<()>;

/// The real models of the tests.
const MODELS: [&str; 4] = ["smollm2-135m", "gemma3-270m", "minilm", "hibari"];

/// Every case with its name, cheapest first.
const CASES: &[(&str, Case)] = &[
    ("smoke::version", version),
    ("smoke::wrong_usage", wrong_usage),
    ("smoke::pull", pull),
    ("smoke::text_greedy", text_greedy),
    ("smoke::text_threads", text_threads),
    ("smoke::text_seed", text_seed),
    ("smoke::text_constraints", text_constraints),
    ("smoke::text_speculation", text_speculation),
    ("smoke::text_refusals", text_refusals),
    ("smoke::code", code::code),
    ("smoke::embed", vectors::embed),
    ("smoke::speech", voices::speech),
    ("smoke::serve", serve::serve),
    ("smoke::studio", studio::studio),
    ("smoke::keys", jobs::keys),
    ("smoke::jobs_survive", jobs::survive),
    ("smoke::heard", sound::heard),
    ("smoke::image_refusals", pictures::refusals),
    ("smoke::image_draws", pictures::draws),
    ("smoke::image_walks", pictures::walks),
    ("smoke::film_draws", films::draws),
    ("smoke::create", create::create),
    ("smoke::image_learns", pictures::learns),
    ("smoke::text_learns", lessons::text),
    ("smoke::text_lora", lessons::lora),
    ("smoke::upscaler_learns", lessons::upscaler),
];

/// The program under test.
pub struct Program {
    binary: PathBuf,
    home: PathBuf,
}

/// What one command did.
pub struct Outcome {
    command: String,
    status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Build the program and run every case as a step.
pub fn add_to(steps: &mut Steps) {
    if !CASES.iter().any(|(name, _)| steps.wants(name)) {
        return;
    }
    let mut program = None;
    steps.step("smoke::build", || {
        program = Some(Program::build()?);
        Ok(())
    });
    // Asked for a single case, `smoke::build` was not a step of its own.
    if program.is_none() && !steps.wants("smoke::build") {
        program = Program::build().ok();
    }
    for (name, case) in CASES {
        steps.step(name, || match &program {
            Some(program) => case(program),
            None => bail!("the program does not build"),
        });
    }
}

/// Folder of the models that developers' commands use: `MEDLEY_HOME`, or `home` in the developer folder.
pub fn home() -> Result<PathBuf> {
    match std::env::var_os("MEDLEY_HOME") {
        Some(home) => Ok(PathBuf::from(home)),
        None => Ok(process::ref_dir()?.join("home")),
    }
}

/// Every string in a value that is the path of something on this machine, in depth-first order.
fn paths(value: &Value) -> Vec<PathBuf> {
    match value {
        Value::String(text) => {
            let path = PathBuf::from(text);
            if path.is_absolute() && path.exists() {
                vec![path]
            } else {
                Vec::new()
            }
        }
        Value::Array(items) => items.iter().flat_map(paths).collect(),
        Value::Object(fields) => fields.values().flat_map(paths).collect(),
        _ => Vec::new(),
    }
}

/// The first file at or below `path`, by name, that is wanted.
fn find_file(path: &Path, wanted: &dyn Fn(&Path) -> bool) -> Option<PathBuf> {
    if path.is_file() {
        return wanted(path).then(|| path.to_owned());
    }
    let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    entries.sort();
    entries.iter().find_map(|entry| find_file(entry, wanted))
}

impl Program {
    /// Build it as the README says.
    pub fn build() -> Result<Self> {
        Ok(Self {
            binary: process::build_medley()?,
            home: home()?,
        })
    }

    /// Run with no input; whatever the exit code, its outcome. A panic is an error at once.
    pub fn run(&self, args: &[&str]) -> Result<Outcome> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let (out, err) = (folder.path().join("out"), folder.path().join("err"));
        let mut command = Command::new(&self.binary);
        command
            .args(args)
            .env("MEDLEY_HOME", &self.home)
            .stdin(Stdio::null())
            .stdout(File::create(&out)?)
            .stderr(File::create(&err)?);
        let described = process::describe(&command);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {described}"))?;
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if start.elapsed() > TIME_LIMIT {
                child.kill()?;
                child.wait()?;
                bail!("{described} ran for more than {TIME_LIMIT:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let read = |path: &Path| -> Result<String> {
            String::from_utf8(std::fs::read(path)?)
                .with_context(|| format!("{described} printed invalid UTF-8"))
        };
        let outcome = Outcome {
            status,
            stdout: read(&out)?,
            stderr: read(&err)?,
            command: described,
        };
        ensure!(
            !outcome.stderr.contains("panicked at"),
            "{} panicked:\n{}",
            outcome.command,
            outcome.stderr
        );
        Ok(outcome)
    }

    /// Run with `--json` and return the one object of standard output.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        self.run(&[args, &["--json"]].concat())?.json()
    }

    /// A file of a model in the catalog, which is pulled first.
    pub fn file_of(&self, name: &str, wanted: &dyn Fn(&Path) -> bool) -> Result<PathBuf> {
        let pulled = self.json(&["models", "pull", name])?;
        paths(&pulled)
            .iter()
            .find_map(|path| find_file(path, wanted))
            .with_context(|| {
                format!("`medley models pull {name} --json` leads to no such file: {pulled}")
            })
    }

    /// The GGUF file that a name stands for: the file itself, or that of a model in the catalog.
    pub fn weights(&self, name: &str) -> Result<PathBuf> {
        if Path::new(name).is_file() {
            return Ok(PathBuf::from(name));
        }
        self.file_of(name, &|path| {
            path.extension().is_some_and(|ending| ending == "gguf")
        })
    }

    /// The program itself.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Folder of its models.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The text that the starter model writes for these arguments.
    fn text(&self, args: &[&str]) -> Result<Value> {
        let value = self.json(&[&["text"], args].concat())?;
        ensure!(
            value["text"].as_str().is_some_and(|text| !text.is_empty()),
            "no text in {value}"
        );
        Ok(value)
    }

    /// Run something that must be refused: this exit code, and one JSON error that contains every one of `words`.
    pub fn refuses(&self, args: &[&str], code: i32, words: &[&str]) -> Result<()> {
        let outcome = self.run(&[args, &["--json"]].concat())?;
        ensure!(
            outcome.status.code() == Some(code),
            "{} ended with {}, not {code}:\n{}{}",
            outcome.command,
            outcome.status,
            outcome.stdout,
            outcome.stderr
        );
        let value: Value = serde_json::from_str(&outcome.stdout)
            .with_context(|| format!("{} printed no JSON error", outcome.command))?;
        let message = value["error"]["message"].as_str().unwrap_or_default();
        for word in words {
            ensure!(message.contains(word), "{word:?} is not in {message:?}");
        }
        ensure!(
            !message.contains('\n'),
            "an error is one line, this one is {message:?}"
        );
        Ok(())
    }
}

impl Outcome {
    /// Whether the exit code is 0.
    pub fn succeeded_quietly(&self) -> bool {
        self.status.success()
    }

    /// Fail, showing everything printed, unless the exit code is 0.
    pub fn succeeded(self) -> Result<Self> {
        ensure!(
            self.status.success(),
            "{} ended with {}:\n{}{}",
            self.command,
            self.status,
            self.stdout,
            self.stderr
        );
        Ok(self)
    }

    /// Standard output as one JSON value.
    pub fn json(self) -> Result<Value> {
        let outcome = self.succeeded()?;
        serde_json::from_str(&outcome.stdout).with_context(|| {
            format!(
                "{} did not print one JSON object:\n{}",
                outcome.command, outcome.stdout
            )
        })
    }
}

fn version(program: &Program) -> Result<()> {
    let outcome = program.run(&["--version"])?.succeeded()?;
    let expected = concat!("medley ", env!("CARGO_PKG_VERSION"));
    ensure!(
        outcome.stdout.trim() == expected,
        "{:?} is not {expected:?}",
        outcome.stdout
    );
    Ok(())
}

fn wrong_usage(program: &Program) -> Result<()> {
    let outcome = program.run(&["text", "--no-such-flag"])?;
    ensure!(
        outcome.status.code() == Some(2),
        "an unknown flag ended with {}",
        outcome.status
    );
    ensure!(
        outcome.stderr.contains("--no-such-flag"),
        "the flag is not named: {}",
        outcome.stderr
    );
    Ok(())
}

fn pull(program: &Program) -> Result<()> {
    for name in MODELS {
        program.run(&["models", "pull", name])?.succeeded()?;
    }
    Ok(())
}

/// Fetches the real models that tests use; the folder that holds one folder for each.
pub fn pull_models() -> Result<PathBuf> {
    let program = Program::build()?;
    pull(&program)?;
    Ok(program.home.join("models"))
}

/// The form that `--json` promises, and the same text twice.
fn text_greedy(program: &Program) -> Result<()> {
    let args = [
        "The capital of France is",
        "--seed",
        "1",
        "--max-tokens",
        "32",
        "--temperature",
        "0",
    ];
    let first = program.text(&args)?;
    let reason = first["finish_reason"].as_str().unwrap_or_default();
    ensure!(
        ["stop", "length"].contains(&reason),
        "finish_reason is {reason:?}"
    );
    ensure!(
        first["prompt_tokens"]
            .as_u64()
            .is_some_and(|count| count > 0),
        "prompt_tokens is {}",
        first["prompt_tokens"]
    );
    for timing in ["load_s", "prefill_tok_s", "decode_tok_s"] {
        let value = first["timings"][timing].as_f64();
        ensure!(
            value.is_some_and(|value| value > 0.0),
            "timings.{timing} is {value:?}"
        );
    }
    ensure!(
        first["text"]
            .as_str()
            .is_some_and(|text| text.contains("Paris")),
        "SmolLM2 knows the capital of France, but wrote {}",
        first["text"]
    );
    let second = program.text(&args)?;
    ensure!(
        first["text"] == second["text"],
        "greedy text differs: {} and {}",
        first["text"],
        second["text"]
    );
    Ok(())
}

/// Threads split outputs, never a sum: any number of them writes the same text.
fn text_threads(program: &Program) -> Result<()> {
    let with = |threads: &str| {
        program.text(&[
            "Write a line about the sea.",
            "--seed",
            "7",
            "--max-tokens",
            "24",
            "--threads",
            threads,
        ])
    };
    let (one, two) = (with("1")?, with("2")?);
    ensure!(
        one["text"] == two["text"],
        "one thread wrote {}, two wrote {}",
        one["text"],
        two["text"]
    );
    Ok(())
}

fn text_seed(program: &Program) -> Result<()> {
    let with = |seed: &str| {
        program.text(&[
            "Invent a name for a café.",
            "--seed",
            seed,
            "--temperature",
            "1.5",
            "--max-tokens",
            "24",
        ])
    };
    let (first, again, other) = (with("1")?, with("1")?, with("2")?);
    ensure!(
        first["text"] == again["text"],
        "one seed wrote {} and {}",
        first["text"],
        again["text"]
    );
    ensure!(
        first["text"] != other["text"],
        "two seeds wrote the same: {}",
        first["text"]
    );
    Ok(())
}

/// A schema, a pattern, a grammar and a task with few answers each hold the text.
fn text_constraints(program: &Program) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str, text: &str| -> Result<String> {
        let path = folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    };
    let schema = file(
        "person.json",
        r#"{"type": "object", "required": ["name", "age"], "properties":
            {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "minimum": 0, "maximum": 120}}}"#,
    )?;
    let text = |args: &[&str]| -> Result<String> {
        let value = program.text(&[args, &["--seed", "1", "--max-tokens", "60"]].concat())?;
        Ok(value["text"].as_str().unwrap_or_default().to_owned())
    };
    let person = text(&[
        "Anna is 34. Give her data as JSON.",
        "--json-schema",
        &schema,
    ])?;
    let value: Value = serde_json::from_str(&person)
        .with_context(|| format!("no JSON came out of the schema: {person}"))?;
    ensure!(
        value["age"].as_u64().is_some_and(|age| age <= 120) && value["name"].is_string(),
        "the schema does not hold {value}"
    );
    let year = text(&["When did the war end?", "--regex", "(19|20)[0-9]{2}"])?;
    ensure!(
        year.len() == 4
            && year
                .parse::<u16>()
                .is_ok_and(|year| (1900..2100).contains(&year)),
        "the pattern does not hold {year:?}"
    );
    let grammar = file("answer.gbnf", "root ::= \"yes\" | \"no\"")?;
    let answer = text(&["Is the sky blue?", "--grammar", &grammar])?;
    ensure!(
        ["yes", "no"].contains(&answer.as_str()),
        "the grammar does not hold {answer:?}"
    );
    let label = text(&["I love it!", "--task", "classify:praise,complaint"])?;
    ensure!(
        ["praise", "complaint"].contains(&label.as_str()),
        "{label:?} is no label"
    );
    let wrong = file("wrong.json", r#"{"type": "nonsense"}"#)?;
    program.refuses(
        &["text", "x", "--json-schema", &wrong],
        1,
        &["schema", "nonsense"],
    )?;
    program.refuses(&["text", "x", "--regex", "("], 1, &["regular expression"])?;
    program.refuses(
        &["text", "x", "--task", "dance"],
        2,
        &["dance", "summarize"],
    )
}

/// Guesses change no text, and some come true where the text repeats its prompt.
fn text_speculation(program: &Program) -> Result<()> {
    let material = "The ferry from Harwich to Hoek van Holland leaves at nine and arrives at seventeen hours. ".repeat(2);
    let args = [
        &material,
        "--task",
        "correct",
        "--seed",
        "3",
        "--max-tokens",
        "60",
    ];
    let with = |flags: &[&str]| program.text(&[&args, flags].concat());
    let plain = with(&["--speculate", "off"])?;
    ensure!(plain["timings"]["drafted"] == 0, "guesses in {plain}");
    let guessed = with(&["--speculate", "lookup"])?;
    ensure!(
        guessed["timings"]["accepted"].as_u64() > Some(0),
        "no guess came true: {guessed}"
    );
    let drafted = with(&["--draft-model", "smollm2-135m"])?;
    for other in [&guessed, &drafted] {
        ensure!(
            other["text"] == plain["text"],
            "with guesses {}, without {}",
            other["text"],
            plain["text"]
        );
    }
    program.refuses(
        &["text", "x", "--draft-model", "gemma3-270m"],
        1,
        &["gemma", "vocabulary"],
    )?;
    program.refuses(
        &[
            "text",
            "x",
            "--draft-model",
            "smollm2-135m",
            "--speculate",
            "off",
        ],
        2,
        &["--draft-model"],
    )
}

fn text_refusals(program: &Program) -> Result<()> {
    program.refuses(&["text", ""], 2, &["prompt"])?;
    program.refuses(&["text", "x", "--seed", "-1"], 2, &["--seed"])?;
    program.refuses(&["text", "x", "--temperature", "-1"], 2, &["temperature"])?;
    program.refuses(
        &["text", "x", "-o", "/nowhere/at/all.txt"],
        1,
        &["/nowhere/at/all.txt"],
    )?;
    let long = "word ".repeat(9000);
    program.refuses(&["text", &long], 1, &["90", "8192"])?;
    program.refuses(
        &["text", "Hello", "--model", "no-such-model"],
        1,
        &["no-such-model"],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_are_found_at_any_depth() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        std::fs::create_dir(&model).unwrap();
        std::fs::write(model.join("b.gguf"), "").unwrap();
        std::fs::write(folder.path().join("z.txt"), "").unwrap();
        let value = json!({"models": [{"name": "x", "path": folder.path()}]});
        let found = paths(&value);
        assert_eq!(found, [folder.path()]);
        let gguf = |path: &Path| path.extension().is_some_and(|ending| ending == "gguf");
        assert_eq!(find_file(&found[0], &gguf), Some(model.join("b.gguf")));
        assert_eq!(find_file(&model, &|_| false), None);
    }

    #[cfg(unix)]
    #[test]
    fn outcomes_of_a_program() {
        let program = Program {
            binary: "sh".into(),
            home: std::env::temp_dir(),
        };
        let fine = program.run(&["-c", r#"echo '{"a": 1}'"#]).unwrap();
        assert_eq!(fine.json().unwrap()["a"], 1);
        let failed = program.run(&["-c", "echo no >&2; exit 1"]).unwrap();
        assert!(failed.json().is_err());
        let panicked = program.run(&["-c", "echo thread main panicked at x >&2"]);
        assert!(panicked.is_err());
    }
}
