//! The instructions. Numbers and meanings are those of Python's `pickletools`, protocols 2 to 5.

use super::limit;
use super::node::{Id, Node};
use super::vm::Machine;
use crate::cursor::Cursor;
use crate::error::{Problem, quote_bytes};

/// The highest protocol of Python's pickles.
const PROTOCOL: u8 = 5;

impl Machine {
    /// Runs one program to its end and returns the value it leaves.
    pub(super) fn run(&mut self, cursor: &mut Cursor<'_>) -> Result<Id, Problem> {
        self.start();
        loop {
            self.charge(1)?;
            let at = cursor.pos();
            let op = cursor.u8("the next instruction of the pickle")?;
            match op {
                b'.' => return self.pop(),
                b'(' => self.mark(),
                b'0' => self.discard()?,
                b'1' => drop(self.pop_mark()?),
                b'N' => self.push(Node::None)?,
                0x88 => self.push(Node::Bool(true))?,
                0x89 => self.push(Node::Bool(false))?,
                b'}' => self.push(Node::Dict(Vec::new()))?,
                // A set is kept as a list.
                b']' | 0x8f => self.push(Node::List(Vec::new()))?,
                b')' => self.tuple(Vec::new())?,
                b't' => {
                    let items = self.pop_mark()?;
                    self.tuple(items)?;
                }
                0x85..=0x87 => self.small_tuple(op - 0x84)?,
                b'a' => {
                    let item = self.pop()?;
                    self.append(&[item])?;
                }
                b'e' | 0x90 => {
                    let items = self.pop_mark()?;
                    self.append(&items)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set_items(&[key, value])?;
                }
                b'u' => {
                    let items = self.pop_mark()?;
                    self.set_items(&items)?;
                }
                b'c' => {
                    let module = name(cursor)?;
                    let name = name(cursor)?;
                    self.global(module, name)?;
                }
                0x93 => self.stack_global()?,
                // NEWOBJ makes an object without its initialiser; of the listed names that is a call.
                b'R' | 0x81 => self.reduce()?,
                b'b' => self.build()?,
                b'Q' => self.persistent()?,
                b'q' => self.remember(cursor.u8("a memo number")?.into())?,
                b'r' => self.remember(cursor.u32("a memo number")?)?,
                0x94 => self.memoize()?,
                b'h' => self.recall(cursor.u8("a memo number")?.into())?,
                b'j' => self.recall(cursor.u32("a memo number")?)?,
                0x80 => protocol(cursor.u8("the protocol number")?)?,
                // The length of a frame only helps to read ahead.
                0x95 => drop(cursor.u64("a frame's length")?),
                _ => match literal(op, cursor)? {
                    Some(node) => self.push(node)?,
                    None => return Err(unknown(op, at)),
                },
            }
        }
    }

    fn small_tuple(&mut self, len: u8) -> Result<(), Problem> {
        let mut items = Vec::with_capacity(len.into());
        for _ in 0..len {
            items.push(self.pop()?);
        }
        items.reverse();
        self.tuple(items)
    }
}

/// A number or string that follows its instruction; `None` for another instruction.
fn literal(op: u8, cursor: &mut Cursor<'_>) -> Result<Option<Node>, Problem> {
    let what = "a value of the pickle";
    Ok(Some(match op {
        b'J' => Node::Int(cursor.u32(what)?.cast_signed().into()),
        b'K' => Node::Int(cursor.u8(what)?.into()),
        b'M' => Node::Int(cursor.u16(what)?.into()),
        0x8a => {
            let len = cursor.u8(what)?;
            integer(cursor.take(len.into(), what)?)
        }
        0x8b => {
            let len = cursor.u32(what)?;
            integer(cursor.take_u64(len.into(), what)?)
        }
        // The one number of the format that is big endian.
        b'G' => Node::Float(f64::from_bits(cursor.u64(what)?.swap_bytes())),
        b'X' => {
            let len = cursor.u32(what)?;
            text(cursor.take_u64(len.into(), what)?)?
        }
        0x8c => {
            let len = cursor.u8(what)?;
            text(cursor.take(len.into(), what)?)?
        }
        0x8d => {
            let len = cursor.u64(what)?;
            text(cursor.take_u64(len, what)?)?
        }
        // Strings of Python 2.
        b'U' => {
            let len = cursor.u8(what)?;
            old_text(cursor.take(len.into(), what)?)
        }
        b'T' => {
            let len = cursor.u32(what)?;
            old_text(cursor.take_u64(len.into(), what)?)
        }
        b'C' => {
            let len = cursor.u8(what)?;
            cursor.take(len.into(), what)?;
            Node::Bytes
        }
        b'B' => {
            let len = cursor.u32(what)?;
            cursor.take_u64(len.into(), what)?;
            Node::Bytes
        }
        0x8e | 0x96 => {
            let len = cursor.u64(what)?;
            cursor.take_u64(len, what)?;
            Node::Bytes
        }
        _ => return Ok(None),
    }))
}

