//! Parquet tables of pictures and of texts, as pyarrow writes them (golden/table/make.py).

use std::path::{Path, PathBuf};

use crate::common::{bad, loader, names, put};
use medley_train::data::{DataError, Dataset, Kind, LoaderSpec, Transform};
use medley_train::text::data::{Document, TextSource};

fn file(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/table");
    root.join(name)
}

fn spec(batch: usize) -> LoaderSpec {
    LoaderSpec {
        seed: None,
        ..LoaderSpec::new(Transform::new(4, 4), batch, 0)
    }
}

#[test]
fn pictures_are_read_from_structs_of_bytes_and_path() {
    let dataset = Dataset::open(&file("pictures.parquet")).unwrap();
    assert_eq!(dataset.kind(), Kind::Rows);
    let expected: Vec<String> = (0..6).map(|i| format!("pictures.parquet#{i}")).collect();
    assert_eq!(names(&dataset), expected);
    let mut loader = loader(&file("pictures.parquet"), spec(6));
    let batch = loader.next_of_epoch(0).unwrap().unwrap();
    // The fifth row has no picture in it.
    let colours = ["red", "green", "blue", "yellow", "magenta"];
    let captions: Vec<String> = colours.iter().map(|c| format!("a {c} square")).collect();
    assert_eq!(batch.captions, captions);
    for (at, rgb) in [
        (0, [1.0, -1.0, -1.0]),
        (1, [-1.0, 1.0, -1.0]),
        (3, [1.0, 1.0, -1.0]),
        (4, [1.0, -1.0, 1.0]),
    ] {
        let planes: Vec<f32> = rgb.iter().flat_map(|&c| [c; 16]).collect();
        assert_eq!(&batch.pixels[at * 48..][..48], planes, "{at}");
    }
    let bad = bad(&loader.bad());
    assert_eq!(bad.len(), 1);
    assert!(bad["pictures.parquet#4"].contains("no picture"), "{bad:?}");
}

#[test]
fn pictures_are_read_from_plain_bytes_with_lists_of_captions_and_groups() {
    let folder = tempfile::tempdir().unwrap();
    put(
        folder.path(),
        "b/one.parquet",
        std::fs::read(file("plain.parquet")).unwrap(),
    );
    put(
        folder.path(),
        "a.parquet",
        std::fs::read(file("pictures.parquet")).unwrap(),
    );
    let dataset = Dataset::open(folder.path()).unwrap();
    assert_eq!(dataset.items().len(), 6 + 2);
    let last = &dataset.items()[7];
    assert_eq!((last.name(), last.group()), ("one.parquet#2", "a"));
    let captions: Vec<&str> = dataset.items()[6].captions().collect();
    assert_eq!(captions, ["red", "rot"]);
    assert!(bad(dataset.bad())["one.parquet#1"].contains("nothing is said"));
    // Shuffled over row groups and files, each comes with its own caption.
    let shuffled = LoaderSpec::new(Transform::new(4, 4), 7, 3);
    let batch = loader(folder.path(), shuffled)
        .next_of_epoch(0)
        .unwrap()
        .unwrap();
    assert_eq!(batch.len(), 7);
    for (planes, caption) in batch.pixels.chunks_exact(48).zip(&batch.captions) {
        let red = caption.contains("r") && (caption.contains("red") || caption.contains("rot"));
        let is_red = planes[0] == 1.0 && planes[16] == -1.0 && planes[32] == -1.0;
        assert_eq!(red, is_red, "{caption}");
    }
}

#[test]
fn tables_that_cannot_be_used_are_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(file("pictures.parquet")).unwrap();
    let refused = |name: &str, bytes: &[u8]| {
        put(folder.path(), name, bytes);
        let error = Dataset::open(&folder.path().join(name)).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains(name) && !message.contains('\n'),
            "{message}"
        );
        message
    };
    assert!(refused("no.parquet", b"PAR1 this is none").contains("no Parquet table"));
    assert!(refused("cut.parquet", &whole[..whole.len() - 9]).contains("no Parquet table"));
    let texts = std::fs::read(file("texts.parquet")).unwrap();
    assert!(
        refused("texts.parquet", &texts).contains("no column holds pictures; there are id, text")
    );
    // A compression that takes a C library.
    let zstd = std::fs::read(file("zstd.parquet")).unwrap();
    let message = refused("zstd.parquet", &zstd);
    assert!(message.to_lowercase().contains("zstd"), "{message}");
}

#[test]
fn damage_anywhere_ends_in_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(file("pictures.parquet")).unwrap();
    let path = folder.path().join("x.parquet");
    let (mut opened, mut read) = (0, 0);
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x5a;
        std::fs::write(&path, &bytes).unwrap();
        match Dataset::open(&path) {
            Ok(dataset) => {
                opened += 1;
                let limits = Default::default();
                let each = dataset.items().iter();
                read += each
                    .filter(|item| dataset.picture(item, &limits).is_ok())
                    .count();
            }
            Err(error) => {
                assert!(!error.to_string().contains('\n'), "{error}");
                assert!(
                    matches!(error, DataError::List { .. } | DataError::AllBad { .. }),
                    "{error:?}"
                );
            }
        }
    }
    // Some damage lies where nobody looks, some does not.
    assert!(
        opened > 0 && opened < whole.len() && read > 0,
        "{opened} {read}"
    );
}

#[test]
fn texts_and_chats_are_read_by_rows() {
    let folder = tempfile::tempdir().unwrap();
    put(
        folder.path(),
        "a.parquet",
        std::fs::read(file("texts.parquet")).unwrap(),
    );
    put(
        folder.path(),
        "b.parquet",
        std::fs::read(file("chats.parquet")).unwrap(),
    );
    put(
        folder.path(),
        "c.parquet",
        std::fs::read(file("plain.parquet")).unwrap(),
    );
    put(folder.path(), "d.txt", "a text");
    let mut source = TextSource::open(folder.path()).unwrap();
    assert_eq!(source.len(), 5 + 3 + 1);
    let kinds = source.kinds();
    assert_eq!((kinds.files, kinds.lists, kinds.lines), (1, 2, 8));
    assert!(kinds.bytes > 200, "{kinds:?}");
    let text = |document: Option<Document>| match document {
        Some(Document::Text(text)) => text,
        other => panic!("{other:?}"),
    };
    // In any order.
    assert_eq!(text(source.read(4)), "one");
    assert_eq!(text(source.read(1)), "zwei und größer");
    assert_eq!(source.read(2), None);
    assert_eq!(text(source.read(3)), "four ".repeat(40));
    assert!(
        matches!(source.read(5), Some(Document::Chat(m)) if m.len() == 2 && m[1]["content"] == "ho")
    );
    assert_eq!(source.read(6), None);
    assert!(matches!(source.read(7), Some(Document::Chat(m)) if m.len() == 4));
    let bad = source.bad();
    let all = bad.names().join("\n");
    for part in [
        "a.parquet, row 2 of group 0",
        "b.parquet, row 1",
        "c.parquet: a table has",
    ] {
        assert!(all.contains(part), "{all}");
    }
    assert_eq!(bad.count(), 3, "{all}");
}
