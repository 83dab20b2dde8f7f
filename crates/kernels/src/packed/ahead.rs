//! What a thread reads after a product, so that its end can fetch the beginning of the next.
//!
//! A step of decoding reads the same matrices in the same order each time, one short stream after the other, and memory
//! takes longest to answer at the start of a stream. Every matrix therefore remembers which one followed it.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An address to fetch from. It is only ever prefetched, which reads nothing: it may be stale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Next(usize);

impl Next {
    /// Nothing is known.
    pub(super) const NOTHING: Self = Self(0);

    pub(super) fn new(data: &[u8], offset: usize) -> Self {
        Self(data.as_ptr().addr() + offset)
    }

    /// The address `offset` bytes on, or `None` where nothing is known.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn at(self, offset: usize) -> Option<*const u8> {
        (self.0 != 0).then(|| std::ptr::without_provenance(self.0.wrapping_add(offset)))
    }
}

/// Where the product after a matrix's began, the last time.
#[derive(Debug, Default)]
pub(super) struct Follower {
    start: AtomicUsize,
    /// Bytes from its first task to its second.
    stride: AtomicUsize,
}

thread_local! {
    /// That of the product before, on this thread.
    static LAST: RefCell<Option<Arc<Follower>>> = const { RefCell::new(None) };
}

impl Follower {
    /// Where task `i` of the product after this one's starts.
    pub(super) fn task(&self, i: usize) -> Next {
        match self.start.load(Ordering::Relaxed) {
            0 => Next::NOTHING,
            start => Next(start.wrapping_add(self.stride.load(Ordering::Relaxed).wrapping_mul(i))),
        }
    }

    /// A product begins whose first two tasks read from here: the one before it learns that.
    pub(super) fn began(self: &Arc<Self>, first: Next, second: Next) {
        LAST.with_borrow_mut(|last| {
            if let Some(last) = last {
                last.start.store(first.0, Ordering::Relaxed);
                let stride = second.0.wrapping_sub(first.0);
                last.stride.store(stride, Ordering::Relaxed);
            }
            *last = Some(Arc::clone(self));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_learns_what_follows_it() {
        let (a, b) = (Arc::new(Follower::default()), Arc::new(Follower::default()));
        assert_eq!(a.task(0), Next::NOTHING);
        a.began(Next(100), Next(110));
        b.began(Next(200), Next(220));
        assert_eq!((a.task(0), a.task(2)), (Next(200), Next(240)));
        assert_eq!(b.task(1), Next::NOTHING);
    }
}
