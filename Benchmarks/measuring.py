"""What all benchmarks share: fresh processes, alternating pairs, ratios with their spread."""

import os
import statistics
import subprocess
import sys
import time


def environment() -> dict:
    return {**os.environ, "OMP_NUM_THREADS": str(os.cpu_count()), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def run(command: list) -> str:
    """Standard output of a command; ends the benchmark where it fails."""
    return timed(command)[0]


def timed(command: list) -> tuple:
    """Standard output and seconds of the whole process."""
    begin = time.perf_counter()
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, env=environment())
    output, errors = process.communicate()
    seconds = time.perf_counter() - begin
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{errors[-2000:]}")
    return output, seconds


def spread(values: list, digits: int = 2) -> str:
    """The median with the smallest and the largest."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def alternate(pairs: int, ours, peer):
    """Calls both in each pair, in turn the one and the other first; yields what they gave."""
    for pair in range(pairs):
        found = {}
        for side in [("ours", ours), ("peer", peer)][::1 if pair % 2 == 0 else -1]:
            found[side[0]] = side[1]()
        yield pair, found


def wanted(figure: float, target, larger: bool = True) -> str:
    """A target and whether the figure meets it; empty where there is none."""
    if target is None:
        return ""
    met = figure >= target if larger else figure <= target
    return f"{target:g}" + ("" if met else ", missed")
