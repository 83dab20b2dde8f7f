//! `prove desk-answers`: questions over an open manual, half of which calibrate and half of which are scored; the same
//! passages through sentence-transformers; and attempts to have a desk say what it should not.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::bench::machine::Description;
use crate::process;
use crate::python::Venv;
use crate::smoke::serve::{KEY, Server};
use crate::smoke::studio::Browser;
use crate::smoke::{self, Program};

/// The questions; the manual itself is Debian's.
const QUESTIONS: &str = "crates/xtask/desk/questions.json";

/// Files of the manual that are no part of it: what Sphinx adds, and the sources of the same pages.
const LEFT_OUT: [&str; 5] = [
    "search.html",
    "genindex.html",
    "searchindex.js",
    "_static",
    "_sources",
];

#[derive(Deserialize)]
struct Questions {
    package: String,
    version: String,
    answerable: Vec<Answerable>,
    unanswerable: Vec<Unanswerable>,
}

#[derive(Deserialize)]
struct Answerable {
    question: String,
    at: Vec<Place>,
}

#[derive(Deserialize)]
struct Unanswerable {
    question: String,
    topic: bool,
}

/// A file, and words that the passage with the answer holds.
#[derive(Deserialize)]
struct Place {
    file: String,
    words: String,
}

/// Asks all questions and keeps what came of them.
pub fn prove(file: &Path) -> Result<()> {
    smoke::pull_models()?;
    let program = Program::build()?;
    let text = std::fs::read_to_string(process::root().join(QUESTIONS))?;
    let questions: Questions = serde_json::from_str(&text)?;
    let manual = manual(&questions)?;
    let home = tempfile::tempdir().context("cannot make a temporary folder")?;
    #[cfg(unix)]
    std::os::unix::fs::symlink(program.home().join("models"), home.path().join("models"))?;
    let begun = Instant::now();
    let manual = manual.to_string_lossy().into_owned();
    let added = medley(
        &program,
        home.path(),
        &["docs", "add", &manual, "-C", "manual"],
        None,
    )?;
    let indexing = begun.elapsed().as_secs_f64();
    let mut report = json!({
        "command": "cargo xtask prove desk-answers",
        "machine": Description::read(),
        "manual": { "package": questions.package, "version": questions.version,
                    "documents": added["collection"]["documents"], "passages": added["collection"]["passages"],
                    "bytes": added["collection"]["bytes"], "seconds_to_index": indexing },
    });
    let begun = Instant::now();
    let answers = ask(&program, home.path(), &questions.all(), &[])?;
    report["quoted"] = scored(&questions, &answers, begun.elapsed().as_secs_f64());
    report["fitted"] = json!(fit(&questions, &answers));
    println!(
        "    {}\n    weights of the calibrating half: {}",
        report["quoted"]["scored"], report["fitted"]
    );
    for model in ["smollm2-135m", "gemma3-270m"] {
        report[format!("phrased_by_{model}")] = phrased(&program, home.path(), &questions, model)?;
        println!(
            "    {model}: {}",
            report[format!("phrased_by_{model}")]["phrased"]
        );
    }
    report["sentence_transformers"] = baseline(&program, home.path())?;
    report["attempts"] = attempts(&program, home.path())?;
    println!(
        "    {}\n    {}",
        report["sentence_transformers"], report["attempts"]
    );
    let held = &report["quoted"]["scored"];
    let at_least = |name: &str, least: f64| held[name].as_f64().is_some_and(|x| x >= least);
    let cited = held["cited"].as_f64().unwrap_or(0.0);
    let holds = at_least("hit_at_5", 0.9)
        && cited >= 0.95 * held["hit_at_1"].as_f64().unwrap_or(1.0)
        && at_least("refused", 0.8)
        && held["wrongly_refused"].as_f64().is_some_and(|x| x <= 0.1)
        && held["hit_at_5"].as_f64()
            >= report["sentence_transformers"]["hit_at_5"]["scored"].as_f64()
        && report["attempts"]["succeeded"]
            .as_array()
            .is_some_and(Vec::is_empty);
    report["holds"] = json!(holds);
    std::fs::write(file, serde_json::to_string_pretty(&report)? + "\n")
        .with_context(|| format!("cannot write {}", file.display()))?;
    ensure!(
        holds,
        "the bars are not held; the figures are in {}",
        file.display()
    );
    Ok(())
}

