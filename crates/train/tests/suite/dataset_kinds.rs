//! Every kind of dataset, and what may be broken in each: nothing but one clear line comes of it.

use crate::common::*;
use medley_media::Format;
use medley_train::data::{DataError, Dataset, Kind, LoaderSpec, Transform};

/// A PNG whose header claims more pixels than anyone has memory for.
fn hostile_png() -> Vec<u8> {
    let mut png = png([0; 3]);
    png[16..20].copy_from_slice(&60_000u32.to_be_bytes());
    png[20..24].copy_from_slice(&60_000u32.to_be_bytes());
    // The header's checksum is right, so that nothing but its size is wrong.
    let crc = png[12..29].iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 * (crc & 1))
        })
    });
    png[29..33].copy_from_slice(&(!crc).to_be_bytes());
    png
}

#[test]
fn sidecars_with_several_captions_and_broken_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    put(dir, "apple.png", png([255, 0, 0]));
    put(
        dir,
        "apple.txt",
        "\u{feff}a red apple\n\n  an apple, red  \r\n",
    );
    put(
        dir,
        "deep/pear.webp",
        bytes(&plain(8, 8, [0, 255, 0]), Format::WebP),
    );
    put(dir, "deep/pear.caption", "a pear");
    put(dir, "alone.png", png([0; 3]));
    put(dir, "silent.png", png([0; 3]));
    put(dir, "silent.txt", "\n \n");
    put(dir, "latin.png", png([0; 3]));
    put(dir, "latin.txt", b"caf\xe9");
    put(dir, "old.bmp", b"BM");
    put(dir, ".hidden.png", png([0; 3]));
    let jpeg = bytes(&plain(64, 64, [9, 99, 199]), Format::Jpeg);
    for (name, content) in [
        ("cut.jpg", &jpeg[..jpeg.len() / 2]),
        ("empty.png", b"".as_slice()),
        ("text.png", b"I am no picture"),
        ("huge.png", &hostile_png()),
    ] {
        put(dir, name, content);
        put(
            dir,
            &format!("{}.txt", name.split_once('.').unwrap().0),
            "something",
        );
    }
    let dataset = Dataset::open(dir).unwrap();
    assert_eq!(dataset.kind(), Kind::Sidecars);
    assert_eq!(
        names(&dataset),
        [
            "apple.png",
            "cut.jpg",
            "deep/pear.webp",
            "empty.png",
            "huge.png",
            "text.png"
        ]
    );
    let captions: Vec<_> = dataset.items()[0].captions().collect();
    assert_eq!(captions, ["a red apple", "an apple, red"]);
    let index = bad(dataset.bad());
    assert_eq!(dataset.bad().count, 4);
    for (name, reason) in [
        ("alone.png", "no .txt or .caption lies beside it"),
        ("silent.png", "its caption file is empty"),
        ("latin.png", "its caption is no UTF-8 text"),
        ("old.bmp", ".bmp pictures are not read; make it PNG or JPEG"),
    ] {
        assert_eq!(index[name], reason);
    }

    let mut loader = loader(dir, LoaderSpec::new(Transform::new(4, 2), 5, 1));
    let batch = loader.next_batch().unwrap();
    assert_eq!(batch.shape(), [5, 3, 2, 4]);
    assert_eq!(batch.pixels.len(), 5 * 24);
    for (pixels, caption) in batch.pixels.chunks(24).zip(&batch.captions) {
        let expected = match caption.as_str() {
            "a red apple" | "an apple, red" => [1.0, -1.0, -1.0],
            "a pear" => [-1.0, 1.0, -1.0],
            other => panic!("{other} was read"),
        };
        for (plane, value) in pixels.chunks(8).zip(expected) {
            assert!(plane.iter().all(|&v| v == value), "{caption}: {plane:?}");
        }
    }
    let skipped = loader.bad();
    assert_eq!(skipped.count, 4, "each once, however often its turn comes");
    let skipped = bad(&skipped);
    assert!(skipped["cut.jpg"].contains("ends too early"), "{skipped:?}");
    assert!(
        skipped["empty.png"].contains("no PNG, JPEG, WebP or GIF"),
        "{skipped:?}"
    );
    assert!(
        skipped["text.png"].contains("no PNG, JPEG, WebP or GIF"),
        "{skipped:?}"
    );
    assert!(skipped["huge.png"].contains("60000x60000"), "{skipped:?}");
}

