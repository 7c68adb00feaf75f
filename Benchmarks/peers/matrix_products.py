#!/usr/bin/env python3
"""The two libraries in LibTorch that multiply float32 matrices on the processor, shape by shape.

    .peers/bin/python Benchmarks/peers/matrix_products.py

The shapes are those of SmolLM2-135M with 4 x 256 tokens, of its head in chunks, of adapters of rank 8,
and of one token. Prints GFLOP/s of the default library (MKL on x86) and of oneDNN, best of eight, for
x W^T and for the product with the untransposed weight that a backward pass needs.
"""

import time

import torch

SHAPES = [(1024, 576, 576), (1024, 576, 1536), (1024, 1536, 576), (1024, 576, 192), (128, 576, 49152),
          (1024, 576, 8), (1024, 8, 576), (1, 576, 1536), (1, 576, 49152)]


def best(function, repeats=8):
    function()
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def one_dnn(x, weight):
    return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")


def main():
    print("rows  in     out      x W^T: default oneDNN   g W: default oneDNN  (GFLOP/s)")
    for rows, inputs, outputs in SHAPES:
        x, g, w = torch.randn(rows, inputs), torch.randn(rows, outputs), torch.randn(outputs, inputs)
        work = 2 * rows * inputs * outputs / 1e9
        figures = [work / best(run) for run in (
            lambda: torch.nn.functional.linear(x, w), lambda: one_dnn(x, w),
            lambda: g @ w, lambda: one_dnn(g, w.t()))]
        print(f"{rows:5} {inputs:5} {outputs:6}  " + "".join(f"{figure:13.0f}" for figure in figures))


if __name__ == "__main__":
    main()
