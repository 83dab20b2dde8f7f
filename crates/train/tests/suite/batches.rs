//! Batches of pictures: their numbers, their order, that a run goes on where it stopped, and what a dry run says.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::common::*;
use medley_kernels::pool::set_threads;
use medley_media::{Format, Layout, Limits, Picture};
use medley_train::data::{
    Batch, Crop, Cursor, DataError, Dataset, Loader, LoaderSpec, Report, Side, Split, Transform,
};

#[test]
fn transparency_lies_over_white_and_proportions_are_met() {
    let folder = tempfile::tempdir().unwrap();
    let half: Vec<u8> = [200, 0, 100, 128].repeat(64);
    let half = Picture::new(8, 8, Layout::Rgba, half).unwrap();
    put(folder.path(), "half clear.png", bytes(&half, Format::Png));
    let mut loader = loader(folder.path(), LoaderSpec::new(Transform::new(8, 8), 1, 1));
    let batch = loader.next_batch().unwrap();
    assert_eq!(batch.captions, ["half clear"]);
    for (plane, colour) in batch.pixels.chunks(64).zip([200.0, 0.0, 100.0f32]) {
        let mixed = (colour * 128.0 + 255.0 * 127.0) / 255.0;
        let expected = mixed.round() / 127.5 - 1.0;
        assert!(
            plane.iter().all(|v| (v - expected).abs() < 1e-6),
            "{} {expected}",
            plane[0]
        );
    }

    // Black on the left, white on the right, twice as wide as high.
    let line = [vec![0u8; 16 * 3], vec![255u8; 16 * 3]].concat();
    let wide = Picture::new(32, 16, Layout::Rgb, line.repeat(16)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "two halves.png", bytes(&wide, Format::Png));
    let batch = |crop, flip, seed| -> Vec<f32> {
        let transform = Transform {
            crop,
            flip,
            ..Transform::new(16, 16)
        };
        let mut spec = LoaderSpec::new(transform, 1, 0);
        spec.seed = seed;
        let dataset = Arc::new(Dataset::open(folder.path()).unwrap());
        Loader::new(dataset, spec)
            .unwrap()
            .next_batch()
            .unwrap()
            .pixels
    };
    let dark = |pixels: &[f32]| pixels[..16].iter().filter(|&&v| v < 0.0).count();
    let centre = batch(Crop::Centre, 0.0, Some(1));
    assert_eq!((dark(&centre), centre[0] < 0.0), (8, true));
    let mirrored = batch(Crop::Centre, 1.0, Some(1));
    assert_eq!((dark(&mirrored), mirrored[0] < 0.0), (8, false));
    assert_eq!(
        batch(Crop::Random, 1.0, None),
        centre,
        "nothing is left to chance without a seed"
    );
    let parts: BTreeSet<usize> = (0..60)
        .map(|seed| dark(&batch(Crop::Random, 0.0, Some(seed))))
        .collect();
    assert!(
        parts.len() > 10 && parts.contains(&0) && parts.contains(&16),
        "{parts:?}"
    );
    let whole = batch(Crop::Fit, 0.0, Some(1));
    assert!(
        whole[0] == 1.0 && whole[8 * 16] < 0.0,
        "white above, the picture in the middle"
    );
}

