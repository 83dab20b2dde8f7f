//! Coded pictures, as they are laid into a container.

/// Seconds between two pictures that players can jump to.
pub(super) const JUMP_SECONDS: f64 = 2.0;

/// One coded picture, in the form of its container.
pub(super) struct Access {
    pub data: Vec<u8>,
    /// Whether decoding can begin here.
    pub key: bool,
}
