//! Protocol buffers, as far as ONNX files need them
//! ([encoding](https://protobuf.dev/programming-guides/encoding/)).

use crate::cursor::Cursor;
use crate::error::Problem;

/// What a field holds.
pub(super) enum Value<'a> {
    /// A whole number.
    Varint(u64),
    /// Eight bytes.
    Fixed64,
    /// Bytes: text, a message, packed numbers.
    Bytes(&'a [u8]),
    /// Four bytes.
    Fixed32(u32),
}

impl<'a> Value<'a> {
    /// The bytes of a field that must hold some.
    pub(super) fn bytes(&self, what: &str) -> Result<&'a [u8], Problem> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Problem::invalid(what, "a number", "bytes")),
        }
    }

    /// The text of a field.
    pub(super) fn text(&self, what: &str) -> Result<String, Problem> {
        let bytes = self.bytes(what)?;
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| Problem::invalid(what, "not UTF-8", "text"))
    }

    /// The number of a field, as `int64` is written.
    pub(super) fn int(&self, what: &str) -> Result<i64, Problem> {
        match self {
            Self::Varint(value) => Ok(value.cast_signed()),
            _ => Err(Problem::invalid(what, "no whole number", "one")),
        }
    }
}

/// The fields of a message, in their order.
pub(super) struct Fields<'a>(Cursor<'a>);

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self(Cursor::new(message))
    }

    /// The next field with its number; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, Problem> {
        if self.0.left() == 0 {
            return Ok(None);
        }
        let key = varint(&mut self.0)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut self.0)?),
            1 => {
                self.0.u64("a field of eight bytes")?;
                Value::Fixed64
            }
            2 => {
                let length = varint(&mut self.0)?;
                Value::Bytes(self.0.take_u64(length, "a field")?)
            }
            5 => Value::Fixed32(self.0.u32("a field of four bytes")?),
            other => {
                return Err(Problem::invalid(
                    "the kind of a field",
                    other,
                    "0, 1, 2 or 5",
                ));
            }
        };
        Ok(Some((key >> 3, value)))
    }
}

/// Packed whole numbers, or one alone, appended to `out`.
pub(super) fn append_ints(
    value: &Value<'_>,
    what: &str,
    out: &mut Vec<i64>,
) -> Result<(), Problem> {
    match value {
        Value::Varint(one) => out.push(one.cast_signed()),
        Value::Bytes(packed) => {
            let mut cursor = Cursor::new(packed);
            while cursor.left() > 0 {
                out.push(varint(&mut cursor)?.cast_signed());
            }
        }
        _ => return Err(Problem::invalid(what, "no whole number", "one")),
    }
    Ok(())
}

fn varint(cursor: &mut Cursor<'_>) -> Result<u64, Problem> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = cursor.u8("a number")?;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Problem::invalid(
        "a number",
        "longer than ten bytes",
        "shorter",
    ))
}
