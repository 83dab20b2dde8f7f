//! Training of a small scorer on pictures, and what the trained one says.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use crate::common::{bytes, put};
use medley_media::{Format, Layout, Picture};
use medley_nn::{Device, Tensor, Var};
use medley_train::data::{Dataset, Transform};
use medley_train::fidelity::retrieve;
use medley_train::run::{find_checkpoint, run};
use medley_train::scorer::{Perceptual, Scorer, ScorerSettings, prepare};
use medley_train::{Event, RunEnd, RunSettings};

const COLOURS: [(&str, [u8; 3]); 8] = [
    ("red", [230, 30, 30]),
    ("green", [20, 190, 40]),
    ("blue", [30, 40, 220]),
    ("grey", [120, 120, 120]),
    ("yellow", [240, 220, 20]),
    ("black", [0, 0, 0]),
    ("pink", [250, 120, 200]),
    ("cyan", [10, 220, 230]),
];
const PLACES: [(&str, usize, usize); 4] = [
    ("left", 4, 8),
    ("right", 12, 8),
    ("top", 8, 4),
    ("bottom", 8, 12),
];

/// A disc of a colour at a place, 16 × 16 on white.
fn disc(colour: [u8; 3], (cx, cy): (usize, usize)) -> Picture {
    let inside = |i: usize| (i % 16).abs_diff(cx).pow(2) + (i / 16).abs_diff(cy).pow(2) < 12;
    let pixels = (0..256).flat_map(|i| if inside(i) { colour } else { [255; 3] });
    Picture::new(16, 16, Layout::Rgb, pixels.collect()).unwrap()
}

fn pictures(folder: &Path) {
    for (colour, rgb) in COLOURS {
        for (place, x, y) in PLACES {
            let name = format!("{colour}-{place}");
            let file = bytes(&disc(rgb, (x, y)), Format::Png);
            put(folder, &format!("{name}.png"), file);
            let captions = format!("a {colour} disc, {place}\nDisc in {colour} at the {place}\n");
            put(folder, &format!("{name}.txt"), captions);
        }
    }
}

fn settings() -> ScorerSettings {
    ScorerSettings {
        transform: Transform::new(16, 16),
        widths: vec![8, 16, 32],
        blocks: vec![0, 1, 1],
        vocab: 300,
        text_tokens: 16,
        text_width: 32,
        text_layers: 1,
        embed: 16,
        steps: 150,
        batch: 16,
        rate: 5e-3,
        warm_up: 5,
        weight_decay: 0.01,
        clip: 1.0,
        ema: Some(0.8),
        bf16: false,
        hold_out: 0.2,
        per_group: None,
        shuffle: 100,
        augment: 0.3,
        seed: 3,
    }
}

fn train(
    data: &Path,
    out: &Path,
    settings: &ScorerSettings,
    stop: Option<u64>,
) -> (Vec<f64>, RunEnd) {
    let checkpoint = find_checkpoint(out).unwrap();
    let dataset = Arc::new(Dataset::open(data).unwrap());
    let (mut task, mut trainer, plan) =
        prepare(settings, dataset, out, checkpoint.is_some()).unwrap();
    assert!(plan.parameters > 10_000 && plan.memory > 4 * plan.parameters);
    assert!(
        plan.held_out > 2 && plan.pictures + plan.held_out == 32,
        "{plan:?}"
    );
    let run_settings = RunSettings {
        steps: settings.steps,
        out: out.to_owned(),
        evaluate_every: 50,
        sample_every: 75,
        save_every: 0,
    };
    let (mut losses, made) = (Vec::new(), Cell::new(0));
    let end = run(
        &mut task,
        &mut trainer,
        &run_settings,
        checkpoint.as_ref(),
        &|| stop.is_some_and(|stop| made.get() >= stop),
        &mut |event| match event {
            Event::Step { report, .. } => {
                losses.push(report.loss);
                made.set(made.get() + 1);
            }
            Event::Sample(line) => assert!(line.to_lowercase().contains("disc"), "{line}"),
            _ => {}
        },
    );
    (losses, end.unwrap())
}

#[test]
fn it_learns_to_tell_apart_what_it_has_never_seen_and_goes_on_where_it_stopped() {
    let data = tempfile::tempdir().unwrap();
    pictures(data.path());
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (expected, end) = train(data.path(), whole.path(), &settings(), None);
    let names: Vec<&str> = end.evaluation.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "caption_top_1",
            "caption_top_5",
            "picture_top_1",
            "picture_top_5"
        ]
    );
    // New pairs of colours and places that it knows; one in six or so would be found by chance.
    let found = end.evaluation[0].1.min(end.evaluation[2].1);
    assert!(found > 0.6, "{:?}", end.evaluation);
    let (mut found, end) = train(data.path(), parts.path(), &settings(), Some(61));
    assert!(end.cancelled);
    found.extend(train(data.path(), parts.path(), &settings(), None).0);
    assert_eq!(found, expected);
    let read = |folder: &Path, name: &str| std::fs::read(folder.join(name)).unwrap();
    for name in ["model.safetensors", "config.json", "tokenizer.json"] {
        assert_eq!(read(whole.path(), name), read(parts.path(), name), "{name}");
    }
    says_what_pictures_show(whole.path());
    tells_how_different_pictures_look(whole.path());
}

