"""Times single functions of quantisation against bitsandbytes and torch, the two in alternation.

That both compute the same is what scripts/interop/quantization.py and optimizers.py check.
"""

import json
import os
import statistics
import subprocess

# Name, what it is, and the least ratio that is wanted of it.
ROWS = [
    ("quantize_blockwise", "8-bit codes, dynamic map, block 256: quantise", 4),
    ("dequantize_blockwise", "the same: dequantise", 1),
    ("quantize_4bit", "nf4, block 64: quantise", 20),
    ("dequantize_4bit", "the same: dequantise", None),
    ("linear_8bit_threshold_6", "int8 layer, threshold 6", 1.5),
    ("linear_8bit_threshold_6_outliers", "int8 layer, threshold 6, three outlier columns", 1.5),
    ("linear_8bit_threshold_0", "int8 layer, threshold 0", 1.5),
    ("linear_8bit_threshold_6_1_token", "int8 layer, one token", None),
    ("linear_4bit", "nf4 layer with double quantisation", 1),
    ("linear_4bit_1_token", "the same, one token", 8),
    ("linear_4bit_as_bfloat16", "the same, 512 tokens in bfloat16", 1),
    ("adamw_8bit", "AdamW with a state of 8 bits: step", 4),
    ("adamw_fused", "AdamW in float32 (torch's fused one): step", None),
]


def run(command: list, root) -> dict:
    environment = {**os.environ, "OMP_NUM_THREADS": str(os.cpu_count())}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=root, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(options, root) -> dict:
    ours_command = [str(options.graft.parent / "QuantizationBenchmark"), "15"]
    peer_command = [str(options.python), str(root / "Benchmarks/peers/quantization.py"), "--threads", str(os.cpu_count())]
    pairs = []
    for pair in range(options.pairs):
        order = ["ours", "peer"] if pair % 2 == 0 else ["peer", "ours"]
        found = {side: run(ours_command if side == "ours" else peer_command, root) for side in order}
        pairs.append(found)
        print(f"functions: pair {pair + 1} of {options.pairs}", flush=True)
    return {"pairs": pairs}


def ratios(result: dict, theirs: str, ours: str) -> list:
    return [pair["peer"]["milliseconds"][theirs] / pair["ours"]["milliseconds"][ours]
            for pair in result["pairs"] if theirs in pair["peer"]["milliseconds"]]


def report(result: dict) -> list:
    lines = ["", "## Functions of quantisation", "",
             "A weight of 2048 x 2048, 512 tokens, float32; how many times as fast as bitsandbytes 0.50.2 (its",
             "float32 arithmetic unless the row says otherwise), median with the smallest and the largest.", "",
             "| function | times as fast | wanted |", "|---|---|---|"]

    def row(title, values, wanted):
        if values:
            lines.append(f"| {title} | {statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f}) | "
                         f"{'' if wanted is None else f'{wanted}'} |")

    for name, title, wanted in ROWS:
        row(title, ratios(result, name, name), wanted)
    row("int8 layer against torch's float32 layer", ratios(result, "linear_float32", "linear_8bit_threshold_6"), 3)
    row("nf4 layer in float32 against bitsandbytes' bfloat16 kernel",
        ratios(result, "linear_4bit_as_bfloat16", "linear_4bit"), None)
    row("the same, one token", ratios(result, "linear_4bit_as_bfloat16_1_token", "linear_4bit_1_token"), None)
    row("bound: int8 layer, threshold 0, if it were torch's product of whole numbers alone",
        [pair["peer"]["milliseconds"]["linear_8bit_threshold_0"] / pair["peer"]["milliseconds"]["int8_product"]
         for pair in result["pairs"]], None)
    row("bound: float32 layer of 512 tokens by oneDNN against bitsandbytes' nf4 layer",
        ratios(result, "linear_4bit", "linear_float32"), None)
    ours = result["pairs"][0]["ours"]["state_bytes"]
    peer = result["pairs"][0]["peer"]
    lines += ["", f"State of AdamW with 8 bits: {ours:.3f} bytes for each parameter (bitsandbytes "
              f"{peer['adamw_8bit_first_step']['state_bytes_per_parameter']:.3f}). Its first step raises bitsandbytes' "
              f"peak by {peer['adamw_8bit_first_step']['peak_growth_bytes_per_parameter']:.1f} bytes for each "
              "parameter; ours makes no tensors (`StepMemoryTests`: less than 4 MB for 16.8 million parameters)."]
    return lines
