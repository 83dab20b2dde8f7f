//! Documents that are read in a process of their own.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

/// What the hidden command says of a document.
fn read(format: &str, bytes: &[u8]) -> Value {
    let mut child = Command::new(env!("CARGO_BIN_EXE_medley"))
        .args(["read-document", format])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A document of one page for each text.
fn pdf(pages: &[&str]) -> Vec<u8> {
    let kids: Vec<String> = (0..pages.len())
        .map(|n| format!("{} 0 R", 4 + 2 * n))
        .collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!(
            "<< /Type /Pages /Kids [{}] /Count {} >>",
            kids.join(" "),
            pages.len()
        ),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
            .to_owned(),
    ];
    for (n, text) in pages.iter().enumerate() {
        let stream = format!("BT /F1 12 Tf 72 700 Td ({text}) Tj ET");
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {} 0 R \
             /Resources << /Font << /F1 3 0 R >> >> >>",
            5 + 2 * n
        ));
        objects.push(format!(
            "<< /Length {} >>\nstream\n{stream}\nendstream",
            stream.len()
        ));
    }
    let mut file = "%PDF-1.4\n".to_owned();
    let mut places = Vec::new();
    for (n, object) in objects.iter().enumerate() {
        places.push(file.len());
        file += &format!("{} 0 obj\n{object}\nendobj\n", n + 1);
    }
    let table = file.len();
    file += &format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for place in places {
        file += &format!("{place:010} 00000 n \n");
    }
    file += &format!(
        "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n",
        objects.len() + 1
    );
    file.into_bytes()
}

#[test]
fn a_pdf_is_read_page_by_page_and_a_broken_one_is_refused_in_words() {
    let content = read("pdf", &pdf(&["Goods go back.", "We open at nine."]));
    let blocks = content["Ok"]["blocks"].as_array().unwrap().clone();
    let seen: Vec<(&str, u64)> = blocks
        .iter()
        .map(|b| (b["text"].as_str().unwrap(), b["page"].as_u64().unwrap()))
        .collect();
    assert_eq!(seen, [("Goods go back.", 1), ("We open at nine.", 2)]);
    for wrong in [&b"no PDF"[..], b"", b"%PDF-1.4\n%%EOF"] {
        assert!(read("pdf", wrong)["Err"].is_string());
    }
    assert!(read("docx", b"PK\x03\x04 broken")["Err"].is_string());
}
