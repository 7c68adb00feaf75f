"""What all benchmarks share: fresh processes, alternating pairs, ratios with their spread."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def environment(threads: int | None = None) -> dict:
    count = str(threads or os.cpu_count())
    return {**os.environ, "OMP_NUM_THREADS": count, "RAYON_NUM_THREADS": count, "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false"}


def run(command: list) -> str:
    """Standard output of a command; ends the benchmark where it fails."""
    return timed(command)[0]


def timed(command: list, threads: int | None = None, moment=None) -> tuple:
    """Standard output, seconds and peak memory in bytes of the whole process.

    `moment` is called with each line of standard error and the seconds since the start, when the line is written.
    The memory is the kernel's figure for the process; it is never less than this program's own.
    """
    begin = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen([str(word) for word in command], stdout=output, stderr=subprocess.PIPE, text=True,
                                   env=environment(threads))
        errors = []
        for line in process.stderr:
            errors.append(line)
            if moment:
                moment(line, time.perf_counter() - begin)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stderr.close()
        if process.returncode != 0:
            sys.exit(f"{' '.join(map(str, command))}\n{''.join(errors)[-2000:]}")
        output.seek(0)
        return output.read(), seconds, usage.ru_maxrss * 1024


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


def processor() -> str:
    """The processor's name with the numbers that tell its generation; empty where the system does not say."""
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines() if ":" in line)
    except OSError:
        return ""
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    return f"{fields.get('model name', '?')}, family {fields.get('cpu family', '?')}, model {fields.get('model', '?')}"


def processors(results: list) -> list:
    """A line that says where figures are from; those of before this was written down say nothing."""
    names = sorted({result.get("processor") or "not recorded" for result in results})
    if len(names) == 1:
        return [f"Processor: {names[0]}.", ""]
    return ["Processors: " + "; ".join(
        f"{name} ({', '.join(result['key'] for result in results if (result.get('processor') or 'not recorded') == name)})"
        for name in names) + ".", ""]
