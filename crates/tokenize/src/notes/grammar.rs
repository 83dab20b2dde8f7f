//! Which token may follow, so that what is written is a tune whose bars are full.

use medley_media::score::{BarEnd, Key, Mode, QUARTER};

use super::Traits;
use super::word::{LENGTHS, METRES, Word, vocabulary_size};

/// What a tune shall be like as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Place of its metre in [`METRES`].
    pub metre: u8,
    /// Key.
    pub key: Key,
    /// Heading.
    pub traits: Traits,
    /// Fewest and most parts; each has four or eight bars, or sixteen where `long` says so.
    pub parts: (u8, u8),
    /// Whether parts may have sixteen bars.
    pub long: bool,
}

/// Ticks of the plain grid: every group of triplets begins and ends on it.
const GRID: u32 = 30;

/// Full bars of an ending.
const ENDING_BARS: u32 = 2;

/// A tune on its way.
///
/// [`Grammar::allowed`] is never empty before the tune is done. A tune that is written under it has, of every part, four,
/// eight or sixteen bars; each bar is full, but for an upbeat and the bar that it is missing from at the end of a part;
/// triplets come in whole groups, ties lead to the same pitch, every full bar begins with a chord, and every repeat sign
/// has its partner.
#[derive(Clone, Debug)]
pub struct Grammar {
    form: Form,
    bar: u32,
    heading: Vec<Word>,
    done: bool,
    parts: u8,
    /// Full bars of the part.
    bars: u32,
    /// Whether nothing of the part is written but its signs.
    begins: bool,
    opened: bool,
    /// 0, or the ending that is written.
    ending: u8,
    /// Whether the second ending must come now.
    second: bool,
    /// Full bars of the first ending, and of the one that is written.
    first_bars: u32,
    ending_bars: u32,
    /// Ticks of the upbeat, once it is known.
    pickup: Option<u32>,
    /// Whether this bar is one.
    in_pickup: bool,
    at: u32,
    length: Option<u32>,
    /// End of the group of triplets, and the shortest length in it.
    group: Option<(u32, u32)>,
    before: Option<Word>,
    /// The pitch that must follow a tie.
    tied: Option<Word>,
    pitch: Option<Word>,
    rests: u32,
}

impl Grammar {
    /// A tune of this form of which nothing is written.
    pub fn new(form: Form) -> Self {
        let heading = [
            Word::End,
            Word::Style(form.traits.style),
            Word::Metre(form.metre),
            Word::Tonic(form.key.tonic()),
            Word::Mode(form.key.mode()),
            Word::Tempo(form.traits.tempo),
            Word::Motion(form.traits.motion),
        ];
        Self {
            form,
            bar: METRES[usize::from(form.metre) % METRES.len()].bar(),
            heading: heading.to_vec(),
            done: false,
            parts: 0,
            bars: 0,
            begins: true,
            opened: false,
            ending: 0,
            second: false,
            first_bars: 0,
            ending_bars: 0,
            pickup: None,
            in_pickup: false,
            at: 0,
            length: None,
            group: None,
            before: None,
            tied: None,
            pitch: None,
            rests: 0,
        }
    }

    /// The tokens that every tune of the form begins with.
    pub fn heading(&self) -> Vec<u32> {
        self.heading.iter().map(|w| w.id()).collect()
    }

    /// Whether the tune has ended.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Marks the tokens that may come next, behind the heading; `mask` has one place for each token.
    pub fn allowed(&self, mask: &mut Vec<bool>) {
        mask.clear();
        mask.resize(vocabulary_size(), false);
        let mut any = false;
        for id in 0..vocabulary_size() as u32 {
            if let Some(word) = Word::of(id) {
                let may = self.may(word);
                mask[id as usize] = may;
                any |= may;
            }
        }
        debug_assert!(any || self.done, "{self:?}");
    }

