//! Character classes, the byte-level alphabet of GPT-2, and tolerant UTF-8 decoding.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex_syntax::hir::{Class, HirKind};

/// `\p{L}`.
pub(crate) const LETTER: u8 = 1;
/// `\p{N}`.
pub(crate) const NUMBER: u8 = 2;
/// `\p{M}`.
pub(crate) const MARK: u8 = 4;
/// `\p{P}`.
pub(crate) const PUNCTUATION: u8 = 8;
/// `\p{S}`.
pub(crate) const SYMBOL: u8 = 16;
/// `\s`, the property White_Space.
pub(crate) const SPACE: u8 = 32;
/// `\p{C}` without `\p{Cn}`: controls, formats and private use.
pub(crate) const CONTROL: u8 = 64;

/// One byte of class bits for every code point. The allocation is zeroed lazily by the system, so only the pages
/// of assigned characters are ever resident.
static CLASSES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut table = vec![0u8; 0x11_0000];
    let sets = [
        (r"\p{L}", LETTER),
        (r"\p{N}", NUMBER),
        (r"\p{M}", MARK),
        (r"\p{P}", PUNCTUATION),
        (r"\p{S}", SYMBOL),
        (r"\s", SPACE),
        (r"[\p{Cc}\p{Cf}\p{Co}]", CONTROL),
    ];
    for (pattern, bit) in sets {
        let Ok(hir) = regex_syntax::parse(pattern) else {
            continue;
        };
        if let HirKind::Class(Class::Unicode(class)) = hir.kind() {
            for range in class.ranges() {
                for class in &mut table[range.start() as usize..=range.end() as usize] {
                    *class |= bit;
                }
            }
        }
    }
    table
});

/// The class table, to be fetched once per text.
pub(crate) fn classes() -> &'static [u8] {
    &CLASSES
}

/// Class bits of one character.
pub(crate) fn class_of(c: char) -> u8 {
    CLASSES[c as usize]
}

/// The code points by which GPT-2's vocabularies write each byte: printable Latin-1 stands for itself, the other
/// bytes take U+0100 onwards in order (`bytes_to_unicode` of the GPT-2 release).
static BYTE_TO_CHAR: LazyLock<[u16; 256]> = LazyLock::new(|| {
    let mut table = [0u16; 256];
    let mut next = 256u16;
    for (byte, entry) in table.iter_mut().enumerate() {
        if matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) {
            *entry = byte as u16;
        } else {
            *entry = next;
            next += 1;
        }
    }
    table
});

static CHAR_TO_BYTE: LazyLock<[u16; 324]> = LazyLock::new(|| {
    let mut table = [u16::MAX; 324];
    for (byte, &c) in BYTE_TO_CHAR.iter().enumerate() {
        table[usize::from(c)] = byte as u16;
    }
    table
});

/// Appends the bytes that byte-level text stands for; `false` (and nothing appended) if a character is not of
/// that alphabet.
pub(crate) fn decode_byte_level(text: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let table = &*CHAR_TO_BYTE;
    let mut rest = text.iter();
    while let Some(&lead) = rest.next() {
        // The alphabet ends at U+0143: one or two bytes a character.
        let byte = match lead {
            0x21..=0x7E => Some(lead),
            0xC2..=0xC5 => rest
                .next()
                .filter(|&&next| next & 0xC0 == 0x80)
                .and_then(|&next| {
                    table.get(usize::from(lead & 0x1F) << 6 | usize::from(next & 0x3F))
                })
                .and_then(|&byte| u8::try_from(byte).ok()),
            _ => None,
        };
        match byte {
            Some(byte) => out.push(byte),
            None => {
                out.truncate(start);
                return false;
            }
        }
    }
    true
}

/// Length in bytes that a lead byte announces; stray continuation bytes count as one.
pub(crate) fn announced_len(lead: u8) -> usize {
    match lead {
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xFF => 4,
        _ => 1,
    }
}

