//! Products of packed matrices beside the limits of the machine, measured in the same run.
//!
//! `cargo bench -p medley-kernels --bench matmul -- [TYPE ...] [--threads N] [--shape RxC] [--rows N]`
//!
//! Decode is one row of activations over enough matrices to leave the caches: GB/s of weights.
//! Prefill is 512 rows: GOP/s, a multiply-add counted as two.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]
#![allow(clippy::print_stdout, unsafe_code)] // a report; intrinsics for the machine's limits

use std::hint::black_box;
use std::time::Instant;

use medley_kernels::{BlockType, PackedMatrix, isa, pool};

/// Bytes that are surely not in a cache.
const COLD: usize = 192 << 20;

struct Args {
    types: Vec<BlockType>,
    threads: Vec<usize>,
    shapes: Vec<(usize, usize)>,
    rows: Vec<usize>,
}

fn main() {
    let args = parse();
    println!("isa {}", isa().name());
    for &threads in &args.threads {
        pool::set_threads(threads);
        let limits = medley_kernels::limits();
        let (read, peak) = (limits.read_bytes_s * 1e-9, limits.int8_ops_s * 1e-9);
        println!(
            "\n{threads} threads: reads {read:.1} GB/s, {peak:.0} GOP/s of 8-bit products\n\
             {:<8}{:>14}{:>8}{:>12}{:>9}{:>12}{:>9}",
            "type", "shape", "rows", "GB/s", "of read", "GOP/s", "of peak"
        );
        for &ty in &args.types {
            for &(rows, cols) in &args.shapes {
                for &n in &args.rows {
                    report(ty, rows, cols, n, read, peak);
                }
            }
        }
    }
}

fn parse() -> Args {
    let mut args = Args {
        types: Vec::new(),
        threads: Vec::new(),
        shapes: Vec::new(),
        rows: Vec::new(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|w| w.parse().ok()).unwrap_or(1);
        match word.as_str() {
            "--threads" => args.threads.push(number()),
            "--rows" => args.rows.push(number()),
            "--shape" => {
                let shape = words.next().unwrap_or_default();
                if let Some((r, c)) = shape.split_once('x') {
                    args.shapes.extend(r.parse().ok().zip(c.parse().ok()));
                }
            }
            name => args.types.extend(BlockType::from_name(name)),
        }
    }
    if args.types.is_empty() {
        args.types = BlockType::ALL.to_vec();
    }
    if args.threads.is_empty() {
        args.threads = vec![1, 2];
    }
    if args.shapes.is_empty() {
        args.shapes = vec![(2048, 2048)];
    }
    if args.rows.is_empty() {
        args.rows = vec![1, 8, 512];
    }
    args
}

/// Runs `f(0)`, … `f(count - 1)` in turn, again and again, and adds up the shortest run of each:
/// a machine with other work to do is seldom left alone for long.
fn seconds_each(count: usize, mut f: impl FnMut(usize)) -> f64 {
    (0..count).for_each(&mut f);
    let mut best = vec![f64::INFINITY; count];
    let start = Instant::now();
    let mut runs = 0;
    while runs < 5 || start.elapsed().as_secs_f64() < 0.5 {
        for (i, best) in best.iter_mut().enumerate() {
            let t = Instant::now();
            f(i);
            *best = best.min(t.elapsed().as_secs_f64());
        }
        runs += 1;
    }
    best.iter().sum()
}

fn report(ty: BlockType, rows: usize, cols: usize, n: usize, read: f64, peak: f64) {
    if !cols.is_multiple_of(ty.block_len()) {
        return;
    }
    let Some(bytes) = ty.bytes_for(rows * cols) else {
        return;
    };
    // Bytes below 0x60 are finite in every float format, and those from 0x30 not tiny.
    let data: Vec<u8> = (0..bytes as u32)
        .map(|i| 0x30 + (i.wrapping_mul(2_654_435_761) >> 13) as u8 % 0x30)
        .collect();
    let copies = if n <= 8 { COLD.div_ceil(bytes) } else { 1 };
    let packed: Vec<_> = (0..copies)
        .filter_map(|_| PackedMatrix::pack(ty, rows, cols, &data).ok())
        .collect();
    let x: Vec<f32> = (0..n * cols)
        .map(|i| ((i % 977) as f32 * 0.37).sin())
        .collect();
    let mut out = vec![0.0; n * rows];
    let time = seconds_each(packed.len(), |i| {
        packed[i].matmul(&x, &mut out);
        black_box(&out);
    });
    let gigabytes = (bytes * copies) as f64 / time * 1e-9;
    let operations = 2.0 * (rows * cols * n * copies) as f64 / time * 1e-9;
    println!(
        "{:<8}{:>14}{n:>8}{gigabytes:>12.1}{:>8.0}%{operations:>12.1}{:>8.0}%",
        ty.name(),
        format!("{rows}x{cols}"),
        100.0 * gigabytes / read,
        100.0 * operations / peak,
    );
}
