//! Between the engine's thread and one client. The engine's thread never waits: what the client has not taken yet lies here, joined
//! together, and is never more than its own works.

use std::sync::{Mutex, MutexGuard, PoisonError};

use medley_types::{TextWork, TokenLogprob};
use tokio::sync::Notify;

use super::error::ServingError;
use crate::CancelToken;

/// What a client has not taken yet.
#[derive(Debug)]
pub struct Mailbox {
    parts: Mutex<Vec<Part>>,
    news: Notify,
    cancel: CancelToken,
}

/// What came of one text.
#[derive(Debug, Default)]
pub struct Part {
    /// Whole characters, in order.
    pub text: String,
    /// Its tokens, where their log-probabilities were asked for.
    pub tokens: Vec<TokenLogprob>,
    /// Its end; the last that comes of it.
    pub end: Option<Result<TextWork, ServingError>>,
}

impl Part {
    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.tokens.is_empty() && self.end.is_none()
    }
}

impl Mailbox {
    /// For so many texts, which `cancel` ends.
    pub fn new(texts: usize, cancel: CancelToken) -> Self {
        Self {
            parts: Mutex::new((0..texts).map(|_| Part::default()).collect()),
            news: Notify::new(),
            cancel,
        }
    }

    fn parts(&self) -> MutexGuard<'_, Vec<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to the text of this number.
    pub fn put(&self, text: usize, add: impl FnOnce(&mut Part)) {
        if let Some(part) = self.parts().get_mut(text) {
            add(part);
        }
        self.news.notify_one();
    }

    /// All that came since the last call, by number of the text; waits until there is something.
    pub async fn take(&self) -> Vec<(usize, Part)> {
        loop {
            {
                let mut parts = self.parts();
                let some = parts.iter_mut().enumerate().filter(|(_, p)| !p.is_empty());
                let taken: Vec<_> = some.map(|(i, p)| (i, std::mem::take(p))).collect();
                if !taken.is_empty() {
                    return taken;
                }
            }
            self.news.notified().await;
        }
    }
}

/// The client's end of a mailbox: what is dropped with the connection ends the texts.
#[derive(Debug)]
pub struct Reader {
    /// What is read from.
    pub mailbox: std::sync::Arc<Mailbox>,
    /// Texts that are not at their end.
    pub open: usize,
}

impl Reader {
    /// What came since the last call; `None` where all texts are at their end.
    pub async fn next(&mut self) -> Option<Vec<(usize, Part)>> {
        if self.open == 0 {
            return None;
        }
        let parts = self.mailbox.take().await;
        let ended = parts.iter().filter(|(_, part)| part.end.is_some()).count();
        self.open = self.open.saturating_sub(ended);
        Some(parts)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.mailbox.cancel.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn what_is_not_taken_is_joined_and_dropping_the_reader_ends_the_text() {
        let cancel = CancelToken::default();
        let mailbox = Arc::new(Mailbox::new(2, cancel.clone()));
        let mut reader = Reader {
            mailbox: mailbox.clone(),
            open: 2,
        };
        mailbox.put(1, |part| part.text.push_str("one "));
        mailbox.put(1, |part| part.text.push_str("two"));
        mailbox.put(7, |part| part.text.push_str("nobody's"));
        let Some(parts) = reader.next().await else {
            panic!("there is something");
        };
        assert_eq!(parts.len(), 1);
        assert_eq!((parts[0].0, parts[0].1.text.as_str()), (1, "one two"));
        assert!(!cancel.is_cancelled());
        drop(reader);
        assert!(cancel.is_cancelled());
    }
}
