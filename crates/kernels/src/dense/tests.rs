use super::*;
use crate::testing::{Random, assert_close, each_isa};
use crate::{Isa, with_isa};

fn reference(a: &[f32], b: &[f32], n: usize, k: usize, m: usize) -> Vec<f64> {
    let mut out = vec![0.0; n * m];
    for i in 0..n {
        for l in 0..k {
            for j in 0..m {
                out[i * m + j] += f64::from(a[i * k + l]) * f64::from(b[l * m + j]);
            }
        }
    }
    out
}

fn transpose<T: Copy>(x: &[T], rows: usize, cols: usize) -> Vec<T> {
    (0..rows * cols)
        .map(|i| x[i % rows * cols + i / rows])
        .collect()
}

const SHAPES: [(usize, usize, usize); 12] = [
    (1, 1, 1),
    (6, 8, 16),
    (5, 7, 15),
    (7, 9, 17),
    (13, 256, 33),
    (12, 257, 32),
    (1, 600, 100),
    (100, 3, 1),
    (97, 300, 263),
    (200, 64, 1040),
    (800, 20, 40),
    (3, 0, 4),
];

#[test]
fn every_form_matches_double_precision() {
    let mut random = Random::new(1);
    for (n, k, m) in SHAPES {
        let (a, b) = (random.normal(n * k, 1.0), random.normal(k * m, 1.0));
        let (at, bt) = (transpose(&a, n, k), transpose(&b, k, m));
        let want = reference(&a, &b, n, k, m);
        let twice: Vec<f64> = want.iter().map(|x| 2.0 * x).collect();
        let tolerance = 2e-6 * (k as f64).sqrt();
        each_isa(|| {
            let mut first = vec![f32::NAN; n * m];
            matmul(
                Matrix::new(&a, n, k),
                Matrix::new(&b, k, m),
                &mut first,
                false,
            );
            assert_close(&first, &want, 1e-6, tolerance);
            for form in 0..3 {
                let a = if form & 1 == 0 {
                    Matrix::new(&a, n, k)
                } else {
                    Matrix::new(&at, k, n).t()
                };
                let b = if form & 2 == 0 {
                    Matrix::new(&bt, m, k).t()
                } else {
                    Matrix::new(&b, k, m)
                };
                let mut out = vec![f32::NAN; n * m];
                matmul(a, b, &mut out, false);
                assert_eq!(out, first);
                matmul(a, b, &mut out, true);
                assert_close(&out, &twice, 2e-6, 2.0 * tolerance);
            }
        });
    }
}

#[test]
fn bf16_is_the_f32_product_of_the_rounded_numbers() {
    let mut random = Random::new(2);
    for (n, k, m) in SHAPES {
        let round = |x: Vec<f32>| -> Vec<bf16> { x.into_iter().map(bf16::from_f32).collect() };
        let (a, b) = (
            round(random.normal(n * k, 1.0)),
            round(random.normal(m * k, 1.0)),
        );
        let wide = |x: &[bf16]| -> Vec<f32> { x.iter().map(|x| x.to_f32()).collect() };
        let (aw, bw) = (wide(&a), wide(&b));
        each_isa(|| {
            if kernel::has_pairs(isa()) {
                return;
            }
            let mut want = vec![0.0; n * m];
            matmul_f32(&aw, &bw, &mut want, n, k, m);
            let mut got = vec![0.0; n * m];
            matmul(
                Matrix::new(&a, n, k),
                Matrix::new(&b, m, k).t(),
                &mut got,
                false,
            );
            assert_eq!(got, want);
            let mut got = vec![bf16::ONE; n * m];
            matmul(
                Matrix::new(&a, n, k),
                Matrix::new(&b, m, k).t(),
                &mut got,
                true,
            );
            let want: Vec<bf16> = want.iter().map(|x| bf16::from_f32(x + 1.0)).collect();
            assert_eq!(got, want);
        });
    }
}

fn rounded(x: &[f32]) -> Vec<bf16> {
    x.iter().map(|&x| bf16::from_f32(x)).collect()
}

