//! Workers that parked come back. Alone in its process: beside another test's region this one would run on its caller.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use medley_kernels::pool::{parallel_for, set_threads};

#[test]
fn workers_wake_after_they_parked() {
    set_threads(2);
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(2));
        let (inside, alone) = (AtomicU32::new(0), AtomicU32::new(0));
        parallel_for(2, |_| {
            // Neither ends before the other has begun, which takes two threads.
            inside.fetch_add(1, Ordering::SeqCst);
            let start = Instant::now();
            while inside.load(Ordering::SeqCst) < 2 {
                if start.elapsed() > Duration::from_secs(10) {
                    alone.fetch_add(1, Ordering::SeqCst);
                    break;
                }
                std::thread::yield_now();
            }
        });
        assert_eq!(alone.load(Ordering::SeqCst), 0, "the worker did not wake");
    }
}
