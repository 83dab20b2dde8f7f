//! Support desks: a collection, what visitors are told, and who may ask.
//!
//! Desks are kept in a file of the home, as keys are; what was asked lies in the database ([`Turns`]). A desk's key is
//! public: it stands in the pages that show the desk, and lets do nothing but ask that desk.

mod mask;
mod turns;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{EngineError, Result};

pub use mask::masked;
pub use turns::{Cluster, Turn, Turns};

/// What every desk's key begins with, so that it can be told from others.
pub const KEY_PREFIX: &str = "pk-";

/// Questions of one visitor in a minute where nothing is said.
pub const RATE: u32 = 12;

/// Days that questions are kept where nothing is said.
pub const KEPT: u32 = 30;

/// A support desk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Desk {
    /// Its name in addresses.
    pub name: String,
    /// The collection that it answers from, and no other.
    pub collection: String,
    /// The key that its pages bring.
    pub key: String,
    /// What visitors call it.
    pub title: String,
    /// What it says first.
    pub greeting: String,
    /// How a language model shall sound.
    #[serde(default)]
    pub tone: Option<String>,
    /// A language model that phrases answers; quotes where there is none.
    #[serde(default)]
    pub model: Option<String>,
    /// The colour of its buttons: `#` and six digits.
    pub colour: String,
    /// The language of its buttons and notes, as BCP 47 has it; that of the page where nothing is said.
    #[serde(default)]
    pub language: Option<String>,
    /// What is said where the documents do not answer.
    #[serde(default)]
    pub unknown: Option<String>,
    /// The mail address that questions are handed over to.
    #[serde(default)]
    pub mail: Option<String>,
    /// The address that questions are posted to as JSON.
    #[serde(default)]
    pub webhook: Option<String>,
    /// The sites that may show it, as `https://shop.example`; its own page always may.
    #[serde(default)]
    pub origins: Vec<String>,
    /// Questions of one visitor in a minute.
    pub rate: u32,
    /// How sure an answer must be, from 0 to 1.
    pub sure: f64,
    /// Days that questions are kept; 0 keeps none.
    pub days: u32,
    /// Whether addresses and numbers of people are masked before they are kept.
    pub mask: bool,
    /// Seconds since 1970.
    pub created_at: u64,
}

/// The desks of a home.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Desks {
    /// In the order in which they were made.
    pub desks: Vec<Desk>,
}

fn wrong(field: &str, reason: impl Into<String>) -> EngineError {
    EngineError::BadRequest {
        field: field.into(),
        reason: reason.into(),
    }
}

impl Desk {
    /// A desk of this name over a collection, as it is where nothing else is said.
    pub fn new(name: &str, collection: &str) -> Self {
        Self {
            name: name.to_owned(),
            collection: collection.to_owned(),
            key: format!("{KEY_PREFIX}{:032x}", rand::random::<u128>()),
            title: "Help".into(),
            greeting: String::new(),
            tone: None,
            model: None,
            colour: "#1f5f8b".into(),
            language: None,
            unknown: None,
            mail: None,
            webhook: None,
            origins: Vec::new(),
            rate: RATE,
            sure: crate::documents::answer::SURE,
            days: KEPT,
            mask: true,
            created_at: crate::database::now(),
        }
    }

