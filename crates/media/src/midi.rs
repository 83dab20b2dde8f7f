//! Standard MIDI files (MIDI Manufacturers Association, RP-001) as scores and back.

use std::collections::HashMap;

use midly::num::{u4, u7, u15, u24, u28};
use midly::{Format, Header, MetaMessage, MidiMessage, Smf, Timing, TrackEvent, TrackEventKind};

use crate::error::MediaError;
use crate::label::{Origin, midi as label};
use crate::score::{Key, Metre, Mode, Note, QUARTER, Score, Track};

/// Most bytes of a file.
const MOST_BYTES: usize = 32 << 20;

/// Most notes of a file.
const MOST_NOTES: usize = 1 << 20;

/// Latest tick: a day at any tempo that music has.
const LATEST: u64 = 1 << 30;

/// Channel of drums in General MIDI.
const DRUMS: u8 = 9;

fn wrong(reason: impl ToString) -> MediaError {
    MediaError::Notation {
        kind: "MIDI",
        reason: reason.to_string(),
    }
}

/// Reads a file of format 0 or 1: notes by track and channel, first key and metre, tempos. Controllers and pitch bends are
/// skipped.
///
/// # Errors
/// [`MediaError::Notation`] for what is no MIDI file, is damaged, too large, counts in frames of film, or has no notes.
pub fn read(bytes: &[u8]) -> Result<Score, MediaError> {
    if bytes.len() > MOST_BYTES {
        return Err(wrong(format!(
            "it has {} bytes, but at most {MOST_BYTES} are read",
            bytes.len()
        )));
    }
    let (header, tracks) = midly::parse(bytes).map_err(wrong)?;
    let Timing::Metrical(division) = header.timing else {
        return Err(wrong("it counts in frames of film, not in beats"));
    };
    let division = u64::from(division.as_int().max(1));
    let mut reader = Reader::default();
    for track in tracks {
        let track = track.map_err(wrong)?;
        reader.begin();
        for event in track {
            let event = event.map_err(wrong)?;
            reader.clock = reader.clock.saturating_add(u64::from(event.delta.as_int()));
            let tick = (reader.clock.saturating_mul(u64::from(QUARTER)) + division / 2) / division;
            let tick = u32::try_from(tick.min(LATEST)).unwrap_or(u32::MAX);
            reader.event(tick, event.kind)?;
        }
    }
    reader.finish()
}

/// A file while it is read.
#[derive(Default)]
struct Reader {
    clock: u64,
    title: String,
    name: String,
    key: Option<Key>,
    metre: Option<Metre>,
    tempos: Vec<(u32, f64)>,
    tracks: Vec<Track>,
    /// Tracks of the channels of the part that is read.
    places: HashMap<u8, usize>,
    /// Notes that sound, by channel and pitch: their place.
    sounding: HashMap<(u8, u8), (usize, usize)>,
    programs: [u8; 16],
    notes: usize,
}

impl Reader {
    fn begin(&mut self) {
        self.clock = 0;
        self.places.clear();
        self.sounding.clear();
        self.name.clear();
    }

