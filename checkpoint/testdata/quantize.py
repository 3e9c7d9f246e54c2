"""Writes quantize.json: rows of weights and the errors ggml's encoders leave.

    pip install gguf numpy && python quantize.py …/libggml-base.so

The library is that of llama.cpp b11434. A figure is the sum over all rows of
importance · (element − stored element)², without importances (all one) and
with those of the set, each encoded by ggml_quantize_chunk accordingly.
"""

import base64
import ctypes
import json
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T, quants

lib = ctypes.CDLL(sys.argv[1])
lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
lib.ggml_quantize_chunk.restype = ctypes.c_size_t

FORMATS = [T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q2_K, T.Q3_K, T.Q4_K, T.Q5_K, T.Q6_K, T.IQ4_NL]
ROWS, COLS = 8, 512


def encoded(t, x, importance):
    if t == T.F16:
        return x.astype(np.float16).astype(np.float32)
    if t == T.BF16:
        return quants.dequantize(quants.quantize(x, t), t)
    n, size = GGML_QUANT_SIZES[t]
    out = np.zeros((x.shape[0], x.shape[1] // n * size), np.uint8)
    w = None if importance is None else importance.ctypes.data
    lib.ggml_quantize_chunk(int(t), x.ctypes.data, out.ctypes.data, 0, x.shape[0], x.shape[1], w)
    return quants.dequantize(out, t)


def error(t, x, importance):
    d = x.astype(np.float64) - encoded(t, x, importance)
    return float((d * d * (1 if importance is None else importance)).sum())


rng = np.random.default_rng(20251124)
normal = rng.standard_normal((ROWS, COLS)) * 0.03
tails = rng.standard_t(3, (ROWS, COLS)) * 0.02
outlier = normal * 0.1
outlier[:, ::64] *= 80
shifted = normal + 0.05
sparse = normal * (rng.random((ROWS, COLS)) < 0.1)
tiny = normal * 2.0**-14
base = normal.astype(np.float32)
stored = quants.dequantize(quants.quantize(base, T.Q5_0), T.Q5_0)
sets = {"normal": normal, "tails": tails, "outlier": outlier, "shifted": shifted, "sparse": sparse, "tiny": tiny, "stored": stored}

out = []
for name, x in sets.items():
    x = np.ascontiguousarray(x, np.float32)
    importance = np.exp(rng.standard_normal(COLS)).astype(np.float32)
    figures = {t.name: [error(t, x, None), error(t, x, importance)] for t in FORMATS}
    pack = lambda a: base64.b64encode(a.astype("<f4").tobytes()).decode()
    out.append({"name": name, "elements": pack(x), "importance": pack(importance), "errors": figures})
with open("quantize.json", "w") as f:
    json.dump(out, f, indent=1)
    f.write("\n")
