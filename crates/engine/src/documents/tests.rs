use std::path::PathBuf;

use serde_json::json;

use super::*;

/// Vectors by the letters of a text: texts of the same words are the same.
struct Letters;

impl Encoder for Letters {
    fn name(&self) -> &str {
        "letters"
    }

    fn encode(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let vector = |text: &String| {
            let mut counts = [0.0f32; 32];
            for letter in text.to_lowercase().bytes().filter(u8::is_ascii_lowercase) {
                counts[usize::from(letter - b'a')] += 1.0;
            }
            let length = counts.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-6);
            counts.iter().map(|x| x / length).collect()
        };
        Ok(texts.iter().map(vector).collect())
    }
}

fn documents() -> Documents {
    Documents::new(Arc::new(Database::in_memory().unwrap()), Readers::Here)
}

fn text<'b>(source: &str, text: &'b str) -> NewDocument<'b> {
    NewDocument {
        id: None,
        source: source.into(),
        name: source.into(),
        format: Format::Markdown,
        bytes: text.as_bytes(),
        attributes: Map::new(),
    }
}

fn names(documents: &Documents, collection: &Collection, question: &str) -> Vec<String> {
    let hits = documents.search(collection, question, &Search::default(), &Letters);
    hits.unwrap().into_iter().map(|hit| hit.name).collect()
}

#[test]
fn documents_are_found_by_words_and_by_meaning_and_only_where_they_are() {
    let documents = documents();
    let shop = documents.create("shop", "letters", &Value::Null).unwrap();
    let other = documents.create("other", "letters", &Value::Null).unwrap();
    let returns = "# Returns\n\nSend unused goods back within 14 days.";
    let add =
        |collection, document: &NewDocument| documents.add(collection, document, &Letters).unwrap();
    assert_eq!(add(&shop, &text("returns.md", returns)), Added::New);
    assert_eq!(add(&shop, &text("returns.md", returns)), Added::Same);
    assert_eq!(
        add(&shop, &text("open.md", "# Hours\n\nWe open at nine.")),
        Added::New
    );
    assert_eq!(
        add(
            &other,
            &text("secret.md", "The returns of our secret goods.")
        ),
        Added::New
    );
    let found = documents
        .search(&shop, "Can I return goods?", &Search::default(), &Letters)
        .unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    let first = &found[0];
    assert_eq!(
        (first.name.as_str(), first.heading.as_str()),
        ("returns.md", "Returns")
    );
    assert_eq!((first.line, first.word_rank), (Some(3), Some(1)));
    let whole = documents.text(&shop, "returns.md").unwrap();
    let slice: String = whole
        .chars()
        .skip(first.start)
        .take(first.text.chars().count())
        .collect();
    assert_eq!(slice, first.text);
    // What changes is found as it is now, and what goes is not found.
    let changed = text("returns.md", "# Returns\n\nAll sales are final.");
    assert_eq!(add(&shop, &changed), Added::Changed);
    let hits = documents
        .search(&shop, "final sales", &Search::default(), &Letters)
        .unwrap();
    assert_eq!(hits[0].text, "All sales are final.");
    assert!(hits.iter().all(|hit| !hit.text.contains("14 days")));
    documents.remove(&shop, "returns.md").unwrap();
    assert_eq!(names(&documents, &shop, "final sales"), ["open.md"]);
    assert!(documents.remove(&shop, "returns.md").is_err());
    // A question of signs, or of words that nothing has, is a question.
    for odd in ["\" OR * NEAR(", "heading:x", "???", "", "zzz"] {
        assert_eq!(names(&documents, &shop, odd), ["open.md"], "{odd}");
    }
    documents.drop_collection("other").unwrap();
    assert!(documents.collection("other").is_err());
    assert_eq!(documents.collections().unwrap().len(), 1);
}

#[test]
fn searches_are_narrowed_by_attributes() {
    let documents = documents();
    let shop = documents.create("shop", "letters", &Value::Null).unwrap();
    for (name, year) in [("old", 2020), ("new", 2024)] {
        let mut document = text(name, "Shipping costs five euros.");
        document.attributes.insert("year".into(), json!(year));
        documents.add(&shop, &document, &Letters).unwrap();
    }
    let filter = json!({ "type": "gt", "key": "year", "value": 2021 });
    let search = Search {
        filter: Some(Filter::of_json(&filter).unwrap()),
        ..Search::default()
    };
    let hits = documents
        .search(&shop, "shipping costs", &search, &Letters)
        .unwrap();
    let names: Vec<&str> = hits.iter().map(|hit| hit.name.as_str()).collect();
    assert_eq!(names, ["new"]);
    let mut attributes = Map::new();
    attributes.insert("year".into(), json!(2025));
    documents.set_attributes(&shop, "old", &attributes).unwrap();
    let hits = documents
        .search(&shop, "shipping costs", &search, &Letters)
        .unwrap();
    assert_eq!(hits.len(), 2);
}

#[test]
fn a_folder_is_brought_to_what_it_is_now() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("in")).unwrap();
    let put = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    put("in/a.md", "# A\n\nThe first.");
    put("in/b.txt", "The second.");
    put("in/empty.txt", "  ");
    put("in/picture.png", "");
    put("in/.hidden.md", "Nothing to see.");
    let documents = documents();
    let shop = documents.create("shop", "letters", &Value::Null).unwrap();
    let roots: Vec<PathBuf> = vec![path("in")];
    let folder = Folder {
        roots,
        attributes: Map::new(),
    };
    let sync = |before: Option<&folder::Seen>| {
        let seen = look(&folder.roots).unwrap();
        let done = documents.sync(&shop, &folder, &seen, before, &Letters, &mut |_, _, _| true);
        (done.unwrap(), seen)
    };
    let (report, seen) = sync(None);
    assert_eq!(
        (report.new, report.skipped, report.failed.len()),
        (2, 1, 1),
        "{report:?}"
    );
    let names: Vec<String> = documents
        .list(&shop)
        .unwrap()
        .into_iter()
        .map(|d| d.name)
        .collect();
    assert_eq!(names, ["a.md", "b.txt"]);
    std::fs::remove_file(path("in/b.txt")).unwrap();
    put("in/a.md", "# A\n\nAnother first, longer.");
    put("in/c.csv", "Name,Price\nTea,3\n");
    let (report, _) = sync(Some(&seen));
    assert_eq!(
        (report.new, report.changed, report.removed),
        (1, 1, 1),
        "{report:?}"
    );
    assert!(look(&[path("nowhere")]).is_err());
    assert!(look(&[path("in/picture.png")]).is_err());
}

#[test]
fn vectors_of_two_models_do_not_meet() {
    let documents = documents();
    let shop = documents.create("shop", "minilm", &Value::Null).unwrap();
    let error = documents
        .add(&shop, &text("a.md", "Text."), &Letters)
        .unwrap_err();
    assert!(error.to_string().contains("minilm"), "{error}");
}
