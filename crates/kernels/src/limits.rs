//! What the machine can do at the most, measured: what a speed is to be held against.
#![allow(unsafe_code)] // instructions in a loop that the compiler must leave as it is

use std::hint::black_box;
use std::time::Instant;

use crate::{Isa, isa, pool};

/// Limits of the machine with [`pool::threads`] threads at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Bytes per second read from memory.
    pub read_bytes_s: f64,
    /// 8-bit integer operations per second, from registers, a multiply-add counted as two; 0 where the kernels have no
    /// instruction for them.
    pub int8_ops_s: f64,
}

/// Bytes that are surely not in a cache.
const COLD: usize = 192 << 20;

/// Measures for about a second, with the threads and the instruction set that kernels would use now.
pub fn limits() -> Limits {
    Limits {
        read_bytes_s: COLD as f64 / read_seconds(),
        int8_ops_s: int8_ops_s(),
    }
}

/// Shortest of five passes over cold memory.
fn read_seconds() -> f64 {
    let data = vec![1u64; COLD / 8];
    let pass = || {
        let parts = pool::split(data.len(), 512);
        pool::parallel_for(parts.len(), |p| {
            let part = &data[parts.range(p)];
            // Two streams, which is what a matrix with its scales is.
            let (a, b) = part.split_at(part.len() / 2);
            let mut sums = [0u64; 16];
            for (a, b) in a.chunks_exact(16).zip(b.chunks_exact(16)) {
                for (sum, (&a, &b)) in sums.iter_mut().zip(a.iter().zip(b)) {
                    *sum ^= a ^ b;
                }
            }
            black_box(sums);
        });
    };
    (0..5).map(|_| seconds(pass)).fold(f64::INFINITY, f64::min)
}

fn seconds(f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_secs_f64()
}

/// All threads together: `vpdpbusd` on 512 bits, or `vpmaddubsw` and 16-bit additions on 256.
fn int8_ops_s() -> f64 {
    #[cfg(target_arch = "x86_64")]
    {
        const TURNS: usize = 1_000_000;
        let (operations, turn): (usize, unsafe fn(usize)) = match isa() {
            Isa::Avx512 => (12 * 128, multiply_512),
            Isa::Avx2 => (8 * 64, multiply_256),
            Isa::Scalar => return 0.0,
        };
        let threads = pool::threads();
        let run = || {
            pool::parallel_for(threads, |_| {
                // SAFETY: `isa()` names only instruction sets of this processor.
                unsafe { turn(TURNS) };
            });
        };
        let best = (0..5).map(|_| seconds(run)).fold(f64::INFINITY, f64::min);
        (threads * TURNS * operations) as f64 / best
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (isa(), Isa::Scalar);
        0.0
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
fn multiply_512(turns: usize) {
    use std::arch::x86_64::*;
    let x = _mm512_set1_epi8(3);
    let mut sums = [_mm512_setzero_si512(); 12];
    for _ in 0..turns {
        for sum in &mut sums {
            // SAFETY: AVX-512 VNNI is enabled. Not the intrinsic, which would be moved out of the loop.
            unsafe {
                std::arch::asm!("vpdpbusd {s}, {x}, {x}", x = in(zmm_reg) x, s = inout(zmm_reg) *sum,
                    options(nomem, nostack));
            }
        }
    }
    black_box(sums);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn multiply_256(turns: usize) {
    use std::arch::x86_64::*;
    let x = _mm256_set1_epi8(3);
    let mut sums = [_mm256_setzero_si256(); 8];
    for _ in 0..turns {
        for sum in &mut sums {
            // SAFETY: AVX2 is enabled. Not the intrinsic, which would be moved out of the loop.
            unsafe {
                std::arch::asm!("vpmaddubsw {p}, {x}, {x}", "vpaddw {s}, {s}, {p}", p = out(ymm_reg) _,
                    x = in(ymm_reg) x, s = inout(ymm_reg) *sum, options(nomem, nostack));
            }
        }
    }
    black_box(sums);
}

#[cfg(test)]
mod tests {
    #[test]
    fn limits_are_those_of_a_computer() {
        let limits = super::limits();
        assert!((1e8..1e13).contains(&limits.read_bytes_s), "{limits:?}");
        assert!(
            limits.int8_ops_s == 0.0 || (1e9..1e15).contains(&limits.int8_ops_s),
            "{limits:?}"
        );
    }
}
