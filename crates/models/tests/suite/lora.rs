//! Low-rank adapters on decoders against PEFT (golden/lora): outputs and gradients, over dense and packed weights and with
//! rows as GGUF files have them.

use medley_formats::WeightFile;
use medley_formats::safetensors::{TensorData, write};
use medley_formats::{DType, TensorInfo, gguf};
use medley_models::decoder::{
    Adapter, Decoder, DecoderConfig, Input, RowOrder, Wanted, from_tensors, gguf_metadata,
    gguf_tensors, tensor_name,
};
use medley_nn::train::{Compute, Gradients, IGNORED, backward, with_compute};
use medley_nn::weights::Tensors;
use medley_nn::{Device, KvType, Parameters, Tensor, Weights};
use medley_testkit::{Case, Tolerance, assert_close};
use serde_json::{Value, json};

const CASES: [&str; 4] = ["llama", "qwen3", "gemma3_text", "phi3"];
const SAMPLES: usize = 8;

struct Golden {
    name: String,
    case: Case,
    base: Case,
    settings: Value,
}

impl Golden {
    fn open(name: &str) -> Self {
        let case = Case::open(&format!("lora/{name}")).unwrap();
        Self {
            name: name.to_owned(),
            settings: case.config().unwrap(),
            base: Case::open(&format!("decoder/{name}")).unwrap(),
            case,
        }
    }

    fn decoder(&self, plain: bool) -> Decoder {
        let config = self.base.config().unwrap();
        from_tensors(self.base.weights().unwrap(), &config, &Device::Cpu, plain).unwrap()
    }

    /// The same weights named and ordered as in a GGUF file.
    fn in_gguf_order(&self) -> Decoder {
        let config = DecoderConfig::from_json(&self.base.config().unwrap()).unwrap();
        let weights = self.base.weights().unwrap();
        let names: Vec<String> = weights.keys().cloned().collect();
        let mut tensors = Tensors::new();
        for tensor in gguf_tensors(&config, &names) {
            let (shape, values) = &weights[&tensor.sources[0]];
            let mut values: Vec<f32> = values.iter().map(|v| v + tensor.add).collect();
            if let Some(heads) = tensor.reorder {
                let (width, dim) = (shape[1], shape[0] / heads);
                let row = |r: usize| {
                    let (head, at) = (r / dim * dim, r % dim);
                    let from = head + at % 2 * (dim / 2) + at / 2;
                    values[from * width..][..width].to_vec()
                };
                values = (0..shape[0]).flat_map(row).collect();
            }
            tensors.insert(tensor.name, (shape.clone(), values));
        }
        let metadata = gguf_metadata(&config, "case").unwrap();
        let weights = Weights::from_tensors(tensors, &Device::Cpu);
        // GGUF has no words for the windows of the tiny Gemma.
        let config = DecoderConfig {
            layers: config.layers,
            ..DecoderConfig::from_gguf(&metadata, &weights).unwrap()
        };
        let norms = config.norms;
        let weights = weights.with_key_map(move |name| tensor_name(norms, name));
        Decoder::new(config, &weights).unwrap()
    }

    fn scale(&self) -> f64 {
        let number = |key: &str| self.settings[key].as_f64().unwrap();
        match self.settings["use_rslora"] == true {
            true => number("lora_alpha") / number("r").sqrt(),
            false => number("lora_alpha") / number("r"),
        }
    }

    fn learning(&self, mut decoder: Decoder) -> (Decoder, Parameters) {
        let factors = self.case.weights().unwrap();
        let parameters = decoder.learn(&factors, self.scale()).unwrap();
        (decoder, parameters)
    }

    fn ids(&self) -> Vec<u32> {
        self.base.ids("input_ids").unwrap()
    }

    /// The adapter as PEFT saves it.
    fn file(&self) -> (WeightFile, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adapter_model.safetensors");
        let weights = self.case.weights().unwrap();
        save(
            &path,
            weights
                .iter()
                .map(|(n, (s, v))| (n.as_str(), s.as_slice(), v.as_slice())),
        );
        (WeightFile::open(&path).unwrap(), folder)
    }

