//! What was asked at desks and what was said, as long as it is to be kept.

use std::sync::Arc;

use rusqlite::params;
use serde::Serialize;
use serde_json::Value;

use super::{Desk, masked};
use crate::database::{Database, json, now};
use crate::documents::Encoder;
use crate::documents::answer::Answer;
use crate::{EngineError, Result};

/// Seconds of a day.
const DAY: u64 = 86_400;

/// Questions before one that are looked back on.
const BACK: usize = 4;

/// Cosine that questions about the same have.
const ALIKE: f32 = 0.65;

/// Questions that are clustered at most, the latest.
const CLUSTERED: usize = 5000;

/// A question and what was said.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Turn {
    /// The visit that it was of.
    pub session: String,
    /// Seconds since 1970.
    pub at: u64,
    /// The question.
    pub question: String,
    /// The question as it was understood.
    pub understood: String,
    /// Whether the documents answered it.
    pub answered: bool,
    /// How likely they did.
    pub confidence: f64,
    /// What was said.
    pub answer: String,
    /// Where it stands.
    pub citations: Value,
}

/// Questions about the same that had no answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cluster {
    /// The question that stands in their midst.
    pub question: String,
    /// How many there were.
    pub count: usize,
    /// When the latest was asked, in seconds since 1970.
    pub latest: u64,
    /// All of them, those that were asked word for word alike once.
    pub questions: Vec<String>,
}

/// The questions of all desks of a database.
pub struct Turns {
    database: Arc<Database>,
}

fn failed(source: rusqlite::Error) -> EngineError {
    EngineError::Database { source }
}

impl Turns {
    /// The questions of a database.
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Keeps a question with its answer, masked where the desk masks, and forgets those whose time is over.
    ///
    /// # Errors
    /// [`EngineError::Database`].
    pub fn keep(&self, desk: &Desk, session: &str, question: &str, answer: &Answer) -> Result<()> {
        let shown = |text: &str| {
            if desk.mask {
                masked(text)
            } else {
                text.to_owned()
            }
        };
        let citations = serde_json::to_string(&answer.citations).unwrap_or_default();
        let at = now();
        self.database.write(|transaction| {
            let keep = || {
                let oldest = at.saturating_sub(u64::from(desk.days) * DAY);
                let gone = "DELETE FROM turns WHERE desk = ? AND at < ?";
                transaction.execute(gone, params![desk.name, oldest as i64])?;
                if desk.days == 0 {
                    return Ok(());
                }
                transaction.execute(
                    "INSERT INTO turns (desk, session, at, question, understood, answered, confidence, answer, citations) \
                     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    params![
                        desk.name,
                        session,
                        at as i64,
                        shown(question),
                        shown(&answer.question),
                        answer.answered,
                        answer.confidence,
                        answer.text,
                        citations
                    ],
                )?;
                Ok(())
            };
            keep().map_err(failed)
        })
    }

    /// The questions of a visit before this one, as they were understood, the latest last.
    ///
    /// # Errors
    /// [`EngineError::Database`].
    pub fn earlier(&self, desk: &str, session: &str) -> Result<Vec<String>> {
        let mut list = self.database.read(|c| {
            let mut select = c.prepare(
                "SELECT understood FROM turns WHERE desk = ? AND session = ? ORDER BY seq DESC LIMIT ?",
            )?;
            let rows = select.query_map(params![desk, session, BACK as i64], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<Vec<String>>>()
        })?;
        list.reverse();
        Ok(list)
    }

    /// All that is kept of a desk, the oldest first; with `unanswered`, only what had no answer.
    ///
    /// # Errors
    /// [`EngineError::Database`].
    pub fn list(&self, desk: &str, unanswered: bool) -> Result<Vec<Turn>> {
        self.database.read(|c| {
            let mut select = c.prepare(
                "SELECT session, at, question, understood, answered, confidence, answer, citations FROM turns \
                 WHERE desk = ?1 AND (NOT ?2 OR NOT answered) ORDER BY seq",
            )?;
            let rows = select.query_map(params![desk, unanswered], |row| {
                Ok(Turn {
                    session: row.get(0)?,
                    at: row.get::<_, i64>(1)?.unsigned_abs(),
                    question: row.get(2)?,
                    understood: row.get(3)?,
                    answered: row.get(4)?,
                    confidence: row.get(5)?,
                    answer: row.get(6)?,
                    citations: json(&row.get::<_, String>(7)?),
                })
            })?;
            rows.collect()
        })
    }

    /// Forgets all that was asked at a desk.
    ///
    /// # Errors
    /// [`EngineError::Database`].
    pub fn forget(&self, desk: &str) -> Result<()> {
        self.database.write(|transaction| {
            let delete = "DELETE FROM turns WHERE desk = ?";
            transaction
                .execute(delete, [desk])
                .map(drop)
                .map_err(failed)
        })
    }

    /// The questions of a desk that had no answer, those about the same together, what was asked most first.
    ///
    /// # Errors
    /// [`EngineError::Database`], [`EngineError::Encoding`].
    pub fn unanswered(&self, desk: &str, encoder: &dyn Encoder) -> Result<Vec<Cluster>> {
        let mut turns = self.list(desk, true)?;
        let few = turns.len().saturating_sub(CLUSTERED);
        turns.drain(..few);
        let texts: Vec<String> = turns.iter().map(|turn| turn.understood.clone()).collect();
        let vectors = encoder.encode(&texts)?;
        let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        // Each question joins the cluster whose first question it is most like.
        let mut clusters: Vec<Vec<usize>> = Vec::new();
        for (index, vector) in vectors.iter().enumerate() {
            let near = clusters
                .iter()
                .enumerate()
                .map(|(at, cluster)| (at, cosine(&vectors[cluster[0]], vector)))
                .filter(|(_, near)| *near >= ALIKE)
                .max_by(|a, b| a.1.total_cmp(&b.1));
            match near {
                Some((at, _)) => clusters[at].push(index),
                None => clusters.push(vec![index]),
            }
        }
        let told = |cluster: Vec<usize>| {
            let to_all = |at: usize| {
                cluster
                    .iter()
                    .map(|&other| cosine(&vectors[at], &vectors[other]))
                    .sum::<f32>()
            };
            let midst = cluster
                .iter()
                .copied()
                .max_by(|a, b| to_all(*a).total_cmp(&to_all(*b)));
            let mut questions: Vec<String> = cluster
                .iter()
                .map(|&at| turns[at].question.clone())
                .collect();
            questions.sort();
            questions.dedup();
            Cluster {
                question: midst.map_or_else(String::new, |at| turns[at].question.clone()),
                count: cluster.len(),
                latest: cluster.iter().map(|&at| turns[at].at).max().unwrap_or(0),
                questions,
            }
        };
        let mut told: Vec<Cluster> = clusters.into_iter().map(told).collect();
        told.sort_by(|a, b| b.count.cmp(&a.count).then(b.latest.cmp(&a.latest)));
        Ok(told)
    }
}
