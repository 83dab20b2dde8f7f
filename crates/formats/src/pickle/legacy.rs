//! The stream of `torch.save` before PyTorch 1.6: pickles of a magic number, a version, the machine's
//! properties, the value and the keys of its storages, then each storage's length and bytes.

use std::ops::Range;

use super::node::{Id, Node};
use super::vm::{Machine, broken};
use super::{Contents, place, state};
use crate::cursor::Cursor;
use crate::error::{Problem, quote};

/// 0x1950a86a20f9469cfc6c, little endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// PROTO 2 or later, LONG1 with 10 bytes.
const HEAD: usize = 4;
const VERSION: i64 = 1001;

pub(super) fn is_legacy(file: &[u8]) -> bool {
    file.first() == Some(&0x80) && file.get(HEAD..HEAD + MAGIC.len()) == Some(&MAGIC)
}

/// Finds all tensors of a stream.
pub(super) fn parse(file: &[u8]) -> Result<Contents, Problem> {
    let mut cursor = Cursor::new(file);
    let mut machine = Machine::default();
    let magic = machine.run(&mut cursor)?;
    match machine.node(magic) {
        Node::BigInt(bytes) if **bytes == MAGIC => {}
        other => {
            return Err(broken(
                "the magic number",
                other.kind(),
                "that of a PyTorch checkpoint",
            ));
        }
    }
    let version = machine.run(&mut cursor)?;
    match machine.node(version) {
        Node::Int(VERSION) => {}
        Node::Int(version) => {
            return Err(Problem::unsupported(
                format!("version {version} of PyTorch's stream"),
                format!("version {VERSION} is"),
            ));
        }
        other => return Err(broken("the version", other.kind(), "an integer")),
    }
    let system = machine.run(&mut cursor)?;
    check_byte_order(&machine, system)?;

    let root = machine.run(&mut cursor)?;
    let named = state::named_tensors(&machine, root)?;
    let keys = machine.run(&mut cursor)?;
    let ranges = storages(&machine, keys, &mut cursor)?;
    place(named, &machine.storages, &ranges)
}

fn check_byte_order(machine: &Machine, system: Id) -> Result<(), Problem> {
    let Node::Dict(pairs) = machine.node(system) else {
        let found = machine.node(system).kind();
        return Err(broken("the machine's properties", found, "a dictionary"));
    };
    let big = pairs.iter().any(|&(key, value)| {
        matches!(machine.node(key), Node::Str(key) if &**key == "little_endian")
            && matches!(machine.node(value), Node::Bool(false))
    });
    if big {
        return Err(Problem::unsupported(
            "a checkpoint of a big-endian machine",
            "save it on a little-endian one",
        ));
    }
    Ok(())
}

/// Where each storage of the machine lies, by its index.
fn storages(
    machine: &Machine,
    keys: Id,
    cursor: &mut Cursor<'_>,
) -> Result<Vec<Range<usize>>, Problem> {
    let Node::List(keys) = machine.node(keys) else {
        let found = machine.node(keys).kind();
        return Err(broken("the keys of the storages", found, "a list"));
    };
    let mut ranges = vec![None; machine.storages.len()];
    for &key in keys {
        let key = match machine.node(key) {
            Node::Str(key) => key.to_string(),
            Node::Int(key) => key.to_string(),
            other => return Err(broken("the key of a storage", other.kind(), "a string")),
        };
        let Some(index) = machine.storage_named(&key) else {
            return Err(broken(
                format!("storage {}", quote(&key)),
                "not used by any tensor",
                "one that the checkpoint refers to",
            ));
        };
        let storage = &machine.storages[index as usize];
        let what = format!("storage {}", quote(&key));
        let numel = cursor.u64(&what)?;
        if numel != storage.numel {
            return Err(broken(
                format!("the length of {what}"),
                numel,
                &format!("{}, as its tensors say", storage.numel),
            ));
        }
        let Some(bytes) = storage.bytes() else {
            return Err(cursor.truncated(u64::MAX, &what));
        };
        let start = cursor.pos();
        cursor.take_u64(bytes, &what)?;
        if ranges[index as usize]
            .replace(start..cursor.pos())
            .is_some()
        {
            return Err(Problem::Duplicate {
                what: "storage",
                name: key,
            });
        }
    }
    let missing = ranges.iter().position(Option::is_none);
    if let Some(storage) = missing.and_then(|i| machine.storages.get(i)) {
        return Err(broken(
            format!("storage {}", quote(&storage.key)),
            "missing",
            "in the stream; fetch the file again",
        ));
    }
    Ok(ranges.into_iter().flatten().collect())
}
