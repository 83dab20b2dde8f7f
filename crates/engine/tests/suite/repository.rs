//! A small program as `medley code` looks at it: walked, ranked, mapped, shown, edited, and written.

use std::fs;
use std::path::Path;

use medley_engine::repository::ask::{Aim, Wanted};
use medley_engine::repository::{
    Asked, Block, ChangeKind, Drafts, Edit, Named, Repository, Skipped,
};
use medley_types::Message;

use crate::program::program;

fn paths(repository: &Repository) -> Vec<&str> {
    repository
        .files()
        .iter()
        .map(|file| file.path.as_str())
        .collect()
}

/// About as many tokens as a tokenizer finds.
fn count(messages: &[Message]) -> usize {
    messages
        .iter()
        .map(|message| message.content.len().div_ceil(4) + 4)
        .sum()
}

fn text(text: &str) -> usize {
    text.len().div_ceil(4)
}

#[test]
fn a_folder_is_walked_as_git_would() {
    let folder = program();
    let repository = Repository::open(folder.path()).unwrap();
    assert_eq!(
        paths(&repository),
        [
            "README.md",
            "notes.txt",
            "src/args.js",
            "src/config.py",
            "src/main.py",
            "src/other.py"
        ]
    );
    let mut skipped = repository.skipped().to_vec();
    skipped.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(
        skipped,
        [
            ("lib.min.js".into(), Skipped::Written),
            ("logo.png".into(), Skipped::Binary),
            ("package-lock.json".into(), Skipped::Written)
        ]
    );
    for (path, said) in [
        ("build/out.py", "git ignores it"),
        (".hidden.py", "hidden"),
        ("logo.png", "binary"),
        ("link.py", "a link"),
        ("/etc/passwd", "outside"),
        ("no.py", "does not exist"),
    ] {
        let error = repository.named(Path::new(path)).unwrap_err().to_string();
        assert!(error.contains(said), "{path}: {error}");
    }
    let found = repository.named(Path::new("src")).unwrap();
    assert_eq!(found.len(), 4);
    assert_eq!(
        repository.named(&folder.path().join("notes.txt")).unwrap(),
        [1]
    );
}

#[test]
fn folders_that_hold_nothing_to_work_on_are_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let said = |path: &Path| Repository::open(path).unwrap_err().to_string();
    assert!(said(&folder.path().join("no")).ends_with("there is no such folder"));
    assert!(said(folder.path()).contains("no files"));
    fs::write(folder.path().join("a.bin"), b"\0\xff").unwrap();
    assert!(said(folder.path()).contains("none of its files is source text: 1 binary"));
    assert!(said(&folder.path().join("a.bin")).contains("no folder"));
}

#[test]
fn words_names_and_paths_of_a_request_find_its_files() {
    let folder = program();
    let repository = Repository::open(folder.path()).unwrap();
    let first = |request: &str| {
        let ranking = repository.rank(request).unwrap();
        repository.files()[ranking.files[0].0].path.clone()
    };
    assert_eq!(
        first("read the settings from another path in parse"),
        "src/config.py"
    );
    assert_eq!(first("buy bread, not milk"), "notes.txt");
    assert_eq!(first("in other.py, print a line"), "src/other.py");
    assert_eq!(first("why is argv returned"), "src/args.js");
    assert_eq!(
        first(""),
        "README.md",
        "nothing is said, so what introduces comes first"
    );
}

#[test]
fn a_map_keeps_to_its_budget_and_has_the_likeliest_files_first() {
    let folder = program();
    let repository = Repository::open(folder.path()).unwrap();
    let ranking = repository.rank("parse the settings").unwrap();
    let map = repository.map(&ranking, 1000, &text);
    assert_eq!((map.entries.len(), map.more), (6, 0));
    assert_eq!(map.entries[0].path, "src/config.py");
    assert_eq!(
        map.entries[0].definitions,
        [
            (4, "def parse(path):".to_owned()),
            (9, "def defaults():".to_owned())
        ]
    );
    assert!(
        map.text
            .starts_with("src/config.py (161 B, 10 lines)\n  4: def parse(path):\n"),
        "{}",
        map.text
    );
    for budget in [0, 10, 30, 60] {
        let map = repository.map(&ranking, budget, &text);
        let kept: String = map
            .text
            .lines()
            .filter(|line| !line.starts_with('…'))
            .collect();
        assert!(text(&kept) <= budget + 1, "{budget}: {}", map.text);
        assert_eq!(map.entries.len() + map.more, 6);
    }
}

