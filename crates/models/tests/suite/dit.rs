//! The diffusion transformer against its PyTorch twin.

use crate::twin::{Twin, array, loss, values, variable};
use medley_models::dit::{Condition, Dit, DitConfig, TextKind, TextStates, TimeKind};
use medley_nn::weights::Tensors;
use medley_nn::{Device, Tensor, Weights};
use medley_testkit::{Tolerance, check_close};

const CASES: [&str; 11] = [
    "classes",
    "clip",
    "clip_cross",
    "clip_fine",
    "clip_full",
    "clip_own",
    "cross",
    "cross_shared",
    "joint",
    "joint_shared",
    "stem",
];
const TIMES: [f32; 3] = [0.0, 251.5, 1000.0];
const LENGTHS: [usize; 3] = [5, 3, 0];
/// Frames that are given: none, the first two, and every other one.
const KNOWN: [bool; 12] = [
    false, false, false, false, true, true, false, false, true, false, true, false,
];

fn config(twin: &Twin) -> DitConfig {
    let config = DitConfig::from_json(&twin.config()).unwrap();
    assert_eq!(DitConfig::from_json(&config.to_json()).unwrap(), config);
    config
}

fn forward(model: &Dit, x: &Tensor, text: &Tensor) -> Tensor {
    let c = model.config();
    let classes = [0, c.classes as u32, 1];
    let condition = Condition {
        text: (c.text != TextKind::None).then_some(TextStates {
            states: text,
            lengths: &LENGTHS,
        }),
        classes: (c.classes > 0).then_some(&classes),
    };
    match x.dims().len() {
        5 => model.forward_clips(x, &TIMES, &KNOWN, &condition).unwrap(),
        _ => model.forward(x, &TIMES, &condition).unwrap(),
    }
}

/// Shape of three samples.
fn samples(c: &DitConfig) -> Vec<usize> {
    let mut shape = vec![3, c.channels];
    shape.extend((c.time != TimeKind::None).then_some(c.frames));
    shape.extend(c.sample_size);
    shape
}

#[test]
fn predictions_and_gradients_are_those_of_the_twin() {
    for name in CASES {
        let twin = Twin::open(&format!("dit/{name}"));
        let c = config(&twin);
        twin.lists(&c.parameters());
        let x = variable("x", &samples(&c), 0.0, 1.0);
        let text = variable("text", &[3, 5, c.text_width.max(1)], 0.0, 1.0);
        let packed = Dit::new(c.clone(), &twin.packed()).unwrap();
        twin.holds("output", &forward(&packed, &x.detach(), &text.detach()));
        let weights = twin.trained();
        let model = Dit::new(c.clone(), &weights).unwrap();
        assert!(weights.unused().is_empty());
        let y = forward(&model, &x, &text);
        twin.holds("output", &y);
        let mut inputs = vec![("x", &x)];
        if c.text != TextKind::None {
            inputs.push(("text", &text));
        }
        twin.holds_gradients(&loss(&y), &inputs);
        // Blocks that are run again give the same.
        let y = forward(&model.forgetting(true), &x, &text);
        twin.holds("output", &y);
        twin.holds_gradients(&loss(&y), &inputs);
    }
}

#[test]
fn a_sample_does_not_depend_on_the_others_and_text_beyond_its_length_does_not_count() {
    for name in ["cross", "joint"] {
        let twin = Twin::open(&format!("dit/{name}"));
        let c = config(&twin);
        let model = Dit::new(c.clone(), &twin.packed()).unwrap();
        let x = array(
            "x",
            &[3, c.channels, c.sample_size[0], c.sample_size[1]],
            0.0,
            1.0,
        );
        let text = array("text", &[3, 5, c.text_width], 0.0, 1.0);
        let all = forward(&model, &x, &text);
        for i in 0..3 {
            // Cut to its length, but for a sample without text, which has one state that does not count.
            let own = text
                .narrow(0, i, 1)
                .unwrap()
                .narrow(1, 0, LENGTHS[i].max(1))
                .unwrap();
            let condition = Condition {
                text: Some(TextStates {
                    states: &own,
                    lengths: &LENGTHS[i..=i],
                }),
                classes: None,
            };
            let x = x.narrow(0, i, 1).unwrap();
            let one = model.forward(&x, &TIMES[i..=i], &condition).unwrap();
            let expected = all.narrow(0, i, 1).unwrap();
            let worst = values(&one)
                .iter()
                .zip(values(&expected))
                .fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(worst < 1e-5, "{name}: sample {i} differs by {worst}");
        }
    }
}

