use crate::text::sequence::Sequence;
use crate::{CancelToken, PipelineError};

/// A request of a batch; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId(pub(super) u64);

/// A request with its place in the batch.
pub(super) struct Slot {
    pub(super) id: SlotId,
    pub(super) sequence: Sequence,
    pub(super) cancel: CancelToken,
    /// Whether its prompt is being read, or is read.
    pub(super) begun: bool,
    /// Whether it takes part in the next pass.
    pub(super) chosen: bool,
    pub(super) failure: Option<PipelineError>,
}

impl Slot {
    pub(super) fn new(id: SlotId, sequence: Sequence, cancel: CancelToken) -> Self {
        Self {
            id,
            sequence,
            cancel,
            begun: false,
            chosen: false,
            failure: None,
        }
    }

    /// Whether nothing more will come.
    pub(super) fn is_done(&self) -> bool {
        self.failure.is_some() || self.sequence.is_done()
    }
}
