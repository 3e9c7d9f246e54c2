"""Ids that Hugging Face's tokenizers gives for tokenizer.json.

Run: python golden.py > ids.json
"""

import json
import os

from tokenizers import Tokenizer

here = os.path.dirname(os.path.abspath(__file__))
t = Tokenizer.from_file(os.path.join(here, "tokenizer.json"))
with open(os.path.join(here, "texts.txt"), encoding="utf-8") as f:
    texts = f.read().splitlines(keepends=True)
texts += [
    "",
    " ",
    "   three spaces before, two behind  ",
    "1234567890",
    "unseen: ŵȳθ 漢字 👩‍🔬\u0000\u007f",
    "tabs\t\tand\n\n\nbreaks\r\n",
    "polishedpolishedpolished cutcutcut ---------",
    "".join(texts),
]
cases = [{"text": x, "ids": t.encode(x, add_special_tokens=False).ids, "back": t.decode(t.encode(x).ids)} for x in texts]
print(json.dumps(cases, ensure_ascii=True, indent=0))
