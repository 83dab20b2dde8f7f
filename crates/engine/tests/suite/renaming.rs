//! Names that `medley code` changes by rule.

use std::fs;

use medley_engine::repository::{Drafts, Edit, Left, Repository};

use crate::program::program;

#[test]
fn a_renaming_takes_the_callers_along_and_leaves_what_may_be_another() {
    let folder = program();
    let repository = Repository::open(folder.path()).unwrap();
    let request = "rename the function parse to read_config and fix callers";
    let ranking = repository.rank(request).unwrap();
    let config = repository.find("src/config.py").unwrap();
    let ambiguous = repository.rename_of(request, &ranking, &[]).unwrap();
    let mut drafts = Drafts::new(&repository);
    drafts.take_rename(&ambiguous);
    let problem = drafts.judged()[0].problem.clone().unwrap();
    assert!(
        problem.contains("src/args.js:1, src/config.py:4"),
        "{problem}"
    );
    let rename = repository.rename_of(request, &ranking, &[config]).unwrap();
    let mut drafts = Drafts::new(&repository);
    drafts.take_rename(&rename);
    let after: Vec<(String, String)> = drafts
        .changes()
        .into_iter()
        .map(|c| (c.path, c.after))
        .collect();
    assert_eq!(
        after[0].1,
        "# Demo\n\nCall `read_config` or read_config(path) to parse a file.\n"
    );
    assert_eq!(
        after[1].1,
        "\"\"\"Settings.\"\"\"\n\n\ndef read_config(path):\n    # parse the file; see read_config() and `read_config`\n    return open(path).read()\n\n\ndef defaults():\n    return read_config(\"defaults.ini\")\n"
    );
    assert_eq!(
        after[2].1,
        "import json\nfrom config import read_config\n\n\ndef main():\n    print(read_config(\"my.ini\"), \"parse\", json.parse(\"{}\"))\n    parse_all = 1\n"
    );
    assert_eq!(
        after[3].1,
        "import config\n\n\ndef run():\n    return config.read_config(\"a\")\n"
    );
    assert_eq!(after.len(), 4);
    assert_eq!(
        drafts.left(),
        [Left {
            path: "src/main.py".into(),
            line: 6,
            text: "print(parse(\"my.ini\"), \"parse\", json.parse(\"{}\"))".into()
        }]
    );
}

#[test]
fn only_requests_that_are_renamings_and_nothing_else_are_made_by_rule() {
    let folder = program();
    let repository = Repository::open(folder.path()).unwrap();
    let names = |request: &str| {
        let ranking = repository.rank(request).unwrap();
        repository
            .rename_of(request, &ranking, &[])
            .map(|r| (r.from, r.to, r.files.len()))
    };
    let renamed =
        |from: &str, to: &str, files: usize| Some((from.to_owned(), to.to_owned(), files));
    assert_eq!(
        names("Rename `defaults` to `usual`."),
        renamed("defaults", "usual", 0)
    );
    assert_eq!(
        names("rename parse in src/config.py to load"),
        renamed("parse", "load", 1)
    );
    assert_eq!(names("rename parse to load and add logging"), None);
    assert_eq!(names("rename nothing to something"), None);
    assert_eq!(names("rename parse to 2x"), None);
    assert_eq!(names("parse the settings"), None);
}

#[test]
fn a_method_is_renamed_with_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("store.rs"),
        "pub struct Store;\n\nimpl Store {\n    pub fn load(&self) {}\n    fn again(&self) {\n        self.load();\n    }\n}\n\nfn load_all(store: &Store) {\n    store.load();\n    Store::load(store);\n}\n",
    )
    .unwrap();
    let repository = Repository::open(folder.path()).unwrap();
    let mut drafts = Drafts::new(&repository);
    drafts.take(Edit::Rename {
        from: "load".into(),
        to: "open".into(),
    });
    assert_eq!(
        drafts.changes()[0].after,
        "pub struct Store;\n\nimpl Store {\n    pub fn open(&self) {}\n    fn again(&self) {\n        self.open();\n    }\n}\n\nfn load_all(store: &Store) {\n    store.open();\n    Store::open(store);\n}\n"
    );
    assert_eq!(drafts.left(), []);
}

#[test]
fn files_are_deleted_by_rule_where_their_paths_are_said_and_nothing_else_is_wanted() {
    let folder = program();
    let repository = Repository::open(folder.path()).unwrap();
    let found = |request: &str| -> Vec<&str> {
        let ranking = repository.rank(request).unwrap();
        let files = repository.deletion_of(request, &ranking).into_iter();
        files
            .map(|file| repository.files()[file].path.as_str())
            .collect()
    };
    assert_eq!(found("Delete the file src/other.py."), ["src/other.py"]);
    assert_eq!(found("remove other.py"), ["src/other.py"]);
    for other in [
        "delete the file src/other.py and mend its callers",
        "delete the function parse in config.py",
        "remove no.py",
        "delete everything",
    ] {
        assert!(found(other).is_empty(), "{other}");
    }
}