#[test]
fn bf16_matches_double_precision_in_every_form() {
    let mut random = Random::new(5);
    for (n, k, m) in SHAPES {
        for scale in [1.0, 1e-15, 1e15] {
            let a = rounded(&random.normal(n * k, scale));
            let b = rounded(&random.normal(k * m, 1.0));
            let wide = |x: &[bf16]| -> Vec<f32> { x.iter().map(|x| x.to_f32()).collect() };
            let want = reference(&wide(&a), &wide(&b), n, k, m);
            let (at, bt) = (transpose(&a, n, k), transpose(&b, k, m));
            let tolerance = 2e-6 * (k as f64).sqrt() * f64::from(scale);
            each_isa(|| {
                let mut first = vec![f32::NAN; n * m];
                matmul(
                    Matrix::new(&a, n, k),
                    Matrix::new(&b, k, m),
                    &mut first,
                    false,
                );
                assert_close(&first, &want, 1e-6, tolerance);
                for form in 0..3 {
                    let a = if form & 1 == 0 {
                        Matrix::new(&a, n, k)
                    } else {
                        Matrix::new(&at, k, n).t()
                    };
                    let b = if form & 2 == 0 {
                        Matrix::new(&bt, m, k).t()
                    } else {
                        Matrix::new(&b, k, m)
                    };
                    let mut out = vec![f32::NAN; n * m];
                    matmul(a, b, &mut out, false);
                    assert_eq!(out, first);
                }
            });
        }
    }
}

#[test]
fn mixed_operands_are_widened() {
    let mut random = Random::new(7);
    for (n, k, m) in SHAPES {
        let (a, b) = (random.normal(n * k, 1.0), random.normal(k * m, 1.0));
        let (an, bn) = (rounded(&a), rounded(&b));
        let wide = |x: &[bf16]| -> Vec<f32> { x.iter().map(|x| x.to_f32()).collect() };
        let (aw, bw) = (wide(&an), wide(&bn));
        each_isa(|| {
            let product = |got: &dyn Fn(&mut [f32]), a: &[f32], b: &[f32]| {
                let (mut out, mut want) = (vec![f32::NAN; n * m], vec![0.0; n * m]);
                got(&mut out);
                matmul(Matrix::new(a, n, k), Matrix::new(b, k, m), &mut want, false);
                assert_eq!(out, want);
            };
            let (narrow, full) = (Matrix::new(&an, n, k), Matrix::new(&b, k, m));
            product(&|out| matmul(narrow, full, out, false), &aw, &b);
            let (at, bt) = (transpose(&a, n, k), transpose(&bn, k, m));
            let (full, narrow) = (Matrix::new(&at, k, n).t(), Matrix::new(&bt, m, k).t());
            product(&|out| matmul(full, narrow, out, false), &a, &bw);
            let (full, narrow) = (Matrix::new(&a, n, k), Matrix::new(&bn, k, m));
            product(&|out| matmul(full, narrow, out, false), &a, &bw);
        });
    }
}

#[test]
fn a_bf16_row_is_the_same_alone_and_among_others() {
    let mut random = Random::new(6);
    let (n, k, m) = (31, 1301, 70);
    let (a, b) = (
        rounded(&random.normal(n * k, 1.0)),
        rounded(&random.normal(m * k, 1.0)),
    );
    each_isa(|| {
        let product = |a: &[bf16], b: &[bf16]| {
            let (n, m) = (a.len() / k, b.len() / k);
            let mut out = vec![0.0f32; n * m];
            let b = Matrix::new(b, m, k).t();
            matmul(Matrix::new(a, n, k), b, &mut out, false);
            out
        };
        let all = product(&a, &b);
        for rows in [1, 2, 5, 15] {
            for i in (0..=n - rows).step_by(3) {
                let some = product(&a[i * k..(i + rows) * k], &b);
                assert_eq!(some, all[i * m..(i + rows) * m]);
            }
        }
        for j in (0..m).step_by(11) {
            let column = product(&a, &b[j * k..(j + 1) * k]);
            let mut same = column.iter().zip(all.chunks(m));
            assert!(same.all(|(x, row)| *x == row[j]));
        }
    });
}

