use std::io::Write;

use super::*;

fn seen(format: Format, text: &str) -> Vec<(Kind, String)> {
    let content = parse(format, text.as_bytes()).unwrap();
    let pair = |block: Block| (block.kind, block.text);
    content.blocks.into_iter().map(pair).collect()
}

fn of(list: &[(Kind, &str)]) -> Vec<(Kind, String)> {
    list.iter().map(|(k, t)| (*k, (*t).to_owned())).collect()
}

#[test]
fn html_is_its_main_part_with_headings_lists_tables_and_code() {
    let page = "<!doctype html><html><head><title>Shop &amp; help</title><style>p{}</style></head><body>\
        <nav><a>Home</a></nav><div role=main><h1>Returns<a class=headerlink>¶</a></h1><p>Within <b>14</b>\n days.\
        <ul><li>unused<li><p>in its box</ul><script>if (a<b) {}</script>\
        <table><tr><th>Size<th>Price</tr><tr><td>S<td>3 <i>€</i></table><pre>a\n  b</pre></div>\
        <footer>2024</footer></body></html>";
    assert_eq!(
        seen(Format::Html, page),
        of(&[
            (Kind::Heading(1), "Returns"),
            (Kind::Text, "Within 14 days."),
            (Kind::Item, "unused"),
            (Kind::Text, "in its box"),
            (Kind::Table, "Size | Price\nS | 3 €"),
            (Kind::Code, "a\n  b"),
        ])
    );
    let content = parse(Format::Html, page.as_bytes()).unwrap();
    assert_eq!(content.title.as_deref(), Some("Shop & help"));
    // Nothing of it is well formed.
    let broken = "<div></p></div></nav>text<table><td>cell<li>more</table><h2>end";
    assert_eq!(seen(Format::Html, broken).last().unwrap().1, "end");
    assert!(seen(Format::Html, &"<div>".repeat(50_000)).is_empty());
}

#[test]
fn markdown_and_plain_text_keep_their_lines() {
    let text = "---\ntitle: x\n---\n# Help\n\nWe *send*\nby post.\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\ncode\n```\n";
    let content = parse(Format::Markdown, text.as_bytes()).unwrap();
    let got: Vec<(Kind, &str, Option<u32>)> = content
        .blocks
        .iter()
        .map(|b| (b.kind, b.text.as_str(), b.line))
        .collect();
    assert_eq!(
        got,
        [
            (Kind::Heading(1), "Help", Some(4)),
            (Kind::Text, "We send by post.", Some(6)),
            (Kind::Item, "one", Some(9)),
            (Kind::Item, "two", Some(10)),
            (Kind::Table, "a | b\n1 | 2", Some(12)),
            (Kind::Code, "code", Some(16)),
        ]
    );
    let text = "TERMS\n\n1. Payment\n==========\nYou pay\nby card.\n\n* cash\n* no cash\n";
    assert_eq!(
        seen(Format::Text, text),
        of(&[
            (Kind::Heading(1), "TERMS"),
            (Kind::Heading(1), "1. Payment"),
            (Kind::Text, "You pay by card."),
            (Kind::Item, "* cash"),
            (Kind::Item, "* no cash"),
        ])
    );
}

#[test]
fn rows_of_a_table_say_their_columns() {
    let text = "Question;Answer\n\"Open; when?\";9 to 5\n;none\n";
    assert_eq!(
        seen(Format::Csv, text),
        of(&[
            (Kind::Table, "Question: Open; when?; Answer: 9 to 5"),
            (Kind::Table, "Answer: none"),
        ])
    );
}

/// A Word document of these parts.
pub(crate) fn docx(body: &str, styles: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(&mut bytes));
    let options = zip::write::SimpleFileOptions::default();
    let w = "xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/2006/main\"";
    for (name, text) in [
        (
            "word/document.xml",
            format!("<w:document {w}><w:body>{body}</w:body></w:document>"),
        ),
        (
            "word/styles.xml",
            format!("<w:styles {w}>{styles}</w:styles>"),
        ),
    ] {
        archive.start_file(name, options).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    archive.finish().unwrap();
    bytes
}

#[test]
fn word_documents_keep_styles_tables_and_pages() {
    let p = |style: &str, text: &str| {
        format!(
            "<w:p><w:pPr><w:pStyle w:val=\"{style}\"/></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"
        )
    };
    let cell = |text: &str| format!("<w:tc><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:tc>");
    let body = [
        p("Uberschrift1", "Help &amp; more"),
        p("Normal", "First."),
        "<w:p><w:r><w:br w:type=\"page\"/></w:r></w:p>".to_owned(),
        p("ListParagraph", "a point"),
        format!("<w:tbl><w:tr>{}{}</w:tr></w:tbl>", cell("S"), cell("3")),
    ];
    let styles =
        "<w:style w:styleId=\"Uberschrift1\"><w:pPr><w:outlineLvl w:val=\"0\"/></w:pPr></w:style>";
    let content = parse(Format::Docx, &docx(&body.concat(), styles)).unwrap();
    let got: Vec<(Kind, &str, Option<u32>)> = content
        .blocks
        .iter()
        .map(|b| (b.kind, b.text.as_str(), b.page))
        .collect();
    assert_eq!(
        got,
        [
            (Kind::Heading(1), "Help & more", Some(1)),
            (Kind::Text, "First.", Some(1)),
            (Kind::Item, "a point", Some(2)),
            (Kind::Table, "S | 3", Some(2)),
        ]
    );
    assert_eq!(content.title.as_deref(), Some("Help & more"));
    for wrong in [&b"PK\x03\x04"[..], b"", b"text"] {
        assert!(parse(Format::Docx, wrong).is_err());
        assert!(parse(Format::Pdf, wrong).is_err());
    }
}

#[test]
fn texts_in_other_encodings_are_read() {
    assert_eq!(text_of(b"\xff\xfea\x00\xe4\x00").unwrap(), "aä");
    assert_eq!(text_of(b"\xef\xbb\xbfa").unwrap(), "a");
    assert_eq!(text_of(b"M\xfcnchen").unwrap(), "München");
    assert!(text_of(b"\x7fELF\x00\xff").is_err());
}
