#!/usr/bin/env python3
"""Killed and resumed runs of `graft train` have bit-identical losses and weights."""

import os
import random
import shutil
import signal
import time

import torch
from safetensors.torch import load_file

from peers import Report, arguments, completion_rows, read_metrics, tiny_with_tokenizer, write_rows

STEPS, KILLS = 60, 4


class Runs:
    """One recipe (shuffled, with dropout, so that the generators' state matters) run in many ways."""

    def __init__(self, options, base):
        self.graft, self.work = options.graft, options.work
        data = write_rows(options.work / "rows.jsonl", completion_rows(50))
        self.recipe = [
            "train", "--model", base, "--data", data, "--max-steps", STEPS, "--batch-size", 2,
            "--gradient-accumulation", 2, "--learning-rate", 5e-3, "--schedule", "cosine",
            "--warmup-steps", 5, "--rank", 4, "--target-modules", "all-linear", "--dropout", 0.1,
            "--max-length", 128, "--seed", 7, "--save-every", 4, "--log-every", 1]

    def finish(self, output, *more):
        self.graft.run(*self.recipe, "--output", output, *more)

    def interrupt(self, output, number, after, *more):
        """Signals the run once metrics.jsonl has step `after`; its exit code, or None if it ended
        first. A killed process reports the negative signal number."""
        process = self.graft.start(*self.recipe, "--output", output, *more, log=self.work / "log.txt")
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            rows = read_metrics(output)
            if rows and rows[-1]["step"] >= after:
                time.sleep(random.random() * 0.05)
                break
            time.sleep(0.003)
        if process.poll() is not None:
            return None
        os.kill(process.pid, number)
        return process.wait(timeout=60)


def same_run(report, name, output, reference):
    """Every step once, losses and other logged numbers equal to the last bit, equal weights."""
    expected, actual = read_metrics(reference), read_metrics(output)
    steps = [row["step"] for row in actual]
    report.line(steps == [row["step"] for row in expected], f"{name}: every step logged once", f"{len(steps)} rows")
    for key in ("loss", "gradient_norm", "learning_rate", "tokens"):
        wanted = {row["step"]: row.get(key) for row in expected}
        wrong = [(row["step"], row.get(key), wanted.get(row["step"])) for row in actual
                 if row.get(key) != wanted.get(row["step"])]
        figure = f"{len(actual)} identical"
        if wrong:
            figure = f"{len(wrong)} differ, first: step {wrong[0][0]}: {wrong[0][1]}, not {wrong[0][2]}"
        report.line(not wrong, f"{name}: {key}", figure)
    file = "adapter_model.safetensors"
    one, other = load_file(output / file), load_file(reference / file)
    wrong = [key for key in one.keys() | other.keys()
             if key not in one or key not in other or not torch.equal(one[key], other[key])]
    report.line(not wrong, f"{name}: adapter", f"{len(one)} tensors identical" if not wrong else f"{wrong[:3]} differ")


def main():
    options = arguments(__doc__)
    report = Report("resume")
    seed = int(os.environ.get("INTEROP_SEED", time.time_ns() % 100000))
    random.seed(seed)
    report.note("random moments", f"INTEROP_SEED={seed}")
    runs = Runs(options, tiny_with_tokenizer(options.work / "base", options.smollm2))
    reference = options.work / "reference"

    def whole():
        runs.finish(reference)
        losses = [row["loss"] for row in read_metrics(reference)]
        report.line(len(losses) == STEPS and len(set(losses)) > STEPS // 2, "uninterrupted run", f"{len(losses)} losses")
        return reference

    def repeated():
        runs.finish(options.work / "again")
        same_run(report, "the same command again", options.work / "again", reference)

    def killed():
        output, landed = options.work / "killed", []
        moments = sorted(random.sample(range(5, STEPS - 4), KILLS))
        for moment in moments:
            code = runs.interrupt(output, signal.SIGKILL, moment, *(["--resume"] if landed else []))
            if code == -signal.SIGKILL:
                landed.append(moment)
            else:
                report.line(False, f"kill at step {moment}", f"ended with {code} before the kill")
                return
        runs.finish(output, "--resume")
        report.line(len(landed) >= 3, "kill -9 landed", f"after steps {landed}")
        same_run(report, "kill -9", output, reference)

    def early():
        """Killed before the first checkpoint: --resume starts over with the same numbers."""
        output = options.work / "early"
        code = runs.interrupt(output, signal.SIGKILL, 1)
        report.line(code == -signal.SIGKILL, "early kill landed", f"exit {code}")
        runs.finish(output, "--resume")
        same_run(report, "early kill", output, reference)

    def stopped(number):
        output, name = options.work / number.name, number.name
        code = runs.interrupt(output, number, 20)
        report.line(code == 75, f"{name} exit code", f"{code}, wanted 75")
        rows = read_metrics(output)
        last = rows[-1]["step"] if rows else 0
        report.line(20 <= last < STEPS, f"{name} stopped early", f"after step {last}")
        shutil.copytree(output, options.work / f"{name}-copy")
        runs.finish(output, "--resume")
        same_run(report, name, output, reference)
        # Nothing was lost: the resumed run goes on from the step that the signal saved.
        moved = options.work / f"{name}-copy"
        done = runs.graft.run(*runs.recipe, "--output", moved, "--resume", moved)
        same_run(report, f"{name}, --resume DIR of a moved run", moved, reference)
        report.line(f"{last}" in done.stderr, f"{name} resume names its step", f"step {last}")

    if report.case("uninterrupted run", whole):
        report.case("repeat", repeated)
        report.case("kill -9", killed)
        report.case("early kill", early)
        report.case("SIGTERM", stopped, signal.SIGTERM)
        report.case("SIGINT", stopped, signal.SIGINT)
    report.finish()


if __name__ == "__main__":
    main()
