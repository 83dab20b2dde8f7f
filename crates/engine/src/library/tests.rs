use std::io;

use medley_media::{Format, Origin, Picture};
use serde_json::json;

use super::*;

fn open(folder: &Path) -> Library {
    let database = Arc::new(Database::open(&folder.join("medley.db")).unwrap());
    Library::open(database, &folder.join("library")).unwrap()
}

fn picture(prompt: &str, side: u32, colour: [u8; 3]) -> NewWork {
    let picture = Picture::filled(side, side, colour).unwrap();
    let origin = Origin::Generated { recipe: None };
    NewWork {
        medium: Medium::Image,
        model: "icons".into(),
        model_sha256: Some("ab".into()),
        prompt: prompt.into(),
        recipe: json!({ "medium": "image", "prompt": prompt }),
        mime: "image/png",
        bytes: medley_media::encode(&picture, Format::Png, origin).unwrap(),
        size: Some([side, side]),
        timings: json!({ "total_s": 0.5 }),
        job: Some("job_1".into()),
    }
}

fn text(prompt: &str, text: &str) -> NewWork {
    NewWork {
        medium: Medium::Text,
        mime: "text/plain",
        bytes: text.into(),
        size: None,
        job: None,
        ..picture(prompt, 1, [0; 3])
    }
}

fn ids(library: &Library, query: Query) -> Vec<String> {
    let (works, _) = library.list(&query).unwrap();
    works.into_iter().map(|work| work.id).collect()
}

fn all() -> Query {
    Query {
        limit: 100,
        ..Query::default()
    }
}

/// Names of all files below a folder, small pictures and the reserve aside.
fn files(folder: &Path) -> usize {
    let library = folder.join("library");
    let below = |path: PathBuf| std::fs::read_dir(path).unwrap().count();
    let folders = std::fs::read_dir(library)
        .unwrap()
        .map(|item| item.unwrap().path());
    folders
        .filter(|path| path.is_dir() && !path.ends_with("thumbnails"))
        .map(below)
        .sum()
}

#[test]
fn works_are_found_by_words_tags_medium_and_page() {
    let folder = tempfile::tempdir().unwrap();
    let library = open(folder.path());
    let apple = library
        .add(picture("a red apple", 300, [200, 0, 0]))
        .unwrap();
    let pear = library
        .add(picture("a green pear", 8, [0, 200, 0]))
        .unwrap();
    let poem = library
        .add(text("write a poem", "Äpfel fall from the tree"))
        .unwrap();
    assert_eq!(library.get(&apple.id).unwrap(), apple);
    assert_eq!(
        (apple.width, apple.job.as_deref()),
        (Some(300), Some("job_1"))
    );
    assert_eq!(
        ids(&library, all()),
        [&*poem.id, &*pear.id, &*apple.id],
        "newest first"
    );
    let words = |words: &str| {
        ids(
            &library,
            Query {
                words: words.into(),
                ..all()
            },
        )
    };
    assert_eq!(words("red app"), [&*apple.id]);
    assert_eq!(
        words("apfel"),
        [&*poem.id],
        "in the text itself, without its dots"
    );
    assert_eq!(words("a"), [&*poem.id, &*pear.id, &*apple.id]);
    assert!(words("violet").is_empty());
    for odd in [
        "\"",
        "NEAR(",
        "a OR",
        "title:",
        "*",
        "(",
        "'; DROP TABLE works; --",
        "-x",
    ] {
        library
            .list(&Query {
                words: odd.into(),
                ..all()
            })
            .unwrap();
    }
    let medium = Some(Medium::Text);
    assert_eq!(ids(&library, Query { medium, ..all() }), [&*poem.id]);
    let tags = [
        "fruit".to_owned(),
        " fruit ".into(),
        "for Ada".into(),
        String::new(),
    ];
    let changed = library
        .change(&apple.id, Some(" The apple "), Some(&tags))
        .unwrap();
    assert_eq!(
        (changed.title.as_str(), changed.tags.clone()),
        ("The apple", vec!["for Ada".to_owned(), "fruit".into()])
    );
    assert_eq!(
        ids(
            &library,
            Query {
                tag: Some("fruit".into()),
                ..all()
            }
        ),
        [&*apple.id]
    );
    assert_eq!(words("ada"), [&*apple.id]);
    assert!(
        library
            .change(&apple.id, None, Some(&["x".repeat(300)]))
            .is_err()
    );
    let first = library.list(&Query { limit: 2, ..all() }).unwrap();
    assert!(first.1);
    let after = Some(first.0[1].id.clone());
    let (rest, more) = library
        .list(&Query {
            limit: 2,
            after,
            ..all()
        })
        .unwrap();
    assert_eq!((rest.len(), more), (1, false));
    let after = Some("work_none".to_owned());
    assert!(library.list(&Query { after, ..all() }).is_err());
}

