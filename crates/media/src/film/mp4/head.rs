//! The head of a film (`moov`): tracks, clocks, edit lists.

use super::boxes::{numbers, put, put_full};
use super::mux::{PictureConfig, PictureForm, SoundForm};
use super::tables::Samples;

/// No turning, no scaling.
const STRAIGHT: [u32; 9] = [1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30];

/// "Undetermined", five bits a letter.
const LANGUAGE: u32 = 0x55C4_0000;

const PICTURES: u32 = 1;
const SOUND: u32 = 2;

/// The `moov` box. The samples' places count from `start`; no times of making are written, so that the same film is the same bytes.
pub(super) fn movie(
    (pictures, picture_samples): (&PictureForm, &Samples),
    sound: Option<(&SoundForm, &Samples)>,
    start: u64,
    long: bool,
) -> Vec<u8> {
    let (clock, step) = clock(pictures);
    let length = picture_samples.count() * u64::from(step);
    let sound_length = sound.map(|(form, _)| {
        let played = u128::from(form.moments) * u128::from(clock) / u128::from(form.rate);
        u64::try_from(played).unwrap_or(u64::MAX)
    });
    let whole = length.max(sound_length.unwrap_or(0));
    let mut parts = mvhd(clock, whole);
    let samples = picture_samples.boxes(step, start, long);
    let minf = minf(
        put_full(b"vmhd", 0, 1, &[&[0; 8]]),
        video(pictures),
        samples,
    );
    let media = mdia((clock, length), b"vide", "pictures", minf);
    let size = [pictures.width << 16, pictures.height << 16];
    parts.extend(put(
        b"trak",
        &[&tkhd(PICTURES, length, 0, size), &edits(length, 0), &media],
    ));
    if let (Some((form, samples)), Some(played)) = (sound, sound_length) {
        let coded = samples.count() * u64::from(form.packet);
        let tables = samples.boxes(form.packet, start, long);
        let minf = self::minf(put_full(b"smhd", 0, 0, &[&[0; 4]]), mp4a(form), tables);
        let media = mdia((form.rate, coded), b"soun", "sound", minf);
        let head = tkhd(SOUND, played, 0x0100, [0, 0]);
        parts.extend(put(b"trak", &[&head, &edits(played, form.priming), &media]));
    }
    put(b"moov", &[&parts])
}

/// Ticks a second, and those of a frame.
pub(super) fn clock(form: &PictureForm) -> (u32, u32) {
    // Fine enough that the sound's length is exact to a moment or so.
    let fine = if form.rate.frames() < 1000 { 512 } else { 1 };
    (form.rate.frames() * fine, form.rate.seconds() * fine)
}

fn long(value: u64) -> [u8; 8] {
    value.to_be_bytes()
}

fn mvhd(clock: u32, length: u64) -> Vec<u8> {
    let times = [0; 16];
    let speed_and_volume = [&numbers(&[1 << 16])[..], &[1, 0], &[0; 10]].concat();
    let next_track = SOUND + 1;
    put_full(
        b"mvhd",
        1,
        0,
        &[
            &times,
            &numbers(&[clock]),
            &long(length),
            &speed_and_volume,
            &numbers(&STRAIGHT),
            &[0; 24],
            &numbers(&[next_track]),
        ],
    )
}

fn tkhd(track: u32, length: u64, volume: u16, size: [u32; 2]) -> Vec<u8> {
    const SHOWN: u32 = 3;
    put_full(
        b"tkhd",
        1,
        SHOWN,
        &[
            &[0; 16],
            &numbers(&[track, 0]),
            &long(length),
            // Reserved, layer, group.
            &[0; 12],
            &volume.to_be_bytes(),
            &[0; 2],
            &numbers(&STRAIGHT),
            &numbers(&size),
        ],
    )
}

/// Plays `length` ticks of the movie's clock from `skipped` ticks of the track's on.
fn edits(length: u64, skipped: u32) -> Vec<u8> {
    let speed = numbers(&[1 << 16]);
    let list = put_full(
        b"elst",
        1,
        0,
        &[
            &numbers(&[1]),
            &long(length),
            &long(u64::from(skipped)),
            &speed,
        ],
    );
    put(b"edts", &[&list])
}

