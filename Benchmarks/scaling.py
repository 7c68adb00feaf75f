"""How the cost of a LoRA step grows with length, batch, rank, width and threads, beside its bounds."""

import json
import os
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import plot
from bounds import Peak, Shape, kept_bytes, least_seconds, product_seconds
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
    """Runs `graft train` at points, and measures the bounds of each right beside it."""

    def __init__(self, options, work: Path):
        self.options, self.work, self.models = options, work, {None: options.model}
        self.processor = Peak(work)
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
        products = [product_seconds(self.options.python, shape, point["threads"])]
        rates = [self.processor.rates(point["threads"])]
        rows = self.train(point, self.options.steps)
        rates.append(self.processor.rates(point["threads"]))
        products.append(product_seconds(self.options.python, shape, point["threads"]))
        # The machine's speed changes: bounds are what they are at its best.
        found = {"point": change, "rows": shape.rows, "seconds": statistics.median(row["step_seconds"] for row in rows[1:]),
                 "products": min(products, key=lambda seconds: sum(seconds.values())),
                 "rates": {kind: max(rate[kind] for rate in rates) for kind in rates[0]},
                 "operations": shape.operations(), "peak": rows[-1]["peak_memory_bytes"], "kept": kept_bytes(shape)}
        print(f"{change}: {found['rows'] / found['seconds']:.0f} tokens/s of at most {bound_rate(found):.0f}, LibTorch's products "
              f"{library_rate(found):.0f}; {found['peak'] / 1e9:.2f} GB, to be kept {sum(found['kept'].values()) / 1e9:.2f}", flush=True)
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
        elif name.endswith("_multiply") or (event["cat"] == "operator" and event["args"].get("operations")):
            kind = "products"
        elif event["cat"] == "kernel":
            kind = f"kernel {name}"
        else:
            kind = "other operators"
        result[kind] += time / 1e6
    return dict(result)


def measure(options) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, Path(folder))
        sweeps = {name: [bench.measure(change) for change in points] for name, _, points in SWEEPS}
        return {"own": bench.own, "sweeps": sweeps, "profile": bench.profile()}


def least(found: dict) -> dict:
    """Seconds that a point's step takes at the processor's peak, by what they are for."""
    return least_seconds(found["operations"], found["rates"])


def bound_rate(found: dict) -> float:
    """Tokens/s of a step that multiplies and adds at the processor's peak, and does nothing else."""
    return found["rows"] / sum(least(found).values())


def library_rate(found: dict) -> float:
    """Tokens/s of a step that is LibTorch's products and nothing else."""
    return found["rows"] / sum(found["products"].values())


def kept_section(folder: Path) -> list:
    """The lines of an older report, which was written of figures that lack what this one needs."""
    page = folder / "Benchmarks.md"
    _, title, rest = page.read_text().partition("\n## How cost grows\n") if page.exists() else ("", "", "")
    return (title + rest).rstrip().split("\n") if title else []


def report(result: dict, folder: Path) -> list:
    if not all("rates" in entry for found in result["sweeps"].values() for entry in found):
        print("scaling: its figures are without the processor's peak and stay as they were; run it anew", file=sys.stderr)
        return kept_section(folder)
    titles = {name: title for name, title, _ in SWEEPS}
    lines = [
        "", "## How cost grows", "",
        "A LoRA step in float32, SmolLM2-135M, 4 rows of 256 tokens, rank 8, all threads, where a row says nothing else.",
        "The bound of the time is that of the multiplications and additions in the step's products of matrices (base, adapters,",
        "visible half of attention, head) at the processor's peak on as many threads, measured right beside each point by a",
        "program whose numbers never leave registers: no program that computes these products can be faster. Counted is only",
        "what the loss depends on. The head's gradient counts at bfloat16's peak, in which graft computes most of it by default",
        "where the processor multiplies that; all the rest at float32's. LibTorch's products are the tokens/s of a step that is",
        "nothing but the same products in float32, each by the faster of its two libraries, measured there too: what a program",
        "that leaves them to LibTorch could reach at most. The bound of the memory is what has to be held at the end of the forward pass: weights, the",
        "adapter with gradients and AdamW's states, activations that cannot be computed again cheaply, one chunk of scores; a",
        "process takes "
        f"{result['own'] / 1e9:.2f} GB by itself, which is not in it.", "", f"![tokens/s and peak memory]({FIGURE})", ""]
    panels = []
    for name, found in result["sweeps"].items():
        lines += [f"| {titles[name]} | tokens/s | bound | share | LibTorch's products | peak memory, GB | to be kept, GB | "
                  "more than that, GB |", "|---|---|---|---|---|---|---|---|"]
        values = [entry["point"][name] for entry in found]
        rates = [entry["rows"] / entry["seconds"] for entry in found]
        bounds = [bound_rate(entry) for entry in found]
        libraries = [library_rate(entry) for entry in found]
        peaks = [entry["peak"] / 1e9 for entry in found]
        kept = [sum(entry["kept"].values()) / 1e9 for entry in found]
        for value, rate, bound, library, peak, needed in zip(values, rates, bounds, libraries, peaks, kept):
            lines.append(f"| {value} | {rate:.0f} | {bound:.0f} | {100 * rate / bound:.0f} % | {library:.0f} | {peak:.2f} | "
                         f"{needed:.2f} | {peak - needed - result['own'] / 1e9:.2f} |")
        lines.append("")
        panels.append((titles[name], "tokens/s", values, [("graft", rates), ("bound", bounds), ("LibTorch", libraries)]))
        panels.append((titles[name], "GB", values, [("graft", peaks), ("to be kept", kept)]))
    plot.write(folder / FIGURE, panels)
    return lines + sentences(result)


