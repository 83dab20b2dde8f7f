//! Work that a client follows: news on their way to it, and its end when the client goes.

use medley_engine::CancelToken;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// News of work, which is ended when nobody reads them any more, as with the connection.
pub(crate) struct Followed<N> {
    news: UnboundedReceiver<N>,
    cancel: CancelToken,
    place: Option<OwnedSemaphorePermit>,
}

impl<N> Followed<N> {
    /// Work that takes a place in the queue: where its news go, and what ends it.
    pub(crate) fn begin(place: OwnedSemaphorePermit) -> (UnboundedSender<N>, CancelToken, Self) {
        let (sender, news) = unbounded_channel();
        let cancel = CancelToken::default();
        let followed = Self {
            news,
            cancel: cancel.clone(),
            place: Some(place),
        };
        (sender, cancel, followed)
    }

    /// The place in the queue, for what comes after.
    pub(crate) fn take_place(&mut self) -> Option<OwnedSemaphorePermit> {
        self.place.take()
    }

    /// The next news; none at the end.
    pub(crate) async fn next(&mut self) -> Option<N> {
        self.news.recv().await
    }
}

impl<N> Drop for Followed<N> {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}
