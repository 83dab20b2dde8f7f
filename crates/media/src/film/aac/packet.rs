//! Lines to bits (ISO/IEC 14496-3, tables 4.4 to 4.56). The codes of the standard come from `oxideav-aac`.

use oxideav_aac::Error;
use oxideav_aac::scale_factor_data::hcod_sf_encode;
use oxideav_aac::spectral_codebook::encode_tuple_to_index;
use oxideav_aac::spectrum_huffman as codes;

use super::noise::{Bands, mean};

/// A scale factor that changes nothing.
const NEUTRAL: i32 = 100;
/// The farthest that two scale factors in a row lie apart.
const FARTHEST: i32 = 60;
/// The largest whole number of a line.
const LARGEST: i32 = 8191;
/// Of the codes with an escape for larger numbers.
const ESCAPE: i32 = 16;

/// One channel of a packet in whole numbers.
pub(super) struct Channel {
    lines: Vec<i32>,
    /// The code of each band, 0 where it is silent.
    books: Vec<u8>,
    factors: Vec<i32>,
}

impl Channel {
    /// The lines, as coarse as `hidden` noise allows, by `coarser` steps of 1.5 dB more.
    pub(super) fn quantised(
        lines: &[f32],
        bands: &Bands,
        hidden: &[f64],
        coarser: i32,
    ) -> Result<Self, Error> {
        let mut channel = Self {
            lines: vec![0; lines.len()],
            books: Vec::new(),
            factors: Vec::new(),
        };
        let mut last = None;
        for ((band, edge), &hidden) in bands.each(lines).zip(bands.edges.windows(2)).zip(hidden) {
            let mut factor = factor(band, hidden) + coarser;
            if let Some(last) = last {
                factor = factor.clamp(last - FARTHEST, last + FARTHEST);
            }
            let out = &mut channel.lines[edge[0]..edge[1]];
            let most = quantise(band, factor.clamp(0, 255), out);
            let book = book(out, most)?;
            if book != 0 {
                last = Some(factor.clamp(0, 255));
            }
            channel.books.push(book);
            channel.factors.push(factor.clamp(0, 255));
        }
        Ok(channel)
    }

    /// The first scale factor, from which the others are counted.
    fn gain(&self) -> i32 {
        let heard = self
            .books
            .iter()
            .zip(&self.factors)
            .find(|(book, _)| **book != 0);
        heard.map_or(NEUTRAL, |(_, &factor)| factor)
    }

    /// Bands up to the last that is heard.
    pub(super) fn bands(&self) -> usize {
        self.books
            .iter()
            .rposition(|&book| book != 0)
            .map_or(0, |last| last + 1)
    }

    /// The stream of the channel (table 4.50) over `count` bands; `info` is written where it belongs to this channel alone.
    pub(super) fn write(
        &self,
        bits: &mut Bits,
        bands: &Bands,
        count: usize,
        info: bool,
    ) -> Result<(), Error> {
        bits.put(self.gain() as u32, 8);
        if info {
            write_info(bits, count);
        }
        self.write_sections(bits, count);
        let mut last = self.gain();
        for (&book, &factor) in self.books.iter().zip(&self.factors).take(count) {
            if book != 0 {
                let (length, code) = hcod_sf_encode((factor - last) as i8)?;
                bits.put(code, u32::from(length));
                last = factor;
            }
        }
        // No pulses, no shaping of noise in time, no gain control.
        bits.put(0, 3);
        for (&book, band) in self.books.iter().zip(bands.each(&self.lines)).take(count) {
            write_lines(bits, book, band)?;
        }
        Ok(())
    }

    /// Runs of bands with the same code (table 4.52).
    fn write_sections(&self, bits: &mut Bits, count: usize) {
        const LONGEST: u32 = 31;
        for run in self.books[..count].chunk_by(|a, b| a == b) {
            bits.put(u32::from(run[0]), 4);
            let mut length = run.len() as u32;
            while length >= LONGEST {
                bits.put(LONGEST, 5);
                length -= LONGEST;
            }
            bits.put(length, 5);
        }
    }
}

/// One long window, a sine; `count` bands, no prediction (table 4.6).
pub(super) fn write_info(bits: &mut Bits, count: usize) {
    bits.put(0, 4);
    bits.put(count as u32, 6);
    bits.put(0, 1);
}

