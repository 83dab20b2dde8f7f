//! The style-based pair against its PyTorch twin.

use crate::twin::{Twin, array, loss, values, variable};
use medley_models::stylegan2::{Discriminator, Generator, StyleGan2Config, one_hot};
use medley_nn::Device;

fn config(twin: &Twin) -> StyleGan2Config {
    let config = StyleGan2Config::from_json(&twin.config()).unwrap();
    assert_eq!(
        StyleGan2Config::from_json(&config.to_json()).unwrap(),
        config
    );
    config
}

#[test]
fn pictures_and_gradients_are_those_of_the_twin() {
    for name in ["generator", "generator_conditioned"] {
        let twin = Twin::open(&format!("stylegan2/{name}"));
        let c = config(&twin);
        twin.lists(&c.generator_parameters());
        let z = variable("x", &[4, c.latent], 0.0, 1.0);
        let condition = variable("condition", &[4, c.condition.max(1)], 0.0, 1.0);
        for training in [false, true] {
            let weights = if training {
                twin.trained()
            } else {
                twin.packed()
            };
            let model = Generator::new(c.clone(), &weights).unwrap();
            assert!(weights.unused().is_empty());
            let given = (c.condition > 0).then_some(condition.as_tensor());
            let w = model.map(&z, given).unwrap();
            twin.holds("styles", &w);
            let y = model.synthesize(&w).unwrap();
            twin.holds("output", &y);
            let truncated = model.truncate(&w, 0.7).unwrap();
            twin.holds("truncated", &model.synthesize(&truncated).unwrap());
            if training {
                let mut inputs = vec![("x", &z)];
                inputs.extend((c.condition > 0).then_some(("condition", &condition)));
                twin.holds_gradients(&loss(&y), &inputs);
            }
        }
    }
}

#[test]
fn scores_and_gradients_are_those_of_the_twin() {
    for name in ["discriminator", "discriminator_conditioned"] {
        let twin = Twin::open(&format!("stylegan2/{name}"));
        let c = config(&twin);
        twin.lists(&c.discriminator_parameters());
        let x = variable("x", &[8, 3, c.size, c.size], 0.0, 1.0);
        let condition = variable("condition", &[8, c.condition.max(1)], 0.0, 1.0);
        let given = (c.condition > 0).then_some(condition.as_tensor());
        let weights = twin.trained();
        let model = Discriminator::new(c.clone(), &weights).unwrap();
        assert!(weights.unused().is_empty());
        let y = model.forward(&x, given).unwrap();
        twin.holds("output", &y);
        let mut inputs = vec![("x", &x)];
        inputs.extend((c.condition > 0).then_some(("condition", &condition)));
        twin.holds_gradients(&loss(&y), &inputs);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let twin = Twin::open("stylegan2/generator_conditioned");
    let c = config(&twin);
    let model = Generator::new(c.clone(), &twin.packed()).unwrap();
    let z = array("x", &[2, c.latent], 0.0, 1.0);
    assert!(model.map(&z, None).is_err());
    assert!(
        model
            .map(&z, Some(&array("condition", &[2, 6], 0.0, 1.0)))
            .is_err()
    );
    let classes = one_hot(&[0, 6], c.condition, &Device::Cpu).unwrap();
    assert_eq!(values(&classes).iter().sum::<f32>(), 2.0);
    assert_eq!(
        model.forward(&z, Some(&classes)).unwrap().dims(),
        &[2, 3, 16, 16]
    );
    assert!(one_hot(&[7], 7, &Device::Cpu).is_err());
    let mut json = c.to_json();
    json["size"] = serde_json::json!(24);
    assert!(StyleGan2Config::from_json(&json).is_err());
}
