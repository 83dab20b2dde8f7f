//! A map of a repository: its files with what they define, the likeliest first, within a budget of tokens.

use serde::Serialize;

use super::{Ranking, Repository};

/// The share of the budget that goes to files with what they define, in percent; the rest names further files.
const OUTLINED: usize = 75;

/// Definitions that are shown of a file at most.
const DEFINITIONS: usize = 40;

/// A file of a map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its path below the root.
    pub path: String,
    /// Bytes of its text.
    pub bytes: usize,
    /// Its lines.
    pub lines: usize,
    /// What it defines, as far as it is shown: line and text.
    pub definitions: Vec<(usize, String)>,
}

/// A map of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    /// The files that it shows, the likeliest first.
    pub entries: Vec<Entry>,
    /// The map in words.
    pub text: String,
    /// Files that it has no room for.
    pub more: usize,
}

impl Repository {
    /// The map within `budget` tokens, as `count` counts them.
    pub fn map(&self, ranking: &Ranking, budget: usize, count: &dyn Fn(&str) -> usize) -> Map {
        let mut map = Map::default();
        let mut used = 0;
        for &(index, _) in &ranking.files {
            let outlined = used < budget * OUTLINED / 100;
            let mut entry = self.entry(index, if outlined { DEFINITIONS } else { 0 });
            let mut text = written(&entry);
            let mut tokens = count(&text);
            // What does not fit whole is shown with half of its definitions, and half of these.
            while used + tokens > budget && !entry.definitions.is_empty() {
                entry.definitions.truncate(entry.definitions.len() / 2);
                text = written(&entry);
                tokens = count(&text);
            }
            if used + tokens > budget {
                break;
            }
            used += tokens;
            map.text.push_str(&text);
            map.entries.push(entry);
        }
        map.more = self.files.len() - map.entries.len();
        if map.more > 0 {
            map.text
                .push_str(&format!("… and {} more files\n", map.more));
        }
        map
    }

    fn entry(&self, index: usize, most: usize) -> Entry {
        let file = &self.files[index];
        // What lies deeper is told by what it lies in.
        let mut depths: Vec<usize> = file.definitions.iter().map(|d| d.indent).collect();
        depths.sort_unstable();
        let depth = depths
            .get(most.saturating_sub(1))
            .copied()
            .unwrap_or(usize::MAX);
        let shown = file
            .definitions
            .iter()
            .filter(|d| d.indent <= depth)
            .take(most);
        Entry {
            path: file.path.clone(),
            bytes: file.text.len(),
            lines: file.text.lines().count(),
            definitions: shown
                .map(|d| (d.line, format!("{}{}", " ".repeat(d.indent.min(8)), d.text)))
                .collect(),
        }
    }
}

fn written(entry: &Entry) -> String {
    let mut text = format!(
        "{} ({}, {} lines)\n",
        entry.path,
        size(entry.bytes),
        entry.lines
    );
    for (line, definition) in &entry.definitions {
        text.push_str(&format!("  {line}: {definition}\n"));
    }
    text
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1000 => format!("{bytes} B"),
        _ => format!("{:.1} kB", bytes as f64 / 1000.0),
    }
}
