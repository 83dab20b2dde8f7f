//! The dataset that the clips are trained on: the animated emoji, with the captions that icons have.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use anyhow::{Context, Result};
use medley_media::{Limits, decode_frames};
use serde_json::json;

use super::captions::{self, Emoji, Style};
use super::{packages, replace};

/// Writes the clips that move to `out`, as they are, with their captions.
pub fn dataset(out: &Path) -> Result<()> {
    let words = packages::fetch()?;
    let (moving, licences) = packages::moving()?;
    let emoji = captions::emoji(&words.list, &words.words)?;
    let by_file: HashMap<&str, &Emoji> = emoji.iter().map(|e| (e.file.as_str(), e)).collect();
    let parent = out.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)
        .with_context(|| format!("cannot create {}", parent.display()))?;
    let work = tempfile::Builder::new()
        .prefix(".clips")
        .tempdir_in(parent)
        .with_context(|| format!("cannot create a folder in {}", parent.display()))?;
    let (mut lines, mut groups) = (String::new(), BTreeSet::new());
    let (mut count, mut still, mut unnamed) = (0, 0, 0);
    for (name, bytes) in &moving {
        let Some(&emoji) = by_file.get(captions::normalised(name).as_str()) else {
            unnamed += 1;
            continue;
        };
        if !decode_frames(bytes, &Limits::default()).is_ok_and(|frames| frames.len() > 1) {
            still += 1;
            continue;
        }
        let file = format!("{name}.webp");
        medley_media::write_file(&work.path().join(&file), bytes)?;
        let line = json!({
            "file_name": file,
            "captions": emoji.captions(Style::Solid),
            "group": emoji.group,
            "name": emoji.name,
            "category": emoji.category,
            "skin_tone": emoji.tone,
        });
        lines += &format!("{line}\n");
        groups.insert(emoji.group.as_str());
        count += 1;
    }
    medley_media::write_file(&work.path().join("LICENCES"), licences.as_bytes())?;
    medley_media::write_file(&work.path().join("metadata.jsonl"), lines.as_bytes())?;
    replace(work, out)?;
    println!(
        "{}: {count} clips in {} groups\n  {still} left out: they do not move\n  {unnamed} left out: they have no name",
        out.display(),
        groups.len()
    );
    Ok(())
}
