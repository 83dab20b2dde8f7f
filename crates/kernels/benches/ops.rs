//! Times each kernel alone: `cargo bench -p medley-kernels --bench ops [-- NAME...]`.
//!
//! Prints the best of many runs with 1 thread and with all, as GFLOP/s or GB/s. Others share the
//! machine, so what one thread takes is its time on the processor (on Linux). `MEDLEY_ISA` forces an instruction set.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]
#![allow(clippy::print_stdout)]
#![allow(unsafe_code)] // the peer's interface takes pointers

use std::hint::black_box;
use std::time::{Duration, Instant};

use medley_kernels::*;

/// Seconds of the fastest run within a time limit, by a clock.
fn best(clock: fn() -> f64, mut f: impl FnMut()) -> f64 {
    let (begin, mut best) = (Instant::now(), f64::INFINITY);
    let mut runs = 0;
    while begin.elapsed() < Duration::from_millis(150) || runs < 5 {
        let start = clock();
        f();
        best = best.min(clock() - start);
        runs += 1;
    }
    best
}

fn wall() -> f64 {
    static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed().as_secs_f64()
}

/// Seconds that this thread has run.
#[cfg(target_os = "linux")]
fn own() -> f64 {
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut [i64; 2]) -> i32;
    }
    const THREAD_CPUTIME: i32 = 3;
    let mut time = [0; 2];
    // SAFETY: `timespec` is two 64-bit numbers on 64-bit Linux.
    unsafe { clock_gettime(THREAD_CPUTIME, &mut time) };
    time[0] as f64 + time[1] as f64 * 1e-9
}

#[cfg(not(target_os = "linux"))]
fn own() -> f64 {
    wall()
}

fn numbers(n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| ((i as f32 * 0.618).fract() - 0.5) * 2.0)
        .collect()
}

struct Bench {
    filters: Vec<String>,
}

impl Bench {
    fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|f| name.contains(f.as_str()))
    }

    /// `work` is what one run does, in billions of `unit`.
    fn run(&self, name: &str, work: f64, unit: &str, mut f: impl FnMut()) {
        if !self.wants(name) {
            return;
        }
        print!("{name:44}");
        for threads in [1, 0] {
            pool::set_threads(threads);
            let seconds = best(if threads == 1 { own } else { wall }, &mut f);
            print!(
                "{:>3} threads {:9.1} us {:8.2} {unit}/s",
                pool::threads(),
                seconds * 1e6,
                work / seconds / 1e9
            );
        }
        println!();
    }
}

fn attention_ops(b: &Bench) {
    let models = [
        ("smollm2", 3, 9, 64),
        ("gemma3", 1, 4, 256),
        ("llama1b", 8, 32, 64),
    ];
    for (model, kv_heads, heads, head_dim) in models {
        for (ty, ty_name) in [
            (KvType::F32, "f32"),
            (KvType::F16, "f16"),
            (KvType::Q8, "q8"),
        ] {
            let shape = KvShape {
                kv_heads,
                head_dim,
                ty,
            };
            let width = heads * head_dim;
            let params = AttentionParams {
                heads,
                scale: 1.0 / (head_dim as f32).sqrt(),
                softcap: None,
                window: None,
            };
            for (what, context, rows) in [
                ("decode", 128, 1),
                ("decode", 4096, 1),
                ("prefill", 512, 512),
                ("prefill", 4096, 128),
            ] {
                let name = format!("attention {model} {ty_name} {what} {rows}@{context}");
                if !b.wants(&name) {
                    continue;
                }
                let mut pages = vec![vec![0u8; shape.page_bytes()]; context / PAGE];
                let kv = numbers(kv_heads * head_dim * 2);
                for i in 0..context {
                    let (k, v) = kv.split_at(kv.len() / 2);
                    kv_write(&shape, &mut pages[i / PAGE], i % PAGE, k, v);
                }
                let pages: Vec<&[u8]> = pages.iter().map(Vec::as_slice).collect();
                let query: Vec<QueryRow> = (context - rows..context)
                    .map(|pos| QueryRow { pages: &pages, pos })
                    .collect();
                let (q, mut out) = (numbers(rows * width), vec![0.0; rows * width]);
                let seen: usize = query.iter().map(|r| r.pos + 1).sum();
                let flops = 4.0 * (seen * width) as f64;
                b.run(&name, flops, "GFLOP", || {
                    attention(&shape, &params, &query, &q, black_box(&mut out));
                });
            }
        }
    }
    for (ty, ty_name) in [
        (KvType::F32, "f32"),
        (KvType::F16, "f16"),
        (KvType::Q8, "q8"),
    ] {
        let shape = KvShape {
            kv_heads: 8,
            head_dim: 64,
            ty,
        };
        let mut page = vec![0u8; shape.page_bytes()];
        let kv = numbers(8 * 64);
        b.run(
            &format!("kv_write {ty_name} 64x8x64"),
            (64 * 8 * 64 * 2 * 4) as f64,
            "GB",
            || {
                for slot in 0..PAGE {
                    kv_write(&shape, black_box(&mut page), slot, &kv, &kv);
                }
            },
        );
    }
}

