//! H.264: Cisco's codec behind safe types, and the one header of the stream that is read here
//! (ITU-T H.264, clauses 7.3.2.1 and E.1).

mod decode;
mod encode;
mod sps;

pub(super) use decode::{AvcConfig, FrameDecoder};
pub(super) use encode::FrameEncoder;