    /// Whether a token may come next.
    pub fn may(&self, word: Word) -> bool {
        if self.done {
            return false;
        }
        if self.second {
            return word == Word::Ending(2);
        }
        if self.tied.is_some() && self.at > 0 && word != Word::Bar {
            return false;
        }
        // Every part begins with the upbeat that the one before leaves room for.
        let upbeat = self.begins && self.is_bar_start() && self.pickup.is_some_and(|p| p > 0);
        if upbeat && !matches!(word, Word::End | Word::Opens | Word::Pickup) {
            return false;
        }
        match word {
            Word::End => self.may_end(),
            Word::Opens => self.between_parts() && self.parts < self.form.parts.1,
            Word::Ending(1) => self.may_have_endings(),
            Word::Pickup => {
                let fresh = self.begins && self.is_bar_start() && self.ending == 0;
                fresh && self.parts < self.form.parts.1 && self.pickup != Some(0)
            }
            Word::Chord(..) => self.may_have_chord(),
            Word::Length(at) => self.may_have_length(LENGTHS[usize::from(at)]),
            Word::Pitch(_) | Word::Rest => self.may_have_note(word),
            Word::Tie => {
                let note = matches!(self.before, Some(Word::Pitch(_)));
                // Into the next bar of the same part.
                note && self.at == self.bar && !self.must_end_part()
            }
            Word::Bar => self.may_end_bar(),
            Word::Repeat => self.may_end_part() && self.opened && self.ending != 2,
            Word::Double => self.may_end_part() && (!self.opened || self.ending == 2),
            _ => false,
        }
    }

    fn is_bar_start(&self) -> bool {
        self.at == 0
            && !self.in_pickup
            && !matches!(self.before, Some(Word::Chord(..) | Word::Length(_)))
    }

    /// Whether a part has just ended, or none has begun.
    fn between_parts(&self) -> bool {
        self.begins && self.is_bar_start() && !self.opened && self.ending == 0
    }

    fn may_end(&self) -> bool {
        self.between_parts() && self.parts >= self.form.parts.0.max(1)
    }

    /// The first ending is the last bar or the last two of a part.
    fn may_have_endings(&self) -> bool {
        let left = [4, 8, 16].map(|whole: u32| whole.saturating_sub(self.bars));
        let near = left.iter().any(|l| (1..=ENDING_BARS).contains(l));
        self.opened
            && self.ending == 0
            && !self.begins
            && self.is_bar_start()
            && near
            && self.tied.is_none()
    }

    fn may_have_chord(&self) -> bool {
        let halves = self.bar.is_multiple_of(2) && self.bar >= 4 * QUARTER;
        let place = self.at == 0 || (halves && self.at == self.bar / 2);
        let free = !matches!(
            self.before,
            Some(Word::Chord(..) | Word::Length(_) | Word::Tie)
        );
        place
            && free
            && !self.in_pickup
            && self.group.is_none()
            && self.has_part()
            && self.at < self.limit()
    }

    /// Whether a part is being written or may begin.
    fn has_part(&self) -> bool {
        !self.begins || self.parts < self.form.parts.1
    }

    /// Whether a chord must come before the note.
    fn needs_chord(&self) -> bool {
        let since = matches!(self.before, Some(Word::Chord(..) | Word::Length(_)));
        self.at == 0 && !self.in_pickup && !since
    }

    /// Where the notes of this bar end at the latest.
    fn limit(&self) -> u32 {
        match (self.in_pickup, self.pickup) {
            (true, Some(ticks)) if ticks > 0 => ticks,
            (true, _) => self.bar / 2,
            (false, Some(ticks)) if self.must_end_part() => self.bar - ticks,
            _ => self.bar,
        }
    }