#[test]
fn a_row_is_the_same_alone_and_among_others() {
    let mut random = Random::new(3);
    let (n, k, m) = (61, 700, 130);
    let (a, b) = (random.normal(n * k, 1.0), random.normal(m * k, 1.0));
    for &isa in Isa::ALL.iter().filter(|isa| isa.available()) {
        with_isa(isa, || {
            let mut all = vec![0.0; n * m];
            matmul_f32(&a, &b, &mut all, n, k, m);
            for rows in [1, 2, 7] {
                let mut some = vec![0.0; rows * m];
                for i in (0..n - rows).step_by(5) {
                    matmul_f32(&a[i * k..(i + rows) * k], &b, &mut some, rows, k, m);
                    assert_eq!(some, all[i * m..(i + rows) * m]);
                }
            }
            for j in (0..m).step_by(11) {
                let mut column = vec![0.0; n];
                matmul_f32(&a, &b[j * k..(j + 1) * k], &mut column, n, k, 1);
                assert!(
                    column
                        .iter()
                        .zip(all.chunks(m))
                        .all(|(x, row)| *x == row[j])
                );
            }
        });
    }
}

#[test]
fn zeros_denormals_and_extremes() {
    let mut random = Random::new(4);
    let (n, k, m) = (7, 40, 19);
    for scale in [0.0, 1e-42, 1e-20, 1e18] {
        let (a, b) = (random.normal(n * k, scale), random.normal(k * m, 1.0));
        let want = reference(&a, &b, n, k, m);
        each_isa(|| {
            let mut out = vec![1.0; n * m];
            matmul(
                Matrix::new(&a, n, k),
                Matrix::new(&b, k, m),
                &mut out,
                false,
            );
            assert_close(&out, &want, 1e-5, 1e-5 * f64::from(scale) + 1e-43);
        });
    }
}

#[test]
fn rounding_on_the_way_is_rounding_before() {
    let mut random = Random::new(12);
    for (n, k, m) in SHAPES
        .into_iter()
        .chain([(800, 1600, 1100), (70, 9000, 40)])
    {
        let (a, b) = (random.normal(n * k, 1.0), random.normal(k * m, 1.0));
        let (at, bt) = (transpose(&a, n, k), transpose(&b, k, m));
        let (ar, br) = (rounded(&a), rounded(&b));
        each_isa(|| {
            let mut want = vec![0.5; n * m];
            matmul(
                Matrix::new(&ar, n, k),
                Matrix::new(&br, k, m),
                &mut want,
                true,
            );
            for form in 0..4 {
                let a = if form & 1 == 0 {
                    Matrix::new(&a, n, k)
                } else {
                    Matrix::new(&at, k, n).t()
                };
                let b = if form & 2 == 0 {
                    Matrix::new(&bt, m, k).t()
                } else {
                    Matrix::new(&b, k, m)
                };
                let mut out = vec![0.5; n * m];
                matmul_rounded(a, b, &mut out, true);
                assert_eq!(out, want);
            }
        });
    }
}

#[test]
#[ignore = "a measurement"]
fn speed_of_training_shapes() {
    let mut random = Random::new(1);
    for (n, k, m) in [
        (4096, 384, 1152),
        (4096, 384, 2048),
        (4096, 1024, 384),
        (4096, 2048, 384),
        (1024, 384, 32000),
        (1024, 32000, 384),
        (1152, 4096, 384),
        (32000, 1024, 384),
        (64, 64, 256),
    ] {
        let (a, b) = (random.normal(n * k, 1.0), random.normal(k * m, 1.0));
        let mut out = vec![0.0; n * m];
        for threads in [1, 2] {
            crate::pool::set_threads(threads);
            for form in 0..3 {
                let x = if form == 2 {
                    Matrix::new(&a, k, n).t()
                } else {
                    Matrix::new(&a, n, k)
                };
                let w = if form == 0 {
                    Matrix::new(&b, m, k).t()
                } else {
                    Matrix::new(&b, k, m)
                };
                let mut best = [0f64; 2];
                for _ in 0..5 {
                    for (i, best) in best.iter_mut().enumerate() {
                        let reps = (3e9 / (2 * n * k * m) as f64).ceil() as usize;
                        let t = std::time::Instant::now();
                        for _ in 0..reps {
                            if i == 0 {
                                matmul(x, w, &mut out, false);
                            } else {
                                matmul_rounded(x, w, &mut out, false);
                            }
                        }
                        let flops = (2 * n * k * m * reps) as f64 / t.elapsed().as_secs_f64();
                        *best = best.max(flops * 1e-9);
                    }
                }
                println!(
                    "{n}x{k}x{m} form {form} threads {threads}: f32 {:.0} bf16 {:.0}",
                    best[0], best[1]
                );
            }
        }
    }
}
