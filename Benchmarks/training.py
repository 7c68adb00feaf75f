"""LoRA steps of graft against transformers with PEFT: speed, peak memory, time to the first step."""

import json
import random
import re
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from measuring import ROOT, alternate, processor, processors, run, spread, timed, wanted

WORDS = ("the of and to in river clock garden violin harbour lantern orchard compass quiet winter "
         "letter bridge market stone window paper morning captain island engine silver narrow").split()


@dataclass
class Case:
    """Rank 8 on all linear layers, AdamW; `peer` is a mode of peers/lora_training.py."""

    key: str
    name: str
    ours: list = field(default_factory=list)
    peer: str = "eager"
    shape: str = "smollm2"
    rows: str = "whole"
    length: int = 256
    # Largest relative difference of the losses: a quantised base is another one in each program.
    limit: float = 1e-3
    # Least ratio of tokens/s, largest one of peak memory.
    speed: float | None = None
    memory: float | None = None
    # Times as many steps: where batches differ in length, few of them say little.
    longer: int = 1


CASES = [
    Case("float32", "float32 / eager", speed=2.0, memory=0.35),
    Case("compile", "float32 / torch.compile", peer="compile"),
    Case("recomputed", "activations computed again / eager", ours=["--activation-checkpointing"], memory=0.15),
    Case("recomputed-both", "activations computed again / the same", ours=["--activation-checkpointing"], peer="checkpointing"),
    Case("int8", "int8 base / float32 eager", ours=["--quantize", "int8"], limit=2e-2, speed=5.0, memory=0.2),
    Case("int8-both", "int8 base / bitsandbytes int8", ours=["--quantize", "int8"], peer="int8", limit=2e-2),
    Case("nf4", "nf4 base / bitsandbytes nf4", ours=["--quantize", "nf4"], peer="nf4", limit=5e-3, speed=4.0),
    Case(
        "nf4-bfloat16", "nf4 base, its products in bfloat16 / bitsandbytes nf4",
        ours=["--quantize", "nf4", "--compute-dtype", "bfloat16"], peer="nf4", limit=2e-3,
    ),
    Case("llama", "Llama-3.2-1B's layers, 4 of them, float32 / eager", shape="llama"),
    Case("masked", "three quarters of the tokens masked, float32 / eager", rows="masked", speed=2.5),
    Case("short", "rows of 8 to 256 tokens, float32 / eager", rows="short", speed=3.0, longer=4),
]


