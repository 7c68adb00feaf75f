"""How the cost of a LoRA step grows with length, batch, rank, width and threads, beside its bounds."""

import json
import os
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import plot
from bounds import Shape, kept_bytes, product_seconds
from measuring import ROOT, run, timed
from training import write_rows

FIGURE = "Scaling.svg"
# What is not swept: SmolLM2-135M, 4 rows of 256 tokens, rank 8.
REFERENCE = {"length": 256, "batch": 4, "rank": 8, "width": None, "threads": os.cpu_count()}
# Inner width, heads and key heads of models of random numbers with four layers.
WIDTHS = {256: (768, 4, 2), 576: (1536, 9, 3), 1024: (4096, 16, 4), 2048: (8192, 32, 8)}
SWEEPS = [
    # Rows alone, so that the longest fit into a small machine.
    ("length", "tokens of a row, one row", [{"length": n, "batch": 1} for n in (128, 256, 512, 1024, 2048, 4096)]),
    ("batch", "rows of 256 tokens", [{"batch": n} for n in (1, 2, 4, 8, 16)]),
    # SmolLM2's narrowest layers have 192 outputs, the most that a rank may be.
    ("rank", "rank, width 1024, four layers", [{"rank": n, "width": 1024} for n in (4, 8, 16, 32, 64, 128, 256)]),
    ("width", "width of a model with four layers", [{"width": n} for n in WIDTHS]),
    ("threads", "threads", [{"threads": n} for n in sorted({1, os.cpu_count()})]),
]


class Bench:
    """Runs `graft train` at points, and measures the bound of each right beside it."""

    def __init__(self, options, work: Path):
        self.options, self.work, self.models = options, work, {None: options.model}
        # A table of embeddings and one narrow block: what a process takes by itself.
        self.own = self.peak({**REFERENCE, "width": 64, "length": 16, "batch": 1})

    def model(self, width):
        if width not in self.models:
            path = self.work / f"width-{width}"
            inner, heads, key_heads = WIDTHS.get(width, (64, 1, 1))
            run([self.options.python, ROOT / "Benchmarks/peers/llama_shape.py", self.options.model, path, "--width", width,
                 "--inner", inner, "--layers", 4 if width in WIDTHS else 1, "--heads", heads, "--key-heads", key_heads])
            self.models[width] = path
        return self.models[width]

    def train(self, point: dict, steps: int, more: list = []) -> list:
        """Rows of metrics, each with `step_seconds`."""
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            data, output = Path(folder) / "rows.jsonl", Path(folder) / "run"
            write_rows("whole", data, point["batch"] * steps, point["length"])
            timed([self.options.graft, "train", "--model", self.model(point["width"]), "--data", data, "--output", output,
                   "--batch-size", point["batch"], "--max-length", point["length"], "--max-steps", steps, "--rank",
                   point["rank"], "--threads", point["threads"], "--no-shuffle", "--no-group-by-length", "--log-every", 1,
                   "--quiet", *more], threads=point["threads"])
            rows = [json.loads(line) for line in (output / "metrics.jsonl").open()]
            trace = output / "profile.json"
            self.trace = json.loads(trace.read_text()) if trace.exists() else None
        expected = point["batch"] * point["length"]
        tokens = [b["tokens"] - a for a, b in zip([0] + [row["tokens"] for row in rows], rows)]
        if set(tokens) != {expected} or not all(row["loss"] > 0 for row in rows):
            sys.exit(f"{point}: steps of {tokens} tokens, expected {expected}")
        return [{**row, "step_seconds": count / row["tokens_per_second"]} for count, row in zip(tokens, rows)]

    def peak(self, point: dict) -> int:
        return self.train(point, 2)[-1]["peak_memory_bytes"]

    def measure(self, change: dict) -> dict:
        point = {**REFERENCE, **change}
        config = json.loads((Path(self.model(point["width"])) / "config.json").read_text())
        shape = Shape.of(config, point["rank"], point["batch"], point["length"])
        bounds = [product_seconds(self.options.python, shape, point["threads"])]
        rows = self.train(point, self.options.steps)
        bounds.append(product_seconds(self.options.python, shape, point["threads"]))
        # The machine's speed changes: the bound is what it is at its best.
        bound = min(bounds, key=lambda seconds: sum(seconds.values()))
        step = statistics.median(row["step_seconds"] for row in rows[1:])
        found = {"point": change, "rows": shape.rows, "seconds": step, "products": bound,
                 "operations": shape.operations(), "peak": rows[-1]["peak_memory_bytes"], "kept": kept_bytes(shape)}
        print(f"{change}: {shape.rows / step:.0f} tokens/s, {step:.2f} s of which products need {sum(bound.values()):.2f}; "
              f"{found['peak'] / 1e9:.2f} GB, to be kept {sum(found['kept'].values()) / 1e9:.2f}", flush=True)
        return found

    def profile(self) -> dict:
        """Seconds of a step at the reference by kind of work, and bytes of tensors, from a trace of it."""
        self.train(dict(REFERENCE), 3, ["--profile"])
        spans = {event["name"]: event["args"] for event in self.trace["traceEvents"] if event["ph"] == "X"
                 and event["args"]["phase"] in ("step", "forward") and event["cat"] in ("phase", "layer")}
        return {"work": kinds_of_work(self.trace), "held_most": spans["step"]["held_bytes_most"],
                "activations": spans["model"]["held_bytes_after"] - spans["model"]["held_bytes_before"]}


