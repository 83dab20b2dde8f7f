//! From tunes to tokens and back.

use medley_media::score::{Bar, BarEnd, Chord, Event, Key, Mode, Quality, Tune};

use super::word::{LENGTHS, METRES, Word, reference_pitch};
use super::{NotesError, Traits};

/// The tune as the vocabulary has it: every repeated part begins with a sign, every part ends with one, and the last bar
/// does; title and remarks stay.
pub fn canonical(tune: &Tune) -> Tune {
    let mut tune = tune.clone();
    tune.tidy();
    tune.bars.retain(|b| !b.events.is_empty());
    let mut start = 0;
    for at in 0..tune.bars.len() {
        if at > 0 && tune.bars[at].opens {
            let before = &mut tune.bars[at - 1].end;
            if *before == BarEnd::Plain {
                *before = BarEnd::Double;
            }
            start = at;
        }
        match tune.bars[at].end {
            BarEnd::Repeat => {
                tune.bars[start].opens = true;
                // The ending of the last time belongs to the part.
                let more = tune
                    .bars
                    .get(at + 1)
                    .is_some_and(|b| b.ending != 0 && !b.opens);
                start = if more { start } else { at + 1 };
            }
            BarEnd::Double => start = at + 1,
            BarEnd::Plain => {}
        }
    }
    if let Some(last) = tune.bars.last_mut().filter(|b| b.end == BarEnd::Plain) {
        last.end = BarEnd::Double;
    }
    tune
}

/// The tokens of a tune, `end` before and behind it.
///
/// # Errors
/// [`NotesError`] for a metre, a length, a pitch or an ending without a word.
pub fn encode(tune: &Tune, traits: &Traits) -> Result<Vec<u32>, NotesError> {
    let mut out = Encoder {
        words: vec![Word::End],
        key: tune.key,
        metre: tune.metre,
        length: None,
    };
    out.words.push(Word::Style(traits.style));
    out.metre(tune.metre)?;
    out.key(tune.key);
    out.words.push(Word::Tempo(traits.tempo));
    out.words.push(Word::Motion(traits.motion));
    let mut begins = true;
    for bar in &tune.bars {
        out.bar(bar, begins || bar.opens)?;
        begins = bar.end != BarEnd::Plain;
    }
    out.words.push(Word::End);
    Ok(out.words.into_iter().map(Word::id).collect())
}

struct Encoder {
    words: Vec<Word>,
    key: Key,
    metre: medley_media::score::Metre,
    length: Option<u8>,
}

impl Encoder {
    fn metre(&mut self, metre: medley_media::score::Metre) -> Result<(), NotesError> {
        let at = METRES.iter().position(|m| *m == metre);
        let at = at.ok_or_else(|| NotesError::Metre(metre.to_string()))?;
        self.metre = metre;
        self.words.push(Word::Metre(at as u8));
        Ok(())
    }

    fn key(&mut self, key: Key) {
        self.key = key;
        self.words.push(Word::Tonic(key.tonic()));
        self.words.push(Word::Mode(key.mode()));
    }

    fn bar(&mut self, bar: &Bar, begins: bool) -> Result<(), NotesError> {
        if let Some(metre) = bar.metre {
            self.metre(metre)?;
        }
        if let Some(key) = bar.key {
            self.key(key);
        }
        if bar.opens {
            self.words.push(Word::Opens);
        }
        if bar.ending != 0 {
            let known = super::word::ENDINGS.contains(&bar.ending);
            known.then_some(()).ok_or(NotesError::Ending)?;
            self.words.push(Word::Ending(bar.ending));
        }
        if begins && bar.length() < self.metre.bar() {
            self.words.push(Word::Pickup);
        }
        let mut chords = bar.chords.iter().peekable();
        let mut at = 0;
        for event in &bar.events {
            let mut chord = None;
            while let Some(next) = chords.next_if(|c| c.0 <= at) {
                chord = Some(Word::of_chord(next.1, self.key));
            }
            self.words.extend(chord);
            self.event(event)?;
            at += event.length;
        }
        self.words.push(match bar.end {
            BarEnd::Plain => Word::Bar,
            BarEnd::Double => Word::Double,
            BarEnd::Repeat => Word::Repeat,
        });
        Ok(())
    }

    /// A note or a rest, in several tied parts where no word is as long.
    fn event(&mut self, event: &Event) -> Result<(), NotesError> {
        let pitch = match event.pitch {
            Some(pitch) => Word::of_pitch(pitch, self.key).ok_or(NotesError::Pitch(pitch))?,
            None => Word::Rest,
        };
        let parts = parts(event.length)?;
        let last = parts.len() - 1;
        for (i, part) in parts.into_iter().enumerate() {
            if self.length != Some(part) {
                self.length = Some(part);
                self.words.push(Word::Length(part));
            }
            self.words.push(pitch);
            if (i < last || event.tied) && event.pitch.is_some() {
                self.words.push(Word::Tie);
            }
        }
        Ok(())
    }
}

