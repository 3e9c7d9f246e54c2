#!/usr/bin/env python3
"""Writes what Hugging Face's tokenizers library makes of texts with special tokens.

    python golden.py tokenizer.json golden.json
"""
import json, sys
from tokenizers import Tokenizer

TEXTS = ["<bos>", "<bos><eos><pad><unk>", "a<bos>b", "<bos><start_of_turn>user\nHi there!<end_of_turn>\n<start_of_turn>model\n", "< bos>",
         "<start_of_image><end_of_image>", "<mask>[multimodal]<unused0> <unused98>", "<b><bos></b>", "  <eos>  \n\n", "no special tokens at all",
         "<start_of_turn>model\nПривет 👋<end_of_turn>", "<eos<eos>>", "\t\t<h1>x</h1>"]

t = Tokenizer.from_file(sys.argv[1])
cases = [{"text": s, "ids": t.encode(s, add_special_tokens=False).ids} for s in TEXTS]
with open(sys.argv[2], "w", encoding="utf-8") as f:
    f.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
