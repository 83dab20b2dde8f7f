//! The zip archive of `torch.save`: `…/data.pkl` and one stored file for each storage.
//!
//! Read by the central directory, as in PKWARE's APPNOTE 6.3; only uncompressed entries, which is all
//! that PyTorch writes, so that storages can be used where they lie.

use std::collections::HashMap;
use std::ops::Range;

use super::node::StorageRecord;
use super::vm::Machine;
use super::{Contents, limit, place, state};
use crate::cursor::Cursor;
use crate::error::{Problem, quote, quote_bytes};

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const LOCATOR64: u32 = 0x0706_4b50;
/// A 32-bit field whose value stands in a zip64 record.
const ELSEWHERE: u64 = 0xffff_ffff;

pub(super) fn is_zip(file: &[u8]) -> bool {
    file.starts_with(b"PK\x03\x04")
}

/// Finds all tensors of an archive.
pub(super) fn parse(file: &[u8]) -> Result<Contents, Problem> {
    let archive = Archive::read(file)?;
    let pickles = archive.entries.keys().filter_map(|name| {
        let folder = name.strip_suffix("data.pkl")?;
        let depth = folder.matches('/').count();
        (depth <= 1 && (folder.is_empty() || folder.ends_with('/'))).then_some(folder)
    });
    let Some(folder) = pickles.min() else {
        return Err(Problem::invalid(
            "the zip archive",
            "without data.pkl",
            "a PyTorch checkpoint, as torch.save writes it",
        ));
    };
    if archive
        .entries
        .contains_key(&format!("{folder}constants.pkl"))
    {
        return Err(Problem::unsupported(
            "a TorchScript program",
            "save its state dict with torch.save, or as safetensors",
        ));
    }
    if let Some(order) = archive.get(&format!("{folder}byteorder"))? {
        let order = &file[order.clone()];
        if order != b"little" {
            return Err(Problem::unsupported(
                format!("byte order {}", quote_bytes(order)),
                "save the checkpoint on a little-endian machine",
            ));
        }
    }
    let pickle = archive.require(&format!("{folder}data.pkl"))?;
    let mut cursor = Cursor::starting_at(&file[..pickle.end], pickle.start);
    let mut machine = Machine::default();
    let root = machine.run(&mut cursor)?;
    let named = state::named_tensors(&machine, root)?;
    let ranges = machine
        .storages
        .iter()
        .map(|storage| archive.storage(folder, storage))
        .collect::<Result<Vec<_>, _>>()?;
    place(named, &machine.storages, &ranges)
}

/// Where each file lies.
struct Archive {
    entries: HashMap<String, Entry>,
}

struct Entry {
    range: Range<usize>,
    /// Neither compressed nor encrypted.
    plain: bool,
}

impl Entry {
    fn plain(&self, name: &str) -> Result<&Range<usize>, Problem> {
        if self.plain {
            return Ok(&self.range);
        }
        Err(Problem::unsupported(
            format!(
                "compressed or encrypted file {} in the archive",
                quote(name)
            ),
            "save the checkpoint again with torch.save, which stores its files plainly",
        ))
    }
}

impl Archive {
    fn get(&self, name: &str) -> Result<Option<&Range<usize>>, Problem> {
        let entry = self.entries.get(name);
        entry.map(|entry| entry.plain(name)).transpose()
    }

    fn require(&self, name: &str) -> Result<&Range<usize>, Problem> {
        self.get(name)?.ok_or_else(|| {
            Problem::invalid(
                format!("the file {}", quote(name)),
                "missing",
                "in the archive; fetch it again",
            )
        })
    }

    fn storage(&self, folder: &str, storage: &StorageRecord) -> Result<Range<usize>, Problem> {
        let name = format!("{folder}data/{}", storage.key);
        let range = self.require(&name)?;
        let bytes = storage.bytes().and_then(|n| usize::try_from(n).ok());
        match bytes {
            Some(bytes) if bytes <= range.len() => Ok(range.start..range.start + bytes),
            _ => Err(Problem::invalid(
                format!("storage {}", quote(&name)),
                format!("{} bytes long", range.len()),
                format!("{} elements of {}", storage.numel, storage.dtype),
            )),
        }
    }

