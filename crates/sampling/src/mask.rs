/// The set of tokens that may come next: one bit for each token id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenMask {
    words: Vec<u32>,
    len: usize,
}

impl TokenMask {
    /// A mask over `len` tokens that allows none of them.
    pub fn none(len: usize) -> Self {
        Self {
            words: vec![0; len.div_ceil(32)],
            len,
        }
    }

    /// A mask over `len` tokens that allows all of them.
    pub fn all(len: usize) -> Self {
        Self::from_words(vec![u32::MAX; len.div_ceil(32)], len)
    }

    /// A mask over `len` tokens that allows those in `ids`; ids of `len` and above are ignored.
    pub fn of(ids: &[u32], len: usize) -> Self {
        let mut mask = Self::none(len);
        for &id in ids {
            mask.allow(id);
        }
        mask
    }

    /// Takes over a bitset: token `id` is bit `id % 32` of word `id / 32`. Bits of `len` and above
    /// are cleared; missing words allow nothing.
    pub fn from_words(mut words: Vec<u32>, len: usize) -> Self {
        words.resize(len.div_ceil(32), 0);
        if !len.is_multiple_of(32)
            && let Some(last) = words.last_mut()
        {
            *last &= (1 << (len % 32)) - 1;
        }
        Self { words, len }
    }

    /// How many tokens the mask speaks of.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the mask allows no token.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// How many tokens are allowed.
    pub fn count(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Whether `id` may come next. Ids that the mask does not speak of may not.
    pub fn is_allowed(&self, id: u32) -> bool {
        let word = self.words.get(id as usize / 32).copied().unwrap_or(0);
        word >> (id % 32) & 1 == 1
    }

    /// Allows `id`; ignored when the mask does not speak of it.
    pub fn allow(&mut self, id: u32) {
        if (id as usize) < self.len
            && let Some(word) = self.words.get_mut(id as usize / 32)
        {
            *word |= 1 << (id % 32);
        }
    }

    /// Rules `id` out.
    pub fn forbid(&mut self, id: u32) {
        if let Some(word) = self.words.get_mut(id as usize / 32) {
            *word &= !(1 << (id % 32));
        }
    }

    /// Rules out every token that `other` allows.
    pub fn subtract(&mut self, other: &TokenMask) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= !other;
        }
    }

    /// Rules out every token that `other` rules out, and those that it does not know.
    pub fn intersect(&mut self, other: &TokenMask) {
        let others = other.words.iter().chain(std::iter::repeat(&0));
        for (word, other) in self.words.iter_mut().zip(others) {
            *word &= other;
        }
    }

    /// The allowed ids in rising order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().zip(0u32..).flat_map(|(&word, index)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros();
                    rest &= rest - 1;
                    index * 32 + bit
                })
            })
        })
    }

    /// Sets every logit whose token is not allowed to -∞.
    pub fn apply(&self, logits: &mut [f32]) {
        for (index, chunk) in logits.chunks_mut(64).enumerate() {
            match self.word64(index) {
                u64::MAX => {}
                0 => chunk.fill(f32::NEG_INFINITY),
                word => {
                    for (bit, logit) in chunk.iter_mut().enumerate() {
                        if word >> bit & 1 == 0 {
                            *logit = f32::NEG_INFINITY;
                        }
                    }
                }
            }
        }
    }

    /// Bits 64·`index` to 64·`index` + 63; 0 beyond the mask's end.
    pub(crate) fn word64(&self, index: usize) -> u64 {
        let word = |i| u64::from(self.words.get(i).copied().unwrap_or(0));
        word(2 * index) | word(2 * index + 1) << 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applies_exactly_its_bits() {
        for len in [1, 31, 32, 33, 64, 100] {
            let mut mask = TokenMask::none(len);
            let ids: Vec<u32> = (0..len as u32)
                .filter(|id| id % 3 == 0 || *id > 63)
                .collect();
            for &id in &ids {
                mask.allow(id);
            }
            assert_eq!(mask.iter().collect::<Vec<_>>(), ids);
            assert_eq!(mask.count(), ids.len());
            // The logits may be wider than the mask: the rest is ruled out.
            let mut logits = vec![1.0; len + 40];
            mask.apply(&mut logits);
            for (id, &logit) in (0u32..).zip(&logits) {
                assert_eq!(logit > 0.0, ids.contains(&id), "token {id} of {len}");
                assert_eq!(mask.is_allowed(id), ids.contains(&id));
            }
        }
    }

    #[test]
    fn edges_never_leak() {
        let mask = TokenMask::all(33);
        assert_eq!(mask.count(), 33);
        assert!(!mask.is_allowed(33) && !mask.is_allowed(u32::MAX));
        let mut mask = TokenMask::from_words(vec![u32::MAX; 5], 40);
        assert_eq!(mask.count(), 40);
        mask.allow(40);
        mask.forbid(3);
        mask.forbid(4000);
        assert_eq!(mask.count(), 39);
        mask.subtract(&TokenMask::of(&[0, 3, 7], 64));
        assert_eq!(mask.count(), 37);
        assert!(TokenMask::of(&[5, 99], 5).is_empty());
    }
}