fn mdia((clock, length): (u32, u64), kind: &[u8; 4], name: &str, minf: Vec<u8>) -> Vec<u8> {
    let mdhd = put_full(
        b"mdhd",
        1,
        0,
        &[
            &[0; 16],
            &numbers(&[clock]),
            &long(length),
            &numbers(&[LANGUAGE]),
        ],
    );
    let hdlr = put_full(
        b"hdlr",
        0,
        0,
        &[&[0; 4], kind, &[0; 12], name.as_bytes(), &[0]],
    );
    put(b"mdia", &[&mdhd, &hdlr, &minf])
}

fn minf(media_head: Vec<u8>, entry: Vec<u8>, tables: Vec<u8>) -> Vec<u8> {
    let here = put_full(b"url ", 0, 1, &[]);
    let dinf = put(
        b"dinf",
        &[&put_full(b"dref", 0, 0, &[&numbers(&[1]), &here])],
    );
    let stsd = put_full(b"stsd", 0, 0, &[&numbers(&[1]), &entry]);
    put(
        b"minf",
        &[&media_head, &dinf, &put(b"stbl", &[&stsd, &tables])],
    )
}

/// The entry of the pictures, with their colours.
fn video(form: &PictureForm) -> Vec<u8> {
    const BT709: [u8; 2] = [0, 1];
    const DOTS: u32 = 72 << 16;
    const DEPTH: u16 = 24;
    // Primaries, curve, matrix; the range is limited.
    let colr = put(b"colr", &[b"nclx", &BT709, &BT709, &BT709, &[0]]);
    let pasp = put(b"pasp", &[&numbers(&[1, 1])]);
    let [width, height] = [form.width, form.height].map(|side| (side as u16).to_be_bytes());
    let (kind, config) = match &form.config {
        PictureConfig::H264(record) => (b"avc1", put(b"avcC", &[record])),
        PictureConfig::Av1(record) => (b"av01", put(b"av1C", &[record])),
    };
    put(
        kind,
        &[
            &[0, 0, 0, 0, 0, 0, 0, 1],
            &[0; 16],
            &width,
            &height,
            &numbers(&[DOTS, DOTS, 0]),
            &1u16.to_be_bytes(),
            &[0; 32],
            &DEPTH.to_be_bytes(),
            &[0xFF, 0xFF],
            &config,
            &colr,
            &pasp,
        ],
    )
}

/// The entry of AAC.
fn mp4a(form: &SoundForm) -> Vec<u8> {
    const BITS: u16 = 16;
    // Rates beyond its 16 bits stand in the decoder's configuration alone.
    let rate = u16::try_from(form.rate).unwrap_or(0);
    put(
        b"mp4a",
        &[
            &[0, 0, 0, 0, 0, 0, 0, 1],
            &[0; 8],
            &form.channels.to_be_bytes(),
            &BITS.to_be_bytes(),
            &[0; 4],
            &numbers(&[u32::from(rate) << 16]),
            &put_full(b"esds", 0, 0, &[&descriptors(form)]),
        ],
    )
}

/// The stream's description (ISO/IEC 14496-1, 7.2.6): what kind it is and the decoder's configuration.
fn descriptors(form: &SoundForm) -> Vec<u8> {
    const ES: u8 = 3;
    const DECODER: u8 = 4;
    const SPECIFIC: u8 = 5;
    const SYNC: u8 = 6;
    const AAC: u8 = 0x40;
    const AUDIO: u8 = 0x15;
    let put = |tag: u8, parts: &[&[u8]]| {
        let body = parts.concat();
        [&[tag, body.len() as u8][..], &body].concat()
    };
    let specific = put(SPECIFIC, &[&form.config]);
    // Size of a buffer, highest and mean bits a second: not said.
    let decoder = put(DECODER, &[&[AAC, AUDIO], &[0; 3], &[0; 8], &specific]);
    put(ES, &[&[0, 2, 0], &decoder, &put(SYNC, &[&[2]])])
}
