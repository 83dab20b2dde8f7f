//! The merge loop that byte-pair encoding and SentencePiece's BPE share: join the best adjacent pair until none
//! is left. Equal pairs are joined from the left.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hashbrown::HashTable;

use crate::vocab::hash_bytes;

/// A symbol that is no token: a place holder for bytes that the vocabulary cannot spell.
pub(crate) const NO_TOKEN: u32 = u32::MAX;

/// A piece of the word, `start..end` in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Symbol {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) id: u32,
}

/// What may be joined: the lower the rank, the earlier.
pub(crate) trait Merges {
    /// Rank of joining two neighbours, and the symbol that results.
    fn rank(&self, word: &[u8], left: &Symbol, right: &Symbol) -> Option<(u32, u32)>;
}

/// Up to this many symbols a scan of all pairs beats a heap.
const SCAN_LIMIT: usize = 48;

/// Rank, left and right symbol, the id they become, and where the right one ended when this was offered.
type Offer = (u32, u32, u32, u32, u32);

/// Reusable buffers of one encoding call.
#[derive(Default)]
pub(crate) struct Merger {
    pub(crate) symbols: Vec<Symbol>,
    pairs: Vec<(u32, u32)>,
    links: Vec<(u32, u32)>,
    heap: BinaryHeap<Reverse<Offer>>,
}

const NO_PAIR: (u32, u32) = (u32::MAX, NO_TOKEN);
const END: u32 = u32::MAX;

impl Merger {
    /// Joins `self.symbols` as far as they go.
    pub(crate) fn run(&mut self, word: &[u8], merges: &impl Merges) {
        if self.symbols.len() <= SCAN_LIMIT {
            self.scan(word, merges);
        } else {
            self.queue(word, merges);
        }
    }

    fn scan(&mut self, word: &[u8], merges: &impl Merges) {
        let Self { symbols, pairs, .. } = self;
        let rank_of = |symbols: &[Symbol], i: usize| {
            merges
                .rank(word, &symbols[i], &symbols[i + 1])
                .unwrap_or(NO_PAIR)
        };
        pairs.clear();
        for i in 1..symbols.len() {
            pairs.push(rank_of(symbols, i - 1));
        }
        loop {
            let mut best = (u32::MAX, 0);
            for (i, pair) in pairs.iter().enumerate() {
                if pair.0 < best.0 {
                    best = (pair.0, i);
                }
            }
            let (rank, at) = best;
            if rank == u32::MAX {
                return;
            }
            symbols[at].id = pairs[at].1;
            symbols[at].end = symbols[at + 1].end;
            symbols.remove(at + 1);
            pairs.remove(at);
            if at > 0 {
                pairs[at - 1] = rank_of(symbols, at - 1);
            }
            if at < pairs.len() {
                pairs[at] = rank_of(symbols, at);
            }
        }
    }

    fn queue(&mut self, word: &[u8], merges: &impl Merges) {
        let Self {
            symbols,
            links,
            heap,
            ..
        } = self;
        let count = symbols.len() as u32;
        links.clear();
        links.extend(
            (0..count).map(|i| (i.wrapping_sub(1), if i + 1 < count { i + 1 } else { END })),
        );
        heap.clear();
        let offer = |heap: &mut BinaryHeap<_>, symbols: &[Symbol], left: u32, right: u32| {
            let (l, r) = (&symbols[left as usize], &symbols[right as usize]);
            if let Some((rank, id)) = merges.rank(word, l, r)
                && rank != u32::MAX
            {
                heap.push(Reverse((rank, left, right, id, r.end)));
            }
        };
        for i in 1..count {
            offer(heap, symbols, i - 1, i);
        }
        while let Some(Reverse((_, left, right, id, end))) = heap.pop() {
            let (l, r) = (symbols[left as usize], symbols[right as usize]);
            // Outdated unless both are still whole neighbours: a joined symbol is empty, a grown one ends elsewhere.
            if l.start == l.end || r.start == r.end || l.end != r.start || r.end != end {
                continue;
            }
            symbols[left as usize] = Symbol {
                start: l.start,
                end: r.end,
                id,
            };
            symbols[right as usize].end = r.start;
            let next = links[right as usize].1;
            links[left as usize].1 = next;
            let previous = links[left as usize].0;
            if next != END {
                links[next as usize].0 = left;
                offer(heap, symbols, left, next);
            }
            if previous != END {
                offer(heap, symbols, previous, left);
            }
        }
        symbols.retain(|s| s.start != s.end);
    }
}

