//! `medley code` over a folder as a developer calls it, with a tiny model whose answers mean nothing, but have the form that
//! the grammar gives them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A folder with a program in `app`, a model in `model` and an empty home.
struct Desk {
    folder: tempfile::TempDir,
}

const CONFIG: &str = "\"\"\"Settings.\"\"\"\n\n\ndef parse(path):\n    return open(path).read()\n\n\ndef defaults():\n    return parse(\"defaults.ini\")\n";
const MAIN: &str = "from config import parse\n\n\ndef main():\n    print(parse(\"my.ini\"))\n";

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let desk = Self { folder };
        desk.put("app/src/config.py", CONFIG);
        desk.put("app/src/main.py", MAIN);
        desk.put("app/README.md", "# Demo\n\nCall `parse`.\n");
        desk.put("app/.gitignore", "secret/\n");
        desk.put("app/secret/keys.py", "KEY = 1\n");
        crate::models::writer::writer(&desk.path("model"));
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn code(&self, args: &[&str]) -> Output {
        let output = Command::new(env!("CARGO_BIN_EXE_medley"))
            .arg("code")
            .args(args)
            .current_dir(self.folder.path())
            .env("MEDLEY_HOME", self.path("home"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "{said}");
        output
    }

    /// What a successful run prints, and says.
    fn done(&self, args: &[&str]) -> (String, String) {
        let output = self.code(args);
        let (out, said) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{args:?}: {said}{out}");
        (out, said)
    }

    /// The one line of a run that fails, and its exit code.
    fn refused(&self, args: &[&str]) -> (String, i32) {
        let output = self.code(args);
        let said = text(&output.stderr);
        let lines: Vec<&str> = said
            .lines()
            .filter(|line| line.starts_with("medley: "))
            .collect();
        assert_eq!(
            (lines.len(), output.stdout.len()),
            (1, 0),
            "{args:?}: {said}"
        );
        (lines[0].to_owned(), output.status.code().unwrap())
    }

    fn json(&self, args: &[&str]) -> Value {
        let (out, _) = self.done(&[args, &["--json"]].concat());
        serde_json::from_str(&out).unwrap()
    }

    fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=a",
                "-c",
                "user.email=a@example.com",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(args)
            .current_dir(self.path("app"))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "git {args:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    fn commit(&self) {
        self.git(&["init", "-q"]);
        self.git(&["add", "."]);
        self.git(&["commit", "-q", "-m", "first"]);
    }

    /// Has git apply a diff and gives the files that differ then.
    fn applied(&self, diff: &str) -> String {
        fs::write(self.path("change.diff"), diff).unwrap();
        self.git(&["apply", "--check", "../change.diff"]);
        self.git(&["apply", "../change.diff"]);
        self.git(&["status", "--porcelain"])
    }

    fn is_untouched(&self) -> bool {
        self.read("app/src/config.py") == CONFIG && self.read("app/src/main.py") == MAIN
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const RENAME: &str = "rename the function parse to read_config and fix callers";

#[test]
fn a_renaming_is_a_diff_that_git_applies_and_apply_writes_the_same() {
    let desk = Desk::new();
    desk.commit();
    let (diff, said) = desk.done(&[RENAME, "--repo", "app"]);
    assert!(desk.is_untouched(), "nothing is written without --apply");
    assert!(said.contains("by rule"), "{said}");
    assert!(
        diff.starts_with(
            "diff --git a/README.md b/README.md\n--- a/README.md\n+++ b/README.md\n@@"
        ),
        "{diff}"
    );
    assert!(
        diff.contains("-from config import parse\n+from config import read_config\n"),
        "{diff}"
    );
    assert_eq!(
        desk.applied(&diff),
        " M README.md\n M src/config.py\n M src/main.py\n"
    );
    let by_git = [desk.read("app/src/config.py"), desk.read("app/src/main.py")];
    desk.git(&["checkout", "-q", "."]);
    // A folder given as a file is the folder that is worked on.
    let made = desk.json(&[RENAME, "--file", "app", "--apply"]);
    assert_eq!(
        [desk.read("app/src/config.py"), desk.read("app/src/main.py")],
        by_git
    );
    assert_eq!(made["diff"], diff);
    assert_eq!(
        (&made["applied"], &made["model"]),
        (&Value::Bool(true), &Value::Null)
    );
    assert_eq!(made["files"][2]["path"], "src/main.py");
    assert_eq!(made["edits"][0]["kind"], "rename");
    desk.git(&["checkout", "-q", "."]);
    let (diff, _) = desk.done(&["delete the file src/main.py", "--repo", "app"]);
    assert_eq!(desk.applied(&diff), " D src/main.py\n");
}

#[test]
fn changes_that_are_not_committed_are_written_over_only_by_force() {
    let desk = Desk::new();
    desk.commit();
    desk.put("app/src/main.py", &format!("{MAIN}# mine\n"));
    let args = [RENAME, "--repo", "app", "--apply"];
    let (line, code) = desk.refused(&args);
    assert!(
        line.contains("src/main.py: it has changes that are not committed")
            && line.contains("--force"),
        "{line}"
    );
    assert_eq!(
        (code, desk.read("app/src/config.py")),
        (1, CONFIG.to_owned())
    );
    desk.done(&[&args[..], &["--force"]].concat());
    assert!(
        desk.read("app/src/main.py")
            .ends_with("read_config(\"my.ini\"))\n# mine\n")
    );
}

const CHANGE: [&str; 11] = [
    "print the settings",
    "--repo",
    "app",
    "--model",
    "model",
    "--file",
    "src/main.py",
    "--max-tokens",
    "900",
    "--json",
    "--scope",
];

/// What a run with this seed prints, where its answers came to a change.
fn changed(desk: &Desk, scope: &[&str], seed: &str) -> Option<Value> {
    let output = desk.code(&[&CHANGE[..], scope, &["--seed", seed]].concat());
    assert!(desk.is_untouched());
    let made: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
    if output.status.success() {
        return Some(made);
    }
    assert!(
        made["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("no change: "),
        "{made}"
    );
    None
}

/// Ends of lines (token 10) are likely, so that answers come to their end.
const FILES: [&str; 3] = ["files", "--logit-bias", "10=20"];

#[test]
fn what_a_model_answers_is_held_to_edits_that_apply() {
    let desk = Desk::new();
    desk.commit();
    let mut seen = 0;
    for made in ["1", "2", "3", "4"]
        .iter()
        .filter_map(|seed| changed(&desk, &FILES, seed))
    {
        assert_eq!(made["shown"][0]["path"], "src/main.py");
        assert_eq!(made["shown"][0]["why"], "named");
        for edit in made["edits"].as_array().unwrap() {
            assert_eq!(edit["path"], "src/main.py", "{edit}");
            let find = edit["find"].as_str().unwrap();
            assert!(MAIN.contains(find), "lines that stand there: {find:?}");
        }
        assert_eq!(
            desk.applied(made["diff"].as_str().unwrap()),
            " M src/main.py\n"
        );
        desk.git(&["checkout", "-q", "."]);
        seen += 1;
    }
    assert!(seen > 0, "no answer came to a change");
}

#[test]
fn a_definition_alone_keeps_its_head_and_what_is_around_it() {
    let desk = Desk::new();
    desk.commit();
    let mut seen = 0;
    for made in ["1", "2", "3", "4"]
        .iter()
        .filter_map(|seed| changed(&desk, &["definition"], seed))
    {
        assert_eq!(made["shown"][0]["lines"], serde_json::json!([[4, 5]]));
        let edit = &made["edits"][0];
        assert_eq!(edit["find"], "def main():\n    print(parse(\"my.ini\"))\n");
        let lines = edit["replace"].as_str().unwrap().lines();
        assert!(
            lines.enumerate().all(|(n, line)| match n {
                0 => line == "def main():",
                _ => line.is_empty() || line.starts_with([' ', '\t']),
            }),
            "{edit}"
        );
        assert_eq!(
            desk.applied(made["diff"].as_str().unwrap()),
            " M src/main.py\n"
        );
        assert!(
            desk.read("app/src/main.py")
                .starts_with("from config import parse\n\n\ndef main():\n")
        );
        desk.git(&["checkout", "-q", "."]);
        seen += 1;
    }
    assert!(seen > 0, "no answer came to a change");
}

#[test]
fn an_explanation_names_places_that_are_there() {
    let desk = Desk::new();
    let args = [
        "what does this do?",
        "--repo",
        "app",
        "--model",
        "model",
        "--seed",
        "1",
        "--max-tokens",
        "900",
        "--scope",
    ];
    for scope in ["files", "definition"] {
        let (out, said) = desk.done(&[&args[..], &[scope]].concat());
        assert!(
            said.contains(if scope == "files" {
                "shown: "
            } else {
                "one definition at a time: "
            }),
            "{said}"
        );
        let places: Vec<&str> = out
            .lines()
            .filter_map(|line| line.strip_prefix("- "))
            .collect();
        assert!(scope == "files" || places.len() == 3, "{out}");
        for place in places {
            let mut parts = place.splitn(3, ':');
            let file = parts.next().unwrap();
            let line: usize = parts.next().unwrap().parse().unwrap();
            assert!(
                desk.read(&format!("app/{file}")).lines().count() >= line,
                "{place}"
            );
        }
        assert!(!out.contains("keys.py"), "what git ignores is not shown");
    }
    let (line, code) = desk.refused(&[&args[..5], &["--apply"]].concat());
    assert!(line.contains("--apply") && code == 2, "{line}");
}

#[test]
fn a_map_is_printed_without_a_model() {
    let desk = Desk::new();
    let (map, _) = desk.done(&["parse", "--repo", "app", "--map"]);
    assert!(
        map.starts_with(
            "src/config.py (115 B, 9 lines)\n  4: def parse(path):\n  8: def defaults():\n"
        ),
        "{map}"
    );
    assert!(!map.contains("keys.py"));
    let made = desk.json(&["parse", "--repo", "app", "--map"]);
    assert_eq!(made["map"][0]["definitions"][1][0], 8);
}

#[test]
fn wrong_input_is_refused_in_one_line() {
    let desk = Desk::new();
    fs::create_dir(desk.path("empty")).unwrap();
    desk.put("binary/a.bin", "\0\0");
    let long = "again and ".repeat(3000);
    let cases: [(&[&str], &str, i32); 10] = [
        (&["x", "--repo", "no"], "no: there is no such folder", 1),
        (
            &["x", "--repo", "empty"],
            "empty: there are no files in it",
            1,
        ),
        (
            &["x", "--repo", "binary"],
            "none of its files is source text: 1 binary",
            1,
        ),
        (&["x", "--repo", "app/README.md"], "it is no folder", 1),
        (
            &["x", "--repo", "app", "--file", "secret/keys.py"],
            "git ignores it",
            1,
        ),
        (
            &["x", "--repo", "app", "--file", "model/config.json"],
            "outside",
            1,
        ),
        (&["", "--repo", "app"], "say what to do", 2),
        (
            &["--explain"],
            "give a --file F to work on, or a --repo DIR",
            2,
        ),
        (
            &["x", "--file", "app", "--file", "empty"],
            "several folders",
            2,
        ),
        (
            &[&long, "--repo", "app", "--model", "model"],
            "the model's context has 8192",
            1,
        ),
    ];
    for (args, said, code) in cases {
        let (line, found) = desk.refused(args);
        assert!(line.contains(said) && found == code, "{args:?}: {line}");
    }
    assert!(desk.is_untouched());
}

#[test]
fn a_single_file_is_explained_and_mended_as_before() {
    let desk = Desk::new();
    let args = [
        "--explain",
        "--file",
        "app/src/main.py",
        "--model",
        "model",
        "--seed",
        "1",
        "--max-tokens",
        "8",
    ];
    let made = desk.json(&args);
    assert_eq!(made["finish_reason"], "length");
    let (line, code) = desk.refused(&[
        "--fix",
        "--file",
        "app/src/main.py",
        "--model",
        "model",
        "--seed",
        "1",
        "--max-tokens",
        "8",
    ]);
    assert!(line.contains("no change proposed") && code == 1, "{line}");
    assert!(Path::new(&desk.path("app/src/main.py")).exists() && desk.is_untouched());
}
