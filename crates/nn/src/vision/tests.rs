use std::sync::Arc;

use candle_core::{Device, Tensor, Var};
use medley_kernels as kernels;
use medley_kernels::Activation;
use medley_testkit::fill::fill;
use medley_testkit::{Tolerance, check_close};

use super::*;

fn tensor(name: &str, shape: &[usize]) -> Tensor {
    let values = fill(name, shape.iter().product(), 0.0, 1.0);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn vars(what: &str, shapes: &[&[usize]]) -> Vec<Var> {
    let var = |(i, shape): (usize, &&[usize])| {
        Var::from_tensor(&tensor(&format!("{what}.{i}"), shape)).unwrap()
    };
    shapes.iter().enumerate().map(var).collect()
}

fn values(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// A scalar whose gradient at `y` is a tensor of all kinds of numbers.
fn loss(y: &Tensor) -> Tensor {
    let weights = tensor("loss", y.dims());
    (y * weights).unwrap().sum_all().unwrap()
}

/// Holds `f` against `plain` (value and gradient of every operand) and its gradients against differences of its values.
fn hold(
    what: &str,
    shapes: &[&[usize]],
    f: impl Fn(&[&Tensor]) -> Result<Tensor>,
    plain: impl Fn(&[&Tensor]) -> Result<Tensor>,
) {
    let vars = vars(what, shapes);
    let operands: Vec<&Tensor> = vars.iter().map(|v| v.as_tensor()).collect();
    let (found, expected) = (f(&operands).unwrap(), plain(&operands).unwrap());
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let tolerance = Tolerance::new(2e-5, 2e-5);
    check_close(what, &values(&found), &values(&expected), tolerance).unwrap();
    assert!(found.track_op(), "{what} drops gradients");
    let (found, expected) = (
        loss(&found).backward().unwrap(),
        loss(&expected).backward().unwrap(),
    );
    for (i, var) in vars.iter().enumerate() {
        let label = format!("{what}: gradient of operand {i}");
        let found = values(found.get(var).expect(&label));
        let expected = values(expected.get(var).expect(&label));
        let largest = expected.iter().fold(1.0f32, |m, x| m.max(x.abs()));
        let tolerance = Tolerance::absolute(5e-5 * largest);
        check_close(&label, &found, &expected, tolerance).unwrap();
        differences(&label, &operands, i, &found, &f);
    }
}

/// Central differences along a few directions of operand `i`.
fn differences(
    label: &str,
    operands: &[&Tensor],
    i: usize,
    gradient: &[f32],
    f: &impl Fn(&[&Tensor]) -> Result<Tensor>,
) {
    let step = 1e-2;
    let at = |sign: f64, direction: &Tensor| -> f64 {
        let moved = (operands[i].detach() + (direction * (sign * step)).unwrap()).unwrap();
        let mut all = operands.to_vec();
        all[i] = &moved;
        let y = f(&all).unwrap();
        let weights = fill("loss", y.elem_count(), 0.0, 1.0);
        values(&y)
            .iter()
            .zip(weights)
            .map(|(y, w)| f64::from(*y) * f64::from(w))
            .sum()
    };
    for k in 0..2 {
        let direction = tensor(&format!("direction.{k}"), operands[i].dims());
        let expected = (at(1.0, &direction) - at(-1.0, &direction)) / (2.0 * step);
        let found: f64 = values(&direction)
            .iter()
            .zip(gradient)
            .map(|(d, g)| f64::from(*d) * f64::from(*g))
            .sum();
        let norm: f64 = gradient
            .iter()
            .map(|g| f64::from(g * g))
            .sum::<f64>()
            .sqrt();
        assert!(
            (found - expected).abs() <= 1e-2 * norm.max(0.3),
            "{label}: {found} along a direction where values differ by {expected}"
        );
    }
}

#[test]
fn convolutions_are_those_of_candle() {
    for (size, channels, kernel, stride, padding) in [
        ([7, 6], [3, 5], 3, 1, 1),
        ([8, 6], [4, 2], 4, 2, 1),
        ([5, 5], [6, 7], 1, 1, 0),
        ([9, 7], [2, 3], 3, 2, 0),
    ] {
        let [inputs, out] = channels;
        let x = [2, size[0], size[1], inputs];
        let shape = kernels::Conv2d {
            batch: 2,
            height: size[0],
            width: size[1],
            in_channels: inputs,
            out_channels: out,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
        };
        hold(
            "conv2d",
            &[&x, &[out, inputs, kernel, kernel], &[out]],
            |x| conv2d(x[0], x[1], Some(x[2]), stride, padding),
            |x| conv::plain(x[0], x[1], Some(x[2]), &shape, false),
        );
        if stride == 1 {
            hold(
                "conv2d as a product",
                &[&x, &[out, inputs, kernel, kernel], &[out]],
                |x| conv2d(x[0], x[1], Some(x[2]), stride, padding),
                |x| conv::as_product(x[0], x[1], Some(x[2]), &shape),
            );
        }
        hold(
            "conv2d without bias",
            &[&x, &[out, inputs, kernel, kernel]],
            |x| conv2d(x[0], x[1], None, stride, padding),
            |x| conv::plain(x[0], x[1], None, &shape, false),
        );
        hold(
            "conv_transpose2d",
            &[&x, &[inputs, out, kernel, kernel], &[out]],
            |x| conv_transpose2d(x[0], x[1], Some(x[2]), stride, padding),
            |x| conv::plain(x[0], x[1], Some(x[2]), &shape, true),
        );
    }
}

/// Where strides do not meet the border candle's own backward pass fails, so the gradients are held against
/// differences alone.
#[test]
fn convolutions_that_leave_a_rest_have_their_gradients() {
    let vars = vars("rest", &[&[2, 5, 8, 3], &[4, 3, 4, 4], &[4]]);
    let operands: Vec<&Tensor> = vars.iter().map(|v| v.as_tensor()).collect();
    let f = |x: &[&Tensor]| conv2d(x[0], x[1], Some(x[2]), 3, 1);
    let y = f(&operands).unwrap();
    assert_eq!(y.dims(), &[2, 2, 3, 4]);
    let gradients = loss(&y).backward().unwrap();
    for (i, var) in vars.iter().enumerate() {
        let label = format!("operand {i}");
        differences(
            &label,
            &operands,
            i,
            &values(gradients.get(var).unwrap()),
            &f,
        );
    }
}

#[test]
fn a_weight_alone_gets_its_gradient() {
    let image = tensor("image", &[1, 5, 5, 2]);
    let weight = vars("weight", &[&[3, 2, 3, 3]]).remove(0);
    let y = conv2d(&image, weight.as_tensor(), None, 1, 1).unwrap();
    let gradients = loss(&y).backward().unwrap();
    assert!(gradients.get(&weight).is_some());
    assert!(gradients.get(&image).is_none());
}

#[test]
fn impossible_convolutions_are_refused() {
    let x = tensor("x", &[1, 2, 2, 3]);
    let w = tensor("w", &[4, 3, 5, 5]);
    assert!(
        conv2d(&x, &w, None, 1, 1)
            .unwrap_err()
            .to_string()
            .contains("does not fit")
    );
    assert!(conv2d(&x, &w, None, 0, 2).is_err());
    assert!(conv2d(&x, &tensor("w", &[4, 2, 3, 3]), None, 1, 1).is_err());
    assert!(conv2d(&x, &w, Some(&tensor("b", &[3])), 1, 2).is_err());
    assert!(conv_transpose2d(&x, &tensor("w", &[3, 4, 2, 2]), None, 1, 9).is_err());
    assert!(conv2d(&tensor("x", &[2, 3]), &w, None, 1, 1).is_err());
}

#[test]
fn norms_are_those_of_candle() {
    for (channels, groups) in [(8, 2), (6, 6), (20, 1)] {
        let shape = kernels::GroupNorm {
            batch: 2,
            channels,
            groups,
            eps: 1e-5,
        };
        hold(
            "group_norm",
            &[&[2, 3, 4, channels], &[channels], &[channels]],
            |x| group_norm(x[0], x[1], x[2], groups, 1e-5),
            |x| norm::plain_group_norm(x[0], x[1], x[2], &shape),
        );
    }
    let all = kernels::GroupNorm {
        batch: 1,
        channels: 5,
        groups: 5,
        eps: 1e-5,
    };
    hold(
        "batch_norm",
        &[&[3, 2, 2, 5], &[5], &[5]],
        |x| batch_norm(x[0], x[1], x[2], 1e-5),
        |x| {
            let y = norm::plain_group_norm(&x[0].reshape((1, 12, 5))?, x[1], x[2], &all)?;
            Ok(y.reshape((3, 2, 2, 5))?)
        },
    );
    hold(
        "modulated_layer_norm",
        &[&[3, 4, 20], &[3, 20], &[3, 20]],
        |x| modulated_layer_norm(x[0], x[1], x[2], 1e-6),
        |x| norm::plain_modulated(x[0], x[1], x[2], 1e-6),
    );
    assert!(
        group_norm(
            &tensor("x", &[1, 2, 2, 6]),
            &tensor("w", &[6]),
            &tensor("b", &[6]),
            4,
            1e-5
        )
        .is_err()
    );
}

#[test]
fn pointwise_operations_are_those_of_candle() {
    for act in [
        Activation::Silu,
        Activation::GeluTanh,
        Activation::Gelu,
        Activation::Tanh,
    ] {
        hold(
            "activation",
            &[&[3, 5, 7]],
            |x| activation(act, x[0]),
            |x| crate::tensor::activate(act, x[0]),
        );
    }
    // Differences straddle the corner of the function, so only the values and candle's gradients are held there.
    let x = &vars("leaky", &[&[4, 9], &[9]]);
    let y = leaky_relu_bias(&x[0], &x[1], 0.2, 1.5).unwrap();
    let plain = pointwise::plain_leaky(&x[0].broadcast_add(&x[1]).unwrap(), 0.2).unwrap();
    let plain = (plain * 1.5).unwrap();
    let tolerance = Tolerance::absolute(1e-5);
    check_close("leaky_relu_bias", &values(&y), &values(&plain), tolerance).unwrap();
    let (found, expected) = (
        loss(&y).backward().unwrap(),
        loss(&plain).backward().unwrap(),
    );
    for x in x {
        let (found, expected) = (
            values(found.get(x).unwrap()),
            values(expected.get(x).unwrap()),
        );
        check_close("leaky_relu_bias", &found, &expected, tolerance).unwrap();
    }
    let far = (tensor("far", &[4, 5]).sign().unwrap() + tensor("far", &[4, 5])).unwrap();
    let far = Var::from_tensor(&far).unwrap();
    let y = leaky_relu(&far, 0.1).unwrap();
    let plain = pointwise::plain_leaky(&far, 0.1).unwrap();
    check_close("leaky_relu", &values(&y), &values(&plain), tolerance).unwrap();
    let (found, expected) = (
        loss(&y).backward().unwrap(),
        loss(&plain).backward().unwrap(),
    );
    let (found, expected) = (
        values(found.get(&far).unwrap()),
        values(expected.get(&far).unwrap()),
    );
    check_close("leaky_relu", &found, &expected, tolerance).unwrap();
    hold(
        "scale_channels",
        &[&[2, 3, 4, 6], &[2, 6]],
        |x| scale_channels(x[0], x[1]),
        |x| pointwise::plain_scale(x[0], x[1]),
    );
    hold(
        "add_gated",
        &[&[2, 3, 6], &[2, 3, 6], &[2, 6]],
        |x| add_gated(x[0], x[1], x[2]),
        |x| pointwise::plain_gated(x[0], x[1], x[2]),
    );
}

#[test]
fn images_change_their_size_as_in_pytorch() {
    let x: &[usize] = &[2, 4, 6, 3];
    let candle = |x: &Tensor, f: &dyn Fn(&Tensor) -> Candle<Tensor>| -> Result<Tensor> {
        channels_last(&f(&channels_first(x)?)?)
    };
    hold(
        "upsample_nearest",
        &[x],
        |x| upsample_nearest(x[0], 2),
        |x| candle(x[0], &|x| x.upsample_nearest2d(8, 12)),
    );
    hold(
        "average_pool",
        &[x],
        |x| average_pool(x[0], 2),
        |x| candle(x[0], &|x| x.avg_pool2d(2)),
    );
    hold(
        "upsample_bilinear",
        &[x],
        |x| upsample_bilinear(x[0], 2),
        |x| resize::plain_bilinear(x[0], 2),
    );
    // candle has no backward pass for it, but the same values.
    let x = tensor("image", &[2, 4, 6, 3]);
    let y = candle(&x, &|x| x.upsample_bilinear2d(8, 12, false)).unwrap();
    let found = values(&upsample_bilinear(&x, 2).unwrap());
    check_close("bilinear", &found, &values(&y), Tolerance::absolute(1e-5)).unwrap();
    let y = pixel_unshuffle(&x, 2).unwrap();
    assert_eq!(y.dims(), &[2, 2, 3, 12]);
    // Channel 1, second row and first column of its block.
    let (found, expected) = (y.get(0).unwrap(), x.get(0).unwrap());
    let one = |t: &Tensor, at: [usize; 3]| -> f32 {
        t.get(at[0])
            .unwrap()
            .get(at[1])
            .unwrap()
            .get(at[2])
            .unwrap()
            .to_scalar()
            .unwrap()
    };
    assert_eq!(one(&found, [1, 2, 4 + 2]), one(&expected, [3, 4, 1]));
    assert!(pixel_unshuffle(&x, 4).is_err());
    assert!(average_pool(&x, 5).is_err());
}

#[test]
fn attention_is_that_of_candle() {
    let heads = Heads {
        heads: 3,
        dim: 8,
        eps: 1e-6,
    };
    let angles = Arc::new(Angles::grid(2, 3, 2, 8, 100.0).unwrap());
    for (lengths, split, turning) in [
        (None, None, false),
        (Some(vec![8, 6]), Some(6), true),
        (None, Some(6), true),
        (Some(vec![7, 7]), None, true),
    ] {
        let angles = turning.then_some(&angles);
        let norms: &[usize] = if split.is_some() { &[4, 8] } else { &[2, 8] };
        let op = || {
            attend::Attend::new(heads, 2, [8, 8], angles, split, lengths.as_deref(), true).unwrap()
        };
        let plain = |qkv: &Tensor, norms: Option<&Tensor>| {
            let part = |i: usize| qkv.narrow(2, i * 24, 24).unwrap();
            op().plain(&part(0), &part(1), &part(2), norms)
        };
        hold(
            "self_attention",
            &[&[2, 8, 72], norms],
            |x| self_attention(x[0], Some(x[1]), heads, angles, split, lengths.as_deref()),
            |x| plain(x[0], Some(x[1])),
        );
        hold(
            "self_attention without norms",
            &[&[2, 8, 72]],
            |x| self_attention(x[0], None, heads, angles, split, lengths.as_deref()),
            |x| plain(x[0], None),
        );
    }
    for lengths in [None, Some(vec![5, 2, 0])] {
        let op = || {
            attend::Attend::new(heads, 3, [4, 5], None, None, lengths.as_deref(), false).unwrap()
        };
        let plain = |q: &Tensor, kv: &Tensor, norms: Option<&Tensor>| {
            let part = |i: usize| kv.narrow(2, i * 24, 24).unwrap();
            op().plain(q, &part(0), &part(1), norms)
        };
        hold(
            "cross_attention",
            &[&[3, 4, 24], &[3, 5, 48], &[2, 8]],
            |x| cross_attention(x[0], x[1], Some(x[2]), heads, lengths.as_deref()),
            |x| plain(x[0], x[1], Some(x[2])),
        );
        hold(
            "cross_attention without norms",
            &[&[3, 4, 24], &[3, 5, 48]],
            |x| cross_attention(x[0], x[1], None, heads, lengths.as_deref()),
            |x| plain(x[0], x[1], None),
        );
    }
    assert!(
        cross_attention(
            &tensor("q", &[1, 2, 24]),
            &tensor("kv", &[1, 2, 48]),
            None,
            heads,
            Some(&[3])
        )
        .is_err()
    );
}

#[test]
fn a_sample_does_not_depend_on_the_others() {
    let heads = Heads {
        heads: 2,
        dim: 4,
        eps: 1e-6,
    };
    let (q, kv) = (tensor("q", &[3, 5, 8]), tensor("kv", &[3, 6, 16]));
    let all = cross_attention(&q, &kv, None, heads, Some(&[6, 3, 3])).unwrap();
    for (i, n) in [6, 3, 3].into_iter().enumerate() {
        let one = |x: &Tensor| x.narrow(0, i, 1).unwrap();
        let alone = cross_attention(
            &one(&q),
            &one(&kv).narrow(1, 0, n).unwrap(),
            None,
            heads,
            None,
        );
        assert_eq!(values(&alone.unwrap()), values(&one(&all)));
    }
}

#[test]
fn layers_made_from_variables_are_trained() {
    let shapes: [(&str, &[usize]); 4] = [
        ("c.weight", &[4, 3, 3, 3]),
        ("c.bias", &[4]),
        ("l.weight", &[6, 4]),
        ("l.bias", &[6]),
    ];
    let vars: crate::weights::Vars = shapes
        .iter()
        .map(|(name, shape)| {
            (
                (*name).to_owned(),
                Var::from_tensor(&tensor(name, shape)).unwrap(),
            )
        })
        .collect();
    let weights = crate::Weights::from_vars(vars.clone(), &Device::Cpu);
    let conv = Conv2d::new(&weights, "c", [3, 4], 3).unwrap();
    let parts = [0..2, 2..6].map(|rows| weights.linear_rows("l", 6, rows, 4).unwrap());
    let y = conv.forward(&tensor("x", &[1, 4, 4, 3])).unwrap();
    let y = Tensor::cat(&parts.map(|l| l.forward(&y).unwrap()), 3).unwrap();
    let gradients = loss(&y).backward().unwrap();
    for (name, var) in &vars {
        let gradient = gradients
            .get(var)
            .unwrap_or_else(|| panic!("{name} has no gradient"));
        assert_eq!(gradient.dims(), var.dims(), "{name}");
        assert!(values(gradient).iter().all(|g| *g != 0.0), "{name}");
    }
    assert!(weights.unused().is_empty());
}
