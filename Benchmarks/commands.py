"""Whole commands against Python programs: generation, merging, opening a checkpoint, cold start, tokenising."""

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from measuring import ROOT, alternate, processor, processors, run, spread, timed, wanted
from tokenization import Tokenizing
from training import WORDS, Case, Runner, difference

PEERS = ROOT / "Benchmarks/peers"


class Generation:
    """Tokens/s of greedy continuations behind the first ones: a long run's time less a short one's."""

    short, long = 16, 80
    unit = "tokens/s"

    def __init__(self, key, batch, quantization, speed):
        self.key, self.batch, self.speed = key, batch, speed
        self.quantization = ["--quantize", quantization] if quantization else []
        self.name = f"generation, batch {batch}, {quantization or 'float32'} / transformers float32"

    def prepare(self, options, work):
        self.options, self.prompts = options, work / "prompts.jsonl"
        rng = random.Random(2)
        rows = [" ".join(rng.choices(WORDS, k=32)) for _ in range(self.batch)]
        self.prompts.write_text("".join(json.dumps({"prompt": row}) + "\n" for row in rows))

    def ours(self):
        seconds, texts, peak = {}, None, 0
        for count in (self.short, self.long):
            output, seconds[count], memory = timed([
                self.options.graft, "generate", "--model", self.options.model, "--prompts", self.prompts, "--batch-size",
                self.batch, "--max-new-tokens", count, "--min-new-tokens", count, "--temperature", "0", "--json",
                *self.quantization])
            texts, peak = json.loads(output), max(peak, memory)
        difference = seconds[self.long] - seconds[self.short]
        if difference <= 0:
            sys.exit(f"{self.name}: {self.long} tokens took no longer than {self.short}: the machine is too busy to time this")
        return {"value": self.batch * (self.long - self.short) / difference, "memory": peak, "texts": texts}

    def peer(self):
        output, _, memory = timed([
            self.options.python, PEERS / "generation.py", "--model", self.options.model, "--prompts", self.prompts,
            "--short", self.short, "--long", self.long])
        return {**json.loads(output), "memory": memory}

    def check(self, ours, peer):
        # Quantised weights are another model.
        if self.quantization:
            return
        found = [result["text"] for result in ours["texts"]["results"]]
        if found != peer["texts"]:
            sys.exit(f"{self.name}: the texts differ, so that the times mean nothing: {found}, not {peer['texts']}")


class Merge:
    """Whole processes that merge an adapter of rank 8 and write the model."""

    key, name, speed, unit = "merge", "merge, whole process", 3.0, "a second"

    def prepare(self, options, work):
        self.options, self.work, self.adapter = options, work, work / "adapter"
        run([options.python, PEERS / "merge.py", "make", options.model, self.adapter])

    def ours(self):
        shutil.rmtree(self.work / "ours", ignore_errors=True)
        _, seconds, memory = timed([self.options.graft, "merge", "--model", self.options.model, "--adapter", self.adapter,
                                    "--output", self.work / "ours"])
        return {"value": 1 / seconds, "memory": memory}

    def peer(self):
        _, seconds, memory = timed([self.options.python, PEERS / "merge.py", "merge", self.options.model, self.adapter,
                                    self.work / "peer"])
        return {"value": 1 / seconds, "memory": memory}

    def check(self, ours, peer):
        worst = float(run([self.options.python, PEERS / "merge.py", "compare", self.work / "ours", self.work / "peer"]))
        if worst > 1e-6:
            sys.exit(f"merged weights differ by {worst}")


class Opening:
    """Whole processes that open the checkpoint and predict one token."""

    key, name, speed, unit = "opening", "opening a checkpoint and one token, whole process", None, "a second"

    def prepare(self, options, work):
        self.options, self.prompts = options, work / "prompt.jsonl"
        self.prompts.write_text(json.dumps({"prompt": "The river in the garden"}) + "\n")

    def ours(self):
        output, seconds, memory = timed([
            self.options.graft, "generate", "--model", self.options.model, "--prompts", self.prompts, "--max-new-tokens", 1,
            "--temperature", "0", "--json"])
        texts = [result["text"] for result in json.loads(output)["results"]]
        return {"value": 1 / seconds, "memory": memory, "texts": texts}

    def peer(self):
        output, seconds, memory = timed([
            self.options.python, PEERS / "generation.py", "--model", self.options.model, "--prompts", self.prompts,
            "--short", 0, "--long", 1])
        return {"value": 1 / seconds, "memory": memory, "texts": json.loads(output)["texts"]}

    def check(self, ours, peer):
        if ours["texts"] != peer["texts"]:
            sys.exit(f"{self.name}: {ours['texts']}, not {peer['texts']}")


