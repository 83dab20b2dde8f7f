//! The number of threads never changes a bit. One test: the thread count belongs to the process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

use medley_kernels::{BlockType, PackedMatrix, matmul_many, pool};

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn products_are_the_same_with_any_number_of_threads() {
    let (rows, cols) = (1000, 1024);
    for &ty in BlockType::ALL {
        // Bytes below 0x60 are finite in every float format.
        let data: Vec<u8> = (0..ty.bytes_for(rows * cols).unwrap() as u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 16) as u8 % 0x60)
            .collect();
        let packed = PackedMatrix::pack(ty, rows, cols, &data).unwrap();
        for n in [1, 2, 70] {
            let x: Vec<f32> = (0..n * cols)
                .map(|i| ((i * i) as f32 * 0.37).sin())
                .collect();
            let run = |threads| {
                pool::set_threads(threads);
                let mut outs = [vec![0.0; n * rows], vec![0.0; n * rows]];
                let [a, b] = &mut outs;
                matmul_many(&x, n, &mut [(&packed, a), (&packed, b)]);
                outs.map(|out| bits(&out))
            };
            let one = run(1);
            assert_eq!(one[0], one[1]);
            for threads in [2, 3, 5] {
                assert_eq!(run(threads), one, "{ty}, {n} rows, {threads} threads");
            }
        }
    }
}
