use super::*;

fn listing(paths: &[&str]) -> Listing {
    let files = paths
        .iter()
        .map(|path| HubFile {
            path: (*path).to_owned(),
            size: Some(1),
            sha256: None,
        })
        .collect();
    Listing {
        files,
        ..Default::default()
    }
}

fn picked(paths: &[&str], wanted: Option<&str>) -> Vec<String> {
    listing(paths)
        .select("o/n", wanted)
        .unwrap()
        .files
        .into_iter()
        .map(|file| file.path)
        .collect()
}

#[test]
fn references() {
    let parse = |text: &str| HubRef::parse(text).unwrap();
    assert_eq!(
        parse("hf:o/n"),
        HubRef {
            repo: "o/n".into(),
            file: None,
            revision: None
        }
    );
    let full = parse("hf:o/n:dir/x-Q4_0.gguf@refs/pr/1");
    assert_eq!(full.file.as_deref(), Some("dir/x-Q4_0.gguf"));
    assert_eq!(full.revision.as_deref(), Some("refs/pr/1"));
    assert_eq!(full.to_string(), "hf:o/n:dir/x-Q4_0.gguf@refs/pr/1");
    for bad in [
        "hf:",
        "hf:name",
        "hf:o/n/x",
        "hf:../n",
        "hf:o/n:",
        "hf:o/n:../x",
        "hf:o/n:/x",
        "hf:o/n@",
        "hf:o/n@a b",
        "hf:o/n?x",
    ] {
        assert!(
            matches!(HubRef::parse(bad), Err(EngineError::BadReference { .. })),
            "{bad}"
        );
    }
}

#[test]
fn the_only_gguf_file_is_taken_and_several_are_listed() {
    assert_eq!(picked(&["README.md", "a.gguf"], None), ["a.gguf"]);
    let two = ["m.Q4_K.gguf", "m.Q4_K_M.gguf", "config.json"];
    let error = listing(&two).select("o/n", None).unwrap_err();
    assert_eq!(
        error.hint().unwrap(),
        "choose one: hf:o/n:m.Q4_K.gguf, hf:o/n:m.Q4_K_M.gguf"
    );
    assert_eq!(picked(&two, Some("m.Q4_K.gguf")), ["m.Q4_K.gguf"]);
    assert_eq!(picked(&two, Some("q4_k")), ["m.Q4_K.gguf"]);
    assert_eq!(picked(&two, Some("Q4_K_M")), ["m.Q4_K_M.gguf"]);
    assert!(
        listing(&two)
            .select("o/n", Some("Q8_0"))
            .unwrap_err()
            .to_string()
            .contains("no file \"Q8_0\"")
    );
    assert!(
        listing(&two)
            .select("o/n", Some("m"))
            .unwrap_err()
            .to_string()
            .contains("several")
    );
}

#[test]
fn a_safetensors_folder_has_what_is_needed_and_no_more() {
    let repo = [
        "config.json",
        "tokenizer.json",
        "tokenizer.model",
        "vocab.txt",
        "chat_template.jinja",
        "README.md",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "onnx/model.onnx",
        "1_Pooling/config.json",
        "flax_model.msgpack",
        "fp16/config.json",
    ];
    let mut got = picked(&repo, None);
    got.sort();
    let mut expected = vec![
        "config.json",
        "tokenizer.json",
        "tokenizer.model",
        "vocab.txt",
        "chat_template.jinja",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "1_Pooling/config.json",
    ];
    expected.sort();
    assert_eq!(got, expected);
    assert_eq!(
        picked(&["config.json", "pytorch_model.bin"], None),
        ["pytorch_model.bin", "config.json"]
    );
    assert_eq!(
        picked(
            &["a.gguf", "config.json", "model.safetensors"],
            Some("safetensors")
        )
        .len(),
        2
    );
    assert!(
        listing(&["a.gguf", "model.safetensors"])
            .select("o/n", None)
            .is_err()
    );
    assert!(
        listing(&["README.md"])
            .select("o/n", None)
            .unwrap_err()
            .to_string()
            .contains("neither")
    );
}

#[test]
fn split_models_and_paths_that_climb_are_refused() {
    assert!(
        listing(&["m-00001-of-00002.gguf"])
            .select("o/n", None)
            .unwrap_err()
            .to_string()
            .contains("split")
    );
    assert!(
        listing(&["a.gguf", "../../.bashrc"])
            .select("o/n", None)
            .unwrap_err()
            .to_string()
            .contains("no path below")
    );
}

#[test]
fn addresses_are_encoded() {
    let hub = Hub::new("https://hub.example/", None);
    assert_eq!(
        hub.file_url("o/n", "refs/pr/1", "a b/c#?.gguf"),
        "https://hub.example/o/n/resolve/refs%2Fpr%2F1/a%20b/c%23%3F.gguf"
    );
}

#[test]
fn licences_and_media_of_the_card() {
    let licence = |text: &str| licence_of(&serde_json::from_str(text).unwrap());
    assert_eq!(licence(r#"{"license": "mit"}"#).as_deref(), Some("mit"));
    assert_eq!(
        licence(r#"{"license": ["mit", "x"]}"#).as_deref(),
        Some("mit")
    );
    assert_eq!(
        licence(r#"{"license": "other", "license_name": "gemma"}"#).as_deref(),
        Some("gemma")
    );
    assert_eq!(licence("{}"), None);
    assert_eq!(medium_of("text-to-video"), Some(Medium::Video));
    assert_eq!(medium_of("fill-mask"), None);
}