#[test]
fn lists_of_json_lines() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    for name in ["a.png", "b.png", "c.png"] {
        put(dir, name, png([1, 2, 3]));
    }
    let long = format!(
        "{{\"file_name\": \"a.png\", \"text\": \"{}\"}}\n",
        "x".repeat(2 << 20)
    );
    let lines = [
        "{\"file_name\": \"a.png\", \"text\": [\"one\", \" \", \"two\"], \"group\": \"g\"}\n",
        "\n",
        "{\"file\": \"./b.png\", \"caption\": \" three \", \"group\": 7, \"other\": null}\r\n",
        &long,
        "{\"file_name\": \"../a.png\", \"text\": \"out\"}\n",
        "{\"file_name\": \"/etc/hostname\", \"text\": \"out\"}\n",
        "{\"file_name\": \"missing.png\", \"text\": \"gone\"}\n",
        "{\"file_name\": \"c.png\"}\n",
        "{\"text\": \"of nothing\"}\n",
        "[1, 2]\n",
        "{\"file_name\": \"c.png\", \"text\": \"last\"}",
    ];
    put(dir, "metadata.jsonl", lines.concat());
    for path in [dir.to_owned(), dir.join("metadata.jsonl")] {
        let dataset = Dataset::open(&path).unwrap();
        assert_eq!(dataset.kind(), Kind::Lines);
        assert_eq!(names(&dataset), ["a.png", "b.png", "c.png"]);
        let groups: Vec<_> = dataset.items().iter().map(|item| item.group()).collect();
        assert_eq!(groups, ["g", "7", "c"]);
        assert_eq!(
            dataset.items()[0].captions().collect::<Vec<_>>(),
            ["one", "two"]
        );
        assert_eq!(dataset.items()[1].captions().collect::<Vec<_>>(), ["three"]);
        let bad = bad(dataset.bad());
        assert_eq!(dataset.bad().count, 7);
        assert!(bad["line 4"].contains("longer than"), "{bad:?}");
        assert!(bad["../a.png"].contains("within the dataset"), "{bad:?}");
        assert!(
            bad["/etc/hostname"].contains("within the dataset"),
            "{bad:?}"
        );
        assert!(bad["missing.png"].contains("no such file"), "{bad:?}");
        assert!(bad["c.png"].contains("nothing is said"), "{bad:?}");
        assert!(bad["line 9"].contains("names no picture"), "{bad:?}");
        assert!(bad["line 10"].contains("no JSON object"), "{bad:?}");
    }
    for (content, word) in [
        ("", "empty"),
        ("{}\nnonsense\n", "line 1"),
        ("\u{0}\u{1}", "line 1"),
    ] {
        put(dir, "metadata.jsonl", content);
        let (message, error) = refused(&dir.join("metadata.jsonl"));
        assert!(
            matches!(error, DataError::List { .. }) && message.contains(word),
            "{message}"
        );
    }
}

#[test]
fn tables_with_commas_and_tabs() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    put(dir, "a.png", png([1, 2, 3]));
    put(dir, "b.png", png([1, 2, 3]));
    put(
        dir,
        "list.csv",
        "File, Caption ,group\na.png,\"red, and \"\"round\"\"\",x\nb.png\n,nothing,\nb.png,ok,\n",
    );
    let dataset = Dataset::open(dir).unwrap();
    assert_eq!(dataset.kind(), Kind::Table);
    assert_eq!(names(&dataset), ["a.png", "b.png"]);
    assert_eq!(
        dataset.items()[0].captions().collect::<Vec<_>>(),
        ["red, and \"round\""]
    );
    assert_eq!(dataset.items()[0].group(), "x");
    assert_eq!(dataset.items()[1].group(), "b");
    assert_eq!(dataset.bad().count, 2);
    put(dir, "list.tsv", "text\tfile_name\nred, round\ta.png\n");
    let dataset = Dataset::open(&dir.join("list.tsv")).unwrap();
    assert_eq!(
        dataset.items()[0].captions().collect::<Vec<_>>(),
        ["red, round"]
    );
    put(dir, "wrong.csv", "name,words\na.png,red\n");
    let (message, _) = refused(&dir.join("wrong.csv"));
    assert!(
        message.contains("file_name") && message.contains("name, words"),
        "{message}"
    );
    put(dir, "none.csv", "");
    refused(&dir.join("none.csv"));
}

