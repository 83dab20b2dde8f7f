//! Training of a small decoder on tunes, as the command line runs it.

use crate::common::learn;
use std::path::Path;

use medley_train::RunSettings;
use medley_train::music::{MusicSettings, TuneSource, measure, prepare};
use medley_train::run::find_checkpoint;
use medley_train::text::DecoderShape;

/// Tunes of bars that climb or fall, each tune in an order of its own.
fn tunes(folder: &Path) {
    let mut text = String::new();
    for n in 0..40 {
        let bar = |bit: u32| {
            if n >> bit & 1 == 0 {
                "GABc d2B2|"
            } else {
                "gfed c2A2|"
            }
        };
        let bars: String = (0..7).map(|bit| bar(bit % 6)).collect();
        let head = format!("X:{n}\nT:Tune {n}\nR:reel\nM:4/4\nL:1/8\nK:G\n");
        text += &format!("{head}|:{bars}G8:|\n\n");
    }
    text += "X:99\nT:no key\n\n";
    std::fs::write(folder.join("tunes.abc"), text).unwrap();
}

fn settings(steps: u64) -> MusicSettings {
    MusicSettings {
        shape: DecoderShape {
            vocab: 1,
            hidden: 32,
            intermediate: 64,
            layers: 2,
            heads: 2,
            kv_heads: 2,
            context: 96,
            tied: true,
        },
        steps,
        batch: 4,
        length: 64,
        rate: 5e-3,
        warm_up: 5,
        weight_decay: 0.1,
        ema: None,
        bf16: false,
        hold_out: 0.2,
        seed: 7,
    }
}

fn train(data: &Path, out: &Path, stop: Option<u64>) -> Vec<f64> {
    let checkpoint = find_checkpoint(out).unwrap();
    let (mut task, mut trainer, plan) = prepare(&settings(40), data).unwrap();
    assert!(
        plan.held_out > 0 && plan.tunes > 20 && plan.left_out == 1,
        "{plan:?}"
    );
    let run_settings = RunSettings {
        steps: 40,
        out: out.to_owned(),
        evaluate_every: 20,
        sample_every: 40,
        save_every: 7,
    };
    let (losses, end) = learn(
        &mut task,
        &mut trainer,
        &run_settings,
        checkpoint.as_ref(),
        stop,
    );
    end.unwrap();
    losses
}

#[test]
fn a_run_learns_and_goes_on_where_it_stopped() {
    let data = tempfile::tempdir().unwrap();
    tunes(data.path());
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = train(data.path(), whole.path(), None);
    assert!(expected[39] < 0.5 * expected[0], "{expected:?}");
    let mut found = train(data.path(), parts.path(), Some(13));
    found.extend(train(data.path(), parts.path(), None));
    assert_eq!(found, expected);
    let lines = medley_train::metrics::read(whole.path()).unwrap();
    assert!(lines.iter().any(|l| l["bits_per_note"].is_f64()));
    let written = std::fs::read(whole.path().join("samples/step-40.abc")).unwrap();
    let tune = medley_media::abc::read(&written).unwrap();
    let card = measure(whole.path(), data.path(), 0.2, 64, &[tune]).unwrap();
    assert!(card.model > 0.0 && card.trigram > 0.0 && card.written.tunes == 1);
    assert_eq!(card.written.valid_bars, 1.0);
}

#[test]
fn both_sides_of_the_split_have_no_tune_in_common() {
    let data = tempfile::tempdir().unwrap();
    tunes(data.path());
    let source = TuneSource::open(data.path()).unwrap();
    let (train, held) = source.split(0.2).unwrap();
    for &i in &held {
        assert!(
            train
                .iter()
                .all(|&t| source.pieces[t].group != source.pieces[i].group)
        );
    }
    let piece = &source.pieces[0];
    let own = piece.tokens();
    let moved: Vec<Vec<u32>> = (0..20).map(|n| piece.transposed(1, 0, n)).collect();
    assert!(moved.iter().any(|m| *m != own) && moved.iter().all(|m| m.len() == own.len()));
    let empty = tempfile::tempdir().unwrap();
    let error = TuneSource::open(empty.path()).unwrap_err().to_string();
    assert!(error.contains("no tunes"), "{error}");
}