/// An integer in two's complement, little endian, of any length; none is zero.
fn integer(bytes: &[u8]) -> Node {
    if bytes.len() > 8 {
        return Node::BigInt(bytes.into());
    }
    let negative = bytes.last().is_some_and(|&b| b >= 0x80);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Node::Int(i64::from_le_bytes(wide))
}

fn text(bytes: &[u8]) -> Result<Node, Problem> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Node::Str(text.into())),
        Err(_) => Err(Problem::invalid(
            "a string of the pickle",
            quote_bytes(bytes),
            "UTF-8",
        )),
    }
}

fn old_text(bytes: &[u8]) -> Node {
    match std::str::from_utf8(bytes) {
        Ok(text) => Node::Str(text.into()),
        Err(_) => Node::Bytes,
    }
}

fn name<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, Problem> {
    let what = "a name of Python";
    let line = cursor.line(limit::NAME, what)?;
    std::str::from_utf8(line).map_err(|_| Problem::invalid(what, quote_bytes(line), "UTF-8"))
}

fn protocol(version: u8) -> Result<(), Problem> {
    if version <= PROTOCOL {
        return Ok(());
    }
    Err(Problem::unsupported(
        format!("pickle protocol {version}"),
        format!("protocols 2 to {PROTOCOL} are"),
    ))
}

fn unknown(op: u8, at: usize) -> Problem {
    Problem::unsupported(
        format!("pickle instruction {op:#04x} at byte {at}"),
        "save the checkpoint again with torch.save as it is by default, the state dict alone",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(program: &[u8]) -> Result<String, Problem> {
        let mut machine = Machine::default();
        let root = machine.run(&mut Cursor::new(program))?;
        Ok(format!("{:?}", machine.node(root)))
    }

    #[test]
    fn integers_are_sign_extended() {
        for (bytes, value) in [
            (&b"\x8a\x00."[..], 0),
            (b"\x8a\x01\xff.", -1),
            (b"\x8a\x02\x00\x80.", -32768),
            (b"\x8a\x02\xff\x00.", 255),
            (b"J\xfe\xff\xff\xff.", -2),
            (b"M\xff\xff.", 65535),
        ] {
            assert_eq!(run(bytes), Ok(format!("Int({value})")));
        }
        assert_eq!(run(b"G\x3f\xf8\0\0\0\0\0\0."), Ok("Float(1.5)".into()));
    }

    #[test]
    fn stacks_do_not_underflow() {
        for bad in [
            &b"."[..],
            b"0",
            b"1",
            b"t",
            b"N\x86",
            b"N(\x85",
            b"(.",
            b"a",
            b"Na",
            b"]a",
            b"s",
            b"}(Nu.",
            b"NN\x93",
            b"NNR",
            b"Q",
            b"NQ",
            b")Q",
            b"Nb",
            b"h\0",
            b"q\0",
            b"\x80\x06",
            b"\xfe",
        ] {
            assert!(run(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn work_is_bounded() {
        // A list of many items in the memo, copied by call after call.
        let mut program = b"(".to_vec();
        program.extend(vec![b'N'; 1 << 16]);
        program.extend_from_slice(b"tq\0");
        for _ in 0..1 << 10 {
            program.extend_from_slice(b"cbuiltins\nset\nh\0\x85R0");
        }
        program.push(b'.');
        let error = run(&program).unwrap_err();
        assert!(matches!(error, Problem::Limit { .. }), "{error}");
    }
}