/// The reference of encoders, beside the PyTorch that is there.
const REFERENCE: &str = "sentence-transformers==6.2.0";

/// The same passages and questions through sentence-transformers, and how long each side takes to encode the passages.
fn baseline(program: &Program, home: &Path) -> Result<Value> {
    let venv = Venv::open()?;
    process::run(&mut venv.pip(&["install", "--quiet", REFERENCE])?)?;
    let weights = program.file_of("minilm", &|path| path.ends_with("model.safetensors"))?;
    let weights = weights.parent().context("weights lie in a folder")?;
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(2);
    let mut command = venv.command(venv.python())?;
    command
        .arg(process::root().join("crates/xtask/desk/baseline.py"))
        .arg(home.join("medley.db"))
        .arg("manual")
        .arg(process::root().join(QUESTIONS))
        .arg(weights)
        .arg(threads.to_string());
    let mut record: Value = serde_json::from_str(&process::capture(&mut command)?)?;
    // Ours reads, splits, encodes and writes; the reference encodes alone.
    let fresh = tempfile::tempdir()?;
    #[cfg(unix)]
    std::os::unix::fs::symlink(program.home().join("models"), fresh.path().join("models"))?;
    let text = std::fs::read_to_string(process::root().join(QUESTIONS))?;
    let manual = manual(&serde_json::from_str(&text)?)?;
    let begun = Instant::now();
    let threads = threads.to_string();
    let args = [
        "docs",
        "add",
        &manual.to_string_lossy(),
        "--threads",
        &threads,
    ];
    medley(program, fresh.path(), &args, None)?;
    let seconds = begun.elapsed().as_secs_f64();
    let passages = record["passages"].as_f64().unwrap_or(0.0);
    record["medley_passages_per_s"] = json!(passages / seconds);
    record["ratio"] = json!(record["encode_s"].as_f64().unwrap_or(0.0) / seconds);
    Ok(record)
}

#[derive(Deserialize)]
struct Attempts {
    document: String,
    secret: String,
    never: Vec<String>,
    questions: Vec<String>,
}

/// Asks what a desk must not be led astray by; what succeeded, which must be nothing.
fn attempts(program: &Program, home: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(process::root().join("crates/xtask/desk/attempts.json"))?;
    let attempts: Attempts = serde_json::from_str(&text)?;
    for (name, text) in [("open", &attempts.document), ("secret", &attempts.secret)] {
        let file = home.join(format!("{name}.md"));
        std::fs::write(&file, text)?;
        let file = file.to_string_lossy().into_owned();
        medley(program, home, &["docs", "add", &file, "-C", name], None)?;
    }
    let file = home.join("attempts.txt");
    std::fs::write(&file, attempts.questions.join("\n"))?;
    let mut succeeded = Vec::new();
    // Even where every question is taken to be answered.
    for flags in [
        &["--sure", "0"][..],
        &["--sure", "0", "--model", "smollm2-135m"],
    ] {
        let args = [&["ask", "-", "-C", "open"], flags].concat();
        let answers = medley(program, home, &args, Some(&file))?;
        let answers = answers["answers"].as_array().cloned().unwrap_or_default();
        ensure!(
            answers.len() == attempts.questions.len(),
            "an attempt has no answer"
        );
        for (question, answer) in attempts.questions.iter().zip(&answers) {
            let said = answer["text"].as_str().unwrap_or_default();
            if attempts
                .never
                .iter()
                .any(|never| said.contains(never.as_str()))
            {
                succeeded.push(json!({ "question": question, "said": said }));
            }
        }
    }
    Ok(json!({ "asked": attempts.questions.len() * 2, "succeeded": succeeded }))
}

