"""Writes quantize.bin: floats and the blocks that the gguf package makes of them, for the types it quantises.

Per type: ggml number, elements, bytes (u32 each), then the f32 values and the block bytes, all little endian.
Run `python make_quantize.py` in an environment with requirements.txt.
"""

import pathlib
import struct

import numpy as np
from gguf.constants import GGMLQuantizationType as T
from gguf.quants import quantize

TYPES = [T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0]


def blocks():
    """Rows of 32: gaussian at many scales, outliers, constants, grids with ties, zeros, small numbers."""
    rng = np.random.default_rng(20261125)
    rows = [rng.standard_normal(32) * 10.0**e for e in range(-7, 5) for _ in range(4)]
    rows += [rng.standard_normal(32) * 0.02 + rng.standard_normal() for _ in range(8)]
    outlier = rng.standard_normal((4, 32)) * 0.02
    outlier[:, 5] = [9.0, -9.0, 0.5, -0.5]
    rows += list(outlier)
    grid = rng.integers(-16, 17, (24, 32)) / 2.0
    grid[::2, 3] = -16.0
    grid[1::2, 7] = 15.0
    rows += list(grid)
    rows += [np.full(32, v) for v in (0.0, 1.0, -1.0, 0.3, -7.7)]
    same = np.zeros(32)
    same[[4, 9]] = [2.5, -2.5]
    rows += [same, -same, np.arange(32.0), -np.arange(32.0), np.abs(rng.standard_normal(32))]
    return np.stack(rows).astype(np.float32)


def main():
    values = blocks()
    out = bytearray()
    for ty in TYPES:
        data = quantize(values, ty).view(np.uint8)
        out += struct.pack("<3I", int(ty), values.size, data.size)
        out += values.astype("<f4").tobytes() + data.tobytes()
    pathlib.Path(__file__).with_name("quantize.bin").write_bytes(out)
    print(len(TYPES), "types,", len(out), "bytes")


main()
