//! Reading. Nothing that the file says is trusted: tables are as long as their box, samples lie within the file, counts within
//! the limits.

use std::io::{Read, Seek, SeekFrom};
use std::ops::{ControlFlow, Range};

use super::boxes::{child, children, descend, head, u16_at, u32_at, u64_at};
use crate::error::MediaError;
use crate::film::turn::Turn;
use crate::read::Limits;

/// The longest head of a film, in bytes.
const MAX_HEAD: u64 = 64 << 20;

/// Bytes of the longest coded picture or packet.
const MAX_SAMPLE: u32 = 64 << 20;

/// The latest time of a track, in ticks: sums of it stay within 64 bits.
const LATEST: i64 = 1 << 60;

/// The longest pause before a track, in seconds.
const LONGEST_PAUSE: f64 = 24.0 * 3600.0;

/// The most packets of sound: four days at 48 kHz.
const MAX_PACKETS: usize = 16 << 20;

/// Whether a file begins as MP4 does.
pub(in crate::film) fn is_mp4(bytes: &[u8]) -> bool {
    bytes.get(4..8) == Some(b"ftyp")
}

/// One coded picture or packet.
#[derive(Clone, Copy, Debug)]
pub(in crate::film) struct Sample {
    pub at: u64,
    pub size: u32,
    /// When it is shown, in ticks of the track.
    pub time: i64,
    /// How long it is decoded for, in ticks.
    pub ticks: u32,
}

/// A track: its samples in the order of decoding.
#[derive(Clone, Debug)]
pub(in crate::film) struct Track {
    /// Ticks a second.
    pub clock: u32,
    pub samples: Vec<Sample>,
    pub edit: Edit,
    pub turn: Turn,
}

/// What of a track is played.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::film) struct Edit {
    /// Seconds before it begins.
    pub pause: f64,
    /// The tick that it begins with.
    pub start: i64,
    /// Seconds that it is played for; none to its end.
    pub seconds: Option<f64>,
}

/// The sound of a film.
#[derive(Clone, Debug)]
pub(in crate::film) struct SoundTrack {
    pub track: Track,
    /// The decoder's configuration, or the four letters of another codec.
    pub config: Result<Vec<u8>, String>,
}

/// A film's head.
#[derive(Clone, Debug)]
pub(in crate::film) struct Movie {
    pub pictures: Track,
    /// Width and height as the container says.
    pub size: (u16, u16),
    /// The record that configures the decoder of H.264, or the four letters of another codec.
    pub config: Result<Vec<u8>, String>,
    pub sound: Option<SoundTrack>,
}

impl Movie {
    /// # Errors
    /// [`MediaError::DamagedFilm`], [`MediaError::FilmUnsupported`], [`MediaError::TooLarge`].
    pub(in crate::film) fn read(
        source: &mut (impl Read + Seek),
        limits: &Limits,
    ) -> Result<Self, MediaError> {
        let (moov, length) = find_head(source)?;
        let clock = child(&moov, b"mvhd").and_then(|mvhd| match mvhd.first()? {
            0 => u32_at(mvhd, 12),
            _ => u32_at(mvhd, 20),
        });
        let clock = clock
            .filter(|&clock| clock > 0)
            .ok_or_else(|| damaged("it has no clock"))?;
        if child(&moov, b"mvex").is_some() {
            return Err(MediaError::film_unsupported(
                "it is in fragments, as for streaming",
            ));
        }
        let mut pictures = None;
        let mut sound = None;
        for (_, trak) in children(&moov).filter(|(kind, _)| kind == b"trak") {
            let Some(handler) = descend(trak, &[b"mdia", b"hdlr"]).and_then(|h| h.get(8..12))
            else {
                continue;
            };
            if handler == b"vide" && pictures.is_none() {
                let config = avc_config(trak)?;
                let track = track(trak, clock, length, limits.frames, "frames")?;
                pictures = Some((track, size(trak), config));
            } else if handler == b"soun" && sound.is_none() {
                let config = aac_config(trak);
                let track = track(trak, clock, length, MAX_PACKETS, "packets of sound")?;
                sound = Some(SoundTrack { track, config });
            }
        }
        let (pictures, size, config) = pictures.ok_or_else(|| damaged("it has no pictures"))?;
        Ok(Self {
            pictures,
            size,
            config,
            sound,
        })
    }
}

