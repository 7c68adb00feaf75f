"""What the scripts about runs of several processes share: their arguments, data rows, runs, results and checks."""
from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path


class ProcessRuns:
    """A fresh directory with data and runs, and the checks of one script."""

    def __init__(self, more: dict[str, int] | None = None):
        """Reads the command line; `more` are options with a number, by name with their defaults."""
        parser = argparse.ArgumentParser()
        for name in ("graft", "work", "smollm2"):
            parser.add_argument(f"--{name}", required=True)
        for name, value in (more or {}).items():
            parser.add_argument(f"--{name}", type=int, default=value)
        self.options = parser.parse_args()
        self.work = Path(self.options.work)
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        self.graft = os.path.abspath(self.options.graft)
        self.smollm2 = os.path.abspath(self.options.smollm2)
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.failures = 0

    def rows(self, name: str, count: int) -> str:
        """Writes so many rows of different lengths; the file's path."""
        (self.work / name).write_text("".join(
            json.dumps({"prompt": f"{i} plus {i} is", "completion": f" {2 * i}" + " indeed" * (i % 3)}) + "\n"
            for i in range(count)))
        return str(self.work / name)

    def output(self, name: str) -> list[str]:
        return ["--output", str(self.work / name)]

    def launch(self, processes: int, *more) -> list[str]:
        """Words before those of `train`."""
        return [self.graft, "launch", "--processes", str(processes), *map(str, more), "--"]

    def run(self, command, timeout: float = 900, **more) -> subprocess.CompletedProcess:
        return subprocess.run(command, **{"env": self.environment, "capture_output": True, "text": True,
                                          "timeout": timeout, **more})

    def start(self, command, **more) -> subprocess.Popen:
        return subprocess.Popen(command, **{"env": self.environment, "stdout": subprocess.PIPE,
                                            "stderr": subprocess.PIPE, "text": True, **more})

    def metrics(self, name: str) -> list[dict]:
        """Rows of a run's metrics; none before there are any."""
        path = self.work / name / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def losses(self, name: str) -> list[float]:
        return [row["loss"] for row in self.metrics(name) if "loss" in row]

    def adapter(self, name: str) -> bytes:
        return (self.work / name / "adapter_model.safetensors").read_bytes()

    def same(self, name: str, other: str) -> bool:
        """Whether losses and adapter of two runs are the same to the last bit."""
        return self.losses(name) == self.losses(other) and self.adapter(name) == self.adapter(other)

    def lines(self, name: str) -> int:
        """Rows that a run has logged, read while it may be writing."""
        path = self.work / name / "metrics.jsonl"
        return path.read_text().count("\n") if path.exists() else 0

    def wait_for_lines(self, name: str, count: int, seconds: float = 120) -> None:
        limit = time.time() + seconds
        while time.time() < limit and self.lines(name) < count:
            time.sleep(0.05)

    def check(self, name: str, passed, detail="") -> bool:
        passed = bool(passed)
        self.failures += not passed
        print(("ok   " if passed else "FAIL ") + name, "" if passed else detail, flush=True)
        return passed

    def finish(self, success: str):
        print(f"{self.failures} failed" if self.failures else success)
        sys.exit(1 if self.failures else 0)


def read_processes(file: str):
    """Number and content of a file in `/proc` of every process."""
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                yield int(place.name), (place / file).read_bytes().decode(errors="replace")
            except OSError:
                pass  # It has ended.


def children(parent: int) -> list[int]:
    """Processes that another one started and that have not ended."""
    found = [(number, text.rpartition(")")[2].split()) for number, text in read_processes("stat")]
    return sorted(number for number, fields in found
                  if len(fields) > 1 and fields[0] != "Z" and int(fields[1]) == parent)


def with_words(program: str, word: str) -> list[int]:
    """Processes of a program that have a word among their arguments."""
    found = [(number, text.split("\0")) for number, text in read_processes("cmdline")]
    return sorted(number for number, words in found if words[0] == program and word in words)