/// The scale factor at which rounding makes `hidden` noise: of lines x with steps of s it is
/// 4/27 s^(3/2) mean(sqrt |x|), as x is rounded at the power 3/4.
fn factor(band: &[f32], hidden: f64) -> i32 {
    let root = mean(band, |x| x.abs().sqrt()).max(1e-6);
    let step = (hidden * 27.0 / (4.0 * root)).powf(2.0 / 3.0);
    let factor = NEUTRAL + (4.0 * step.log2()).floor() as i32;
    // Large lines need large steps to be whole numbers of the format.
    let largest = band.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let least = 4.0
        * (f64::from(largest) / f64::from(LARGEST).powf(4.0 / 3.0))
            .max(1e-30)
            .log2();
    factor.max(NEUTRAL + least.ceil() as i32).clamp(0, 255)
}

/// Whole numbers of the lines; the largest of them.
fn quantise(band: &[f32], factor: i32, out: &mut [i32]) -> i32 {
    /// Rounding a little down makes less noise, as small lines are more.
    const ROUNDING: f32 = 0.4054;
    let scale = ((NEUTRAL - factor) as f32 * 3.0 / 16.0).exp2();
    let mut most = 0;
    for (out, &x) in out.iter_mut().zip(band) {
        let root = x.abs().sqrt();
        let size = ((root * root.sqrt() * scale + ROUNDING) as i32).min(LARGEST);
        most = most.max(size);
        *out = if x < 0.0 { -size } else { size };
    }
    most
}

/// The code that takes the fewest bits for a band whose largest number is `most`.
fn book(band: &[i32], most: i32) -> Result<u8, Error> {
    let pair = match most {
        0 => return Ok(0),
        1 => [1, 2],
        2 => [3, 4],
        3..=4 => [5, 6],
        5..=7 => [7, 8],
        8..=12 => [9, 10],
        _ => return Ok(11),
    };
    let cost = |book| {
        let mut bits = Bits::default();
        write_lines(&mut bits, book, band).map(|()| bits.count())
    };
    Ok(if cost(pair[0])? <= cost(pair[1])? {
        pair[0]
    } else {
        pair[1]
    })
}

/// A band in a code: words, then the signs of those codes that have none, then what is beyond the largest word.
fn write_lines(bits: &mut Bits, book: u8, band: &[i32]) -> Result<(), Error> {
    if book == 0 {
        return Ok(());
    }
    let together = if book < 5 { 4 } else { 2 };
    let signed = matches!(book, 1 | 2 | 5 | 6);
    for lines in band.chunks_exact(together) {
        let mut word = [0i32; 4];
        for (word, &line) in word.iter_mut().zip(lines) {
            *word = if signed {
                line
            } else {
                line.abs().min(if book == 11 { ESCAPE } else { LARGEST })
            };
        }
        let index = encode_tuple_to_index(book, &word[..together])?;
        let (length, code) = word_of(book, index)?;
        bits.put(u32::from(code), u32::from(length));
        if !signed {
            for &line in lines.iter().filter(|line| **line != 0) {
                bits.put(u32::from(line < 0), 1);
            }
        }
        if book == 11 {
            for size in lines
                .iter()
                .map(|line| line.unsigned_abs())
                .filter(|&size| size >= ESCAPE as u32)
            {
                // As many ones as it has figures beyond four, a zero, its figures without the first.
                let figures = size.ilog2();
                bits.put((1 << (figures - 3)) - 2, figures - 3);
                bits.put(size - (1 << figures), figures);
            }
        }
    }
    Ok(())
}

fn word_of(book: u8, index: u32) -> Result<(u8, u16), Error> {
    match book {
        1 => codes::hcod1_encode(index),
        2 => codes::hcod2_encode(index),
        3 => codes::hcod3_encode(index),
        4 => codes::hcod4_encode(index),
        5 => codes::hcod5_encode(index),
        6 => codes::hcod6_encode(index),
        7 => codes::hcod7_encode(index),
        8 => codes::hcod8_encode(index),
        9 => codes::hcod9_encode(index),
        10 => codes::hcod10_encode(index),
        _ => codes::hcod11_encode(index),
    }
}

/// Bits from the highest of a byte to the lowest.
#[derive(Default)]
pub(super) struct Bits {
    bytes: Vec<u8>,
    held: u64,
    count: u32,
}

impl Bits {
    /// The lowest `count` bits of `value`, at most 32.
    pub(super) fn put(&mut self, value: u32, count: u32) {
        self.held = self.held << count | u64::from(value) & ((1u64 << count) - 1);
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            self.bytes.push((self.held >> self.count) as u8);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.bytes.len() * 8 + self.count as usize
    }

    /// The bytes, the last filled with zeros.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.put(0, 8 - self.count);
        }
        self.bytes
    }
}
