//! The DCGAN against PyTorch's modules.

use crate::twin::{Twin, array, loss, values, variable};
use medley_models::dcgan::{DcganConfig, Discriminator, Generator};
use medley_nn::vision::{BatchStatistics, move_statistics};

fn config(twin: &Twin) -> DcganConfig {
    let config = DcganConfig::from_json(&twin.config()).unwrap();
    assert_eq!(DcganConfig::from_json(&config.to_json()).unwrap(), config);
    config
}

/// Running statistics a tenth of the way to those of the batch, as PyTorch moves them.
fn moved(twin: &Twin, norms: &[String], seen: &[BatchStatistics]) {
    assert_eq!(norms.len(), seen.len());
    move_statistics(&twin.vars, norms, seen, 0.1).unwrap();
    let moved = twin.vars.keys().filter(|name| name.contains("running_"));
    assert_eq!(moved.clone().count(), 2 * norms.len());
    for name in moved {
        twin.holds(&format!("after.{name}"), &twin.vars[name]);
    }
}

#[test]
fn pictures_and_gradients_are_those_of_pytorch() {
    for training in [false, true] {
        let name = if training {
            "dcgan/generator_train"
        } else {
            "dcgan/generator"
        };
        let twin = Twin::open(name);
        let c = config(&twin);
        twin.lists(&c.generator_parameters());
        let z = variable("x", &[3, c.latent], 0.0, 1.0);
        let weights = twin.trained();
        let model = Generator::new(c.clone(), &weights).unwrap();
        assert!(weights.unused().is_empty());
        let y = if training {
            let (y, seen) = model.forward_train(&z).unwrap();
            moved(&twin, &model.norms(), &seen);
            y
        } else {
            let packed = Generator::new(c.clone(), &twin.packed()).unwrap();
            twin.holds("output", &packed.forward(&z.detach()).unwrap());
            model.forward(&z).unwrap()
        };
        twin.holds("output", &y);
        twin.holds_gradients(&loss(&y), &[("x", &z)]);
    }
}

#[test]
fn scores_and_gradients_are_those_of_pytorch() {
    for training in [false, true] {
        let name = if training {
            "dcgan/discriminator_train"
        } else {
            "dcgan/discriminator"
        };
        let twin = Twin::open(name);
        let c = config(&twin);
        twin.lists(&c.discriminator_parameters());
        let x = variable("x", &[3, 3, 32, 32], 0.0, 1.0);
        let weights = twin.trained();
        let model = Discriminator::new(c, &weights).unwrap();
        assert!(weights.unused().is_empty());
        let y = if training {
            let (y, seen) = model.forward_train(&x).unwrap();
            moved(&twin, &model.norms(), &seen);
            y
        } else {
            model.forward(&x).unwrap()
        };
        twin.holds("output", &y);
        twin.holds_gradients(&loss(&y), &[("x", &x)]);
    }
}

#[test]
fn the_shape_is_read_out_of_a_generator() {
    let twin = Twin::open("dcgan/generator");
    let mut expected = config(&twin);
    expected.discriminator_features = expected.generator_features;
    let found = DcganConfig::from_generator(&twin.packed()).unwrap();
    assert_eq!(found, expected);
    assert!(DcganConfig::from_generator(&Twin::open("rrdb/x4").packed()).is_err());
    let model = Generator::new(found, &twin.packed()).unwrap();
    assert!(model.forward(&array("x", &[1, 11], 0.0, 1.0)).is_err());
    let y = model.forward(&array("x", &[1, 10], 0.0, 1.0)).unwrap();
    assert!(values(&y).iter().all(|x| x.abs() <= 1.0));
}