fn row_ops(b: &Bench) {
    for (rows, width) in [(1, 576), (1, 4096), (512, 576), (512, 4096)] {
        let n = rows * width;
        let bytes = (n * 4) as f64;
        let (x, y, w, mut out) = (numbers(n), numbers(n), numbers(width), vec![0.0; n]);
        let size = format!("{rows}x{width}");
        b.run(&format!("rms_norm {size}"), bytes * 2.0, "GB", || {
            rms_norm(&x, &w, 1e-5, black_box(&mut out));
        });
        let mut sum = x.clone();
        b.run(&format!("add_rms_norm {size}"), bytes * 4.0, "GB", || {
            add_rms_norm(&mut sum, &y, &w, 1e-5, black_box(&mut out));
        });
        b.run(&format!("layer_norm {size}"), bytes * 2.0, "GB", || {
            layer_norm(&x, &w, Some(&w), 1e-5, black_box(&mut out));
        });
        for act in [Activation::Silu, Activation::GeluTanh, Activation::Gelu] {
            b.run(&format!("gated {act:?} {size}"), bytes * 3.0, "GB", || {
                gated(act, &x, &y, black_box(&mut out));
            });
        }
        let mut p = x.clone();
        b.run(&format!("softmax {size}"), bytes * 2.0, "GB", || {
            softmax(black_box(&mut p), width)
        });
        if width.is_multiple_of(64) {
            let angles = numbers(rows * 32);
            for style in [RopeStyle::Neox, RopeStyle::Interleaved] {
                b.run(&format!("rope {style:?} {size}"), bytes * 2.0, "GB", || {
                    rope(
                        black_box(&mut p),
                        width / 64,
                        64,
                        64,
                        style,
                        &angles,
                        &angles,
                    );
                });
            }
        }
    }
}

/// Our product and the gemm crate's, in turn.
fn dense_ops(b: &Bench) {
    for (n, k, m) in [
        (1024, 1024, 1024),
        (4096, 384, 384),
        (4096, 384, 1536),
        (4096, 1536, 384),
        (256, 64, 256),
        (256, 384, 8000),
        (64, 576, 1536),
        (16, 576, 576),
        (1, 1024, 1024),
    ] {
        let flops = 2.0 * (n * k * m) as f64;
        let (x, w, mut out) = (numbers(n * k), numbers(m * k), vec![0.0f32; n * m]);
        let size = format!("{n}x{k}x{m}");
        for (form, ours) in [("nt", 0), ("nn", 1), ("tn", 2)] {
            b.run(&format!("matmul f32 {form} {size}"), flops, "GFLOP", || {
                let x = if ours == 2 {
                    Matrix::new(&x, k, n).t()
                } else {
                    Matrix::new(&x, n, k)
                };
                let w = if ours == 0 {
                    Matrix::new(&w, m, k).t()
                } else {
                    Matrix::new(&w, k, m)
                };
                matmul(x, w, black_box(&mut out), false);
            });
            let strides = |transposed: bool, rows: usize, cols: usize| {
                if transposed {
                    (rows as isize, 1)
                } else {
                    (1, cols as isize)
                }
            };
            let (x_cs, x_rs) = strides(ours == 2, n, k);
            let (w_cs, w_rs) = strides(ours == 0, k, m);
            b.run(
                &format!("  gemm crate {form} {size} matmul"),
                flops,
                "GFLOP",
                || {
                    let parallelism = match pool::threads() {
                        1 => gemm::Parallelism::None,
                        n => gemm::Parallelism::Rayon(n),
                    };
                    // SAFETY: slices of these shapes and strides.
                    unsafe {
                        gemm::gemm(
                            n,
                            m,
                            k,
                            black_box(&mut out).as_mut_ptr(),
                            1,
                            m as isize,
                            false,
                            x.as_ptr(),
                            x_cs,
                            x_rs,
                            w.as_ptr(),
                            w_cs,
                            w_rs,
                            0.0f32,
                            1.0f32,
                            false,
                            false,
                            false,
                            parallelism,
                        );
                    }
                },
            );
        }
        let narrow =
            |x: &[f32]| -> Vec<half::bf16> { x.iter().map(|&x| half::bf16::from_f32(x)).collect() };
        let (x, w) = (narrow(&x), narrow(&w));
        b.run(&format!("matmul bf16 nt {size}"), flops, "GFLOP", || {
            let w = Matrix::new(&w, m, k).t();
            matmul(Matrix::new(&x, n, k), w, black_box(&mut out), false);
        });
        b.run(&format!("matmul bf16 nn {size}"), flops, "GFLOP", || {
            let w = Matrix::new(&w, k, m);
            matmul(Matrix::new(&x, n, k), w, black_box(&mut out), false);
        });
        b.run(&format!("matmul bf16 tn {size}"), flops, "GFLOP", || {
            let (x, w) = (Matrix::new(&x, k, n).t(), Matrix::new(&w, k, m));
            matmul(x, w, black_box(&mut out), false);
        });
        let mut out = narrow(&out);
        b.run(
            &format!("matmul bf16 nt to bf16 {size}"),
            flops,
            "GFLOP",
            || {
                matmul_bf16(&x, &w, black_box(&mut out), n, k, m);
            },
        );
    }
}