    /// Refuses what a desk cannot be.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] that names the field.
    pub fn check(&self) -> Result<()> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(plain) {
            return Err(wrong(
                "name",
                "it has 1 to 64 small letters, digits and dashes",
            ));
        }
        let hex = self.colour.strip_prefix('#').unwrap_or_default();
        if hex.len() != 6 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong("colour", "it is written as #1f5f8b"));
        }
        for (field, text) in [
            ("title", Some(&self.title)),
            ("greeting", Some(&self.greeting)),
            ("unknown", self.unknown.as_ref()),
            ("tone", self.tone.as_ref()),
        ] {
            if text.is_some_and(|text| text.chars().count() > 1000 || text.contains('\0')) {
                return Err(wrong(field, "it has at most 1000 characters"));
            }
        }
        for origin in &self.origins {
            let (scheme, host) = origin.split_once("://").unwrap_or_default();
            if !matches!(scheme, "http" | "https")
                || host.is_empty()
                || host.contains(['/', '?', '#', '*', ' '])
            {
                return Err(wrong(
                    "origin",
                    format!("{origin:?} is not of the form https://shop.example"),
                ));
            }
        }
        if let Some(mail) = &self.mail
            && (!mail.contains('@')
                || mail.contains(|c: char| {
                    c.is_whitespace() || c.is_control() || "?&<>\"".contains(c)
                }))
        {
            return Err(wrong("mail", "it is no mail address"));
        }
        if let Some(webhook) = &self.webhook
            && !(webhook.starts_with("https://")
                || webhook.starts_with("http://127.0.0.1")
                || webhook.starts_with("http://localhost"))
        {
            return Err(wrong("webhook", "it begins with https://"));
        }
        if !(0.0..=1.0).contains(&self.sure) {
            return Err(wrong("sure", "it is from 0 to 1"));
        }
        if self.rate == 0 {
            return Err(wrong("rate", "it is at least 1"));
        }
        Ok(())
    }

    /// Whether a page of this origin may show the desk.
    pub fn lets_in(&self, origin: &str) -> bool {
        self.origins
            .iter()
            .any(|one| one.eq_ignore_ascii_case(origin))
    }
}

impl Desks {
    /// The desks of this file; none where it is not there.
    ///
    /// # Errors
    /// [`EngineError::Io`], [`EngineError::Output`] for a file that is damaged.
    pub fn load(path: &Path) -> Result<Self> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(EngineError::io("read", path)(error)),
        };
        serde_json::from_slice(&text).map_err(|error| EngineError::Output {
            path: path.to_owned(),
            reason: format!("it is no list of desks: {error}"),
        })
    }

    /// Adds a desk, in the place of one of the same name, whose key it keeps.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] for one that cannot be.
    pub fn put(&mut self, mut desk: Desk) -> Result<&Desk> {
        desk.check()?;
        if let Some(at) = self.desks.iter().position(|old| old.name == desk.name) {
            desk.key.clone_from(&self.desks[at].key);
            desk.created_at = self.desks[at].created_at;
            self.desks[at] = desk;
            return Ok(&self.desks[at]);
        }
        self.desks.push(desk);
        Ok(&self.desks[self.desks.len() - 1])
    }

    /// The desk of this name.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub fn find(&self, name: &str) -> Result<&Desk> {
        let found = self.desks.iter().find(|desk| desk.name == name);
        found.ok_or_else(|| EngineError::NotFound {
            what: "desk",
            id: name.to_owned(),
        })
    }

    /// Takes a desk away; whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.desks.len();
        self.desks.retain(|desk| desk.name != name);
        self.desks.len() < before
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`EngineError::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(EngineError::io("create", folder))?;
        }
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        crate::work_file::write(path, &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_desk_is_checked_and_keeps_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("home/desks.json");
        let mut desks = Desks::load(&path).unwrap();
        let desk = Desk {
            origins: vec!["https://shop.example".into()],
            ..Desk::new("shop", "help")
        };
        let key = desks.put(desk.clone()).unwrap().key.clone();
        assert!(key.starts_with(KEY_PREFIX));
        let again = Desk {
            title: "Ask us".into(),
            ..Desk::new("shop", "help")
        };
        assert_eq!(desks.put(again).unwrap().key, key);
        desks.save(&path).unwrap();
        let mut read = Desks::load(&path).unwrap();
        assert_eq!(read, desks);
        assert_eq!(read.find("shop").unwrap().title, "Ask us");
        assert!(read.remove("shop") && !read.remove("shop") && read.find("shop").is_err());
        assert!(desk.lets_in("https://Shop.example") && !desk.lets_in("https://evil.example"));
        for bad in [
            Desk {
                name: "../x".into(),
                ..desk.clone()
            },
            Desk {
                colour: "red;}".into(),
                ..desk.clone()
            },
            Desk {
                origins: vec!["https://*".into()],
                ..desk.clone()
            },
            Desk {
                webhook: Some("http://10.0.0.1/".into()),
                ..desk.clone()
            },
            Desk {
                mail: Some("a@b?bcc=c@d".into()),
                ..desk.clone()
            },
            Desk {
                rate: 0,
                ..desk.clone()
            },
        ] {
            assert!(desks.put(bad).is_err());
        }
    }
}
