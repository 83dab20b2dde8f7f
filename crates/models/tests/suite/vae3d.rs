//! The autoencoder of clips against diffusers, and against itself in chunks and tiles.

use crate::twin::{Twin, array, loss, values, variable};
use medley_models::vae3d::{Vae3d, Vae3dConfig};
use medley_nn::Tensor;

/// Cases, and frames and sides of their clips.
const CASES: [(&str, [usize; 3]); 2] = [("tiles", [5, 8, 12]), ("wan", [9, 16, 24])];

fn open(name: &str) -> (Twin, Vae3d) {
    let twin = Twin::open(&format!("vae3d/{name}"));
    let c = Vae3dConfig::from_json(&twin.config()).unwrap();
    let model = Vae3d::new(c, &twin.packed()).unwrap();
    (twin, model)
}

fn apart(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let pairs = values(a).into_iter().zip(values(b));
    pairs.fold(0.0, |m, (a, b)| m.max((a - b).abs()))
}

#[test]
fn latents_clips_and_gradients_are_those_of_diffusers() {
    for (name, [frames, height, width]) in CASES {
        let (twin, packed) = open(name);
        let c = packed.config().clone();
        assert_eq!(Vae3dConfig::from_json(&c.to_json()).unwrap(), c);
        twin.lists(&c.parameters());
        let x = variable("x", &[2, 3, frames, height, width], 0.0, 1.0);
        let noise = array("noise", twin.case.shape("mean").unwrap(), 0.0, 1.0);
        let weights = twin.trained();
        let trained = Vae3d::new(c, &weights).unwrap();
        assert!(weights.unused().is_empty());
        for (model, x) in [(&packed, x.detach()), (&trained, x.as_tensor().clone())] {
            let posterior = model.encode(&x).unwrap();
            twin.holds("mean", &posterior.mean);
            twin.holds("log_variance", &posterior.log_variance);
            twin.holds("kl", &posterior.kl().unwrap());
            let z = posterior.sample(&noise).unwrap();
            twin.holds("output", &model.decode(&z).unwrap());
        }
        let posterior = trained.encode(&x).unwrap();
        let y = trained.decode(&posterior.sample(&noise).unwrap()).unwrap();
        let kl = (posterior.kl().unwrap().sum_all().unwrap() * 0.1).unwrap();
        twin.holds_gradients(&(loss(&y) + kl).unwrap(), &[("x", &x)]);
    }
}

#[test]
fn chunks_and_tiles_give_what_the_whole_gives() {
    let (_, model) = open("wan");
    let z = array("z", &[2, 4, 5, 2, 3], 0.0, 1.0);
    let whole = model.decode(&z).unwrap();
    assert_eq!(whole.dims(), &[2, 3, 17, 16, 24]);
    for frames in [1, 2, 3, 9] {
        let chunked = model.decode_chunked(&z, frames, None).unwrap();
        let worst = apart(&whole, &chunked);
        assert!(worst < 1e-4, "{frames} at once: {worst}");
    }
    let (_, model) = open("tiles");
    let margin = model.config().margin();
    // Tiles in the middle are cut on both sides.
    let z = array("z", &[1, 4, 3, 2 * margin + 5, margin + 6], 0.0, 1.0);
    let whole = model.decode(&z).unwrap();
    for (frames, tile) in [(3, 4), (2, 5), (1, 64)] {
        let tiled = model.decode_chunked(&z, frames, Some(tile)).unwrap();
        let worst = apart(&whole, &tiled);
        assert!(worst < 1e-4, "{frames} at once, tiles of {tile}: {worst}");
    }
}

