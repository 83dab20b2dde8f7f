//! Search by words and by meaning: BM25 of the words and cosines of the vectors, joined by the ranks that each gives.
//!
//! Reciprocal-rank fusion after Cormack, Clarke and Büttcher (SIGIR 2009): a passage scores the sum of `1 / (60 + rank)`
//! over both lists. Cosines are of all passages; nothing is left out by an approximation.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rusqlite::Connection;
use serde::Serialize;
use serde_json::{Map, Value};

use super::by_words::match_of;
use super::resident::Resident;
use super::{Collection, Documents, Encoder, Filter, missing, rows, same_encoder};
use crate::Result;
use crate::database::now;

/// Passages that each of both lists gives at most.
const LIST: usize = 50;

/// The constant of reciprocal-rank fusion.
const FUSION: f64 = 60.0;

/// Seconds after which it is written down again that a collection was asked.
const TOUCH: u64 = 3600;

/// What is searched for.
#[derive(Clone, Debug)]
pub struct Search {
    /// Passages at most.
    pub limit: usize,
    /// Of which documents.
    pub filter: Option<Filter>,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            limit: 5,
            filter: None,
        }
    }
}

/// A passage that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hit {
    /// Both ranks joined, from 0 to 1; 1 for what both have first.
    pub score: f64,
    /// Cosine of its vector with the question's.
    pub cosine: f32,
    /// Its rank among the words' findings, from 1.
    pub word_rank: Option<usize>,
    /// Its BM25 score there; higher is better.
    pub bm25: Option<f64>,
    /// Id of its document.
    pub document: String,
    /// Name of its document.
    pub name: String,
    /// What its document calls itself.
    pub title: Option<String>,
    /// What the owner says of its document.
    pub attributes: Map<String, Value>,
    /// The headings that it lies under.
    pub heading: String,
    /// The page that it begins on.
    pub page: Option<u32>,
    /// The line that it begins on.
    pub line: Option<u32>,
    /// Which of its document's passages it is, from 0.
    pub place: i64,
    /// Where it begins in its document's text, in characters.
    pub start: usize,
    /// Its text.
    pub text: String,
}

impl Documents {
    /// The passages that fit a question best, the best first.
    ///
    /// # Errors
    /// [`EngineError::NotFound`](crate::EngineError::NotFound) where the collection is gone, [`EngineError::BadRequest`](crate::EngineError::BadRequest) for an encoder that is not its,
    /// [`EngineError::Encoding`](crate::EngineError::Encoding), [`EngineError::Database`](crate::EngineError::Database).
    pub fn search(
        &self,
        collection: &Collection,
        question: &str,
        search: &Search,
        encoder: &dyn Encoder,
    ) -> Result<Vec<Hit>> {
        same_encoder(collection, encoder)?;
        let vectors = encoder.encode(&[question.to_owned()])?;
        let vector = vectors.into_iter().next().unwrap_or_default();
        self.search_by(collection, question, &vector, search)
    }

