use super::*;
use crate::dequant::dequantize_blocks;
use crate::testing::{Random, each_isa};
use crate::{dequantize, with_isa};

/// Where the f16 scales of a block lie.
fn half_scales(ty: BlockType) -> &'static [usize] {
    match ty {
        BlockType::F32 | BlockType::BF16 | BlockType::MXFP4 => &[],
        BlockType::F16 | BlockType::Q4_0 | BlockType::Q5_0 | BlockType::Q8_0 => &[0],
        BlockType::IQ4NL | BlockType::IQ4XS => &[0],
        BlockType::Q4_1 | BlockType::Q5_1 | BlockType::Q4K | BlockType::Q5K => &[0, 2],
        BlockType::Q2K => &[80, 82],
        BlockType::Q3K => &[108],
        BlockType::Q6K => &[208],
    }
}

/// Blocks with random quants and sub-scales; the scales spread over `2^-range ..= 1`, zeros among
/// them.
fn random_weights(ty: BlockType, elements: usize, range: i32, random: &mut Random) -> Vec<u8> {
    let mut data: Vec<u8> = (0..ty.bytes_for(elements).unwrap())
        .map(|_| random.bits() as u8)
        .collect();
    let mut scale = || {
        let exponent = random.below(range as usize + 1) as i32;
        let mantissa = random.normal(1, 1.0)[0];
        if random.below(16) == 0 {
            0.0
        } else {
            mantissa * 2f32.powi(-exponent)
        }
    };
    for block in data.chunks_exact_mut(ty.block_bytes()) {
        for &at in half_scales(ty) {
            let bits = half::f16::from_f32(scale()).to_bits();
            block[at..at + 2].copy_from_slice(&bits.to_le_bytes());
        }
        match ty {
            BlockType::F32 => block.copy_from_slice(&scale().to_le_bytes()),
            BlockType::BF16 => block.copy_from_slice(&scale().to_le_bytes()[2..]),
            BlockType::MXFP4 => block[0] = 127 - block[0] % (range as u8 + 1),
            _ => {}
        }
    }
    data
}

/// Activations that 8 bits hold exactly: integers of at most 127, one of them ±127 in each block,
/// times a power of two.
fn exact_activations(n: usize, random: &mut Random) -> Vec<f32> {
    let mut x = Vec::with_capacity(n);
    while x.len() < n {
        let scale = 2f32.powi(random.below(12) as i32 - 8);
        let peak = random.below(32);
        for i in 0..32.min(n - x.len()) {
            let q = if i == peak {
                127
            } else {
                random.below(255) as i32 - 127
            };
            x.push(q as f32 * scale);
        }
    }
    x
}

fn floats(ty: BlockType, data: &[u8], elements: usize) -> Vec<f32> {
    let mut out = vec![0.0; elements];
    dequantize(ty, data, &mut out).unwrap();
    out
}

fn columns(ty: BlockType) -> [usize; 3] {
    match ty.block_len() {
        1 => [1, 77, 1100],
        len => [len, 3 * len, 1280],
    }
}

#[test]
fn products_are_the_reference_sums() {
    for &ty in BlockType::ALL {
        let mut random = Random::new(ty.ggml_id().into());
        for cols in columns(ty) {
            for (rows, n) in [(1, 1), (8, 2), (37, 1), (37, 5), (21, 13), (50, 22)] {
                let data = random_weights(ty, rows * cols, 10, &mut random);
                let w = floats(ty, &data, rows * cols);
                let x = exact_activations(n * cols, &mut random);
                let packed = PackedMatrix::pack(ty, rows, cols, &data).unwrap();
                each_isa(|| {
                    let mut out = vec![f32::NAN; n * rows];
                    packed.matmul(&x, &mut out);
                    for t in 0..n {
                        for r in 0..rows {
                            let pairs = || x[t * cols..][..cols].iter().zip(&w[r * cols..][..cols]);
                            let want: f64 =
                                pairs().map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
                            let size: f64 = pairs()
                                .map(|(&x, &w)| (f64::from(x) * f64::from(w)).abs())
                                .sum();
                            let got = f64::from(out[t * rows + r]);
                            // Minima and offsets are as large as the products that they correct.
                            assert!(
                                (got - want).abs() <= 4e-6 * size + 1e-12,
                                "{ty} {rows}x{cols}, {n} rows, {:?}: {got} not {want}",
                                isa()
                            );
                        }
                    }
                });
            }
        }
    }
}