#[test]
fn files_are_called_by_their_content_and_go_with_their_last_work() {
    let folder = tempfile::tempdir().unwrap();
    let library = open(folder.path());
    let one = library.add(picture("one", 300, [1, 2, 3])).unwrap();
    let same = library.add(picture("the same", 300, [1, 2, 3])).unwrap();
    assert_eq!((one.sha256 == same.sha256, files(folder.path())), (true, 1));
    let file = library.file(&one.id).unwrap();
    let bytes = std::fs::read(&file.path).unwrap();
    assert_eq!(
        (sha256_hex(&bytes), bytes.len() as u64),
        (one.sha256.clone(), one.bytes)
    );
    assert_eq!(library.content(&one.sha256).unwrap(), Some(bytes));
    let (thumbnail, mime) = library.thumbnail(&one.id).unwrap();
    let small = medley_media::decode(&thumbnail, &medley_media::Limits::default()).unwrap();
    assert_eq!((small.width(), mime), (THUMBNAIL_SIDE, "image/png"));
    library.remove(&one.id).unwrap();
    assert!(file.path.is_file(), "the other work has it");
    library.remove(&same.id).unwrap();
    assert!(!file.path.exists());
    assert!(!library.files.thumbnail(&one.sha256).exists());
    assert_eq!(files(folder.path()), 0);
    for gone in [library.remove(&one.id).err(), library.get(&one.id).err()] {
        assert!(matches!(gone, Some(EngineError::NotFound { .. })));
    }
}

#[test]
fn a_text_is_shown_as_a_page_that_runs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let library = open(folder.path());
    let work = library
        .add(text("x", "<script>alert(1)</script> & \u{1} more"))
        .unwrap();
    let (page, mime) = library.thumbnail(&work.id).unwrap();
    let page = String::from_utf8(page).unwrap();
    assert_eq!(mime, "image/svg+xml");
    assert!(
        page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp;"),
        "{page}"
    );
    assert!(!page.contains('\u{1}') && !page.contains("<script"));
}

fn full(path: &Path, bytes: &[u8]) -> Result<()> {
    if bytes.starts_with(b"\x89PNG") {
        // Half of it comes to lie there first.
        std::fs::write(path.with_extension("tmp"), &bytes[..bytes.len() / 2]).unwrap();
        return Err(EngineError::io("write", path)(
            io::ErrorKind::StorageFull.into(),
        ));
    }
    crate::work_file::write(path, bytes)
}

#[test]
fn a_full_disk_leaves_the_library_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let before = open(folder.path()).add(text("kept", "kept")).unwrap();
    let library = open(folder.path()).with_writer(full);
    // The first of two is written, and goes again with the second.
    let works = vec![text("first", "first"), picture("second", 8, [9; 3])];
    let mut also = false;
    let error = library.add_all(works, |_, _| {
        also = true;
        Ok(())
    });
    let error = error.unwrap_err();
    assert_eq!(error.code().as_str(), "disk_full");
    assert!(!also);
    assert_eq!(ids(&library, all()), [&*before.id]);
    drop(library);
    let again = open(folder.path());
    assert_eq!(files(folder.path()), 1, "what was half written is swept up");
    assert_eq!(
        again.content(&before.sha256).unwrap(),
        Some(b"kept".to_vec())
    );
    again.add(picture("second", 8, [9; 3])).unwrap();
}
