//! The one thread pool of the program.
//!
//! A parallel region is a count of tasks that the calling thread and the workers claim one by one.
//! Workers *join* a region through one atomic word and the caller waits only for those that
//! joined, so a worker that the system has not woken yet never holds the caller up. Between
//! regions a worker spins for a bounded time (a token of decoding is some 250 regions a few
//! microseconds apart) and then parks.
//!
//! A region inside a region, and one that starts while another thread's region is running, runs
//! on its caller alone: there are never more busy threads than [`threads`] per caller.
#![allow(unsafe_code)] // the borrowed closure is handed to threads that outlive it, see `Job`

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, TryLockError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How long a worker without work, or a caller waiting for the last worker, spins before it parks.
const SPIN: Duration = Duration::from_micros(60);
/// More threads than this are not useful to any kernel here.
const MAX_THREADS: usize = 512;

// The gate: who may join the current region, and how many have.
const JOINED: u64 = 0xffff; // workers inside the region
const OPEN: u64 = 1 << 16; // tasks may still be claimed
const WAITING: u64 = 1 << 17; // the caller is parked until JOINED is 0
const EPOCH: u64 = 1 << 32; // the region's number, in the upper half

/// One region's closure and counters. Written by the caller while the gate is shut and nobody is
/// inside; read by workers between joining and leaving.
#[derive(Clone, Copy)]
struct Job {
    data: *const (),
    call: unsafe fn(*const (), usize),
    tasks: usize,
}

struct Worker {
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
}

#[repr(align(128))]
struct Line<T>(T);

struct Pool {
    gate: Line<AtomicU64>,
    next: Line<AtomicUsize>,
    job: UnsafeCell<Job>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Held by the caller for the length of its region.
    submit: Mutex<Vec<Arc<Worker>>>,
    done: Mutex<()>,
    all_left: Condvar,
}

// SAFETY: `job` is the only field that is not Sync by itself. It is written only by the holder of
// `submit` while the gate is shut with nobody inside, and read only by that thread and by workers
// that joined through the gate; joining acquires what opening the gate released.
unsafe impl Sync for Pool {}
// SAFETY: the raw pointers of `job` are used only as described for Sync.
unsafe impl Send for Pool {}

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    unsafe fn nothing(_: *const (), _: usize) {}
    POOL.get_or_init(|| Pool {
        gate: Line(AtomicU64::new(0)),
        next: Line(AtomicUsize::new(0)),
        job: UnsafeCell::new(Job {
            data: std::ptr::null(),
            call: nothing,
            tasks: 0,
        }),
        panic: Mutex::new(None),
        submit: Mutex::new(Vec::new()),
        done: Mutex::new(()),
        all_left: Condvar::new(),
    })
}

/// Keeps the tensor library's own pool to one thread, unless the user has set its variable: its threads spin where they
/// wait, beside those of this pool. Does nothing once the process has a second thread, so it belongs at the start of a
/// program; says whether the library will keep to one thread.
pub fn only_this_pool() -> bool {
    const NAME: &str = "CANDLE_NUM_THREADS";
    if std::env::var_os(NAME).is_some() {
        return std::env::var(NAME).is_ok_and(|n| n.trim() == "1");
    }
    let tasks = std::fs::read_dir("/proc/self/task").map(Iterator::count);
    if !matches!(tasks, Ok(1)) {
        return false;
    }
    // SAFETY: no other thread exists that could read the environment meanwhile, as the kernel just said.
    unsafe { std::env::set_var(NAME, "1") };
    true
}

/// Sets how many threads a region uses, the caller included. 0 means one per processor.
/// Takes effect at the next region; workers are started when they are first needed.
pub fn set_threads(n: usize) {
    THREADS.store(n.min(MAX_THREADS), Ordering::Relaxed);
}

/// How many threads a region uses, the caller included.
pub fn threads() -> usize {
    match THREADS.load(Ordering::Relaxed) {
        0 => {
            static PROCESSORS: OnceLock<usize> = OnceLock::new();
            *PROCESSORS.get_or_init(|| {
                std::thread::available_parallelism()
                    .map_or(1, usize::from)
                    .min(MAX_THREADS)
            })
        }
        n => n,
    }
}