    fn event(&mut self, tick: u32, kind: TrackEventKind) -> Result<(), MediaError> {
        match kind {
            TrackEventKind::Midi { channel, message } => {
                self.message(tick, channel.as_int(), message)
            }
            TrackEventKind::Meta(meta) => {
                self.meta(tick, meta);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn meta(&mut self, tick: u32, meta: MetaMessage) {
        match meta {
            MetaMessage::Tempo(micros) if micros.as_int() > 0 => {
                let tempo = 60e6 / f64::from(micros.as_int());
                self.tempos.push((tick, tempo.clamp(4.0, 2000.0)));
            }
            MetaMessage::TimeSignature(beats, unit, ..) if self.metre.is_none() => {
                let unit = 1u32.checked_shl(u32::from(unit)).unwrap_or(0);
                self.metre = Metre::parse(&format!("{beats}/{unit}"));
            }
            MetaMessage::KeySignature(fifths, minor) if self.key.is_none() => {
                let mode = if minor { Mode::Minor } else { Mode::Major };
                self.key = Key::of_signature(fifths, mode);
            }
            MetaMessage::TrackName(name) => {
                let name: String = String::from_utf8_lossy(name).chars().take(200).collect();
                if self.title.is_empty() {
                    self.title.clone_from(&name);
                }
                self.name = name;
            }
            _ => {}
        }
    }

    fn message(&mut self, tick: u32, channel: u8, message: MidiMessage) -> Result<(), MediaError> {
        match message {
            MidiMessage::ProgramChange { program } => {
                self.programs[usize::from(channel & 15)] = program.as_int();
                if let Some(&place) = self.places.get(&channel) {
                    self.tracks[place].program = program.as_int();
                }
            }
            MidiMessage::NoteOn { key, vel } if vel.as_int() > 0 => {
                self.end_note(tick, channel, key.as_int());
                self.begin_note(tick, channel, key.as_int(), vel.as_int())?;
            }
            MidiMessage::NoteOn { key, .. } | MidiMessage::NoteOff { key, .. } => {
                self.end_note(tick, channel, key.as_int());
            }
            _ => {}
        }
        Ok(())
    }

    fn begin_note(
        &mut self,
        tick: u32,
        channel: u8,
        pitch: u8,
        velocity: u8,
    ) -> Result<(), MediaError> {
        self.notes += 1;
        if self.notes > MOST_NOTES {
            return Err(wrong(format!("it has more than {MOST_NOTES} notes")));
        }
        let (tracks, name) = (&mut self.tracks, &self.name);
        let program = self.programs[usize::from(channel & 15)];
        let place = *self.places.entry(channel).or_insert_with(|| {
            tracks.push(Track {
                name: name.clone(),
                program,
                drums: channel == DRUMS,
                notes: Vec::new(),
            });
            tracks.len() - 1
        });
        let notes = &mut self.tracks[place].notes;
        self.sounding.insert((channel, pitch), (place, notes.len()));
        notes.push(Note {
            start: tick,
            length: 0,
            pitch,
            velocity,
        });
        Ok(())
    }

    fn end_note(&mut self, tick: u32, channel: u8, pitch: u8) {
        if let Some((place, number)) = self.sounding.remove(&(channel, pitch)) {
            let note = &mut self.tracks[place].notes[number];
            note.length = tick.saturating_sub(note.start).max(1);
        }
    }

    fn finish(mut self) -> Result<Score, MediaError> {
        for track in &mut self.tracks {
            // Notes that were never ended have no length.
            track.notes.retain(|n| n.length > 0);
        }
        self.tracks.retain(|t| !t.notes.is_empty());
        if self.tracks.is_empty() {
            return Err(wrong("it has no notes"));
        }
        self.tempos.sort_by_key(|t| t.0);
        // Of several at one tick the last holds.
        self.tempos.reverse();
        self.tempos.dedup_by_key(|t| t.0);
        self.tempos.reverse();
        if self.tempos.first().is_none_or(|t| t.0 > 0) {
            self.tempos.insert(0, (0, 120.0));
        }
        Ok(Score {
            title: self.title,
            key: self.key,
            metre: self.metre.unwrap_or_default(),
            upbeat: 0,
            tempos: self.tempos,
            chords: Vec::new(),
            tracks: self.tracks,
        })
    }
}

/// Writes a file of format 1: a track of tempos and signatures, then one for each track of the score.
///
/// # Errors
/// [`MediaError::RecipeTooLong`], or [`MediaError::Notation`] where there are more tracks than channels.
pub fn write(score: &Score, origin: Origin) -> Result<Vec<u8>, MediaError> {
    crate::label::check_length(match origin {
        Origin::Generated { recipe } => recipe,
        Origin::Collected => None,
    })?;
    let texts = label::texts(origin);
    let mut smf = Smf::new(Header {
        format: Format::Parallel,
        timing: Timing::Metrical(u15::new(QUARTER as u16)),
    });
    smf.tracks.push(conductor(score, &texts));
    // Drums have a channel of their own.
    let mut channels = (0..16u8).filter(|c| *c != DRUMS);
    for track in &score.tracks {
        let channel = match track.drums {
            true => DRUMS,
            false => channels
                .next()
                .ok_or_else(|| wrong("it has more than 15 tracks"))?,
        };
        smf.tracks.push(part(track, channel));
    }
    let mut bytes = Vec::new();
    smf.write_std(&mut bytes).map_err(wrong)?;
    Ok(bytes)
}

/// Events at ticks as events after one another, with the end of the track.
fn deltas(mut events: Vec<(u32, TrackEventKind)>) -> Vec<TrackEvent> {
    events.sort_by_key(|e| e.0);
    let mut at = 0;
    let mut track: Vec<TrackEvent> = Vec::with_capacity(events.len() + 1);
    for (tick, kind) in events {
        track.push(TrackEvent {
            delta: u28::new((tick - at).min(u28::max_value().as_int())),
            kind,
        });
        at = tick;
    }
    track.push(TrackEvent {
        delta: 0.into(),
        kind: TrackEventKind::Meta(MetaMessage::EndOfTrack),
    });
    track
}

fn conductor<'a>(score: &'a Score, texts: &'a [Vec<u8>]) -> Vec<TrackEvent<'a>> {
    let meta = TrackEventKind::Meta;
    let mut events = vec![(0, meta(MetaMessage::TrackName(score.title.as_bytes())))];
    events.extend(texts.iter().map(|t| (0, meta(MetaMessage::Text(t)))));
    let unit = score.metre.unit.max(1).trailing_zeros() as u8;
    // Clocks of a beat: 24 make a quarter.
    let clocks = (score.metre.beat() * 24 / QUARTER).min(255) as u8;
    events.push((
        0,
        meta(MetaMessage::TimeSignature(
            score.metre.beats,
            unit,
            clocks,
            8,
        )),
    ));
    if let Some(key) = score.key {
        let minor = key.mode().is_minor();
        events.push((0, meta(MetaMessage::KeySignature(key.fifths(), minor))));
    }
    for &(tick, tempo) in &score.tempos {
        let micros = (60e6 / tempo).round().clamp(1.0, 16_777_215.0) as u32;
        events.push((tick, meta(MetaMessage::Tempo(u24::new(micros)))));
    }
    deltas(events)
}

fn part(track: &Track, channel: u8) -> Vec<TrackEvent<'_>> {
    let midi = |message| TrackEventKind::Midi {
        channel: u4::new(channel),
        message,
    };
    let mut events = vec![(
        0,
        TrackEventKind::Meta(MetaMessage::TrackName(track.name.as_bytes())),
    )];
    if !track.drums {
        let program = u7::new(track.program.min(127));
        events.push((0, midi(MidiMessage::ProgramChange { program })));
    }
    // Ends stand before beginnings at the same tick: the order of pushing is kept.
    let notes = || track.notes.iter();
    events.extend(notes().map(|n| {
        let message = MidiMessage::NoteOff {
            key: u7::new(n.pitch.min(127)),
            vel: u7::new(64),
        };
        (n.start.saturating_add(n.length), midi(message))
    }));
    events.extend(notes().map(|n| {
        let message = MidiMessage::NoteOn {
            key: u7::new(n.pitch.min(127)),
            vel: u7::new(n.velocity.clamp(1, 127)),
        };
        (n.start, midi(message))
    }));
    deltas(events)
}
