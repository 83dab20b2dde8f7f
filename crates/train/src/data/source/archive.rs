//! WebDataset archives: tar files in which members of one stem are one sample
//! (<https://github.com/webdataset/webdataset>).
//!
//! Only headers and captions are read for the index; of pictures it keeps the place, so that they are read in
//! any order without unpacking.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::list::{captions, group};
use super::{
    Dataset, Item, Kind, Place, captions_of, extension, is_other_picture, is_picture, read_text,
};
use crate::data::DataError;

/// A sample as far as its members have come.
#[derive(Default)]
struct Sample {
    picture: Option<(String, u64, u64)>,
    captions: Vec<String>,
    group: Option<String>,
    problem: Option<String>,
}

impl Dataset {
    pub(super) fn read_archives(&mut self, archives: Vec<PathBuf>) -> Result<(), DataError> {
        self.kind = Kind::Archives;
        for (number, path) in archives.iter().enumerate() {
            self.read_archive(path, number as u32)?;
        }
        self.archives = archives;
        Ok(())
    }

    fn read_archive(&mut self, path: &Path, number: u32) -> Result<(), DataError> {
        let file = File::open(path).map_err(DataError::io(path, "read"))?;
        let length = file.metadata().map_err(DataError::io(path, "read"))?.len();
        let damaged = |e: std::io::Error| DataError::Archive {
            path: path.to_owned(),
            reason: e
                .to_string()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
        };
        let shard = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut archive = tar::Archive::new(BufReader::new(file));
        // Samples in the order in which they begin.
        let mut order: Vec<String> = Vec::new();
        let mut samples: HashMap<String, Sample> = HashMap::new();
        for entry in archive.entries_with_seek().map_err(damaged)? {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if samples.is_empty() => return Err(damaged(error)),
                // What came before the damage is whole.
                Err(error) => {
                    self.bad.push(shard.clone(), damaged(error).to_string());
                    break;
                }
            };
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let name = String::from_utf8_lossy(&entry.path_bytes()).replace('\\', "/");
            let Some(key) = key(&name) else {
                continue;
            };
            let sample = samples.entry(key.clone()).or_insert_with(|| {
                order.push(key);
                Sample::default()
            });
            let (offset, bytes) = (entry.raw_file_position(), entry.size());
            if offset.saturating_add(bytes) > length {
                sample.problem = Some("the archive ends before it does".to_owned());
            }
            sample.member(name, entry, offset, bytes);
        }
        for key in order {
            if let Some(sample) = samples.remove(&key) {
                self.sample(&shard, &key, sample, number);
            }
        }
        Ok(())
    }

    fn sample(&mut self, shard: &str, key: &str, sample: Sample, archive: u32) {
        let Some((name, offset, bytes)) = sample.picture else {
            let reason = sample
                .problem
                .unwrap_or_else(|| "the sample has no picture".to_owned());
            return self.bad.push(format!("{shard}/{key}"), reason);
        };
        let name = format!("{shard}/{name}");
        if let Some(problem) = sample.problem {
            return self.bad.push(name, problem);
        }
        if sample.captions.is_empty() {
            return self.bad.push(name, "nothing is said about it");
        }
        let place = Place::Member {
            archive,
            offset,
            bytes,
        };
        // Whatever archive a sample lies in, its side of a split is the same.
        let group = sample.group.or_else(|| Some(key.to_owned()));
        self.push(Item::new(&name, place, sample.captions, group));
    }
}

impl Sample {
    fn member(&mut self, name: String, content: impl Read, offset: u64, bytes: u64) {
        let path = Path::new(&name);
        if is_picture(path) {
            // Of several pictures the first is the sample's.
            self.picture.get_or_insert((name, offset, bytes));
            return;
        }
        if is_other_picture(path) && self.picture.is_none() {
            self.problem = Some(format!(".{} pictures are not read", extension(path)));
            return;
        }
        let ending = extension(path);
        if !matches!(ending.as_str(), "txt" | "caption" | "json") {
            return;
        }
        let text = match read_text(content) {
            Ok(text) => text,
            Err(problem) => {
                self.problem = Some(problem);
                return;
            }
        };
        if ending == "json" {
            let Ok(object) = serde_json::from_str::<Map<String, Value>>(&text) else {
                self.problem = Some("its .json is no JSON object".to_owned());
                return;
            };
            self.group = group(&object).or(self.group.take());
            // What a .txt says goes first.
            if self.captions.is_empty() {
                self.captions = captions(&object);
            }
        } else {
            self.captions = captions_of(&text);
        }
    }
}

/// The part of a member's name that its sample shares: up to the first dot of the file's name. None for hidden files and
/// the extra files that some systems pack.
fn key(name: &str) -> Option<String> {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    let (stem, _) = file.split_once('.')?;
    if stem.is_empty() {
        return None;
    }
    let folder = folder.trim_start_matches("./").trim_start_matches('.');
    Some(if folder.is_empty() {
        stem.to_owned()
    } else {
        format!("{folder}/{stem}")
    })
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn members_of_a_sample_share_their_key() {
        assert_eq!(key("00/0001.jpg").as_deref(), Some("00/0001"));
        assert_eq!(key("00/0001.seg.png").as_deref(), Some("00/0001"));
        assert_eq!(key("./0001.txt").as_deref(), Some("0001"));
        assert_eq!(key("0001.txt").as_deref(), Some("0001"));
        assert_eq!(key("._0001.txt"), None);
        assert_eq!(key("README"), None);
    }
}
