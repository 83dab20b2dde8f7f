//! The number of threads never changes a bit of what training and pictures use. One test: the
//! thread count belongs to the process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

use medley_kernels::*;

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * i) as f32 * 0.37).sin()).collect()
}

fn bits(all: &[&[f32]]) -> Vec<u32> {
    all.iter()
        .flat_map(|x| x.iter().map(|x| x.to_bits()))
        .collect()
}

fn products() -> Vec<u32> {
    let (n, k, m) = (150, 801, 200);
    let (a, b) = (numbers(n * k), numbers(m * k));
    let mut out = vec![0.0; n * m];
    matmul_f32(&a, &b, &mut out, n, k, m);
    let narrow =
        |x: &[f32]| -> Vec<half::bf16> { x.iter().map(|&x| half::bf16::from_f32(x)).collect() };
    let mut pairs = vec![0.0f32; n * m];
    let (a, b) = (narrow(&a), narrow(&b));
    let b = Matrix::new(&b, m, k).t();
    matmul(Matrix::new(&a, n, k), b, &mut pairs, false);
    bits(&[&out, &pairs])
}

fn attentions() -> Vec<u32> {
    let shape = SequenceAttention {
        batch: 2,
        heads: 6,
        kv_heads: 3,
        queries: 150,
        keys: 150,
        dim: 32,
        scale: 0.2,
        causal: true,
    };
    let (nq, nk) = (2 * 6 * 150 * 32, 2 * 3 * 150 * 32);
    let (q, k, v, dout) = (numbers(nq), numbers(nk), numbers(nk + 1), numbers(nq));
    let v = &v[1..];
    let (mut out, mut sums) = (vec![0.0; nq], vec![0.0; 2 * 6 * 150]);
    sequence_attention(&shape, &q, &k, v, &mut out, &mut sums);
    let (mut dq, mut dk, mut dv) = (vec![0.0; nq], vec![0.0; nk], vec![0.0; nk]);
    sequence_attention_backward(
        &shape, &q, &k, v, &out, &sums, &dout, &mut dq, &mut dk, &mut dv,
    );
    bits(&[&out, &sums, &dq, &dk, &dv])
}

fn pictures() -> Vec<u32> {
    let conv = Conv2d {
        batch: 2,
        height: 31,
        width: 29,
        in_channels: 20,
        out_channels: 40,
        kernel: [3, 3],
        stride: [2, 2],
        padding: [1, 1],
    };
    let positions = 2 * conv.out_height() * conv.out_width();
    let (x, w) = (numbers(2 * 31 * 29 * 20), numbers(40 * 9 * 20));
    let (b, dy) = (numbers(40), numbers(positions * 40));
    let mut y = vec![0.0; positions * 40];
    conv2d(&conv, &x, &w, Some(&b), &mut y);
    let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; 40]);
    conv2d_backward_input(&conv, &w, &dy, &mut dx);
    conv2d_backward_weight(&conv, &x, &dy, &mut dw, Some(&mut db));
    let norm = GroupNorm {
        batch: 2,
        channels: 40,
        groups: 8,
        eps: 1e-5,
    };
    let mut z = vec![0.0; y.len()];
    group_norm(&norm, &y, &b, &b, &mut z);
    let (mut dz, mut dweight, mut dbias) = (vec![0.0; y.len()], vec![0.0; 40], vec![0.0; 40]);
    group_norm_backward(&norm, &y, &b, &dy, &mut dz, &mut dweight, &mut dbias);
    bits(&[&y, &dx, &dw, &db, &z, &dz, &dweight, &dbias])
}

#[test]
fn results_are_the_same_with_any_number_of_threads() {
    let all = || (products(), attentions(), pictures());
    pool::set_threads(1);
    let one = all();
    for threads in [2, 3, 5] {
        pool::set_threads(threads);
        assert!(all() == one, "{threads} threads");
    }
}
