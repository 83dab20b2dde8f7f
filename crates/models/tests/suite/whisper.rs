//! Whisper against transformers on a tiny seeded configuration, from each of the three kinds of file.

use std::path::Path;

use medley_formats::{Container, WeightFile};
use medley_models::whisper::{Precision, Text, Whisper, WhisperConfig};
use medley_nn::{Device, Tensor, Weights};
use medley_testkit::{Case, Tolerance, assert_close};

type Tensors = std::collections::HashMap<String, (Vec<usize>, Vec<f32>)>;

fn case() -> Case {
    Case::open("whisper/tiny").unwrap()
}

fn model(precision: Precision) -> Whisper {
    let case = case();
    let config = WhisperConfig::from_json(&case.config().unwrap()).unwrap();
    let weights = Weights::from_tensors(case.weights().unwrap(), &Device::Cpu);
    Whisper::new(config, Container::SafeTensors, &weights, precision).unwrap()
}

fn states(model: &Whisper) -> Tensor {
    let mel = case().f32s("mel").unwrap().to_vec();
    model.encoder.forward(mel, || false).unwrap().unwrap()
}

fn numbers(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

fn logits(model: &Whisper) -> Vec<f32> {
    let ids = case().ids("decoder_input_ids").unwrap();
    let memory = model.decoder.remember(states(model)).unwrap();
    let mut text = model.decoder.begin();
    let out = model
        .decoder
        .forward(&ids, &[ids.len()], &mut [&mut text], &memory);
    model.decoder.logits(&out.unwrap()).unwrap()
}

#[test]
fn states_and_logits_are_those_of_transformers() {
    let (case, model) = (case(), model(Precision::Exact));
    let expected = case.f32s("encoder.last_hidden_state").unwrap();
    assert_close(
        "encoder",
        &numbers(&states(&model)),
        expected,
        Tolerance::absolute(1e-3),
    );
    let expected = case.f32s("logits").unwrap();
    assert_close(
        "logits",
        &logits(&model),
        expected,
        Tolerance::absolute(1e-3),
    );
}

#[test]
fn a_cache_and_company_change_nothing() {
    let (case, model) = (case(), model(Precision::Exact));
    let ids = case.ids("decoder_input_ids").unwrap();
    let all = logits(&model);
    let vocab = all.len() / ids.len();
    let memory = model.decoder.remember(states(&model)).unwrap();
    // One text reads as it is, beside it another that goes elsewhere.
    let (mut own, mut other) = (model.decoder.begin(), model.decoder.begin());
    for (i, &id) in ids.iter().enumerate() {
        let mut texts: Vec<&mut Text> = vec![&mut own, &mut other];
        let out = model
            .decoder
            .forward(&[id, 95 - id], &[1, 1], &mut texts, &memory)
            .unwrap();
        let rows = model.decoder.logits(&out).unwrap();
        assert_eq!(rows[..vocab], all[i * vocab..(i + 1) * vocab], "token {i}");
    }
    // A copy goes on by itself.
    let mut copy = own.clone();
    let before = own.len();
    model
        .decoder
        .forward(&[1], &[1], &mut [&mut copy], &memory)
        .unwrap();
    assert_eq!((own.len(), copy.len()), (before, before + 1));
}

#[test]
fn heads_look_where_those_of_transformers_do() {
    let (case, model) = (case(), model(Precision::Exact));
    let ids = case.ids("decoder_input_ids").unwrap();
    let memory = model.decoder.remember(states(&model)).unwrap();
    let heads = [(0, 3), (2, 0), (2, 1)];
    let (_, gaze) = model.decoder.gaze(&ids, &memory, &heads).unwrap();
    let expected = case.f32s("cross_attentions").unwrap();
    let size = ids.len() * gaze.states;
    for (found, (layer, head)) in gaze.heads.iter().zip(heads) {
        let at = (layer * 4 + head) * size;
        let label = format!("head {head} of layer {layer}");
        assert_close(
            &label,
            found,
            &expected[at..at + size],
            Tolerance::absolute(1e-3),
        );
    }
    assert!(model.decoder.gaze(&ids, &memory, &[(3, 0)]).is_err());
}

#[test]
fn eight_bits_stay_near() {
    let expected = logits(&model(Precision::Exact));
    let found = logits(&model(Precision::Quantised));
    assert_ne!(found, expected);
    assert_close("8 bits", &found, &expected, Tolerance::absolute(0.15));
}

/// A tensor's bytes in 32 bits.
fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// OpenAI's names, the other way round than the model maps them.
fn openai(name: &str) -> String {
    let mut name = name.trim_start_matches("model.").to_owned();
    for (from, to) in [
        ("encoder.layer_norm", "encoder.ln_post"),
        ("decoder.layer_norm", "decoder.ln"),
        ("decoder.embed_tokens", "decoder.token_embedding"),
        ("embed_positions.weight", "positional_embedding"),
        ("layers", "blocks"),
        ("self_attn_layer_norm", "attn_ln"),
        ("encoder_attn_layer_norm", "cross_attn_ln"),
        ("final_layer_norm", "mlp_ln"),
        ("self_attn", "attn"),
        ("encoder_attn", "cross_attn"),
        ("q_proj", "query"),
        ("k_proj", "key"),
        ("v_proj", "value"),
        ("out_proj", "out"),
        ("fc1", "mlp.0"),
        ("fc2", "mlp.2"),
    ] {
        name = name.replace(from, to);
    }
    name
}

/// As whisper.cpp keeps them. Its reader knows a file by 80 bands or 128, so the numbers say 80.
fn ggml(tensors: &Tensors) -> Vec<u8> {
    let mut out = b"lmgg".to_vec();
    let mut put = |n: usize| out.extend_from_slice(&(n as u32).to_le_bytes());
    [96, 24, 64, 4, 2, 20, 64, 4, 3, 80, 0, 1, 2]
        .into_iter()
        .for_each(&mut put);
    out.extend(bytes(&[0.0; 2]));
    out.extend_from_slice(&1u32.to_le_bytes());
    out.extend_from_slice(&2u32.to_le_bytes());
    out.extend_from_slice(b"ab");
    for (name, (shape, values)) in tensors {
        let name = openai(name);
        let mut shape = shape.clone();
        if name.contains("conv") && shape.len() == 1 {
            shape.push(1);
        }
        for n in [shape.len(), name.len(), 0] {
            out.extend_from_slice(&(n as u32).to_le_bytes());
        }
        for n in shape.iter().rev() {
            out.extend_from_slice(&(*n as u32).to_le_bytes());
        }
        out.extend_from_slice(name.as_bytes());
        out.extend(bytes(values));
    }
    out
}

/// As CTranslate2 keeps them, matrices in whole numbers where `int8` asks for it.
fn ctranslate2(tensors: &Tensors, int8: bool) -> Vec<u8> {
    let get = |name: &str| tensors[&format!("model.{name}")].clone();
    let mut parts: Vec<(String, Vec<usize>, u8, Vec<u8>)> = Vec::new();
    let mut put = |name: String, shape: Vec<usize>, values: Vec<f32>| {
        let is_matrix = name.ends_with("weight") && shape.len() == 2;
        if !(int8 && is_matrix) {
            parts.push((name, shape, 0, bytes(&values)));
            return;
        }
        let (mut whole, mut scales) = (Vec::new(), Vec::new());
        for row in values.chunks_exact(shape[1]) {
            let scale = 127.0 / row.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            whole.extend(row.iter().map(|v| (v * scale).round() as i8 as u8));
            scales.push(scale);
        }
        parts.push((format!("{name}_scale"), vec![shape[0]], 0, bytes(&scales)));
        parts.push((name, shape, 1, whole));
    };
    for (side, layers) in [("encoder", 2), ("decoder", 3)] {
        for (from, to) in [
            ("embed_positions.weight", "position_encodings/encodings"),
            ("embed_tokens.weight", "embeddings/weight"),
        ] {
            if tensors.contains_key(&format!("model.{side}.{from}")) {
                let (shape, values) = get(&format!("{side}.{from}"));
                put(format!("{side}/{to}"), shape, values);
            }
        }
        let mut copy = |from: String, to: String, norm: bool| {
            for (what, other) in [("weight", "gamma"), ("bias", "beta")] {
                let (shape, values) = get(&format!("{from}.{what}"));
                put(
                    format!("{to}/{}", if norm { other } else { what }),
                    shape,
                    values,
                );
            }
        };
        copy(
            format!("{side}.layer_norm"),
            format!("{side}/layer_norm"),
            true,
        );
        if side == "encoder" {
            copy("encoder.conv1".into(), "encoder/conv1".into(), false);
            copy("encoder.conv2".into(), "encoder/conv2".into(), false);
        }
        for i in 0..layers {
            let (from, to) = (format!("{side}.layers.{i}"), format!("{side}/layer_{i}"));
            copy(format!("{from}.fc1"), format!("{to}/ffn/linear_0"), false);
            copy(format!("{from}.fc2"), format!("{to}/ffn/linear_1"), false);
            copy(
                format!("{from}.final_layer_norm"),
                format!("{to}/ffn/layer_norm"),
                true,
            );
            let kinds = [
                ("self_attn", "self_attention"),
                ("encoder_attn", "attention"),
            ];
            for (attn, other) in kinds
                .into_iter()
                .take(if side == "encoder" { 1 } else { 2 })
            {
                copy(
                    format!("{from}.{attn}_layer_norm"),
                    format!("{to}/{other}/layer_norm"),
                    true,
                );
            }
        }
    }
    for (side, layers) in [("encoder", 2), ("decoder", 3)] {
        for i in 0..layers {
            let joined = |attn: &str, names: &[&str]| {
                let (mut weight, mut bias) = (Vec::new(), Vec::new());
                for name in names {
                    let name = format!("{side}.layers.{i}.{attn}.{name}_proj");
                    weight.extend(get(&format!("{name}.weight")).1);
                    let known = tensors.contains_key(&format!("model.{name}.bias"));
                    bias.extend(if known {
                        get(&format!("{name}.bias")).1
                    } else {
                        vec![0.0; 64]
                    });
                }
                (weight, bias)
            };
            let mut all = vec![
                ("self_attention/linear_0", "self_attn", vec!["q", "k", "v"]),
                ("self_attention/linear_1", "self_attn", vec!["out"]),
            ];
            if side == "decoder" {
                all.push(("attention/linear_0", "encoder_attn", vec!["q"]));
                all.push(("attention/linear_1", "encoder_attn", vec!["k", "v"]));
                all.push(("attention/linear_2", "encoder_attn", vec!["out"]));
            }
            for (to, attn, names) in all {
                let (weight, bias) = joined(attn, &names);
                let rows = bias.len();
                put(
                    format!("{side}/layer_{i}/{to}/weight"),
                    vec![rows, 64],
                    weight,
                );
                put(format!("{side}/layer_{i}/{to}/bias"), vec![rows], bias);
            }
        }
    }
    for side in ["encoder", "decoder"] {
        parts.push((format!("{side}/num_heads"), vec![], 2, vec![4, 0]));
    }
    let mut out = 6u32.to_le_bytes().to_vec();
    let text = |out: &mut Vec<u8>, text: &str| {
        out.extend_from_slice(&(text.len() as u16 + 1).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
        out.push(0);
    };
    text(&mut out, "WhisperSpec");
    out.extend_from_slice(&3u32.to_le_bytes());
    out.extend_from_slice(&(parts.len() as u32).to_le_bytes());
    for (name, shape, kind, data) in &parts {
        text(&mut out, name);
        out.push(shape.len() as u8);
        shape
            .iter()
            .for_each(|n| out.extend_from_slice(&(*n as u32).to_le_bytes()));
        out.push(*kind);
        out.extend_from_slice(&(data.len() as u32).to_le_bytes());
        out.extend_from_slice(data);
    }
    out.extend_from_slice(&1u32.to_le_bytes());
    text(&mut out, "decoder/projection/weight");
    text(&mut out, "decoder/embeddings/weight");
    out
}

fn opened(name: &str, data: Vec<u8>) -> (Container, Weights) {
    let file = WeightFile::from_bytes(Path::new(name), data).unwrap();
    let kind = file.kind();
    (
        kind,
        Weights::from_file(file, Path::new(name), &Device::Cpu),
    )
}

#[test]
fn other_files_hold_the_same_model() {
    let tensors = case().weights().unwrap();
    let expected = logits(&model(Precision::Exact));
    let json = WhisperConfig::from_json(&case().config().unwrap()).unwrap();
    for (name, data, near) in [
        ("ggml-tiny.bin", ggml(&tensors), 0.0),
        ("model.bin", ctranslate2(&tensors, false), 0.0),
        ("int8.bin", ctranslate2(&tensors, true), 0.15),
    ] {
        let (kind, weights) = opened(name, data);
        let mut config = WhisperConfig::from_file(kind, &weights).unwrap();
        if kind == Container::Ggml {
            assert_eq!(config.mels, 80);
            config.mels = 16;
        }
        assert_eq!(config, json, "{name}");
        let model = Whisper::new(config, kind, &weights, Precision::Exact).unwrap();
        assert_close(name, &logits(&model), &expected, Tolerance::absolute(near));
    }
}

#[test]
fn damaged_files_give_errors() {
    let tensors = case().weights().unwrap();
    for (name, data) in [
        ("ggml-tiny.bin", ggml(&tensors)),
        ("model.bin", ctranslate2(&tensors, true)),
    ] {
        assert!(WeightFile::from_bytes(Path::new(name), data.clone()).is_ok());
        for cut in (0..data.len()).step_by(data.len() / 97) {
            let cut = WeightFile::from_bytes(Path::new(name), data[..cut].to_vec());
            // whisper.cpp's files end where a tensor ends, so some cuts are whole files with less in them.
            if let Ok(file) = cut {
                assert_eq!(file.kind(), Container::Ggml);
            }
        }
        for at in (4..600).step_by(3) {
            let mut wrong = data.clone();
            wrong[at] ^= 0xff;
            if let Ok(file) = WeightFile::from_bytes(Path::new(name), wrong) {
                let weights = Weights::from_file(file, Path::new(name), &Device::Cpu);
                let kind = if name == "model.bin" {
                    Container::CTranslate2
                } else {
                    Container::Ggml
                };
                let config = WhisperConfig::from_file(kind, &weights);
                drop(config.map(|c| Whisper::new(c, kind, &weights, Precision::Exact)));
            }
        }
    }
}
