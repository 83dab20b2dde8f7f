use super::*;
use crate::testing::{Random, assert_close, each_isa, gradient};

struct Case {
    shape: SequenceAttention,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

fn case(random: &mut Random, sizes: [usize; 6], causal: bool) -> Case {
    let [batch, heads, kv_heads, queries, keys, dim] = sizes;
    let shape = SequenceAttention {
        batch,
        heads,
        kv_heads,
        queries,
        keys,
        dim,
        scale: 1.0 / (dim as f32).sqrt(),
        causal,
    };
    Case {
        shape,
        q: random.normal(shape.query_len(), 1.0),
        k: random.normal(shape.key_len(), 1.0),
        v: random.normal(shape.key_len(), 1.0),
    }
}

/// Outputs and log-sums in double precision.
fn reference(c: &SequenceAttention, q: &[f32], k: &[f32], v: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let (mut out, mut log_sums) = (Vec::new(), Vec::new());
    for head in 0..c.batch * c.heads {
        let kv = head / (c.heads / c.kv_heads) * c.keys * c.dim;
        for i in 0..c.queries {
            let q = &q[(head * c.queries + i) * c.dim..][..c.dim];
            let key = |j: usize| &k[kv + j * c.dim..][..c.dim];
            let seen = c.seen(i);
            let scores: Vec<f64> = (0..seen)
                .map(|j| {
                    let pairs = q.iter().zip(key(j));
                    let dot: f64 = pairs.map(|(&q, &k)| f64::from(q) * f64::from(k)).sum();
                    dot * f64::from(c.scale)
                })
                .collect();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scores.iter().map(|s| (s - largest).exp()).sum();
            log_sums.push(largest + sum.ln());
            for d in 0..c.dim {
                let terms = scores.iter().enumerate();
                let term = |(j, s): (usize, &f64)| {
                    (s - largest).exp() / sum * f64::from(v[kv + j * c.dim + d])
                };
                out.push(terms.map(term).sum::<f64>());
            }
        }
    }
    (out, log_sums)
}

fn run(c: &Case) -> (Vec<f32>, Vec<f32>) {
    let mut out = vec![f32::NAN; c.q.len()];
    let rows = c.shape.batch * c.shape.heads * c.shape.queries;
    let mut log_sums = vec![f32::NAN; rows];
    sequence_attention(&c.shape, &c.q, &c.k, &c.v, &mut out, &mut log_sums);
    (out, log_sums)
}

fn run_backward(c: &Case, out: &[f32], log_sums: &[f32], dout: &[f32]) -> [Vec<f32>; 3] {
    let mut dq = vec![f32::NAN; c.q.len()];
    let (mut dk, mut dv) = (vec![f32::NAN; c.k.len()], vec![f32::NAN; c.k.len()]);
    sequence_attention_backward(
        &c.shape, &c.q, &c.k, &c.v, out, log_sums, dout, &mut dq, &mut dk, &mut dv,
    );
    [dq, dk, dv]
}

#[test]
fn matches_double_precision() {
    let mut random = Random::new(1);
    for sizes in [
        [1, 1, 1, 1, 1, 1],
        [2, 3, 1, 5, 7, 9],
        [1, 2, 2, 65, 65, 16],
        [1, 4, 2, 130, 200, 24],
        [1, 1, 1, 9, 4, 8],
        [2, 2, 1, 70, 500, 64],
    ] {
        for causal in [false, true] {
            let c = case(&mut random, sizes, causal);
            let (want, want_sums) = reference(&c.shape, &c.q, &c.k, &c.v);
            each_isa(|| {
                let (out, sums) = run(&c);
                assert_close(&out, &want, 1e-5, 2e-6);
                for (got, want) in sums.iter().zip(&want_sums) {
                    assert!((f64::from(*got) - want).abs() < 1e-5 || f64::from(*got) == *want);
                }
            });
        }
    }
}

#[test]
fn large_and_small_scores() {
    let mut random = Random::new(2);
    for scale in [0.0, 1e-30, 1e4] {
        let mut c = case(&mut random, [1, 2, 1, 20, 33, 8], true);
        c.q.iter_mut().for_each(|q| *q *= scale);
        let (want, _) = reference(&c.shape, &c.q, &c.k, &c.v);
        // A score of 1e4 has an error of 1e-3.
        let tolerance = if scale > 1.0 { 2e-2 } else { 2e-6 };
        each_isa(|| assert_close(&run(&c).0, &want, 1e-5, tolerance));
    }
}

#[test]
fn gradients_match_finite_differences() {
    let mut random = Random::new(3);
    for (sizes, causal) in [
        ([1, 1, 1, 3, 5, 4], false),
        ([2, 4, 2, 6, 6, 5], true),
        ([1, 1, 1, 7, 4, 3], true),
        ([1, 2, 1, 70, 67, 2], true),
    ] {
        let c = case(&mut random, sizes, causal);
        let dout = random.normal(c.q.len(), 1.0);
        let loss = |q: &[f32], k: &[f32], v: &[f32]| -> f64 {
            let (out, _) = reference(&c.shape, q, k, v);
            out.iter().zip(&dout).map(|(o, &d)| o * f64::from(d)).sum()
        };
        let want = [
            gradient(&c.q, |q| loss(q, &c.k, &c.v)),
            gradient(&c.k, |k| loss(&c.q, k, &c.v)),
            gradient(&c.v, |v| loss(&c.q, &c.k, v)),
        ];
        each_isa(|| {
            let (out, sums) = run(&c);
            let got = run_backward(&c, &out, &sums, &dout);
            for (got, want) in got.iter().zip(&want) {
                assert_close(got, want, 2e-5, 2e-5);
            }
        });
    }
}

#[test]
fn a_sequence_does_not_depend_on_the_others() {
    let mut random = Random::new(4);
    let c = case(&mut random, [3, 4, 2, 100, 100, 32], true);
    let dout = random.normal(c.q.len(), 1.0);
    each_isa(|| {
        let (out, sums) = run(&c);
        let all = run_backward(&c, &out, &sums, &dout);
        let (nq, nk, rows) = (c.q.len() / 3, c.k.len() / 3, sums.len() / 3);
        for b in 0..3 {
            let (at, kv) = (b * nq..(b + 1) * nq, b * nk..(b + 1) * nk);
            let one = Case {
                shape: SequenceAttention {
                    batch: 1,
                    ..c.shape
                },
                q: c.q[at.clone()].to_vec(),
                k: c.k[kv.clone()].to_vec(),
                v: c.v[kv.clone()].to_vec(),
            };
            let (o, s) = run(&one);
            assert_eq!(
                (&o[..], &s[..]),
                (&out[at.clone()], &sums[b * rows..(b + 1) * rows])
            );
            let [dq, dk, dv] = run_backward(&one, &o, &s, &dout[at.clone()]);
            assert_eq!(
                (&dq[..], &dk[..], &dv[..]),
                (&all[0][at], &all[1][kv.clone()], &all[2][kv])
            );
        }
    });
}