    fn fits(&self, length: u32) -> bool {
        let end = self.at + length;
        if end > self.limit() {
            return false;
        }
        let plain = length.is_multiple_of(GRID);
        let whole = if plain { length } else { group_length(length) };
        // An upbeat may end after any thirty-second.
        if self.in_pickup && self.group.is_none() && !(self.at + whole).is_multiple_of(2 * GRID) {
            return false;
        }
        match self.group {
            Some((close, unit)) => !plain && end <= close && (length == unit || length == 2 * unit),
            None => self.at + whole <= self.limit(),
        }
    }

    fn may_have_length(&self, length: u32) -> bool {
        let new = self.length != Some(length);
        let free = !matches!(self.before, Some(Word::Length(_) | Word::Tie));
        new && free && !self.needs_chord() && self.has_part() && self.fits(length)
    }

    fn may_have_note(&self, word: Word) -> bool {
        let fits = self.length.is_some_and(|l| self.fits(l));
        if !fits || self.needs_chord() || !self.has_part() {
            return false;
        }
        match (self.tied, word) {
            (Some(tied), _) => tied == word,
            (None, Word::Rest) => self.rests == 0 && self.group.is_none() && !self.begins,
            _ => true,
        }
    }

    fn is_note(&self) -> bool {
        matches!(self.before, Some(Word::Pitch(_) | Word::Rest | Word::Tie))
    }

    fn may_end_bar(&self) -> bool {
        if !self.is_note() || self.group.is_some() {
            return false;
        }
        if self.in_pickup {
            return match self.pickup {
                Some(ticks) if ticks > 0 => self.at == ticks,
                _ => self.at > 0,
            };
        }
        self.at == self.bar && !self.must_end_part()
    }

    /// Full bars that the part will have with this one.
    fn with_this(&self) -> u32 {
        self.bars + 1
    }

    /// Whether the part ends with this bar.
    fn must_end_part(&self) -> bool {
        match self.ending {
            1 => [4, 8, 16].contains(&self.with_this()),
            2 => self.ending_bars + 1 >= self.first_bars,
            _ => self.with_this() >= if self.form.long { 16 } else { 8 },
        }
    }

    fn may_end_part(&self) -> bool {
        if self.in_pickup
            || !self.is_note()
            || self.group.is_some()
            || self.before == Some(Word::Tie)
        {
            return false;
        }
        let whole = match self.ending {
            0 => matches!(self.with_this(), 4 | 8 | 16),
            _ => self.must_end_part(),
        };
        whole && self.at == self.bar - self.pickup.unwrap_or(0)
    }

    /// Takes in a token, whether it is allowed or not; what may follow is sound where it was.
    pub fn push(&mut self, word: Word) {
        match word {
            Word::End => self.done = true,
            Word::Opens => self.opened = true,
            Word::Ending(mask) => {
                self.ending = if mask == 1 { 1 } else { 2 };
                self.second = false;
                (self.begins, self.ending_bars) = (false, 0);
            }
            Word::Pickup => self.in_pickup = true,
            Word::Length(at) => self.length = Some(LENGTHS[usize::from(at) % LENGTHS.len()]),
            Word::Pitch(_) | Word::Rest => self.note(word),
            Word::Tie => self.tied = self.pitch,
            Word::Bar => self.end_bar(BarEnd::Plain),
            Word::Double => self.end_bar(BarEnd::Double),
            Word::Repeat => self.end_bar(BarEnd::Repeat),
            _ => {}
        }
        self.before = Some(word);
    }

    fn note(&mut self, word: Word) {
        let length = self.length.unwrap_or(QUARTER);
        if self.group.is_none() && !length.is_multiple_of(GRID) {
            let whole = group_length(length);
            self.group = Some((self.at + whole, whole / 3));
        }
        self.at = self.at.saturating_add(length);
        if self.group.is_some_and(|g| self.at >= g.0) {
            self.group = None;
        }
        if self.begins && !self.in_pickup && self.pickup.is_none() {
            self.pickup = Some(0);
        }
        self.begins = false;
        self.tied = None;
        self.pitch = Some(word).filter(|w| matches!(w, Word::Pitch(_)));
        self.rests = if word == Word::Rest {
            self.rests + 1
        } else {
            0
        };
    }