    fn holds_logits(&self, what: &str, found: &[f32]) {
        let expected = self.case.f32s("logits").unwrap();
        let label = format!("{} {what}", self.name);
        assert_close(&label, found, expected, Tolerance::absolute(1e-4));
    }
}

fn save<'a>(
    path: &std::path::Path,
    tensors: impl Iterator<Item = (&'a str, &'a [usize], &'a [f32])>,
) {
    let all: Vec<(&str, &[usize], Vec<u8>)> = tensors
        .map(|(name, shape, values)| {
            (
                name,
                shape,
                values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            )
        })
        .collect();
    let data: Vec<TensorData> = all
        .iter()
        .map(|(name, shape, bytes)| TensorData {
            name,
            dtype: DType::F32,
            shape,
            bytes,
        })
        .collect();
    write(path, &data, &[]).unwrap();
}

/// The next token of each but the last; no loss on the first three of a sequence.
fn targets(ids: &[u32]) -> Vec<u32> {
    let length = ids.len() / 2;
    let target = |i: usize| match i % length {
        0..3 => IGNORED,
        at if at + 1 == length => IGNORED,
        _ => ids[i + 1],
    };
    (0..ids.len()).map(target).collect()
}

fn served(model: &Decoder, ids: &[u32]) -> Vec<f32> {
    let sequence = |tokens: &[u32]| {
        let mut cache = model.cache(KvType::F32, 64);
        let input = Input {
            tokens,
            cache: &mut cache,
            wanted: Wanted::All,
        };
        model.forward(&mut [input]).unwrap().remove(0)
    };
    ids.chunks(ids.len() / 2).flat_map(sequence).collect()
}

fn batch(ids: &[u32]) -> Tensor {
    Tensor::from_vec(ids.to_vec(), (2, ids.len() / 2), &Device::Cpu).unwrap()
}

#[test]
fn outputs_and_gradients_are_those_of_peft() {
    for name in CASES {
        let g = Golden::open(name);
        for (what, decoder) in [
            ("dense", g.decoder(true)),
            ("packed", g.decoder(false)),
            ("ordered as GGUF", g.in_gguf_order()),
        ] {
            let (decoder, parameters) = g.learning(decoder);
            for compute in [Compute::Plain, Compute::F32] {
                holds(
                    &g,
                    &format!("{what} {compute:?}"),
                    compute,
                    &decoder,
                    &parameters,
                );
            }
            // While it learns, it can be asked.
            g.holds_logits(what, &served(&decoder, &g.ids()));
        }
    }
}

fn holds(g: &Golden, what: &str, compute: Compute, decoder: &Decoder, parameters: &Parameters) {
    let ids = g.ids();
    let (loss, gradients) = with_compute(compute, || {
        let logits = decoder.forward_train(&batch(&ids)).unwrap();
        g.holds_logits(
            what,
            &logits.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
        );
        let loss = decoder.loss(&batch(&ids), &targets(&ids)).unwrap();
        let mut gradients = Gradients::default();
        backward(&loss, &mut gradients).unwrap();
        (loss.to_scalar::<f32>().unwrap(), gradients)
    });
    let label = format!("{} {what}", g.name);
    assert_close(
        &label,
        &[loss],
        g.case.f32s("loss").unwrap(),
        Tolerance::absolute(1e-4),
    );
    let rows = g.case.weight_list().unwrap();
    assert_eq!(parameters.all().len(), rows.len(), "{label}");
    let norms = g.case.f32s("gradient.norms").unwrap();
    let samples = g.case.f32s("gradient.samples").unwrap();
    for ((row, &norm), samples) in rows.iter().zip(norms).zip(samples.chunks_exact(SAMPLES)) {
        let label = format!("{label}: gradient of {}", row.name);
        let var = &parameters.get(&row.name).expect(&label).var;
        let found = gradients.get(var).expect(&label);
        let found = decoder.published(&row.name, &row.shape, found);
        let mine = found
            .iter()
            .map(|x| f64::from(*x).powi(2))
            .sum::<f64>()
            .sqrt() as f32;
        assert_close(&label, &[mine], &[norm], Tolerance::new(0.0, 1e-3));
        let at: Vec<f32> = (0..SAMPLES)
            .map(|i| found[i * found.len() / SAMPLES])
            .collect();
        let typical = norm / (found.len() as f32).sqrt();
        assert_close(&label, &at, samples, Tolerance::new(1e-3 * typical, 1e-3));
    }
}