/// Lengths that together are this many ticks: one, or two, the longer first.
fn parts(length: u32) -> Result<Vec<u8>, NotesError> {
    let place = |length: u32| LENGTHS.iter().position(|l| *l == length).map(|p| p as u8);
    if let Some(at) = place(length) {
        return Ok(vec![at]);
    }
    let longest_first = {
        let mut order: Vec<u32> = LENGTHS.to_vec();
        order.sort_unstable_by(|a, b| b.cmp(a));
        order
    };
    for first in longest_first.into_iter().filter(|l| *l < length) {
        if let (Some(a), Some(b)) = (place(first), place(length - first)) {
            return Ok(vec![a, b]);
        }
    }
    Err(NotesError::Length(length))
}

/// The tune of tokens, with what its heading says. What follows a second `end` is not read; a bar that is not ended is
/// left out.
///
/// # Errors
/// [`NotesError::Token`] for the first token that cannot stand where it does.
pub fn decode(ids: &[u32]) -> Result<(Tune, Traits), NotesError> {
    let mut words = ids.iter().enumerate();
    let mut wrong = NotesError::Token {
        id: 0,
        place: ids.len(),
    };
    let mut next = |accept: &dyn Fn(Word) -> bool| -> Result<Word, NotesError> {
        let Some((place, &id)) = words.next() else {
            return Err(wrong.clone());
        };
        wrong = NotesError::Token { id, place };
        Word::of(id)
            .filter(|w| accept(*w))
            .ok_or_else(|| wrong.clone())
    };
    next(&|w| w == Word::End)?;
    let style = next(&|w| matches!(w, Word::Style(_)))?;
    let metre = next(&|w| matches!(w, Word::Metre(_)))?;
    let tonic = next(&|w| matches!(w, Word::Tonic(_)))?;
    let mode = next(&|w| matches!(w, Word::Mode(_)))?;
    let tempo = next(&|w| matches!(w, Word::Tempo(_)))?;
    let motion = next(&|w| matches!(w, Word::Motion(_)))?;
    let (
        Word::Style(style),
        Word::Metre(metre),
        Word::Tonic(tonic),
        Word::Mode(mode),
        Word::Tempo(tempo),
        Word::Motion(motion),
    ) = (style, metre, tonic, mode, tempo, motion)
    else {
        return Err(wrong);
    };
    let traits = Traits {
        style,
        tempo,
        motion,
    };
    let key = Key::of_tonic(tonic, mode);
    let mut decoder = Decoder {
        tune: Tune {
            rhythm: Some(style.name().to_owned()),
            key,
            metre: METRES[usize::from(metre)],
            ..Tune::default()
        },
        bar: Bar::default(),
        key,
        tonic: None,
        length: None,
        chord: None,
    };
    for (place, &id) in words {
        let word = Word::of(id).ok_or(NotesError::Token { id, place })?;
        if word == Word::End {
            break;
        }
        decoder.take(word).ok_or(NotesError::Token { id, place })?;
    }
    decoder.tune.tidy();
    Ok((decoder.tune, traits))
}

struct Decoder {
    tune: Tune,
    bar: Bar,
    key: Key,
    /// A tonic whose mode comes next.
    tonic: Option<u8>,
    length: Option<u32>,
    chord: Option<Chord>,
}

impl Decoder {
    fn take(&mut self, word: Word) -> Option<()> {
        match word {
            Word::Metre(at) => self.bar.metre = Some(METRES[usize::from(at)]),
            Word::Tonic(tonic) => self.tonic = Some(tonic),
            Word::Mode(mode) => self.new_key(mode)?,
            Word::Opens => self.bar.opens = true,
            Word::Ending(mask) => self.bar.ending = mask,
            Word::Pickup => {}
            Word::Length(at) => self.length = Some(LENGTHS[usize::from(at)]),
            Word::Chord(root, quality) => {
                self.chord = Some(Chord {
                    root: (self.key.tonic() + root) % 12,
                    quality: Quality::ALL[usize::from(quality)],
                });
            }
            Word::Pitch(up) => {
                let pitch = reference_pitch(self.key.tonic()) + i32::from(up);
                self.note(Some(u8::try_from(pitch).ok().filter(|p| *p < 128)?))?;
            }
            Word::Rest => self.note(None)?,
            Word::Tie => self.bar.events.last_mut()?.tied = true,
            Word::Bar => self.end(BarEnd::Plain)?,
            Word::Double => self.end(BarEnd::Double)?,
            Word::Repeat => self.end(BarEnd::Repeat)?,
            Word::End | Word::Style(_) | Word::Tempo(_) | Word::Motion(_) => return None,
        }
        Some(())
    }

    fn new_key(&mut self, mode: Mode) -> Option<()> {
        self.key = Key::of_tonic(self.tonic.take()?, mode);
        self.bar.key = Some(self.key);
        Some(())
    }

    fn note(&mut self, pitch: Option<u8>) -> Option<()> {
        if let Some(chord) = self.chord.take() {
            self.bar.chords.push((self.bar.length(), chord));
        }
        self.bar.events.push(Event {
            pitch,
            length: self.length?,
            tied: false,
        });
        Some(())
    }

    fn end(&mut self, end: BarEnd) -> Option<()> {
        if self.bar.events.is_empty() {
            return None;
        }
        let mut bar = std::mem::take(&mut self.bar);
        bar.end = end;
        self.tune.bars.push(bar);
        Some(())
    }
}
