use super::*;
use crate::testing::{Random, assert_close, each_isa};
use crate::{Isa, with_isa};

/// A sequence's cache with what was written into it, as the cache's type keeps it.
struct Sequence {
    pages: Vec<Vec<u8>>,
    k: Vec<f32>,
    v: Vec<f32>,
}

fn kept(shape: &KvShape, x: &[f32]) -> Vec<f32> {
    match shape.ty {
        KvType::F32 => x.to_vec(),
        KvType::F16 => x
            .iter()
            .map(|&x| half::f16::from_f32(x.clamp(-65504.0, 65504.0)).to_f32())
            .collect(),
        KvType::Q8 => x
            .chunks(shape.head_dim)
            .flat_map(|head| head.chunks(32))
            .flat_map(|b| {
                let scale = b.iter().fold(0f32, |m, x| m.max(x.abs())) / 127.0;
                let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
                b.iter()
                    .map(move |x| (x * inverse).round_ties_even() * scale)
            })
            .collect(),
    }
}

fn sequence(random: &mut Random, shape: &KvShape, len: usize, scale: f32) -> Sequence {
    let width = shape.kv_heads * shape.head_dim;
    let (k, v) = (
        random.normal(len * width, scale),
        random.normal(len * width, scale),
    );
    // What was never written is full of NaN.
    let mut pages = vec![vec![0xff; shape.page_bytes()]; len.div_ceil(PAGE)];
    for i in 0..len {
        let row = i * width..(i + 1) * width;
        kv_write(
            shape,
            &mut pages[i / PAGE],
            i % PAGE,
            &k[row.clone()],
            &v[row],
        );
    }
    let (k, v) = (kept(shape, &k), kept(shape, &v));
    Sequence { pages, k, v }
}

/// The definition, in double precision.
fn reference(
    shape: &KvShape,
    p: &AttentionParams,
    seq: &Sequence,
    q: &[f32],
    pos: usize,
) -> Vec<f64> {
    let (hd, width) = (shape.head_dim, shape.kv_heads * shape.head_dim);
    let first = p.window.map_or(0, |w| (pos + 1).saturating_sub(w));
    let mut out = Vec::new();
    for head in 0..p.heads {
        let kv = head / (p.heads / shape.kv_heads);
        let at = |i: usize| i * width + kv * hd;
        let scores: Vec<f64> = (first..=pos)
            .map(|i| {
                let dot: f64 = (0..hd)
                    .map(|d| f64::from(q[head * hd + d]) * f64::from(seq.k[at(i) + d]))
                    .sum();
                let s = dot * f64::from(p.scale);
                p.softcap
                    .map_or(s, |c| f64::from(c) * (s / f64::from(c)).tanh())
            })
            .collect();
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let e: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
        let sum: f64 = e.iter().sum();
        for d in 0..hd {
            let y: f64 = e
                .iter()
                .enumerate()
                .map(|(i, e)| e * f64::from(seq.v[at(first + i) + d]))
                .sum();
            out.push(y / sum);
        }
    }
    out
}

fn params(heads: usize, head_dim: usize) -> AttentionParams {
    AttentionParams {
        heads,
        scale: 1.0 / (head_dim as f32).sqrt(),
        softcap: None,
        window: None,
    }
}

#[test]
fn matches_the_definition() {
    let mut random = Random::new(1);
    let shapes = [
        (1, 1, 8),
        (2, 4, 64),
        (1, 4, 256),
        (3, 9, 64),
        (2, 14, 128),
        (2, 2, 5),
        (1, 5, 96),
        (1, 6, 40),
    ];
    for (kv_heads, heads, head_dim) in shapes {
        for ty in [KvType::F32, KvType::F16, KvType::Q8] {
            let shape = KvShape {
                kv_heads,
                head_dim,
                ty,
            };
            let seq = sequence(&mut random, &shape, 150, 1.0);
            let pages: Vec<&[u8]> = seq.pages.iter().map(Vec::as_slice).collect();
            for (softcap, window) in [
                (None, None),
                (Some(3.0), None),
                (None, Some(70)),
                (Some(20.0), Some(1)),
            ] {
                let p = AttentionParams {
                    softcap,
                    window,
                    ..params(heads, head_dim)
                };
                for pos in [0, 1, 15, 63, 64, 149] {
                    let q = random.normal(heads * head_dim, 2.0);
                    let want = reference(&shape, &p, &seq, &q, pos);
                    each_isa(|| {
                        let mut out = vec![0.0; q.len()];
                        attention(&shape, &p, &[QueryRow { pages: &pages, pos }], &q, &mut out);
                        assert_close(&out, &want, 1e-5, 3e-6);
                    });
                }
            }
        }
    }
}

