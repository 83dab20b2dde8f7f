//! Folders with tiny models of pictures, in the form that `medley train` writes.
#![allow(dead_code, reason = "the server's tests use a part of it")]

pub mod writer;

use std::path::{Path, PathBuf};

use medley_formats::DType;
use medley_formats::safetensors::{TensorData, write};
use medley_models::dcgan::DcganConfig;
use medley_models::dit::{DitConfig, TextKind, TimeKind};
use medley_models::parameters::{Init, Parameter};
use medley_models::rrdb::RrdbConfig;
use medley_models::stylegan2::StyleGan2Config;
use medley_models::vae::VaeConfig;
use medley_testkit::fill::fill;
use serde_json::{Value, json};

const WORDS: [&str; 12] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "green", "apple", "pear", "tree", "of", "on",
];

fn bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// Weights and `config.json` into a folder.
fn folder(path: &Path, config: &Value, tensors: &[(String, Vec<usize>, Vec<f32>)]) {
    std::fs::create_dir_all(path).unwrap();
    std::fs::write(path.join("config.json"), config.to_string()).unwrap();
    let stored: Vec<Vec<u8>> = tensors.iter().map(|(_, _, values)| bytes(values)).collect();
    let data: Vec<TensorData> = tensors
        .iter()
        .zip(&stored)
        .map(|((name, shape, _), bytes)| TensorData {
            name,
            dtype: DType::F32,
            shape,
            bytes,
        })
        .collect();
    write(&path.join("model.safetensors"), &data, &[]).unwrap();
}

/// Values that are neither 0 nor the identity, whatever training would begin with.
fn filled(parameters: &[Parameter], scale: f32) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let of = |p: &Parameter| {
        let count = p.shape.iter().product();
        let mean = match p.init {
            Init::Ones | Init::NormalAroundOne(_) => 1.0,
            _ => 0.0,
        };
        (
            p.name.clone(),
            p.shape.clone(),
            fill(&p.name, count, mean, scale),
        )
    };
    parameters.iter().map(of).collect()
}

/// An encoder of twelve words.
pub fn encoder(path: &Path) {
    const HIDDEN: usize = 8;
    let mut tensors = Vec::new();
    let mut add = |name: &str, shape: &[usize], mean: f32| {
        let values = fill(name, shape.iter().product(), mean, 0.3);
        tensors.push((name.to_owned(), shape.to_vec(), values));
    };
    for (name, rows) in [("word", WORDS.len()), ("position", 16), ("token_type", 2)] {
        add(
            &format!("embeddings.{name}_embeddings.weight"),
            &[rows, HIDDEN],
            0.0,
        );
    }
    let layer = "encoder.layer.0";
    for norm in [
        "embeddings",
        &format!("{layer}.attention.output"),
        &format!("{layer}.output"),
    ] {
        add(&format!("{norm}.LayerNorm.weight"), &[HIDDEN], 1.0);
        add(&format!("{norm}.LayerNorm.bias"), &[HIDDEN], 0.0);
    }
    for (name, out, inputs) in [
        ("attention.self.query", HIDDEN, HIDDEN),
        ("attention.self.key", HIDDEN, HIDDEN),
        ("attention.self.value", HIDDEN, HIDDEN),
        ("attention.output.dense", HIDDEN, HIDDEN),
        ("intermediate.dense", 16, HIDDEN),
        ("output.dense", HIDDEN, 16),
    ] {
        add(&format!("{layer}.{name}.weight"), &[out, inputs], 0.0);
        add(&format!("{layer}.{name}.bias"), &[out], 0.0);
    }
    let config = json!({
        "model_type": "bert", "vocab_size": WORDS.len(), "hidden_size": HIDDEN, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 16,
    });
    folder(path, &config, &tensors);
    let special = |id: usize| {
        json!({ "id": id, "content": WORDS[id], "special": true, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false })
    };
    let mark = |id: usize| json!({ "SpecialToken": { "id": WORDS[id], "type_id": 0 } });
    let ids = |id: usize| json!({ "id": WORDS[id], "ids": [id], "tokens": [WORDS[id]] });
    let vocabulary: serde_json::Map<String, Value> = WORDS
        .iter()
        .enumerate()
        .map(|(id, word)| ((*word).to_owned(), json!(id)))
        .collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": (0..4).map(special).collect::<Vec<_>>(),
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": { "type": "TemplateProcessing",
            "single": [mark(2), { "Sequence": { "id": "A", "type_id": 0 } }, mark(3)],
            "pair": [mark(2), { "Sequence": { "id": "A", "type_id": 0 } }, mark(3),
                { "Sequence": { "id": "B", "type_id": 1 } }, { "SpecialToken": { "id": "[SEP]", "type_id": 1 } }],
            "special_tokens": { "[CLS]": ids(2), "[SEP]": ids(3) } },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary },
    });
    std::fs::write(path.join("tokenizer.json"), tokenizer.to_string()).unwrap();
}