#[test]
fn a_long_file_is_shown_in_the_parts_that_the_request_is_about() {
    let folder = tempfile::tempdir().unwrap();
    let mut long = String::new();
    for n in 0..200 {
        long.push_str(&format!(
            "def function_{n}():\n    return \"{}\"\n\n",
            if n == 150 { "penguin" } else { "bird" }
        ));
    }
    fs::write(folder.path().join("long.py"), &long).unwrap();
    fs::write(folder.path().join("short.py"), "x = 1\n").unwrap();
    let repository = Repository::open(folder.path()).unwrap();
    let ranking = repository.rank("the penguin is wrong").unwrap();
    let asked = Asked {
        named: &[0],
        chosen: &[],
        ranked: true,
    };
    let choice = repository.choose(&ranking, asked, 300, &text).unwrap();
    let shown = &choice.shown[0];
    let parts = shown.parts.clone().unwrap();
    assert!(parts.iter().any(|part| part.contains(&451)), "{parts:?}");
    assert!(parts.windows(2).all(|two| two[0].end < two[1].start));
    assert!(choice.tokens <= 300);
    let error = repository
        .choose(&ranking, asked, 20, &text)
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("long.py: it has "), "{error}");
}

#[test]
fn a_question_fits_the_context_or_is_refused() {
    let folder = program();
    let repository = Repository::open(folder.path()).unwrap();
    let request = "make parse close its file";
    let ranking = repository.rank(request).unwrap();
    let wanted = |context: usize| Wanted {
        request,
        aim: Aim::Change,
        named: &[],
        chosen: &[],
        context,
        answer: 100,
    };
    let question = repository.question(wanted(4000), &ranking, &count).unwrap();
    let said = &question.messages[1].content;
    assert!(
        said.contains("src/config.py:\n```py\n\"\"\"Settings") && said.contains(request),
        "{said}"
    );
    let small = repository.question(wanted(290), &ranking, &count).unwrap();
    assert!(count(&small.messages) + 100 <= 290);
    assert!(small.choice.tokens < question.choice.tokens);
    let error = repository
        .question(wanted(150), &ranking, &count)
        .unwrap_err()
        .to_string();
    assert!(error.contains("the model's context has 150"), "{error}");
}

fn replace(path: &str, find: &str, replace: &str) -> Edit {
    Edit::Replace {
        path: path.into(),
        find: find.into(),
        replace: replace.into(),
    }
}

#[test]
fn edits_are_taken_whole_or_dropped_with_the_reason() {
    let folder = program();
    let repository = Repository::open(folder.path()).unwrap();
    let mut drafts = Drafts::new(&repository);
    let create = |path: &str, text: &str| Edit::Create {
        path: path.into(),
        text: text.into(),
    };
    let cases = [
        (replace("notes.txt", "Buy milk.\n", "Buy bread.\n"), None),
        (
            replace("notes.txt", "Buy milk.\n", "x\n"),
            Some("do not stand there"),
        ),
        (
            replace("notes.txt", "Buy bread.\n", "Buy bread.\n"),
            Some("changes nothing"),
        ),
        (
            replace("notes.txt", "\n", "x\n"),
            Some("searches for no line"),
        ),
        (replace("no.txt", "x\n", "y\n"), Some("no such file")),
        (
            replace("src/main.py", "\n\n", "x\n"),
            Some("searches for no line"),
        ),
        (
            replace("src/config.py", "    return", "x"),
            Some("do not stand there"),
        ),
        (create("src/new.py", "x = 1\n"), None),
        (create("notes.txt", "x\n"), Some("edited before")),
        (create("README.md", "x\n"), Some("already")),
        (create("logo.png", "x\n"), Some("already")),
        (create("../x.py", "x\n"), Some("leads out")),
        (create("/x.py", "x\n"), Some("leads out")),
        (create("src/../../x.py", "x\n"), Some("leads out")),
        (create(".git/hooks/post-commit", "x\n"), Some("hidden")),
        (create("build/x.py", "x\n"), Some("git ignores it")),
        (create("src/x.log", "x\n"), Some("git ignores it")),
        (create("notes.txt/x.py", "x\n"), Some("in a file")),
        (create("a\n.py", "x\n"), Some("no path")),
        (create("empty.py", " \n"), Some("no text")),
        (
            Edit::Delete {
                path: "src/args.js".into(),
            },
            None,
        ),
        (replace("src/args.js", "}\n", "x\n"), Some("deleted before")),
    ];
    for (edit, problem) in cases {
        drafts.take(edit.clone());
        let judged = drafts.judged().last().unwrap();
        match problem {
            None => assert_eq!(judged.problem, None, "{edit:?}"),
            Some(said) => assert!(
                judged.problem.as_ref().is_some_and(|p| p.contains(said)),
                "{judged:?}"
            ),
        }
    }
    let kinds: Vec<(String, ChangeKind)> = drafts
        .changes()
        .into_iter()
        .map(|c| (c.path, c.kind))
        .collect();
    assert_eq!(
        kinds,
        [
            ("notes.txt".into(), ChangeKind::Changed),
            ("src/args.js".into(), ChangeKind::Deleted),
            ("src/new.py".into(), ChangeKind::New)
        ]
    );
    assert!(
        fs::read(folder.path().join("notes.txt"))
            .unwrap()
            .starts_with(b"Buy milk"),
        "nothing is written yet"
    );
}

