#!/usr/bin/env python3
"""A table of perplexities: graft and bitsandbytes on one held-out text, format by format.

    perplexity.py --model DIR [--graft .build/release/graft] [--data Examples/text/held-out.jsonl] [--peer-only]

Both sides take exp of the mean over all targets of -log p in nats, a row a sequence, one row at a
time: which columns LLM.int8 leaves out depends on what else is in the batch. The float32 rows must
agree to 1e-4, so that the others compare the formats and nothing else. The last column is the paired
difference over rows: within two standard errors of 0 neither side is shown to be better.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from pathlib import Path

import torch
from peers import Graft, load_model
from quantized_models import quantize
from transformers import AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
# Row -> (options of graft, format and changes of the peer's configuration).
ROWS = {
    "float32": ([], None, {}),
    "int8, threshold 6": (["--quantize", "int8", "--int8-threshold", 6], "int8", dict(llm_int8_threshold=6.0)),
    "int8, threshold 0": (["--quantize", "int8", "--int8-threshold", 0], "int8", dict(llm_int8_threshold=0.0)),
    "nf4": (["--quantize", "nf4"], "nf4", {}),
    "nf4, double quant": (["--quantize", "nf4", "--double-quant"], "nf4 double", {}),
    "fp4": (["--quantize", "fp4"], "fp4", {}),
}
# Of the ratio to 1. 4-bit weights are the same numbers on both sides. int8 rounds what enters a layer:
# single codes differ with the last bit, and with bitsandbytes' cast to float16 before. The formula with
# inputs in float32 and in float16 is 0.2 % apart, bitsandbytes 0.4 % from the latter.
LIMITS = {"float32": 1e-4, "int8, threshold 6": 1e-2, "int8, threshold 0": 1e-2}
FOUR_BIT = 1e-3


def sequences(directory: Path, data: Path) -> list[torch.Tensor]:
    """Rows as `graft evaluate` encodes text: the tokenizer's own frame, then an end of text."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    result = []
    for line in data.read_text().splitlines():
        ids = tokenizer(json.loads(line)["text"])["input_ids"]
        if tokenizer.eos_token_id is not None and ids[-1] != tokenizer.eos_token_id:
            ids.append(tokenizer.eos_token_id)
        result.append(torch.tensor([ids]))
    return result


def loss(logits: torch.Tensor, ids: torch.Tensor) -> float:
    """Summed over the targets of one row."""
    return float(torch.nn.functional.cross_entropy(logits[0, :-1].float(), ids[0, 1:], reduction="sum"))


@torch.no_grad()
def peer_losses(model, rows: list[torch.Tensor]) -> list[float]:
    return [loss(model(input_ids=ids, use_cache=False).logits, ids) for ids in rows]


def graft_losses(graft, model: Path, rows: list[torch.Tensor], spelled: list, work: Path) -> list[float]:
    return [loss(graft.forward(model, {"input_ids": ids}, work, more=spelled)["logits"], ids) for ids in rows]


def excess(ours: list[float], peer: list[float], counts: list[int]) -> tuple[float, float]:
    """How much more a target costs here, in nats, and the standard error of that over rows."""
    mean = (sum(ours) - sum(peer)) / sum(counts)
    spread = sum((a - b - mean * n) ** 2 for a, b, n in zip(ours, peer, counts))
    return mean, math.sqrt(spread * len(counts) / (len(counts) - 1)) / sum(counts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="model directory in float32")
    parser.add_argument("--graft", default=ROOT / ".build/release/graft", help="the graft executable")
    parser.add_argument("--data", type=Path, default=ROOT / "Examples/text/held-out.jsonl")
    parser.add_argument("--peer-only", action="store_true", help="leave graft's column empty")
    options = parser.parse_args()
    graft, rows = Graft(str(options.graft)), sequences(options.model, options.data)
    counts = [ids.shape[1] - 1 for ids in rows]
    print(f"{len(rows)} rows, {sum(counts)} targets\n\n| weights | graft | bitsandbytes | ratio | graft's excess, nats "
          "a target (standard error) |\n|---|---|---|---|---|", flush=True)
    failed, seconds = [], []
    for label, (spelled, kind, changes) in ROWS.items():
        begin = time.perf_counter()
        model = quantize(options.model, kind, **changes) if kind else load_model(options.model)
        theirs = peer_losses(model, rows)
        peer = math.exp(sum(theirs) / sum(counts))
        del model
        seconds.append(f"{label} {time.perf_counter() - begin:.0f} s")
        if options.peer_only:
            print(f"| {label} | | {peer:.4f} | | |", flush=True)
            continue
        ours = graft.json("evaluate", "--model", options.model, "--data", options.data, "--metrics",
                          "loss,perplexity", "--batch-size", 1, *spelled)["perplexity"]
        with tempfile.TemporaryDirectory() as work:
            mine = graft_losses(graft, options.model, rows, spelled, Path(work))
        mean, error = excess(mine, theirs, counts)
        print(f"| {label} | {ours:.4f} | {peer:.4f} | {ours / peer:.5f} | {mean:+.5f} ({error:.5f}) |", flush=True)
        limit = LIMITS.get(label, FOUR_BIT)
        if not abs(ours / peer - 1) <= limit:
            failed.append(f"{label}: the ratio {ours / peer:.6f} is more than {limit:.0e} from 1")
    print(f"\nThe peer took: {', '.join(seconds)}.")
    sys.exit("\n".join(failed) if failed else 0)


if __name__ == "__main__":
    main()
