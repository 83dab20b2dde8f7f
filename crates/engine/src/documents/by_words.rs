//! Tables of words, and what FTS5 finds in them by BM25.

use std::collections::HashSet;

use rusqlite::Connection;

use super::words::{is_stop, words};

/// Words of a question at most.
const WORDS: usize = 48;

/// Makes a table of words. The texts lie elsewhere; it holds their words alone, those of headings and of texts apart.
pub(crate) fn create(connection: &Connection, table: &str) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "CREATE VIRTUAL TABLE {table} USING fts5 (heading, text, content = '', contentless_delete = 1, \
         tokenize = 'porter unicode61 remove_diacritics 2')"
    ))
}

/// The words of a question as FTS5 looks for any of them; nothing where it has none.
pub(crate) fn match_of(question: &str) -> Option<String> {
    let mut seen = HashSet::new();
    let mut all: Vec<String> = words(question)
        .filter(|word| seen.insert(word.clone()))
        .collect();
    if all.iter().any(|word| !is_stop(word)) {
        all.retain(|word| !is_stop(word));
    }
    all.truncate(WORDS);
    let quoted: Vec<String> = all.iter().map(|word| format!("\"{word}\"")).collect();
    (!quoted.is_empty()).then(|| quoted.join(" OR "))
}

/// The statement that gives rows and scores of what [`match_of`] has found, the best first; words of headings count
/// twice.
pub(crate) fn select(table: &str) -> String {
    format!(
        "SELECT rowid, -bm25({table}, 2.0, 1.0) AS score FROM {table} WHERE {table} MATCH ? ORDER BY score DESC"
    )
}