#[test]
fn a_folder_of_broken_pictures_ends_with_one_line() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["red apple.png", "green pear.png", "blue plum.jpg"] {
        put(folder.path(), name, "broken");
    }
    let mut loader = loader(folder.path(), LoaderSpec::new(Transform::new(8, 8), 2, 1));
    let error = loader.next_batch().unwrap_err();
    assert!(
        matches!(error, DataError::AllBad { pictures: 3, .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("no PNG, JPEG, WebP or GIF"),
        "{error}"
    );
    assert!(error.report().hint.is_some());
    let dataset = Dataset::open(folder.path()).unwrap();
    let (report, sheet) = Report::make(
        &dataset,
        Split::default(),
        &Transform::new(8, 8),
        &Limits::default(),
        10,
    )
    .unwrap();
    assert_eq!((report.bad.count, sheet), (3, None));
}

/// Thirty pictures of different colours, every seventh broken, each with two captions.
fn many(dir: &Path) {
    for i in 0..30u8 {
        let name = format!("{i:02}");
        let content = if i % 7 == 3 {
            b"broken".to_vec()
        } else {
            png([i * 8, 255 - i * 8, i])
        };
        put(dir, &format!("{name}.png"), content);
        put(
            dir,
            &format!("{name}.txt"),
            format!("first of {i}\nsecond of {i}\n"),
        );
    }
}

fn random(batch: usize, buffer: usize) -> LoaderSpec {
    let transform = Transform {
        crop: Crop::Random,
        flip: 0.5,
        ..Transform::new(4, 6)
    };
    LoaderSpec {
        buffer,
        ..LoaderSpec::new(transform, batch, 77)
    }
}

#[test]
fn a_run_goes_on_at_the_very_picture() {
    let folder = tempfile::tempdir().unwrap();
    many(folder.path());
    for buffer in [1, 5, 1000] {
        let mut whole = loader(folder.path(), random(7, buffer));
        let batches: Vec<Batch> = (0..12).map(|_| whole.next_batch().unwrap()).collect();
        assert!(batches[11].cursor.epoch >= 2);
        for stop in [0, 1, 4, 9] {
            let mut later = loader(folder.path(), random(7, buffer));
            let kept = serde_json::to_string(&batches[stop].cursor).unwrap();
            later.seek(serde_json::from_str(&kept).unwrap()).unwrap();
            for expected in &batches[stop + 1..] {
                assert_eq!(&later.next_batch().unwrap(), expected);
            }
        }
        let mut ahead = loader(folder.path(), random(7, buffer))
            .prefetch(3)
            .unwrap();
        for expected in &batches {
            assert_eq!(&ahead.next_batch().unwrap(), expected);
        }
        assert_eq!(ahead.bad().count, 4);
    }
    put(folder.path(), "new.png", png([0; 3]));
    put(folder.path(), "new.txt", "one more");
    let mut other = loader(folder.path(), random(7, 5));
    let error = other
        .seek(Cursor {
            epoch: 0,
            position: 7,
            pictures: 30,
        })
        .unwrap_err();
    assert!(
        error.to_string().contains("7 of 30, but now there are 31"),
        "{error}"
    );
}

#[test]
fn threads_change_nothing_and_seeds_everything() {
    let folder = tempfile::tempdir().unwrap();
    many(folder.path());
    let some = |seed: u64, threads: usize| {
        set_threads(threads);
        let mut loader = loader(
            folder.path(),
            LoaderSpec {
                seed: Some(seed),
                ..random(9, 1000)
            },
        );
        let batches: Vec<Batch> = (0..5).map(|_| loader.next_batch().unwrap()).collect();
        set_threads(0);
        batches
    };
    let (one, four, other) = (some(1, 1), some(1, 4), some(2, 1));
    assert_eq!(one, four);
    assert!(one.iter().zip(&other).all(|(a, b)| a != b));
}

#[test]
fn an_epoch_has_every_picture_once_and_both_captions_in_time() {
    let folder = tempfile::tempdir().unwrap();
    many(folder.path());
    let mut loader = loader(folder.path(), random(8, 1000));
    let mut captions = BTreeSet::new();
    for epoch in 0..12 {
        let mut items = Vec::new();
        while let Some(batch) = loader.next_of_epoch(epoch).unwrap() {
            assert!(batch.len() <= 8);
            items.extend(batch.items);
            captions.extend(batch.captions);
        }
        items.sort_unstable();
        let good: Vec<u32> = (0..30).filter(|i| i % 7 != 3).collect();
        assert_eq!(items, good);
    }
    assert_eq!(captions.len(), 2 * 26, "{captions:?}");
    let spec = LoaderSpec {
        seed: None,
        ..random(8, 1000)
    };
    let mut in_order = self::loader(folder.path(), spec);
    let first = in_order.next_batch().unwrap();
    assert_eq!(first.items, [0, 1, 2, 4, 5, 6, 7, 8]);
    assert!(
        first
            .captions
            .iter()
            .all(|caption| caption.starts_with("first"))
    );
}

#[test]
fn groups_stay_on_one_side() {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = String::new();
    for i in 0..200 {
        put(folder.path(), &format!("{i}.png"), png([1, 2, 3]));
        lines += &format!(
            "{{\"file_name\": \"{i}.png\", \"text\": \"x\", \"group\": \"g{}\"}}\n",
            i / 4
        );
    }
    put(folder.path(), "metadata.jsonl", lines);
    let dataset = Dataset::open(folder.path()).unwrap();
    let split = Split::new(0.2).unwrap();
    let side = |side| -> BTreeSet<&str> {
        let chosen = dataset.side(split, side).unwrap();
        chosen
            .iter()
            .map(|&i| dataset.items()[i as usize].group())
            .collect()
    };
    let (train, held) = (side(Side::Train), side(Side::HeldOut));
    assert!(train.is_disjoint(&held));
    assert_eq!(train.len() + held.len(), 50);
    assert!((4..=17).contains(&held.len()), "{}", held.len());
    let error = dataset.side(Split::default(), Side::HeldOut).unwrap_err();
    assert!(matches!(error, DataError::EmptySplit { .. }) && error.hint().is_some());
}

#[test]
fn many_variants_do_not_crowd_out_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = String::new();
    for i in 0..24 {
        put(folder.path(), &format!("{i}.png"), png([1, 2, 3]));
        // Twenty of one group, and two each of two others.
        let group = if i < 20 { 0 } else { i / 2 };
        lines += &format!("{{\"file_name\": \"{i}.png\", \"text\": \"x\", \"group\": {group}}}\n");
    }
    put(folder.path(), "metadata.jsonl", lines);
    let spec = LoaderSpec {
        per_group: Some(3),
        ..random(5, 1000)
    };
    let mut some = loader(folder.path(), spec);
    assert_eq!(some.pictures(), 7);
    let mut seen = BTreeSet::new();
    let mut cursor = some.cursor();
    let mut last = Vec::new();
    for epoch in 0..60 {
        let mut items = BTreeSet::new();
        while let Some(batch) = some.next_of_epoch(epoch).unwrap() {
            items.extend(batch.items);
            (last, cursor) = (items.iter().copied().collect(), batch.cursor);
        }
        assert_eq!(items.len(), 7, "none comes twice");
        assert_eq!(items.range(20..).count(), 4);
        seen.extend(items);
    }
    assert_eq!(seen.len(), 24, "in time all come");
    let mut later = loader(folder.path(), spec);
    later.seek(cursor).unwrap();
    assert_eq!(later.next_batch().unwrap(), some.next_batch().unwrap());
    assert_eq!(last.len(), 7);
    assert!(
        Loader::new(
            Arc::new(Dataset::open(folder.path()).unwrap()),
            LoaderSpec {
                per_group: Some(0),
                ..spec
            }
        )
        .is_err()
    );
}

