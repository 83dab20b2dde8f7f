//! Hand-written scanners for the splitting patterns of the most used models: each does in one pass over the bytes
//! what its regular expression says (tests hold them to it).

use crate::unicode::{LETTER, MARK, NUMBER, SPACE, classes};

/// One run of the scanner: the text, and where each word ends.
pub(crate) struct Scan<'a> {
    bytes: &'a [u8],
    text: &'a str,
    table: &'static [u8],
}

impl<'a> Scan<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            bytes: text.as_bytes(),
            text,
            table: classes(),
        }
    }

    /// Class bits and length of the character at `at`; (0, 0) at the end.
    #[inline]
    fn at(&self, at: usize) -> (u8, usize) {
        match self.bytes.get(at) {
            None => (0, 0),
            Some(&b) if b < 0x80 => (self.table[usize::from(b)], 1),
            Some(_) => match self.text[at..].chars().next() {
                Some(c) => (self.table[c as usize], c.len_utf8()),
                None => (0, 0),
            },
        }
    }

    #[inline]
    fn byte(&self, at: usize) -> u8 {
        // No caller looks for NUL, so it can stand for the end.
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// End of the run of characters with any of `bits`, from `at`.
    #[inline]
    fn run(&self, mut at: usize, bits: u8) -> usize {
        loop {
            let (class, length) = self.at(at);
            if class & bits == 0 {
                return at;
            }
            at += length;
        }
    }

    /// End of the run of characters with none of `bits`, from `at`.
    #[inline]
    fn run_without(&self, mut at: usize, bits: u8) -> usize {
        loop {
            let (class, length) = self.at(at);
            if length == 0 || class & bits != 0 {
                return at;
            }
            at += length;
        }
    }

    /// Length of `'s 't 'm 'd 're 've 'll` at `at`, or 0.
    fn contraction(&self, at: usize, any_case: bool) -> usize {
        if self.byte(at) != b'\'' {
            return 0;
        }
        let fold = |b: u8| if any_case { b.to_ascii_lowercase() } else { b };
        match (fold(self.byte(at + 1)), fold(self.byte(at + 2))) {
            (b's' | b't' | b'm' | b'd', _) => 2,
            (b'r' | b'v', b'e') | (b'l', b'l') => 3,
            _ => 0,
        }
    }

    /// `\s+(?!\S)|\s+`: white space up to the last character before a word.
    fn space_before_word(&self, at: usize) -> usize {
        let mut end = at;
        let mut last = at;
        loop {
            let (class, length) = self.at(end);
            if class & SPACE == 0 {
                return if length == 0 || last == at { end } else { last };
            }
            last = end;
            end += length;
        }
    }

    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    pub(crate) fn gpt2(&self, mut word: impl FnMut(usize)) {
        let mut at = 0;
        while at < self.bytes.len() {
            let short = self.contraction(at, false);
            if short > 0 {
                at += short;
                word(at);
                continue;
            }
            let start = at + usize::from(self.byte(at) == b' ');
            let (class, length) = self.at(start);
            at = if class & LETTER != 0 {
                self.run(start, LETTER)
            } else if class & NUMBER != 0 {
                self.run(start, NUMBER)
            } else if length > 0 && class & SPACE == 0 {
                self.run_without(start, SPACE | LETTER | NUMBER)
            } else {
                self.space_before_word(at)
            };
            word(at);
        }
    }

    /// The family of cl100k:
    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    pub(crate) fn cl100k(&self, how: Cl100k, mut word: impl FnMut(usize)) {
        let letters = if how.marks { LETTER | MARK } else { LETTER };
        let mut at = 0;
        while at < self.bytes.len() {
            if how.contractions {
                let short = self.contraction(at, true);
                if short > 0 {
                    at += short;
                    word(at);
                    continue;
                }
            }
            let (class, length) = self.at(at);
            at = if class & letters != 0 {
                self.run(at, letters)
            } else if class & NUMBER != 0 {
                self.digits(at, how.digits)
            } else {
                let after = at + length;
                let joins =
                    !matches!(self.byte(at), b'\r' | b'\n') && self.at(after).0 & letters != 0;
                if joins {
                    self.run(after, letters)
                } else {
                    self.symbols_or_space(at, SPACE | letters | NUMBER, false)
                }
            };
            word(at);
        }
    }

    fn digits(&self, mut at: usize, most: usize) -> usize {
        for _ in 0..most {
            let (class, length) = self.at(at);
            if class & NUMBER == 0 {
                break;
            }
            at += length;
        }
        at
    }

    /// ` ?[^stop]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`; `slash` lets `/` follow as a line end does.
    fn symbols_or_space(&self, at: usize, stop: u8, slash: bool) -> usize {
        let start = at + usize::from(self.byte(at) == b' ');
        let (class, length) = self.at(start);
        if length > 0 && class & stop == 0 {
            let mut end = self.run_without(start, stop);
            while matches!(self.byte(end), b'\r' | b'\n') || slash && self.byte(end) == b'/' {
                end += 1;
            }
            return end;
        }
        let space = self.run(at, SPACE);
        match self.bytes[at..space]
            .iter()
            .rposition(|b| matches!(b, b'\r' | b'\n'))
        {
            Some(last) => at + last + 1,
            None => self.space_before_word(at),
        }
    }

    /// The family of o200k, in which a word changes from capitals to small letters once:
    /// `[^\r\n\p{L}\p{N}]?U*l+C?|[^\r\n\p{L}\p{N}]?U+l*C?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    /// where U is every letter but `a-z`, l every letter but `A-Z`, and C a contraction.
    pub(crate) fn o200k(&self, how: O200k, mut word: impl FnMut(usize)) {
        let letters = if how.marks { LETTER | MARK } else { LETTER };
        let mut at = 0;
        while at < self.bytes.len() {
            let (class, length) = self.at(at);
            let start = if class & (LETTER | NUMBER) != 0 || matches!(self.byte(at), b'\r' | b'\n')
            {
                at
            } else {
                at + length
            };
            // The prefix is optional, and either form is tried with it and without it before the next form is.
            let cased = self
                .turning_word(start, letters)
                .or_else(|| self.turning_word(at, letters))
                .or_else(|| self.capitals(start, letters))
                .or_else(|| self.capitals(at, letters));
            at = if let Some(end) = cased {
                if how.contractions {
                    end + self.contraction(end, true)
                } else {
                    end
                }
            } else if class & NUMBER != 0 {
                self.digits(at, how.digits)
            } else {
                self.symbols_or_space(at, SPACE | LETTER | NUMBER, true)
            };
            word(at);
        }
    }

    /// `U+` at `at`.
    fn capitals(&self, at: usize, letters: u8) -> Option<usize> {
        let mut end = at;
        loop {
            let (class, length) = self.at(end);
            if class & letters == 0 || self.byte(end).is_ascii_lowercase() {
                return (end > at).then_some(end);
            }
            end += length;
        }
    }

    /// `U*l+` at `at`.
    fn turning_word(&self, at: usize, letters: u8) -> Option<usize> {
        let capitals = self.capitals(at, letters).unwrap_or(at);
        let small = |mut end: usize| {
            loop {
                let (class, length) = self.at(end);
                if class & letters == 0 || self.byte(end).is_ascii_uppercase() {
                    return end;
                }
                end += length;
            }
        };
        let end = small(capitals);
        if end > capitals {
            return Some(end);
        }
        // Caseless letters are in both runs: give back up to the last of them.
        let (turn, last) = self.text[at..capitals]
            .char_indices()
            .rfind(|(_, c)| !c.is_ascii_uppercase())?;
        Some(at + turn + last.len_utf8())
    }

    /// Every number character alone, the text between whole.
    pub(crate) fn single_numbers(&self, mut word: impl FnMut(usize)) {
        let mut at = 0;
        while at < self.bytes.len() {
            let (class, length) = self.at(at);
            at = if class & NUMBER != 0 {
                at + length
            } else {
                self.run_without(at, NUMBER)
            };
            word(at);
        }
    }

    /// Numbers in groups of three from the right. Text before a number stays with its first group, as llama.cpp has
    /// it; later patterns divide the two.
    pub(crate) fn grouped_numbers(&self, mut word: impl FnMut(usize)) {
        let mut at = 0;
        let mut last = 0;
        while at < self.bytes.len() {
            at = self.run_without(at, NUMBER);
            let mut ends = Vec::new();
            loop {
                let (class, length) = self.at(at);
                if class & NUMBER == 0 {
                    break;
                }
                at += length;
                ends.push(at);
            }
            let first = if ends.len() % 3 == 0 {
                3
            } else {
                ends.len() % 3
            };
            for group in (first..=ends.len()).step_by(3) {
                last = ends[group - 1];
                word(last);
            }
        }
        if last < at {
            word(at);
        }
    }

    /// `[^\n]+|[\n]+`
    pub(crate) fn lines(&self, mut word: impl FnMut(usize)) {
        let mut at = 0;
        while at < self.bytes.len() {
            let newline = self.bytes[at] == b'\n';
            let rest = &self.bytes[at..];
            let length = if newline {
                rest.iter().position(|&b| b != b'\n')
            } else {
                memchr::memchr(b'\n', rest)
            };
            at += length.unwrap_or(rest.len());
            word(at);
        }
    }
}

/// What varies within the family of cl100k.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cl100k {
    /// Most digits in one word.
    pub(crate) digits: usize,
    /// Combining marks count as letters.
    pub(crate) marks: bool,
    /// English contractions are cut off.
    pub(crate) contractions: bool,
}

/// What varies within the family of o200k.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct O200k {
    /// Most digits in one word.
    pub(crate) digits: usize,
    /// Combining marks count as letters.
    pub(crate) marks: bool,
    /// English contractions end the word they follow.
    pub(crate) contractions: bool,
}