/// Calls `f(0)`, `f(1)`, … `f(tasks - 1)`, each once, on the calling thread and the workers, in no
/// particular order, and returns when all are done.
///
/// With one thread, with at most one task, and inside another region the calls are made here, in
/// order, without any synchronisation.
///
/// # Panics
/// A panic in `f` ends the region (tasks not yet claimed are dropped) and goes on in the caller.
pub fn parallel_for<F: Fn(usize) + Sync>(tasks: usize, f: F) {
    let threads = threads();
    if threads <= 1 || tasks <= 1 || INSIDE.get() {
        for i in 0..tasks {
            f(i);
        }
        return;
    }
    let pool = pool();
    let mut workers = match pool.submit.try_lock() {
        Ok(workers) => workers,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => {
            for i in 0..tasks {
                f(i);
            }
            return;
        }
    };
    while workers.len() < threads - 1 {
        match start_worker(pool, workers.len()) {
            Some(worker) => workers.push(worker),
            None => break,
        }
    }

    unsafe fn call<F: Fn(usize)>(data: *const (), i: usize) {
        // SAFETY: `data` is the `&f` below, alive until the region is over; F is Sync.
        unsafe { (*data.cast::<F>())(i) }
    }
    let job = Job {
        data: (&raw const f).cast(),
        call: call::<F>,
        tasks,
    };
    // SAFETY: we hold `submit`, the gate is shut, and the caller before us waited until nobody was
    // inside: no other thread looks at `job` now.
    unsafe { *pool.job.get() = job };
    pool.next.0.store(0, Ordering::Relaxed);
    let epoch = (pool.gate.0.load(Ordering::Relaxed) & !(EPOCH - 1)).wrapping_add(EPOCH);
    // SeqCst here and in `sleep`: either the worker sees the open gate, or we see it asleep.
    pool.gate.0.store(epoch | OPEN, Ordering::SeqCst);
    let helpers = workers.iter().take((threads - 1).min(tasks - 1));
    for worker in helpers.filter(|w| w.asleep.load(Ordering::SeqCst)) {
        if let Some(thread) = worker.thread.get() {
            thread.unpark();
        }
    }

    INSIDE.set(true);
    pool.work(job);
    INSIDE.set(false);
    pool.shut_and_wait();
    let panic = lock(&pool.panic).take();
    drop(workers);
    if let Some(payload) = panic {
        resume_unwind(payload);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Pool {
    /// Claims and runs tasks until none is left; keeps the first panic.
    fn work(&self, job: Job) {
        let run = || {
            loop {
                let i = self.next.0.fetch_add(1, Ordering::Relaxed);
                if i >= job.tasks {
                    break;
                }
                // SAFETY: the caller keeps the closure alive until everyone who joined has left,
                // and `fetch_add` gives each index to one thread.
                unsafe { (job.call)(job.data, i) };
            }
        };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
            // Half of the range: claims that are under way cannot wrap it around.
            self.next.0.store(usize::MAX / 2, Ordering::Relaxed);
            lock(&self.panic).get_or_insert(payload);
        }
    }

    /// Ends the region: lets nobody in any more and waits until everyone is out.
    fn shut_and_wait(&self) {
        let mut gate = self.gate.0.fetch_and(!OPEN, Ordering::AcqRel) & !OPEN;
        if gate & JOINED == 0 {
            return;
        }
        let mut spin = Spin::new();
        while spin.again() {
            gate = self.gate.0.load(Ordering::Acquire);
            if gate & JOINED == 0 {
                return;
            }
        }
        let mut guard = lock(&self.done);
        gate = self.gate.0.fetch_or(WAITING, Ordering::AcqRel);
        while gate & JOINED != 0 {
            guard = self
                .all_left
                .wait(guard)
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            gate = self.gate.0.load(Ordering::Acquire);
        }
    }

    /// The number of the open region if it is not `seen`.
    fn open_region(&self, seen: u64, order: Ordering) -> Option<u64> {
        let gate = self.gate.0.load(order);
        let epoch = gate & !(EPOCH - 1);
        (gate & OPEN != 0 && epoch != seen).then_some(epoch)
    }

    /// Joins the region `epoch` if it is still open.
    fn join(&self, epoch: u64) -> bool {
        let inside =
            |gate: u64| (gate & OPEN != 0 && gate & !(EPOCH - 1) == epoch).then(|| gate + 1);
        self.gate
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, inside)
            .is_ok()
    }

    fn leave(&self) {
        let before = self.gate.0.fetch_sub(1, Ordering::AcqRel);
        if before & WAITING != 0 && before & JOINED == 1 {
            // The lock makes sure that the caller is in its wait, not just before it.
            drop(lock(&self.done));
            self.all_left.notify_all();
        }
    }
}

