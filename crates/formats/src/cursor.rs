//! A reader over bytes that trusts no length.

use crate::error::Problem;

/// Reads little-endian values from the front of a slice; every read says what it is for.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    pos: usize,
}

macro_rules! number {
    ($name:ident, $ty:ty) => {
        pub(crate) fn $name(&mut self, what: &str) -> Result<$ty, Problem> {
            Ok(<$ty>::from_le_bytes(self.array(what)?))
        }
    };
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pos: 0 }
    }

    /// Starts at `pos`, which must not be past the end.
    pub(crate) fn starting_at(bytes: &'a [u8], pos: usize) -> Self {
        debug_assert!(pos <= bytes.len());
        Self {
            bytes,
            pos: pos.min(bytes.len()),
        }
    }

    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.pos
    }

    /// The next `n` bytes.
    pub(crate) fn take(&mut self, n: usize, what: &str) -> Result<&'a [u8], Problem> {
        let end = self
            .pos
            .checked_add(n)
            .filter(|&end| end <= self.bytes.len());
        let Some(end) = end else {
            return Err(self.truncated(n as u64, what));
        };
        let taken = &self.bytes[self.pos..end];
        self.pos = end;
        Ok(taken)
    }

    /// As [`take`](Self::take) with a length out of the file.
    pub(crate) fn take_u64(&mut self, n: u64, what: &str) -> Result<&'a [u8], Problem> {
        match usize::try_from(n) {
            Ok(n) => self.take(n, what),
            Err(_) => Err(self.truncated(n, what)),
        }
    }

    /// The bytes up to the next line feed, which is stepped over.
    pub(crate) fn line(&mut self, max: usize, what: &str) -> Result<&'a [u8], Problem> {
        let rest = &self.bytes[self.pos..];
        let window = &rest[..rest.len().min(max.saturating_add(1))];
        match window.iter().position(|&b| b == b'\n') {
            Some(len) => {
                self.pos += len + 1;
                Ok(&window[..len])
            }
            None if window.len() > max => Err(Problem::Limit {
                what: format!("the length of {what}"),
                count: window.len() as u64,
                limit: max as u64,
            }),
            None => Err(self.truncated(window.len() as u64 + 1, what)),
        }
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Problem> {
        let taken = self.take(N, what)?;
        taken.try_into().map_err(|_| self.truncated(N as u64, what))
    }

    pub(crate) fn truncated(&self, needs: u64, what: &str) -> Problem {
        Problem::Truncated {
            what: what.to_owned(),
            at: self.pos as u64,
            needs,
            left: self.left() as u64,
        }
    }

    number!(u8, u8);
    number!(u16, u16);
    number!(u32, u32);
    number!(u64, u64);
}
