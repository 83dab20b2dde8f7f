//! Generators whose quality is known, measured by a scorer that was trained for a moment.
#![cfg(feature = "generators")]

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use medley_engine::fidelity::{Fidelity, FidelitySettings, measure};
use medley_engine::image::{ImageConfig, ImageGenerator, ImageInputs, Images, Speed};
use medley_engine::train::RunSettings;
use medley_engine::train::data::{Dataset, Transform};
use medley_engine::train::run::run;
use medley_engine::train::scorer::{Scorer, ScorerSettings, prepare};
use medley_engine::{CancelToken, PipelineError, Run};
use medley_media::{Format, Layout, Origin, Picture, encode};
use medley_types::{ImagePlan, ImageRequest, ImageTimings, ImageWork};
use serde_json::json;

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

/// Discs, and the picture of each caption.
fn discs(folder: &Path) -> HashMap<String, Picture> {
    let mut known = HashMap::new();
    for (colour, rgb) in COLOURS {
        for (place, cx, cy) in PLACES {
            let inside =
                |i: usize| (i % 16).abs_diff(cx).pow(2) + (i / 16).abs_diff(cy).pow(2) < 12;
            let pixels = (0..256).flat_map(|i| if inside(i) { rgb } else { [255; 3] });
            let picture = Picture::new(16, 16, Layout::Rgb, pixels.collect()).unwrap();
            let file = encode(&picture, Format::Png, Origin::Collected).unwrap();
            std::fs::write(folder.join(format!("{colour} {place}.png")), file).unwrap();
            known.insert(format!("{colour} {place}"), picture);
        }
    }
    known
}

fn scorer(data: &Path, out: &Path) -> Scorer {
    let settings = ScorerSettings {
        transform: Transform::new(16, 16),
        widths: vec![8, 16],
        blocks: vec![0, 1],
        vocab: 300,
        text_tokens: 16,
        text_width: 32,
        text_layers: 1,
        embed: 16,
        steps: 80,
        batch: 16,
        rate: 5e-3,
        warm_up: 5,
        weight_decay: 0.01,
        clip: 1.0,
        ema: None,
        bf16: false,
        hold_out: 0.0,
        per_group: None,
        shuffle: 100,
        augment: 0.2,
        seed: 3,
    };
    let dataset = Arc::new(Dataset::open(data).unwrap());
    let (mut task, mut trainer, _) = prepare(&settings, dataset, out, false).unwrap();
    let run_settings = RunSettings {
        steps: settings.steps,
        out: out.to_owned(),
        evaluate_every: 0,
        sample_every: 0,
        save_every: 0,
    };
    run(
        &mut task,
        &mut trainer,
        &run_settings,
        None,
        &|| false,
        &mut |_| {},
    )
    .unwrap();
    Scorer::open(out).unwrap()
}

/// Draws what the function says.
struct Known<F>(ImageConfig, F);

impl<F: Fn(&ImageRequest) -> Picture + Send + Sync> ImageGenerator for Known<F> {
    fn config(&self) -> &ImageConfig {
        &self.0
    }

    fn plan(&self, _: &ImageRequest, _: &Speed) -> ImagePlan {
        ImagePlan::default()
    }

    fn generate(
        &self,
        request: &ImageRequest,
        _: &ImageInputs,
        run: &mut Run,
    ) -> Result<Images, PipelineError> {
        run.check()?;
        Ok(Images {
            pictures: vec![(self.1)(request)],
            work: ImageWork {
                width: 16,
                height: 16,
                seeds: vec![request.seed],
                evaluations: 0,
                timings: ImageTimings::default(),
            },
        })
    }
}

fn config(reads: bool) -> ImageConfig {
    let mut json = json!({ "medium": "image", "architecture": "dcgan", "size": [16, 16] });
    if reads {
        json = json!({
            "medium": "image", "architecture": "dit", "size": [16, 16], "prediction": "flow",
            "text_encoder": "encoder", "text_tokens": 16,
        });
    }
    ImageConfig::from_json(json).unwrap()
}

fn noise(request: &ImageRequest) -> Picture {
    let byte = |i: u64| ((request.seed * 7919 + i).wrapping_mul(2_654_435_761) >> 13) as u8;
    Picture::new(16, 16, Layout::Rgb, (0..768).map(byte).collect()).unwrap()
}

#[test]
fn good_generators_are_told_from_bad_ones_and_copies_are_found() {
    let data = tempfile::tempdir().unwrap();
    let known = discs(data.path());
    let out = tempfile::tempdir().unwrap();
    let scorer = scorer(data.path(), out.path());
    let dataset = Arc::new(Dataset::open(data.path()).unwrap());
    let settings = FidelitySettings {
        count: 12,
        seed: 5,
        hold_out: 0.25,
    };
    let cancel = CancelToken::default();
    let of = |generator: &dyn ImageGenerator| -> Result<(Fidelity, Picture), String> {
        let request = ImageRequest::default();
        let mut last = (0, 0);
        let mut progress = |done, total| last = (done, total);
        let found = measure(
            generator,
            &request,
            &dataset,
            &scorer,
            &settings,
            &cancel,
            &mut progress,
        );
        let found = found.map_err(|e| e.to_string())?;
        assert_eq!(last.0, last.1);
        Ok(found)
    };
    let copier = Known(config(true), |r: &ImageRequest| known[&r.prompt].clone());
    let (good, sheet) = of(&copier).unwrap();
    let (bad, _) = of(&Known(config(true), noise)).unwrap();
    let row = |found: &Fidelity, name: &str| {
        let row = found.rows.iter().find(|row| row.name == name);
        row.unwrap_or_else(|| panic!("{name}: {:?}", found.rows))
            .clone()
    };
    let training = |found: &Fidelity| row(found, "drawn of training captions");
    let (best, worst) = (training(&good), training(&bad));
    assert!(
        best.frechet.unwrap() < 0.2 * worst.frechet.unwrap(),
        "{best:?} {worst:?}"
    );
    assert!(
        best.kernel.unwrap() < 0.2 * worst.kernel.unwrap(),
        "{best:?} {worst:?}"
    );
    let captions = |row: &medley_engine::fidelity::Row| row.captions.unwrap();
    assert!(captions(&best).top_1 > 0.7 && captions(&worst).top_1 < 0.4);
    assert!(captions(&best).similarity > captions(&worst).similarity + 20.0);
    let shuffled = row(&good, "drawn of training captions, captions shuffled");
    assert!(captions(&shuffled).top_1 < 0.3, "{shuffled:?}");
    let real = row(&good, "training pictures, half against half");
    assert!(captions(&real).top_1 > 0.7, "{real:?}");
    // What was drawn of training captions is there bit for bit; noise is nothing's copy.
    assert_eq!(good.copies.drawn.pixels.least, 0.0);
    assert!(good.copies.nearer_by_pixels > 0.4, "{:?}", good.copies);
    assert_eq!(bad.copies.nearer_by_pixels, 0.0);
    assert!(bad.copies.drawn.pixels.least > 0.5, "{:?}", bad.copies);
    assert!(sheet.width() > 700 && sheet.height() > 100);
    // The same again, to the bit.
    assert_eq!(of(&copier).unwrap().0, good);
    // Without prompts nothing is said of captions.
    let (mute, _) = of(&Known(config(false), noise)).unwrap();
    let row = row(&mute, "drawn, against held-out pictures");
    assert!(row.captions.is_none() && row.frechet.is_some());
    cancel.cancel();
    assert!(of(&copier).is_err());
}