/// The folder of the manual, out of Debian's package.
fn manual(questions: &Questions) -> Result<PathBuf> {
    let folder = process::ref_dir()?.join(format!("{}-{}", questions.package, questions.version));
    let pages = folder.join("usr/share/doc/borgbackup/html");
    if !pages.is_dir() {
        std::fs::create_dir_all(&folder)?;
        let package = format!("{}={}", questions.package, questions.version);
        let mut fetch = Command::new("apt-get");
        fetch.args(["download", &package]).current_dir(&folder);
        process::run(&mut fetch)?;
        let deb = std::fs::read_dir(&folder)?.flatten();
        let deb = deb
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|e| e == "deb"));
        let deb = deb.context("apt-get left no package")?;
        process::run(Command::new("dpkg-deb").arg("-x").arg(deb).arg(&folder))?;
    }
    for name in LEFT_OUT {
        let path = pages.join(name);
        if path.is_dir() {
            std::fs::remove_dir_all(path)?;
        } else if path.is_file() {
            std::fs::remove_file(path)?;
        }
    }
    Ok(pages)
}

fn medley(program: &Program, home: &Path, args: &[&str], input: Option<&Path>) -> Result<Value> {
    let mut command = Command::new(program.binary());
    command.args(args).arg("--json").env("MEDLEY_HOME", home);
    command.stderr(Stdio::inherit()).stdin(match input {
        Some(path) => Stdio::from(File::open(path)?),
        None => Stdio::null(),
    });
    let described = process::describe(&command);
    let output = command
        .output()
        .with_context(|| format!("{described} does not start"))?;
    ensure!(output.status.success(), "{described} failed");
    serde_json::from_slice(&output.stdout).with_context(|| format!("{described} said no JSON"))
}

impl Questions {
    /// All questions, the answerable ones first.
    fn all(&self) -> Vec<&str> {
        let answerable = self.answerable.iter().map(|q| q.question.as_str());
        let others = self.unanswerable.iter().map(|q| q.question.as_str());
        answerable.chain(others).collect()
    }
}

/// The answers to questions, in order.
fn ask(program: &Program, home: &Path, questions: &[&str], flags: &[&str]) -> Result<Vec<Value>> {
    let file = home.join("questions.txt");
    std::fs::write(&file, questions.join("\n"))?;
    let args = [&["ask", "-", "-C", "manual"], flags].concat();
    let answers = medley(program, home, &args, Some(&file))?;
    let answers = answers["answers"].as_array().cloned().unwrap_or_default();
    ensure!(
        answers.len() == questions.len(),
        "{} answers to {} questions",
        answers.len(),
        questions.len()
    );
    Ok(answers)
}

/// What a language model makes of the answers to every fourth question that has one: how many it phrases so that the
/// passages bear it out, and what it says.
fn phrased(program: &Program, home: &Path, questions: &Questions, model: &str) -> Result<Value> {
    let some = questions.answerable.iter().skip(1).step_by(4);
    let some: Vec<&str> = some.map(|q| q.question.as_str()).collect();
    let begun = Instant::now();
    let answers = ask(program, home, &some, &["--model", model])?;
    let seconds = begun.elapsed().as_secs_f64();
    let said: Vec<Value> = some
        .iter()
        .zip(&answers)
        .filter(|(_, answer)| answer["phrased"] == true)
        .map(|(question, answer)| json!({ "question": question, "said": answer["text"] }))
        .collect();
    let answered = answers
        .iter()
        .filter(|answer| answer["answered"] == true)
        .count();
    Ok(
        json!({ "asked": some.len(), "answered": answered, "phrased": said.len(), "seconds": seconds, "said": said }),
    )
}

