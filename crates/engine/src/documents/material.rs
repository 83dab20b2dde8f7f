//! Files as the text that a task is done over.

use std::path::{Path, PathBuf};

use medley_types::InputFile;

use super::Readers;
use super::read::{Content, Format, Kind, LIMIT};
use crate::fetch::hash::sha256_hex;
use crate::{EngineError, Result};

/// The text of some files, and what they are known by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Material {
    /// Their texts in order, with an empty line between them.
    pub text: String,
    /// Their content's hashes.
    pub files: Vec<InputFile>,
}

/// Reads files of any kind that documents are; PDF and Word files in a process of their own.
///
/// # Errors
/// [`EngineError::Document`] for a file that is not there, of a kind that is not read, or that cannot be read.
pub fn material(paths: &[PathBuf], readers: &Readers) -> Result<Material> {
    let mut all = Material::default();
    for path in paths {
        let (text, file) = one(path, readers)?;
        if !all.text.is_empty() {
            all.text.push_str("\n\n");
        }
        all.text.push_str(&text);
        all.files.push(file);
    }
    Ok(all)
}

fn one(path: &Path, readers: &Readers) -> Result<(String, InputFile)> {
    let wrong = |reason: String| EngineError::Document {
        name: path.display().to_string(),
        reason,
    };
    let format = Format::of_name(&path.to_string_lossy()).ok_or_else(|| {
        wrong("documents are txt, md, html, pdf, docx, csv and source code".to_owned())
    })?;
    let meta = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => wrong("it does not exist".to_owned()),
        _ => EngineError::io("read", path)(error),
    })?;
    if meta.is_dir() {
        return Err(wrong("it is a folder".to_owned()));
    }
    let bytes = crate::image::read_limited(path, LIMIT)?;
    let file = InputFile {
        sha256: sha256_hex(&bytes),
    };
    let content = readers.read(format, &bytes).map_err(wrong)?;
    let text = written(&content);
    if text.is_empty() {
        return Err(wrong("it holds no text".to_owned()));
    }
    Ok((text, file))
}

/// A document's text with the marks of Markdown, which models know.
fn written(content: &Content) -> String {
    let mut out = String::new();
    let mut before = None;
    for block in &content.blocks {
        let close = matches!(
            (before, block.kind),
            (Some(Kind::Item), Kind::Item) | (Some(Kind::Table), Kind::Table)
        );
        if before.is_some() {
            out.push_str(if close { "\n" } else { "\n\n" });
        }
        before = Some(block.kind);
        match block.kind {
            Kind::Heading(level) => {
                out.push_str(&"#".repeat(usize::from(level.clamp(1, 6))));
                out.push(' ');
                out.push_str(&block.text);
            }
            Kind::Item => {
                out.push_str("- ");
                out.push_str(&block.text);
            }
            Kind::Code => {
                out.push_str("```\n");
                out.push_str(&block.text);
                out.push_str("\n```");
            }
            Kind::Text | Kind::Table => out.push_str(&block.text),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_in_order_and_known_by_their_content() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a.md"), folder.path().join("b.txt"));
        std::fs::write(&a, "# Title\n\nOne\nline.\n\n- x\n- y\n").unwrap();
        std::fs::write(&b, "Two.\n\nThree.").unwrap();
        let found = material(&[a.clone(), b], &Readers::Here).unwrap();
        assert_eq!(
            found.text,
            "# Title\n\nOne line.\n\n- x\n- y\n\nTwo.\n\nThree."
        );
        assert_eq!(found.files.len(), 2);
        let again = material(&[a], &Readers::Here).unwrap();
        assert_eq!(again.files[0], found.files[0]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let cases = [
            (folder.path().join("none.txt"), "does not exist"),
            (put("a.xyz", b"text"), "documents are"),
            (put("b.txt", &[0, 159, 146, 150]), "no text"),
            (put("c.txt", b"  \n"), "holds no text"),
            (put("d.pdf", b"%PDF-nonsense"), "d.pdf"),
        ];
        for (path, reason) in cases {
            let error = material(&[path], &Readers::Here).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
