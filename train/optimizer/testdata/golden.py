"""Writes golden.json: five steps of torch.optim's AdamW, Adafactor and Muon on fixed gradients, and clipping."""

import json
import os
import zlib

import numpy as np
import torch

torch.set_num_threads(1)
RATES = [1e-2, 1e-2, 1e-2, 1e-2, 1e-2]  # as in the reference numbers the first case repeats
COURSE = [0.02, 0.06, 0.1, 0.6, 0.05]  # one of them above 1/sqrt(step), where Adafactor stops


def numbers(seed, dims, scale=1.0, size=1.0, steps=5):
    g = np.random.Generator(np.random.PCG64(zlib.crc32(seed.encode())))
    draw = lambda scale: (g.standard_normal(dims) * scale).astype(np.float32)
    return draw(size), [draw(scale) for _ in range(steps)]


def flat(x):
    return [float(f"{v:.9g}") for v in x.detach().double().flatten().tolist()]


def case(kind, make, settings, dims, rates=RATES, seed="optim", scale=1.0, size=1.0):
    w, gs = numbers(seed, dims, scale, size)
    p = torch.nn.Parameter(torch.from_numpy(w.copy()))
    opt, values = make([p], lr=rates[0], **settings), []
    for rate, g in zip(rates, gs):
        opt.param_groups[0]["lr"] = rate
        p.grad = torch.from_numpy(g)
        opt.step()
        values.append(flat(p))
    state = {k: flat(v) for k, v in opt.state[p].items() if k != "step"}
    return {"kind": kind, "settings": settings, "dims": list(dims), "rates": rates, "value": flat(torch.from_numpy(w)),
            "gradients": [flat(torch.from_numpy(g)) for g in gs], "values": values, "state": state}


def clip(limit, size=1.0):
    grads = [numbers("clip", d, size=size)[0] for d in ((3, 4), (5,))]
    ps = [torch.nn.Parameter(torch.zeros(g.shape)) for g in grads]
    for p, g in zip(ps, grads):
        p.grad = torch.from_numpy(g.copy())
    norm = torch.nn.utils.clip_grad_norm_(ps, limit)
    return {"limit": limit, "dims": [list(g.shape) for g in grads], "gradients": [flat(torch.from_numpy(g)) for g in grads],
            "norm": float(f"{norm.item():.9g}"), "clipped": [flat(p.grad) for p in ps]}


adamw = {"betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1}
muon = {"momentum": 0.95, "nesterov": True, "weight_decay": 0.1}
O = torch.optim
cases = [
    case("adamw", O.AdamW, adamw, (3, 4)),
    case("adamw", O.AdamW, {"betas": [0.9, 0.999], "eps": 1e-6, "weight_decay": 0.0}, (7,), COURSE, "vector"),
    case("adamw", O.AdamW, {"betas": [0.0, 0.0], "eps": 1e-8, "weight_decay": 0.01}, (2, 1, 3), COURSE, "none", 1e-4),
    case("adafactor", O.Adafactor, {}, (3, 4)),
    case("adafactor", O.Adafactor, {"weight_decay": 0.1}, (7,), COURSE, "vector"),
    case("adafactor", O.Adafactor, {"weight_decay": 0.1}, (2, 3, 4), COURSE, "stack"),
    case("adafactor", O.Adafactor, {}, (6, 2), COURSE, "small", 1e-5),
    case("adafactor", O.Adafactor, {}, (3, 2), COURSE, "adapter", size=0.0),  # as LoRA's B starts
    case("muon", O.Muon, muon, (3, 4)),
    case("muon", O.Muon, muon, (7, 3), COURSE, "tall"),
    case("muon", O.Muon, {**muon, "momentum": 0.5, "weight_decay": 0.0}, (2, 5), COURSE, "wide", 1e-4),
]
doc = {"made_with": {"torch": torch.__version__, "numpy": np.__version__}, "cases": cases, "clip": [clip(1.0), clip(100.0), clip(1e-6, 1e-6)]}
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden.json"), "w") as f:
    f.write("{\n" + f'"made_with": {json.dumps(doc["made_with"])},\n"cases": [\n' + ",\n".join(map(json.dumps, cases)))
    f.write('\n],\n"clip": [\n' + ",\n".join(map(json.dumps, doc["clip"])) + "\n]\n}\n")