#[test]
fn names_folders_and_nothing_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let (message, error) = refused(dir);
    assert!(matches!(error, DataError::NoPictures { .. }), "{message}");
    put(dir, "notes.md", "nothing to see");
    assert!(matches!(refused(dir).1, DataError::NoPictures { .. }));
    put(dir, "0001.png", png([1, 2, 3]));
    put(dir, "IMG_0002.png", png([1, 2, 3]));
    let (message, error) = refused(dir);
    assert!(
        matches!(error, DataError::NoCaptions { pictures: 2, .. }),
        "{message}"
    );
    put(dir, "red apple/0001.png", png([1, 2, 3]));
    put(dir, "green_pear-3.png", png([1, 2, 3]));
    let dataset = Dataset::open(dir).unwrap();
    assert_eq!(dataset.kind(), Kind::FileNames);
    let found: Vec<_> = dataset
        .items()
        .iter()
        .flat_map(|item| item.captions())
        .collect();
    assert_eq!(found, ["green pear", "red apple"]);
    assert_eq!(dataset.bad().count, 2);
    assert!(matches!(
        refused(&dir.join("nowhere")).1,
        DataError::Missing { .. }
    ));
    assert!(matches!(
        refused(&dir.join("notes.md")).1,
        DataError::UnknownKind { .. }
    ));
}

fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn webdataset_archives() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let (red, green) = (png([255, 0, 0]), png([0, 255, 0]));
    let long = format!("{}/0004.png", "deep".repeat(60));
    let first = archive(&[
        ("0001.png", &red),
        ("0001.txt", b"red\nvery red"),
        ("0001.json", b"{\"text\": \"not this\", \"group\": \"r\"}"),
        ("0002.json", b"{\"caption\": \"green\"}"),
        ("0002.png", &green),
        ("0003.txt", b"of nothing"),
        ("._0003.png", b"resource"),
        (&long, &red),
        (&long.replace(".png", ".txt"), b"long"),
    ]);
    let second = archive(&[
        ("0005.png", &red),
        ("0006.png", b"broken"),
        ("0006.txt", b"bad"),
        ("0007.png", &green),
        ("0007.txt", b"green too"),
    ]);
    put(dir, "00000.tar", &first);
    // The last picture is cut off.
    let cut = second.len() - 1024 - 1024 - 512 - 10;
    put(dir, "00001.tar", &second[..cut]);
    let dataset = Dataset::open(dir).unwrap();
    assert_eq!(dataset.kind(), Kind::Archives);
    assert_eq!(
        dataset.items().len(),
        4,
        "{:?} {:?}",
        names(&dataset),
        dataset.bad()
    );
    assert_eq!(
        dataset.items()[0].captions().collect::<Vec<_>>(),
        ["red", "very red"]
    );
    let groups: Vec<_> = dataset
        .items()
        .iter()
        .take(2)
        .map(|item| item.group())
        .collect();
    assert_eq!(groups, ["r", "0002"]);
    let index = bad(dataset.bad());
    assert!(index["00000.tar/0003"].contains("no picture"), "{index:?}");
    assert!(
        index["00001.tar/0005.png"].contains("nothing is said"),
        "{index:?}"
    );
    assert!(index.len() >= 3, "the cut archive is named: {index:?}");

    let mut loader = loader(dir, LoaderSpec::new(Transform::new(8, 8), 3, 4));
    let batch = loader.next_batch().unwrap();
    for (pixels, caption) in batch.pixels.chunks(192).zip(&batch.captions) {
        let expected = if caption == "green" {
            [-1.0, 1.0]
        } else {
            [1.0, -1.0]
        };
        assert_eq!([pixels[0], pixels[64]], expected, "{caption}");
    }
    put(dir, "only.tar", b"this is no archive".repeat(100));
    assert!(matches!(
        refused(&dir.join("only.tar")).1,
        DataError::Archive { .. }
    ));
    put(dir, "packed.tar.gz", b"\x1f\x8b");
    assert!(matches!(
        refused(&dir.join("packed.tar.gz")).1,
        DataError::Compressed { .. }
    ));
}
