//! The header that says how large pictures are and how their colours are meant.

use crate::error::MediaError;
use crate::film::yuv::{Colour, Matrix};

/// What the sequence parameter set says that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sps {
    /// Of the whole coded picture, in pixels.
    pub coded: (u64, u64),
    /// Of what is shown of it.
    pub shown: (u64, u64),
    /// None where it says nothing.
    pub matrix: Option<Matrix>,
    pub full_range: bool,
}

impl Sps {
    pub(super) fn colour(&self) -> Colour {
        // Small films without a word were made for television as it was before.
        let guess = if self.shown.1 >= 720 {
            Matrix::Bt709
        } else {
            Matrix::Bt601
        };
        Colour {
            matrix: self.matrix.unwrap_or(guess),
            full_range: self.full_range,
        }
    }

    /// Reads the unit, with its first byte; what the decoder does not know is refused by name.
    pub(super) fn parse(unit: &[u8]) -> Result<Self, MediaError> {
        let bytes = unescaped(unit.get(1..).unwrap_or_default());
        let mut bits = Bits {
            bytes: &bytes,
            at: 0,
        };
        parse(&mut bits)
            .ok_or_else(|| MediaError::damaged_film("its H.264 header ends too early"))?
    }
}

/// The outer option is none where the bits run out.
fn parse(bits: &mut Bits<'_>) -> Option<Result<Sps, MediaError>> {
    const HIGH: [u32; 4] = [100, 110, 122, 244];
    let refuse = |reason: &str| Some(Err(MediaError::film_unsupported(reason)));
    let profile = bits.take(8)?;
    bits.take(16)?;
    bits.number()?;
    if HIGH.contains(&profile) {
        let chroma = bits.number()?;
        if chroma != 1 {
            return refuse("its H.264 is not in the colour format 4:2:0");
        }
        if bits.number()? != 0 || bits.number()? != 0 {
            return refuse("its H.264 has more than 8 bits a colour");
        }
        bits.take(1)?;
        if bits.take(1)? == 1 {
            for list in 0..8 {
                if bits.take(1)? == 1 {
                    scaling_list(bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.number()?;
    picture_order(bits)?;
    bits.number()?;
    bits.take(1)?;
    let (columns, rows) = (u64::from(bits.number()?) + 1, u64::from(bits.number()?) + 1);
    if bits.take(1)? == 0 {
        return refuse("its H.264 is interlaced");
    }
    bits.take(1)?;
    let coded = (columns * 16, rows * 16);
    let mut cut = [0u64; 4];
    if bits.take(1)? == 1 {
        for side in &mut cut {
            *side = 2 * u64::from(bits.number()?);
        }
    }
    let shown = (
        coded.0.checked_sub(cut[0] + cut[1]).filter(|&w| w > 0),
        coded.1.checked_sub(cut[2] + cut[3]).filter(|&h| h > 0),
    );
    let (Some(width), Some(height)) = shown else {
        return Some(Err(MediaError::damaged_film(
            "its H.264 shows nothing of its pictures",
        )));
    };
    let mut sps = Sps {
        coded,
        shown: (width, height),
        matrix: None,
        full_range: false,
    };
    if bits.take(1)? == 1 {
        // Truncated details change no picture.
        let _ = details(bits, &mut sps);
    }
    Some(Ok(sps))
}

fn scaling_list(bits: &mut Bits<'_>, count: usize) -> Option<()> {
    let (mut last, mut next) = (8i64, 8i64);
    for _ in 0..count {
        if next != 0 {
            next = (last + bits.signed()?).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

fn picture_order(bits: &mut Bits<'_>) -> Option<()> {
    match bits.number()? {
        0 => {
            bits.number()?;
        }
        1 => {
            bits.take(1)?;
            bits.signed()?;
            bits.signed()?;
            for _ in 0..bits.number()?.min(255) {
                bits.signed()?;
            }
        }
        _ => {}
    }
    Some(())
}

/// The usability information as far as the colours.
fn details(bits: &mut Bits<'_>, sps: &mut Sps) -> Option<()> {
    const EXTENDED: u32 = 255;
    if bits.take(1)? == 1 && bits.take(8)? == EXTENDED {
        bits.take(32)?;
    }
    if bits.take(1)? == 1 {
        bits.take(1)?;
    }
    if bits.take(1)? == 1 {
        bits.take(3)?;
        sps.full_range = bits.take(1)? == 1;
        if bits.take(1)? == 1 {
            bits.take(16)?;
            sps.matrix = match bits.take(8)? {
                1 => Some(Matrix::Bt709),
                4..=6 => Some(Matrix::Bt601),
                9 | 10 => Some(Matrix::Bt2020),
                _ => None,
            };
        }
    }
    Some(())
}

/// The bytes without those that keep start codes apart (7.4.1).
fn unescaped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut zeros = 0;
    for &byte in bytes {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0u32;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// An unsigned number in Exp-Golomb code (9.1).
    fn number(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1u32 << zeros) - 1 + self.take(zeros)?)
    }

    fn signed(&mut self) -> Option<i64> {
        let code = i64::from(self.number()?);
        Some(if code % 2 == 1 {
            (code + 1) / 2
        } else {
            -code / 2
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_of_x264_is_read() {
        // 1280x720, High, BT.709 stated; out of a file that ffmpeg made.
        let unit = [
            0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00,
            0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19, 0x60,
        ];
        let sps = Sps::parse(&unit).unwrap();
        assert_eq!(sps.shown, (1280, 720));
        assert_eq!(sps.coded, (1280, 720));
        for length in 0..10 {
            assert!(Sps::parse(&unit[..length]).is_err(), "{length}");
        }
    }
}