    fn read(file: &[u8]) -> Result<Self, Problem> {
        let directory = Directory::find(file)?;
        Problem::check_limit(
            "the number of files in the archive",
            directory.count,
            limit::ENTRIES,
        )?;
        let mut cursor = Cursor::starting_at(&file[..directory.range.end], directory.range.start);
        let mut entries = HashMap::new();
        for _ in 0..directory.count {
            let (name, entry) = entry(&mut cursor, file, directory.range.start)?;
            if entries.insert(name.clone(), entry).is_some() {
                return Err(Problem::Duplicate {
                    what: "file of the archive",
                    name,
                });
            }
        }
        check_apart(&entries)?;
        Ok(Self { entries })
    }
}

fn check_apart(entries: &HashMap<String, Entry>) -> Result<(), Problem> {
    let mut order: Vec<_> = entries
        .iter()
        .map(|(name, entry)| (name, &entry.range))
        .filter(|(_, range)| !range.is_empty())
        .collect();
    order.sort_unstable_by_key(|(_, range)| range.start);
    for pair in order.windows(2) {
        if pair[1].1.start < pair[0].1.end {
            return Err(Problem::Overlap {
                first: pair[0].0.clone(),
                second: pair[1].0.clone(),
            });
        }
    }
    Ok(())
}

/// Where the central directory lies.
struct Directory {
    count: u64,
    range: Range<usize>,
}

impl Directory {
    fn find(file: &[u8]) -> Result<Self, Problem> {
        let damaged = |what: &str| {
            Problem::invalid(
                "the zip archive",
                what,
                "whole; it is cut short or damaged, fetch it again",
            )
        };
        let at = find_end(file).ok_or_else(|| damaged("without its directory at the end"))?;
        let mut end = Cursor::starting_at(file, at);
        let what = "the end of the archive's directory";
        end.take(4 + 6, what)?;
        let mut count = u64::from(end.u16(what)?);
        let mut len = u64::from(end.u32(what)?);
        let mut start = u64::from(end.u32(what)?);
        let mut limit = at;
        if let Some(at64) = find_end64(file, at)? {
            let mut end = Cursor::starting_at(file, at64);
            if end.u32(what)? != END64 {
                return Err(damaged("without the zip64 directory it announces"));
            }
            // Size of this record, versions, numbers of disks, entries on this disk.
            end.take(8 + 4 + 8 + 8, what)?;
            count = end.u64(what)?;
            len = end.u64(what)?;
            start = end.u64(what)?;
            limit = at64;
        }
        let range_end = start
            .checked_add(len)
            .and_then(|end| usize::try_from(end).ok());
        match (usize::try_from(start), range_end) {
            (Ok(start), Some(end)) if end <= limit => Ok(Self {
                count,
                range: start..end,
            }),
            _ => Err(damaged("with its directory outside of the file")),
        }
    }
}

/// Where the end-of-directory record starts: the last one whose comment fills the file exactly.
fn find_end(file: &[u8]) -> Option<usize> {
    const LEN: usize = 22;
    let last = file.len().checked_sub(LEN)?;
    let first = last.saturating_sub(usize::from(u16::MAX));
    (first..=last).rev().find(|&at| {
        let record = &file[at..at + LEN];
        let comment = usize::from(u16::from_le_bytes([record[20], record[21]]));
        record.starts_with(&END.to_le_bytes()) && at + LEN + comment == file.len()
    })
}

/// Where the zip64 end-of-directory record starts, if there is one.
fn find_end64(file: &[u8], end: usize) -> Result<Option<usize>, Problem> {
    const LEN: usize = 20;
    let Some(at) = end.checked_sub(LEN) else {
        return Ok(None);
    };
    let what = "the zip64 locator";
    let mut locator = Cursor::starting_at(file, at);
    if locator.u32(what)? != LOCATOR64 {
        return Ok(None);
    }
    locator.u32(what)?;
    let start = locator.u64(what)?;
    match usize::try_from(start) {
        Ok(start) if start < at => Ok(Some(start)),
        _ => Err(Problem::invalid(
            what,
            format!("pointing to byte {start}"),
            format!("pointing before byte {at}"),
        )),
    }
}

