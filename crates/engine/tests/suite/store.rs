//! Looking models up, listing, verifying and removing them; folders as sources; models that come with the program.

use std::fs;
use std::path::Path;

use crate::common::*;
use medley_engine::{Catalog, EngineError, Home, PullOptions, Store};

fn body() -> Vec<u8> {
    weights(5000, 1)
}

/// A store with the model `toy`, whose source is a folder that has it.
fn toy(home: &Path, disk: &Path) -> Store {
    fs::write(disk.join("m.gguf"), body()).unwrap();
    store(
        home,
        &model("toy", &[("m.gguf", &body())], &folder_source(disk)),
        "http://127.0.0.1:1",
    )
}

fn dirs() -> (tempfile::TempDir, tempfile::TempDir) {
    (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap())
}

#[test]
fn names_files_and_folders_are_told_apart() {
    let (home, disk) = dirs();
    let store = toy(home.path(), disk.path());
    let file = disk.path().join("m.gguf").display().to_string();
    let by_file = store.resolve(&file).unwrap();
    assert_eq!(
        (by_file.name.as_str(), by_file.path.display().to_string()),
        (file.as_str(), file.clone())
    );
    assert!(by_file.entry.is_none());
    assert!(
        store
            .resolve(&disk.path().display().to_string())
            .unwrap()
            .path
            .is_dir()
    );
    for missing in ["./nothing", "some/where.gguf", "weights.gguf", "/nowhere"] {
        let error = store.resolve(missing).unwrap_err();
        assert_eq!(error.to_string(), format!("{missing} does not exist"));
        assert_eq!(error.code().as_str(), "model_not_found");
    }
    assert!(matches!(
        store.resolve("toy"),
        Err(EngineError::NotInstalled { .. })
    ));
    assert_eq!(
        store.resolve("toy").unwrap_err().hint().unwrap(),
        "`medley models pull toy` fetches it"
    );
    for nonsense in ["", "xyzzy", "\0", "hf:"] {
        assert!(store.resolve(nonsense).is_err(), "{nonsense:?}");
    }
}

#[test]
fn unknown_names_get_a_suggestion() {
    let (home, disk) = dirs();
    let error = toy(home.path(), disk.path()).resolve("tyo").unwrap_err();
    assert_eq!(error.to_string(), "no model is called \"tyo\"");
    let store = Store::open(Home::at(home.path())).unwrap();
    let error = store.resolve("smolm2").unwrap_err();
    assert_eq!(error.hint().unwrap(), "did you mean smollm2-135m?");
    assert!(
        store
            .resolve("qqqq")
            .unwrap_err()
            .hint()
            .unwrap()
            .contains("medley models list")
    );
    let report = error.report();
    assert_eq!(
        (report.code.as_str(), report.hint.as_deref()),
        ("model_not_found", Some("did you mean smollm2-135m?"))
    );
}

#[test]
fn a_model_is_pulled_listed_shown_verified_and_removed() {
    let (home, disk) = dirs();
    let store = toy(home.path(), disk.path());
    assert_eq!(store.installed().unwrap(), []);
    assert!(store.show("toy").unwrap().installed.is_none());
    let model = store
        .resolve_or_pull("toy", &PullOptions::default(), &mut |_| {})
        .unwrap();
    assert_eq!(fs::read(&model.path).unwrap(), body());
    assert_eq!(model.entry.unwrap().name, "toy");
    let listed = store.installed().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].name.as_str(), listed[0].size, listed[0].verified),
        ("toy", 5000, true)
    );
    assert_eq!(
        (listed[0].licence.as_deref(), listed[0].fault.as_deref()),
        (Some("MIT"), None)
    );
    let details = store.show("toy").unwrap();
    assert_eq!(details.installed.unwrap(), listed[0]);
    assert_eq!(details.manifest.unwrap().files[0].size, 5000);
    store
        .verify("toy", &Default::default(), &mut |_, _| {})
        .unwrap();
    assert_eq!(store.remove("toy").unwrap(), 5000);
    assert!(matches!(
        store.remove("toy"),
        Err(EngineError::NotInstalled { .. })
    ));
    assert_eq!(files_below(home.path()), ["partial/toy.lock"]);
}

#[test]
fn remove_never_touches_files_outside_the_home() {
    let (home, disk) = dirs();
    let store = toy(home.path(), disk.path());
    assert!(store.remove(&disk.path().display().to_string()).is_err());
    assert!(
        store
            .remove(&disk.path().join("m.gguf").display().to_string())
            .is_err()
    );
    assert_eq!(fs::read(disk.path().join("m.gguf")).unwrap(), body());
}

