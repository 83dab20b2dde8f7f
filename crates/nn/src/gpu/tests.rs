//! Each operation on an NVIDIA GPU against the CPU: values, and gradients of a loss that weighs every element differently.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use candle_core::{Device, Tensor, Var};
use medley_kernels::Activation;
use medley_testkit::{Tolerance, check_close};

use crate::vision::{
    Angles, Axis, Heads, activation, add_gated, beside, conv2d, cross_attention,
    modulated_layer_norm, pixel_shuffle, pixel_unshuffle, self_attention, swapped,
};
use crate::{Linear, Result};

fn numbers(seed: usize, count: usize) -> Vec<f32> {
    let value = |i: usize| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0;
    (0..count).map(value).collect()
}

fn values(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// The result and the gradients of the operands, on a device.
fn computed(
    shapes: &[&[usize]],
    device: &Device,
    f: &dyn Fn(&[&Tensor]) -> Result<Tensor>,
) -> Vec<Vec<f32>> {
    let vars: Vec<Var> = shapes
        .iter()
        .enumerate()
        .map(|(i, shape)| {
            let values = numbers(i + 1, shape.iter().product());
            Var::from_vec(values, *shape, device).unwrap()
        })
        .collect();
    // Not parameters themselves: gradients pass through them.
    let operands: Vec<Tensor> = vars
        .iter()
        .map(|v| (v.as_tensor() * 1.0).unwrap())
        .collect();
    let y = f(&operands.iter().collect::<Vec<_>>()).unwrap();
    let weights = Tensor::from_vec(numbers(77, y.elem_count()), y.shape(), device).unwrap();
    let gradients = (&y * weights)
        .unwrap()
        .sum_all()
        .unwrap()
        .backward()
        .unwrap();
    let mut all = vec![values(&y)];
    all.extend(vars.iter().map(|v| values(gradients.get(v).unwrap())));
    all
}

fn alike(what: &str, shapes: &[&[usize]], f: impl Fn(&[&Tensor]) -> Result<Tensor>) {
    let gpu = Device::new_cuda(0).unwrap();
    let (there, here) = (
        computed(shapes, &gpu, &f),
        computed(shapes, &Device::Cpu, &f),
    );
    for (i, (there, here)) in there.iter().zip(&here).enumerate() {
        let largest = here.iter().fold(1.0f32, |most, x| most.max(x.abs()));
        let tolerance = Tolerance::absolute(1e-4 * largest);
        check_close(&format!("{what}, {i}"), there, here, tolerance).unwrap();
    }
    println!("{what} is alike");
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn what_the_gpu_computes_is_what_the_cpu_computes() {
    for (tokens, width) in [(5, 48), (70, 256), (150, 24)] {
        let (rows, samples): (&[usize], &[usize]) = (&[3, tokens, width], &[3, width]);
        alike("modulated norm", &[rows, samples, samples], |x| {
            modulated_layer_norm(x[0], x[1], x[2], 1e-6)
        });
        alike("add gated", &[rows, rows, samples], |x| {
            add_gated(x[0], x[1], x[2])
        });
    }
    for act in [Activation::Silu, Activation::GeluTanh] {
        alike("activation", &[&[5, 999]], |x| activation(act, x[0]));
    }
    alike("linear", &[&[3, 100, 24], &[40, 24], &[40]], |x| {
        let (weight, bias) = (x[1].clone(), Some(x[2].clone()));
        Linear::Dense { weight, bias }.forward(x[0])
    });
    for side in [1, 3, 5] {
        alike("conv", &[&[2, 6, 9, 8], &[12, 8, side, side], &[12]], |x| {
            conv2d(x[0], x[1], Some(x[2]), 1, side / 2)
        });
    }
    for (frames, closed) in [(2, true), (2, false), (3, true), (6, true), (6, false)] {
        alike("beside", &[&[6, 3, 4, 5]], |x| beside(x[0], frames, closed));
    }
    alike("unshuffle", &[&[2, 6, 8, 3]], |x| pixel_unshuffle(x[0], 2));
    alike("shuffle", &[&[2, 3, 4, 12]], |x| pixel_shuffle(x[0], 2));
    alike("swapped", &[&[2, 3, 4, 5]], |x| swapped(x[0]));
    attentions();
}

fn attentions() {
    for (heads, dim, tokens) in [(2, 8, 6), (4, 64, 64), (3, 16, 24)] {
        let (width, shape) = (
            heads * dim,
            Heads {
                heads,
                dim,
                eps: 1e-6,
            },
        );
        let axis = |count, pairs, closed| Axis {
            count,
            pairs,
            closed,
        };
        for closed in [false, true] {
            let angles = Arc::new(Angles::along(&[axis(tokens, dim / 2, closed)], 0, 100.0));
            alike(
                "self-attention",
                &[&[2, tokens, 3 * width], &[2, dim]],
                |x| self_attention(x[0], Some(x[1]), shape, Some(&angles), None, None),
            );
        }
        alike("without norms", &[&[2, tokens, 3 * width]], |x| {
            self_attention(x[0], None, shape, None, None, None)
        });
        for lengths in [None, Some(vec![5, 2, 0])] {
            let seen = lengths.as_deref();
            alike(
                "cross-attention",
                &[&[3, 2 * tokens, width], &[3, 5, 2 * width], &[2, dim]],
                |x| cross_attention(x[0], x[1], Some(x[2]), shape, seen),
            );
        }
    }
}
