#!/usr/bin/env python3
"""Times graft's encoding beside that of Hugging Face's `tokenizers`, as a ratio.

    tokenizer_speed.py --graft .build/release/graft --work DIR [--megabytes 10] [--rounds 3] [--only NAME]

DIR is that of tokenizers_all.py, with a tokenizer in each folder. The text is English, code and other scripts,
line by line. Both sides take turns, one thread each, then all cores each; the peer's fastest call counts, which
makes ids without offsets. Above 1.0, graft is faster.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

PEER = """
import json, sys, time
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[1])
tokenizer.no_truncation(); tokenizer.no_padding()
lines = open(sys.argv[2], encoding="utf-8", newline="\\n").read().split("\\n")[:-1]
start = time.perf_counter()
encodings = tokenizer.encode_batch_fast(lines)
seconds = time.perf_counter() - start
print(json.dumps({"texts": len(lines), "ids": sum(len(e) for e in encodings), "seconds": seconds}))
"""


def text(megabytes):
    import tokenizer_recipes as recipes
    lines, size, index = [], 0, 0
    corpus = [line for line in recipes.corpus()[:40000]]
    while size < megabytes * 1_000_000:
        line = corpus[index % len(corpus)]
        if index % 12 == 0:
            line = recipes.SENTENCES[index // 12 % len(recipes.SENTENCES)]
        if index >= len(corpus):
            line = f"{line} {index}"  # the second time around, no line is the same
        lines.append(line)
        size += len(line.encode()) + 1
        index += 1
    return "".join(line + "\n" for line in lines)


def run(command, threads):
    environment = dict(os.environ, TOKENIZERS_PARALLELISM="true" if threads > 1 else "false",
                       RAYON_NUM_THREADS=str(threads))
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)[:100]}: {result.stderr[-500:]}")
    return json.loads(result.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--graft", required=True)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only")
    parser.add_argument("--one-thread", action="store_true", help="leave out all cores")
    options = parser.parse_args()
    slower = 0
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory) / "text"
        file.write_text(text(options.megabytes), encoding="utf-8", newline="\n")
        for model in sorted(options.work.glob("*/tokenizer.json")):
            name = model.parent.name
            if name.startswith("pipeline") or options.only not in (None, name):
                continue
            ratios = []
            for threads in (1,) if options.one_thread else (1, os.cpu_count()):
                several = threads > 1
                if options.graft.endswith("Probe"):
                    ours = [options.graft, "count", str(model.parent), str(file)] + ["all"] * several
                else:
                    ours = [options.graft, "tokenize", "--model", str(model.parent), "--file", str(file), "--count"]
                    ours += ["--all-cores"] * several
                theirs = [sys.executable, "-c", PEER, str(model), str(file)]
                times = [(run(ours, threads), run(theirs, threads)) for _ in range(options.rounds)]
                if times[0][0]["ids"] != times[0][1]["ids"]:
                    sys.exit(f"{name}: {times[0][0]['ids']} ids, the peer makes {times[0][1]['ids']}")
                ratios.append(statistics.median(b["seconds"] / a["seconds"] for a, b in times))
                if not several:
                    speed = options.megabytes / statistics.median(a["seconds"] for a, _ in times)
            slower += ratios[0] < 1
            print(f"{name}: {ratios[0]:.2f} times as fast on one thread ({speed:.1f} MB/s here)"
                  + "".join(f", {ratio:.2f} on all cores" for ratio in ratios[1:]), flush=True)
    sys.exit(1 if slower else 0)


if __name__ == "__main__":
    main()
