//! Which files, and which lines of them, a model is shown: as many as its context has room for.

use std::fmt;
use std::ops::Range;

use serde::{Serialize, Serializer};

use super::source::Piece;
use super::{Ranking, Repository};
use crate::{EngineError, Result};

/// Files that are chosen by rank at most: small models lose the thread of more.
const RANKED: usize = 8;

/// A file with a lower score than this share of the best one's is not shown unasked.
const NEAR: f64 = 0.25;

/// The share of the room that a file may take which nobody named, in percent.
const SHARE: usize = 60;

/// Lines around a piece that are shown with it.
const AROUND: usize = 2;

/// Why a file is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The user named it.
    Named,
    /// The request says its path.
    Mentioned,
    /// The model chose it from the map.
    Chosen,
    /// Its words and names are those of the request.
    Ranked,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Named => "named",
            Self::Mentioned => "mentioned",
            Self::Chosen => "chosen",
            Self::Ranked => "ranked",
        })
    }
}

impl Serialize for Why {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A file that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its place among the repository's files.
    pub file: usize,
    /// Why it is shown.
    pub why: Why,
    /// The lines that are shown, from 0, in order and apart; nothing where it is shown whole.
    pub parts: Option<Vec<Range<usize>>>,
}

impl Shown {
    /// The lines that are shown of a file that has so many.
    pub(super) fn ranges(&self, lines: usize) -> Vec<Range<usize>> {
        let whole = || std::iter::once(0..lines).collect();
        self.parts.clone().unwrap_or_else(whole)
    }
}

/// A file that was a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its place among the repository's files.
    pub file: usize,
    /// Tokens that it would take.
    pub tokens: usize,
}

/// What a model is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The files in order: those that were named first.
    pub shown: Vec<Shown>,
    /// Files that would have been shown, had there been room.
    pub left_out: Vec<LeftOut>,
    /// Tokens of what is shown.
    pub tokens: usize,
}

/// Who asked for which files before ranks count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// Those that the user named.
    pub named: &'a [usize],
    /// Those that the model chose from the map.
    pub chosen: &'a [usize],
    /// Whether files that are only ranked are shown too.
    pub ranked: bool,
}

impl Repository {
    /// Chooses what to show within `budget` tokens, as `count` counts those of a text.
    ///
    /// # Errors
    /// [`EngineError::Repository`] where a named file has no room, not even in parts.
    pub fn choose(
        &self,
        ranking: &Ranking,
        asked: Asked<'_>,
        budget: usize,
        count: &dyn Fn(&str) -> usize,
    ) -> Result<Choice> {
        let mut choice = Choice::default();
        for (file, why) in self.candidates(ranking, asked) {
            let whole = count(&self.files[file].text) + count(&self.files[file].path) + 16;
            let left = budget.saturating_sub(choice.tokens);
            let named = why == Why::Named;
            let room = if named {
                left
            } else {
                left.min(budget * SHARE / 100)
            };
            if whole <= room {
                choice.tokens += whole;
                choice.shown.push(Shown {
                    file,
                    why,
                    parts: None,
                });
                continue;
            }
            let (parts, tokens) = self.parts(file, ranking, room, count);
            if parts.is_empty() {
                if named {
                    return Err(EngineError::Repository {
                        path: self.files[file].path.clone().into(),
                        reason: format!(
                            "it has {whole} tokens, and the model's context has room for {left} more; name fewer files, or take a model with a longer context"
                        ),
                    });
                }
                choice.left_out.push(LeftOut {
                    file,
                    tokens: whole,
                });
                continue;
            }
            choice.tokens += tokens;
            choice.shown.push(Shown {
                file,
                why,
                parts: Some(parts),
            });
        }
        Ok(choice)
    }

    /// The files that may be shown, in the order in which they get room.
    fn candidates(&self, ranking: &Ranking, asked: Asked<'_>) -> Vec<(usize, Why)> {
        let mut found: Vec<(usize, Why)> =
            asked.named.iter().map(|&file| (file, Why::Named)).collect();
        let mut add = |file: usize, why: Why| {
            if found.iter().all(|(known, _)| *known != file) {
                found.push((file, why));
            }
        };
        let by_rank = ranking.files.iter();
        for (file, _) in by_rank
            .clone()
            .filter(|(file, _)| ranking.mentioned.contains(file))
        {
            add(*file, Why::Mentioned);
        }
        for &file in asked.chosen {
            add(file, Why::Chosen);
        }
        if asked.ranked {
            let best = ranking.files.first().map_or(0.0, |(_, score)| *score);
            let near = by_rank
                .take(RANKED)
                .filter(|(_, score)| *score >= NEAR * best);
            for (file, _) in near {
                add(*file, Why::Ranked);
            }
        }
        found
    }

    /// The parts of a file that the request is about, as many as have room, and their tokens.
    fn parts(
        &self,
        file: usize,
        ranking: &Ranking,
        room: usize,
        count: &dyn Fn(&str) -> usize,
    ) -> (Vec<Range<usize>>, usize) {
        let source = &self.files[file];
        let lines: Vec<&str> = source.text.split_inclusive('\n').collect();
        let range = |piece: &Piece| {
            let end = (piece.first + piece.lines + AROUND).min(lines.len());
            piece.first.saturating_sub(AROUND)..end
        };
        let scores = ranking.pieces.get(file).map_or(&[][..], Vec::as_slice);
        let mut order: Vec<usize> = (0..source.pieces.len()).collect();
        order.sort_by(|a, b| {
            let score = |i: &usize| scores.get(*i).copied().unwrap_or(0.0);
            score(b).total_cmp(&score(a)).then(a.cmp(b))
        });
        let mut shown = vec![false; lines.len()];
        let mut tokens = count(&source.path) + 16;
        for piece in order.iter().filter_map(|&i| source.pieces.get(i)) {
            let new: String = range(piece)
                .filter(|&line| !shown[line])
                .map(|line| lines[line])
                .collect();
            let more = count(&new) + 2;
            if tokens + more > room {
                break;
            }
            tokens += more;
            range(piece).for_each(|line| shown[line] = true);
        }
        let mut parts: Vec<Range<usize>> = Vec::new();
        for line in (0..lines.len()).filter(|&line| shown[line]) {
            match parts.last_mut() {
                Some(part) if part.end == line => part.end = line + 1,
                _ => parts.push(line..line + 1),
            }
        }
        (parts, tokens)
    }
}