/// What the arithmetic units give at best: sums in registers alone, on each thread.
#[cfg(target_arch = "x86_64")]
fn peak_ops(b: &Bench) {
    use std::arch::x86_64::*;
    const STEPS: usize = 20_000;
    const CHAINS: usize = 16;
    #[target_feature(enable = "avx512f")]
    fn single() -> f32 {
        let (x, y) = (
            _mm512_set1_ps(black_box(0.5)),
            _mm512_set1_ps(black_box(1e-3)),
        );
        let mut sums = [_mm512_setzero_ps(); CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, x, y);
            }
        }
        sums.into_iter().map(|s| _mm512_reduce_add_ps(s)).sum()
    }
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn pairs() -> f32 {
        let x = _mm512_cvtneps_pbh(_mm512_set1_ps(black_box(0.5)));
        // SAFETY: registers of one size.
        let x: __m512bh = unsafe { std::mem::transmute([x, x]) };
        let mut sums = [_mm512_setzero_ps(); CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_dpbf16_ps(*sum, x, x);
            }
        }
        sums.into_iter().map(|s| _mm512_reduce_add_ps(s)).sum()
    }
    let on_all = |f: &(dyn Fn() -> f32 + Sync)| {
        pool::parallel_for(pool::threads(), |_| {
            black_box(f());
        });
    };
    let flops = (STEPS * CHAINS * 32) as f64;
    if std::arch::is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has it.
        let one = || unsafe { single() };
        b.run("peak f32, each thread", flops, "GFLOP", || on_all(&one));
    }
    if std::arch::is_x86_feature_detected!("avx512bf16") {
        // SAFETY: the processor has it.
        let one = || unsafe { pairs() };
        b.run("peak bf16, each thread", 2.0 * flops, "GFLOP", || {
            on_all(&one)
        });
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn peak_ops(_: &Bench) {}

fn sequence_ops(b: &Bench) {
    for (batch, heads, seq, dim, causal) in [
        (8, 6, 256, 64, false),
        (8, 6, 256, 64, true),
        (1, 9, 512, 64, true),
        (1, 8, 1024, 40, false),
    ] {
        let shape = SequenceAttention {
            batch,
            heads,
            kv_heads: heads,
            queries: seq,
            keys: seq,
            dim,
            scale: 1.0 / (dim as f32).sqrt(),
            causal,
        };
        let n = batch * heads * seq * dim;
        let (q, k, v) = (numbers(n), numbers(n + 1), numbers(n));
        let (k, mut out, mut sums) = (&k[1..], vec![0.0; n], vec![0.0; n / dim]);
        let form = if causal { "causal" } else { "full" };
        let name = format!("sequence attention {form} {batch}x{heads}x{seq}x{dim}");
        // Causal attention is counted by what it needs.
        let flops = 4.0 * (n * seq) as f64 / if causal { 2.0 } else { 1.0 };
        b.run(&name, flops, "GFLOP", || {
            sequence_attention(&shape, &q, k, &v, black_box(&mut out), &mut sums);
        });
        let (mut dq, mut dk, mut dv) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        b.run(&format!("{name} back"), 2.5 * flops, "GFLOP", || {
            let (dq, dk, dv) = (&mut dq, &mut dk, black_box(&mut dv));
            sequence_attention_backward(&shape, &q, k, &v, &out, &sums, &q, dq, dk, dv);
        });
    }
}

fn picture_ops(b: &Bench) {
    for (size, from, to, kernel, stride) in [
        (64, 4, 320, 3, 1),
        (64, 320, 320, 3, 1),
        (64, 320, 320, 3, 2),
        (32, 640, 640, 3, 1),
        (16, 1280, 1280, 3, 1),
        (32, 640, 640, 1, 1),
        (28, 32, 64, 3, 1),
    ] {
        let conv = Conv2d {
            batch: 1,
            height: size,
            width: size,
            in_channels: from,
            out_channels: to,
            kernel: [kernel, kernel],
            stride: [stride, stride],
            padding: [kernel / 2, kernel / 2],
        };
        let positions = conv.out_height() * conv.out_width();
        let per = kernel * kernel * from;
        let flops = 2.0 * (positions * per * to) as f64;
        let name = format!("conv2d {kernel}x{kernel}/{stride} {size}x{size}x{from} to {to}");
        if !b.wants(&name) {
            continue;
        }
        let (x, w, bias) = (numbers(size * size * from), numbers(per * to), numbers(to));
        let (mut y, mut dx, mut dw) = (numbers(positions * to), x.clone(), w.clone());
        b.run(&name, flops, "GFLOP", || {
            conv2d(&conv, &x, &w, Some(&bias), black_box(&mut y));
        });
        b.run(&format!("{name}, input back"), flops, "GFLOP", || {
            conv2d_backward_input(&conv, &w, &y, black_box(&mut dx));
        });
        b.run(&format!("{name}, weight back"), flops, "GFLOP", || {
            conv2d_backward_weight(&conv, &x, &y, black_box(&mut dw), None);
        });
    }
    for (pixels, channels) in [(4096, 320), (256, 1280)] {
        let norm = GroupNorm {
            batch: 1,
            channels,
            groups: 32,
            eps: 1e-5,
        };
        let n = pixels * channels;
        let (x, dy, w) = (numbers(n), numbers(n + 1), numbers(channels));
        let (mut y, mut dw, mut db) = (vec![0.0; n], w.clone(), w.clone());
        let bytes = (n * 4) as f64;
        b.run(
            &format!("group_norm {pixels}x{channels}"),
            2.0 * bytes,
            "GB",
            || group_norm(&norm, &x, &w, &w, black_box(&mut y)),
        );
        b.run(
            &format!("group_norm {pixels}x{channels} back"),
            3.0 * bytes,
            "GB",
            || {
                let dx = black_box(&mut y);
                group_norm_backward(&norm, &x, &w, &dy[1..], dx, &mut dw, &mut db);
            },
        );
    }
}

/// Matrices of floats times few and many rows of activations.
fn float_ops(b: &Bench) {
    for ty in [BlockType::F32, BlockType::F16, BlockType::BF16] {
        for (n, k, m) in [
            (1, 576, 1536),
            (1, 1536, 576),
            (7, 576, 1536),
            (512, 576, 1536),
        ] {
            let name = format!("packed {ty} {n}x{k}x{m}");
            if !b.wants(&name) {
                continue;
            }
            let data = vec![0x3c; m * k * if ty == BlockType::F32 { 4 } else { 2 }];
            let Ok(packed) = PackedMatrix::pack(ty, m, k, &data) else {
                continue;
            };
            let (x, mut out) = (numbers(n * k), vec![0.0; n * m]);
            b.run(&name, 2.0 * (n * k * m) as f64, "GFLOP", || {
                matmul_many(&x, n, &mut [(&packed, black_box(&mut out))]);
            });
        }
    }
}

fn pool_ops(b: &Bench) {
    b.run("pool: an empty region of 2 tasks", 1.0, "region", || {
        pool::parallel_for(2, |i| {
            black_box(i);
        });
    });
}

fn main() {
    let filters = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    let b = Bench { filters };
    println!(
        "instruction set {}, {} threads at most",
        isa().name(),
        pool::threads()
    );
    pool_ops(&b);
    peak_ops(&b);
    dense_ops(&b);
    float_ops(&b);
    sequence_ops(&b);
    picture_ops(&b);
    row_ops(&b);
    attention_ops(&b);
}
