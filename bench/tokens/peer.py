"""The peer's side: Hugging Face's tokenizers on one thread.

usage: peer.py TOKENIZER.json DOCUMENTS.json IDS

Prints the seconds that loading the tokenizer took and the kilobytes it added, then, for
every line that it reads, the seconds of encoding all documents once. At the end of its
input it writes the ids to IDS as 32-bit integers.
"""
import array, json, os, resource, sys, time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
from tokenizers import Tokenizer


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize() // 1024


with open(sys.argv[2], encoding="utf-8") as f:
    documents = json.load(f)
before, began = resident(), time.perf_counter()
tokenizer = Tokenizer.from_file(sys.argv[1])
print(time.perf_counter() - began, resident() - before, flush=True)
encoded = []
for _ in sys.stdin:
    began = time.perf_counter()
    encoded = tokenizer.encode_batch_fast(documents, add_special_tokens=False)
    print(time.perf_counter() - began, flush=True)
with open(sys.argv[3], "wb") as f:
    for e in encoded:
        array.array("i", e.ids).tofile(f)
