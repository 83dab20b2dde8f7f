//! Training operations against the candle operations that they stand for, and against finite differences.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::sync::Arc;

use medley_kernels::{BlockType, PackedMatrix};
use medley_nn::train::{self, Angles, AttentionShape, Compute, Gradients, IGNORED, with_compute};
use medley_nn::{
    Activation, Attention, AttentionSpec, Device, Embedding, GatedMlp, LayerNorm, Linear, QkNorm,
    RmsNorm, RopeStyle, Tensor, Var,
};

/// Numbers around 0 from a counter.
fn numbers(seed: u64, count: usize, scale: f32) -> Vec<f32> {
    (0..count as u64)
        .map(|i| {
            let mut z = ((seed << 32) | (i + 1)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z >> 40) as f32 / (1 << 23) as f32 - 1.0) * scale
        })
        .collect()
}

fn var(seed: u64, shape: &[usize]) -> Var {
    let values = numbers(seed, shape.iter().product(), 1.0);
    Var::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn flat(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// A number that depends on every element of `y` by another factor.
fn weighed(y: &Tensor) -> Tensor {
    let factors = Tensor::from_vec(numbers(99, y.elem_count(), 1.0), y.shape(), &Device::Cpu);
    (y * factors.unwrap()).unwrap().sum_all().unwrap()
}

fn near(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().map(|e| e.abs()).fold(1e-3, f32::max);
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f - e).abs() <= tolerance * size,
            "{what}[{i}]: {f}, not {e} (of numbers up to {size})"
        );
    }
}

/// Value and gradients of `f` as our operations and as candle's; then the gradients against differences.
fn check(what: &str, operands: &[Var], f: impl Fn() -> Tensor) {
    let run = |compute| {
        with_compute(compute, || {
            let y = f();
            let store = weighed(&y).backward().unwrap();
            let gradients: Vec<Vec<f32>> = operands
                .iter()
                .map(|o| flat(store.get(o).expect("a gradient for every operand")))
                .collect();
            (flat(&y), gradients)
        })
    };
    let (plain, slopes) = run(Compute::Plain);
    let (fast, found) = run(Compute::F32);
    near(what, &fast, &plain, 1e-5);
    for (i, (found, expected)) in found.iter().zip(&slopes).enumerate() {
        near(&format!("{what}, gradient {i}"), found, expected, 1e-4);
    }
    differences(what, operands, &found, &f);
    // Through buffers, twice: the sum.
    let mut gradients = Gradients::default();
    for _ in 0..2 {
        train::backward(&weighed(&f()), &mut gradients).unwrap();
    }
    for (i, (operand, found)) in operands.iter().zip(&found).enumerate() {
        let twice: Vec<f32> = found.iter().map(|g| 2.0 * g).collect();
        let sum = gradients.get(operand).expect("a buffer for every operand");
        near(&format!("{what}, buffer {i}"), sum, &twice, 1e-5);
    }
    gradients.clear();
    assert!(operands.iter().all(|o| gradients.get(o).is_none()));
    // In bf16: the same within its precision.
    let (_, rounded) = run(Compute::Bf16);
    for (i, (found, expected)) in rounded.iter().zip(&slopes).enumerate() {
        near(&format!("{what}, bf16 gradient {i}"), found, expected, 4e-2);
    }
}

