"""Writes schedules.json: learning rates of transformers' schedules at every step."""
import json, sys, torch, transformers
from transformers import get_cosine_schedule_with_warmup, get_cosine_with_min_lr_schedule_with_warmup, \
    get_linear_schedule_with_warmup, get_wsd_schedule, get_constant_schedule_with_warmup

PEAK = 3e-4

def rates(make, steps):
    o = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    s = make(o)
    out = []
    for _ in range(steps + 1):
        out.append(s.get_last_lr()[0])
        o.step(); s.step()
    return out

cases = []
def case(kind, warmup, total, make, floor=0.0, decay=0, shape=""):
    cases.append({"kind": kind, "peak": PEAK, "warmup": warmup, "total": total, "floor": floor, "decay": decay,
                  "shape": shape, "lr": rates(make, total)})

for w, t in [(0, 10), (5, 40), (7, 23)]:
    case("cosine", w, t, lambda o: get_cosine_schedule_with_warmup(o, w, t))
    case("cosine", w, t, lambda o: get_cosine_with_min_lr_schedule_with_warmup(o, w, t, min_lr_rate=0.1), floor=0.1)
    case("linear", w, t, lambda o: get_linear_schedule_with_warmup(o, w, t))
    case("constant", w, t, lambda o: get_constant_schedule_with_warmup(o, w))
for shape in ["cosine", "linear", "1-sqrt"]:
    for floor in [0.0, 0.2]:
        case("wsd", 4, 30, lambda o: get_wsd_schedule(o, num_warmup_steps=4, num_decay_steps=9, num_training_steps=30,
             decay_type=shape, min_lr_ratio=floor), floor=floor, decay=9, shape=shape.replace("1-", ""))
json.dump({"made_with": {"transformers": transformers.__version__, "torch": torch.__version__}, "cases": cases},
          open(sys.argv[1], "w"), indent=None, separators=(",", ":"))