fn start_worker(pool: &'static Pool, index: usize) -> Option<Arc<Worker>> {
    let worker = Arc::new(Worker {
        asleep: AtomicBool::new(false),
        thread: OnceLock::new(),
    });
    let own = Arc::clone(&worker);
    let handle = std::thread::Builder::new()
        .name(format!("medley-{index}"))
        .spawn(move || serve(pool, &own, index))
        .ok()?;
    // Already set when the worker was quicker.
    let _ = worker.thread.set(handle.thread().clone());
    Some(worker)
}

/// A worker's life.
fn serve(pool: &'static Pool, own: &Worker, index: usize) {
    INSIDE.set(true);
    let _ = own.thread.set(std::thread::current());
    let mut seen = 0;
    loop {
        let mut spin = Spin::new();
        let epoch = loop {
            if let Some(epoch) = pool.open_region(seen, Ordering::Relaxed) {
                break epoch;
            }
            if !spin.again() {
                break sleep(pool, own, seen);
            }
        };
        seen = epoch;
        if index + 1 < threads() && pool.join(epoch) {
            // SAFETY: we joined, so the caller cannot write `job` before we leave, and joining
            // acquired what it wrote.
            let job = unsafe { *pool.job.get() };
            pool.work(job);
            pool.leave();
        }
    }
}

fn sleep(pool: &Pool, own: &Worker, seen: u64) -> u64 {
    own.asleep.store(true, Ordering::SeqCst);
    let epoch = loop {
        match pool.open_region(seen, Ordering::SeqCst) {
            Some(epoch) => break epoch,
            None => std::thread::park(),
        }
    };
    own.asleep.store(false, Ordering::SeqCst);
    epoch
}

/// A bounded spin; looks at the clock only now and then.
struct Spin {
    turns: u32,
    until: Option<Instant>,
}

impl Spin {
    fn new() -> Self {
        Self {
            turns: 0,
            until: None,
        }
    }

    fn again(&mut self) -> bool {
        std::hint::spin_loop();
        self.turns += 1;
        if !self.turns.is_multiple_of(32) {
            return true;
        }
        let now = Instant::now();
        now < *self.until.get_or_insert(now + SPIN)
    }
}

/// `total` items in equal consecutive ranges whose borders are multiples of `align`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    total: usize,
    align: usize,
    units: usize,
    parts: usize,
}

/// Splits `total` items for one region: a few ranges per thread, so that a thread that the system
/// interrupts does not hold up the others, each border a multiple of `align` (the last end
/// excepted). With one thread there is one range.
pub fn split(total: usize, align: usize) -> Split {
    let threads = threads();
    split_parts(total, align, if threads == 1 { 1 } else { threads * 4 })
}

/// Like [`split`], in at most `parts` ranges.
pub fn split_parts(total: usize, align: usize, parts: usize) -> Split {
    let align = align.max(1);
    let units = total.div_ceil(align);
    Split {
        total,
        align,
        units,
        parts: parts.clamp(1, units.max(1)),
    }
}

impl Split {
    /// Number of ranges; 0 where there is nothing to split.
    pub fn len(&self) -> usize {
        if self.total == 0 { 0 } else { self.parts }
    }

    /// Whether there is nothing to split.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The `i`th range.
    pub fn range(&self, i: usize) -> Range<usize> {
        let border = |i: usize| {
            let unit = (i as u128 * self.units as u128 / self.parts as u128) as usize;
            unit.saturating_mul(self.align).min(self.total)
        };
        border(i)..border(i + 1)
    }

    /// All ranges in order.
    pub fn ranges(self) -> impl Iterator<Item = Range<usize>> {
        (0..self.len()).map(move |i| self.range(i))
    }
}

