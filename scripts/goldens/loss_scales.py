#!/usr/bin/env python3
"""Writes Tests/TrainingTests/LossScaleGoldens.swift with DeepSpeed's DynamicLossScaler.

Random updates, one in seven of them bad, seed 1; the scale behind each of 60. A walk that DeepSpeed ends at
the least scale ends there. Equal to the last bit. `swift format -i` afterwards breaks the lines.
"""

import random
from pathlib import Path
from unittest import mock

import deepspeed
from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler

OUTPUT = Path(__file__).parents[2] / "Tests/TrainingTests/LossScaleGoldens.swift"
# First scale, window, hysteresis, whether each good update restores it, least scale.
CASES = [(65536, 1000, 2, False, 1), (1024, 3, 1, False, 1), (1024, 4, 2, False, 16), (256, 5, 3, True, 1),
         (64, 2, 2, True, 4), (8, 9, 1, False, 2)]


def walk(first, window, hysteresis, consecutive, least):
    scaler = DynamicLossScaler(init_scale=first, scale_window=window, min_scale=least,
                               delayed_shift=hysteresis, consecutive_hysteresis=consecutive)
    draws = random.Random(1)
    updates, scales = [], []
    for _ in range(60):
        good = draws.randrange(7) > 0
        updates.append(good)
        try:
            scaler.update_scale(not good)
        except Exception:
            break
        scales.append(float(scaler.cur_scale))
    return updates, scales


def main():
    out = ["import Training", "", "/// Made by scripts/goldens/loss_scales.py, which says what was run.", "///",
           f"/// DeepSpeed {deepspeed.__version__.split('+')[0]}.", "enum LossScaleGoldens {",
           "  /// Whether each update is good, and the scale behind it; one scale less where the run ends.",
           "  static let walks: [(settings: LossScaling, updates: [Bool], scales: [Double])] = ["]
    with mock.patch("deepspeed.comm.get_rank", return_value=1):
        for case in CASES:
            updates, scales = walk(*case)
            first, window, hysteresis, consecutive, least = case
            out += [f"    (settings({first}, {window}, {hysteresis}, {str(consecutive).lower()}, {least}),",
                    f"      {str(updates).lower()},", f"      {scales}),"]
    out += ["  ]", "", "  private static func settings(",
            "    _ initial: Double, _ window: Int, _ hysteresis: Int, _ isConsecutive: Bool, _ minimum: Double",
            "  ) -> LossScaling {", "    var settings = LossScaling()",
            "    (settings.initial, settings.window, settings.hysteresis) = (initial, window, hysteresis)",
            "    (settings.isConsecutive, settings.minimum) = (isConsecutive, minimum)",
            "    return settings", "  }", "}"]
    OUTPUT.write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
