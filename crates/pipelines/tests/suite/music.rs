//! Music from a decoder that has learned nothing: what the grammar and the request promise holds all the same.

use std::path::Path;

use medley_formats::DType;
use medley_formats::safetensors::{TensorData, write};
use medley_kernels::BlockType;
use medley_media::abc;
use medley_nn::Device;
use medley_pipelines::music::{MusicGenerator, MusicInputs, MusicModel, complete};
use medley_pipelines::{CancelToken, PipelineError, Run};
use medley_tokenize::notes::{VOCABULARY, vocabulary_size};
use medley_types::MusicRequest;

fn model(folder: &Path) -> MusicModel {
    let (vocab, d) = (vocabulary_size(), 16);
    let config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": vocab,
        "hidden_size": d, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 900, "hidden_act": "silu",
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true,
        "medium": "music", "vocabulary": VOCABULARY,
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let shapes: Vec<(&str, Vec<usize>)> = vec![
        ("model.embed_tokens.weight", vec![vocab, d]),
        ("model.layers.0.input_layernorm.weight", vec![d]),
        ("model.layers.0.self_attn.q_proj.weight", vec![d, d]),
        ("model.layers.0.self_attn.k_proj.weight", vec![d, d]),
        ("model.layers.0.self_attn.v_proj.weight", vec![d, d]),
        ("model.layers.0.self_attn.o_proj.weight", vec![d, d]),
        ("model.layers.0.post_attention_layernorm.weight", vec![d]),
        ("model.layers.0.mlp.gate_proj.weight", vec![32, d]),
        ("model.layers.0.mlp.up_proj.weight", vec![32, d]),
        ("model.layers.0.mlp.down_proj.weight", vec![d, 32]),
        ("model.norm.weight", vec![d]),
    ];
    let bytes: Vec<Vec<u8>> = shapes
        .iter()
        .map(|(name, shape)| {
            let value = |i: usize| match shape.len() {
                1 => 1.0,
                _ => ((i * 7 + name.len()) % 13) as f32 * 0.05 - 0.3,
            };
            let count = shape.iter().product();
            (0..count).flat_map(|i| value(i).to_le_bytes()).collect()
        })
        .collect();
    let tensors: Vec<TensorData> = shapes
        .iter()
        .zip(&bytes)
        .map(|((name, shape), bytes)| TensorData {
            name,
            dtype: DType::Block(BlockType::F32),
            shape,
            bytes,
        })
        .collect();
    write(
        &folder.join("model.safetensors"),
        &tensors,
        &[("format", "pt")],
    )
    .unwrap();
    MusicModel::load(folder, &Device::Cpu).unwrap()
}

fn request(prompt: &str, seed: u64) -> MusicRequest {
    MusicRequest {
        model: "tiny".into(),
        prompt: prompt.into(),
        seed,
        ..MusicRequest::default()
    }
}

#[test]
fn what_is_asked_for_is_what_comes() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let asked = complete(&request("a slow waltz in D minor", 3), None).unwrap();
    assert_eq!(asked.key.as_deref(), Some("D minor"));
    assert_eq!(asked.metre.as_deref(), Some("3/4"));
    assert_eq!(complete(&asked, None).unwrap(), asked);
    let inputs = MusicInputs::default();
    let music = model.generate(&asked, &inputs, &mut Run::quiet()).unwrap();
    assert_eq!(music.tune.key.to_string(), "D minor");
    assert!(music.tune.bars.iter().all(|b| b.length() <= 1440));
    assert!(music.sound.is_none() && music.score.tracks.len() >= 3);
    let again = model.generate(&asked, &inputs, &mut Run::quiet()).unwrap();
    assert_eq!(
        (again.tune.clone(), again.score),
        (music.tune.clone(), music.score)
    );
    let other = MusicRequest { seed: 4, ..asked };
    let other = model.generate(&other, &inputs, &mut Run::quiet()).unwrap();
    assert_ne!(other.tune.bars, music.tune.bars);
}

#[test]
fn sound_lasts_as_long_as_it_shall() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let inputs = MusicInputs {
        sound: true,
        ..MusicInputs::default()
    };
    for seconds in [3.0, 10.0, 21.5] {
        let asked = MusicRequest {
            seconds: Some(seconds),
            ..request("a happy jig", 5)
        };
        let asked = complete(&asked, None).unwrap();
        let music = model.generate(&asked, &inputs, &mut Run::quiet()).unwrap();
        let sound = music.sound.unwrap();
        assert!(
            (sound.seconds() - seconds).abs() < 0.01,
            "{}",
            sound.seconds()
        );
        assert_eq!((sound.rate(), sound.channels()), (44_100, 2));
    }
}

#[test]
fn a_tune_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let text = "X:1\nT:Mine\nM:6/8\nL:1/8\nK:Em\n|:E2F G2A|B3 G3|FED B,2D|E6:|\n";
    let inputs = MusicInputs {
        init: Some(abc::read(text.as_bytes()).unwrap()),
        ..MusicInputs::default()
    };
    let asked = complete(&request("", 1), inputs.init.as_ref()).unwrap();
    assert_eq!(asked.key.as_deref(), Some("E minor"));
    let music = model.generate(&asked, &inputs, &mut Run::quiet()).unwrap();
    assert_eq!(music.tune.title, "Mine");
    assert!(music.tune.bars.len() >= 8, "{}", music.tune.bars.len());
    let notes = |bars: &[medley_media::score::Bar]| -> Vec<_> {
        bars.iter().map(|b| b.events.clone()).collect()
    };
    let init = inputs.init.unwrap();
    assert_eq!(notes(&music.tune.bars[..4]), notes(&init.bars));
    let clash = complete(&request("in D major", 1), Some(&init))
        .unwrap_err()
        .to_string();
    assert!(clash.contains("E minor"), "{clash}");
}

#[test]
fn what_cannot_be_is_refused_in_one_line() {
    for (asked, part) in [
        (request("a tune in 7/13", 1), "7/13"),
        (request("", 1), "empty"),
        (
            MusicRequest {
                seconds: Some(1e9),
                ..request("a jig", 1)
            },
            "600",
        ),
        (
            MusicRequest {
                seconds: Some(f64::NAN),
                ..request("a jig", 1)
            },
            "NaN",
        ),
        (
            MusicRequest {
                key: Some("H".into()),
                ..request("a jig", 1)
            },
            "no key",
        ),
        (
            MusicRequest {
                tempo: Some(0.0),
                ..request("a jig", 1)
            },
            "tempo",
        ),
        (
            MusicRequest {
                temperature: Some(-1.0),
                ..request("a jig", 1)
            },
            "temperature",
        ),
    ] {
        let error = complete(&asked, None).unwrap_err().to_string();
        assert!(
            error.contains(part) && !error.contains('\n'),
            "{asked:?}: {error}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let token = CancelToken::default();
    token.cancel();
    let asked = complete(&request("a jig", 1), None).unwrap();
    let ended = model.generate(
        &asked,
        &MusicInputs::default(),
        &mut Run::new(token, |_| {}),
    );
    assert!(matches!(ended, Err(PipelineError::Cancelled)));
}
