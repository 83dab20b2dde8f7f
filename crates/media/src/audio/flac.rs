//! FLAC files ([RFC 9639](https://www.rfc-editor.org/rfc/rfc9639)), by flacenc.

use flacenc::bitsink::ByteSink;
use flacenc::component::BitRepr;
use flacenc::config::Encoder;
use flacenc::error::Verify;
use flacenc::source::MemSource;

use super::Audio;
use super::encode::not_empty;
use crate::error::{MediaError, size};
use crate::label::{Origin, flac_with_label};

const BITS: usize = 16;

/// The most channels of a file, and the highest rate that its encoder writes.
const CHANNELS: u16 = 8;
const RATE: u32 = 96_000;

pub(super) fn encode(audio: &Audio, origin: Origin<'_>) -> Result<Vec<u8>, MediaError> {
    not_empty(audio)?;
    let (rate, channels) = (audio.rate(), audio.channels());
    size(
        channels <= CHANNELS,
        "the number of channels",
        channels,
        format!("at most {CHANNELS} in a FLAC file"),
    )?;
    size(
        rate <= RATE,
        "the sample rate",
        rate,
        format!("at most {RATE} in a FLAC file"),
    )?;
    let failed = |reason: String| MediaError::EncodeSound {
        format: "FLAC",
        reason,
    };
    let samples: Vec<i32> = audio.to_pcm16()?.into_iter().map(i32::from).collect();
    let config = Encoder::default()
        .into_verified()
        .map_err(|(_, error)| failed(error.to_string()))?;
    let source = MemSource::from_samples(&samples, usize::from(channels), BITS, rate as usize);
    let stream = flacenc::encode_with_fixed_block_size(&config, source, config.block_size)
        .map_err(|error| failed(error.to_string()))?;
    let mut sink = ByteSink::new();
    stream
        .write(&mut sink)
        .map_err(|error| failed(format!("{error:?}")))?;
    flac_with_label(sink.as_slice(), origin)
}