/// The margin is as wide as it must be and no wider: the furthest latent that it counts reaches the pixel, the next not.
#[test]
fn the_margin_is_the_reach_of_a_latent() {
    let (_, model) = open("tiles");
    let (margin, factor) = (model.config().margin(), model.config().factor());
    let z = array("z", &[1, 4, 1, 1, 2 * margin], 0.0, 1.0);
    let changed = |at: usize| {
        let beside = [
            z.narrow(4, 0, at).unwrap(),
            (z.narrow(4, at, 1).unwrap() + 3.0).unwrap(),
            z.narrow(4, at + 1, 2 * margin - at - 1).unwrap(),
        ];
        let parts: Vec<&Tensor> = beside
            .iter()
            .filter(|part| part.dim(4).unwrap() > 0)
            .collect();
        let y = model.decode(&Tensor::cat(&parts, 4).unwrap()).unwrap();
        let first = |y: &Tensor| y.narrow(4, 0, factor).unwrap();
        apart(&first(&y), &first(&model.decode(&z).unwrap()))
    };
    assert!(changed(margin) > 0.0);
    assert_eq!(changed(margin + 1), 0.0);
}

#[test]
fn later_frames_change_nothing_earlier() {
    for (name, [frames, height, width]) in CASES {
        let (_, model) = open(name);
        let along = model.config().time_factor();
        let x = array("x", &[1, 3, frames, height, width], 0.0, 1.0);
        let latents = model.encode(&x).unwrap().mean;
        for kept in 1..latents.dim(2).unwrap() {
            let count = model.config().frames(kept);
            assert_eq!(count, 1 + (kept - 1) * along);
            // Of the frames alone and with others after them.
            let alone = model.encode(&x.narrow(2, 0, count).unwrap()).unwrap().mean;
            let all = latents.narrow(2, 0, kept).unwrap();
            assert!(apart(&alone, &all) < 1e-5, "{name}: {kept} encoded");
            let alone = model.decode(&all).unwrap();
            let decoded = model.decode(&latents).unwrap();
            let worst = apart(&alone, &decoded.narrow(2, 0, count).unwrap());
            assert!(worst < 1e-5, "{name}: {kept} decoded: {worst}");
        }
    }
}

#[test]
fn scaling_has_a_way_back_and_what_does_not_fit_is_refused() {
    let (twin, model) = open("wan");
    let z = array("z", &[1, 4, 2, 2, 2], 0.0, 1.0);
    let scaled = model.scaled(&z).unwrap();
    assert!((values(&scaled)[0] - (values(&z)[0] - 0.5) / 2.0).abs() < 1e-6);
    assert!(apart(&model.unscaled(&scaled).unwrap(), &z) < 1e-6);
    let encode = |shape: [usize; 5]| {
        let clip = array("x", &shape, 0.0, 1.0);
        model.encode(&clip).err().unwrap().to_string()
    };
    assert!(encode([1, 3, 5, 12, 16]).contains("multiples of 8"));
    assert!(encode([1, 4, 5, 16, 16]).contains("3 channels"));
    assert!(encode([1, 3, 6, 16, 16]).contains("the nearest being 5 and 9"));
    let decode = |shape: &[usize], frames, tile| {
        let z = array("z", shape, 0.0, 1.0);
        let error = model.decode_chunked(&z, frames, tile).err().unwrap();
        let text = error.to_string();
        assert!(!text.contains('\n'));
        text
    };
    assert!(decode(&[1, 3, 2, 2, 2], 1, None).contains("batch × 4 channels"));
    assert!(decode(&[1, 4, 2, 2], 1, None).contains("batch × 4 channels"));
    assert!(decode(&[1, 4, 2, 2, 2], 0, None).contains("at least one"));
    assert!(decode(&[1, 4, 2, 2, 2], 1, Some(1)).contains("attention"));
    for (key, value) in [
        ("is_residual", serde_json::json!(true)),
        ("patch_size", serde_json::json!(2)),
        ("temperal_downsample", serde_json::json!([true])),
        ("base_dim", serde_json::json!(3)),
        ("latents_std", serde_json::json!([1.0, 0.0, 1.0, 1.0])),
        ("latents_mean", serde_json::json!([1.0])),
        ("_class_name", serde_json::json!("AutoencoderKL")),
    ] {
        let mut json = twin.config();
        json["model_type"] = serde_json::json!("vae");
        assert!(Vae3dConfig::from_json(&json).is_ok());
        json[key] = value;
        assert!(Vae3dConfig::from_json(&json).is_err(), "{key}");
    }
}
