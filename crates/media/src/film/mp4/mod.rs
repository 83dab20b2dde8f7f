//! MP4: boxes, sample tables, edit lists
//! ([ISO/IEC 14496-12](https://www.iso.org/standard/83102.html); AVC in ISO/IEC 14496-15, AAC in ISO/IEC 14496-14).

mod boxes;
mod demux;
mod head;
mod mux;
mod tables;

pub(crate) use demux::top_boxes;
pub(super) use demux::{Movie, SoundTrack, Track, is_mp4};
pub(super) use mux::{Muxer, PictureConfig, PictureForm, SoundForm};
