"""A LoRA step beside Gemma 3 270M in transformers and PEFT on CPU threads: the peer of bench/training/lora.yaml.

    python bench/training/torch_lora.py LINES LENGTH STEPS THREADS

Float32, rank 8 on all linear layers, AdamW, clipping; random base weights, which cost what real ones do.
"""

import statistics
import sys
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import Gemma3ForCausalLM, Gemma3TextConfig


def main(lines, length, steps, threads):
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    config = Gemma3TextConfig(
        vocab_size=262144, hidden_size=640, intermediate_size=2048, num_hidden_layers=18, num_attention_heads=4,
        num_key_value_heads=1, head_dim=256, sliding_window=512, query_pre_attn_scalar=256, use_cache=False,
    )
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(Gemma3ForCausalLM(config), LoraConfig(r=8, lora_alpha=16, target_modules=targets)).train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    ids = torch.randint(4, 262144, (lines, length))
    times = []
    for _ in range(steps):
        began = time.time()
        model(input_ids=ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        times.append(time.time() - began)
    each = statistics.median(times[2:])
    print(f"torch {torch.__version__}, {threads} threads: {each:.2f} s a step, {lines * length / each:.0f} tok/s")


main(*map(int, sys.argv[1:]))
