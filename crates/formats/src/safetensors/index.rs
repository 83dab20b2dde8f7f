//! The index of a model that is spread over several files (`*.safetensors.index.json`, and the same
//! for PyTorch's `.bin`).

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use indexmap::IndexMap;
use serde::Deserialize;

use super::read::Members;
use crate::error::{FormatError, Problem, one_line, quote};

/// Bytes of JSON that are looked at; the largest published index has 8 MB.
const MAX_BYTES: u64 = 100_000_000;
const MAX_SHARDS: u64 = 4096;

/// Which file holds which tensor.
pub(crate) struct Index {
    /// Tensor name to file name.
    pub(crate) weight_map: IndexMap<String, String>,
    /// The files, in order of their names, beside the index.
    pub(crate) shards: Vec<String>,
}

#[derive(Deserialize)]
struct Json {
    weight_map: Members<String>,
}

impl Index {
    /// Reads the index and checks that the files it names, and no others of their set, are beside it.
    pub(crate) fn open(path: &Path) -> Result<Self, FormatError> {
        let file = std::fs::File::open(path).map_err(|e| FormatError::io(path, "open", e))?;
        let about = file
            .metadata()
            .map_err(|e| FormatError::io(path, "read", e))?;
        Problem::check_limit("the length of the index", about.len(), MAX_BYTES)
            .map_err(|p| p.at(path))?;
        let text = std::fs::read(path).map_err(|e| FormatError::io(path, "read", e))?;
        let index = Self::parse(&text).map_err(|p| p.at(path))?;
        index.check_folder(path)?;
        Ok(index)
    }

    /// Reads the index without looking at files.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Problem> {
        let json: Json = serde_json::from_slice(text).map_err(|error| {
            Problem::invalid(
                "the index",
                format!("unreadable ({})", one_line(&error.to_string())),
                "a JSON object with a weight_map of tensor names to file names",
            )
        })?;
        let mut weight_map = IndexMap::new();
        for (name, shard) in json.weight_map.0 {
            if weight_map.insert(name.clone(), shard).is_some() {
                return Err(Problem::Duplicate {
                    what: "tensor",
                    name,
                });
            }
        }
        let shards: BTreeSet<&String> = weight_map.values().collect();
        Problem::check_limit("the number of files", shards.len() as u64, MAX_SHARDS)?;
        if shards.is_empty() {
            return Err(Problem::invalid("weight_map", "empty", "a map of tensors"));
        }
        for shard in &shards {
            if !is_plain_name(shard) {
                return Err(Problem::invalid(
                    "the file name of a shard",
                    quote(shard),
                    "a plain name beside the index, without folders",
                ));
            }
        }
        let shards = shards.into_iter().cloned().collect();
        Ok(Self { weight_map, shards })
    }

    fn check_folder(&self, path: &Path) -> Result<(), FormatError> {
        let folder = folder_of(path);
        for shard in &self.shards {
            if !folder.join(shard).is_file() {
                return Err(Problem::Shards {
                    what: format!("the file {} that it names is missing", quote(shard)),
                    hint: format!("put it into {}", folder.display()),
                }
                .at(path));
            }
        }
        // A file of the same set that the index does not know: two downloads have been mixed.
        let sets: BTreeSet<Set<'_>> = self.shards.iter().filter_map(|s| Set::of(s)).collect();
        let entries =
            std::fs::read_dir(&folder).map_err(|e| FormatError::io(&folder, "list", e))?;
        for entry in entries {
            let entry = entry.map_err(|e| FormatError::io(&folder, "list", e))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let of_set = Set::of(&name).is_some_and(|set| sets.contains(&set));
            if of_set && self.shards.binary_search(&name).is_err() {
                return Err(Problem::Shards {
                    what: format!(
                        "the file {} beside it is not in its weight_map",
                        quote(&name)
                    ),
                    hint: "fetch index and files again from one source, or remove the file".into(),
                }
                .at(path));
            }
        }
        Ok(())
    }
}

/// What the names of one set of shards have in common: all but the number of the shard.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Set<'a> {
    stem: &'a str,
    rest: &'a str,
}

impl<'a> Set<'a> {
    /// Of `model-00001-of-00002.safetensors`: `model` and `-of-00002.safetensors`.
    fn of(name: &'a str) -> Option<Self> {
        let (front, _) = name.split_once("-of-")?;
        let (stem, number) = front.rsplit_once('-')?;
        let numbered = number.len() == 5 && number.bytes().all(|b| b.is_ascii_digit());
        numbered.then(|| Self {
            stem,
            rest: &name[front.len()..],
        })
    }
}

/// Whether a name stays in the folder it is joined to, on every system.
fn is_plain_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!(parts.next(), Some(Component::Normal(part)) if part == name)
        && parts.next().is_none()
        && !name.contains(['/', '\\', ':', '\0'])
}

pub(crate) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for bad in [
            "",
            ".",
            "..",
            "../a",
            "/etc/passwd",
            "a/b",
            "a\\b",
            "c:a",
            "./a",
            "a/",
        ] {
            assert!(!is_plain_name(bad), "{bad}");
            let text = format!("{{\"weight_map\":{{\"w\":{}}}}}", serde_json::json!(bad));
            assert!(Index::parse(text.as_bytes()).is_err(), "{bad}");
        }
        assert!(is_plain_name("model-00001-of-00002.safetensors"));
        assert!(is_plain_name("..a"));
    }

    #[test]
    fn sets_are_told_apart_by_stem_and_total() {
        let set = |name| Set::of(name).map(|s| (s.stem, s.rest));
        assert_eq!(
            set("model-00001-of-00002.safetensors"),
            Some(("model", "-of-00002.safetensors"))
        );
        assert_eq!(set("model.safetensors"), None);
        assert_eq!(set("best-of-show.safetensors"), None);
    }
}
