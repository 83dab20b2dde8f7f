use super::*;
use crate::testing::{Random, assert_close, each_isa};

const SHAPES: [Conv2d; 14] = [
    shape([1, 4, 4, 0, 3], [3, 3], [1, 1], [1, 1]),
    shape([1, 4, 4, 3, 0], [3, 3], [1, 1], [1, 1]),
    shape([2, 5, 7, 3, 4], [1, 1], [1, 1], [0, 0]),
    shape([1, 6, 6, 5, 7], [3, 3], [1, 1], [1, 1]),
    shape([2, 9, 8, 4, 6], [3, 3], [2, 2], [1, 1]),
    shape([1, 7, 9, 2, 3], [4, 2], [3, 1], [2, 0]),
    shape([1, 5, 5, 3, 2], [1, 1], [2, 2], [0, 0]),
    shape([1, 20, 19, 17, 33], [3, 3], [1, 1], [1, 1]),
    shape([1, 3, 3, 2, 2], [5, 5], [1, 1], [0, 0]),
    shape([1, 4, 4, 2, 2], [2, 2], [4, 3], [0, 3]),
    shape([1, 6, 5, 150, 3], [3, 3], [1, 2], [1, 1]),
    // Large enough for fewer products, with sides that tiles do not fill.
    shape([2, 11, 13, 20, 35], [3, 3], [1, 1], [1, 1]),
    shape([1, 16, 15, 16, 16], [3, 3], [1, 1], [0, 2]),
    shape([1, 14, 14, 33, 18], [3, 3], [1, 1], [1, 1]),
];

const fn shape(
    [batch, height, width, in_channels, out_channels]: [usize; 5],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> Conv2d {
    Conv2d {
        batch,
        height,
        width,
        in_channels,
        out_channels,
        kernel,
        stride,
        padding,
    }
}

/// Calls `f` with the indices of output, input and weight of every product.
fn products(c: &Conv2d, mut f: impl FnMut(usize, usize, usize)) {
    let (rows, cols) = (c.out_height(), c.out_width());
    for b in 0..c.batch {
        for (i, j) in (0..rows).flat_map(|i| (0..cols).map(move |j| (i, j))) {
            for (u, v) in (0..c.kernel[0]).flat_map(|u| (0..c.kernel[1]).map(move |v| (u, v))) {
                let y = (i * c.stride[0] + u).wrapping_sub(c.padding[0]);
                let x = (j * c.stride[1] + v).wrapping_sub(c.padding[1]);
                if y >= c.height || x >= c.width {
                    continue;
                }
                for o in 0..c.out_channels {
                    for k in 0..c.in_channels {
                        f(
                            ((b * rows + i) * cols + j) * c.out_channels + o,
                            ((b * c.height + y) * c.width + x) * c.in_channels + k,
                            ((o * c.kernel[0] + u) * c.kernel[1] + v) * c.in_channels + k,
                        );
                    }
                }
            }
        }
    }
}

struct Case {
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    dy: Vec<f32>,
}

fn case(random: &mut Random, c: &Conv2d, scale: f32) -> Case {
    let image = c.batch * c.height * c.width * c.in_channels;
    Case {
        x: random.normal(image, scale),
        weight: random.normal(c.out_channels * c.taps() * c.in_channels, 1.0),
        bias: random.normal(c.out_channels, scale),
        dy: random.normal(c.positions() * c.out_channels, 1.0),
    }
}

#[test]
fn matches_double_precision() {
    let mut random = Random::new(1);
    for c in &SHAPES {
        for scale in [1.0, 0.0, 1e-20, 1e15] {
            let t = case(&mut random, c, scale);
            let wide = |x: &[f32]| -> Vec<f64> { x.iter().map(|&x| f64::from(x)).collect() };
            let mut want = vec![0.0; t.dy.len()];
            products(c, |y, x, w| {
                want[y] += f64::from(t.x[x]) * f64::from(t.weight[w])
            });
            let plain = want.clone();
            for (want, &b) in want.iter_mut().zip(wide(&t.bias).iter().cycle()) {
                *want += b;
            }
            let tolerance = 2e-5 * f64::from(scale);
            each_isa(|| {
                let mut y = vec![f32::NAN; t.dy.len()];
                conv2d(c, &t.x, &t.weight, Some(&t.bias), &mut y);
                assert_close(&y, &want, 1e-5, tolerance);
                conv2d(c, &t.x, &t.weight, None, &mut y);
                assert_close(&y, &plain, 1e-5, tolerance);
            });
        }
    }
}

#[test]
fn gradients_match_double_precision() {
    let mut random = Random::new(2);
    for c in &SHAPES {
        let t = case(&mut random, c, 1.0);
        let mut dx = vec![0.0; t.x.len()];
        let (mut dw, mut db) = (vec![0.5; t.weight.len()], vec![0.25; t.bias.len()]);
        products(c, |y, x, w| {
            let dy = f64::from(t.dy[y]);
            dx[x] += dy * f64::from(t.weight[w]);
            dw[w] += dy * f64::from(t.x[x]);
        });
        for (i, &dy) in t.dy.iter().enumerate() {
            db[i % c.out_channels] += f64::from(dy);
        }
        each_isa(|| {
            let mut got = vec![f32::NAN; t.x.len()];
            conv2d_backward_input(c, &t.weight, &t.dy, &mut got);
            assert_close(&got, &dx, 1e-5, 5e-5);
            let (mut got, mut bias) = (vec![0.5; t.weight.len()], vec![0.25; t.bias.len()]);
            conv2d_backward_weight(c, &t.x, &t.dy, &mut got, Some(&mut bias));
            assert_close(&got, &dw, 1e-5, 5e-5);
            assert_close(&bias, &db, 1e-5, 5e-5);
        });
    }
}

#[test]
fn an_image_does_not_depend_on_the_others() {
    let mut random = Random::new(3);
    for stride in [1, 2] {
        alone(
            &mut random,
            shape([3, 15, 17, 20, 24], [3, 3], [stride, stride], [1, 1]),
        );
    }
}

fn alone(random: &mut Random, c: Conv2d) {
    let t = case(random, &c, 1.0);
    let one = Conv2d { batch: 1, ..c };
    each_isa(|| {
        let mut all = vec![0.0; t.dy.len()];
        conv2d(&c, &t.x, &t.weight, Some(&t.bias), &mut all);
        let mut all_dx = vec![0.0; t.x.len()];
        conv2d_backward_input(&c, &t.weight, &t.dy, &mut all_dx);
        for b in 0..3 {
            let (n, m) = (t.x.len() / 3, t.dy.len() / 3);
            let (x, dy) = (&t.x[b * n..(b + 1) * n], &t.dy[b * m..(b + 1) * m]);
            let mut y = vec![0.0; m];
            conv2d(&one, x, &t.weight, Some(&t.bias), &mut y);
            assert_eq!(y, all[b * m..(b + 1) * m]);
            let mut dx = vec![0.0; n];
            conv2d_backward_input(&one, &t.weight, dy, &mut dx);
            assert_eq!(dx, all_dx[b * n..(b + 1) * n]);
        }
    });
}