/// The slope of the loss along a direction, by a difference, against the gradient.
fn differences(what: &str, operands: &[Var], gradients: &[Vec<f32>], f: &impl Fn() -> Tensor) {
    const STEP: f32 = 1e-2;
    for (i, (operand, gradient)) in operands.iter().zip(gradients).enumerate() {
        let start = flat(operand);
        let direction = numbers(7 + i as u64, start.len(), 1.0);
        let at = |step: f32| -> f64 {
            let moved: Vec<f32> = start
                .iter()
                .zip(&direction)
                .map(|(x, d)| x + step * d)
                .collect();
            let moved = Tensor::from_vec(moved, operand.shape(), &Device::Cpu).unwrap();
            operand.set(&moved).unwrap();
            let y = flat(&f());
            let factors = numbers(99, y.len(), 1.0);
            y.iter()
                .zip(factors)
                .map(|(y, f)| f64::from(*y) * f64::from(f))
                .sum()
        };
        let slope = (at(STEP) - at(-STEP)) / f64::from(2.0 * STEP);
        at(0.0);
        let (mut along, mut size) = (0.0, 0.0);
        for (g, d) in gradient.iter().zip(&direction) {
            along += f64::from(g * d);
            size += f64::from(g * g);
        }
        let bound = 1e-2 * size.sqrt().max(0.1) + 2e-2 * along.abs();
        assert!(
            (slope - along).abs() < bound,
            "{what}, operand {i}: slope {slope}, gradient {along}"
        );
    }
}

fn dense(weight: &Var, bias: Option<&Var>) -> Linear {
    Linear::Dense {
        weight: weight.as_tensor().clone(),
        bias: bias.map(|b| b.as_tensor().clone()),
    }
}

#[test]
fn linear() {
    for (rows, k, m) in [(1, 1, 1), (5, 7, 3), (130, 33, 70)] {
        let (x, w, b) = (var(1, &[2, rows, k]), var(2, &[m, k]), var(3, &[m]));
        let layer = dense(&w, None);
        check("linear", &[x.clone(), w.clone()], || {
            layer.forward(&x).unwrap()
        });
        let layer = dense(&w, Some(&b));
        check(
            "linear with bias",
            &[x.clone(), w.clone(), b.clone()],
            || layer.forward(&x).unwrap(),
        );
    }
}

#[test]
fn norms() {
    for (rows, width) in [(1, 3), (70, 20)] {
        let (x, w, b) = (var(1, &[rows, width]), var(2, &[width]), var(3, &[width]));
        let norm = RmsNorm {
            weight: w.as_tensor().clone(),
            eps: 1e-2,
        };
        check("rms norm", &[x.clone(), w.clone()], || {
            norm.forward(&x).unwrap()
        });
        for bias in [None, Some(&b)] {
            let norm = LayerNorm {
                weight: w.as_tensor().clone(),
                bias: bias.map(|b| b.as_tensor().clone()),
                eps: 1e-2,
            };
            let mut operands = vec![x.clone(), w.clone()];
            operands.extend(bias.cloned());
            check("layer norm", &operands, || norm.forward(&x).unwrap());
        }
    }
}

#[test]
fn gated_block() {
    for act in [Activation::Silu, Activation::GeluTanh] {
        let x = var(1, &[2, 9, 12]);
        let (gate, up, down) = (var(2, &[20, 12]), var(3, &[20, 12]), var(4, &[12, 20]));
        let mlp = GatedMlp {
            gate_proj: dense(&gate, None),
            up_proj: dense(&up, None),
            down_proj: dense(&down, None),
            act,
        };
        check("gated block", &[x.clone(), gate, up, down], || {
            mlp.forward(&x).unwrap()
        });
    }
}

#[test]
fn activations() {
    for &act in Activation::ALL {
        // No number so close to 0 that a difference would straddle the corner of relu.
        let values = numbers(1, 150, 1.0)
            .iter()
            .map(|x| x + x.signum() * 0.05)
            .collect();
        let x = Var::from_vec(values, (3, 50), &Device::Cpu).unwrap();
        check(&format!("{act:?}"), std::slice::from_ref(&x), || {
            medley_nn::tensor::activated(act, x.as_tensor().clone()).unwrap()
        });
    }
}