/// Words seen before in a text, and the ids they became: in long texts most words are repetitions.
#[derive(Default)]
pub(crate) struct Seen {
    words: HashTable<SeenWord>,
}

#[derive(Clone, Copy)]
struct SeenWord {
    word: (u32, u32),
    ids: (u32, u32),
}

impl Seen {
    /// Appends the ids of `text[start..end]`: those of an equal word before it, else what `encode` appends.
    pub(crate) fn encode(
        &mut self,
        text: &[u8],
        (start, end): (usize, usize),
        out: &mut Vec<u32>,
        encode: impl FnOnce(&[u8], &mut Vec<u32>),
    ) {
        let word = &text[start..end];
        // Offsets are kept in 32 bits; beyond those words are just encoded.
        let fits = u32::try_from(end).is_ok() && u32::try_from(out.len() + 4 * word.len()).is_ok();
        if word.len() < 2 || word.len() > SEEN_LENGTH || !fits {
            encode(word, out);
            return;
        }
        let range = |(from, to): (u32, u32)| from as usize..to as usize;
        let hash = hash_bytes(word);
        if let Some(seen) = self
            .words
            .find(hash, |seen| &text[range(seen.word)] == word)
        {
            out.extend_from_within(range(seen.ids));
            return;
        }
        let first = out.len() as u32;
        encode(word, out);
        let seen = SeenWord {
            word: (start as u32, end as u32),
            ids: (first, out.len() as u32),
        };
        self.words
            .insert_unique(hash, seen, |other| hash_bytes(&text[range(other.word)]));
    }
}

/// Longer words are too rare to be kept.
const SEEN_LENGTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    struct Table(HashMap<&'static [u8], u32>);

    impl Merges for Table {
        fn rank(&self, word: &[u8], left: &Symbol, right: &Symbol) -> Option<(u32, u32)> {
            let key = &word[left.start as usize..right.end as usize];
            self.0.get(key).map(|&rank| (rank, rank))
        }
    }

    fn split(word: &[u8], table: &Table, how: impl Fn(&mut Merger)) -> Vec<String> {
        let _ = table;
        let symbols = (0..word.len() as u32).map(|i| Symbol {
            start: i,
            end: i + 1,
            id: 0,
        });
        let mut merger = Merger {
            symbols: symbols.collect(),
            ..Merger::default()
        };
        how(&mut merger);
        merger
            .symbols
            .iter()
            .map(|s| String::from_utf8_lossy(&word[s.start as usize..s.end as usize]).into_owned())
            .collect()
    }

    #[test]
    fn scan_and_queue_agree_with_the_rule() {
        let table = Table(HashMap::from([
            (&b"ab"[..], 3),
            (&b"bc"[..], 1),
            (&b"aa"[..], 2),
            (&b"abc"[..], 0),
            (&b"aaaa"[..], 5),
            (&b"bcbc"[..], 4),
        ]));
        for (word, expected) in [
            (&b"abc"[..], vec!["abc"]),
            (b"aaaaa", vec!["aaaa", "a"]),
            (b"bcbcab", vec!["bcbc", "ab"]),
            (b"", vec![]),
            (b"xay", vec!["x", "a", "y"]),
        ] {
            assert_eq!(split(word, &table, |m| m.scan(word, &table)), expected);
            assert_eq!(split(word, &table, |m| m.queue(word, &table)), expected);
        }
        // A long pseudo-random word: both loops are the same function.
        let mut state = 1u32;
        let word: Vec<u8> = (0..400)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                b"abc"[(state >> 24) as usize % 3]
            })
            .collect();
        assert_eq!(
            split(&word, &table, |m| m.scan(&word, &table)),
            split(&word, &table, |m| m.queue(&word, &table))
        );
    }
}