/// Reads one entry of the directory; returns its name and where its data lies, before `files_end`.
fn entry(
    cursor: &mut Cursor<'_>,
    file: &[u8],
    files_end: usize,
) -> Result<(String, Entry), Problem> {
    let what = "an entry of the archive's directory";
    if cursor.u32(what)? != CENTRAL {
        return Err(Problem::invalid(
            what,
            "something else",
            "an entry; fetch the file again",
        ));
    }
    cursor.take(4, what)?;
    let flags = cursor.u16(what)?;
    let method = cursor.u16(what)?;
    cursor.take(8, what)?;
    let packed = u64::from(cursor.u32(what)?);
    let mut size = u64::from(cursor.u32(what)?);
    let name_len = cursor.u16(what)?;
    let extra_len = cursor.u16(what)?;
    let comment_len = cursor.u16(what)?;
    cursor.take(8, what)?;
    let mut start = u64::from(cursor.u32(what)?);
    let name = cursor.take(name_len.into(), what)?;
    let extra = cursor.take(extra_len.into(), what)?;
    cursor.take(comment_len.into(), what)?;

    let Ok(name) = std::str::from_utf8(name) else {
        return Err(Problem::invalid(
            "a name in the archive",
            quote_bytes(name),
            "UTF-8",
        ));
    };
    let mut packed = packed;
    widen(extra, [&mut size, &mut packed, &mut start])?;
    const ENCRYPTED: u16 = 1;
    let plain = method == 0 && flags & ENCRYPTED == 0 && packed == size;
    let range = local(name, file, start, packed, files_end)?;
    Ok((name.to_owned(), Entry { range, plain }))
}

/// Takes 64-bit values of the fields that say so from the zip64 extra field.
fn widen(extra: &[u8], fields: [&mut u64; 3]) -> Result<(), Problem> {
    const ZIP64: u16 = 1;
    let what = "the extra field of an entry of the archive";
    let mut extra = Cursor::new(extra);
    while extra.left() >= 4 {
        let id = extra.u16(what)?;
        let len = extra.u16(what)?;
        let data = extra.take(len.into(), what)?;
        if id == ZIP64 {
            let mut data = Cursor::new(data);
            for field in fields {
                if *field == ELSEWHERE {
                    *field = data.u64(what)?;
                }
            }
            return Ok(());
        }
    }
    Ok(())
}

/// Where the data of a file lies, behind its local header.
fn local(
    name: &str,
    file: &[u8],
    start: u64,
    size: u64,
    files_end: usize,
) -> Result<Range<usize>, Problem> {
    let what = format!("the file {} of the archive", quote(name));
    let misplaced = |end: u64| Problem::OutOfFile {
        name: name.to_owned(),
        start,
        end,
        len: files_end as u64,
    };
    let at = usize::try_from(start).ok().filter(|&at| at < files_end);
    let at = at.ok_or_else(|| misplaced(start.saturating_add(size)))?;
    let mut header = Cursor::starting_at(&file[..files_end], at);
    if header.u32(&what)? != LOCAL {
        return Err(Problem::invalid(what, "without a header", "behind one"));
    }
    header.take(22, &what)?;
    let name_len = header.u16(&what)?;
    let extra_len = header.u16(&what)?;
    let local_name = header.take(name_len.into(), &what)?;
    if local_name != name.as_bytes() {
        return Err(Problem::invalid(
            what,
            format!("named {} at its place", quote_bytes(local_name)),
            "named the same in the directory and before its data",
        ));
    }
    header.take(extra_len.into(), &what)?;
    let data = header.pos();
    let end = usize::try_from(size)
        .ok()
        .and_then(|size| data.checked_add(size));
    match end {
        Some(end) if end <= files_end => Ok(data..end),
        _ => Err(misplaced((data as u64).saturating_add(size))),
    }
}