/// Attention with every setting that the decoders use.
#[test]
fn self_attention() {
    let (batch, length, hidden, dim) = (2, 70, 24, 8);
    for (heads, kv_heads, norms, rope, causal, bias) in [
        (2, 2, 0, None, true, false),
        (4, 2, 0, Some((8, RopeStyle::Neox)), true, false),
        (4, 1, 1, Some((4, RopeStyle::Interleaved)), true, false),
        (2, 1, 2, Some((8, RopeStyle::Neox)), false, true),
    ] {
        let x = var(1, &[batch, length, hidden]);
        let q = var(2, &[heads * dim, hidden]);
        let kv = [kv_heads * dim, hidden];
        let (k, v, o) = (var(3, &kv), var(4, &kv), var(5, &[hidden, heads * dim]));
        let b = var(6, &[heads * dim]);
        let mut operands = vec![x.clone(), q.clone(), k.clone(), v.clone(), o.clone()];
        if bias {
            operands.push(b.clone());
        }
        let mut norm = |seed, width| {
            let w = var(seed, &[width]);
            operands.push(w.clone());
            RmsNorm {
                weight: w.into_inner(),
                eps: 1e-2,
            }
        };
        let qk_norm = match norms {
            1 => Some(QkNorm::PerHead(norm(7, dim), norm(8, dim))),
            2 => Some(QkNorm::Whole(norm(7, heads * dim), norm(8, kv_heads * dim))),
            _ => None,
        };
        let layer = Attention {
            spec: AttentionSpec {
                heads,
                kv_heads,
                head_dim: dim,
                scale: 0.3,
                softcap: None,
                window: None,
                causal,
                rope: rope.map(|(dims, style)| (0, dims, style)),
            },
            q_proj: dense(&q, bias.then_some(&b)),
            k_proj: dense(&k, None),
            v_proj: dense(&v, None),
            o_proj: dense(&o, None),
            qk_norm,
        };
        let half = rope.map_or(1, |(dims, _)| dims / 2);
        let angles = numbers(11, length * half, 3.0);
        let table = |f: fn(f32) -> f32| {
            let values: Vec<f32> = angles.iter().map(|&a| f(a)).collect();
            Tensor::from_vec(values, (length, half), &Device::Cpu).unwrap()
        };
        let angles = [(table(f32::cos), table(f32::sin))];
        check("attention", &operands, || {
            layer.forward_plain(&x, &angles, None).unwrap()
        });
    }
}

/// Queries of one sequence over keys of another.
#[test]
fn cross_attention() {
    let (batch, queries, keys, heads, dim) = (2, 5, 9, 2, 4);
    let (q, k, v) = (
        var(1, &[batch, queries, heads * dim]),
        var(2, &[batch, keys, heads * dim]),
        var(3, &[batch, keys, heads * dim]),
    );
    let shape = AttentionShape {
        heads,
        kv_heads: heads,
        head_dim: dim,
        scale: 0.5,
        causal: false,
        rope_q: None,
        rope_k: None,
    };
    let operands = [q.clone(), k.clone(), v.clone()];
    check("cross attention", &operands, || {
        if train::compute() != Compute::Plain {
            return train::attention(&shape, &q, &k, &v).unwrap();
        }
        let split = |x: &Tensor, n: usize| {
            let x = x.reshape((batch, n, heads, dim)).unwrap();
            x.transpose(1, 2).unwrap().contiguous().unwrap()
        };
        let (q, k, v) = (split(&q, queries), split(&k, keys), split(&v, keys));
        let k = k.transpose(2, 3).unwrap().contiguous().unwrap();
        let scores = (q.matmul(&k).unwrap() * 0.5).unwrap().exp().unwrap();
        let sums = scores.sum_keepdim(3).unwrap();
        let mixed = scores.broadcast_div(&sums).unwrap().matmul(&v).unwrap();
        let rows = mixed.transpose(1, 2).unwrap();
        rows.reshape((batch, queries, heads * dim)).unwrap()
    });
}

