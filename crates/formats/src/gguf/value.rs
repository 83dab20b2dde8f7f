//! Metadata values of a GGUF file, owned and compact.

use std::sync::OnceLock;

use indexmap::IndexMap;

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // The variants are the format's own scalar types.
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    String(String),
    /// A string that is not UTF-8.
    Bytes(Vec<u8>),
    Array(Array),
}

/// An array value: one vector of the element type.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // The variants are the format's own scalar types.
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bool(Vec<bool>),
    Strings(StringArray),
    Arrays(Vec<Array>),
}

impl Array {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::U8(v) => v.len(),
            Self::I8(v) => v.len(),
            Self::U16(v) => v.len(),
            Self::I16(v) => v.len(),
            Self::U32(v) => v.len(),
            Self::I32(v) => v.len(),
            Self::U64(v) => v.len(),
            Self::I64(v) => v.len(),
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
            Self::Bool(v) => v.len(),
            Self::Strings(v) => v.len(),
            Self::Arrays(v) => v.len(),
        }
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as integers, if they are integers (or booleans: 0 and 1) that fit.
    #[must_use]
    pub fn to_ints(&self) -> Option<Vec<i64>> {
        Some(match self {
            Self::U8(v) => v.iter().map(|&x| x.into()).collect(),
            Self::I8(v) => v.iter().map(|&x| x.into()).collect(),
            Self::U16(v) => v.iter().map(|&x| x.into()).collect(),
            Self::I16(v) => v.iter().map(|&x| x.into()).collect(),
            Self::U32(v) => v.iter().map(|&x| x.into()).collect(),
            Self::I32(v) => v.iter().map(|&x| x.into()).collect(),
            Self::I64(v) => v.clone(),
            Self::U64(v) => {
                return v.iter().map(|&x| i64::try_from(x).ok()).collect();
            }
            Self::Bool(v) => v.iter().map(|&x| x.into()).collect(),
            _ => return None,
        })
    }
}

/// Many strings in one allocation: vocabularies have hundreds of thousands.
///
/// Strings need not be UTF-8: vocabularies of byte-level tokenizers exist that hold raw bytes.
#[derive(Clone, Default)]
pub struct StringArray {
    bytes: Box<[u8]>,
    /// Where each string ends in `bytes`.
    ends: Box<[u32]>,
    lazy: Box<Lazy>,
}

/// What is known or expanded only when first asked for.
#[derive(Clone, Default)]
struct Lazy {
    utf8: OnceLock<bool>,
    strings: OnceLock<Vec<String>>,
    byte_strings: OnceLock<Vec<Vec<u8>>>,
}

impl StringArray {
    /// From the concatenated bytes and the end of each string in them; ends must ascend within
    /// `bytes`, which the caller has checked.
    pub(super) fn new(bytes: Box<[u8]>, ends: Box<[u32]>) -> Self {
        debug_assert!(ends.is_sorted() && ends.last().map_or(0, |&e| e as usize) == bytes.len());
        Self {
            bytes,
            ends,
            lazy: Box::default(),
        }
    }

    /// Number of strings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no strings.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Whether every string is UTF-8.
    #[must_use]
    pub fn is_utf8(&self) -> bool {
        *self.lazy.utf8.get_or_init(|| {
            // Valid as a whole with every cut at a character's border is valid piece by piece.
            std::str::from_utf8(&self.bytes).is_ok_and(|text| {
                let mut ends = self.ends.iter();
                ends.all(|&end| text.is_char_boundary(end as usize))
            })
        })
    }

    /// String `i` as bytes.
    #[must_use]
    pub fn get(&self, i: usize) -> Option<&[u8]> {
        let end = *self.ends.get(i)? as usize;
        let start = match i.checked_sub(1) {
            Some(before) => self.ends[before] as usize,
            None => 0,
        };
        Some(&self.bytes[start..end])
    }

    /// String `i` as text; `None` where it is not UTF-8 or out of range.
    #[must_use]
    pub fn get_str(&self, i: usize) -> Option<&str> {
        std::str::from_utf8(self.get(i)?).ok()
    }

    /// All strings as bytes, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + DoubleEndedIterator {
        (0..self.len()).map(|i| self.get(i).unwrap_or_default())
    }

    /// All strings as text; `None` if any is not UTF-8. Expanded on the first call; prefer
    /// [`iter`](Self::iter) on a hot path.
    #[must_use]
    pub fn strings(&self) -> Option<&[String]> {
        if !self.is_utf8() {
            return None;
        }
        let expand = || {
            self.iter()
                .map(|s| String::from_utf8_lossy(s).into_owned())
                .collect()
        };
        Some(self.lazy.strings.get_or_init(expand))
    }

    /// All strings as byte vectors. Expanded on the first call; prefer [`iter`](Self::iter) on a hot
    /// path.
    #[must_use]
    pub fn byte_strings(&self) -> &[Vec<u8>] {
        self.lazy
            .byte_strings
            .get_or_init(|| self.iter().map(<[u8]>::to_vec).collect())
    }
}

impl PartialEq for StringArray {
    fn eq(&self, other: &Self) -> bool {
        self.ends == other.ends && self.bytes == other.bytes
    }
}

impl std::fmt::Debug for StringArray {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.iter().map(String::from_utf8_lossy))
            .finish()
    }
}

