//! Models of the hub that no catalog lists: `hf:owner/name[:file][@revision]`.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;

use crate::common::*;
use medley_engine::fetch::{Token, sha256_hex};
use medley_engine::{EngineError, Hub, PullEvent, PullOptions};
use serde_json::{Value, json};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A repository: its files, and which of them are large enough for the hub to know their hash.
#[derive(Clone, Default)]
struct Repo {
    files: BTreeMap<&'static str, Vec<u8>>,
    small: Vec<&'static str>,
    /// Whether the first listing has sizes and hashes, or only the tree.
    tree_only: bool,
}

impl Repo {
    fn of(files: &[(&'static str, &[u8])]) -> Self {
        Self {
            files: files
                .iter()
                .map(|(name, body)| (*name, body.to_vec()))
                .collect(),
            ..Default::default()
        }
    }

    fn listing(&self) -> Value {
        let sibling = |(name, body): (&&str, &Vec<u8>)| {
            let lfs = json!({"sha256": sha256_hex(body), "size": body.len(), "pointerSize": 130});
            match (self.tree_only, self.small.contains(name)) {
                (true, _) => json!({"rfilename": name}),
                (false, true) => json!({"rfilename": name, "size": body.len(), "blobId": "x"}),
                (false, false) => {
                    json!({"rfilename": name, "size": body.len(), "blobId": "x", "lfs": lfs})
                }
            }
        };
        json!({
            "id": "o/n", "sha": COMMIT, "gated": false, "pipeline_tag": "text-generation",
            "cardData": {"license": "apache-2.0"}, "siblings": self.files.iter().map(sibling).collect::<Vec<_>>(),
        })
    }

    fn tree(&self) -> Value {
        let item = |(name, body): (&&str, &Vec<u8>)| {
            let lfs = json!({"oid": sha256_hex(body), "size": body.len()});
            json!({"type": "file", "path": name, "size": body.len(), "oid": "x", "lfs": lfs})
        };
        Value::Array(self.files.iter().map(item).collect())
    }

    fn answer(&self, request: &Seen, stream: &mut TcpStream) {
        let path = request.path.as_str();
        if path == "/api/models/o/n/revision/main?blobs=true"
            || path == "/api/models/o/n/revision/v2?blobs=true"
        {
            return answer(stream, 200, &[], self.listing().to_string().as_bytes());
        }
        if path == format!("/api/models/o/n/tree/{COMMIT}?recursive=true") {
            return answer(stream, 200, &[], self.tree().to_string().as_bytes());
        }
        let file = path
            .strip_prefix(&format!("/o/n/resolve/{COMMIT}/"))
            .and_then(|name| self.files.get(name));
        match file {
            Some(body) => serve(request, stream, body, "\"v1\""),
            None => answer(stream, 404, &[("X-Error-Code", "EntryNotFound")], b""),
        }
    }

    fn start(self) -> Server {
        Server::start(move |request, _, stream| self.answer(request, stream))
    }
}

#[test]
fn the_only_gguf_file_is_fetched_from_one_commit_and_found_again_without_a_network() {
    let home = tempfile::tempdir().unwrap();
    let body = weights(50_000, 3);
    let server = Repo::of(&[("README.md", b"hello"), ("model-Q4_0.gguf", &body)]).start();
    let store = store(home.path(), "", &server.address);
    let name = "hf:o/n";
    assert!(matches!(
        store.resolve(name),
        Err(EngineError::NotInstalled { .. })
    ));
    let (model, events) = pull(&store, name);
    let model = model.unwrap();
    assert_eq!(fs::read(&model.path).unwrap(), body);
    assert!(model.path.ends_with("model-Q4_0.gguf"));
    assert_eq!(model.medium, Some(medley_types::Medium::Text));
    let licence = PullEvent::Licence {
        name: name.into(),
        licence: "apache-2.0".into(),
        note: None,
    };
    assert!(events.contains(&licence), "{events:?}");
    assert_eq!(server.seen().len(), 2);
    let again = store.resolve(name).unwrap();
    assert_eq!(again.path, model.path);
    pull(&store, name).0.unwrap();
    assert_eq!(server.seen().len(), 2);
    let installed = store.installed().unwrap();
    assert_eq!(installed.len(), 1);
    assert_eq!(
        (
            installed[0].name.as_str(),
            installed[0].size,
            installed[0].verified
        ),
        (name, 50_000, true)
    );
    assert_eq!(installed[0].source, format!("hub o/n at {COMMIT}"));
    assert_eq!(installed[0].licence.as_deref(), Some("apache-2.0"));
    assert_eq!(store.remove(name).unwrap(), 50_000);
    assert!(matches!(
        store.resolve(name),
        Err(EngineError::NotInstalled { .. })
    ));
}

#[test]
fn several_gguf_files_are_listed_and_one_is_chosen_by_name() {
    let home = tempfile::tempdir().unwrap();
    let (a, b) = (weights(1000, 1), weights(2000, 2));
    let server = Repo::of(&[("m-Q4_0.gguf", &a), ("m-Q8_0.gguf", &b)]).start();
    let store = store(home.path(), "", &server.address);
    let error = pull(&store, "hf:o/n").0.unwrap_err();
    assert_eq!(error.code().as_str(), "invalid_request");
    assert_eq!(
        error.hint().unwrap(),
        "choose one: hf:o/n:m-Q4_0.gguf, hf:o/n:m-Q8_0.gguf"
    );
    assert_eq!(
        fs::read(pull(&store, "hf:o/n:m-Q8_0.gguf").0.unwrap().path).unwrap(),
        b
    );
    assert_eq!(
        fs::read(pull(&store, "hf:o/n:q4_0@v2").0.unwrap().path).unwrap(),
        a
    );
    assert_eq!(store.installed().unwrap().len(), 2);
}

const INDEX: &[u8] = br#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;

#[test]
fn sharded_weights_come_with_what_they_need() {
    let home = tempfile::tempdir().unwrap();
    let (a, b) = (weights(70_000, 1), weights(30_000, 2));
    let mut repo = Repo::of(&[
        ("config.json", b"{}"),
        ("tokenizer.json", b"{\"t\": 1}"),
        ("model.safetensors.index.json", INDEX),
        ("model-00001-of-00002.safetensors", &a),
        ("model-00002-of-00002.safetensors", &b),
        ("pytorch_model.bin", b"not wanted"),
    ]);
    repo.small = vec![
        "config.json",
        "tokenizer.json",
        "model.safetensors.index.json",
    ];
    let server = repo.start();
    let store = store(home.path(), "", &server.address);
    let model = pull(&store, "hf:o/n").0.unwrap();
    assert!(model.path.is_dir());
    assert_eq!(
        files_below(&model.path),
        [
            "config.json",
            "medley.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "tokenizer.json"
        ]
    );
    assert_eq!(
        fs::read(model.path.join("model-00002-of-00002.safetensors")).unwrap(),
        b
    );
    // The hub knows no hash of small files: fetched, but not verified.
    let details = store.show("hf:o/n").unwrap();
    assert!(!details.installed.unwrap().verified);
    let files = details.manifest.unwrap().files;
    let verified = |name: &str| {
        files
            .iter()
            .find(|file| file.name == name)
            .unwrap()
            .verified
    };
    assert!(verified("model-00001-of-00002.safetensors") && !verified("config.json"));
}

#[test]
fn an_index_that_names_shards_of_another_model_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let mut repo = Repo::of(&[
        ("config.json", b"{}"),
        ("model.safetensors.index.json", INDEX),
        ("model-00001-of-00003.safetensors", &weights(100, 1)),
    ]);
    repo.small = vec!["config.json", "model.safetensors.index.json"];
    let server = repo.start();
    let error = pull(&store(home.path(), "", &server.address), "hf:o/n")
        .0
        .unwrap_err();
    assert!(matches!(error, EngineError::WrongMix { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("model-00001-of-00002.safetensors"),
        "{error}"
    );
    assert_eq!(
        files_below(&home.path().join("models")),
        Vec::<String>::new()
    );
}

#[test]
fn a_mirror_that_lists_names_only_is_asked_for_its_tree() {
    let home = tempfile::tempdir().unwrap();
    let mut repo = Repo::of(&[("m.gguf", &weights(1000, 1))]);
    repo.tree_only = true;
    let server = repo.start();
    let store = store(home.path(), "", &server.address);
    pull(&store, "hf:o/n").0.unwrap();
    assert!(store.installed().unwrap()[0].verified);
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn the_hubs_own_hash_is_held_against_what_comes() {
    let home = tempfile::tempdir().unwrap();
    let repo = Repo::of(&[("m.gguf", &weights(1000, 1))]);
    let server = Server::start(move |request, _, stream| {
        if request.path.contains("/resolve/") {
            return serve(request, stream, &weights(1000, 2), "\"v1\"");
        }
        repo.answer(request, stream);
    });
    let error = pull(&store(home.path(), "", &server.address), "hf:o/n")
        .0
        .unwrap_err();
    assert_eq!(error.code().as_str(), "hash_mismatch");
    assert!(
        error.to_string().contains(&sha256_hex(&weights(1000, 2))),
        "{error}"
    );
}

#[test]
fn a_file_without_known_hash_resumes_only_against_its_entity_tag() {
    let home = tempfile::tempdir().unwrap();
    let body = weights(200_000, 1);
    let served = body.clone();
    let mut repo = Repo::of(&[("m.gguf", &body)]);
    repo.small = vec!["m.gguf"];
    let server = Server::start(move |request, n, stream| {
        if n == 1 {
            return serve_up_to(request, stream, &served, "\"v1\"", 80_000);
        }
        repo.answer(request, stream);
    });
    let model = pull(&store(home.path(), "", &server.address), "hf:o/n")
        .0
        .unwrap();
    assert_eq!(fs::read(model.path).unwrap(), body);
    let seen = server.seen();
    assert_eq!(
        (seen[2].from(), seen[2].header("if-range")),
        (Some(80_000), Some("\"v1\""))
    );
}

#[test]
fn repositories_that_are_not_there_or_closed() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|request, _, stream| match request.header("authorization") {
        None => answer(stream, 401, &[("X-Error-Code", "RepoNotFound")], b""),
        Some(_) => answer(stream, 403, &[("X-Error-Code", "GatedRepo")], b""),
    });
    let error = pull(&store(home.path(), "", &server.address), "hf:o/n")
        .0
        .unwrap_err();
    assert_eq!(error.to_string(), "the hub has no o/n at main");
    assert!(error.hint().unwrap().contains("HF_TOKEN"));
    let store = store(home.path(), "", &server.address)
        .with_hub(Hub::new(&server.address, Token::new("hf_secret")));
    let error = pull(&store, "hf:o/n").0.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the hub refuses o/n at main with the given HF_TOKEN"
    );
    assert!(!format!("{error:?}").contains("hf_secret"));
}

#[test]
fn nonsense_for_a_listing_is_one_clear_line() {
    for body in [
        "<html>please log in</html>",
        "{}",
        "[1, 2",
        "{\"sha\": \"../x\", \"siblings\": []}",
    ] {
        let home = tempfile::tempdir().unwrap();
        let server = Server::start(move |_, _, stream| answer(stream, 200, &[], body.as_bytes()));
        let error = pull(&store(home.path(), "", &server.address), "hf:o/n")
            .0
            .unwrap_err();
        assert_eq!(error.code().as_str(), "network");
        assert!(error.to_string().contains("is no list of a hub"), "{error}");
        assert!(!error.to_string().contains('\n'));
    }
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|_, _, stream| {
        let body =
            json!({"sha": COMMIT, "siblings": [{"rfilename": "m.gguf"}, {"rfilename": "../../x"}]});
        answer(stream, 200, &[], body.to_string().as_bytes());
    });
    let error = pull(&store(home.path(), "", &server.address), "hf:o/n")
        .0
        .unwrap_err();
    assert!(
        matches!(
            error,
            EngineError::Network { .. } | EngineError::HubChoice { .. }
        ),
        "{error}"
    );
    assert_eq!(
        files_below(&home.path().join("models")),
        Vec::<String>::new()
    );
}

#[test]
fn a_reference_has_no_source_but_the_hub() {
    let home = tempfile::tempdir().unwrap();
    let store = store(home.path(), "", "http://127.0.0.1:1");
    let options = PullOptions {
        source: Some("python".into()),
        ..Default::default()
    };
    let error = pull_with(&store, "hf:o/n", &options).0.unwrap_err();
    assert_eq!(
        error.to_string(),
        "hf:o/n cannot be had from \"python\"; its sources are hub"
    );
    assert!(matches!(
        pull(&store, "hf:o").0,
        Err(EngineError::BadReference { .. })
    ));
}
