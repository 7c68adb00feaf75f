#!/usr/bin/env python3
"""Writes Tests/OptimizersTests/DeepSpeedScheduleGoldens.swift with DeepSpeed's own schedules.

Base rate 2e-4; where a schedule leaves it to the run, 4 warm-up steps and 20 in all. The rate of each of
26 updates is what stands in the optimiser when it is made: the schedule steps behind it, as DeepSpeed's
engine does. Tolerance: 1e-12 relative. `swift format -i` afterwards breaks the lines.
"""

import json
from pathlib import Path

import deepspeed
import torch
from deepspeed.runtime import lr_schedules

OUTPUT = Path(__file__).parents[2] / "Tests/OptimizersTests/DeepSpeedScheduleGoldens.swift"
RATE, WARMUP, TOTAL, UPDATES = 2e-4, 4, 20, 26

CASES = [
    ("WarmupLR", {}),
    ("WarmupLR", {"warmup_max_lr": 1e-3, "warmup_min_lr": 1e-5, "warmup_num_steps": 7}),
    ("WarmupLR", {"warmup_num_steps": 6, "warmup_type": "linear"}),
    ("WarmupLR", {"warmup_num_steps": 1}),
    ("WarmupDecayLR", {"total_num_steps": 18, "warmup_num_steps": 5}),
    ("WarmupDecayLR", {"total_num_steps": "auto", "warmup_num_steps": "auto", "warmup_max_lr": "auto",
                       "warmup_type": "linear"}),
    ("WarmupDecayLR", {"total_num_steps": 3, "warmup_num_steps": 8, "warmup_min_lr": 1e-4}),
    ("WarmupCosineLR", {"total_num_steps": 20, "warmup_num_steps": 5}),
    ("WarmupCosineLR", {"total_num_steps": "auto", "warmup_num_steps": "auto", "warmup_type": "linear",
                        "warmup_min_ratio": 0.1, "cos_min_ratio": 0.05}),
    ("WarmupCosineLR", {"total_num_steps": 4, "warmup_num_steps": 6}),
    ("OneCycle", {"cycle_min_lr": 1e-4, "cycle_max_lr": 1e-3, "cycle_first_step_size": 6,
                  "cycle_momentum": False}),
    ("OneCycle", {"cycle_min_lr": 1e-4, "cycle_max_lr": 1e-3, "cycle_first_step_size": 5,
                  "cycle_second_step_size": 9, "decay_step_size": 2, "decay_lr_rate": 0.5,
                  "cycle_momentum": False}),
    ("OneCycle", {"cycle_min_lr": 1e-4, "cycle_max_lr": 1e-3, "cycle_first_step_size": 7,
                  "cycle_second_step_size": 10, "cycle_first_stair_count": 3, "decay_step_size": 3,
                  "decay_lr_rate": 0.1, "cycle_momentum": False}),
    ("OneCycle", {"cycle_min_lr": 1e-4, "cycle_max_lr": 1e-3, "cycle_first_step_size": 8,
                  "cycle_second_step_size": 6, "cycle_first_stair_count": 4,
                  "cycle_second_stair_count": 2, "cycle_momentum": False}),
    ("LRRangeTest", {"lr_range_test_min_lr": 1e-5, "lr_range_test_step_size": 4}),
    ("LRRangeTest", {"lr_range_test_min_lr": 1e-5, "lr_range_test_step_size": 4,
                     "lr_range_test_step_rate": 2.5, "lr_range_test_staircase": True}),
]


def rates(name, fields):
    """The rate in the optimiser at each update."""
    auto = {"warmup_num_steps": WARMUP, "total_num_steps": TOTAL, "warmup_max_lr": RATE}
    fields = {key: auto[key] if value == "auto" else value for key, value in fields.items()}
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=RATE)
    schedule = getattr(lr_schedules, name)(optimizer, **fields)
    result = []
    for _ in range(UPDATES):
        result.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return result


def main():
    out = ["/// Made by scripts/goldens/deepspeed_schedules.py, which says what was run.", "///",
           f"/// DeepSpeed {deepspeed.__version__.split('+')[0]}, torch {torch.__version__.split('+')[0]}.",
           "enum DeepSpeedScheduleGoldens {",
           "  static let schedules: [(name: String, fields: String, rates: [Double])] = ["]
    for name, fields in CASES:
        values = ", ".join(repr(value).replace("e-0", "e-") for value in rates(name, fields))
        out += [f'    ("{name}", #"{json.dumps(fields)}"#,', f"      [{values}]),"]
    out += ["  ]", "}"]
    OUTPUT.write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
