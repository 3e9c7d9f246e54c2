"""Load adapters that the Go package has written with PEFT and compare the logits: see README.md."""

import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

TOKENS = [2, 16, 154, 18, 126, 141, 9, 36, 98, 75, 117, 151]


def main(out, base):
    torch.set_num_threads(1)
    for folder in sorted(p for p in Path(out).iterdir() if (p / "logits.json").exists()):
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
        model = PeftModel.from_pretrained(model, folder).eval()
        want = torch.tensor(json.loads((folder / "logits.json").read_text()))
        with torch.no_grad():
            got = model(input_ids=torch.tensor([TOKENS]), use_cache=False).logits[0, -1]
        apart = (got - want).abs().max().item()
        trained = sum(p.numel() for n, p in model.named_parameters() if "lora_" in n)
        print(f"{folder.name}: {trained} numbers, logits at most {apart:.2e} apart")
        assert apart < 1e-4


main(*sys.argv[1:])
