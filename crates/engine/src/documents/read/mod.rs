//! Documents as text with its structure: headings, paragraphs, lists, tables and code, in their order.
//!
//! What a business has is read as it is: text, Markdown, HTML, CSV, source code, and, in a process of their own
//! ([`child`]), PDF and Word files.

pub mod child;
mod code;
mod docx;
mod html;
mod markdown;
mod pdf;
mod plain;
mod table;

use serde::{Deserialize, Serialize};

/// Most bytes of a document.
pub const LIMIT: u64 = 64 << 20;

/// What the readers and the splitter give is counted by this: documents that others read are read anew.
pub const VERSION: i64 = 1;

/// What a piece of a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The heading of what follows; 1 is the outermost.
    Heading(u8),
    /// A paragraph.
    Text,
    /// A point of a list.
    Item,
    /// Rows of a table, a line each.
    Table,
    /// Lines that stay as they are.
    Code,
}

/// A piece of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// What it is.
    pub kind: Kind,
    /// Its text; never empty.
    pub text: String,
    /// The page that it begins on, from 1, in what has pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    /// The line that it begins on, from 1, in what has lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

/// A document as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// What it calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its pieces in order.
    pub blocks: Vec<Block>,
}

impl Content {
    fn push(&mut self, kind: Kind, text: &str, line: Option<u32>) {
        let text = match kind {
            Kind::Code => text.trim_matches('\n').trim_end().to_owned(),
            Kind::Table => text.trim().to_owned(),
            _ => squeezed(text),
        };
        if !text.trim().is_empty() {
            self.blocks.push(Block {
                kind,
                text,
                page: None,
                line,
            });
        }
    }
}

/// A text with single spaces, and no control characters.
fn squeezed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// What a document is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Plain text.
    Text,
    /// Markdown.
    Markdown,
    /// HTML.
    Html,
    /// Values between commas, or tabs.
    Csv,
    /// Source code.
    Code,
    /// Portable documents.
    Pdf,
    /// Word's documents.
    Docx,
}

/// Extensions of source code.
const CODE: &[&str] = &[
    "asm", "bash", "bat", "c", "cc", "clj", "cmake", "conf", "cpp", "cs", "css", "cu", "dart",
    "el", "erl", "ex", "exs", "f90", "fs", "go", "gradle", "graphql", "groovy", "h", "hpp", "hs",
    "ini", "java", "jl", "js", "json", "jsx", "kt", "less", "lua", "m", "mjs", "ml", "nim", "php",
    "pl", "pm", "proto", "ps1", "py", "r", "rb", "rs", "scala", "scss", "sh", "sql", "swift", "tf",
    "toml", "ts", "tsx", "v", "vb", "vim", "vue", "xml", "yaml", "yml", "zig",
];

impl Format {
    /// By the name of a file; nothing for what cannot be read.
    pub fn of_name(name: &str) -> Option<Self> {
        let (_, extension) = name.rsplit_once('.')?;
        let extension = extension.to_ascii_lowercase();
        Some(match extension.as_str() {
            "txt" | "text" | "rst" | "adoc" | "log" => Self::Text,
            "md" | "markdown" => Self::Markdown,
            "html" | "htm" | "xhtml" => Self::Html,
            "csv" | "tsv" => Self::Csv,
            "pdf" => Self::Pdf,
            "docx" => Self::Docx,
            other if CODE.contains(&other) => Self::Code,
            _ => return None,
        })
    }

    /// Its MIME type.
    pub fn mime(self) -> &'static str {
        match self {
            Self::Text | Self::Code => "text/plain",
            Self::Markdown => "text/markdown",
            Self::Html => "text/html",
            Self::Csv => "text/csv",
            Self::Pdf => "application/pdf",
            Self::Docx => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        }
    }

    /// As it stands in arguments.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Markdown => "markdown",
            Self::Html => "html",
            Self::Csv => "csv",
            Self::Code => "code",
            Self::Pdf => "pdf",
            Self::Docx => "docx",
        }
    }

    /// The format of this word.
    pub fn of_word(word: &str) -> Option<Self> {
        let all = [
            Self::Text,
            Self::Markdown,
            Self::Html,
            Self::Csv,
            Self::Code,
            Self::Pdf,
            Self::Docx,
        ];
        all.into_iter().find(|format| format.as_str() == word)
    }

    /// Whether its reader is to run in a process of its own: the formats that are programs more than texts.
    pub fn is_risky(self) -> bool {
        matches!(self, Self::Pdf | Self::Docx)
    }
}

/// Reads a document in this process.
///
/// # Errors
/// Why it cannot be read, in words.
pub fn parse(format: Format, bytes: &[u8]) -> Result<Content, String> {
    if bytes.len() as u64 > LIMIT {
        return Err(format!(
            "it has {} bytes, and {LIMIT} are the limit",
            bytes.len()
        ));
    }
    Ok(match format {
        Format::Pdf => pdf::read(bytes)?,
        Format::Docx => docx::read(bytes)?,
        Format::Csv => table::read(bytes)?,
        Format::Text => plain::read(&text_of(bytes)?),
        Format::Markdown => markdown::read(&text_of(bytes)?),
        Format::Html => html::read(&text_of(bytes)?),
        Format::Code => code::read(&text_of(bytes)?)?,
    })
}

/// Text in UTF-8, in UTF-16 with its mark, or else in Latin-1, which every text can be read as.
fn text_of(bytes: &[u8]) -> Result<String, String> {
    let wide = |bytes: &[u8], read: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|b| read([b[0], b[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => return Ok(wide(rest, u16::from_le_bytes)),
        [0xfe, 0xff, rest @ ..] => return Ok(wide(rest, u16::from_be_bytes)),
        _ => {}
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) if bytes.iter().take(4096).any(|&byte| byte == 0) => Err("it is no text".to_owned()),
        Err(_) => Ok(bytes.iter().map(|&byte| char::from(byte)).collect()),
    }
}

#[cfg(test)]
mod tests;
