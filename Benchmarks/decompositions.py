"""Times the randomised against the exact singular value decomposition, after checking its error."""

import json
import os
import subprocess
import sys

# How many times as fast, and how much more error, at most.
FASTER, ERROR = 10, 1.01


def measure(options, root) -> dict:
    environment = {**os.environ, "OMP_NUM_THREADS": str(os.cpu_count())}
    command = [str(options.graft.parent / "DecompositionBenchmark")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=root, check=True)
    result = json.loads(done.stdout.strip().splitlines()[-1])
    for row in result["rows"]:
        if row["error_ratio"] > ERROR or row["told_error_off"] > 1e-3:
            sys.exit(f"the randomised decomposition is not near enough, so that its time means nothing: {row}")
        print(f"decompositions: {row['matrix']}: {row['exact_milliseconds'] / row['randomized_milliseconds']:.0f} "
              f"times as fast, error {row['error_ratio']:.4f} of the exact one's", flush=True)
    return result


def report(result: dict) -> list:
    size, rank = result["size"], result["rank"]
    lines = ["", "## Singular values", "",
             f"The leading {rank} singular values and vectors of a {size} x {size} matrix in float32: randomised against",
             "LAPACK's exact decomposition, both by `Adapters`; the error is the Frobenius norm of what is left, the worst",
             "of five seeds.", "",
             "| matrix | exact | randomised | times as fast | wanted | error against the best |",
             "|---|---|---|---|---|---|"]
    for row in result["rows"]:
        exact, randomised = row["exact_milliseconds"] / 1000, row["randomized_milliseconds"] / 1000
        lines.append(f"| {row['matrix']} | {exact:.1f} s | {randomised:.2f} s | {exact / randomised:.0f} | {FASTER} | "
                     f"{row['error_ratio']:.5f} |")
    return lines
