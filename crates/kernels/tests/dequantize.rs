//! Dequantisation beside the reference implementation of the format (`golden/make.py`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

use medley_kernels::{BlockType, KernelError, dequantize};

const CASE: &[u8] = include_bytes!("golden/dequantize.bin");

fn word(at: usize) -> usize {
    u32::from_le_bytes(std::array::from_fn(|i| CASE[at + i])) as usize
}

#[test]
fn every_type_gives_the_reference_bits() {
    let mut at = 0;
    let mut seen = Vec::new();
    while at < CASE.len() {
        let (id, blocks, bytes, floats) = (word(at), word(at + 4), word(at + 8), word(at + 12));
        let ty = BlockType::from_ggml(id as u32).unwrap();
        assert_eq!(floats, blocks * ty.block_len(), "{ty}");
        let data = &CASE[at + 16..at + 16 + bytes];
        let values = &CASE[at + 16 + bytes..at + 16 + bytes + floats * 4];
        let mut out = vec![f32::NAN; floats];
        dequantize(ty, data, &mut out).unwrap();
        for (i, (got, want)) in out.iter().zip(values.chunks_exact(4)).enumerate() {
            let want = f32::from_le_bytes(want.try_into().unwrap());
            assert_eq!(
                got.to_bits(),
                want.to_bits(),
                "{ty} element {i}: {got} != {want}"
            );
        }
        seen.push(ty);
        at += 16 + bytes + floats * 4;
    }
    for ty in BlockType::ALL {
        assert!(seen.contains(ty), "{ty} has no case");
    }
}

#[test]
fn wrong_lengths_are_refused() {
    let mut out = [0.0; 32];
    assert_eq!(
        dequantize(BlockType::Q8_0, &[0; 33], &mut out),
        Err(KernelError::Length {
            what: "tensor data in bytes",
            expected: 34,
            got: 33
        })
    );
    assert_eq!(
        dequantize(BlockType::Q4K, &[0; 18], &mut out),
        Err(KernelError::PartialBlock {
            ty: "Q4_K",
            count: 32,
            block: 256
        })
    );
    assert_eq!(dequantize(BlockType::Q4_0, &[], &mut []), Ok(()));
}