def kinds_of_work(trace: dict) -> dict:
    """Own seconds of a trace's events by kind of work."""
    events = sorted((event for event in trace["traceEvents"] if event["ph"] == "X" and event["tid"] == 0),
                    key=lambda event: (event["ts"], -event["dur"]))
    own, stack = [event["dur"] for event in events], []
    for index, event in enumerate(events):
        while stack and stack[-1][1] <= event["ts"]:
            stack.pop()
        if stack:
            own[stack[-1][0]] -= event["dur"]
        stack.append((index, event["ts"] + event["dur"]))
    result = defaultdict(float)
    for event, time in zip(events, own):
        name = event["name"]
        if event["cat"] not in ("kernel", "operator"):
            kind = "between kernels"
        elif "attention" in name:
            kind = "attention"
        elif event["cat"] == "kernel":
            kind = f"kernel {name}"
        elif event["args"].get("operations"):
            kind = "products"
        else:
            kind = "other operators"
        result[kind] += time / 1e6
    return dict(result)


def measure(options) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, Path(folder))
        sweeps = {name: [bench.measure(change) for change in points] for name, _, points in SWEEPS}
        return {"own": bench.own, "sweeps": sweeps, "profile": bench.profile()}


def bound_rate(found: dict) -> float:
    return found["rows"] / sum(found["products"].values())


def report(result: dict, folder: Path) -> list:
    titles = {name: title for name, title, _ in SWEEPS}
    lines = [
        "", "## How cost grows", "",
        "A LoRA step in float32, SmolLM2-135M, 4 rows of 256 tokens, rank 8, all threads, where a row says nothing else.",
        "The bound of the time is that of the step's products of matrices alone (base, adapters, visible half of attention,",
        "head), each by the faster library of LibTorch's, measured in the same run. The bound of the memory is what has to be",
        "held at the end of the forward pass: weights, the adapter with gradients and AdamW's states, activations that cannot",
        "be computed again cheaply, one chunk of scores; a process takes "
        f"{result['own'] / 1e9:.2f} GB by itself, which is not in it.", "", f"![tokens/s and peak memory]({FIGURE})", ""]
    panels = []
    for name, found in result["sweeps"].items():
        lines += [f"| {titles[name]} | tokens/s | bound | share | peak memory, GB | to be kept, GB | more than that, GB |",
                  "|---|---|---|---|---|---|---|"]
        values = [entry["point"][name] for entry in found]
        rates = [entry["rows"] / entry["seconds"] for entry in found]
        bounds = [bound_rate(entry) for entry in found]
        peaks = [entry["peak"] / 1e9 for entry in found]
        kept = [sum(entry["kept"].values()) / 1e9 for entry in found]
        for value, rate, bound, peak, needed in zip(values, rates, bounds, peaks, kept):
            lines.append(f"| {value} | {rate:.0f} | {bound:.0f} | {100 * rate / bound:.0f} % | {peak:.2f} | {needed:.2f} | "
                         f"{peak - needed - result['own'] / 1e9:.2f} |")
        lines.append("")
        panels.append((titles[name], "tokens/s", values, [("graft", rates), ("bound", bounds)]))
        panels.append((titles[name], "GB", values, [("graft", peaks), ("to be kept", kept)]))
    plot.write(folder / FIGURE, panels)
    return lines + sentences(result)


