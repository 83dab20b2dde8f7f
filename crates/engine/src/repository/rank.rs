//! Which files a request is about: BM25 over pieces of them, as documents are searched, and the names that it mentions.

use std::collections::HashSet;

use rusqlite::Connection;

use super::Repository;
use super::source::identifiers;
use crate::documents::by_words;
use crate::{EngineError, Result};

/// Pieces that are looked at of what is found.
const FOUND: usize = 2000;

/// What further pieces of a file count beside its best one.
const FURTHER: [f64; 3] = [1.0, 0.5, 0.25];

/// The files of a repository as a request finds them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranking {
    /// Place and score of each file, the best first; 0 for those that nothing speaks for.
    pub files: Vec<(usize, f64)>,
    /// Of each file the scores of its pieces.
    pub(super) pieces: Vec<Vec<f64>>,
    /// Files whose path the request says.
    pub(super) mentioned: HashSet<usize>,
}

impl Repository {
    /// Ranks the files by a request.
    ///
    /// # Errors
    /// [`EngineError::Database`], of the index in memory.
    pub fn rank(&self, request: &str) -> Result<Ranking> {
        let pieces = self
            .piece_scores(request)
            .map_err(|source| EngineError::Database { source })?;
        let mut scores: Vec<f64> = pieces
            .iter()
            .map(|scores| {
                let mut scores = scores.clone();
                scores.sort_by(|a, b| b.total_cmp(a));
                scores
                    .iter()
                    .zip(FURTHER)
                    .map(|(score, share)| score * share)
                    .sum()
            })
            .collect();
        let best = scores.iter().copied().fold(1.0, f64::max);
        for (score, named) in scores.iter_mut().zip(self.by_names(request)) {
            *score += named * best;
        }
        let mentioned = self.mentioned(request);
        for &index in &mentioned {
            scores[index] += 2.0 * best;
        }
        let mut files: Vec<(usize, f64)> = scores.into_iter().enumerate().collect();
        files.sort_by(|a, b| {
            let by_path = || self.files[a.0].path.cmp(&self.files[b.0].path);
            let by_weight =
                || prominence(&self.files[b.0].path).cmp(&prominence(&self.files[a.0].path));
            b.1.total_cmp(&a.1).then_with(by_weight).then_with(by_path)
        });
        Ok(Ranking {
            files,
            pieces,
            mentioned,
        })
    }

    /// BM25 of each piece of each file.
    fn piece_scores(&self, request: &str) -> rusqlite::Result<Vec<Vec<f64>>> {
        let empty = |file: &super::SourceFile| vec![0.0; file.pieces.len().max(1)];
        let mut scores: Vec<Vec<f64>> = self.files.iter().map(empty).collect();
        let Some(asked) = by_words::match_of(&parted(request)) else {
            return Ok(scores);
        };
        let connection = Connection::open_in_memory()?;
        by_words::create(&connection, "words")?;
        let mut places = Vec::new();
        {
            let mut insert =
                connection.prepare("INSERT INTO words (rowid, heading, text) VALUES (?, ?, ?)")?;
            for (index, file) in self.files.iter().enumerate() {
                let names: Vec<&str> = file.definitions.iter().map(|d| d.name.as_str()).collect();
                let heading = parted(&format!("{} {}", file.path, names.join(" ")));
                let lines: Vec<&str> = file.text.split_inclusive('\n').collect();
                for piece in 0..file.pieces.len().max(1) {
                    let text = file.pieces.get(piece).map_or(String::new(), |piece| {
                        let end = (piece.first + piece.lines).min(lines.len());
                        parted(&lines[piece.first.min(end)..end].concat())
                    });
                    insert.execute((places.len() as i64, &heading, text))?;
                    places.push((index, piece));
                }
            }
        }
        let mut select = connection.prepare(&by_words::select("words"))?;
        let mut found = select.query([asked])?;
        for _ in 0..FOUND {
            let Some(row) = found.next()? else { break };
            let (row, score): (i64, f64) = (row.get(0)?, row.get(1)?);
            if let Some(&(file, piece)) = usize::try_from(row).ok().and_then(|row| places.get(row))
            {
                scores[file][piece] = score;
            }
        }
        Ok(scores)
    }

    /// What speaks for each file because it defines, or uses, what the request names; less where many files define it.
    fn by_names(&self, request: &str) -> Vec<f64> {
        let asked: HashSet<&str> = identifiers(request).filter(|word| word.len() > 2).collect();
        let mut shares: Vec<(&str, f64)> = Vec::new();
        for name in asked {
            let count = self.defining(name).len();
            if count > 0 {
                shares.push((name, 1.0 / count as f64));
            }
        }
        let weight = |file: &super::SourceFile| {
            let of = |(name, share): &(&str, f64)| {
                if file.definitions.iter().any(|d| d.name == *name) {
                    0.5 * share
                } else if identifiers(&file.text).any(|word| word == *name) {
                    0.25 * share
                } else {
                    0.0
                }
            };
            shares.iter().map(of).fold(0.0, f64::max)
        };
        self.files.iter().map(weight).collect()
    }

    /// Files whose path, or whose name where it has an ending, stands in the request.
    fn mentioned(&self, request: &str) -> HashSet<usize> {
        let words: Vec<&str> = request
            .split(|c: char| c.is_whitespace() || "`'\"(),;:?!".contains(c))
            .map(|word| word.trim_end_matches('.').trim_start_matches("./"))
            .filter(|word| word.contains(['.', '/']))
            .collect();
        let named = |path: &str| {
            words.iter().any(|word| {
                path == *word
                    || path
                        .strip_suffix(word)
                        .is_some_and(|rest| rest.ends_with('/'))
            })
        };
        (0..self.files.len())
            .filter(|&i| named(&self.files[i].path))
            .collect()
    }
}

/// How early a file is looked at of which nothing else is known: what introduces a program, then where it begins.
fn prominence(path: &str) -> i32 {
    let name = path
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let stem = name.split('.').next().unwrap_or_default();
    let weight = match stem {
        "readme" => 6,
        "main" | "app" | "index" | "lib" | "mod" | "__init__" | "__main__" => 4,
        _ if name == "cargo.toml" || name == "package.json" || name == "pyproject.toml" => 3,
        _ => 2,
    };
    weight - path.matches('/').count().min(8) as i32
}

/// A text whose names are also there in their parts: `readConfig`, read, config.
pub(super) fn parted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    out.push_str(text);
    for word in identifiers(text) {
        let mut lower = false;
        if !word.chars().any(|c| {
            let boundary = lower && c.is_uppercase();
            lower = c.is_lowercase() || c.is_numeric();
            boundary
        }) {
            continue;
        }
        out.push(' ');
        let mut lower = false;
        for c in word.chars() {
            if lower && c.is_uppercase() {
                out.push(' ');
            }
            lower = c.is_lowercase() || c.is_numeric();
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parted_where_capitals_begin() {
        assert_eq!(
            parted("let readConfig2File = 1"),
            "let readConfig2File = 1 read Config2 File"
        );
        assert_eq!(parted("HTTP plain snake_case"), "HTTP plain snake_case");
    }
}
