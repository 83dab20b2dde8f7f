"""Weights from tensor names: the Python half of `crates/testkit/src/fill.rs`.

A golden case stores no weights. Element `i` (row-major) of the tensor `name` is

    key  = FNV-1a, 64 bit, of the UTF-8 name
    z    = splitmix64(key + (i + 1) * 0x9E3779B97F4A7C15)
    unit = ((z >> 40) - 2^23) * 2^-23                     in [-1, 1), exact in f32
    x    = mean + scale * unit                            one f32 product, one f32 sum

so that both sides hold the same bits. `python3 fill.py` rewrites `fill.json`, the vector that the
Rust test is held against.
"""

import json
from pathlib import Path

import numpy as np

GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def fnv1a(name: str) -> int:
    """64-bit FNV-1a of the UTF-8 bytes of `name`."""
    h = 0xCBF29CE484222325
    for byte in name.encode("utf-8"):
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def bits(name: str, count: int) -> np.ndarray:
    """The first `count` 64-bit words of the stream of `name`."""
    with np.errstate(over="ignore"):
        z = np.uint64(fnv1a(name)) + (np.arange(count, dtype=np.uint64) + np.uint64(1)) * GOLDEN_GAMMA
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def fill(name: str, shape, mean: float, scale: float) -> np.ndarray:
    """The f32 tensor `name`: uniform in [mean - scale, mean + scale)."""
    count = int(np.prod(shape, dtype=np.int64))
    mantissa = (bits(name, count) >> np.uint64(40)).astype(np.int64) - (1 << 23)
    unit = mantissa.astype(np.float32) * np.float32(2.0**-23)
    return (np.float32(mean) + np.float32(scale) * unit).reshape(shape)


def ids(name: str, shape, below: int) -> np.ndarray:
    """Token ids below `below` from the stream of `name` (32 high bits, modulo)."""
    count = int(np.prod(shape, dtype=np.int64))
    return ((bits(name, count) >> np.uint64(32)) % np.uint64(below)).astype(np.int64).reshape(shape)


def main() -> None:
    vectors = []
    for name, shape, mean, scale in [
        ("", [3], 0.0, 1.0),
        ("model.embed_tokens.weight", [2, 3], 0.0, 0.25),
        ("model.layers.0.input_layernorm.weight", [5], 1.0, 0.25),
        ("model.layers.11.mlp.down_proj.weight", [4, 2], 0.0, 0.1),
        ("größe/重み", [4], -0.3, 0.7),
    ]:
        values = fill(name, shape, mean, scale)
        vectors.append(
            {
                "name": name,
                "shape": shape,
                "mean": mean,
                "scale": scale,
                "key": f"{fnv1a(name):016x}",
                "f32_bits": [int(v) for v in values.reshape(-1).view(np.uint32)],
                "ids_below_97": ids(name, shape, 97).reshape(-1).tolist(),
            }
        )
    lines = ",\n".join(json.dumps(v, ensure_ascii=False) for v in vectors)
    path = Path(__file__).with_name("fill.json")
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
