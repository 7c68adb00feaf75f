#!/usr/bin/env python3
"""The time of products of float32 matrices, each by the faster one of LibTorch's two libraries.

    echo '{"threads": 2, "products": [[1024, 576, 1536, 1], ...]}' | dense_products.py

A product is [rows, inner, columns, batch]; the weight of one without a batch is stored as a layer's, as
[columns, inner]. Prints a JSON list of seconds, best of a few.
"""

import json
import sys
import time

import torch


def best(function, enough: float) -> float:
    """The fastest of at least three calls, and of as many as fit into `enough` seconds."""
    function()
    seconds = []
    while len(seconds) < 3 or (sum(seconds) < enough and len(seconds) < 20):
        begin = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def main():
    request = json.load(sys.stdin)
    torch.set_num_threads(request["threads"])
    results = []
    for rows, inner, columns, batch in request["products"]:
        if batch > 1:
            left, right = torch.randn(batch, rows, inner), torch.randn(batch, inner, columns)
            results.append(best(lambda: left @ right, 0.1))
            continue
        x, weight = torch.randn(rows, inner), torch.randn(columns, inner)
        results.append(min(
            best(lambda: torch.nn.functional.linear(x, weight), 0.1),
            best(lambda: torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], ""), 0.1)))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
