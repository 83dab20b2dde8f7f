//! What the machine can do (`medley bench machine` measures it) and whether it can do it right now: the short pinned loop that
//! tells a slow spell from a slow program.

use std::hint::black_box;
use std::path::Path;
use std::sync::Barrier;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::table::mebibytes;

use crate::process;

/// Steps of the arithmetic loop: about 100 ms on a core of 2021.
const PULSE_STEPS: u64 = 35_000_000;

/// Limits of the machine with a number of threads running at once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Threads running at once, one per core.
    pub threads: usize,
    /// Bytes per second read from memory.
    pub read_bytes_s: f64,
    /// 8-bit integer operations per second; 0 where no vector unit is known.
    pub int8_ops_s: f64,
}

impl Limits {
    /// Measure with the program under test: the widest instructions that its kernels use.
    pub fn measure(program: &Path, threads: usize) -> Result<Self> {
        let text = process::capture(
            std::process::Command::new(program)
                .args(["bench", "machine", "--json", "--threads"])
                .arg(threads.to_string()),
        )?;
        serde_json::from_str(&text).context("medley bench machine printed something unexpected")
    }

    /// The better of two measurements of the same thing.
    pub fn best(self, other: Self) -> Self {
        Self {
            threads: self.threads,
            read_bytes_s: self.read_bytes_s.max(other.read_bytes_s),
            int8_ops_s: self.int8_ops_s.max(other.int8_ops_s),
        }
    }
}

/// Speed of the pinned arithmetic loop on all `threads` at once, in operations per second; only to be compared with
/// itself.
pub fn pulse(threads: usize) -> f64 {
    arithmetic_rate(threads, PULSE_STEPS, f32_steps)
}

/// Runs `work(steps)` on every thread at the same time; operations of all threads by the time of the slowest.
fn arithmetic_rate(threads: usize, steps: u64, work: fn(u64) -> u64) -> f64 {
    let (operations, seconds) = on_threads(threads, || work(black_box(steps)));
    operations as f64 / seconds
}

/// Sum of what every thread counted, and the seconds from the common start to the last end.
fn on_threads(threads: usize, work: impl Fn() -> u64 + Sync) -> (u64, f64) {
    let barrier = Barrier::new(threads);
    let results: Vec<(u64, f64)> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                let (barrier, work) = (&barrier, &work);
                scope.spawn(move || {
                    pin(thread);
                    barrier.wait();
                    let start = Instant::now();
                    let count = work();
                    (count, start.elapsed().as_secs_f64())
                })
            })
            .collect();
        handles
            .into_iter()
            .filter_map(|handle| handle.join().ok())
            .collect()
    });
    let total = results.iter().map(|(count, _)| count).sum();
    let slowest = results.iter().map(|(_, time)| *time).fold(0.0, f64::max);
    (total, slowest)
}

/// Keep the calling thread on one core. Without this two threads may share one and look like one slow machine.
#[cfg(target_os = "linux")]
fn pin(thread: usize) {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::unistd::Pid;

    let this = Pid::from_raw(0);
    let Ok(allowed) = sched_getaffinity(this) else {
        return;
    };
    let cores: Vec<usize> = (0..CpuSet::count())
        .filter(|core| allowed.is_set(*core).unwrap_or(false))
        .collect();
    let mut own = CpuSet::new();
    if let Some(core) = cores.get(thread % cores.len().max(1))
        && own.set(*core).is_ok()
    {
        // A refused wish leaves the thread where the system put it; the measurement is then only less steady.
        let _ = sched_setaffinity(this, &own);
    }
}

#[cfg(not(target_os = "linux"))]
fn pin(_thread: usize) {}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::hint::black_box;

    use pulp::x86::V3;
    use pulp::{Simd, WithSimd};

    /// Independent sums: enough to keep two units of four cycles' latency busy.
    const SUMS: usize = 12;

    pub struct F32Steps(pub V3, pub u64);

    impl WithSimd for F32Steps {
        type Output = u64;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> u64 {
            let Self(simd, steps) = self;
            let factor = simd.splat_f32x8(black_box(0.999));
            let addend = simd.splat_f32x8(black_box(0.001));
            let mut sums = [simd.splat_f32x8(1.0); SUMS];
            for _ in 0..steps {
                for sum in &mut sums {
                    *sum = simd.mul_add_f32x8(*sum, factor, addend);
                }
            }
            black_box(sums);
            steps * SUMS as u64 * 8 * 2
        }
    }
}

/// `steps` rounds of the f32 loop; operations done, 0 where the machine has no known vector unit.
fn f32_steps(steps: u64) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        return pulp::Simd::vectorize(simd, x86::F32Steps(simd, steps));
    }
    plain_steps(steps)
}

/// The loop for machines without a vector unit that is known here; it still serves to compare two moments.
fn plain_steps(steps: u64) -> u64 {
    let mut sums = [1.0f32; 8];
    let (factor, addend) = (black_box(0.999f32), black_box(0.001f32));
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = *sum * factor + addend;
        }
    }
    black_box(sums);
    steps * 8 * 2
}

/// What the operating system says about this machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Name of the processor.
    pub cpu: String,
    /// Logical cores this process may use.
    pub cores: usize,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Vector extensions that matter to the kernels.
    pub features: Vec<String>,
}

impl Description {
    /// The line that stands above a report's figures: processor, cores, memory, instruction sets.
    pub fn headline(&self) -> String {
        format!(
            "{}, {} cores, {}, {}.",
            self.cpu,
            self.cores,
            mebibytes(Some(self.memory_bytes as f64)),
            self.features.join(" ")
        )
    }

    /// Read it from /proc; elsewhere only the number of cores is known.
    pub fn read() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let value = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let flags = value(&cpuinfo, "flags").unwrap_or_default();
        let known = [
            "avx2",
            "fma",
            "f16c",
            "avx_vnni",
            "avx512f",
            "avx512_vnni",
            "avx512_bf16",
            "amx_int8",
        ];
        Self {
            cpu: value(&cpuinfo, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: value(&meminfo, "MemTotal")
                .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
                .unwrap_or(0)
                * 1024,
            features: known
                .iter()
                .filter(|name| flags.split(' ').any(|flag| flag == **name))
                .map(|name| (*name).to_owned())
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_count_their_operations() {
        let steps = 1000;
        assert_eq!(plain_steps(steps), steps * 16);
        let vector = f32_steps(steps);
        assert!([steps * 16, steps * 12 * 16].contains(&vector));
    }

    #[test]
    fn rates_are_those_of_a_computer() {
        let rate = arithmetic_rate(1, PULSE_STEPS / 100, f32_steps);
        assert!((1e8..1e13).contains(&rate), "{rate:e}");
    }
}