#[test]
fn a_new_model_begins_with_nothing() {
    // adaLN-zero: the output is 0 until something is learnt.
    let c = config(&Twin::open("dit/classes"));
    let tensors = c
        .parameters()
        .into_iter()
        .map(|p| {
            let value = match p.init {
                medley_models::parameters::Init::Zeros => 0.0,
                _ => 0.5,
            };
            let count = p.shape.iter().product();
            (p.name, (p.shape, vec![value; count]))
        })
        .collect();
    let model = Dit::new(c.clone(), &Weights::from_tensors(tensors, &Device::Cpu)).unwrap();
    let x = array("x", &[3, c.channels, 8, 12], 0.0, 1.0);
    assert!(values(&forward(&model, &x, &x)).iter().all(|y| *y == 0.0));
}

#[test]
fn what_does_not_fit_is_refused() {
    let twin = Twin::open("dit/cross");
    let c = config(&twin);
    let model = Dit::new(c.clone(), &twin.packed()).unwrap();
    let text = array("text", &[1, 5, c.text_width], 0.0, 1.0);
    let told = |x: &[usize], times: &[f32], text: Option<(&Tensor, &[usize])>, classes| {
        let condition = Condition {
            text: text.map(|(states, lengths)| TextStates { states, lengths }),
            classes,
        };
        let x = array("x", x, 0.0, 1.0);
        match model.forward(&x, times, &condition) {
            Ok(_) => panic!("taken"),
            Err(error) => error.to_string(),
        }
    };
    let right = Some((&text, &[5usize][..]));
    assert!(told(&[1, 3, 7, 8], &[1.0], right, None).contains("multiples of 2"));
    assert!(told(&[1, 4, 8, 8], &[1.0], right, None).contains("3 channels"));
    assert!(told(&[1, 3, 8, 8], &[1.0, 2.0], right, None).contains("2 times"));
    assert!(told(&[1, 3, 8, 8], &[1.0], None, None).contains("without text"));
    assert!(told(&[1, 3, 8, 8], &[1.0], Some((&text, &[6])), None).contains("lengths [6]"));
    assert!(told(&[1, 3, 8, 8], &[1.0], right, Some(&[0][..])).contains("without classes"));
    for (key, value) in [
        ("patch_size", serde_json::json!(5)),
        ("num_attention_heads", serde_json::json!(24)),
        ("text", serde_json::json!("both")),
        ("text_width", serde_json::json!(0)),
        ("hidden_size", serde_json::json!(-3)),
        ("model_type", serde_json::json!("unet")),
    ] {
        let mut json = c.to_json();
        json[key] = value;
        assert!(DitConfig::from_json(&json).is_err(), "{key}");
    }
}