#[test]
fn wrong_shapes_are_refused() {
    let shape = AttentionShape {
        heads: 2,
        kv_heads: 2,
        head_dim: 4,
        scale: 1.0,
        causal: true,
        rope_q: Some(Arc::new(Angles {
            cos: vec![1.0; 4],
            sin: vec![0.0; 4],
            rot_dim: 4,
            style: RopeStyle::Neox,
        })),
        rope_k: None,
    };
    let x = var(1, &[1, 3, 8]);
    assert!(
        train::attention(&shape, &x, &x, &x).is_err(),
        "angles of two positions"
    );
    let y = var(1, &[1, 3, 9]);
    assert!(train::attention(&shape, &y, &y, &y).is_err());
    assert!(train::joint_attention(&shape, &y).is_err());
    assert!(train::linear(&x, &var(2, &[3, 9]), None).is_err());
    assert!(train::joint_linear(&x, &[&var(2, &[3, 8]), &var(3, &[3, 9])]).is_err());
    assert!(train::gated_halves(Activation::Silu, &y).is_err());
    assert!(train::embedding(&var(1, &[4, 2]), &[4]).is_err());
    assert!(train::cross_entropy(&var(1, &[2, 5]), &[0]).is_err());
    assert!(train::cross_entropy(&var(1, &[2, 5]), &[0, 5]).is_err());
}

#[test]
fn embedding() {
    let table = var(1, &[7, 5]);
    let embedding = Embedding {
        table: dense(&table, None),
    };
    check("embedding", std::slice::from_ref(&table), || {
        embedding.forward(&[3, 0, 3, 6], &Device::Cpu).unwrap()
    });
}

#[test]
fn losses() {
    let (x, w) = (var(1, &[40, 6]), var(2, &[11, 6]));
    let targets: Vec<u32> = (0..40)
        .map(|i| if i % 5 == 2 { IGNORED } else { i * 7 % 6 })
        .collect();
    check("cross entropy", std::slice::from_ref(&x), || {
        match train::compute() {
            Compute::Plain => medley_nn::loss::cross_entropy(&x, &targets),
            _ => train::cross_entropy(&x, &targets),
        }
        .unwrap()
    });
    check("linear cross entropy", &[x.clone(), w.clone()], || {
        if train::compute() == Compute::Plain {
            let logits = x.matmul(&w.t().unwrap()).unwrap();
            return medley_nn::loss::cross_entropy(&logits, &targets).unwrap();
        }
        train::linear_cross_entropy(&x, &w, &targets).unwrap()
    });
}

#[test]
fn evaluation_prepares_no_gradients() {
    let x = var(1, &[4, 6]);
    let loss = train::evaluating(|| train::cross_entropy(&x, &[0, 1, 2, 3]).unwrap());
    assert!(loss.backward().is_err());
    let loss = train::cross_entropy(&x, &[0, 1, 2, 3]).unwrap();
    assert!(loss.backward().is_ok());
}

/// A packed matrix of some numbers in this type, with a bias.
fn packed(ty: BlockType, seed: u64, rows: usize, cols: usize) -> Linear {
    let values = numbers(seed, rows * cols, 1.0);
    let mut bytes = vec![0; ty.bytes_for(values.len()).unwrap()];
    medley_kernels::quantize(ty, &values, &mut bytes).unwrap();
    let matrix = PackedMatrix::pack(ty, rows, cols, &bytes).unwrap();
    Linear::Packed {
        weight: Arc::new(matrix),
        bias: Some(numbers(seed + 1, rows, 1.0).into()),
    }
}

fn adapted(base: Linear, a: &Tensor, b: &Tensor) -> Linear {
    let dense = |weight: &Tensor| Linear::Dense {
        weight: weight.clone(),
        bias: None,
    };
    Linear::Lora {
        base: Box::new(base),
        a: Box::new(dense(a)),
        b: Box::new(dense(b)),
        scale: 0.75,
    }
}

