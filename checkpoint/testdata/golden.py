"""Writes dequantize.bin: random blocks of every format and their values.

    pip install gguf numpy && python golden.py

The values come from the gguf package's own dequantization. Half-precision
fields get random finite bit patterns, everything else random bytes, so each
table entry, sign and subnormal is met. Layout, per format, little endian:
type u32, blocks u32, bytes of a block u32, elements of a block u32, the
blocks, then their elements as float32.
"""

import struct

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T, quants

BLOCKS = {1: 64, 32: 16, 256: 3}

# Where a block keeps half-precision fields: random bytes there could be
# infinities, which compare equal to too much.
HALVES = {
    T.F16: [0], T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
    T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
    T.IQ4_NL: [0], T.IQ4_XS: [0],
}
FORMATS = [T.F32, T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q2_K, T.Q3_K,
           T.Q4_K, T.Q5_K, T.Q6_K, T.IQ4_NL, T.IQ4_XS, T.MXFP4]

rng = np.random.default_rng(20250817)
with open("dequantize.bin", "wb") as out:
    for t in FORMATS:
        elements, size = GGML_QUANT_SIZES[t]
        n = BLOCKS[elements]
        blocks = rng.integers(0, 256, (n, size), dtype=np.uint8)
        for at in HALVES.get(t, []):
            half = blocks[:, at:at + 2].copy().view(np.uint16)
            half[(half & 0x7C00) == 0x7C00] ^= 0x4000  # neither infinite nor NaN
            blocks[:, at:at + 2] = half.view(np.uint8)
        if t in (T.F32, T.BF16):
            high = blocks[:, size - 2:].copy().view(np.uint16)
            high[(high & 0x7F80) == 0x7F80] ^= 0x4000
            blocks[:, size - 2:] = high.view(np.uint8)
        if t == T.MXFP4:
            blocks[:3, 0] = [0, 1, 2]  # subnormal scales
            blocks[3:, 0] %= 240
        values = np.asarray(quants.dequantize(blocks, t), dtype=np.float32).reshape(-1)
        assert values.size == n * elements and np.isfinite(values).all(), t
        out.write(struct.pack("<4I", t, n, size, elements))
        out.write(blocks.tobytes())
        out.write(values.astype("<f4").tobytes())