/// Text in two views of equal length: characters for splitting, bytes for encoding. They differ only where
/// the input holds encoded surrogates, which are no characters but are three bytes all the same.
pub(crate) struct Lenient<'a> {
    pub(crate) text: Cow<'a, str>,
    pub(crate) bytes: Cow<'a, [u8]>,
}

/// Reads bytes as llama.cpp's byte-level tokenizers do: every byte that starts no well-formed sequence becomes
/// U+FFFD, overlong forms become the character they spell, encoded surrogates stay as they are.
pub(crate) fn lenient(bytes: &[u8]) -> Lenient<'_> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Lenient {
            text: Cow::Borrowed(text),
            bytes: Cow::Borrowed(bytes),
        };
    }
    let mut text = String::with_capacity(bytes.len() + 16);
    let mut raw = Vec::with_capacity(bytes.len() + 16);
    let mut rest = bytes;
    while let Some(&lead) = rest.first() {
        let (code, used) = sequence(rest, lead).unwrap_or((0xFFFD, 1));
        match char::from_u32(code) {
            Some(c) => {
                text.push(c);
                raw.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            None => {
                text.push('\u{E000}');
                raw.extend_from_slice(&rest[..used]);
            }
        }
        rest = &rest[used..];
    }
    Lenient {
        text: Cow::Owned(text),
        bytes: Cow::Owned(raw),
    }
}

/// Code point and length of the sequence at the start of `rest`, checked for continuation bytes only.
fn sequence(rest: &[u8], lead: u8) -> Option<(u32, usize)> {
    let (length, first) = match lead {
        0..=0x7F => return Some((u32::from(lead), 1)),
        0xC0..=0xDF => (2, lead & 0x1F),
        0xE0..=0xEF => (3, lead & 0x0F),
        0xF0..=0xF7 => (4, lead & 0x07),
        _ => return None,
    };
    let mut code = u32::from(first);
    for &byte in rest.get(1..length)? {
        if byte & 0xC0 != 0x80 {
            return None;
        }
        code = code << 6 | u32::from(byte & 0x3F);
    }
    (code <= 0x10_FFFF).then_some((code, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_alphabet_is_gpt2s() {
        let mut out = Vec::new();
        assert!(decode_byte_level("ĠhiĊÃ©Ń".as_bytes(), &mut out));
        assert_eq!(out, [b' ', b'h', b'i', b'\n', 0xC3, 0xA9, 0xAD]);
        assert!(!decode_byte_level(b"a b", &mut out));
        assert!(
            !decode_byte_level("ań".as_bytes(), &mut out),
            "one beyond the alphabet"
        );
        assert_eq!(out.len(), 7, "a failed decode leaves nothing behind");
    }

    #[test]
    fn classes_match_the_standard() {
        assert_eq!(class_of('a'), LETTER);
        assert_eq!(class_of('½'), NUMBER);
        assert_eq!(class_of('\u{301}'), MARK);
        assert_eq!(class_of('¿'), PUNCTUATION);
        assert_eq!(class_of('\u{3000}'), SPACE);
        assert_eq!(class_of('\u{85}'), SPACE | CONTROL);
        assert_eq!(class_of('\u{1c}'), CONTROL);
        assert_eq!(class_of('\u{378}'), 0, "unassigned");
    }

    #[test]
    fn lenient_reading() {
        let read = lenient(b"a\xFFb\xC0\x80\xED\xA0\x80\xE2\x82");
        assert_eq!(read.text, "a\u{FFFD}b\0\u{E000}\u{FFFD}\u{FFFD}");
        assert_eq!(
            &*read.bytes,
            b"a\xEF\xBF\xBDb\0\xED\xA0\x80\xEF\xBF\xBD\xEF\xBF\xBD"
        );
        assert_eq!(read.text.len(), read.bytes.len());
    }
}
