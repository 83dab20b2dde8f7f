//! Sentence encoders as GGUF: the states and vectors of the checkpoint, whatever the container.
#![cfg(feature = "generators")]

use std::path::Path;

use medley_engine::EmbeddingModel;
use medley_engine::convert::{ConvertOptions, Scheme, convert, quantize};
use medley_formats::WeightFile;
use medley_models::bert::{Bert, BertConfig};
use medley_nn::{Device, Weights};
use medley_testkit::{Case, Tolerance, assert_close, wordpiece};
use serde_json::{Value, json};

fn checkpoint(name: &str, folder: &Path) -> Case {
    let case = Case::open(&format!("bert/{name}")).unwrap();
    case.write_checkpoint(folder).unwrap();
    std::fs::write(folder.join("tokenizer.json"), wordpiece().to_string()).unwrap();
    let settings = json!({ "cls_token": "[CLS]", "sep_token": { "content": "[SEP]" }, "unk_token": "[UNK]",
                           "pad_token": "[PAD]", "mask_token": "[MASK]" });
    std::fs::write(folder.join("tokenizer_config.json"), settings.to_string()).unwrap();
    std::fs::write(
        folder.join("sentence_bert_config.json"),
        "{\"max_seq_length\": 9}",
    )
    .unwrap();
    case
}

const TEXTS: [&str; 4] = [
    "a red apple, flat icon",
    "Apples, RED and 3d; an icon of fifteen words that is longer than the limit",
    "Ünïcode 苹果",
    "",
];

#[test]
fn states_and_vectors_are_those_of_the_checkpoint() {
    for (name, cls) in [("minilm", false), ("bge", true)] {
        let dir = tempfile::tempdir().unwrap();
        let case = checkpoint(name, dir.path());
        if cls {
            std::fs::create_dir_all(dir.path().join("1_Pooling")).unwrap();
            let pooling = "{\"pooling_mode_cls_token\": true}";
            std::fs::write(dir.path().join("1_Pooling/config.json"), pooling).unwrap();
        }
        let target = dir.path().join("encoder.gguf");
        let mut notes = Vec::new();
        convert(
            dir.path(),
            &target,
            Some(Scheme::F32),
            &ConvertOptions::default(),
            &mut |e| notes.push(e),
        )
        .unwrap();
        let file = WeightFile::open(&target).unwrap();
        let metadata = file.metadata().unwrap().clone();
        assert_eq!(
            metadata.u64("bert.pooling_type"),
            Some(if cls { 2 } else { 1 })
        );
        let config = BertConfig::from_gguf(&metadata).unwrap();
        let weights = Weights::from_file(file, &target, &Device::Cpu);
        let model = Bert::new(config, &weights).unwrap();
        assert_eq!(
            weights.unused(),
            Vec::<String>::new(),
            "every tensor is read"
        );
        let ids = case.ids("input_ids").unwrap();
        let states = model.forward(&[&ids[..12]]).unwrap();
        let expected = case.f32s("last_hidden_state").unwrap();
        let width = expected.len() / 24;
        assert_close(
            name,
            &states[0],
            &expected[..12 * width],
            Tolerance::absolute(1e-4),
        );

        let folder = EmbeddingModel::load(dir.path()).unwrap();
        let single = EmbeddingModel::load(&target).unwrap();
        assert_eq!((folder.limit(), single.limit()), (9, 9));
        let (a, b) = (
            folder.states(&TEXTS).unwrap(),
            single.states(&TEXTS).unwrap(),
        );
        let (u, v) = (folder.embed(&TEXTS).unwrap(), single.embed(&TEXTS).unwrap());
        for i in 0..TEXTS.len() {
            assert_eq!(a[i].len(), b[i].len(), "{}: as many tokens", TEXTS[i]);
            assert_close(TEXTS[i], &b[i], &a[i], Tolerance::absolute(1e-6));
            assert_close(TEXTS[i], &v[i], &u[i], Tolerance::absolute(1e-6));
        }
        assert_eq!(a[1].len(), 9 * width, "cut at the limit");
        assert_eq!(a[3].len(), 2 * width, "the marks alone");
    }
}

#[test]
fn quantised_matrices_are_near() {
    let dir = tempfile::tempdir().unwrap();
    checkpoint("minilm", dir.path());
    let exact = EmbeddingModel::load(dir.path())
        .unwrap()
        .embed(&TEXTS)
        .unwrap();
    let (full, small) = (dir.path().join("full.gguf"), dir.path().join("small.gguf"));
    convert(
        dir.path(),
        &full,
        Some(Scheme::F32),
        &ConvertOptions::default(),
        &mut |_| {},
    )
    .unwrap();
    let made = quantize(
        &full,
        &small,
        Scheme::Q8_0,
        &ConvertOptions::default(),
        &mut |_| {},
    )
    .unwrap();
    assert!(
        made.types["Q8_0"] > 10 && made.types["F32"] > 10,
        "{:?}",
        made.types
    );
    let near = EmbeddingModel::load(&small).unwrap().embed(&TEXTS).unwrap();
    for (a, b) in exact.iter().zip(&near) {
        let cosine: f32 = a.iter().zip(b).map(|(x, y)| x * y).sum();
        assert!(cosine > 0.999, "{cosine}");
    }
}

#[test]
fn what_gguf_cannot_say_is_refused() {
    let refused = |change: &dyn Fn(&mut Value), word: &str| {
        let dir = tempfile::tempdir().unwrap();
        checkpoint("minilm", dir.path());
        let path = dir.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        std::fs::write(&path, config.to_string()).unwrap();
        let target = dir.path().join("encoder.gguf");
        let error = convert(
            dir.path(),
            &target,
            None,
            &ConvertOptions::default(),
            &mut |_| {},
        )
        .unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
        assert!(!target.exists());
    };
    refused(&|c| c["hidden_act"] = json!("relu"), "gelu");
    refused(&|c| c["num_attention_heads"] = json!(7), "divide");
    refused(&|c| c["vocab_size"] = json!(50), "50 ids");
}