def sentences(result: dict) -> list:
    """Where a step stands against its bound, and why."""
    reference = next(entry for entry in result["sweeps"]["batch"] if entry["point"]["batch"] == REFERENCE["batch"])
    bound, products, work = least(reference), reference["products"], result["profile"]["work"]
    total, step = sum(bound.values()), sum(work.values())
    kernels = {kind: time for kind, time in work.items() if kind.startswith("kernel ")}
    slowest = sorted(kernels, key=kernels.get, reverse=True)[:3]
    named = ", ".join(f"{kind.removeprefix('kernel ')} {1000 * kernels[kind]:.0f}" for kind in slowest)
    longest, shortest = result["sweeps"]["length"][-1], result["sweeps"]["length"][0]
    lowest, highest = result["sweeps"]["rank"][0], result["sweeps"]["rank"][-1]

    def share(part, values):
        return 100 * values[part] / sum(values.values())

    rates = f"{reference['rates']['float32'] / 1e9:.0f} billion operations a second in float32"
    if reference["rates"]["bfloat16"]:
        rates += f", {reference['rates']['bfloat16'] / 1e9:.0f} in bfloat16"
    over = reference["peak"] - sum(reference["kept"].values()) - result["own"]
    rest = (f"{over / 1e9:.2f} are more" if over >= 0 else
            f"{-over / 1e9:.2f} less than both are resident, as mapped pages of the head go back to the system part by part while "
            "the loss is computed")
    return [
        f"A step of 4 x 256 tokens takes {reference['seconds']:.2f} s. Its {sum(reference['operations'].values()) / 1e9:.0f} billion "
        f"multiplications and additions take at least {total:.2f} s at the processor's peak ({rates}): {bound['base']:.2f} the "
        f"base's with the head's scores, {bound['head_gradient']:.2f} the head's gradient, {bound['adapter']:.2f} the adapters', "
        f"{bound['attention']:.2f} attention's; {100 * total / reference['seconds']:.0f} % of the step is work that no program "
        f"in these types can leave out. LibTorch's products alone take {sum(products.values()):.2f} s. By "
        f"`--profile` of one step ({step:.2f} s), {work.get('products', 0):.2f} s go to products, "
        f"{work.get('attention', 0):.2f} to attention forth and back, {sum(kernels.values()):.2f} to other kernels of "
        f"ours (in ms: {named}), {work.get('other operators', 0):.2f} to other operators and "
        f"{work.get('between kernels', 0):.2f} to what lies between, with the engine of gradients.", "",
        f"Attention is {share('attention', least(shortest)):.0f} % of the bound at {shortest['point']['length']} tokens and "
        f"{share('attention', least(longest)):.0f} % at {longest['point']['length']}. Products of adapters of rank "
        f"{lowest['point']['rank']} are {share('adapter', lowest['operations']):.1f} % of the operations and "
        f"{share('adapter', lowest['products']):.0f} % of the time of LibTorch's products, those of rank {highest['point']['rank']} "
        f"{share('adapter', highest['operations']):.0f} and {share('adapter', highest['products']):.0f} %.", "",
        f"Of the {reference['peak'] / 1e9:.2f} GB at 4 x 256 tokens {sum(reference['kept'].values()) / 1e9:.2f} have to be kept "
        f"({reference['kept']['weights'] / 1e9:.2f} weights, {reference['kept']['activations'] / 1e9:.2f} activations) and "
        f"{result['own'] / 1e9:.2f} are the process itself (LibTorch, the tokenizer); {rest}. The forward pass "
        f"keeps {result['profile']['activations'] / 1e9:.3f} GB of activations where {reference['kept']['activations'] / 1e9:.3f} "
        f"are needed, and at no time are more than {result['profile']['held_most'] / 1e9:.3f} GB of tensors held that were not "
        "there before the step; the rest is what libraries take for their own use, and memory that is not given back at once."]