#[test]
fn adapters_of_files_serve_with_the_outputs_of_peft() {
    for name in CASES {
        let g = Golden::open(name);
        let (file, folder) = g.file();
        let adapter = Adapter::read(&file, Some(&g.settings)).unwrap();
        for (what, mut decoder) in [
            ("dense", g.decoder(true)),
            ("packed", g.decoder(false)),
            ("ordered as GGUF", g.in_gguf_order()),
        ] {
            let before = served(&decoder, &g.ids());
            decoder.attach(adapter.clone(), 1.0).unwrap();
            g.holds_logits(what, &served(&decoder, &g.ids()));
            // Once more, the other way round: nothing is left of it.
            decoder.attach(adapter.clone(), -1.0).unwrap();
            let after = served(&decoder, &g.ids());
            assert_close(what, &after, &before, Tolerance::absolute(1e-4));
        }
        // Through llama.cpp's form.
        let config = DecoderConfig::from_json(&g.base.config().unwrap()).unwrap();
        let path = folder.path().join("adapter.gguf");
        let (metadata, tensors) = adapter.clone().to_gguf(&config, "case").unwrap();
        let infos: Vec<TensorInfo> = tensors
            .iter()
            .map(|(name, shape, _)| TensorInfo {
                name: name.clone(),
                dtype: DType::F32,
                shape: shape.to_vec(),
            })
            .collect();
        let mut writer = gguf::Writer::create(&path, &metadata, &infos).unwrap();
        for (name, _, values) in &tensors {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            writer.write(name, &bytes).unwrap();
        }
        writer.finish().unwrap();
        let read = Adapter::read(&WeightFile::open(&path).unwrap(), None).unwrap();
        assert_eq!(read.order == RowOrder::Pairs, name == "llama");
        for mut decoder in [g.decoder(false), g.in_gguf_order()] {
            decoder.attach(read.clone(), 1.0).unwrap();
            g.holds_logits("from GGUF", &served(&decoder, &g.ids()));
        }
    }
}

#[test]
fn reading_token_by_token_changes_no_bit() {
    let g = Golden::open("llama");
    let (file, _folder) = g.file();
    let mut decoder = g.decoder(false);
    let adapter = Adapter::read(&file, Some(&g.settings)).unwrap();
    decoder.attach(adapter, 0.5).unwrap();
    let ids = &g.ids()[..12];
    let mut cache = decoder.cache(KvType::F32, 64);
    let mut found = Vec::new();
    for &token in ids {
        let input = Input {
            tokens: &[token],
            cache: &mut cache,
            wanted: Wanted::All,
        };
        found.extend(decoder.forward(&mut [input]).unwrap().remove(0));
    }
    assert_eq!(found, served(&decoder, &g.ids())[..found.len()]);
}

#[test]
fn a_new_adapter_begins_as_peft_begins_it() {
    let mut decoder = Golden::open("phi3").decoder(false);
    let list = decoder.adapter_parameters(4, &[]).unwrap();
    let rows = Golden::open("phi3").case.weight_list().unwrap();
    let mut mine: Vec<_> = list
        .iter()
        .map(|p| (p.name.clone(), p.shape.clone()))
        .collect();
    let mut peft: Vec<_> = rows.into_iter().map(|r| (r.name, r.shape)).collect();
    mine.sort();
    peft.sort();
    assert_eq!(mine, peft);
    let some = decoder.adapter_parameters(2, &["o_proj".into()]).unwrap();
    assert_eq!(some.len(), 6);
    assert!(some.iter().all(|p| p.name.contains(".o_proj.lora_")));
}