#[test]
fn any_batch_split_gives_the_same_bits() {
    let run = |packed: &PackedMatrix, x: &[f32]| {
        let mut out = vec![f32::NAN; x.len() / packed.cols() * packed.rows()];
        packed.matmul(x, &mut out);
        out.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
    };
    for &ty in BlockType::ALL {
        let mut random = Random::new(7 + u64::from(ty.ggml_id()));
        let (rows, cols, n) = (107, 2304, 29);
        let data = random_weights(ty, rows * cols, 8, &mut random);
        let x = random.normal(n * cols, 1.0);
        let packed = PackedMatrix::pack(ty, rows, cols, &data).unwrap();
        each_isa(|| {
            let whole = run(&packed, &x);
            for part in [1, 2, 3, 4, 7, 8, 9, 10] {
                let parts: Vec<_> = x
                    .chunks(part * cols)
                    .flat_map(|x| run(&packed, x))
                    .collect();
                assert_eq!(parts, whole, "{ty} in batches of {part}, {:?}", isa());
            }
        });
    }
}

#[test]
fn instruction_sets_agree() {
    for &ty in BlockType::ALL {
        let mut random = Random::new(99 + u64::from(ty.ggml_id()));
        let (rows, cols, n) = (24, 1536, 12);
        // Scales down to f16's denormals, activations of very different sizes.
        let data = random_weights(ty, rows * cols, 24, &mut random);
        let w = floats(ty, &data, rows * cols);
        let mut x = random.normal(n * cols, 1.0);
        for (i, x) in x.chunks_exact_mut(32).enumerate() {
            let scale = [1.0, 0.0, 1e-20, 1e-40, 1e20, -3e-6][i % 6];
            x.iter_mut().for_each(|x| *x *= scale);
        }
        let packed = PackedMatrix::pack(ty, rows, cols, &data).unwrap();
        let run = |isa| {
            let mut out = vec![f32::NAN; n * rows];
            with_isa(isa, || packed.matmul(&x, &mut out));
            out
        };
        let scalar = run(Isa::Scalar);
        for &isa in Isa::ALL.iter().filter(|isa| isa.available()) {
            for (i, (a, b)) in scalar.iter().zip(&run(isa)).enumerate() {
                let size: f64 = x[i / rows * cols..][..cols]
                    .iter()
                    .zip(&w[i % rows * cols..][..cols])
                    .map(|(&x, &w)| (f64::from(x) * f64::from(w)).abs())
                    .sum();
                let error = (f64::from(*a) - f64::from(*b)).abs();
                assert!(error <= 1e-5 * size, "{ty} {isa:?} output {i}: {a} and {b}");
            }
        }
    }
}

#[test]
fn rows_come_back_exactly() {
    for &ty in BlockType::ALL {
        let mut random = Random::new(5);
        let (rows, cols) = (19, 2 * ty.block_len().max(9));
        let data = random_weights(ty, rows * cols, 10, &mut random);
        let packed = PackedMatrix::pack(ty, rows, cols, &data).unwrap();
        let row_bytes = ty.bytes_for(cols).unwrap();
        for (i, bytes) in data.chunks_exact(row_bytes).enumerate() {
            let (mut got, mut want) = (vec![f32::NAN; cols], vec![0.0; cols]);
            packed.row(i, &mut got);
            dequantize_blocks(ty, bytes, &mut want);
            assert_eq!(got, want, "{ty} row {i}");
        }
    }
}

#[test]
fn packed_size_is_the_files() {
    for &ty in BlockType::ALL {
        for (rows, cols) in [(576, 1536), (1536, 768), (256, 2048)] {
            let file = ty.bytes_for(rows * cols).unwrap();
            let packed = PackedMatrix::pack(ty, rows, cols, &vec![0; file]).unwrap();
            assert!(
                packed.bytes() * 100 <= file * 105,
                "{ty}: {} of {file}",
                packed.bytes()
            );
        }
    }
}

#[test]
fn a_large_matrix_is_consumed_in_parts() {
    let (ty, rows, cols) = (BlockType::Q8_0, 40_001, 288);
    let data = random_weights(ty, rows * cols, 255, &mut Random::new(5));
    let mut parts = Vec::new();
    let packed =
        PackedMatrix::pack_consuming(ty, rows, cols, &data, |part| parts.push(part)).unwrap();
    assert!(parts.len() > 1 && parts[0].start == 0, "{parts:?}");
    assert!(parts.windows(2).all(|two| two[0].end == two[1].start));
    assert_eq!(parts.last().unwrap().end, data.len());
    let (mut got, mut want) = (vec![0.0; cols], vec![0.0; cols]);
    for row in [0, 27_000, 29_999, rows - 1] {
        packed.row(row, &mut got);
        let bytes = data.len() / rows;
        crate::dequantize(ty, &data[row * bytes..][..bytes], &mut want).unwrap();
        assert_eq!(got, want, "row {row}");
    }
}

