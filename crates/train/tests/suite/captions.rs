//! Captions as states: those of the encoder alone, whatever is remembered, and what is no encoder.

use std::collections::HashMap;
use std::path::Path;

use medley_formats::gguf::{Array, StringArray, Value as GgufValue, Writer};
use medley_formats::{DType, TensorInfo, WeightFile};
use medley_kernels::BlockType;
use medley_models::bert::{Bert, BertConfig, gguf_metadata, gguf_name};
use medley_nn::{Device, Weights};
use medley_testkit::{Case, Tolerance, assert_close, wordpiece};
use medley_tokenize::Tokenizer;
use medley_train::captions::{CaptionEncoder, CaptionError};

/// The golden encoder with the little tokenizer as a GGUF file.
fn write(path: &Path) {
    let case = Case::open("bert/minilm").unwrap();
    let config = BertConfig::from_json(&case.config().unwrap()).unwrap();
    let mut metadata = gguf_metadata(&config, "tiny").unwrap();
    metadata.insert("tokenizer.ggml.model", GgufValue::String("bert".into()));
    let spelled = wordpiece();
    let vocab = spelled["model"]["vocab"].as_object().unwrap();
    let tokens: StringArray = vocab
        .keys()
        .map(|text| match text.strip_prefix("##") {
            Some(rest) => rest.to_owned(),
            None if text.starts_with('[') => text.clone(),
            None => format!("\u{2581}{text}"),
        })
        .collect();
    metadata.insert(
        "tokenizer.ggml.tokens",
        GgufValue::Array(Array::Strings(tokens)),
    );
    let kinds = (0..vocab.len())
        .map(|i| if i < 5 { 3 } else { 1 })
        .collect();
    metadata.insert(
        "tokenizer.ggml.token_type",
        GgufValue::Array(Array::I32(kinds)),
    );
    for (key, id) in [("bos", 2), ("seperator", 3), ("unknown", 1), ("padding", 0)] {
        metadata.insert(format!("tokenizer.ggml.{key}_token_id"), GgufValue::U32(id));
    }
    let weights: HashMap<String, (Vec<usize>, Vec<f32>)> =
        case.weights().unwrap().into_iter().collect();
    let mut named: Vec<(String, Vec<usize>, Vec<f32>)> = weights
        .into_iter()
        .filter_map(|(name, (shape, values))| Some((gguf_name(&name)?, shape, values)))
        .collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    let infos: Vec<TensorInfo> = named
        .iter()
        .map(|(name, shape, _)| TensorInfo {
            name: name.clone(),
            dtype: DType::Block(BlockType::F32),
            shape: shape.clone(),
        })
        .collect();
    let mut writer = Writer::create(path, &metadata, &infos).unwrap();
    for (name, _, values) in &named {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        writer.write(name, &bytes).unwrap();
    }
    writer.finish().unwrap();
}

const CAPTIONS: [&str; 5] = ["a red apple", "flat icon, 3d", "", "apples", "a red apple"];

#[test]
fn states_are_those_of_the_encoder_and_of_no_batch() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("encoder.gguf");
    write(&path);
    let mut encoder = CaptionEncoder::open(&path, 64, 1 << 20).unwrap();
    let states = encoder.encode(&CAPTIONS).unwrap();
    // [CLS] a red apple [SEP]; flat icon , 3 ##d; nothing; apple ##s.
    assert_eq!(states.lengths, [5, 7, 0, 4, 5]);
    assert_eq!((states.tokens, states.width), (7, 64));
    let rows: Vec<&[f32]> = states.values.chunks_exact(7 * 64).collect();
    assert_eq!(rows[0], rows[4]);
    assert!(rows[2].iter().all(|&v| v == 0.0));
    assert!(rows[0][5 * 64..].iter().all(|&v| v == 0.0));

    let file = WeightFile::open(&path).unwrap();
    let tokenizer = Tokenizer::from_gguf(file.metadata().unwrap()).unwrap();
    let config = BertConfig::from_gguf(file.metadata().unwrap()).unwrap();
    let bert = Bert::new(config, &Weights::from_file(file, &path, &Device::Cpu)).unwrap();
    let ids = tokenizer.encode(CAPTIONS[0], true, false).unwrap();
    let alone = bert.forward(&[&ids]).unwrap().remove(0);
    assert_close(
        "half precision",
        &rows[0][..5 * 64],
        &alone,
        Tolerance::absolute(2e-3),
    );

    // Nothing remembered, each by itself: the same numbers, bit for bit.
    let mut forgetful = CaptionEncoder::open(&path, 64, 0).unwrap();
    for (caption, row) in CAPTIONS.iter().zip(&rows) {
        let one = forgetful.encode(&[caption]).unwrap();
        let count = one.lengths[0] * 64;
        assert_eq!(one.values[..count], row[..count], "{caption}");
        assert_eq!(one.tokens, one.lengths[0].max(1));
    }
    assert_eq!(encoder.encode(&CAPTIONS).unwrap(), states, "remembered");
    let mut short = CaptionEncoder::open(&path, 4, 0).unwrap();
    assert_eq!(short.encode(&CAPTIONS).unwrap().lengths, [4, 4, 0, 4, 4]);
}

#[test]
fn what_is_no_encoder_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| CaptionEncoder::open(path, 64, 0).err().unwrap();
    let case = Case::open("bert/minilm").unwrap();
    case.write_checkpoint(dir.path()).unwrap();
    let error = open(&dir.path().join("model.safetensors"));
    assert!(matches!(error, CaptionError::Container { .. }), "{error}");
    assert!(
        error
            .report()
            .hint
            .unwrap()
            .contains("medley models convert")
    );
    let other = dir.path().join("other.gguf");
    let mut metadata = medley_formats::gguf::Metadata::default();
    metadata.insert("general.architecture", GgufValue::String("llama".into()));
    Writer::create(&other, &metadata, &[])
        .unwrap()
        .finish()
        .unwrap();
    let error = open(&other);
    assert!(matches!(error, CaptionError::Config { .. }), "{error}");
    assert!(error.to_string().contains("llama"), "{error}");
    assert!(matches!(
        open(&dir.path().join("none.gguf")),
        CaptionError::Format(_)
    ));
}
