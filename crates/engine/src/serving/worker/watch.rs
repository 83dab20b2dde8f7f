//! A look into a language model, on the thread that computes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::serving::ServingError;
use crate::{TextModel, Watched};

/// A language model that is looked into.
pub(super) struct Watching {
    pub(super) model: Arc<TextModel>,
    pub(super) text: String,
    pub(super) likeliest: usize,
}

/// One pass over a short text, which takes no longer than a step of a batch.
pub(super) fn watch(watching: &Watching, reply: oneshot::Sender<Result<Watched, ServingError>>) {
    let Watching {
        model,
        text,
        likeliest,
    } = watching;
    let seen = catch_unwind(AssertUnwindSafe(|| model.watch(text, *likeliest)));
    let seen = seen.map_or_else(
        |_| Err(ServingError::failed("looking into the model failed")),
        |seen| seen.map_err(ServingError::from),
    );
    drop(reply.send(seen));
}