#[test]
fn several_matrices_share_their_activations() {
    let mut random = Random::new(11);
    let (cols, n) = (512, 3);
    let mats: Vec<_> = [
        (BlockType::Q4K, 40),
        (BlockType::F16, 9),
        (BlockType::Q8_0, 100),
    ]
    .into_iter()
    .map(|(ty, rows)| {
        let data = random_weights(ty, rows * cols, 8, &mut random);
        PackedMatrix::pack(ty, rows, cols, &data).unwrap()
    })
    .collect();
    let x = random.normal(n * cols, 1.0);
    let mut outs: Vec<_> = mats.iter().map(|m| vec![f32::NAN; n * m.rows()]).collect();
    let mut pairs: Vec<_> = mats
        .iter()
        .zip(&mut outs)
        .map(|(m, out)| (m, out.as_mut_slice()))
        .collect();
    matmul_many(&x, n, &mut pairs);
    for (m, out) in mats.iter().zip(&outs) {
        let mut alone = vec![f32::NAN; n * m.rows()];
        m.matmul(&x, &mut alone);
        assert_eq!(&alone, out, "{m:?}");
    }
}

#[test]
fn empty_and_wrong_shapes() {
    let none = PackedMatrix::pack(BlockType::Q4_0, 0, 32, &[]).unwrap();
    none.matmul(&[0.0; 32], &mut []);
    let no_columns = PackedMatrix::pack(BlockType::F32, 3, 0, &[]).unwrap();
    let mut out = [1.0; 6];
    no_columns.matmul(&[], &mut out);
    assert_eq!(out, [0.0; 6]);
    let one = PackedMatrix::pack(BlockType::F32, 1, 1, &2f32.to_le_bytes()).unwrap();
    one.matmul(&[], &mut []);
    assert_eq!(
        PackedMatrix::pack(BlockType::Q4K, 2, 128, &[0; 144]).err(),
        Some(KernelError::PartialBlock {
            ty: "Q4_K",
            count: 128,
            block: 256
        })
    );
    assert_eq!(
        PackedMatrix::pack(BlockType::Q8_0, 2, 32, &[0; 67]).err(),
        Some(KernelError::Length {
            what: "tensor data in bytes",
            expected: 68,
            got: 67
        })
    );
    assert_eq!(
        PackedMatrix::pack(BlockType::F32, usize::MAX, 2, &[]).err(),
        Some(KernelError::Overflow { what: "a matrix" })
    );
}

#[test]
fn a_nan_or_infinite_activation_is_not_hidden() {
    let mut random = Random::new(3);
    for &ty in BlockType::ALL {
        let data = random_weights(ty, 8 * 256, 3, &mut random);
        let packed = PackedMatrix::pack(ty, 8, 256, &data).unwrap();
        each_isa(|| {
            for (n, bad) in [(1, f32::NAN), (4, f32::INFINITY), (13, f32::NAN)] {
                let mut x = vec![1.0; n * 256];
                x[77] = bad;
                let mut out = vec![0.0; n * 8];
                packed.matmul(&x, &mut out);
                let (first, others) = out.split_at(8);
                let seen = |x: &f32| x.is_nan() || (bad.is_infinite() && x.is_infinite());
                assert!(
                    first.iter().all(seen),
                    "{ty} {:?}, {n} rows: {first:?}",
                    isa()
                );
                assert!(others.iter().all(|x| x.is_finite()), "{ty} {:?}", isa());
            }
        });
    }
}

#[test]
fn zeros_give_zeros() {
    let mut random = Random::new(4);
    for &ty in BlockType::ALL {
        let (rows, cols) = (17, 512);
        let mut data = random_weights(ty, rows * cols, 3, &mut random);
        let packed = PackedMatrix::pack(ty, rows, cols, &data).unwrap();
        for block in data.chunks_exact_mut(ty.block_bytes()) {
            match ty {
                BlockType::F32 | BlockType::F16 | BlockType::BF16 => block.fill(0),
                _ => half_scales(ty)
                    .iter()
                    .for_each(|&at| block[at..at + 2].fill(0)),
            }
        }
        let zero = PackedMatrix::pack(ty, rows, cols, &data).unwrap();
        each_isa(|| {
            for n in [1, 7, 12] {
                let mut out = vec![f32::NAN; n * rows];
                packed.matmul(&vec![0.0; n * cols], &mut out);
                assert!(out.iter().all(|&x| x == 0.0), "{ty} {:?}", isa());
                // The scale of MXFP4 is a power of two.
                if ty != BlockType::MXFP4 {
                    out.fill(f32::NAN);
                    zero.matmul(&vec![0.7; n * cols], &mut out);
                    assert!(out.iter().all(|&x| x == 0.0), "{ty} {:?}", isa());
                }
            }
        });
    }
}
