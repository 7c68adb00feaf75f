"""Two processes on two cores against one process with two threads: the same LoRA steps of graft."""

import copy
import statistics
import tempfile
from pathlib import Path

from measuring import alternate, processor, processors, spread, wanted
from training import Case, Runner, difference, rate

# Least ratio of tokens/s.
SPEED = 0.9
# Each process adds up its own rows, in another order; what int8 codes make of the last digits is larger.
CASES = [Case("float32", "float32 base", limit=1e-5), Case("int8", "int8 base", ours=["--quantize", "int8"], limit=2e-2)]


def measure(options) -> list:
    results = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            one = Runner(case, options, Path(folder))
            two = copy.copy(one)
            two.launch, two.threads = ["launch", "--processes", "2", "--"], 1
            pairs = []
            for pair, found in alternate(options.pairs, two.ours, one.ours):
                apart = difference(case, found["ours"], found["peer"])
                pairs.append({"two": rate(found["ours"]), "one": rate(found["peer"]), "apart": apart})
                print(f"{case.name}: pair {pair + 1}: two processes {pairs[-1]['two']:.0f}, one {pairs[-1]['one']:.0f} "
                      f"tokens/s; losses within {apart:.1e}", flush=True)
        results.append({"key": case.key, "processor": processor(), "pairs": pairs})
    return results


def report(results: list) -> list:
    names = {case.key: case.name for case in CASES}
    lines = ["", "## Two processes on two cores", "",
             "Tokens/s of `graft launch --processes 2` against one process with two threads, the same updates of 4 x 256 tokens;",
             "gradients travel over the loopback.", "", *processors(results),
             "| base | pairs | two / one | wanted | two: tokens/s | losses within |", "|---|---|---|---|---|---|"]
    for result in results:
        ratios = [pair["two"] / pair["one"] for pair in result["pairs"]]
        own = statistics.median(pair["two"] for pair in result["pairs"])
        apart = max(pair["apart"] for pair in result["pairs"])
        lines.append(f"| {names[result['key']]} | {len(ratios)} | {spread(ratios)} | {wanted(statistics.median(ratios), SPEED)} | "
                     f"{own:.0f} | {apart:.1e} |")
    return lines
