//! What can be wrong with a weight file, each in one line that says what would be right.

use std::path::{Path, PathBuf};

/// Why a weight file could not be read or written. The message starts with the file's path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried: "open", "map", "create" …
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The contents are damaged, hostile, or of a kind that is not supported.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong in it.
        problem: Problem,
    },
    /// A tensor was asked for that the file does not hold.
    #[error("{}: there is no tensor {}{}", path.display(), quote(name), nearest.as_deref().map(|n| format!("; the nearest name is {}", quote(n))).unwrap_or_default())]
    MissingTensor {
        /// The file or folder.
        path: PathBuf,
        /// The name that was asked for.
        name: String,
        /// A name in the file that shares most of its characters, if any does.
        nearest: Option<String>,
    },
}

/// What is wrong with the contents of a file, independent of where the bytes came from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The bytes end before a part that they announce.
    #[error(
        "{what} at byte {at} needs {needs} bytes but {left} are left; the file is cut short or damaged, fetch it again"
    )]
    Truncated {
        /// The part that is cut.
        what: String,
        /// Where it starts, in bytes from the start of the file.
        at: u64,
        /// Its length in bytes.
        needs: u64,
        /// Bytes that remain.
        left: u64,
    },
    /// The file is of a version or kind that this reader does not take.
    #[error("{what} is not supported; {hint}")]
    Unsupported {
        /// The version, type or feature.
        what: String,
        /// What to do instead.
        hint: String,
    },
    /// A value breaks the format's rules.
    #[error("{what} is {found}; it should be {expected}")]
    Invalid {
        /// The field.
        what: String,
        /// What the file has there.
        found: String,
        /// What the format asks for.
        expected: String,
    },
    /// A count or size is beyond what any sane file has.
    #[error("{what} is {count}; at most {limit} is accepted")]
    Limit {
        /// What was counted.
        what: String,
        /// The file's figure.
        count: u64,
        /// The reader's bound.
        limit: u64,
    },
    /// A name that must be unique occurs twice.
    #[error("{what} {} occurs twice; each may occur once", quote(name))]
    Duplicate {
        /// "tensor", "metadata key" …
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A tensor's data lies outside of the file.
    #[error(
        "tensor {} lies at bytes {start}..{end} but the file ends at {len}; it is cut short or damaged, fetch it again",
        quote(name)
    )]
    OutOfFile {
        /// The tensor.
        name: String,
        /// First byte, from the start of the file.
        start: u64,
        /// One past the last byte.
        end: u64,
        /// Length of the file in bytes.
        len: u64,
    },
    /// The data of two tensors overlap.
    #[error(
        "tensors {} and {} share bytes of the file; each needs its own",
        quote(first),
        quote(second)
    )]
    Overlap {
        /// The tensor that starts first.
        first: String,
        /// The tensor that starts within it.
        second: String,
    },
    /// A pickle names something that the restricted reader does not build.
    #[error(
        "the checkpoint needs {} of Python, which is not on the list of harmless names; save the state dict alone, or as safetensors",
        quote(name)
    )]
    ForbiddenGlobal {
        /// Module and name, with a dot.
        name: String,
    },
    /// A file that belongs to a set is missing, or one does not belong.
    #[error("{what}; {hint}")]
    Shards {
        /// What is wrong with the set.
        what: String,
        /// What to do.
        hint: String,
    },
}

impl Problem {
    /// Puts the path in front.
    #[must_use]
    pub fn at(self, path: &Path) -> FormatError {
        FormatError::Content {
            path: path.to_owned(),
            problem: self,
        }
    }

    pub(crate) fn invalid(
        what: impl Into<String>,
        found: impl ToString,
        expected: impl Into<String>,
    ) -> Self {
        Self::Invalid {
            what: what.into(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    pub(crate) fn unsupported(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Unsupported {
            what: what.into(),
            hint: hint.into(),
        }
    }

    /// `Ok` when `count` is within `limit`.
    pub(crate) fn check_limit(what: impl Into<String>, count: u64, limit: u64) -> Result<(), Self> {
        if count <= limit {
            return Ok(());
        }
        Err(Self::Limit {
            what: what.into(),
            count,
            limit,
        })
    }
}

impl FormatError {
    pub(crate) fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            action,
            source,
        }
    }
}

/// A name out of a file, safe to print on one line: quoted, escaped, and cut after 96 characters.
pub(crate) fn quote(name: &str) -> String {
    const SHOWN: usize = 96;
    let mut out = String::from("\"");
    let mut chars = name.chars();
    out.extend(chars.by_ref().take(SHOWN).flat_map(char::escape_debug));
    if chars.next().is_some() {
        out.push('…');
    }
    out.push('"');
    out
}

/// As [`quote`], for bytes that need not be UTF-8.
pub(crate) fn quote_bytes(name: &[u8]) -> String {
    let head = name.get(..400).unwrap_or(name);
    quote(&String::from_utf8_lossy(head))
}

/// A message of another library, safe to print on one line: escaped and cut after 200 characters.
pub(crate) fn one_line(message: &str) -> String {
    const SHOWN: usize = 200;
    let mut out = String::new();
    for c in message.chars().take(SHOWN) {
        if c.is_control() {
            out.extend(c.escape_debug());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_on_one_line() {
        assert_eq!(quote("a\nb\u{1b}[1m"), "\"a\\nb\\u{1b}[1m\"");
        let long = "x".repeat(200);
        assert_eq!(quote(&long).chars().count(), 99);
        assert_eq!(quote_bytes(b"a\xff"), "\"a\u{fffd}\"");
    }

    #[test]
    fn messages_name_file_fault_and_remedy() {
        let error =
            Problem::invalid("general.alignment", 24, "a power of two").at(Path::new("m.gguf"));
        assert_eq!(
            error.to_string(),
            "m.gguf: general.alignment is 24; it should be a power of two"
        );
    }
}