/// Hands consecutive chunks of `chunk` elements (the last may be shorter) of `data` to `f`, each
/// with its number, in parallel.
///
/// # Panics
/// When `chunk` is 0, and as [`parallel_for`].
pub fn parallel_chunks<T: Send>(data: &mut [T], chunk: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    assert!(chunk > 0, "a chunk must hold something");
    let shared = SharedMut::new(data);
    parallel_for(shared.len().div_ceil(chunk), |i| {
        let from = i * chunk;
        let to = (from + chunk).min(shared.len());
        // SAFETY: each task has another range.
        f(i, unsafe { shared.slice(from..to) });
    });
}

/// A mutable slice of which the tasks of a region each write another part.
pub(crate) struct SharedMut<'a, T> {
    ptr: *mut T,
    len: usize,
    _borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: only a pointer and a length; `slice` leaves it to its caller that parts do not overlap.
unsafe impl<T: Send> Sync for SharedMut<'_, T> {}

#[allow(dead_code)]
impl<'a, T> SharedMut<'a, T> {
    pub(crate) fn new(data: &'a mut [T]) -> Self {
        Self {
            ptr: data.as_mut_ptr(),
            len: data.len(),
            _borrow: PhantomData,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn as_ptr(&self) -> *mut T {
        self.ptr
    }

    /// A part of the slice.
    ///
    /// # Safety
    /// No part may be held together with another that overlaps it.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn slice(&self, range: Range<usize>) -> &mut [T] {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "part out of range"
        );
        // SAFETY: inside the slice by the assertion, unique by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(range.start), range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    // Tests of the pool share its one thread count.
    static SERIAL: Mutex<()> = Mutex::new(());

    #[test]
    fn every_task_runs_once_with_any_thread_count() {
        let _serial = lock(&SERIAL);
        for threads in [1, 2, 3, 8, 2] {
            set_threads(threads);
            for tasks in [0, 1, 2, 3, 17, 1000] {
                for _ in 0..50 {
                    let counts: Vec<AtomicU32> = (0..tasks).map(|_| AtomicU32::new(0)).collect();
                    parallel_for(tasks, |i| {
                        counts[i].fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
                }
            }
        }
        set_threads(0);
    }

    #[test]
    fn a_region_inside_a_region_runs_on_its_caller() {
        let _serial = lock(&SERIAL);
        set_threads(4);
        let total = AtomicU32::new(0);
        parallel_for(8, |_| {
            let here = std::thread::current().id();
            parallel_for(5, |_| {
                assert_eq!(std::thread::current().id(), here);
                total.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(total.load(Ordering::Relaxed), 40);
        set_threads(0);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let _serial = lock(&SERIAL);
        set_threads(3);
        for bad in [0, 1, 50, 99] {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                parallel_for(100, |i| assert!(i != bad, "task {i}"));
            }));
            let message = caught.unwrap_err();
            let text = message.downcast_ref::<String>().unwrap();
            assert_eq!(text, &format!("task {bad}"));
            let count = AtomicU32::new(0);
            parallel_for(100, |_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.load(Ordering::Relaxed), 100);
        }
        set_threads(0);
    }

    #[test]
    fn several_callers_at_once() {
        let _serial = lock(&SERIAL);
        set_threads(2);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let count = AtomicU32::new(0);
                        parallel_for(7, |_| {
                            count.fetch_add(1, Ordering::Relaxed);
                        });
                        assert_eq!(count.load(Ordering::Relaxed), 7);
                    }
                });
            }
        });
        set_threads(0);
    }

    #[test]
    fn splits_cover_everything_at_aligned_borders() {
        for total in [0, 1, 15, 16, 17, 1000] {
            for align in [1, 8, 16] {
                for parts in [1, 2, 3, 7, 64] {
                    let ranges: Vec<_> = split_parts(total, align, parts).ranges().collect();
                    let mut at = 0;
                    for range in &ranges {
                        assert_eq!(range.start, at);
                        assert!(range.start % align == 0 && !range.is_empty());
                        at = range.end;
                    }
                    assert_eq!(at, total);
                    assert!(ranges.len() <= parts);
                }
            }
        }
    }

    #[test]
    fn chunks_are_disjoint_and_complete() {
        let mut data = vec![0u32; 1003];
        parallel_chunks(&mut data, 10, |i, chunk| {
            for (j, x) in chunk.iter_mut().enumerate() {
                *x += (i * 10 + j) as u32;
            }
        });
        assert!(data.iter().enumerate().all(|(i, &x)| x == i as u32));
    }
}
