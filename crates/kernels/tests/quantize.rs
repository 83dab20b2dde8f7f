//! Quantisation: the plain types bit for bit beside the gguf package (`golden/make_quantize.py`), the searched types
//! by the error of the way there and back.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

use medley_kernels::{BlockType, KernelError, QuantizeError, dequantize, pool, quantize};

const CASE: &[u8] = include_bytes!("golden/quantize.bin");

fn word(at: usize) -> usize {
    u32::from_le_bytes(std::array::from_fn(|i| CASE[at + i])) as usize
}

fn quantized(ty: BlockType, values: &[f32]) -> Vec<u8> {
    let mut out = vec![0xa5; ty.bytes_for(values.len()).unwrap()];
    quantize(ty, values, &mut out).unwrap();
    out
}

fn round_trip(ty: BlockType, values: &[f32]) -> Vec<f32> {
    let mut back = vec![f32::NAN; values.len()];
    dequantize(ty, &quantized(ty, values), &mut back).unwrap();
    back
}

/// Standard normal numbers (Box and Muller) out of a counter.
fn gaussian(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut uniform = || {
        // SplitMix64, https://prng.di.unimi.it/splitmix64.c
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    };
    (0..count)
        .map(|_| {
            let (radius, angle) = (
                (-2.0 * uniform().ln()).sqrt(),
                std::f64::consts::TAU * uniform(),
            );
            (radius * angle.cos()) as f32
        })
        .collect()
}

fn rmse(a: &[f32], b: &[f32]) -> f64 {
    let sum: f64 = a
        .iter()
        .zip(b)
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
        .sum();
    (sum / a.len() as f64).sqrt()
}

#[test]
fn plain_types_have_the_reference_bits() {
    let (mut at, mut seen) = (0, 0);
    while at < CASE.len() {
        let (id, count, bytes) = (word(at), word(at + 4), word(at + 8));
        let ty = BlockType::from_ggml(id as u32).unwrap();
        let (values, data) = CASE[at + 12..at + 12 + count * 4 + bytes].split_at(count * 4);
        let values: Vec<f32> = values
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect();
        let found = quantized(ty, &values);
        let size = ty.block_bytes();
        for (i, (found, want)) in found.chunks(size).zip(data.chunks(size)).enumerate() {
            assert_eq!(found, want, "{ty} block {i}");
        }
        seen += 1;
        at += 12 + count * 4 + bytes;
    }
    assert_eq!(seen, 7);
}

/// Type, and the most that standard normal numbers may err by (root mean square).
///
/// For the plain types that is the error of the definition, with a margin of 1 % for the draw. For the searched ones it
/// is what ggml's own quantisers leave on 2^18 such numbers (`ggml_quantize_chunk` of ggml 0.25.3, without importances).
const BOUNDS: &[(BlockType, f64)] = &[
    (BlockType::F32, 0.0),
    (BlockType::F16, 0.000_22),
    (BlockType::BF16, 0.001_7),
    (BlockType::Q8_0, 0.005_41),
    (BlockType::Q5_1, 0.038_2),
    (BlockType::Q5_0, 0.043_2),
    (BlockType::Q4_1, 0.079_0),
    (BlockType::Q4_0, 0.086_9),
    (BlockType::Q6K, 0.017_74),
    (BlockType::Q5K, 0.036_11),
    (BlockType::Q4K, 0.071_42),
    (BlockType::Q3K, 0.150_87),
    (BlockType::Q2K, 0.296_57),
    (BlockType::IQ4NL, 0.076_12),
    (BlockType::IQ4XS, 0.076_71),
    (BlockType::MXFP4, 0.115_19),
];

#[test]
fn gaussian_numbers_come_back_within_bounds() {
    let values = gaussian(1 << 16, 7);
    for &(ty, bound) in BOUNDS {
        let error = rmse(&values, &round_trip(ty, &values));
        println!("{ty}: {error:.5}");
        assert!(error <= bound, "{ty} errs by {error:.5}, more than {bound}");
    }
    assert_eq!(BOUNDS.len(), BlockType::ALL.len());
}

#[test]
fn the_scale_of_the_numbers_does_not_change_the_codes() {
    let values = gaussian(1 << 12, 3);
    for ty in [
        BlockType::Q4K,
        BlockType::Q3K,
        BlockType::Q6K,
        BlockType::IQ4NL,
    ] {
        let plain = rmse(&values, &round_trip(ty, &values));
        let small: Vec<f32> = values.iter().map(|v| v * 0.015625).collect();
        let scaled = rmse(&small, &round_trip(ty, &small)) * 64.0;
        assert!(
            (scaled / plain - 1.0).abs() < 0.02,
            "{ty}: {scaled} and {plain}"
        );
    }
}