#[test]
fn a_row_gives_the_same_bits_in_any_company() {
    let mut random = Random::new(2);
    for (kv_heads, heads, head_dim) in [(3, 9, 64), (1, 4, 256), (2, 14, 24), (2, 2, 80)] {
        for ty in [KvType::F32, KvType::F16, KvType::Q8] {
            let shape = KvShape {
                kv_heads,
                head_dim,
                ty,
            };
            let width = heads * head_dim;
            let seqs = [
                sequence(&mut random, &shape, 400, 1.0),
                sequence(&mut random, &shape, 90, 1.0),
            ];
            let pages: Vec<Vec<&[u8]>> = seqs
                .iter()
                .map(|s| s.pages.iter().map(Vec::as_slice).collect())
                .collect();
            for window in [None, Some(37), Some(130)] {
                let p = AttentionParams {
                    window,
                    softcap: Some(30.0),
                    ..params(heads, head_dim)
                };
                // A long run, single rows of both, a run backwards.
                let mut at: Vec<(usize, usize)> = (100..400).map(|i| (0, i)).collect();
                at.extend([(1, 80), (0, 399), (1, 89)]);
                at.extend((0..40).rev().map(|i| (1, i)));
                let rows: Vec<QueryRow> = at
                    .iter()
                    .map(|&(s, pos)| QueryRow {
                        pages: &pages[s],
                        pos,
                    })
                    .collect();
                let q = random.normal(rows.len() * width, 1.0);
                for &isa in Isa::ALL.iter().filter(|isa| isa.available()) {
                    with_isa(isa, || {
                        let mut all = vec![0.0; q.len()];
                        attention(&shape, &p, &rows, &q, &mut all);
                        let mut one = vec![0.0; width];
                        for (i, row) in rows.iter().enumerate() {
                            let span = i * width..(i + 1) * width;
                            attention(&shape, &p, &[*row], &q[span.clone()], &mut one);
                            for (a, b) in one.iter().zip(&all[span]) {
                                assert_eq!(a.to_bits(), b.to_bits(), "row {i} of {shape:?}");
                            }
                        }
                    });
                }
            }
        }
    }
}

#[test]
fn extreme_scores() {
    let mut random = Random::new(3);
    let shape = KvShape {
        kv_heads: 1,
        head_dim: 32,
        ty: KvType::F16,
    };
    for (kv, scale) in [(1e-30, 1.0), (0.0, 1.0), (3e4, 1.0), (1.0, 1e4), (1e5, 1.0)] {
        let seq = sequence(&mut random, &shape, 130, kv);
        let pages: Vec<&[u8]> = seq.pages.iter().map(Vec::as_slice).collect();
        let p = AttentionParams {
            scale,
            ..params(2, 32)
        };
        let q = random.normal(64, 1.0);
        let want = reference(&shape, &p, &seq, &q, 129);
        each_isa(|| {
            let mut out = vec![0.0; 64];
            attention(
                &shape,
                &p,
                &[QueryRow {
                    pages: &pages,
                    pos: 129,
                }],
                &q,
                &mut out,
            );
            // One position takes nearly all of the weight.
            assert_close(&out, &want, 1e-2, 1e-5 * f64::from(kv));
        });
    }
}

#[test]
#[should_panic(expected = "page 2 of a sequence with 2 pages")]
fn a_missing_page_is_refused() {
    let shape = KvShape {
        kv_heads: 1,
        head_dim: 8,
        ty: KvType::F32,
    };
    let page = vec![0; shape.page_bytes()];
    let pages = [page.as_slice(), page.as_slice()];
    let mut out = [0.0; 8];
    attention(
        &shape,
        &params(1, 8),
        &[QueryRow {
            pages: &pages,
            pos: 128,
        }],
        &[0.0; 8],
        &mut out,
    );
}
