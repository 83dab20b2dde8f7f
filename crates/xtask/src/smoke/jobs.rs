//! Jobs that outlive the server, which is killed.

use std::collections::HashSet;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::Program;
use super::serve::{Server, ask};

/// No queue of these takes longer on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(300);

fn asked(server: &Server, request: &str, body: Option<&Value>) -> Result<Value> {
    let address = server.address().trim_start_matches("http://");
    let (status, text) = ask(address, request, None, body)?;
    ensure!(status == 200, "{request} answers {status}: {text}");
    serde_json::from_str(&text).with_context(|| format!("{request} answers no JSON"))
}

/// All items of a list.
fn all(server: &Server, path: &str) -> Result<Vec<Value>> {
    let mut items: Vec<Value> = Vec::new();
    loop {
        let after = items.last().and_then(|item| item["id"].as_str());
        let after = after.map(|id| format!("&after={id}")).unwrap_or_default();
        let page = asked(server, &format!("GET {path}?limit=100{after}"), None)?;
        items.extend(page["data"].as_array().context("no list")?.iter().cloned());
        if page["has_more"] != true {
            return Ok(items);
        }
    }
}

/// Waits until so many jobs have ended; all jobs.
fn ended(server: &Server, count: usize) -> Result<Vec<Value>> {
    let since = Instant::now();
    while since.elapsed() < PATIENCE {
        let jobs = all(server, "/v1/jobs")?;
        let open = |job: &&Value| matches!(job["state"].as_str(), Some("queued" | "running"));
        if jobs.len() - jobs.iter().filter(open).count() >= count {
            return Ok(jobs);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("{count} jobs do not end")
}

/// A small kill in the middle of a few jobs.
pub fn survive(program: &Program) -> Result<()> {
    kill(program, 6, 1).map(drop)
}

/// Kills a server so many times in the middle of its jobs, and checks that each ends once; what was seen.
pub fn kill(program: &Program, jobs: usize, kills: usize) -> Result<Value> {
    let home = tempfile::tempdir()?;
    // Models are shared with the other tests; all else is this home's own.
    program.json(&["models", "pull", "smollm2-135m"])?;
    #[cfg(unix)]
    std::os::unix::fs::symlink(program.home().join("models"), home.path().join("models"))?;
    let since = Instant::now();
    let mut server = Server::start(program, home.path(), &[])?;
    for number in 0..jobs {
        let request = match number % 2 {
            0 => {
                json!({ "medium": "text", "model": "smollm2-135m", "prompt": "Name three rivers.", "seed": number, "max_tokens": 60 })
            }
            _ => {
                json!({ "medium": "image", "model": "icons", "prompt": "a red apple", "seed": number })
            }
        };
        asked(
            &server,
            "POST /v1/jobs",
            Some(&json!({ "request": request })),
        )?;
    }
    let mut left_running = 0;
    for kill in 1..=kills {
        let jobs = ended(&server, jobs * kill / (kills + 1))?;
        left_running += jobs.iter().filter(|job| job["state"] == "running").count();
        server.kill()?;
        server = Server::start(program, home.path(), &[])?;
    }
    let ended = ended(&server, jobs);
    let works = all(&server, "/v1/library");
    server.kill()?;
    let (ended, works) = (ended?, works?);
    ensure!(
        ended.len() == jobs,
        "{} jobs of {jobs} are there",
        ended.len()
    );
    let mut seen = HashSet::new();
    for job in &ended {
        ensure!(job["state"] == "done", "a job ended otherwise: {job}");
        let of_job = works.iter().filter(|work| work["job"] == job["id"]).count();
        ensure!(of_job == 1, "a job has {of_job} works: {job}");
        ensure!(
            seen.insert(job["id"].to_string()),
            "a job is there twice: {job}"
        );
    }
    ensure!(works.len() == jobs, "{} works of {jobs} jobs", works.len());
    Ok(json!({
        "jobs": jobs, "kills": kills, "running_when_killed": left_running, "done": ended.len(), "works": works.len(),
        "seconds": since.elapsed().as_secs_f64(),
    }))
}

/// Keys that are made, listed and removed on the command line.
pub fn keys(program: &Program) -> Result<()> {
    let home = tempfile::tempdir()?;
    let run = |args: &[&str]| -> Result<std::process::Output> {
        let command = Command::new(program.binary())
            .args(args)
            .env("MEDLEY_HOME", home.path())
            .output();
        command.context("`medley keys` does not start")
    };
    let added = run(&[
        "keys",
        "add",
        "ada",
        "--scope",
        "generate",
        "--requests-per-minute",
        "60",
        "--json",
    ])?;
    let added: Value = serde_json::from_slice(&added.stdout).context("no JSON of keys add")?;
    let key = added["key"].as_str().context("no key")?;
    let listed = String::from_utf8(run(&["keys", "list"])?.stdout)?;
    ensure!(
        listed == "ada: generate; 60 requests a minute\n",
        "keys list says {listed:?}"
    );
    let kept = std::fs::read_to_string(home.path().join("keys.json"))?;
    ensure!(!kept.contains(key), "the key itself is kept");
    for (args, code) in [
        (vec!["keys", "add", "ada"], 2),
        (vec!["keys", "add", "bob", "--scope", "all"], 2),
        (vec!["keys", "remove", "nobody"], 2),
        (vec!["keys", "remove", "ada"], 0),
    ] {
        let found = run(&args)?.status.code();
        ensure!(
            found == Some(code),
            "{args:?} ended with {found:?}, not {code}"
        );
    }
    Ok(())
}