fn says_what_pictures_show(folder: &Path) {
    let scorer = Scorer::open(folder).unwrap();
    assert_eq!(scorer.size(), [16, 16]);
    assert!(scorer.scale().unwrap() > 1.0);
    let all: Vec<(String, Picture)> = COLOURS
        .iter()
        .flat_map(|&(colour, rgb)| {
            PLACES.map(|(place, x, y)| (format!("{colour} {place}"), disc(rgb, (x, y))))
        })
        .collect();
    let captions: Vec<&str> = all.iter().map(|(caption, _)| caption.as_str()).collect();
    // Larger ones are brought to its size.
    let drawn: Vec<Picture> = all
        .iter()
        .map(|(_, p)| p.resize(48, 48, Default::default()).unwrap())
        .collect();
    let seen = scorer.look(&drawn).unwrap();
    assert_eq!((seen.pooled_dim, seen.embed_dim), (32, 16));
    assert_eq!(seen.pooled.len(), 32 * 32);
    let read = scorer.read(&captions).unwrap();
    let found = retrieve(&seen.embedded, &read, 16, &captions);
    assert!(found.top_1 > 0.8, "{found:?}");
    let length: f32 = read[..16].iter().map(|x| x * x).sum();
    assert!((length - 1.0).abs() < 1e-4, "{length}");
    std::fs::remove_file(folder.join("tokenizer.json")).unwrap();
    assert!(Scorer::open(folder).is_err());
    assert!(Scorer::open(&folder.join("nothing")).is_err());
}

fn tells_how_different_pictures_look(folder: &Path) {
    let measure = Perceptual::open(folder).unwrap();
    let tensor = |picture: &Picture| {
        Tensor::from_vec(picture.to_planes(), (1, 3, 16, 16), &Device::Cpu).unwrap()
    };
    let [red, moved, blue] = [
        disc([230, 30, 30], (4, 8)),
        disc([230, 30, 30], (5, 8)),
        disc([30, 40, 220], (12, 8)),
    ]
    .map(|p| tensor(&p));
    let value =
        |x: &Tensor, y: &Tensor| -> f32 { measure.distance(x, y).unwrap().to_scalar().unwrap() };
    assert!(value(&red, &red).abs() < 1e-6);
    let (near, far) = (value(&red, &moved), value(&red, &blue));
    assert!(near > 1e-3 && far > 1.5 * near, "{near} {far}");
    // The gradient at some pixels, by differences.
    let x = Var::from_tensor(&moved).unwrap();
    let loss = measure.distance(&x, &red).unwrap();
    let gradients = loss.backward().unwrap();
    let gradient: Vec<f32> = gradients
        .get(&x)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap();
    let plain: Vec<f32> = moved.flatten_all().unwrap().to_vec1().unwrap();
    let norm = gradient.iter().map(|g| g * g).sum::<f32>().sqrt();
    assert!(norm > 1e-4, "{norm}");
    // Along the gradient the distance changes by its length.
    let step = 1e-2 / norm;
    let at = |sign: f32| {
        let moved = plain
            .iter()
            .zip(&gradient)
            .map(|(x, g)| x + sign * step * g);
        let moved = Tensor::from_vec(moved.collect::<Vec<_>>(), (1, 3, 16, 16), &Device::Cpu);
        value(&moved.unwrap(), &red)
    };
    let slope = (at(1.0) - at(-1.0)) / (2.0 * step * norm);
    assert!((slope - norm).abs() < 0.03 * norm, "{slope} {norm}");
    assert!(
        measure
            .distance(&x, &tensor(&disc([0; 3], (1, 1))).narrow(3, 0, 8).unwrap())
            .is_err()
    );
}

#[test]
fn what_no_run_can_be_is_refused_in_one_line() {
    let data = tempfile::tempdir().unwrap();
    pictures(data.path());
    let refused = |change: &dyn Fn(&mut ScorerSettings)| {
        let mut settings = settings();
        change(&mut settings);
        let out = tempfile::tempdir().unwrap();
        let dataset = Arc::new(Dataset::open(data.path()).unwrap());
        let error = match prepare(&settings, dataset, out.path(), false) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("it was taken"),
        };
        assert!(!error.contains('\n'), "{error}");
        error
    };
    assert!(refused(&|s| s.batch = 1).contains("at least 2"));
    assert!(refused(&|s| s.rate = 0.0).contains("learning rate"));
    assert!(refused(&|s| s.hold_out = 1.0).contains("held-out"));
    assert!(refused(&|s| s.augment = 9.0).contains("changed"));
    assert!(refused(&|s| s.vocab = 10).contains("vocabulary"));
    assert!(refused(&|s| s.widths = vec![8, 12, 16]).contains("norm_groups"));
    assert!(refused(&|s| s.blocks = vec![1, 1]).contains("image_blocks"));
}