def write_rows(kind: str, path: Path, count: int, length: int):
    rng = random.Random(1)

    def words(number):
        return " ".join(rng.choices(WORDS, k=number))

    with path.open("w") as file:
        for _ in range(count):
            if kind == "masked":
                # Some words are two tokens; nothing may be cut, as each side cuts in its own way.
                row = {"prompt": words(length * 9 // 16), "completion": " " + words(length * 3 // 16)}
            elif kind == "short":
                row = {"text": words(int(8 * 32 ** rng.random()) * 3 // 4)}
            else:
                row = {"text": words(length + 40)}
            file.write(json.dumps(row) + "\n")


class Runner:
    """One case in a directory: its model, adapter and data, and a run of either side."""

    batch = 4
    # What is in front of `train`, and the threads of a process; None for all cores.
    launch: list = []
    threads: int | None = None

    def __init__(self, case: Case, options, work: Path):
        self.case, self.options, self.work = case, options, work
        self.model, self.steps = options.model, options.steps * case.longer
        if case.shape == "llama":
            self.model = work / "model"
            run([options.python, ROOT / "Benchmarks/peers/llama_shape.py", options.model, self.model])
        self.adapter, self.data = work / "adapter", work / "rows.jsonl"
        write_rows(case.rows, self.data, self.batch * self.steps, case.length)
        make = ("import sys, torch; from peft import LoraConfig, get_peft_model; "
                "from transformers import AutoModelForCausalLM; torch.manual_seed(0); "
                "get_peft_model(AutoModelForCausalLM.from_pretrained(sys.argv[1]), LoraConfig(r=8, lora_alpha=16, "
                "target_modules='all-linear', task_type='CAUSAL_LM')).save_pretrained(sys.argv[2])")
        run([options.python, "-c", make, self.model, self.adapter])

    @property
    def rate(self) -> str:
        # Sides that make up batches in their own way see the same rows of the same model.
        return "0" if self.case.rows == "short" else "2e-4"

    def peer(self) -> dict:
        return json.loads(run([
            self.options.python, ROOT / "Benchmarks/peers/lora_training.py", "--model", self.model, "--adapter", self.adapter,
            "--data", self.data, "--batch", self.batch, "--length", self.case.length, "--steps", self.steps,
            "--mode", self.case.peer, "--learning-rate", self.rate]))

    def ours(self) -> dict:
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            output = Path(folder) / "run"
            layout = [] if self.case.rows == "short" else ["--no-shuffle", "--no-group-by-length"]
            # When the first step was over, by the line that tells of it.
            ends = []

            def moment(line, seconds):
                if re.match(r"(\[\S+\] )?step ", line):
                    ends.append(seconds)

            timed([
                self.options.graft, *self.launch, "train", "--model", self.model, "--adapter", self.adapter, "--data", self.data,
                "--output", output, "--batch-size", self.batch, "--max-length", self.case.length, "--max-steps",
                self.steps, "--learning-rate", self.rate, "--schedule", "constant", "--log-every", "1",
                *layout, *self.case.ours], threads=self.threads, moment=moment)
            rows = [json.loads(line) for line in (output / "metrics.jsonl").open()]
        tokens = [b["tokens"] - a for a, b in zip([0] + [row["tokens"] for row in rows], rows)]
        return {"losses": [row["loss"] for row in rows], "tokens": tokens, "peak_memory": rows[-1]["peak_memory_bytes"],
                "seconds": [count / row["tokens_per_second"] for count, row in zip(tokens, rows)],
                "first_step": ends[0]}


def difference(case: Case, ours: dict, peer: dict) -> float:
    """The largest relative difference of losses; ends the benchmark where they are not the same."""

    def comparable(side):
        if case.rows != "short":
            return side["losses"]
        # All rows once, each token the same weight; of a row's tokens the first is not asked.
        targets = [count - Runner.batch for count in side["tokens"]]
        return [sum(loss * count for loss, count in zip(side["losses"], targets)) / sum(targets)]

    a, b = comparable(ours), comparable(peer)
    worst = max(abs(x - y) / abs(y) for x, y in zip(a, b))
    if len(a) != len(b) or worst > case.limit:
        sys.exit(f"{case.name}: the losses differ, so that the times mean nothing: {a}, not {b}")
    return worst


def rate(side: dict) -> float:
    """Tokens of rows, padding not counted, in a second; the first step warms caches up."""
    return sum(side["tokens"][1:]) / sum(side["seconds"][1:])


def measure(options) -> list:
    chosen = options.cases.split(",") if options.cases else [case.key for case in CASES]
    results = []
    for case in CASES:
        if case.key not in chosen:
            continue
        with tempfile.TemporaryDirectory() as folder:
            runner = Runner(case, options, Path(folder))
            pairs = []
            for pair, found in alternate(options.pairs, runner.ours, runner.peer):
                apart = difference(case, found["ours"], found["peer"])
                pairs.append(found)
                print(f"{case.name}: pair {pair + 1}: " + "; ".join(
                    f"{name} {rate(found[side]):.0f} tokens/s, {found[side]['peak_memory'] / 1e9:.2f} GB, first step after "
                    f"{found[side]['first_step']:.1f} s" for name, side in (("graft", "ours"), ("peer", "peer")))
                    + f"; losses within {apart:.1e}", flush=True)
        results.append({"key": case.key, "processor": processor(), "pairs": pairs})
    return results


def report(results: list) -> list:
    cases = {case.key: case for case in CASES}
    lines = [
        "## LoRA steps", "",
        "Rank 8 on all linear layers, 4 rows of up to 256 tokens, SmolLM2-135M unless the case says otherwise; \"ours / theirs\".",
        "More is better for tokens/s (those of rows, without padding), less for memory and for the seconds from the start of",
        "the process to the end of the first step.", "", *processors(results),
        "| case | pairs | tokens/s | wanted | peak memory | wanted | time to first step | ours: tokens/s, GB |",
        "|---|---|---|---|---|---|---|---|"]
    for result in results:
        case, pairs = cases[result["key"]], result["pairs"]
        speed = [rate(pair["ours"]) / rate(pair["peer"]) for pair in pairs]
        memory = [pair["ours"]["peak_memory"] / pair["peer"]["peak_memory"] for pair in pairs]
        first = [pair["ours"]["first_step"] / pair["peer"]["first_step"] for pair in pairs]
        own = statistics.median(rate(pair["ours"]) for pair in pairs)
        peak = statistics.median(pair["ours"]["peak_memory"] for pair in pairs) / 1e9
        lines.append(
            f"| {case.name} | {len(pairs)} | {spread(speed)} | {wanted(statistics.median(speed), case.speed)} | "
            f"{spread(memory)} | {wanted(statistics.median(memory), case.memory, larger=False)} | {spread(first)} | "
            f"{own:.0f}, {peak:.2f} |")
    return lines