    /// The same with the question's vector.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub fn search_by(
        &self,
        collection: &Collection,
        question: &str,
        vector: &[f32],
        search: &Search,
    ) -> Result<Vec<Hit>> {
        let resident = self.resident(collection)?;
        let among = match &search.filter {
            None => None,
            Some(filter) => {
                let documents = self.list(collection)?;
                let holds = documents
                    .into_iter()
                    .filter(|d| filter.holds(&d.attributes));
                Some(holds.map(|document| document.seq).collect::<HashSet<i64>>())
            }
        };
        let cosines = resident.scan(vector);
        let near = resident.best(&cosines, LIST.max(search.limit), among.as_ref());
        let asked = match_of(question);
        self.database.read(|connection| {
            let said = match &asked {
                Some(asked) => {
                    by_words(connection, collection.seq, asked, &resident, among.as_ref())?
                }
                None => Vec::new(),
            };
            let fused = fuse(&near, &said);
            let hit = |(passage, score): &(i64, f64)| {
                let rank = said.iter().position(|(seq, _)| seq == passage);
                let at = resident.place(*passage).map_or(0, |(at, _)| at);
                hit(
                    connection,
                    collection.seq,
                    *passage,
                    *score,
                    cosines.get(at).copied(),
                    rank.map(|r| (r + 1, said[r].1)),
                )
            };
            fused.iter().take(search.limit).map(hit).collect()
        })
    }

    /// The vectors of a collection as it stands now.
    fn resident(&self, collection: &Collection) -> Result<Arc<Resident>> {
        let now = now();
        let found = self
            .database
            .read(|c| rows::collection(c, &collection.id))?;
        let found = found.ok_or_else(|| missing("collection", &collection.name))?;
        if now.saturating_sub(found.active_at) > TOUCH {
            self.database
                .write(|transaction| rows::touch(transaction, found.seq, now))?;
        }
        let held = self.held().get(&found.seq).cloned();
        if let Some(held) = held.filter(|held| held.version == found.version) {
            return Ok(held);
        }
        let loaded = self
            .database
            .read(|connection| Ok(Resident::load(connection, found.seq, found.version)))??;
        let loaded = Arc::new(loaded);
        self.held().insert(found.seq, loaded.clone());
        Ok(loaded)
    }

    /// How many passages of a collection have a word, in any of its forms.
    pub(super) fn frequency(&self, collection: &Collection, word: &str) -> Result<u64> {
        let table = rows::words(collection.seq);
        let select = format!("SELECT count(*) FROM {table} WHERE {table} MATCH ?");
        let quoted = format!("\"{}\"", word.replace('"', ""));
        self.database.read(|connection| {
            connection.query_row(&select, [quoted], |row| {
                Ok(row.get::<_, i64>(0)?.unsigned_abs())
            })
        })
    }

    /// How many passages are held in memory of a collection, which are read where they are not.
    ///
    /// # Errors
    /// [`EngineError::NotFound`](crate::EngineError::NotFound), [`EngineError::Database`](crate::EngineError::Database).
    pub fn warm(&self, collection: &Collection) -> Result<usize> {
        Ok(self.resident(collection)?.len())
    }
}

/// The passages with these words, the best by BM25 first; words of headings count twice.
fn by_words(
    connection: &Connection,
    collection: i64,
    asked: &str,
    resident: &Resident,
    among: Option<&HashSet<i64>>,
) -> rusqlite::Result<Vec<(i64, f64)>> {
    let table = rows::words(collection);
    let mut select = connection.prepare(&super::by_words::select(&table))?;
    let mut found = select.query([asked])?;
    let mut list = Vec::new();
    while list.len() < LIST
        && let Some(row) = found.next()?
    {
        let (passage, score) = (row.get(0)?, row.get(1)?);
        // What came after the vectors were read is found by the next question.
        let Some((_, document)) = resident.place(passage) else {
            continue;
        };
        if among.is_none_or(|among| among.contains(&document)) {
            list.push((passage, score));
        }
    }
    Ok(list)
}

/// Both lists as one, the best first; 1 is first in both.
fn fuse(near: &[(i64, f32)], said: &[(i64, f64)]) -> Vec<(i64, f64)> {
    let mut scores: HashMap<i64, f64> = HashMap::new();
    let ids = |list: &mut dyn Iterator<Item = i64>| list.collect::<Vec<i64>>();
    for list in [
        ids(&mut near.iter().map(|(id, _)| *id)),
        ids(&mut said.iter().map(|(id, _)| *id)),
    ] {
        for (rank, passage) in list.into_iter().enumerate() {
            let share = (FUSION + 1.0) / (FUSION + 1.0 + rank as f64) / 2.0;
            *scores.entry(passage).or_default() += share;
        }
    }
    let mut fused: Vec<(i64, f64)> = scores.into_iter().collect();
    fused.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    fused
}

fn hit(
    connection: &Connection,
    collection: i64,
    passage: i64,
    score: f64,
    cosine: Option<f32>,
    word: Option<(usize, f64)>,
) -> rusqlite::Result<Hit> {
    let found = rows::passage(connection, passage)?;
    let document = rows::document_at(connection, collection, found.document)?;
    Ok(Hit {
        score,
        cosine: cosine.unwrap_or(0.0),
        word_rank: word.map(|(rank, _)| rank),
        bm25: word.map(|(_, score)| score),
        document: document.id,
        name: document.name,
        title: document.title,
        attributes: document.attributes,
        heading: found.heading,
        page: found.page,
        line: found.line,
        place: found.place,
        start: found.at,
        text: found.text,
    })
}
