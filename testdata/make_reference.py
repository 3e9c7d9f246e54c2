#!/usr/bin/env python3
"""Evaluates Gemma 3 270M in float32, as plainly as can be, and prints what gemma3-270m-float32.json holds.

usage: make_reference.py MODEL.gguf OLD.json > NEW.json     (needs numpy and gguf)

Prompts, their tokens, and the tokens that continue them (llama.cpp's greedy choice, which now and then is the second
best here) are taken from OLD.json; of each step the log-probability of that token and the ten best are printed. Weights
are dequantised once; nothing is cached between steps. About a minute on two cores.
"""
import json, sys
import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

HEADS, SIZE, WINDOW, EPS = 4, 256, 512, 1e-6
tensors = {t.name: t for t in GGUFReader(sys.argv[1]).tensors}
cache = {}

def weight(name):
    if name not in cache:
        t = tensors[name]
        cache[name] = dequantize(t.data, t.tensor_type).reshape([int(n) for n in reversed(t.shape)]).astype(np.float32)
    return cache[name]

def norm(x, name):  # the file holds 1 + w
    return x / np.sqrt((x.astype(np.float64) ** 2).mean(-1, keepdims=True) + EPS).astype(np.float32) * weight(name)

def rope(x, base):  # [rows, heads, SIZE], element i turns with element i + SIZE/2
    half = SIZE // 2
    angle = np.arange(len(x))[:, None] * base ** (-np.arange(half) * 2 / SIZE)
    cos, sin = np.cos(angle)[:, None].astype(np.float32), np.sin(angle)[:, None].astype(np.float32)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

def logprobs(ids):
    n = len(ids)
    x = weight("token_embd.weight")[ids] * np.float32(np.sqrt(640))
    for i in range(18):
        p = f"blk.{i}."
        everything = (i + 1) % 6 == 0
        base = 1e6 if everything else 1e4
        h = norm(x, p + "attn_norm.weight")
        q = rope(norm((h @ weight(p + "attn_q.weight").T).reshape(n, HEADS, SIZE), p + "attn_q_norm.weight"), base)
        k = rope(norm((h @ weight(p + "attn_k.weight").T).reshape(n, 1, SIZE), p + "attn_k_norm.weight"), base)
        v = h @ weight(p + "attn_v.weight").T
        s = np.einsum("rhc,sc->hrs", q, k[:, 0]) / np.sqrt(np.float32(SIZE))
        back = np.arange(n)[:, None] - np.arange(n)[None]
        s[:, (back < 0) | (not everything) & (back >= WINDOW)] = -np.inf
        s = np.exp(s - s.max(-1, keepdims=True))
        s /= s.sum(-1, keepdims=True)
        o = np.einsum("hrs,sc->rhc", s, v).reshape(n, HEADS * SIZE)
        x = x + norm(o @ weight(p + "attn_output.weight").T, p + "post_attention_norm.weight")
        h = norm(x, p + "ffn_norm.weight")
        g = h @ weight(p + "ffn_gate.weight").T
        g = 0.5 * g * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (g + np.float32(0.044715) * g**3)))
        h = (g * (h @ weight(p + "ffn_up.weight").T)) @ weight(p + "ffn_down.weight").T
        x = x + norm(h, p + "post_ffw_norm.weight")
    y = (norm(x[-1:], "output_norm.weight") @ weight("token_embd.weight").T)[0].astype(np.float64)
    return y - y.max() - np.log(np.exp(y - y.max()).sum())

out = []
for old in json.load(open(sys.argv[2])):
    ids, steps = list(old["prompt_tokens"]), []
    for step in old["steps"]:
        p, forced = logprobs(ids), step["id"]
        best = [int(i) for i in np.argsort(-p, kind="stable")[:10]]
        steps.append({"id": forced, "logprob": round(p[forced], 5), "top": [[i, round(p[i], 5)] for i in best]})
        ids.append(forced)
    out.append({"prompt": old["prompt"], "prompt_tokens": old["prompt_tokens"], "steps": steps})
json.dump(out, sys.stdout, ensure_ascii=False)