#[test]
fn a_flipped_bit_is_found_by_verify() {
    let (home, disk) = dirs();
    let store = toy(home.path(), disk.path());
    let path = store
        .resolve_or_pull("toy", &PullOptions::default(), &mut |_| {})
        .unwrap()
        .path;
    let mut bytes = body();
    bytes[4321] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let mut read = 0;
    let error = store
        .verify("toy", &Default::default(), &mut |_, done| read = done)
        .unwrap_err();
    assert_eq!(error.code().as_str(), "hash_mismatch");
    assert_eq!(read, 5000);
    let error = store
        .verify(
            &disk.path().display().to_string(),
            &Default::default(),
            &mut |_, _| {},
        )
        .unwrap_err();
    assert!(error.to_string().contains("medley.json"), "{error}");
}

#[test]
fn a_damaged_model_is_named_and_fetched_afresh() {
    let (home, disk) = dirs();
    let store = toy(home.path(), disk.path());
    let options = PullOptions::default();
    let path = store
        .resolve_or_pull("toy", &options, &mut |_| {})
        .unwrap()
        .path;
    let manifest = path.with_file_name("medley.json");
    let damage: [&dyn Fn(); 4] = [
        &|| fs::write(&path, b"short").unwrap(),
        &|| fs::remove_file(&path).unwrap(),
        &|| fs::write(&manifest, b"{ not json").unwrap(),
        &|| {
            fs::write(
                &manifest,
                fs::read_to_string(&manifest)
                    .unwrap()
                    .replace("m.gguf", "../../m.gguf"),
            )
            .unwrap()
        },
    ];
    for damage in damage {
        damage();
        let error = store.resolve("toy").unwrap_err();
        assert!(
            matches!(
                error,
                EngineError::Damaged { .. } | EngineError::WrongMix { .. }
            ),
            "{error}"
        );
        assert_eq!(error.code().as_str(), "invalid_model");
        assert!(store.installed().unwrap()[0].fault.is_some());
        store.resolve_or_pull("toy", &options, &mut |_| {}).unwrap();
        assert_eq!(fs::read(&path).unwrap(), body());
    }
    // A manifest of a later program is not guessed at.
    fs::write(
        &manifest,
        fs::read_to_string(&manifest)
            .unwrap()
            .replace("\"version\": 1", "\"version\": 9"),
    )
    .unwrap();
    assert!(
        store
            .resolve("toy")
            .unwrap_err()
            .to_string()
            .contains("version 9")
    );
}

#[test]
fn a_model_of_another_version_is_not_mixed_with_the_catalogs() {
    let (home, disk) = dirs();
    toy(home.path(), disk.path())
        .resolve_or_pull("toy", &PullOptions::default(), &mut |_| {})
        .unwrap();
    let newer = weights(6000, 2);
    fs::write(disk.path().join("m.gguf"), &newer).unwrap();
    let catalog = model("toy", &[("m.gguf", &newer)], &folder_source(disk.path()));
    let store = store(home.path(), &catalog, "http://127.0.0.1:1");
    assert!(matches!(
        store.resolve("toy"),
        Err(EngineError::WrongMix { .. })
    ));
    let path = store
        .resolve_or_pull("toy", &PullOptions::default(), &mut |_| {})
        .unwrap()
        .path;
    assert_eq!(fs::read(path).unwrap(), newer);
}

#[test]
fn a_pull_that_fails_leaves_the_model_that_was_there() {
    let (home, disk) = dirs();
    let store = toy(home.path(), disk.path());
    let path = store
        .resolve_or_pull("toy", &PullOptions::default(), &mut |_| {})
        .unwrap()
        .path;
    fs::write(disk.path().join("m.gguf"), weights(5000, 2)).unwrap();
    let options = PullOptions {
        force: true,
        ..Default::default()
    };
    let error = pull_with(&store, "toy", &options).0.unwrap_err();
    assert_eq!(error.code().as_str(), "hash_mismatch");
    assert_eq!(fs::read(&path).unwrap(), body());
    assert_eq!(store.resolve("toy").unwrap().path, path);
}