fn transformer(channels: usize, side: usize) -> DitConfig {
    DitConfig {
        channels,
        sample_size: [side; 2],
        patch_size: 2,
        stem_channels: Vec::new(),
        unshuffle: 1,
        hidden_size: 16,
        layers: 2,
        heads: 2,
        intermediate_size: 32,
        text: TextKind::Cross,
        text_width: 8,
        classes: 0,
        shared_modulation: false,
        frames: 1,
        frame_patch: 1,
        time: TimeKind::None,
        loops: false,
        rope_theta: 100.0,
        norm_eps: 1e-6,
    }
}

/// A transformer of 8 × 8 pixels that reads prompts, enlarged fourfold by an upscaler beside it. It draws other sizes too.
pub fn icons(path: &Path) -> PathBuf {
    let own = transformer(3, 8);
    let config = json!({
        "medium": "image", "architecture": "dit", "model": own.to_json(), "size": [8, 8],
        "sizes": { "multiple": 2, "min": 4, "max": 64 }, "text_encoder": "encoder", "text_tokens": 8,
        "upscaler": "upscaler",
        "sampler": { "name": "flow_euler", "steps": 4, "guidance": 2.0, "upscale": 4 },
        "about": { "licence": "none" },
    });
    folder(path, &config, &filled(&own.parameters(), 0.2));
    encoder(&path.join("encoder"));
    upscaler(&path.join("upscaler"));
    path.to_owned()
}

/// A transformer of latents with its VAE.
pub fn latent(path: &Path) -> PathBuf {
    let own = transformer(4, 4);
    let config = json!({
        "medium": "image", "architecture": "dit", "model": own.to_json(), "size": [8, 8], "channels": 4,
        "text_encoder": "encoder", "vae": "vae", "prediction": "v",
        "process": { "kind": "diffusion", "betas": "scaled_linear", "start": 0.00085, "end": 0.012 },
        "sampler": { "name": "ddim", "steps": 3, "guidance": 2.0 },
    });
    folder(path, &config, &filled(&own.parameters(), 0.2));
    encoder(&path.join("encoder"));
    let vae = VaeConfig {
        in_channels: 3,
        out_channels: 3,
        latent_channels: 4,
        block_out_channels: vec![8, 8],
        layers_per_block: 1,
        norm_num_groups: 4,
        scaling_factor: 0.5,
        shift_factor: 0.1,
        use_quant_conv: true,
        use_post_quant_conv: true,
        mid_block_add_attention: true,
    };
    folder(
        &path.join("vae"),
        &vae.to_json(),
        &filled(&vae.parameters(), 0.2),
    );
    path.to_owned()
}

/// A StyleGAN2 of 8 × 8 pixels.
pub fn gan(path: &Path) -> PathBuf {
    let own = StyleGan2Config {
        latent: 8,
        style: 8,
        mapping_layers: 2,
        condition: 0,
        channels: 3,
        size: 8,
        channel_base: 64,
        channel_max: 16,
    };
    let config = json!({
        "medium": "image", "architecture": "stylegan2", "model": own.to_json(), "size": [8, 8],
        "sampler": { "truncation": 0.7 },
    });
    folder(path, &config, &filled(&own.generator_parameters(), 0.5));
    path.to_owned()
}

/// The generator of a DCGAN as a file of weights alone.
pub fn dcgan(path: &Path) -> PathBuf {
    let own = DcganConfig {
        latent: 8,
        channels: 3,
        size: 16,
        generator_features: 4,
        discriminator_features: 4,
    };
    folder(path, &json!({}), &filled(&own.generator_parameters(), 0.3));
    std::fs::remove_file(path.join("config.json")).unwrap();
    path.join("model.safetensors")
}

/// An upscaler by 4.
pub fn upscaler(path: &Path) -> PathBuf {
    let own = RrdbConfig {
        channels: 3,
        scale: 4,
        features: 8,
        blocks: 1,
        growth: 4,
    };
    let config = json!({ "medium": "image", "architecture": "rrdb", "model": own.to_json() });
    folder(path, &config, &filled(&own.parameters(), 0.2));
    path.to_owned()
}

/// An adapter of one layer of [`icons`].
pub fn lora(path: &Path) {
    let layer = "blocks.0.attn.qkv";
    let tensor = |end: &str, shape: [usize; 2]| {
        let name = format!("base_model.model.{layer}.{end}.weight");
        let values = fill(&name, shape.iter().product(), 0.0, 0.5);
        (name, shape.to_vec(), values)
    };
    let folder_of = path.with_extension("folder");
    folder(
        &folder_of,
        &json!({}),
        &[tensor("lora_A", [2, 16]), tensor("lora_B", [48, 2])],
    );
    std::fs::rename(folder_of.join("model.safetensors"), path).unwrap();
    std::fs::remove_dir_all(folder_of).unwrap();
}
