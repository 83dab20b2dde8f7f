//! The autoencoder against diffusers.

use crate::twin::{Twin, array, loss, values, variable};
use medley_models::vae::{Vae, VaeConfig};
use medley_nn::Weights;

#[test]
fn latents_images_and_gradients_are_those_of_diffusers() {
    for name in ["quant", "plain"] {
        let twin = Twin::open(&format!("vae/{name}"));
        let c = VaeConfig::from_json(&twin.config()).unwrap();
        assert_eq!(VaeConfig::from_json(&c.to_json()).unwrap(), c);
        twin.lists(&c.parameters());
        let x = variable("x", &[2, 3, 16, 24], 0.0, 1.0);
        let noise = array("noise", twin.case.shape("mean").unwrap(), 0.0, 1.0);
        for training in [false, true] {
            let weights = if training {
                twin.trained()
            } else {
                twin.packed()
            };
            let model = Vae::new(c.clone(), &weights).unwrap();
            let image = if training {
                x.as_tensor().clone()
            } else {
                x.detach()
            };
            assert!(weights.unused().is_empty());
            let posterior = model.encode(&image).unwrap();
            twin.holds("mean", &posterior.mean);
            twin.holds("log_variance", &posterior.log_variance);
            let kl = posterior.kl().unwrap();
            twin.holds("kl", &kl);
            let y = model.decode(&posterior.sample(&noise).unwrap()).unwrap();
            twin.holds("output", &y);
            if training {
                let kl = (kl.sum_all().unwrap() * 0.1).unwrap();
                let total = (loss(&y) + kl).unwrap();
                twin.holds_gradients(&total, &[("x", &x)]);
            }
        }
    }
}

#[test]
fn the_first_checkpoints_names_are_understood() {
    let twin = Twin::open("vae/quant");
    let c = VaeConfig::from_json(&twin.config()).unwrap();
    let x = array("x", &[2, 3, 16, 24], 0.0, 1.0);
    let old = twin
        .case
        .weights()
        .unwrap()
        .into_iter()
        .map(|(name, tensor)| {
            let name = name
                .replace(".to_q.", ".query.")
                .replace(".to_k.", ".key.")
                .replace(".to_v.", ".value.")
                .replace(".to_out.0.", ".proj_attn.");
            (name, tensor)
        })
        .collect();
    let model = Vae::new(c, &Weights::from_tensors(old, &medley_nn::Device::Cpu)).unwrap();
    twin.holds("mean", &model.encode(&x).unwrap().mean);
}

#[test]
fn scaling_has_a_way_back_and_wrong_sizes_are_refused() {
    let twin = Twin::open("vae/plain");
    let c = VaeConfig::from_json(&twin.config()).unwrap();
    let model = Vae::new(c.clone(), &twin.packed()).unwrap();
    let z = array("z", &[1, 6, 2, 2], 0.0, 1.0);
    let scaled = model.scaled(&z).unwrap();
    let expected = (values(&z)[0] - 0.0609) * 1.5305;
    assert!((values(&scaled)[0] - expected).abs() < 1e-6);
    let back = model.unscaled(&scaled).unwrap();
    assert!(
        values(&back)
            .iter()
            .zip(values(&z))
            .all(|(a, b)| (a - b).abs() < 1e-6)
    );
    assert_eq!(model.decode(&z).unwrap().dims(), &[1, 3, 8, 8]);
    let error = model
        .encode(&array("x", &[1, 3, 18, 16], 0.0, 1.0))
        .err()
        .unwrap();
    assert!(error.to_string().contains("multiples of 4"), "{error}");
    assert!(model.decode(&array("z", &[1, 4, 2, 2], 0.0, 1.0)).is_err());
    for (key, value) in [
        ("norm_num_groups", serde_json::json!(3)),
        ("act_fn", serde_json::json!("relu")),
        ("block_out_channels", serde_json::json!([])),
        (
            "up_block_types",
            serde_json::json!(["AttnUpDecoderBlock2D"]),
        ),
        ("_class_name", serde_json::json!("VQModel")),
    ] {
        let mut json = c.to_json();
        json[key] = value;
        assert!(VaeConfig::from_json(&json).is_err(), "{key}");
    }
}