    fn end_bar(&mut self, end: BarEnd) {
        if self.in_pickup {
            self.pickup = Some(self.at.min(self.bar - 1));
            self.in_pickup = false;
        } else {
            self.bars += 1;
            self.ending_bars += u32::from(self.ending != 0);
        }
        (self.at, self.group) = (0, None);
        match (end, self.ending) {
            (BarEnd::Plain, _) => return,
            (BarEnd::Repeat, 1) => {
                self.first_bars = self.ending_bars;
                (self.second, self.ending_bars) = (true, 0);
                return;
            }
            _ => {}
        }
        self.parts = self.parts.saturating_add(1);
        (self.bars, self.ending, self.opened, self.begins) = (0, 0, false, true);
        (self.tied, self.first_bars, self.ending_bars) = (None, 0, 0);
    }
}

/// Ticks of the group that a triplet of this length begins.
fn group_length(length: u32) -> u32 {
    // A long first note is two of three.
    match length {
        320 | 640 => length / 2 * 3,
        _ => length * 3,
    }
}

impl Default for Form {
    fn default() -> Self {
        Self {
            metre: 0,
            key: Key::of_tonic(2, Mode::Major),
            traits: Traits {
                style: super::Style::Reel,
                tempo: super::TempoClass::Fast,
                motion: super::Motion::Busy,
            },
            parts: (2, 2),
            long: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;

    /// A tune of random choices among what is allowed.
    fn written(form: Form, seed: u64) -> Vec<u32> {
        let mut grammar = Grammar::new(form);
        let mut ids = grammar.heading();
        let mut state = seed;
        let mut mask = Vec::new();
        while !grammar.is_done() {
            grammar.allowed(&mut mask);
            let choices: Vec<u32> = (0..mask.len() as u32)
                .filter(|i| mask[*i as usize])
                .collect();
            assert!(
                !choices.is_empty(),
                "{:?} {grammar:?}",
                &ids[ids.len().saturating_sub(12)..]
            );
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            // Signs are few beside the notes: every third time one of them is taken.
            let of_melody = |id: &u32| {
                let word = Word::of(*id);
                matches!(
                    word,
                    Some(Word::Pitch(_) | Word::Chord(..) | Word::Length(_))
                )
            };
            let signs: Vec<u32> = choices.iter().copied().filter(|c| !of_melody(c)).collect();
            let some = if (state >> 60).is_multiple_of(3) && !signs.is_empty() {
                &signs
            } else {
                &choices
            };
            let id = some[(state >> 33) as usize % some.len()];
            grammar.push(Word::of(id).unwrap());
            ids.push(id);
            assert!(ids.len() < 20_000);
        }
        ids
    }

    #[test]
    fn whatever_is_chosen_every_bar_is_full() {
        let mut endings = 0;
        for seed in 0..300u64 {
            let form = Form {
                metre: (seed % 14) as u8,
                long: seed % 5 == 0,
                parts: (1 + (seed % 3) as u8, 3),
                ..Form::default()
            };
            let ids = written(form, seed);
            let (tune, _) = decode(&ids).unwrap();
            let full = tune.metre.bar();
            let pickup = if tune.bars[0].length() < full {
                tune.bars[0].length()
            } else {
                0
            };
            let mut begins = true;
            for bar in &tune.bars {
                let ends = bar.end != BarEnd::Plain;
                let length = bar.length();
                if !begins {
                    assert_eq!(length, if ends { full - pickup } else { full }, "{seed}");
                    assert_eq!(bar.chords[0].0, 0);
                }
                begins = ends;
                endings += u32::from(bar.ending != 0);
            }
            assert!(tune.bars.last().unwrap().end != BarEnd::Plain);
            assert!(!tune.play().tracks[0].notes.is_empty());
        }
        assert!(endings > 10);
    }
}