def sentences(result: dict) -> list:
    """Where a step stands against its bound, and why."""
    reference = next(entry for entry in result["sweeps"]["batch"] if entry["point"]["batch"] == REFERENCE["batch"])
    bound, work = reference["products"], result["profile"]["work"]
    total, step = sum(bound.values()), sum(work.values())
    kernels = {kind: time for kind, time in work.items() if kind.startswith("kernel ")}
    slowest = sorted(kernels, key=kernels.get, reverse=True)[:3]
    named = ", ".join(f"{kind.removeprefix('kernel ')} {1000 * kernels[kind]:.0f}" for kind in slowest)
    longest, shortest = result["sweeps"]["length"][-1], result["sweeps"]["length"][0]
    lowest, highest = result["sweeps"]["rank"][0], result["sweeps"]["rank"][-1]

    def share(part, entry, of="products"):
        return 100 * entry[of][part] / sum(entry[of].values())

    over = reference["peak"] - sum(reference["kept"].values()) - result["own"]
    rest = (f"{over / 1e9:.2f} are more" if over >= 0 else
            f"{-over / 1e9:.2f} less than both are resident, as mapped pages of the head go back to the system part by part while "
            "the loss is computed")
    return [
        f"A step of 4 x 256 tokens takes {reference['seconds']:.2f} s, and its products alone {total:.2f} s "
        f"({bound['base']:.2f} the base's and the head's, {bound['adapter']:.2f} the adapters', {bound['attention']:.2f} "
        f"attention's): {100 * total / reference['seconds']:.0f} % of it is work that no program can leave out. By "
        f"`--profile` of one step ({step:.2f} s), {work.get('products', 0):.2f} s go to products, "
        f"{work.get('attention', 0):.2f} to attention forth and back, {sum(kernels.values()):.2f} to other kernels of "
        f"ours (in ms: {named}), {work.get('other operators', 0):.2f} to other operators and "
        f"{work.get('between kernels', 0):.2f} to what lies between, with the engine of gradients.", "",
        f"Attention is {share('attention', shortest):.0f} % of the bound at {shortest['point']['length']} tokens and "
        f"{share('attention', longest):.0f} % at {longest['point']['length']}. Products of adapters of rank "
        f"{lowest['point']['rank']} take {share('adapter', lowest):.0f} % of it for "
        f"{share('adapter', lowest, 'operations'):.1f} % of the multiplications, those of rank {highest['point']['rank']} "
        f"{share('adapter', highest):.0f} % for {share('adapter', highest, 'operations'):.0f} %.", "",
        f"Of the {reference['peak'] / 1e9:.2f} GB at 4 x 256 tokens {sum(reference['kept'].values()) / 1e9:.2f} have to be kept "
        f"({reference['kept']['weights'] / 1e9:.2f} weights, {reference['kept']['activations'] / 1e9:.2f} activations) and "
        f"{result['own'] / 1e9:.2f} are the process itself (LibTorch, the tokenizer); {rest}. The forward pass "
        f"keeps {result['profile']['activations'] / 1e9:.3f} GB of activations where {reference['kept']['activations'] / 1e9:.3f} "
        f"are needed, and at no time are more than {result['profile']['held_most'] / 1e9:.3f} GB of tensors held that were not "
        "there before the step; the rest is what libraries take for their own use, and memory that is not given back at once."]
