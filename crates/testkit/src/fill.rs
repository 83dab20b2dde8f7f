//! Weights from tensor names: the Rust half of `golden/fill.py`, which states the formula.
//!
//! The stream of a name is counter-based: element `i` depends on the name and `i` alone, so a tensor
//! can be filled in any order and a part of it without the rest. The mixer is splitmix64 (Steele,
//! Lea, Flood: *Fast splittable pseudorandom number generators*, 2014) over an FNV-1a key.

const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// 64-bit FNV-1a of the UTF-8 bytes of `name`: the key of its stream.
pub fn key(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    })
}

/// The `index`-th 64-bit word of the stream with this `key`.
pub fn word(key: u64, index: u64) -> u64 {
    let z = key.wrapping_add(index.wrapping_add(1).wrapping_mul(GOLDEN_GAMMA));
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Uniform in [-1, 1) from the 24 high bits of a word; exact in f32.
fn unit(word: u64) -> f32 {
    ((word >> 40) as i32 - (1 << 23)) as f32 * (1.0 / 8_388_608.0)
}

/// Writes the first `out.len()` elements of the tensor `name`, uniform in
/// [`mean - scale`, `mean + scale`).
pub fn fill_into(name: &str, mean: f32, scale: f32, out: &mut [f32]) {
    let key = key(name);
    for (index, value) in out.iter_mut().enumerate() {
        *value = mean + scale * unit(word(key, index as u64));
    }
}

/// The first `count` elements of the tensor `name`, as [`fill_into`].
pub fn fill(name: &str, count: usize, mean: f32, scale: f32) -> Vec<f32> {
    let mut out = vec![0.0; count];
    fill_into(name, mean, scale, &mut out);
    out
}

/// `count` ids below `below` from the stream of `name`: the 32 high bits of each word, modulo
/// `below` (which must not be 0).
pub fn ids(name: &str, count: usize, below: u32) -> Vec<u32> {
    let key = key(name);
    (0..count as u64)
        .map(|index| (word(key, index) >> 32) as u32 % below)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Vector {
        name: String,
        shape: Vec<usize>,
        mean: f64,
        scale: f64,
        key: String,
        f32_bits: Vec<u32>,
        ids_below_97: Vec<u32>,
    }

    #[test]
    fn fills_the_bits_that_python_fills() {
        let text = std::fs::read_to_string(crate::golden("fill.json")).unwrap();
        let vectors: Vec<Vector> = serde_json::from_str(&text).unwrap();
        assert!(vectors.len() >= 5);
        for v in vectors {
            let count = v.shape.iter().product();
            assert_eq!(format!("{:016x}", key(&v.name)), v.key, "{}", v.name);
            let bits: Vec<u32> = fill(&v.name, count, v.mean as f32, v.scale as f32)
                .iter()
                .map(|x| x.to_bits())
                .collect();
            assert_eq!(bits, v.f32_bits, "{}", v.name);
            assert_eq!(ids(&v.name, count, 97), v.ids_below_97, "{}", v.name);
        }
    }

    #[test]
    fn covers_its_range_evenly() {
        let values = fill("spread", 100_000, 0.0, 1.0);
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let square = values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < 0.01, "{mean}");
        assert!((square - 1.0 / 3.0).abs() < 0.01, "{square}");
        assert!(values.iter().all(|x| (-1.0..1.0).contains(x)));
    }
}