#[test]
fn frozen_weights_of_every_kind_let_gradients_through() {
    let x = var(1, &[2, 5, 64]);
    let (a, b) = (var(2, &[3, 64]), var(3, &[40, 3]));
    let dense = Linear::Dense {
        weight: Tensor::from_vec(numbers(4, 40 * 64, 1.0), (40, 64), &Device::Cpu).unwrap(),
        bias: Some(Tensor::from_vec(numbers(5, 40, 1.0), 40, &Device::Cpu).unwrap()),
    };
    let mut bases = vec![("dense", dense)];
    for ty in [
        BlockType::F32,
        BlockType::BF16,
        BlockType::Q8_0,
        BlockType::Q4_1,
    ] {
        bases.push((ty.name(), packed(ty, 6, 40, 64)));
    }
    for (name, base) in bases {
        check(name, std::slice::from_ref(&x), || base.forward(&x).unwrap());
        let layer = adapted(base, &a, &b);
        check(name, &[x.clone(), a.clone(), b.clone()], || {
            layer.forward(&x).unwrap()
        });
        // Of an input that needs none (the first layer's), adapters still have gradients.
        let input = x.as_tensor().detach();
        check(name, &[a.clone(), b.clone()], || {
            layer.forward(&input).unwrap()
        });
    }
}

#[test]
fn gated_products_of_two() {
    let (gate, up) = (var(1, &[3, 40]), var(2, &[3, 40]));
    for act in [Activation::Silu, Activation::GeluTanh] {
        check("gated product", &[gate.clone(), up.clone()], || {
            medley_nn::tensor::gated(act, &gate, &up).unwrap()
        });
    }
    assert!(train::gated(Activation::Silu, &gate, &var(3, &[3, 41])).is_err());
}

#[test]
fn an_adapter_that_serves_is_the_one_that_learned() {
    let x = Tensor::from_vec(numbers(1, 7 * 64, 1.0), (7, 64), &Device::Cpu).unwrap();
    let (a, b) = (var(2, &[3, 64]), var(3, &[40, 3]));
    for (ty, tolerance) in [(BlockType::F32, 1e-5), (BlockType::Q8_0, 1e-2)] {
        let base = packed(ty, 6, 40, 64);
        let learning = adapted(base.clone(), &a, &b);
        let serving = Linear::Lora {
            base: Box::new(base.clone()),
            a: Box::new(Linear::packed(&flat(&a), 3, 64).unwrap()),
            b: Box::new(Linear::packed(&flat(&b), 40, 3).unwrap()),
            scale: 0.75,
        };
        let y = learning.forward(&x).unwrap();
        assert!(y.track_op());
        let expected = flat(&y);
        let plain = flat(&base.forward(&x).unwrap());
        assert!(
            expected
                .iter()
                .zip(&plain)
                .any(|(e, p)| (e - p).abs() > 0.1)
        );
        let found = flat(&serving.forward(&x).unwrap());
        near(ty.name(), &found, &expected, tolerance);
        // While it learns, it serves without a graph, on the same kernels.
        let same = train::without_gradients(|| learning.forward(&x)).unwrap();
        assert!(!same.track_op());
        near(ty.name(), &flat(&same), &found, 1e-5);
        // Rows do not hang on their neighbours.
        for row in 0..7 {
            let alone = serving.forward(&x.narrow(0, row, 1).unwrap()).unwrap();
            assert_eq!(flat(&alone), found[row * 40..(row + 1) * 40]);
        }
    }
}

/// candle makes gradients of constants too; steps with others each do not fill the memory with them.
#[test]
fn steps_keep_no_gradients_of_constants() {
    let weight = var(3, &[64, 64]);
    let mut gradients = Gradients::default();
    let mut held = Vec::new();
    for step in 0..8 {
        gradients.clear();
        let constant =
            Tensor::from_vec(numbers(step, 64 * 64, 1.0), (64, 64), &Device::Cpu).unwrap();
        let loss = (weight.as_tensor() * &constant).unwrap().sum_all().unwrap();
        train::backward(&loss, &mut gradients).unwrap();
        let slope = gradients.get(&weight).expect("a gradient");
        assert_eq!(slope, &flat(&constant)[..]);
        held.push(gradients.bytes());
    }
    assert_eq!(held[2..], [held[2]; 6], "bytes after each step");
}
