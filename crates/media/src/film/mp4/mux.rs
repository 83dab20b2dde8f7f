//! Writing. The coded pictures and sounds go into a nameless file beside the film as they come, what players need of them is
//! counted on the way; at the end the head is written first and they behind it, so that playing can begin before all is there.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::boxes::put;
use super::head;
use super::tables::Samples;
use crate::error::MediaError;
use crate::film::rate::Rate;

/// What the film's head says of its pictures.
pub(in crate::film) struct PictureForm {
    pub width: u32,
    pub height: u32,
    pub rate: Rate,
    pub config: PictureConfig,
}

/// The record that configures a decoder, by its codec.
pub(in crate::film) enum PictureConfig {
    H264(Vec<u8>),
    Av1(Vec<u8>),
}

/// What the film's head says of its sound.
pub(in crate::film) struct SoundForm {
    pub rate: u32,
    pub channels: u16,
    /// The decoder's configuration.
    pub config: [u8; 2],
    /// Moments in a packet.
    pub packet: u32,
    /// Moments before the first of the sound, which are not played.
    pub priming: u32,
    /// Moments of the sound.
    pub moments: u64,
}

/// Collects the coded samples of a film.
pub(in crate::film) struct Muxer {
    path: PathBuf,
    data: BufWriter<File>,
    written: u64,
    pictures: Samples,
    sounds: Samples,
}

impl Muxer {
    /// For a film at `path`; nothing is seen in its folder until it is finished.
    pub(in crate::film) fn new(path: &Path) -> Result<Self, MediaError> {
        let file = tempfile::tempfile_in(crate::file::folder(path))
            .map_err(|e| MediaError::io(path, "create", e))?;
        Ok(Self {
            path: path.to_owned(),
            data: BufWriter::with_capacity(1 << 18, file),
            written: 0,
            pictures: Samples::default(),
            sounds: Samples::default(),
        })
    }

    /// One coded picture; those between two sounds are one piece of the file.
    pub(in crate::film) fn picture(&mut self, data: &[u8], key: bool) -> Result<(), MediaError> {
        self.pictures.add(self.written, data.len(), key);
        self.put(data)
    }

    /// One packet of sound.
    pub(in crate::film) fn sound(&mut self, data: &[u8]) -> Result<(), MediaError> {
        self.sounds.add(self.written, data.len(), true);
        self.put(data)
    }

    pub(in crate::film) fn pictures(&self) -> u64 {
        self.pictures.count()
    }

    fn put(&mut self, data: &[u8]) -> Result<(), MediaError> {
        self.written += data.len() as u64;
        self.data
            .write_all(data)
            .map_err(|e| MediaError::io(&self.path, "write", e))
    }

    /// Puts the film into its place: head, label, samples. Gives its length in bytes.
    pub(in crate::film) fn finish(
        mut self,
        pictures: &PictureForm,
        sound: Option<&SoundForm>,
        label: &[u8],
    ) -> Result<u64, MediaError> {
        let path = self.path.clone();
        let io = |e| MediaError::io(&path, "write", e);
        self.data.flush().map_err(io)?;
        let brands = match pictures.config {
            PictureConfig::H264(_) => b"isomiso2avc1mp41",
            PictureConfig::Av1(_) => b"isomiso2av01mp41",
        };
        let ftyp = put(b"ftyp", &[b"isom", &512u32.to_be_bytes(), brands]);
        // Long boxes have long heads; a head never grows by 64 MiB.
        let long = self.written > u64::from(u32::MAX) - (1 << 26);
        let mdat: Vec<u8> = if long {
            [
                &1u32.to_be_bytes()[..],
                b"mdat",
                &(self.written + 16).to_be_bytes(),
            ]
            .concat()
        } else {
            [&(self.written as u32 + 8).to_be_bytes()[..], b"mdat"].concat()
        };
        let moov = |start: u64| {
            let sounds = sound.map(|form| (form, &self.sounds));
            head::movie((pictures, &self.pictures), sounds, start, long)
        };
        // Its length does not depend on where the samples begin.
        let before = ftyp.len() + moov(0).len() + label.len() + mdat.len();
        let moov = moov(before as u64);
        let mut file = self.data.into_inner().map_err(|e| io(e.into_error()))?;
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        let head = [&ftyp[..], &moov, label, &mdat].concat();
        place(&path, &head, file)?;
        Ok(before as u64 + self.written)
    }
}

/// As [`crate::write_file`], out of bytes and a file.
fn place(path: &Path, head: &[u8], mut data: impl Read) -> Result<(), MediaError> {
    let mut file = crate::file::temporary(path)?;
    let written = file
        .write_all(head)
        .and_then(|()| std::io::copy(&mut data, file.as_file_mut()))
        .and_then(|_| file.as_file().sync_data());
    written.map_err(|e| MediaError::io(path, "write", e))?;
    file.persist(path)
        .map_err(|e| MediaError::io(path, "replace", e.error))?;
    Ok(())
}