#[test]
fn what_a_dry_run_says() {
    let folder = tempfile::tempdir().unwrap();
    many(folder.path());
    put(
        folder.path(),
        "wide.png",
        bytes(&plain(40, 20, [1, 2, 3]), Format::Png),
    );
    put(folder.path(), "wide.txt", "a wide one");
    let dataset = Dataset::open(folder.path()).unwrap();
    let split = Split::new(0.3).unwrap();
    let transform = Transform::new(16, 16);
    let (report, sheet) =
        Report::make(&dataset, split, &transform, &Limits::default(), 1000).unwrap();
    assert_eq!(
        (report.pictures, report.groups, report.captions),
        (31, 31, 61)
    );
    assert_eq!(report.train + report.held_out, 31);
    assert_eq!(
        (report.captions_each.least, report.captions_each.most),
        (1, 2)
    );
    assert_eq!((report.words.least, report.words.most), (3, 3));
    assert_eq!(
        (report.looked_at, report.bad.count, report.enlarged),
        (31, 4, 26)
    );
    assert_eq!(report.formats["png"], 27);
    assert_eq!(
        (report.width.least, report.width.median, report.width.most),
        (8, 8, 40)
    );
    assert_eq!((report.shapes[0].width, report.shapes[0].pictures), (8, 26));
    assert_eq!(report.examples.len(), 8);
    let sheet = sheet.unwrap();
    assert_eq!((sheet.width(), sheet.height()), (8 * 100 - 4, 4 * 100 - 4));
    let text = report.to_string();
    assert!(
        text.contains("31 pictures") && text.contains("4 cannot be used"),
        "{text}"
    );
    let (few, _) = Report::make(&dataset, split, &transform, &Limits::default(), 5).unwrap();
    assert_eq!(few.looked_at, 5);
}
