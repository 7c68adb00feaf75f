#!/usr/bin/env python3
"""Times single operations of bitsandbytes and torch on the processor; prints one JSON object.

    quantization.py [--threads 2] [--repeats 11] [--only quantize_4bit,linear_float32]

A weight of 2048 x 2048 in float32, N(0, 1) times 0.02, and 512 tokens, or one. Milliseconds are
medians after a warm-up; run it in alternation with what it is compared with. "copy_bandwidth" is what
the memory gave in the same process, to tell a slower machine from slower code.
"""

import argparse
import json
import logging
import resource
import statistics
import time

# It warns when it is imported, and at every int8 product that a float32 input is cast.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

import bitsandbytes
import torch
from bitsandbytes import functional

SIZE, TOKENS = 2048, 512
GROWTH_SIZE = 1 << 25


def seconds(function, repeats: int) -> list[float]:
    for _ in range(2):
        function()
    found = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        found.append(time.perf_counter() - begin)
    return found


def random_weight():
    return torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 0.02


def eight_bit(weight, threshold):
    layer = bitsandbytes.nn.Linear8bitLt(SIZE, SIZE, bias=False, has_fp16_weights=False, threshold=threshold)
    layer.weight = bitsandbytes.nn.Int8Params(weight.clone(), requires_grad=False, has_fp16_weights=False)
    return layer.to("cpu").eval()


def four_bit(weight, in_bfloat16=False):
    """Where the processor has AVX512-BF16 the layer multiplies in bfloat16 unless it is told not to."""
    layer = bitsandbytes.nn.Linear4bit(
        SIZE, SIZE, bias=False, compute_dtype=torch.float32, compress_statistics=True, quant_type="nf4")
    layer.weight = bitsandbytes.nn.Params4bit(weight.clone(), requires_grad=False, quant_type="nf4")
    layer = layer.to("cpu").eval()
    layer.support_avx512bf16_for_cpu &= in_bfloat16
    return layer


def step_of(make, weight):
    parameter = torch.nn.Parameter(weight.clone())
    parameter.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2)) * 1e-3
    optimizer = make([parameter])
    return optimizer.step


def operations() -> dict:
    """Name -> what makes the function to time, so that only what is timed is prepared."""
    weight, x = random_weight(), torch.randn(TOKENS, SIZE, generator=torch.Generator().manual_seed(3))
    # Three columns that LLM.int8 leaves out.
    outliers = x.clone()
    outliers[:, [5, 700, 1900]] *= 20

    def dequantize_blockwise():
        codes, state = functional.quantize_blockwise(weight, blocksize=256)
        return lambda: functional.dequantize_blockwise(codes, state)

    def dequantize_4bit():
        codes, state = functional.quantize_4bit(weight, blocksize=64, quant_type="nf4")
        return lambda: functional.dequantize_4bit(codes, state)

    def on(layer, rows):
        return lambda: layer(rows)

    def whole_product(codes=[torch.randint(-127, 128, (rows, SIZE), dtype=torch.int8) for rows in (TOKENS, SIZE)]):
        return torch._int_mm(codes[0], codes[1].t())

    linear = torch.nn.functional.linear
    result = {
        "quantize_blockwise": lambda: lambda: functional.quantize_blockwise(weight, blocksize=256),
        "dequantize_blockwise": dequantize_blockwise,
        "quantize_4bit": lambda: lambda: functional.quantize_4bit(weight, blocksize=64, quant_type="nf4"),
        "dequantize_4bit": dequantize_4bit,
        # The product of whole numbers alone, which bounds every int8 layer.
        "int8_product": lambda: whole_product,
        "linear_float32": lambda: lambda: linear(x, weight),
        "linear_float32_1_token": lambda: lambda: linear(x[:1], weight),
        "linear_8bit_threshold_6": lambda: on(eight_bit(weight, 6.0), x),
        "linear_8bit_threshold_6_outliers": lambda: on(eight_bit(weight, 6.0), outliers),
        "linear_8bit_threshold_0": lambda: on(eight_bit(weight, 0.0), x),
        "linear_8bit_threshold_6_1_token": lambda: on(eight_bit(weight, 6.0), x[:1]),
        "linear_4bit": lambda: on(four_bit(weight), x),
        "linear_4bit_1_token": lambda: on(four_bit(weight), x[:1]),
        "adamw_8bit": lambda: step_of(lambda p: bitsandbytes.optim.AdamW8bit(p, lr=1e-4), weight),
        "adamw_fused": lambda: step_of(lambda p: torch.optim.AdamW(p, lr=1e-4, fused=True), weight),
    }
    if functional.has_avx512bf16():
        result["linear_4bit_as_bfloat16"] = lambda: on(four_bit(weight, True), x)
        result["linear_4bit_as_bfloat16_1_token"] = lambda: on(four_bit(weight, True), x[:1])
    return result


def copy_bandwidth(repeats: int) -> float:
    """Bytes read and written each second by a copy of 64 MB."""
    source = torch.ones(1 << 24)
    target = torch.empty_like(source)
    return 2 * source.nbytes / statistics.median(seconds(lambda: target.copy_(source), repeats))


def resident() -> int:
    """Bytes of this process in memory now (Linux)."""
    line = next(line for line in open("/proc/self/status") if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def first_step_growth() -> dict:
    """What AdamW8bit keeps, and how far memory rises in the first step of one large parameter.

    The parameter is so large that its peak is that of the process, which only ever rises.
    """
    parameter = torch.nn.Parameter(torch.full((GROWTH_SIZE,), 0.02))
    parameter.grad = torch.full((GROWTH_SIZE,), 1e-3)
    optimizer = bitsandbytes.optim.AdamW8bit([parameter], lr=1e-4)
    before = resident()
    optimizer.step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    kept = sum(value.nbytes for key, value in optimizer.state[parameter].items()
               if torch.is_tensor(value) and not key.startswith("qmap"))
    return {"elements": GROWTH_SIZE, "state_bytes_per_parameter": kept / GROWTH_SIZE,
            "peak_growth_bytes_per_parameter": (peak - before) / GROWTH_SIZE}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--only", help="operations, with commas; others are left out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    # First: what follows must not have raised the peak before.
    memory = first_step_growth()
    wanted = options.only.split(",") if options.only else None
    found = {}
    with torch.no_grad():
        for name, make in operations().items():
            if wanted is None or name in wanted:
                found[name] = statistics.median(seconds(make(), options.repeats)) * 1e3
    print(json.dumps({"threads": options.threads, "repeats": options.repeats, "weight": [SIZE, SIZE],
                      "tokens": TOKENS, "milliseconds": found, "adamw_8bit_first_step": memory,
                      "copy_bandwidth": copy_bandwidth(options.repeats)}))


if __name__ == "__main__":
    main()
