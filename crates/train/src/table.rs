//! Parquet tables, as data hubs publish pictures and texts (<https://parquet.apache.org>): a row group at a time.

use std::collections::VecDeque;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use parquet::basic::{ConvertedType, LogicalType, Type as Physical};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use parquet::schema::types::{Type, TypePtr};
use serde_json::{Map, Value};

/// Bytes of a row group when it is unpacked, at most.
const GROUP: i64 = 1 << 30;
/// Rows of a table, at most.
const ROWS: i64 = 1 << 31;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// Text.
    Text,
    /// Bytes, alone or in the field `bytes` of a struct.
    Bytes,
    /// A list.
    List,
    /// Anything else.
    Other,
}

/// What is known of a table without reading its rows.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    path: PathBuf,
    /// Names of its columns and what they hold.
    pub(crate) columns: Vec<(String, Holds)>,
    /// Rows of each row group.
    pub(crate) groups: Vec<usize>,
}

/// What a file does that is damaged, in one line.
fn one_line(what: impl std::fmt::Display) -> String {
    let what = what.to_string();
    what.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Runs what may panic on a hostile file.
fn guarded<T>(f: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let result = catch_unwind(AssertUnwindSafe(f));
    result.unwrap_or_else(|_| Err("the table is damaged".to_owned()))
}

fn reader(path: &Path) -> Result<SerializedFileReader<File>, String> {
    let file = File::open(path).map_err(one_line)?;
    SerializedFileReader::new(file).map_err(|e| format!("it is no Parquet table: {}", one_line(e)))
}

fn is_text(kind: &Type) -> bool {
    let info = kind.get_basic_info();
    info.converted_type() == ConvertedType::UTF8
        || matches!(info.logical_type_ref(), Some(LogicalType::String))
}

fn is_bytes(kind: &Type) -> bool {
    kind.is_primitive() && kind.get_physical_type() == Physical::BYTE_ARRAY && !is_text(kind)
}

fn holds(kind: &TypePtr) -> Holds {
    if kind.is_primitive() {
        return match (is_bytes(kind), is_text(kind)) {
            (true, _) => Holds::Bytes,
            (_, true) => Holds::Text,
            _ => Holds::Other,
        };
    }
    if kind.get_basic_info().converted_type() == ConvertedType::LIST {
        return Holds::List;
    }
    let bytes = |field: &TypePtr| field.name() == "bytes" && is_bytes(field);
    match kind.get_fields().iter().any(bytes) {
        true => Holds::Bytes,
        false => Holds::Other,
    }
}

impl Table {
    /// Looks at what stands at the end of a table.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        guarded(|| {
            let reader = reader(path)?;
            let metadata = reader.metadata();
            let mut groups = Vec::with_capacity(metadata.num_row_groups());
            let mut rows = 0i64;
            for group in metadata.row_groups() {
                let bytes = group.total_byte_size();
                if !(0..=GROUP).contains(&bytes) {
                    return Err(format!(
                        "a row group of {bytes} bytes is larger than {GROUP}, which is what is read at a time"
                    ));
                }
                rows = rows.saturating_add(group.num_rows());
                if group.num_rows() < 0 || rows > ROWS {
                    return Err("its numbers of rows cannot be".to_owned());
                }
                groups.push(group.num_rows() as usize);
            }
            let fields = metadata.file_metadata().schema().get_fields();
            Ok(Self {
                path: path.to_owned(),
                columns: fields
                    .iter()
                    .map(|field| (field.name().to_owned(), holds(field)))
                    .collect(),
                groups,
            })
        })
    }

    /// Whether there is a column of this name that holds this.
    pub(crate) fn has(&self, name: &str, what: Holds) -> bool {
        self.columns.iter().any(|(n, h)| n == name && *h == what)
    }

    /// Bytes of these columns, unpacked, as the table says.
    pub(crate) fn bytes_of(&self, columns: &[&str]) -> Result<u64, String> {
        guarded(|| {
            let reader = reader(&self.path)?;
            let parts = reader
                .metadata()
                .row_groups()
                .iter()
                .flat_map(|g| g.columns());
            let wanted = parts.filter(|part| {
                let name = part.column_path().parts().first();
                name.is_some_and(|name| columns.contains(&name.as_str()))
            });
            Ok(wanted
                .map(|part| part.uncompressed_size().max(0) as u64)
                .sum())
        })
    }

    /// Hands each row of a group to `take`, these columns of it alone, in the order of the table.
    pub(crate) fn rows(
        &self,
        group: usize,
        columns: &[&str],
        mut take: impl FnMut(Row),
    ) -> Result<(), String> {
        guarded(|| {
            let reader = reader(&self.path)?;
            let schema = reader.metadata().file_metadata().schema();
            let wanted = |field: &&TypePtr| columns.contains(&field.name());
            let fields: Vec<TypePtr> = schema.get_fields().iter().filter(wanted).cloned().collect();
            let part = Type::group_type_builder(schema.name())
                .with_fields(fields)
                .build()
                .map_err(one_line)?;
            let group = reader.get_row_group(group).map_err(one_line)?;
            for row in group.get_row_iter(Some(part)).map_err(one_line)? {
                take(row.map_err(one_line)?);
            }
            Ok(())
        })
    }
}

