"""Writes dequantize.bin: random blocks of every type and the floats the gguf package makes of them.

Per type: ggml number, blocks, bytes, floats (u32 each), then the block bytes and the f32 values, all
little endian. Run `python make.py` in an environment with requirements.txt.
"""

import pathlib
import struct

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize

# Where the f16 scales lie in a block.
HALVES = {
    T.F16: [0],
    T.Q4_0: [0],
    T.Q4_1: [0, 2],
    T.Q5_0: [0],
    T.Q5_1: [0, 2],
    T.Q8_0: [0],
    T.Q2_K: [80, 82],
    T.Q3_K: [108],
    T.Q4_K: [0, 2],
    T.Q5_K: [0, 2],
    T.Q6_K: [208],
    T.IQ4_NL: [0],
    T.IQ4_XS: [0],
}
TYPES = [T.F32, T.F16, T.BF16, *list(HALVES)[1:], T.MXFP4]


def finite_halves(rng, n):
    """Finite f16 bit patterns: any sign and exponent, subnormals and zero among them."""
    bits = rng.integers(0, 1 << 16, n, dtype=np.uint16)
    bits[bits & 0x7C00 == 0x7C00] ^= 0x4000
    bits[rng.integers(0, 16, n) == 0] &= 0x83FF
    return bits


def blocks_of(ty, rng):
    length, size = GGML_QUANT_SIZES[ty]
    count = {1: 64, 32: 8, 256: 4}[length]
    data = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for at in HALVES.get(ty, []):
        data[:, at : at + 2] = finite_halves(rng, count).view(np.uint8).reshape(count, 2)
    if ty == T.F32:
        data = rng.standard_normal(count).astype(np.float32).view(np.uint8).reshape(count, 4)
    if ty == T.BF16:
        data = rng.standard_normal(count).astype(np.float32).view(np.uint8).reshape(count, 4)[:, 2:]
    if ty == T.MXFP4:
        data[:, 0] = [0, 1, 2, 3, 100, 127, 128, 200]
    return np.ascontiguousarray(data)


def main():
    rng = np.random.default_rng(20261124)
    out = bytearray()
    for ty in TYPES:
        data = blocks_of(ty, rng)
        values = dequantize(data.reshape(-1), ty).astype("<f4").reshape(-1)
        assert np.isfinite(values).all(), ty
        out += struct.pack("<4I", int(ty), data.shape[0], data.size, values.size)
        out += data.tobytes() + values.tobytes()
    pathlib.Path(__file__).with_name("dequantize.bin").write_bytes(out)
    print(len(TYPES), "types,", len(out), "bytes")


main()
