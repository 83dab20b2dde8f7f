//! A model's answer as edits.

use serde::Serialize;

pub(super) const FILE: &str = "FILE: ";
pub(super) const NEW: &str = "NEW FILE: ";
pub(super) const DELETE: &str = "DELETE FILE: ";
pub(super) const RENAME: &str = "RENAME: ";
pub(super) const SEARCH: &str = "<<<<<<< SEARCH";
pub(super) const DIVIDE: &str = "=======";
pub(super) const REPLACE: &str = ">>>>>>> REPLACE";
pub(super) const END: &str = ">>>>>>> END";

/// An edit that a model proposes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Edit {
    /// Other lines for some that stand in a file.
    Replace {
        /// The file.
        path: String,
        /// The lines as they stand there, each with its end.
        find: String,
        /// What takes their place.
        replace: String,
    },
    /// A file that is not there yet.
    Create {
        /// Its path.
        path: String,
        /// Its text.
        text: String,
    },
    /// A file is no longer needed.
    Delete {
        /// Its path.
        path: String,
    },
    /// Another name for something that the program defines, wherever it is used.
    Rename {
        /// The name as it is.
        from: String,
        /// The name as it shall be.
        to: String,
    },
}

/// What a model's answer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its edits in order.
    pub edits: Vec<Edit>,
    /// Whether it ends in the middle of one, which is not among them.
    pub cut: bool,
}

impl Answer {
    /// Reads an answer. Lines around edits are passed over, so that one which no grammar held to the form will do too.
    pub fn read(text: &str) -> Self {
        let mut answer = Self::default();
        let mut lines = text.lines().peekable();
        let mut path = String::new();
        while let Some(line) = lines.next() {
            let line = line.trim_end();
            let mut until = |end: &str| {
                let mut found = String::new();
                for line in lines.by_ref() {
                    if line.trim_end() == end {
                        return Some(found);
                    }
                    found.push_str(line);
                    found.push('\n');
                }
                None
            };
            if let Some(name) = line.strip_prefix(FILE) {
                path = name.trim().to_owned();
            } else if line == SEARCH {
                let found = until(DIVIDE).and_then(|find| Some((find, until(REPLACE)?)));
                match found {
                    Some((find, replace)) => answer.edits.push(Edit::Replace {
                        path: path.clone(),
                        find,
                        replace,
                    }),
                    None => answer.cut = true,
                }
            } else if let Some(name) = line.strip_prefix(NEW) {
                match until(END) {
                    Some(text) => answer.edits.push(Edit::Create {
                        path: name.trim().to_owned(),
                        text,
                    }),
                    None => answer.cut = true,
                }
            } else if let Some(name) = line.strip_prefix(DELETE) {
                answer.edits.push(Edit::Delete {
                    path: name.trim().to_owned(),
                });
            } else if let Some((from, to)) = line
                .strip_prefix(RENAME)
                .and_then(|names| names.split_once(" -> "))
            {
                answer.edits.push(Edit::Rename {
                    from: from.trim().to_owned(),
                    to: to.trim().to_owned(),
                });
            }
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_read_out_of_an_answer_and_half_ones_are_told() {
        let text = "Sure:\nFILE: a.py\n<<<<<<< SEARCH\nx = 1\n=======\nx = 2\n\n>>>>>>> REPLACE\n<<<<<<< SEARCH\ny\n=======\n\
                    >>>>>>> REPLACE\nNEW FILE: b/c.py\nz\n>>>>>>> END\nDELETE FILE: d.py\nRENAME: e -> f\n";
        let replace = |find: &str, replace: &str| Edit::Replace {
            path: "a.py".into(),
            find: find.into(),
            replace: replace.into(),
        };
        let edits = vec![
            replace("x = 1\n", "x = 2\n\n"),
            replace("y\n", ""),
            Edit::Create {
                path: "b/c.py".into(),
                text: "z\n".into(),
            },
            Edit::Delete {
                path: "d.py".into(),
            },
            Edit::Rename {
                from: "e".into(),
                to: "f".into(),
            },
        ];
        assert_eq!(Answer::read(text), Answer { edits, cut: false });
        for half in [
            "FILE: a.py\n<<<<<<< SEARCH\nx\n=======\ny\n",
            "FILE: a.py\n<<<<<<< SEARCH\nx\n",
            "NEW FILE: a\nx\n",
        ] {
            assert_eq!(
                Answer::read(half),
                Answer {
                    edits: vec![],
                    cut: true
                },
                "{half}"
            );
        }
        assert_eq!(Answer::read("no edits at all"), Answer::default());
    }
}
