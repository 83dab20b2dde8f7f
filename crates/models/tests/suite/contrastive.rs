//! The contrastive scorer against its PyTorch twin.

use crate::twin::{Twin, array, values, variable};
use medley_models::contrastive::{Contrastive, ContrastiveConfig, Seen};
use medley_nn::Tensor;
use medley_nn::loss::contrastive;
use serde_json::json;

const IDS: [u32; 20] = [
    3, 17, 5, 0, 0, 9, 9, 31, 4, 2, 12, 0, 0, 0, 0, 1, 39, 22, 8, 0,
];
const LENGTHS: [usize; 4] = [3, 5, 1, 4];
const GROUPS: [u64; 4] = [0, 1, 2, 1];

fn both(model: &Contrastive, x: &Tensor) -> (Seen, Tensor, Tensor) {
    let seen = model.look(x).unwrap();
    let captions = model.read(&IDS, 5, &LENGTHS).unwrap();
    let scale = model.scale().unwrap();
    let loss = contrastive(&seen.embedding, &captions, &scale, &GROUPS).unwrap();
    (seen, captions, loss)
}

#[test]
fn both_towers_the_loss_and_gradients_are_those_of_the_twin() {
    let twin = Twin::open("contrastive/towers");
    let c = ContrastiveConfig::from_json(&twin.config()).unwrap();
    assert_eq!(ContrastiveConfig::from_json(&c.to_json()).unwrap(), c);
    twin.lists(&c.parameters());
    let x = variable("x", &[4, 3, 14, 10], 0.0, 1.0);
    let packed = Contrastive::new(c.clone(), &twin.packed()).unwrap();
    let weights = twin.trained();
    let model = Contrastive::new(c, &weights).unwrap();
    assert!(weights.unused().is_empty());
    for (model, x) in [(&packed, x.detach()), (&model, x.as_tensor().clone())] {
        let (seen, captions, loss) = both(model, &x);
        twin.holds("state", &seen.stages[1]);
        twin.holds("pooled", &seen.pooled);
        twin.holds("images", &seen.embedding);
        twin.holds("captions", &captions);
        twin.holds("loss", &loss.reshape(1).unwrap());
    }
    let (_, _, loss) = both(&model, &x);
    twin.holds_gradients(&loss, &[("x", &x)]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let twin = Twin::open("contrastive/towers");
    let c = ContrastiveConfig::from_json(&twin.config()).unwrap();
    let model = Contrastive::new(c.clone(), &twin.packed()).unwrap();
    assert!(model.look(&array("x", &[1, 4, 8, 8], 0.0, 1.0)).is_err());
    assert!(model.read(&[1; 9], 9, &[9]).is_err());
    assert!(model.read(&[1, 2, 3], 3, &[4]).is_err());
    assert!(model.read(&[1, 40], 2, &[2]).is_err());
    let nothing = model.read(&[1, 2], 2, &[0]).unwrap();
    assert!(values(&nothing).iter().all(|x| x.is_finite()));
    for (key, value) in [
        ("image_blocks", json!([0, 1])),
        ("image_blocks", json!([0, 0, 1])),
        ("norm_groups", json!(3)),
        ("text_heads", json!(3)),
    ] {
        let mut json = c.to_json();
        json[key] = value;
        assert!(ContrastiveConfig::from_json(&json).is_err(), "{json}");
    }
}