/// Visits the boxes at the top of a file: letters, and where their contents lie. Gives the length of the file.
///
/// # Errors
/// What the file's system says.
pub(crate) fn top_boxes(
    source: &mut (impl Read + Seek),
    mut visit: impl FnMut(&[u8; 4], Range<u64>) -> ControlFlow<()>,
) -> std::io::Result<u64> {
    const MOST_BOXES: usize = 10_000;
    let length = source.seek(SeekFrom::End(0))?;
    let mut at = 0;
    for _ in 0..MOST_BOXES {
        let mut bytes = [0; 16];
        let count = (length - at).min(16) as usize;
        source.seek(SeekFrom::Start(at))?;
        source.read_exact(&mut bytes[..count])?;
        let Some((head, behind)) = head(&bytes[..count]) else {
            break;
        };
        let end = head.length.map_or(Some(length), |size| {
            at.checked_add(size).filter(|&end| end <= length)
        });
        let Some(end) = end else {
            break;
        };
        if visit(&head.kind, at + behind as u64..end).is_break() {
            break;
        }
        at = end;
    }
    Ok(length)
}

/// The `moov` box and the length of the file.
fn find_head(source: &mut (impl Read + Seek)) -> Result<(Vec<u8>, u64), MediaError> {
    let io = |e: std::io::Error| MediaError::damaged_film(e);
    let mut found = None;
    let length = top_boxes(source, |kind, contents| {
        if kind == b"moov" {
            found = Some(contents);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    let length = length.map_err(io)?;
    let Some(Range { start, end }) = found else {
        return Err(damaged("its head is missing: it is cut off"));
    };
    if end - start > MAX_HEAD {
        return Err(MediaError::TooLarge {
            got: format!("a head of {} bytes", end - start),
            allowed: format!("{MAX_HEAD} bytes"),
        });
    }
    let mut moov = vec![0; (end - start) as usize];
    source.seek(SeekFrom::Start(start)).map_err(io)?;
    source.read_exact(&mut moov).map_err(io)?;
    Ok((moov, length))
}

fn damaged(reason: &str) -> MediaError {
    MediaError::damaged_film(reason)
}

/// The first entry of the sample description: its four letters and contents.
fn entry(trak: &[u8]) -> Option<([u8; 4], &[u8])> {
    let stsd = descend(trak, &[b"mdia", b"minf", b"stbl", b"stsd"])?;
    children(stsd.get(8..)?).next()
}

fn letters(kind: [u8; 4]) -> String {
    kind.iter()
        .map(|&b| {
            if b.is_ascii_graphic() {
                char::from(b)
            } else {
                '?'
            }
        })
        .collect()
}

/// Width and height in the first entry of the sample description.
fn size(trak: &[u8]) -> (u16, u16) {
    const WIDTH: usize = 24;
    let contents = entry(trak).map(|(_, contents)| contents);
    let side = |at| contents.and_then(|contents| u16_at(contents, at));
    (side(WIDTH).unwrap_or(0), side(WIDTH + 2).unwrap_or(0))
}

fn avc_config(trak: &[u8]) -> Result<Result<Vec<u8>, String>, MediaError> {
    const FIXED: usize = 78;
    match entry(trak) {
        Some((kind, contents)) if &kind == b"avc1" || &kind == b"avc3" => contents
            .get(FIXED..)
            .and_then(|boxes| child(boxes, b"avcC"))
            .map(|config| Ok(config.to_vec()))
            .ok_or_else(|| damaged("its H.264 has no configuration")),
        Some((kind, _)) => Ok(Err(letters(kind))),
        None => Err(damaged("it does not say how its pictures are coded")),
    }
}

fn aac_config(trak: &[u8]) -> Result<Vec<u8>, String> {
    // QuickTime's second version has more before the boxes.
    const FIXED: usize = 28;
    match entry(trak) {
        Some((kind, contents)) if &kind == b"mp4a" => {
            let more = if u16_at(contents, 8) == Some(1) {
                16
            } else {
                0
            };
            let esds = contents
                .get(FIXED + more..)
                .and_then(|boxes| child(boxes, b"esds"));
            esds.and_then(|esds| specific(esds.get(4..)?))
                .ok_or_else(|| "mp4a".to_owned())
        }
        Some((kind, _)) => Err(letters(kind)),
        None => Err("unknown".to_owned()),
    }
}

/// The decoder's configuration within the descriptors (ISO/IEC 14496-1, 7.2.6), if it is AAC's.
fn specific(bytes: &[u8]) -> Option<Vec<u8>> {
    const AAC: u8 = 0x40;
    let (3, es) = descriptor(bytes)? else {
        return None;
    };
    let flags = *es.get(2)?;
    let mut at = 3;
    at += if flags & 0x80 != 0 { 2 } else { 0 };
    at += if flags & 0x40 != 0 {
        1 + usize::from(*es.get(at)?)
    } else {
        0
    };
    at += if flags & 0x20 != 0 { 2 } else { 0 };
    let (4, decoder) = descriptor(es.get(at..)?)? else {
        return None;
    };
    if *decoder.first()? != AAC {
        return None;
    }
    match descriptor(decoder.get(13..)?)? {
        (5, config) => Some(config.to_vec()),
        _ => None,
    }
}

/// A tag and its contents; lengths take seven bits a byte.
fn descriptor(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let mut length = 0usize;
    for at in 1..5 {
        let byte = *bytes.get(at)?;
        length = length << 7 | usize::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            return Some((bytes[0], bytes.get(at + 1..)?.get(..length)?));
        }
    }
    None
}

fn track(
    trak: &[u8],
    movie_clock: u32,
    length: u64,
    most: usize,
    unit: &str,
) -> Result<Track, MediaError> {
    let clock = descend(trak, &[b"mdia", b"mdhd"]).and_then(|mdhd| match mdhd.first()? {
        0 => u32_at(mdhd, 12),
        _ => u32_at(mdhd, 20),
    });
    let clock = clock
        .filter(|&clock| clock > 0)
        .ok_or_else(|| damaged("a track has no clock"))?;
    let edit = match descend(trak, &[b"edts", b"elst"]) {
        Some(list) => edit(list, movie_clock)?,
        None => Edit::default(),
    };
    let stbl = descend(trak, &[b"mdia", b"minf", b"stbl"])
        .ok_or_else(|| damaged("a track has no samples"))?;
    let sizes = sizes(stbl, length, most, unit)?;
    let times = times(stbl, sizes.len())?;
    let places = places(stbl, &sizes, length)?;
    let samples = places.into_iter().zip(&sizes).zip(times);
    let samples = samples.map(|((at, &size), (time, ticks))| Sample {
        at,
        size,
        time,
        ticks,
    });
    Ok(Track {
        clock,
        samples: samples.collect(),
        edit,
        turn: turn(trak),
    })
}

/// How the track's pictures are turned.
fn turn(trak: &[u8]) -> Turn {
    let matrix = child(trak, b"tkhd").and_then(|tkhd| {
        let at = if *tkhd.first()? == 0 { 40 } else { 52 };
        let numbers: Option<Vec<i32>> = (0..9)
            .map(|i| u32_at(tkhd, at + 4 * i).map(|number| number as i32))
            .collect();
        numbers?.try_into().ok()
    });
    Turn::of(matrix.unwrap_or_default())
}

fn edit(list: &[u8], movie_clock: u32) -> Result<Edit, MediaError> {
    let broken = || damaged("an edit list is cut off");
    let long = *list.first().ok_or_else(broken)? == 1;
    let count = u32_at(list, 4).ok_or_else(broken)? as usize;
    let width = if long { 20 } else { 12 };
    let mut edit = Edit::default();
    let mut played = false;
    for entry in list[8..].chunks_exact(width).take(count) {
        let (ticks, start) = if long {
            (
                u64_at(entry, 0).ok_or_else(broken)?,
                u64_at(entry, 8).ok_or_else(broken)? as i64,
            )
        } else {
            let start = u32_at(entry, 4).ok_or_else(broken)? as i32;
            (
                u64::from(u32_at(entry, 0).ok_or_else(broken)?),
                i64::from(start),
            )
        };
        let seconds = ticks as f64 / f64::from(movie_clock);
        if start < 0 && !played {
            edit.pause += seconds;
        } else if !played {
            played = true;
            edit.start = start;
            edit.seconds = (ticks > 0).then_some(seconds);
        } else {
            return Err(MediaError::film_unsupported(
                "it is cut from several pieces by its edit list",
            ));
        }
    }
    if edit.start > LATEST || edit.pause > LONGEST_PAUSE {
        return Err(damaged("its edit list is beyond all measure"));
    }
    Ok(edit)
}

fn sizes(stbl: &[u8], length: u64, most: usize, unit: &str) -> Result<Vec<u32>, MediaError> {
    let broken = || damaged("the sizes of its samples are cut off");
    let stsz =
        child(stbl, b"stsz").ok_or_else(|| damaged("it does not say how large its samples are"))?;
    let (same, count) = (
        u32_at(stsz, 4).ok_or_else(broken)?,
        u32_at(stsz, 8).ok_or_else(broken)? as usize,
    );
    if count > most {
        return Err(MediaError::TooLarge {
            got: format!("{count} {unit}"),
            allowed: format!("{most} {unit}"),
        });
    }
    let sizes = if same > 0 {
        // Before a list of them is made.
        if u64::from(same) * count as u64 > length {
            return Err(damaged("it is cut off"));
        }
        vec![same; count]
    } else {
        let table = stsz.get(12..12 + 4 * count).ok_or_else(broken)?;
        table
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&size| u32::from_be_bytes(size))
            .collect()
    };
    if sizes.iter().any(|&size| size > MAX_SAMPLE) {
        return Err(damaged("a sample is larger than any"));
    }
    // Few bytes would make a day's work otherwise.
    if sizes.iter().map(|&size| u64::from(size)).sum::<u64>() > length {
        return Err(damaged("its samples lie over one another"));
    }
    Ok(sizes)
}

/// When each sample is shown and how long it is decoded for.
fn times(stbl: &[u8], count: usize) -> Result<Vec<(i64, u32)>, MediaError> {
    let stts = child(stbl, b"stts")
        .ok_or_else(|| damaged("it does not say when its samples are shown"))?;
    let mut times = Vec::with_capacity(count);
    let mut now = 0i64;
    for (run, ticks) in pairs(stts) {
        for _ in 0..(run as usize).min(count - times.len()) {
            times.push((now, ticks));
            now += i64::from(ticks);
        }
    }
    if times.len() < count {
        return Err(damaged("the times of its samples are cut off"));
    }
    let mut at = 0;
    for (run, offset) in child(stbl, b"ctts").into_iter().flat_map(pairs) {
        let end = at + (run as usize).min(count - at);
        for (time, _) in &mut times[at..end] {
            // Both versions; offsets beyond 31 bits are negative ones in practice.
            *time += i64::from(offset as i32);
        }
        at = end;
    }
    Ok(times)
}

/// The rows of a table of two columns.
fn pairs(table: &[u8]) -> impl Iterator<Item = (u32, u32)> {
    let count = u32_at(table, 4).unwrap_or(0) as usize;
    let rows = table.get(8..).unwrap_or_default().as_chunks::<8>().0;
    rows.iter()
        .take(count)
        .filter_map(|row| Some((u32_at(row, 0)?, u32_at(row, 4)?)))
}

/// Where each sample lies.
fn places(stbl: &[u8], sizes: &[u32], length: u64) -> Result<Vec<u64>, MediaError> {
    let broken = || damaged("the places of its samples are cut off");
    let chunks: Vec<u64> = match (child(stbl, b"stco"), child(stbl, b"co64")) {
        (Some(stco), _) => {
            let rows = stco.get(8..).ok_or_else(broken)?.as_chunks::<4>().0;
            rows.iter()
                .map(|&at| u64::from(u32::from_be_bytes(at)))
                .collect()
        }
        (None, Some(co64)) => {
            let rows = co64.get(8..).ok_or_else(broken)?.as_chunks::<8>().0;
            rows.iter().map(|&at| u64::from_be_bytes(at)).collect()
        }
        (None, None) => return Err(broken()),
    };
    let stsc = child(stbl, b"stsc")
        .and_then(|stsc| stsc.get(8..))
        .ok_or_else(broken)?;
    let runs: Vec<[u32; 2]> = stsc
        .as_chunks::<12>()
        .0
        .iter()
        .filter_map(|row| Some([u32_at(row, 0)?, u32_at(row, 4)?]))
        .collect();
    let mut places = Vec::with_capacity(sizes.len());
    let mut run = 0;
    for (number, &chunk) in (1u32..).zip(&chunks) {
        while runs.get(run + 1).is_some_and(|next| next[0] <= number) {
            run += 1;
        }
        let count = runs.get(run).ok_or_else(broken)?[1] as usize;
        let mut at = chunk;
        for _ in 0..count.min(sizes.len() - places.len()) {
            let end = at.checked_add(u64::from(sizes[places.len()]));
            let end = end
                .filter(|&end| end <= length)
                .ok_or_else(|| damaged("it is cut off"))?;
            places.push(at);
            at = end;
        }
    }
    if places.len() < sizes.len() {
        return Err(broken());
    }
    Ok(places)
}
