//! Which samples lie where, as they are written.

use super::boxes::{numbers, put_full};

/// The samples of one track.
#[derive(Default)]
pub(super) struct Samples {
    sizes: Vec<u32>,
    /// The numbers, from 1, of those where decoding can begin.
    keys: Vec<u32>,
    /// Runs of samples that lie together: where they begin, how many they are.
    chunks: Vec<(u64, u32)>,
    end: u64,
}

impl Samples {
    pub(super) fn add(&mut self, at: u64, length: usize, key: bool) {
        match self.chunks.last_mut() {
            Some((_, count)) if self.end == at => *count += 1,
            _ => self.chunks.push((at, 1)),
        }
        self.end = at + length as u64;
        self.sizes.push(length as u32);
        if key {
            self.keys.push(self.sizes.len() as u32);
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.sizes.len() as u64
    }

    /// The tables: every sample lasts `duration`, the data begin at `start`. `long` places take eight bytes.
    pub(super) fn boxes(&self, duration: u32, start: u64, long: bool) -> Vec<u8> {
        let count = self.sizes.len() as u32;
        let mut out = put_full(b"stts", 0, 0, &[&numbers(&[1, count, duration])]);
        if self.keys.len() < self.sizes.len() {
            out.extend(put_full(
                b"stss",
                0,
                0,
                &[&numbers(&[self.keys.len() as u32]), &numbers(&self.keys)],
            ));
        }
        // Only where the count of a run changes.
        let mut runs = Vec::new();
        let mut last = 0;
        for (number, &(_, count)) in (1..).zip(&self.chunks) {
            if count != last {
                runs.extend([number, count, 1]);
                last = count;
            }
        }
        out.extend(put_full(
            b"stsc",
            0,
            0,
            &[&numbers(&[runs.len() as u32 / 3]), &numbers(&runs)],
        ));
        out.extend(put_full(
            b"stsz",
            0,
            0,
            &[&numbers(&[0, count]), &numbers(&self.sizes)],
        ));
        let places = self.chunks.iter().map(|&(at, _)| start + at);
        let total = numbers(&[self.chunks.len() as u32]);
        if long {
            let places: Vec<u8> = places.flat_map(u64::to_be_bytes).collect();
            out.extend(put_full(b"co64", 0, 0, &[&total, &places]));
        } else {
            let places: Vec<u8> = places.flat_map(|at| (at as u32).to_be_bytes()).collect();
            out.extend(put_full(b"stco", 0, 0, &[&total, &places]));
        }
        out
    }
}