#[test]
fn lines_that_stand_twice_are_not_guessed_at_and_a_lost_bracket_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.c"), "f(1);\ng(2);\nf(1);\nno end").unwrap();
    let repository = Repository::open(folder.path()).unwrap();
    let mut drafts = Drafts::new(&repository);
    drafts.take(replace("a.c", "f(1);\n", "h();\n"));
    assert!(
        drafts.judged()[0]
            .problem
            .as_ref()
            .unwrap()
            .contains("2 times")
    );
    drafts.take(replace("a.c", "g(2);\nf(1);\n", "g(2;\n"));
    assert_eq!(drafts.uneven(), ["a.c"]);
    drafts.take(replace("a.c", "no end\n", "still none\n"));
    assert_eq!(drafts.changes()[0].after, "f(1);\ng(2;\nstill none");
}

#[cfg(unix)]
#[test]
fn changes_are_written_with_modes_and_ends_of_lines_or_not_at_all() {
    use std::os::unix::fs::PermissionsExt;
    let folder = program();
    let at = |path: &str| folder.path().join(path);
    fs::write(at("run.sh"), "#!/bin/sh\r\necho one\r\n").unwrap();
    fs::set_permissions(at("run.sh"), fs::Permissions::from_mode(0o751)).unwrap();
    let repository = Repository::open(folder.path()).unwrap();
    let edits = |drafts: &mut Drafts| {
        drafts.take(replace("run.sh", "echo one\n", "echo two\n"));
        drafts.take(replace("notes.txt", "Buy milk.\n", "Buy bread.\n"));
        drafts.take(Edit::Create {
            path: "a/b/c.py".into(),
            text: "x = 1\n".into(),
        });
        drafts.take(Edit::Delete {
            path: "src/args.js".into(),
        });
        assert!(
            drafts
                .judged()
                .iter()
                .all(|judged| judged.problem.is_none())
        );
    };
    let mut drafts = Drafts::new(&repository);
    edits(&mut drafts);
    // Somebody else changes one of the files: nothing at all is written.
    fs::write(at("notes.txt"), "Buy eggs.\n").unwrap();
    let error = drafts.apply(false).unwrap_err().to_string();
    assert!(error.contains("notes.txt: it has changed since"), "{error}");
    assert!(fs::read_to_string(at("run.sh")).unwrap().contains("one") && !at("a").exists());
    fs::write(at("notes.txt"), "Buy milk.\n").unwrap();
    // A file becomes a link.
    fs::rename(at("notes.txt"), at("real.txt")).unwrap();
    std::os::unix::fs::symlink("real.txt", at("notes.txt")).unwrap();
    assert!(
        drafts
            .apply(false)
            .unwrap_err()
            .to_string()
            .contains("a link")
    );
    fs::rename(at("real.txt"), at("notes.txt")).unwrap();
    let written = drafts.apply(false).unwrap();
    assert_eq!(written.len(), 4);
    assert_eq!(
        fs::read_to_string(at("run.sh")).unwrap(),
        "#!/bin/sh\r\necho two\r\n"
    );
    assert_eq!(
        at("run.sh").metadata().unwrap().permissions().mode() & 0o777,
        0o751
    );
    assert_eq!(fs::read_to_string(at("a/b/c.py")).unwrap(), "x = 1\n");
    assert_eq!(
        at("a/b/c.py").metadata().unwrap().permissions().mode() & 0o600,
        0o600
    );
    assert!(!at("src/args.js").exists());
    let rest: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(rest.iter().all(|name| !name.ends_with(".tmp")), "{rest:?}");
}