fn refusal(result: Result<impl Sized, medley_models::ConfigError>) -> String {
    let text = result.err().expect("a refusal").to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let g = Golden::open("llama");
    let mut decoder = g.decoder(false);
    let targets = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let text = refusal(decoder.adapter_parameters(0, &[]));
    assert!(
        text.contains("rank of 0") && text.contains("between 1 and 256"),
        "{text}"
    );
    let text = refusal(decoder.adapter_parameters(200, &[]));
    assert!(text.contains("k_proj of 128 x 256"), "{text}");
    let text = refusal(decoder.adapter_parameters(4, &targets(&["q_proj", "qkv"])));
    assert!(
        text.contains("target qkv") && text.contains("q_proj, k_proj, v_proj, o_proj"),
        "{text}"
    );
    let case = Case::open("decoder/mixtral").unwrap();
    let weights = case.weights().unwrap();
    let mut mixture = from_tensors(weights, &case.config().unwrap(), &Device::Cpu, false).unwrap();
    assert!(refusal(mixture.adapter_parameters(4, &[])).contains("mixture of experts"));

    let (file, _folder) = g.file();
    let adapter = Adapter::read(&file, Some(&g.settings)).unwrap();
    let mut other = Golden::open("gemma3_text").decoder(false);
    let text = refusal(other.attach(adapter.clone(), 1.0));
    assert!(
        text.contains("self_attn.k_proj") && text.contains("x"),
        "{text}"
    );
    let text = refusal(mixture.attach(adapter.clone(), 1.0));
    assert!(text.contains("mlp.down_proj"), "{text}");
    let mut strange = adapter;
    strange.architecture = Some("qwen3".into());
    assert!(refusal(decoder.attach(strange, 1.0)).contains("qwen3; the model is llama"));
}

#[test]
fn files_that_are_no_adapters_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let q = "base_model.model.model.layers.0.self_attn.q_proj";
    let (a, b) = (format!("{q}.lora_A.weight"), format!("{q}.lora_B.weight"));
    type Row<'a> = (&'a str, &'a [usize], &'a [f32]);
    let right: [Row; 2] = [(&a, &[1, 2], &[0.0; 2]), (&b, &[2, 1], &[0.0; 2])];
    let read = |rows: &[Row], settings: Value| {
        save(&path, rows.iter().copied());
        Adapter::read(&WeightFile::open(&path).unwrap(), Some(&settings))
    };
    let layers = read(&right, json!({"lora_alpha": 3})).unwrap().layers;
    assert_eq!(layers["model.layers.0.self_attn.q_proj"].scale, 3.0);
    let pattern = json!({"lora_alpha": 3, "alpha_pattern": {"q_proj": 5}});
    assert_eq!(
        read(&right, pattern)
            .unwrap()
            .layers
            .values()
            .next()
            .unwrap()
            .scale,
        5.0
    );
    assert!(refusal(read(&right[..1], json!({}))).contains("only one"));
    let wrong: [Row; 2] = [right[0], (&b, &[1, 2], &[0.0; 2])];
    assert!(refusal(read(&wrong, json!({}))).contains("no product"));
    let head: [Row; 1] = [("base_model.model.lm_head.lora_A.weight", &[1, 2], &[0.0; 2])];
    assert!(refusal(read(&head, json!({}))).contains("no layer of a language model"));
    let vector: [Row; 1] = [("base_model.model.model.norm.weight", &[2], &[0.0; 2])];
    assert!(refusal(read(&vector, json!({}))).contains("no factor"));
    assert!(refusal(read(&right, json!({"use_dora": true}))).contains("use_dora"));
    assert!(refusal(read(&right, json!({"peft_type": "LOHA"}))).contains("LOHA"));
}