class ColdStart:
    """From the start of the process to the end of the first LoRA step, less what a later step takes."""

    key, name, speed, unit = "cold-start", "cold start: to the first step's end, less a step", None, "a second"
    # Most seconds.
    limit = 1.5
    steps = 4

    def prepare(self, options, work):
        options = argparse.Namespace(**{**vars(options), "steps": self.steps})
        self.case = Case("cold-start", self.name)
        self.runner = Runner(self.case, options, work)

    @staticmethod
    def found(result):
        later = statistics.median(result["seconds"][1:])
        return {**result, "value": 1 / (result["first_step"] - later), "memory": result["peak_memory"]}

    def ours(self):
        return self.found(self.runner.ours())

    def peer(self):
        return self.found(self.runner.peer())

    def check(self, ours, peer):
        difference(self.case, ours, peer)


COMMANDS = [
    Generation("generate-1", 1, None, 2.0), Generation("generate-8", 8, None, 2.0),
    Generation("generate-1-int8", 1, "int8", 4.0), Generation("generate-8-int8", 8, "int8", 4.0), Merge(), Opening(),
    ColdStart(), Tokenizing("tokenize-smollm2", "SmolLM2", "model"),
    Tokenizing("tokenize-minilm", "MiniLM", "minilm"),
]


def measure(options) -> list:
    chosen = options.cases.split(",") if options.cases else [command.key for command in COMMANDS]
    results = []
    for command in COMMANDS:
        if command.key not in chosen or not getattr(command, "is_possible", lambda _: True)(options):
            continue
        with tempfile.TemporaryDirectory() as folder:
            command.prepare(options, Path(folder))
            values = []
            for pair, found in alternate(options.pairs, command.ours, command.peer):
                command.check(found["ours"], found["peer"])
                values.append({**{side: found[side]["value"] for side in found},
                               "memory": {side: found[side]["memory"] for side in found}})
                print(f"{command.name}: pair {pair + 1}: {values[-1]['ours']:.2f} / {values[-1]['peer']:.2f} {command.unit}, "
                      + " / ".join(f"{found[side]['memory'] / 1e9:.2f}" for side in ("ours", "peer")) + " GB", flush=True)
        results.append({"key": command.key, "processor": processor(), "pairs": values})
    return results


def report(results: list) -> list:
    commands = {command.key: command for command in COMMANDS}
    lines = ["", "## Whole commands", "", "How many times as fast, \"ours / theirs\", and the share of the peer's peak memory.", "",
             *processors(results),
             "| what | pairs | times as fast | wanted | peak memory | ours |", "|---|---|---|---|---|---|"]
    for result in results:
        command, pairs = commands[result["key"]], result["pairs"]
        ratios = [pair["ours"] / pair["peer"] for pair in pairs]
        memory = [pair["memory"]["ours"] / pair["memory"]["peer"] for pair in pairs]
        own = statistics.median(pair["ours"] for pair in pairs)
        peak = statistics.median(pair["memory"]["ours"] for pair in pairs) / 1e9
        if command.unit == "a second":
            limit = getattr(command, "limit", None)
            figure = f"{1 / own:.2f} s" + ("" if limit is None else f" (wanted: {wanted(1 / own, limit, larger=False)})")
        else:
            figure = f"{own:.0f} {command.unit}"
        lines.append(f"| {command.name} | {len(ratios)} | {spread(ratios)} | "
                     f"{wanted(statistics.median(ratios), command.speed)} | {spread(memory)} | {figure}, {peak:.2f} GB |")
    return lines