/// Blocks of every awkward kind.
fn awkward() -> Vec<Vec<f32>> {
    let ramp: Vec<f32> = (0..256).map(|i| i as f32 - 100.0).collect();
    let spread = |scale: f32| {
        gaussian(256, 9)
            .iter()
            .map(|v| v * scale)
            .collect::<Vec<_>>()
    };
    let mut one = vec![0.0; 256];
    one[17] = -3.0;
    let mut mixed = spread(1e-3);
    mixed[..32].fill(0.0);
    mixed[40] = 1e30;
    let alternating = |v: f32| {
        (0..256)
            .map(|i| if i % 2 == 0 { v } else { -v })
            .collect::<Vec<f32>>()
    };
    vec![
        vec![0.0; 256],
        vec![-0.0; 256],
        vec![1.0; 256],
        vec![-1.0; 256],
        vec![0.1; 256],
        vec![f32::MAX; 256],
        vec![f32::MIN; 256],
        vec![f32::MIN_POSITIVE; 256],
        vec![f32::from_bits(1); 256],
        vec![-f32::from_bits(12345); 256],
        alternating(f32::MAX),
        alternating(f32::from_bits(7)),
        alternating(65_504.0),
        ramp.iter().map(|v| v * 1e36).collect(),
        ramp.iter().map(|v| v * 1e-40).collect(),
        ramp,
        one,
        mixed,
        spread(1e5),
        spread(1e10),
        spread(1e-6),
        spread(1e-20),
        spread(1e-39),
    ]
}

#[test]
fn every_finite_block_comes_back_finite_and_not_larger() {
    for (i, values) in awkward().into_iter().enumerate() {
        let max = values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        for &ty in BlockType::ALL {
            let back = round_trip(ty, &values);
            for (at, (v, b)) in values.iter().zip(&back).enumerate() {
                assert!(
                    b.is_finite(),
                    "{ty} case {i} element {at}: {v} came back as {b}"
                );
                // Half a step of the coarsest grid beyond the extreme, plus a half's smallest steps.
                let allowed = f64::from(max) * 1.34 + 1e-4;
                assert!(
                    f64::from(b.abs()) <= allowed,
                    "{ty} case {i} element {at}: {v} became {b}"
                );
            }
            if max == 0.0 {
                assert!(
                    back.iter().all(|b| *b == 0.0),
                    "{ty}: zeros must stay zeros"
                );
            }
        }
    }
}

#[test]
fn constants_come_back_closely() {
    for value in [1.0f32, -1.0, 0.1, -0.37, 250.0] {
        for &ty in BlockType::ALL {
            let back = round_trip(ty, &[value; 256]);
            let close = if ty == BlockType::MXFP4 { 0.2 } else { 0.01 };
            for b in back {
                assert!((b / value - 1.0).abs() < close, "{ty}: {value} became {b}");
            }
        }
    }
}

#[test]
fn what_is_on_the_grid_stays() {
    // Codes of a searched type come back as they are: quantising twice changes nothing more.
    let values = gaussian(1 << 12, 21);
    for &ty in BlockType::ALL {
        let once = round_trip(ty, &values);
        let twice = round_trip(ty, &once);
        let (first, second) = (rmse(&values, &once), rmse(&once, &twice));
        assert!(
            second <= first * 0.35 + 1e-7,
            "{ty}: {second} after {first}"
        );
    }
}

#[test]
fn numbers_that_are_none_and_wrong_lengths_are_refused() {
    for &ty in BlockType::ALL {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = gaussian(1 << 15, 5);
            values[20_001] = bad;
            values[30_000] = bad;
            let mut out = vec![7; ty.bytes_for(values.len()).unwrap()];
            assert_eq!(
                quantize(ty, &values, &mut out),
                Err(QuantizeError::NotFinite { index: 20_001 })
            );
            assert!(out.iter().all(|&b| b == 7), "{ty} wrote all the same");
        }
    }
    assert_eq!(
        quantize(BlockType::Q4K, &[0.0; 32], &mut [0; 144]),
        Err(QuantizeError::Kernel(KernelError::PartialBlock {
            ty: "Q4_K",
            count: 32,
            block: 256
        }))
    );
    assert_eq!(
        quantize(BlockType::Q8_0, &[0.0; 32], &mut [0; 33]),
        Err(QuantizeError::Kernel(KernelError::Length {
            what: "tensor data in bytes",
            expected: 34,
            got: 33
        }))
    );
    assert_eq!(quantize(BlockType::Q6K, &[], &mut []), Ok(()));
}

#[test]
fn threads_do_not_change_the_blocks() {
    let values = gaussian(1 << 16, 11);
    for &ty in BlockType::ALL {
        pool::set_threads(1);
        let one = quantized(ty, &values);
        pool::set_threads(4);
        assert_eq!(quantized(ty, &values), one, "{ty}");
        pool::set_threads(0);
    }
}
