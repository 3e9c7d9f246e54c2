"""Embeds six texts with sentence-transformers.

Usage: make_embeddings.py FOLDER OUT.json, with sentence-transformers installed.
"""

import json
import sys

from sentence_transformers import SentenceTransformer

TEXTS = [
    ("query", "Which planet is known as the Red Planet?"),
    ("document", "Venus is often called Earth's twin because of its similar size and proximity."),
    ("document", "Mars, known for its reddish appearance, is often referred to as the Red Planet."),
    (None, "Die Katze sitzt auf der Matte."),
    (None, "貓坐在墊子上。"),
    ("STS", "A man is playing a guitar."),
]


def main(folder, out):
    model = SentenceTransformer(folder, device="cpu")
    rows = []
    for prompt, text in TEXTS:
        vector = model.encode([text], prompt_name=prompt)[0]
        rows.append({"prompt_name": prompt, "text": text, "embedding": [round(float(x), 6) for x in vector]})
    with open(out, "w", encoding="utf-8") as f:
        json.dump(rows, f, ensure_ascii=False)


main(*sys.argv[1:])
