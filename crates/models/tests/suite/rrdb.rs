//! The upscaler against its PyTorch twin, and out of a checkpoint of Real-ESRGAN's form.

use crate::twin::{Twin, array, loss, values, variable};
use medley_formats::WeightFile;
use medley_models::rrdb::{Rrdb, RrdbConfig};
use medley_nn::{Device, Weights};
use medley_testkit::{Tolerance, assert_close};

#[test]
fn images_and_gradients_are_those_of_the_twin() {
    for name in ["x4", "x2"] {
        let twin = Twin::open(&format!("rrdb/{name}"));
        let c = RrdbConfig::from_json(&twin.config()).unwrap();
        assert_eq!(RrdbConfig::from_json(&c.to_json()).unwrap(), c);
        assert_eq!(RrdbConfig::from_weights(&twin.packed()).unwrap(), c);
        twin.lists(&c.parameters());
        let x = variable("x", &[2, 3, 8, 6], 0.5, 0.5);
        let model = Rrdb::new(c.clone(), &twin.packed()).unwrap();
        twin.holds("output", &model.forward(&x.detach()).unwrap());
        let weights = twin.trained();
        let model = Rrdb::new(c, &weights).unwrap();
        assert!(weights.unused().is_empty());
        let y = model.forward(&x).unwrap();
        twin.holds("output", &y);
        twin.holds_gradients(&loss(&y), &[("x", &x)]);
    }
}

#[test]
fn published_checkpoints_load() {
    let twin = Twin::open("rrdb/x4");
    let path = twin.case.folder().join("checkpoint.pth");
    let file = WeightFile::open(&path).unwrap();
    let weights = Weights::from_file(file, &path, &Device::Cpu);
    let config = RrdbConfig::from_weights(&weights).unwrap();
    let model = Rrdb::new(config, &weights).unwrap();
    let y = model.forward(&array("x", &[2, 3, 8, 6], 0.5, 0.5)).unwrap();
    // The checkpoint holds half precision.
    let expected = twin.case.f32s("output").unwrap();
    assert_close(
        "checkpoint",
        &values(&y),
        expected,
        Tolerance::new(5e-3, 5e-3),
    );
}

#[test]
fn sides_that_cannot_be_squeezed_are_refused() {
    let twin = Twin::open("rrdb/x2");
    let c = RrdbConfig::from_json(&twin.config()).unwrap();
    let model = Rrdb::new(c.clone(), &twin.packed()).unwrap();
    assert!(model.forward(&array("x", &[1, 3, 5, 6], 0.0, 1.0)).is_err());
    assert!(model.forward(&array("x", &[1, 4, 4, 6], 0.0, 1.0)).is_err());
    let mut json = c.to_json();
    json["scale"] = serde_json::json!(3);
    assert!(RrdbConfig::from_json(&json).is_err());
    let other = Weights::from_tensors(Default::default(), &Device::Cpu);
    assert!(RrdbConfig::from_weights(&other).is_err());
}
