//! Parquet tables of pictures: a column of bytes, alone or in a struct of `bytes` and `path` as the `datasets` library
//! writes them, and a column of captions.
//!
//! Captions are read for the index; pictures when they are wanted, with their row group, of which the last ones are kept.

use std::path::PathBuf;

use super::list::{TEXT, captions, group};
use super::{Dataset, Item, Kind, Place};
use crate::data::DataError;
use crate::table::{Holds, Table, bytes, column, object};

/// Columns that hold the picture, where several hold bytes.
const PICTURE: [&str; 7] = ["image", "img", "picture", "jpg", "png", "webp", "bytes"];
/// Bytes of unpacked row groups that are kept.
pub(super) const KEPT: usize = 256 << 20;

/// A table and the column of its pictures.
#[derive(Debug)]
pub(super) struct PictureTable {
    table: Table,
    column: String,
}

/// Pictures of a row group; none where a row has none.
pub(super) type Pictures = Vec<Option<Vec<u8>>>;

impl PictureTable {
    /// The pictures of a row group, and their bytes.
    pub(super) fn pictures(&self, group: usize) -> Result<(Pictures, usize), String> {
        let (mut pictures, mut sum) = (Pictures::new(), 0);
        self.table.rows(group, &[&self.column], |row| {
            let found = column(&row, &self.column).and_then(bytes);
            sum += found.as_ref().map_or(0, |(bytes, _)| bytes.len());
            pictures.push(found.map(|(bytes, _)| bytes));
        })?;
        Ok((pictures, sum))
    }
}

impl Dataset {
    pub(super) fn read_tables(&mut self, paths: Vec<PathBuf>) -> Result<(), DataError> {
        self.kind = Kind::Rows;
        for path in paths {
            let number = self.tables.len() as u32;
            let shard = path.file_name().unwrap_or_default().to_string_lossy();
            let list = |reason: String| DataError::List {
                path: path.clone(),
                reason,
            };
            let table = Table::open(&path).map_err(list)?;
            let known = |name: &str| table.has(name, Holds::Bytes);
            let any = || table.columns.iter().find(|(_, h)| *h == Holds::Bytes);
            let column = match PICTURE.into_iter().find(|name| known(name)) {
                Some(name) => Some(name.to_owned()),
                None => any().map(|(name, _)| name.clone()),
            };
            let names: Vec<&str> = table.columns.iter().map(|(n, _)| n.as_str()).collect();
            let Some(column) = column else {
                return Err(list(format!(
                    "no column holds pictures; there are {}",
                    names.join(", ")
                )));
            };
            if !TEXT.iter().any(|name| names.contains(name)) {
                return Err(list(format!(
                    "no column is named {}; there are {}",
                    TEXT.join(", "),
                    names.join(", ")
                )));
            }
            self.index_rows(&table, &shard, number);
            self.tables.push(PictureTable { table, column });
        }
        Ok(())
    }

    /// Captions and groups of a table.
    fn index_rows(&mut self, table: &Table, shard: &str, number: u32) {
        let mut wanted = TEXT.to_vec();
        wanted.push("group");
        let mut first = 0;
        for (group_number, &count) in table.groups.iter().enumerate() {
            let mut items = Vec::with_capacity(count);
            let read = table.rows(group_number, &wanted, |row| {
                let object = object(&row);
                items.push((captions(&object), group(&object)));
            });
            if let Err(reason) = read {
                self.bad
                    .push(format!("{shard}, row group {group_number}"), reason);
            }
            for (row, (captions, group)) in items.into_iter().enumerate() {
                let name = format!("{shard}#{}", first + row);
                if captions.is_empty() {
                    self.bad.push(name, "nothing is said about it");
                    continue;
                }
                let place = Place::Row {
                    table: number,
                    group: group_number as u32,
                    row: row as u32,
                };
                self.push(Item::new(&name, place, captions, group));
            }
            first += count;
        }
    }
}