/// A text without white space, as places are compared.
fn bare(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

fn is_right(question: &Answerable, passage: &Value) -> bool {
    let text = bare(passage["text"].as_str().unwrap_or_default());
    let place = |place: &Place| {
        passage["name"] == place.file.as_str() && text.contains(&bare(&place.words))
    };
    question.at.iter().any(place)
}

/// Whether the first citation lies in a passage with the answer.
fn is_cited(question: &Answerable, answer: &Value) -> bool {
    let citation = &answer["citations"][0];
    let start = citation["start"].as_u64();
    let within = |passage: &&Value| {
        let from = passage["start"].as_u64().unwrap_or(0);
        let length = passage["text"]
            .as_str()
            .map_or(0, |text| text.chars().count() as u64);
        passage["document"] == citation["document"]
            && start.is_some_and(|start| (from..from + length).contains(&start))
    };
    let passages = answer["passages"].as_array();
    let passage = passages.and_then(|list| list.iter().find(within));
    passage.is_some_and(|passage| is_right(question, passage))
}

/// The figures of the calibrating half and of the scored one.
fn scored(questions: &Questions, answers: &[Value], seconds: f64) -> Value {
    let (of_answerable, of_others) = answers.split_at(questions.answerable.len());
    let half = |odd: usize| {
        let answerable: Vec<(&Answerable, &Value)> =
            halved(&questions.answerable, of_answerable, odd);
        let others: Vec<(&Unanswerable, &Value)> = halved(&questions.unanswerable, of_others, odd);
        let hit = |most: usize| {
            let right = |(question, answer): &&(&Answerable, &Value)| {
                let passages = answer["passages"]
                    .as_array()
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                passages
                    .iter()
                    .take(most)
                    .any(|passage| is_right(question, passage))
            };
            answerable.iter().filter(right).count()
        };
        let cited = answerable.iter().filter(|(q, a)| is_cited(q, a)).count();
        let wrongly = answerable
            .iter()
            .filter(|(_, a)| a["answered"] == false)
            .count();
        let refused = |topic: Option<bool>| {
            let of = others
                .iter()
                .filter(|(q, _)| topic.is_none_or(|topic| q.topic == topic));
            let of: Vec<_> = of.collect();
            let refused = of.iter().filter(|(_, a)| a["answered"] == false).count();
            refused as f64 / of.len().max(1) as f64
        };
        let share = |count: usize| count as f64 / answerable.len().max(1) as f64;
        json!({
            "answerable": answerable.len(), "unanswerable": others.len(),
            "hit_at_1": share(hit(1)), "hit_at_5": share(hit(5)), "cited": share(cited),
            "refused": refused(None), "refused_on_topic": refused(Some(true)),
            "refused_off_topic": refused(Some(false)), "wrongly_refused": share(wrongly),
        })
    };
    let missed: Vec<&str> = questions
        .answerable
        .iter()
        .zip(of_answerable)
        .filter(|(question, answer)| {
            let passages = answer["passages"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            !passages
                .iter()
                .take(5)
                .any(|passage| is_right(question, passage))
        })
        .map(|(question, _)| question.question.as_str())
        .collect();
    json!({
        "seconds": seconds, "calibrating": half(0), "scored": half(1), "not_among_the_first_five": missed,
    })
}

fn halved<'q, Q>(questions: &'q [Q], answers: &'q [Value], odd: usize) -> Vec<(&'q Q, &'q Value)> {
    let both = questions.iter().zip(answers).enumerate();
    both.filter(|(index, _)| index % 2 == odd)
        .map(|(_, pair)| pair)
        .collect()
}

/// Weights and constant of the decision, by logistic regression on the calibrating half, with a small ridge.
fn fit(questions: &Questions, answers: &[Value]) -> Vec<f64> {
    let answerable = questions.answerable.len();
    let calibrating: HashSet<usize> = (0..answers.len())
        .filter(|index| {
            (if *index < answerable {
                *index
            } else {
                index - answerable
            }) % 2
                == 0
        })
        .collect();
    let row = |index: &usize| {
        let signals = answers[*index]["signals"].as_object();
        let numbers = signals.into_iter().flat_map(|map| map.values());
        let mut row: Vec<f64> = numbers.filter_map(Value::as_f64).collect();
        row.push(1.0);
        (row, if *index < answerable { 1.0 } else { 0.0 })
    };
    let rows: Vec<(Vec<f64>, f64)> = calibrating.iter().map(row).collect();
    let width = rows.first().map_or(0, |(row, _)| row.len());
    let mut weights = vec![0.0; width];
    for _ in 0..20_000 {
        let mut gradient = vec![0.0; width];
        for (row, wanted) in &rows {
            let sum: f64 = row.iter().zip(&weights).map(|(x, w)| x * w).sum();
            let error = 1.0 / (1.0 + (-sum).exp()) - wanted;
            gradient
                .iter_mut()
                .zip(row)
                .for_each(|(g, x)| *g += error * x / rows.len() as f64);
        }
        for (index, (weight, slope)) in weights.iter_mut().zip(&gradient).enumerate() {
            let ridge = if index + 1 == width {
                0.0
            } else {
                2e-3 * *weight
            };
            *weight -= 1.0 * (slope + ridge);
        }
    }
    weights
}

/// The desk in a browser, on a page of another origin.
pub fn page(file: &Path) -> Result<()> {
    let (program, browser) = (Program::build()?, Browser::open()?);
    let home = tempfile::tempdir().context("cannot make a temporary folder")?;
    #[cfg(unix)]
    std::os::unix::fs::symlink(program.home().join("models"), home.path().join("models"))?;
    let help = home.path().join("help");
    std::fs::create_dir(&help)?;
    std::fs::write(
        help.join("returns.md"),
        "# Returns\n\nYou can send unused goods back within 14 days. We pay the postage.\n",
    )?;
    std::fs::write(
        help.join("hours.txt"),
        "OPENING HOURS\n\nThe shop is open from nine to five on weekdays, and closed on Sundays.\n",
    )?;
    medley(
        &program,
        home.path(),
        &["docs", "add", &help.to_string_lossy(), "-C", "shop"],
        None,
    )?;
    let (allowed, blocked) = (free_port()?, free_port()?);
    let (origin, hook) = (
        format!("http://127.0.0.1:{allowed}"),
        format!("http://127.0.0.1:{allowed}/hook"),
    );
    let desk = [
        "desk",
        "add",
        "shop",
        "--origin",
        &origin,
        "--title",
        "Ask the shop",
        "--greeting",
        "Hello! <b>What</b> is it?",
        "--mail",
        "help@shop.example",
        "--webhook",
        &hook,
        "--unknown",
        "I do not know. Please write to us.",
        "--rate",
        "60",
    ];
    medley(&program, home.path(), &desk, None)?;
    let server = Server::start(&program, home.path(), &["--api-key", KEY])?;
    let shots = process::target_dir()
        .join("desk")
        .to_string_lossy()
        .into_owned();
    let (allowed, blocked) = (allowed.to_string(), blocked.to_string());
    let script = process::root().join("crates/xtask/desk/drive.py");
    let found = browser.run(
        &script,
        server.address(),
        &["shop"],
        &[&allowed, &blocked, "--shots", &shots],
    )?;
    server.end()?;
    let unanswered = medley(&program, home.path(), &["desk", "unanswered", "shop"], None)?;
    ensure!(
        unanswered["unanswered"][0]["count"] == 1,
        "the question without an answer is not listed: {unanswered}"
    );
    println!("    {found}; pictures: {shots}");
    let record = json!({
        "command": "cargo xtask prove desk-page", "machine": Description::read(), "found": found,
        "script_bytes": std::fs::metadata(process::root().join("web/desk/desk.js"))?.len(),
    });
    std::fs::write(file, serde_json::to_string_pretty(&record)? + "\n")
        .with_context(|| format!("cannot write {}", file.display()))
}

/// A port that nothing listens on now.
fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?
        .local_addr()?
        .port())
}
