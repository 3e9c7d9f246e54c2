"""Measures embedding speed side by side, in turns: lapidary, sentence-transformers, llama.cpp.

Usage: embeddings.py LAPIDARY TEXT [LLAMA_BIN] [--rounds N] [--texts N] [--threads N]

LAPIDARY is the program, which has pulled embeddinggemma:300m; TEXT is a long text that is cut into N (256) pieces of
about 60 tokens and a quarter as many of about 400; LLAMA_BIN is the folder that bench/peer.sh prints, with
llama-embedding built besides. Each side has --threads (2); where other work is going on, 1 is the fairer, since
threads that wait for each other suffer most. Loading does not count, tokenizing does. It prints the best of N rounds
of each side, and how alike the vectors are. Needs numpy, torch and sentence-transformers.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time

MODEL = "embeddinggemma:300m"
LAPIDARY_STATS = re.compile(r"(\d+) texts, (\d+) tokens in ([\d.]+) s")

REFERENCE = """
import json, sys, time, torch, numpy
from sentence_transformers import SentenceTransformer
torch.set_num_threads(int(sys.argv[3]))
model = SentenceTransformer(sys.argv[1], device="cpu")
texts = [json.loads(line) for line in open(sys.argv[2])]
model.encode(texts[:2])
began = time.perf_counter()
vectors = model.encode(texts, batch_size=32)
print(time.perf_counter() - began)
numpy.save(sys.argv[4], vectors)
"""


def cut(text, count, words):
    """Pieces of the given length, give or take a sixth."""
    all_words, pieces, at = text.split(), [], 0
    for i in range(count):
        n = words + (i * 37) % (words // 3) - words // 6
        if at + n > len(all_words):
            at = i % 17
        pieces.append(" ".join(all_words[at : at + n]))
        at += n
    return pieces


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command[0]}: {done.stderr[-2000:]}")
    return done


def lapidary(program, model, base, out, threads):
    """Seconds and tokens."""
    done = run([program, "embed", model, "--threads", str(threads), "--input", base + ".jsonl", "--output", out, "--force", "--stats"])
    _, tokens, seconds = LAPIDARY_STATS.search(done.stderr).groups()
    return float(seconds), int(tokens)


def transformers(folder, base, out, threads):
    return float(run([sys.executable, "-c", REFERENCE, folder, base + ".jsonl", str(threads), out]).stdout.split()[-1]), 0


def llama(binaries, model, base, out, threads, batch):
    """From the first batch on: what comes before is loading."""
    command = [os.path.join(binaries, "llama-embedding"), "-m", model, "-f", base + ".txt", "-t", str(threads)]
    command += ["-b", str(batch), "-ub", str(batch), "--no-escape", "--embd-output-format", "array"]
    with open(out, "w") as f, subprocess.Popen(command, stdout=f, stderr=subprocess.PIPE, text=True) as p:
        began = None
        for line in p.stderr:
            if began is None and "system_info" in line:
                began = time.perf_counter()
        if p.wait():
            sys.exit("llama-embedding failed")
        return time.perf_counter() - began, 0


def vectors(path):
    import numpy

    v = numpy.load(path) if path.endswith(".npy") else numpy.array(json.load(open(path)), dtype="f4")
    return v / numpy.linalg.norm(v, axis=1, keepdims=True)


def sides(args, tmp):
    show = json.loads(run([args.lapidary, "show", MODEL, "--json"]).stdout)
    files = {}
    for kind in ("F32", "Q8_0"):
        files[kind] = os.path.join(tmp, kind + ".gguf")
        run([args.lapidary, "quantize", MODEL, files[kind], "--type", kind])
    out = {
        "lapidary F32": lambda base, to: lapidary(args.lapidary, MODEL, base, to + ".npy", args.threads),
        "sentence-transformers F32": lambda base, to: transformers(show["path"], base, to + ".npy", args.threads),
        "lapidary Q8_0": lambda base, to: lapidary(args.lapidary, files["Q8_0"], base, to + ".npy", args.threads),
    }
    for kind in files if args.llama else ():
        for batch in (768, 2048):
            out[f"llama.cpp {kind} {batch}"] = lambda base, to, k=kind, b=batch: llama(args.llama, files[k], base, to + ".json", args.threads, b)
    return out


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("lapidary")
    parser.add_argument("text")
    parser.add_argument("llama", nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--texts", type=int, default=256)
    args = parser.parse_args()
    text = open(args.text, encoding="utf-8").read()
    with tempfile.TemporaryDirectory() as tmp:
        contenders = sides(args, tmp)
        for name, count, words in (("short", args.texts, 40), ("long", args.texts // 4, 250)):
            base = os.path.join(tmp, name)
            pieces = cut(text, count, words)
            open(base + ".jsonl", "w").write("".join(json.dumps(p) + "\n" for p in pieces))
            open(base + ".txt", "w").write("\n".join(pieces))
            best, tokens = {}, 0
            for _ in range(args.rounds):
                for i, (side, embed) in enumerate(contenders.items()):
                    seconds, n = embed(base, f"{base}-{i}")
                    best[side], tokens = min(seconds, best.get(side, seconds)), max(tokens, n)
            ours = vectors(f"{base}-0.npy")
            print(f"{name}: {count} texts, {tokens} tokens")
            for i, (side, seconds) in enumerate(best.items()):
                path = next(p for p in (f"{base}-{i}.npy", f"{base}-{i}.json") if os.path.exists(p))
                cosine = (vectors(path) * ours).sum(1).min()
                print(f"  {side:28} {seconds:7.2f} s {count / seconds:7.1f} texts/s {tokens / seconds:7.0f} tokens/s  least cosine {cosine:.5f}", flush=True)


main()