#[test]
fn a_source_can_be_forced() {
    let (home, disk) = dirs();
    let store = toy(home.path(), disk.path());
    let with = |source: &str| PullOptions {
        source: Some(source.to_owned()),
        ..Default::default()
    };
    let error = pull_with(&store, "toy", &with("hub")).0.unwrap_err();
    assert_eq!(
        error.to_string(),
        "toy cannot be had from \"hub\"; its sources are folder, the path of a folder"
    );
    assert_eq!(error.code().as_str(), "invalid_request");
    pull_with(&store, "toy", &with("folder")).0.unwrap();
    // Any folder will do, as long as the files are the right ones.
    let other = tempfile::tempdir().unwrap();
    let error = pull_with(&store, "toy", &with(&other.path().display().to_string()))
        .0
        .unwrap_err();
    assert_eq!(error.code().as_str(), "file");
    assert!(
        error.to_string().contains("m.gguf cannot be read"),
        "{error}"
    );
    fs::write(other.path().join("m.gguf"), weights(5001, 1)).unwrap();
    let error = pull_with(&store, "toy", &with(&other.path().display().to_string()))
        .0
        .unwrap_err();
    assert!(
        error.to_string().contains("is 5001 bytes long, not 5000"),
        "{error}"
    );
    fs::write(other.path().join("m.gguf"), body()).unwrap();
    pull_with(&store, "toy", &with(&other.path().display().to_string()))
        .0
        .unwrap();
    assert!(store.installed().unwrap()[0].source.starts_with("folder "));
}

#[test]
fn a_group_and_companions_are_pulled_together() {
    let (home, disk) = dirs();
    let entry = |name: &str, file: &str, more: &str| {
        fs::write(disk.path().join(file), body()).unwrap();
        model(name, &[(file, &body())], &folder_source(disk.path()))
            .replace("licence =", &format!("{more}\nlicence ="))
    };
    let catalog = entry(
        "pictures",
        "p.gguf",
        "groups = [\"starter\"]\ncompanions = [\"words\"]",
    ) + &entry("words", "w.gguf", "")
        + &entry("sounds", "s.gguf", "groups = [\"starter\"]");
    let store = store(home.path(), &catalog, "http://127.0.0.1:1");
    let pulled = store
        .pull("starter", &PullOptions::default(), &mut |_| {})
        .unwrap();
    let names: Vec<&str> = pulled.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["pictures", "sounds"]);
    assert_eq!(
        pulled[0].companions[0].path,
        home.path().join("models/words/w.gguf")
    );
    assert_eq!(store.installed().unwrap().len(), 3);
    store.remove("words").unwrap();
    assert!(
        matches!(store.resolve("pictures"), Err(EngineError::NotInstalled { name }) if name == "words")
    );
    store
        .resolve_or_pull("pictures", &PullOptions::default(), &mut |_| {})
        .unwrap();
}

#[test]
fn models_that_come_with_the_program_need_no_pull() {
    let (home, share) = dirs();
    let catalog = model(
        "icons",
        &[("i.gguf", &body())],
        "[[model.sources]]\nkind = \"bundled\"\n",
    );
    let catalog = Catalog::default().merged(&catalog, "test").unwrap();
    let open = |bundles| {
        Store::open(Home::at(home.path()).with_bundles(bundles))
            .unwrap()
            .with_catalog(catalog.clone())
    };
    let error = open(Vec::new())
        .resolve_or_pull("icons", &PullOptions::default(), &mut |_| {})
        .unwrap_err();
    assert!(
        error.to_string().contains("comes with the program"),
        "{error}"
    );
    fs::create_dir_all(share.path().join("icons")).unwrap();
    fs::write(share.path().join("icons/i.gguf"), body()).unwrap();
    let store = open(vec![share.path().to_owned()]);
    let model = store
        .resolve_or_pull("icons", &PullOptions::default(), &mut |_| {})
        .unwrap();
    assert_eq!(model.path, share.path().join("icons/i.gguf"));
    assert_eq!(store.installed().unwrap()[0].source, "bundled");
    assert!(store.remove("icons").is_err());
    assert!(share.path().join("icons/i.gguf").exists());
}

#[test]
fn an_installed_model_outlives_its_catalog_entry() {
    let (home, disk) = dirs();
    toy(home.path(), disk.path())
        .resolve_or_pull("toy", &PullOptions::default(), &mut |_| {})
        .unwrap();
    let store = store(home.path(), "", "http://127.0.0.1:1");
    assert_eq!(
        store.resolve("toy").unwrap().path,
        home.path().join("models/toy/m.gguf")
    );
    assert_eq!(
        store.resolve("tyo").unwrap_err().hint().unwrap(),
        "did you mean toy?"
    );
    assert_eq!(store.remove("toy").unwrap(), 5000);
}
