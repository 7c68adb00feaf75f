"""What a LoRA step costs at least: the time of its products of matrices, the bytes that it has to keep."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from measuring import ROOT, environment, run

# Rows of the head's scores at a time, as Layers/CrossEntropy.swift has them.
CHUNK = 128


@dataclass(frozen=True)
class Shape:
    """A Llama with LoRA on all linear layers, and the batch that it is trained on."""

    width: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    head_size: int
    vocabulary: int
    rank: int
    batch: int
    length: int

    @staticmethod
    def of(config: dict, rank: int, batch: int, length: int) -> "Shape":
        heads = config["num_attention_heads"]
        return Shape(
            config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"], heads,
            config["num_key_value_heads"], config.get("head_dim") or config["hidden_size"] // heads,
            config["vocab_size"], rank, batch, length)

    @property
    def rows(self) -> int:
        return self.batch * self.length

    @property
    def linear(self) -> list:
        """Inputs and outputs of a block's linear layers; the first three read the block's input."""
        query, key = self.heads * self.head_size, self.key_heads * self.head_size
        return [(self.width, query), (self.width, key), (self.width, key), (query, self.width),
                (self.width, self.inner), (self.width, self.inner), (self.inner, self.width)]

    @property
    def weights(self) -> int:
        """Numbers of the base, its table and head once."""
        return self.vocabulary * self.width + self.layers * sum(a * b for a, b in self.linear)

    @property
    def adapter(self) -> int:
        return self.layers * sum(self.rank * (a + b) for a, b in self.linear)

    def operations(self) -> dict:
        """Multiplications and additions of a step's products, by what they are for."""
        return {name: sum(2 * rows * inner * columns * batch * count
                          for (rows, inner, columns, batch), count in part.items())
                for name, part in products(self).items()}


def products(shape: Shape) -> dict:
    """How often a step needs each product [rows, inner, columns, batch], by what it is for.

    A row's last token is nothing but a label: no loss depends on what is computed from it. So of every product only
    that part is counted which is needed for the other tokens.
    """
    base, head_gradient, adapter, attention = {}, {}, {}, {}
    needed_part = (shape.length - 1) / shape.length

    def add(where, count, *product):
        where[product] = where.get(product, 0) + count * needed_part

    rows, rank = shape.rows, shape.rank
    for place, (inputs, outputs) in enumerate(shape.linear):
        add(base, shape.layers, rows, inputs, outputs, 1)
        # Nothing is trained before the first block, so that its own input needs no gradient.
        needed = shape.layers - (1 if place < 3 else 0)
        add(base, needed, rows, outputs, inputs, 1)
        add(adapter, shape.layers, rows, inputs, rank, 1)
        add(adapter, shape.layers, rows, rank, outputs, 1)
        add(adapter, shape.layers, rows, outputs, rank, 1)
        add(adapter, needed, rows, rank, inputs, 1)
        add(adapter, shape.layers, rank, rows, inputs, 1)
        add(adapter, shape.layers, rank, rows, outputs, 1)
    chunks = rows / CHUNK
    add(base, chunks, CHUNK, shape.width, shape.vocabulary, 1)
    add(head_gradient, chunks, CHUNK, shape.vocabulary, shape.width, 1)
    # Scores and mixtures, and for the gradients four products more. Without the last token, what is visible of the
    # square with its diagonal is that part of a half.
    many = shape.batch * shape.heads
    for product, count in (((shape.length, shape.head_size, shape.length, many), 2),
                           ((shape.length, shape.length, shape.head_size, many), 4)):
        add(attention, shape.layers * count / 2, *product)
    return {"base": base, "head_gradient": head_gradient, "adapter": adapter, "attention": attention}


def least_seconds(operations: dict, rates: dict) -> dict:
    """Seconds of `Shape.operations` at the processor's peak, by what they are for.

    Of a float32 run, graft computes most of the head's gradient in bfloat16 where the processor multiplies that
    (Layers/LossProducts.swift). All of it is counted so.
    """
    rounded = rates["bfloat16"] or rates["float32"]
    return {name: count / (rounded if name == "head_gradient" else rates["float32"]) for name, count in operations.items()}


class Peak:
    """The processor's multiplications and additions a second, by a program that is compiled into a folder."""

    def __init__(self, folder: Path):
        compiler = os.environ.get("CC") or shutil.which("clang") or shutil.which("cc")
        if not compiler:
            sys.exit("a C compiler is needed to measure the processor's peak: clang, cc, or one named by CC")
        self.program = folder / "multiply_add_peak"
        run([compiler, "-O3", "-march=native", "-ffp-contract=fast", ROOT / "Benchmarks/peers/multiply_add_peak.c", "-o",
             self.program, "-lpthread"])

    def rates(self, threads: int) -> dict:
        """By type: float32, and bfloat16 or 0."""
        return json.loads(run([self.program, threads]))


def product_seconds(python, shape: Shape, threads: int) -> dict:
    """Seconds of a step's products, by what they are for, each measured now."""
    found = products(shape)
    distinct = sorted({product for part in found.values() for product in part})
    done = subprocess.run(
        [str(python), str(ROOT / "Benchmarks/peers/dense_products.py")], env=environment(threads), check=True, text=True,
        input=json.dumps({"threads": threads, "products": distinct}), capture_output=True)
    seconds = dict(zip(distinct, json.loads(done.stdout)))
    return {name: sum(count * seconds[product] for product, count in part.items()) for name, part in found.items()}


def kept_bytes(shape: Shape) -> dict:
    """Bytes that have to be held at the end of the forward pass, by what they are.

    Of a block, for each position: its input and the one of its MLP, queries, keys, values and what attention gives
    with one number a head, the outputs of gate and up, and the narrow product of each adapter. Norms, and the
    product of gate and up, can be computed again.
    """
    query, key = shape.heads * shape.head_size, shape.key_heads * shape.head_size
    block = 2 * shape.width + 2 * query + 2 * key + shape.heads + 2 * shape.inner + len(shape.linear) * shape.rank
    return {"weights": 4 * shape.weights,
            # Numbers, gradients, and AdamW's two states.
            "adapter": 16 * shape.adapter,
            "activations": 4 * shape.rows * (shape.layers * block + shape.width),
            "scores": 4 * CHUNK * shape.vocabulary}
