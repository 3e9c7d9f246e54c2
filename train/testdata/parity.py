"""Trains the tiny golden Gemma 3 for 200 steps with transformers and torch and
writes the loss of every step to parity.json, which TestParity repeats.

    python train/testdata/parity.py gemma/testdata/goldens/gemma3_text train/testdata/parity.json

Written with torch 2.15 and transformers 5.23, in float32 on a CPU.
"""

import json
import math
import sys

import torch
from transformers import AutoModelForCausalLM, get_cosine_schedule_with_warmup

STEPS, LINES, LENGTH, WARMUP, LR, DECAY, CLIP = 200, 2, 48, 20, 3e-3, 0.01, 1.0


def tokens(step, vocab):
    """A text with something to learn: a walk whose next token mostly follows from the last.

    Without token 0: torch gives the row of a padding token no gradient as an input."""
    state, out, vocab = step * 2654435761 % 2**32, [], vocab - 4
    for _ in range(LINES):
        last = state % vocab
        for _ in range(LENGTH):
            out.append(4 + last)
            state = (1664525 * state + 1013904223) % 2**32
            last = (3 * last + 7) % vocab if state >> 29 else (state >> 8) % vocab
    return torch.tensor(out).view(LINES, LENGTH)


def main(folder, path):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    vocab = model.config.vocab_size
    plain = [p for n, p in model.named_parameters() if p.ndim < 2]
    matrices = [p for n, p in model.named_parameters() if p.ndim >= 2]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.999), eps=1e-8)
    schedule = get_cosine_schedule_with_warmup(optimizer, WARMUP, STEPS)
    losses, norms = [], []
    model.train()
    for step in range(STEPS):
        ids = tokens(step, vocab)
        loss = model(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)))
        optimizer.step()
        schedule.step()
        losses.append(float(loss))
    assert all(math.isfinite(x) for x in losses)
    with open(path, "w") as f:
        json.dump({"losses": losses, "norms": norms}, f, indent=1)
        f.write("\n")
    print(losses[0], losses[-1])


main(*sys.argv[1:])