impl<S: AsRef<[u8]>> FromIterator<S> for StringArray {
    /// # Panics
    /// Never in practice: strings beyond 4 GiB in all are left out.
    fn from_iter<I: IntoIterator<Item = S>>(iter: I) -> Self {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for string in iter {
            let Ok(end) = u32::try_from(bytes.len() + string.as_ref().len()) else {
                break;
            };
            bytes.extend_from_slice(string.as_ref());
            ends.push(end);
        }
        Self::new(bytes.into(), ends.into())
    }
}

/// The key-value pairs of a GGUF file, in file order.
///
/// Getters return `None` both where a key is missing and where its value has another type; integer
/// getters take every integer width as long as the value fits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    pairs: IndexMap<String, Value>,
}

impl Metadata {
    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.pairs.get(key)
    }

    /// Sets `key`, keeping its place if it was there, and returns the former value.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        self.pairs.insert(key.into(), value.into())
    }

    /// Removes `key`, keeping the order of the others.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.pairs.shift_remove(key)
    }

    /// Number of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are no pairs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// All pairs in file order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// A non-negative integer of any width.
    #[must_use]
    pub fn u64(&self, key: &str) -> Option<u64> {
        match *self.get(key)? {
            Value::U64(x) => Some(x),
            _ => u64::try_from(self.i64(key)?).ok(),
        }
    }

    /// A non-negative integer of any width that fits `usize`.
    #[must_use]
    pub fn usize(&self, key: &str) -> Option<usize> {
        usize::try_from(self.u64(key)?).ok()
    }

    /// A non-negative integer of any width that fits `u32`, such as a token id.
    #[must_use]
    pub fn u32(&self, key: &str) -> Option<u32> {
        u32::try_from(self.u64(key)?).ok()
    }

    /// An integer of any width.
    #[must_use]
    pub fn i64(&self, key: &str) -> Option<i64> {
        Some(match *self.get(key)? {
            Value::U8(x) => x.into(),
            Value::I8(x) => x.into(),
            Value::U16(x) => x.into(),
            Value::I16(x) => x.into(),
            Value::U32(x) => x.into(),
            Value::I32(x) => x.into(),
            Value::I64(x) => x,
            Value::U64(x) => i64::try_from(x).ok()?,
            _ => return None,
        })
    }

    /// A float; a double is rounded.
    #[must_use]
    pub fn f32(&self, key: &str) -> Option<f32> {
        match *self.get(key)? {
            Value::F32(x) => Some(x),
            #[allow(clippy::cast_possible_truncation)] // rounding is the contract
            Value::F64(x) => Some(x as f32),
            _ => None,
        }
    }

    /// A boolean.
    #[must_use]
    pub fn bool(&self, key: &str) -> Option<bool> {
        match *self.get(key)? {
            Value::Bool(x) => Some(x),
            _ => None,
        }
    }

    /// A string that is UTF-8.
    #[must_use]
    pub fn str(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Value::String(s) => Some(s),
            _ => None,
        }
    }

    /// An array of any type.
    #[must_use]
    pub fn array(&self, key: &str) -> Option<&Array> {
        match self.get(key)? {
            Value::Array(array) => Some(array),
            _ => None,
        }
    }

    /// An array of strings in its compact form: the fast way to a vocabulary.
    #[must_use]
    pub fn string_array(&self, key: &str) -> Option<&StringArray> {
        match self.array(key)? {
            Array::Strings(strings) => Some(strings),
            _ => None,
        }
    }

    /// An array of strings, all UTF-8; see [`StringArray::strings`].
    #[must_use]
    pub fn strings(&self, key: &str) -> Option<&[String]> {
        self.string_array(key)?.strings()
    }

    /// An array of strings as bytes; see [`StringArray::byte_strings`].
    #[must_use]
    pub fn byte_strings(&self, key: &str) -> Option<&[Vec<u8>]> {
        Some(self.string_array(key)?.byte_strings())
    }

    /// An array of 32-bit integers.
    #[must_use]
    pub fn i32s(&self, key: &str) -> Option<&[i32]> {
        match self.array(key)? {
            Array::I32(v) => Some(v),
            _ => None,
        }
    }

    /// An array of singles.
    #[must_use]
    pub fn f32s(&self, key: &str) -> Option<&[f32]> {
        match self.array(key)? {
            Array::F32(v) => Some(v),
            _ => None,
        }
    }

    /// An array of integers of any width, or of booleans.
    #[must_use]
    pub fn ints(&self, key: &str) -> Option<Vec<i64>> {
        self.array(key)?.to_ints()
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(iter: I) -> Self {
        let pairs = iter
            .into_iter()
            .map(|(k, v)| (k.into(), v.into()))
            .collect();
        Self { pairs }
    }
}

macro_rules! from {
    ($($variant:ident($ty:ty)),*) => {
        $(impl From<$ty> for Value {
            fn from(x: $ty) -> Self {
                Self::$variant(x)
            }
        }
        impl From<Vec<$ty>> for Value {
            fn from(x: Vec<$ty>) -> Self {
                Self::Array(Array::$variant(x))
            }
        })*
    };
}

from!(
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64)
);
from!(F32(f32), F64(f64), Bool(bool));

impl From<String> for Value {
    fn from(x: String) -> Self {
        Self::String(x)
    }
}

impl From<&str> for Value {
    fn from(x: &str) -> Self {
        Self::String(x.to_owned())
    }
}

impl From<Array> for Value {
    fn from(x: Array) -> Self {
        Self::Array(x)
    }
}

impl From<StringArray> for Value {
    fn from(x: StringArray) -> Self {
        Self::Array(Array::Strings(x))
    }
}
