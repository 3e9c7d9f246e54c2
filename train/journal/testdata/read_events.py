"""Prints the scalars TensorBoard finds in a run folder, as metrics.jsonl and timing.jsonl have them, and compares."""
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

run = sys.argv[1]
acc = EventAccumulator(run, size_guidance={"scalars": 0}).Reload()
found = {(t, e.step): e.value for t in acc.Tags()["scalars"] for e in acc.Scalars(t)}
wanted = {}
for name in ["metrics.jsonl", "timing.jsonl"]:
    for line in open(f"{run}/{name}"):
        values = json.loads(line)
        step = values.pop("step"); values.pop("time", None)
        wanted.update({(k, step): float(v) for k, v in values.items()})
assert found.keys() == wanted.keys(), found.keys() ^ wanted.keys()
worst = max(abs(found[k] - wanted[k]) / max(1e-30, abs(wanted[k])) for k in wanted)
print(len(found), "scalars, largest relative difference", worst)
assert worst < 1e-7