#[cfg(unix)]
#[test]
fn what_cannot_be_written_whole_is_put_back() {
    use std::os::unix::fs::PermissionsExt;
    let folder = program();
    let at = |path: &str| folder.path().join(path);
    let repository = Repository::open(folder.path()).unwrap();
    let mut drafts = Drafts::new(&repository);
    drafts.take(replace("notes.txt", "Buy milk.\n", "Buy bread.\n"));
    drafts.take(Edit::Delete {
        path: "src/args.js".into(),
    });
    fs::set_permissions(at("src"), fs::Permissions::from_mode(0o555)).unwrap();
    let written = drafts.apply(false);
    // Who may do everything deletes there all the same.
    let kept = at("src/args.js").exists();
    fs::set_permissions(at("src"), fs::Permissions::from_mode(0o755)).unwrap();
    if kept {
        assert!(written.is_err());
        assert_eq!(fs::read_to_string(at("notes.txt")).unwrap(), "Buy milk.\n");
    }
}

#[test]
fn the_definitions_that_a_request_is_about_are_found() {
    let folder = program();
    let repository = Repository::open(folder.path()).unwrap();
    let found = |request: &str, named: &[usize], most: usize| -> Vec<String> {
        let ranking = repository.rank(request).unwrap();
        let blocks = repository.blocks(request, &ranking, named, most);
        blocks
            .iter()
            .map(|block| repository.block_place(block))
            .collect()
    };
    assert_eq!(
        found("let `defaults` read another file", &[], 1),
        ["src/config.py:9"]
    );
    assert_eq!(found("what runs another file", &[], 1), ["src/other.py:4"]);
    let main = repository.find("src/main.py").unwrap();
    assert_eq!(found("mend it", &[main], 3), ["src/main.py:5"]);
    let notes = repository.find("notes.txt").unwrap();
    assert_eq!(found("what is milk", &[notes], 3), ["notes.txt:1"]);
    assert!(
        !found("milk", &[], 9).contains(&"notes.txt:1".to_owned()),
        "prose is no code unless it is named"
    );
}

#[test]
fn an_answer_of_a_small_model_must_keep_most_of_what_was_there() {
    let folder = program();
    let repository = Repository::open(folder.path()).unwrap();
    let file = repository.find("src/main.py").unwrap();
    let block = Block {
        file,
        name: "main".into(),
        lines: 4..7,
        named: Named::No,
    };
    let answer = |body: &str| format!("```py\ndef main():\n{body}```");
    let whole = "    print(parse(\"my.ini\"), \"parse\", json.parse(\"{}\"))\n    parse_all = 2\n";
    let edit = repository
        .block_edit(&block, Aim::Change, "count further", &answer(whole))
        .unwrap();
    let mut drafts = Drafts::new(&repository);
    drafts.take(edit);
    assert_eq!(drafts.judged()[0].problem, None);
    let reason = |request: &str, body: &str| {
        repository
            .block_edit(&block, Aim::Change, request, &answer(body))
            .err()
    };
    assert!(reason("count", "    pass\n").unwrap().contains("most of"));
    assert_eq!(reason("remove all but pass", "    pass\n"), None);
    assert!(
        reason("count", &format!("{whole}    x = f(1\n"))
            .unwrap()
            .contains("bracket")
    );
    assert!(
        reason("count", &format!("{whole}{}", "    x = 1\n".repeat(3)))
            .unwrap()
            .contains("again")
    );
    let same = "    print(parse(\"my.ini\"), \"parse\", json.parse(\"{}\"))\n    parse_all = 1\n";
    assert!(reason("count", same).unwrap().contains("nothing"));
    assert!(
        repository
            .block_edit(&block, Aim::Change, "count", "```py\ndef main():\n")
            .unwrap_err()
            .contains("no end")
    );
}
