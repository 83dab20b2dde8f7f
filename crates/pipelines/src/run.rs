use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use medley_types::{Event, TextRequest, TextWork};

use crate::PipelineError;

/// Ends a run from another thread; generators look at it at least once a step.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Asks the run to end.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Makes the token usable again.
    pub fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether the run shall end.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a generator has besides its request: events out, cancel in.
pub struct Run<'a> {
    /// Ends the run.
    pub cancel: CancelToken,
    events: Box<dyn FnMut(Event) + 'a>,
}

impl<'a> Run<'a> {
    /// A run that reports to `events`.
    pub fn new(cancel: CancelToken, events: impl FnMut(Event) + 'a) -> Self {
        Self {
            cancel,
            events: Box::new(events),
        }
    }

    /// A run that nobody watches.
    pub fn quiet() -> Self {
        Self::new(CancelToken::default(), |_| {})
    }

    /// Ends the run where that is asked for.
    ///
    /// # Errors
    /// [`PipelineError::Cancelled`].
    pub fn check(&self) -> Result<(), PipelineError> {
        match self.cancel.is_cancelled() {
            true => Err(PipelineError::Cancelled),
            false => Ok(()),
        }
    }

    /// Reports an event.
    pub fn emit(&mut self, event: Event) {
        (self.events)(event);
    }
}

/// Turns requests for text into texts.
pub trait TextGenerator: Send + Sync {
    /// Runs `request` to its end. A cancelled run gives what was written so far.
    fn generate(&self, request: &TextRequest, run: &mut Run) -> Result<TextWork, PipelineError>;
}
