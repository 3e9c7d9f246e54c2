"""A full training step of Gemma 3 270M in transformers, compiled by torch: the peer of recipes/speed.yaml.

    python bench/training/torch_step.py LINES LENGTH STEPS

bfloat16 by autocast over float32 weights, fused AdamW, torch's own attention.
"""

import sys
import time

import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig


def main(lines, length, steps):
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=262144, hidden_size=640, intermediate_size=2048, num_hidden_layers=18, num_attention_heads=4,
        num_key_value_heads=1, head_dim=256, sliding_window=512, query_pre_attn_scalar=256, use_cache=False,
    )
    config._attn_implementation = "sdpa"
    model = Gemma3ForCausalLM(config).cuda().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    ids = torch.randint(4, 262144, (lines, length), device="cuda")

    @torch.compile
    def forward(ids):
        with torch.autocast("cuda", torch.bfloat16):
            logits = model(input_ids=ids).logits
        return torch.nn.functional.cross_entropy(logits[:, :-1].float().flatten(0, 1), ids[:, 1:].flatten())

    def step():
        loss = forward(ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    began = time.time()
    step()
    torch.cuda.synchronize()
    first = time.time() - began
    for _ in range(3):
        step()
    torch.cuda.synchronize()
    began = time.time()
    for _ in range(steps):
        loss = step()
    torch.cuda.synchronize()
    each = (time.time() - began) / steps
    peak = torch.cuda.max_memory_allocated() / 2**30
    print(f"torch {torch.__version__}: {1e3 * each:.1f} ms a step, {lines * length / each:.0f} tok/s, peak {peak:.1f} GiB, first step {first:.1f} s, loss {loss.item():.4f}")


main(*map(int, sys.argv[1:]))
