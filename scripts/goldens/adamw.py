#!/usr/bin/env python3
"""Writes Tests/OptimizersTests/OptimizerGoldens.swift with torch and transformers.

Optimisers: float32 weights "w" [3, 5] (decays) and "b" [7] (does not), gradients w * w - 0.3 and
b * b - 0.3 scaled by clip_grad_norm_(1), 12 steps at rates 0.05 / (1 + step).
Schedules: base rate 2e-4, 3 warm-up steps, 20 in all, steps 0 ... 22.
Tolerance: 2e-7 relative, a unit in the last place of float32; 1e-12 for schedules. Seed: none is
used, weights are sines. `swift format -i` afterwards breaks the lines.
"""

from pathlib import Path

import torch
import transformers
from transformers import get_scheduler

OUTPUT = Path(__file__).parents[2] / "Tests/OptimizersTests/OptimizerGoldens.swift"
STEPS = 12
RATE, WARMUP, TOTAL = 2e-4, 3, 20


def weights():
    w = torch.tensor([round(torch.tensor(3.0 * i).sin().item(), 4) for i in range(15)])
    b = torch.tensor([round(torch.tensor(1.0 + i).cos().item(), 4) for i in range(7)])
    return [torch.nn.Parameter(w.reshape(3, 5)), torch.nn.Parameter(b)]


def run(make):
    w, b = weights()
    optimizer = make([{"params": [w], "weight_decay": 0.1}, {"params": [b], "weight_decay": 0.0}])
    norms = []
    for step in range(STEPS):
        for p in (w, b):
            p.grad = (p * p - 0.3).detach()
        norms.append(torch.nn.utils.clip_grad_norm_([w, b], 1).item())
        for group in optimizer.param_groups:
            group["lr"] = 0.05 / (1 + step)
        optimizer.step()
    states = [optimizer.state[p].get(key) for p in (w, b)
              for key in ("exp_avg", "exp_avg_sq", "momentum_buffer")]
    tensors = [w, b] + [state for state in states if state is not None]
    return norms, [t.detach().flatten().tolist() for t in tensors]


def schedule(name, kwargs):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)
    scheduler = get_scheduler(name, optimizer, WARMUP, TOTAL, kwargs)
    return [scheduler.lr_lambdas[0](step) for step in range(TOTAL + 3)]


def listed(values, indent):
    lines, line = [], ""
    for value in values:
        text = f"{value!r},".replace("e-0", "e-")
        if len(indent) + len(line) + 1 + len(text) > 98:
            lines.append(indent + line)
            line = ""
        line += (" " if line else "") + text
    return "\n".join(lines + [indent + line])


def main():
    first = weights()
    out = ["/// Made by scripts/goldens/adamw.py, which says what was run.", "///",
           f"/// torch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}.",
           "enum OptimizerGoldens {"]
    out += ["  static let initial: [[Float]] = ["]
    for tensor in first:
        values = [float(f"{v:.4f}") for v in tensor.detach().flatten().tolist()]
        out += ["    [", listed(values, "      "), "    ],"]
    out += ["  ]"]
    makers = {
        "adamW": lambda groups: torch.optim.AdamW(groups),
        "sgd": lambda groups: torch.optim.SGD(groups),
        "sgdWithMomentum": lambda groups: torch.optim.SGD(groups, momentum=0.9),
        "sgdLookingAhead": lambda groups: torch.optim.SGD(groups, momentum=0.9, nesterov=True),
    }
    for name, make in makers.items():
        norms, tensors = run(make)
        out += [f"  static let {name}Norms: [Double] = [", listed(norms, "    "), "  ]"]
        out += [f"  static let {name}: [[Double]] = ["]
        for values in tensors:
            out += ["    [", listed(values, "      "), "    ],"]
        out += ["  ]"]
    schedules = [
        ("constant_with_warmup", {}), ("linear", {}), ("cosine", {}),
        ("cosine_with_restarts", {}), ("cosine_with_restarts", {"num_cycles": 3}),
        ("polynomial", {}), ("polynomial", {"power": 2.0, "lr_end": 1e-5}),
        ("inverse_sqrt", {}), ("inverse_sqrt", {"timescale": 50}),
        ("cosine_with_min_lr", {"min_lr_rate": 0.1}),
        ("warmup_stable_decay", {"num_decay_steps": 5, "min_lr_ratio": 0.2}),
        ("warmup_stable_decay", {"num_decay_steps": 2}),
    ]
    out += ["  static let schedules: [(name: String, settings: [String: Double], factors: "
            "[Double])] = ["]
    for name, kwargs in schedules:
        pairs = ", ".join(f'"{k}": {v!r}'.replace("e-0", "e-") for k, v in kwargs.items()) or ":"
        out += ["    (", f'      "{name}", [{pairs}],', "      [",
                listed([float(v) for v in schedule(name, kwargs)], "        "), "      ]",
                "    ),"]
    out += ["  ]", "}"]
    OUTPUT.write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