#[test]
fn refined_weights_draw_what_the_coarse_ones_did_in_blocks() {
    let twin = Twin::open("dit/clip");
    let c = config(&twin);
    let finer = c.with_blocks(2);
    let mut weights: Tensors = twin.case.weights().unwrap().into_iter().collect();
    let coarse = Dit::new(
        c.clone(),
        &Weights::from_tensors(weights.clone(), &Device::Cpu),
    )
    .unwrap();
    c.refine(&finer, &mut weights).unwrap();
    let refined = Dit::new(finer.clone(), &Weights::from_tensors(weights, &Device::Cpu)).unwrap();
    let (x, text) = (
        array("x", &samples(&c), 0.0, 1.0),
        array("text", &[3, 5, c.text_width], 0.0, 1.0),
    );
    // Each pixel four times.
    let blocks = |x: &Tensor| {
        let (n, frames) = (x.dim(0).unwrap(), x.dim(2).unwrap());
        x.reshape((n, 3, frames, c.sample_size[0], 1, c.sample_size[1]))
            .unwrap()
            .broadcast_as((n, 3, frames, c.sample_size[0], 2, c.sample_size[1]))
            .unwrap()
            .reshape((n, 3, frames, 2 * c.sample_size[0], c.sample_size[1], 1))
            .unwrap()
            .broadcast_as((n, 3, frames, 2 * c.sample_size[0], c.sample_size[1], 2))
            .unwrap()
            .reshape((n, 3, frames, 2 * c.sample_size[0], 2 * c.sample_size[1]))
            .unwrap()
    };
    let expected = blocks(&forward(&coarse, &x, &text));
    let found = forward(&refined, &blocks(&x), &text);
    check_close(
        "refined",
        &values(&found),
        &values(&expected),
        Tolerance::absolute(1e-5),
    )
    .unwrap();
    assert!(
        finer
            .refine(&c.with_blocks(3), &mut Tensors::new())
            .is_err()
    );
}

#[test]
fn clips_of_one_frame_are_pictures() {
    let twin = Twin::open("dit/clip");
    let c = config(&twin);
    let model = Dit::new(c.clone(), &twin.packed()).unwrap();
    let shape = [3, c.channels, c.sample_size[0], c.sample_size[1]];
    let (x, text) = (
        array("x", &shape, 0.0, 1.0),
        array("text", &[3, 5, c.text_width], 0.0, 1.0),
    );
    // Without what it has for time, this is the model of pictures of the same weights.
    let still = DitConfig {
        frames: 1,
        time: TimeKind::None,
        loops: false,
        ..c
    };
    let weights = twin.case.weights().unwrap();
    let spatial = weights
        .into_iter()
        .filter(|(name, _)| !name.contains("time.") && !name.contains("neighbours"))
        .collect();
    let pictures = Dit::new(still, &Weights::from_tensors(spatial, &Device::Cpu)).unwrap();
    let (a, b) = (forward(&model, &x, &text), forward(&pictures, &x, &text));
    assert_eq!(values(&a), values(&b));
    let clip = array("x", &[3, 3, 4, 8, 12], 0.0, 1.0);
    let condition = Condition {
        text: Some(TextStates {
            states: &text,
            lengths: &LENGTHS,
        }),
        classes: None,
    };
    let told =
        |model: &Dit, known: &[bool]| match model.forward_clips(&clip, &TIMES, known, &condition) {
            Ok(_) => panic!("taken"),
            Err(error) => error.to_string(),
        };
    assert!(told(&pictures, &[]).contains("4 frames; this model takes pictures"));
    assert!(told(&model, &[true; 3]).contains("3 frames known or not in 3 clips of 4"));
}

/// A clip that repeats has no beginning: moved along in time, it is predicted as before.
#[test]
fn loops_begin_anywhere() {
    let twin = Twin::open("dit/clip");
    let c = config(&twin);
    let model = Dit::new(c.clone(), &twin.packed()).unwrap();
    let (x, text) = (
        array("x", &samples(&c), 0.0, 1.0),
        array("text", &[3, 5, c.text_width], 0.0, 1.0),
    );
    let moved = |x: &Tensor| {
        let parts = [x.narrow(2, 1, 3).unwrap(), x.narrow(2, 0, 1).unwrap()];
        Tensor::cat(&parts, 2).unwrap()
    };
    let predict = |x: &Tensor| {
        let condition = Condition {
            text: Some(TextStates {
                states: &text,
                lengths: &LENGTHS,
            }),
            classes: None,
        };
        model.forward_clips(x, &TIMES, &[], &condition).unwrap()
    };
    let (a, b) = (predict(&moved(&x)), moved(&predict(&x)));
    let worst = values(&a)
        .iter()
        .zip(values(&b))
        .fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(worst < 1e-5, "differs by {worst}");
}
