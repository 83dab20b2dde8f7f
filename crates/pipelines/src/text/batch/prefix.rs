//! What was read before, for prompts that begin alike.

use std::collections::HashSet;

use crate::PipelineError;
use crate::text::session::common_prefix;
use crate::text::{Session, TextModel};

/// Sessions by what they have read, the least recently used of which go when there are too many. Pages that sessions
/// share are counted, and held, once.
pub(super) struct Prefixes {
    /// Least recently used first.
    sessions: Vec<Session>,
    limit: usize,
    taken: usize,
}

impl Prefixes {
    /// A cache of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            sessions: Vec::new(),
            limit,
            taken: 0,
        }
    }

    /// Bytes of keys and values.
    pub(super) fn bytes(&self) -> usize {
        let mut seen = HashSet::new();
        let bytes = |s: &Session| s.cache.bytes_beside(&mut seen);
        self.sessions.iter().map(bytes).sum()
    }

    /// Keeps at most `limit` bytes from now on.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.shrink();
    }

    fn shrink(&mut self) {
        while !self.sessions.is_empty() && self.bytes() > self.limit {
            self.sessions.remove(0);
        }
    }

    /// Tokens that were given to prompts so far.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    /// How many tokens of `prompt` are there.
    pub(super) fn common(&self, prompt: &[u32]) -> usize {
        let common = self.sessions.iter().map(|s| common_prefix(&s.ids, prompt));
        common.max().unwrap_or(0)
    }

    /// A session that has read as much as is there, or in one of `live`, of `prompt`; but not its last token, whose
    /// logits are wanted.
    pub(super) fn take<'s>(
        &mut self,
        model: &TextModel,
        prompt: &[u32],
        live: impl Iterator<Item = &'s Session>,
    ) -> Result<Session, PipelineError> {
        let wanted = &prompt[..prompt.len().saturating_sub(1)];
        let common = |s: &Session| common_prefix(&s.ids, wanted);
        let live = live
            .map(|s| (common(s), s))
            .max_by_key(|&(common, _)| common);
        // Of equal ones the most recently used.
        let kept = self.sessions.iter().map(common).enumerate();
        let kept = kept.max_by_key(|&(index, common)| (common, index));
        let fork = match (kept, live) {
            (Some((_, common)), Some((more, session))) if more > common => {
                session.fork(model.reusable(more))?
            }
            (None, Some((common, session))) => session.fork(model.reusable(common))?,
            (Some((index, common)), _) if common > 0 => {
                let session = self.sessions.remove(index);
                let fork = session.fork(model.reusable(common));
                self.sessions.push(session);
                fork?
            }
            _ => model.session(),
        };
        self.taken += fork.ids.len();
        Ok(fork)
    }

    /// Keeps what was read. Sessions that the new one begins with are not needed beside it.
    pub(super) fn insert(&mut self, session: Session) {
        if self.limit == 0 || session.ids.is_empty() {
            return;
        }
        let known = |s: &Session| s.ids.starts_with(&session.ids);
        if let Some(index) = self.sessions.iter().position(known) {
            let longer = self.sessions.remove(index);
            self.sessions.push(longer);
            return;
        }
        self.sessions.retain(|s| !session.ids.starts_with(&s.ids));
        self.sessions.push(session);
        self.shrink();
    }
}