/// A column of a row.
pub(crate) fn column<'a>(row: &'a Row, name: &str) -> Option<&'a Field> {
    let mut columns = row.get_column_iter();
    columns.find(|(n, _)| *n == name).map(|(_, field)| field)
}

/// The bytes of a column that holds them, and beside them the `path` of a struct.
pub(crate) fn bytes(field: &Field) -> Option<(Vec<u8>, Option<String>)> {
    match field {
        Field::Bytes(bytes) => Some((bytes.data().to_vec(), None)),
        Field::Group(row) => {
            let (bytes, _) = bytes(column(row, "bytes")?)?;
            let path = match column(row, "path") {
                Some(Field::Str(path)) => Some(path.clone()),
                _ => None,
            };
            Some((bytes, path))
        }
        _ => None,
    }
}

/// A field as JSON would have it; bytes and times are left out.
pub(crate) fn json(field: &Field) -> Value {
    match field {
        Field::Bool(x) => Value::from(*x),
        Field::Byte(x) => Value::from(*x),
        Field::Short(x) => Value::from(*x),
        Field::Int(x) => Value::from(*x),
        Field::Long(x) => Value::from(*x),
        Field::UByte(x) => Value::from(*x),
        Field::UShort(x) => Value::from(*x),
        Field::UInt(x) => Value::from(*x),
        Field::ULong(x) => Value::from(*x),
        Field::Float(x) => Value::from(*x),
        Field::Double(x) => Value::from(*x),
        Field::Str(text) => Value::from(text.as_str()),
        Field::Group(row) => Value::Object(object(row)),
        Field::ListInternal(list) => list.elements().iter().map(json).collect(),
        _ => Value::Null,
    }
}

/// A row as JSON would have it.
pub(crate) fn object(row: &Row) -> Map<String, Value> {
    let pairs = row.get_column_iter();
    pairs
        .map(|(name, field)| (name.clone(), json(field)))
        .collect()
}

/// Row groups that were read last, unpacked.
#[derive(Debug)]
pub(crate) struct Groups<T> {
    kept: Mutex<Kept<T>>,
    limit: usize,
}

type Kept<T> = VecDeque<((u32, u32), Arc<Vec<T>>, usize)>;

impl<T> Groups<T> {
    /// Keeps at most so many bytes, but for the group that was asked for last.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            kept: Mutex::default(),
            limit,
        }
    }

    /// A group, read where it is not kept; `read` gives its rows and their bytes. Others that want one wait, so that no
    /// group is read twice.
    pub(crate) fn get(
        &self,
        key: (u32, u32),
        read: impl FnOnce() -> Result<(Vec<T>, usize), String>,
    ) -> Result<Arc<Vec<T>>, String> {
        let mut kept = self.kept.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(at) = kept.iter().position(|entry| entry.0 == key)
            && let Some(entry) = kept.remove(at)
        {
            let rows = entry.1.clone();
            kept.push_back(entry);
            return Ok(rows);
        }
        let (rows, bytes) = read()?;
        let rows = Arc::new(rows);
        kept.push_back((key, rows.clone(), bytes));
        let mut sum: usize = kept.iter().map(|entry| entry.2).sum();
        while sum > self.limit && kept.len() > 1 {
            sum -= kept.pop_front().map_or(0, |entry| entry.2);
        }
        Ok(rows)
    }
}
