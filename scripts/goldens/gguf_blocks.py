#!/usr/bin/env python3
"""Writes Tests/CheckpointsTests/Fixtures/gguf-blocks.gguf: random blocks and what they stand for.

For every storage type a tensor `<type>.blocks` of 4 rows, and `<type>.expected`, its float32 values
by `gguf.dequantize`. Blocks are random bytes; their half-precision scales are random finite numbers,
among them zero, subnormal and negative ones. The tensors also make a well-formed file for mutations.
Tolerance: none, the bits are equal. Versions: see the metadata of the file. Seed: 20240601.
"""

from importlib.metadata import version
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

SEED = 20240601
OUTPUT = Path(__file__).parents[2] / "Tests/CheckpointsTests/Fixtures/gguf-blocks.gguf"
# Offsets of the half-precision numbers in a block.
SCALES = {Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0],
          Type.Q2_K: [80, 82], Type.Q3_K: [108], Type.Q4_K: [0, 2], Type.Q5_K: [0, 2],
          Type.Q6_K: [208]}


def halves(rng, count: int) -> np.ndarray:
    """Random finite half-precision bit patterns, [count, 2] bytes; the first are special."""
    bits = rng.integers(0, 0x10000, count, dtype=np.uint16)
    bits[(bits & 0x7C00) == 0x7C00] &= 0x83FF  # infinity and NaN become subnormal
    special = np.array([0x0000, 0x8000, 0x0001, 0x83FF, 0x7BFF], dtype=np.uint16)
    bits[: len(special)] = special[:count]
    return bits[:, None].view(np.uint8)


def main():
    rng = np.random.default_rng(SEED)
    writer = gguf.GGUFWriter(OUTPUT, "blocks")
    writer.add_description(f"gguf {version('gguf')}, numpy {np.__version__}, seed {SEED}")
    writer.add_key_value("test.signed", -5, gguf.GGUFValueType.INT16)
    writer.add_key_value("test.large", 2**63 + 1, gguf.GGUFValueType.UINT64)
    writer.add_key_value("test.double", 0.1, gguf.GGUFValueType.FLOAT64)
    writer.add_array("test.numbers", [1.5, -2.0])
    writer.add_array("test.words", ["ab", "", "\u00e9"])
    writer.add_bool("test.flag", True)
    for kind in [Type.F16, Type.BF16, *SCALES]:
        block, size = gguf.GGML_QUANT_SIZES[kind]
        count = 4 if block == 256 else 8 if block == 32 else 64
        if kind in SCALES:
            blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
            for offset in SCALES[kind]:
                scales = halves(rng, count)
                blocks[:, offset:offset + 2] = scales if offset == SCALES[kind][0] else scales[::-1]
        else:
            blocks = halves(rng, count)
        data = np.ascontiguousarray(blocks.reshape(4, -1))
        expected = gguf.dequantize(data.view(np.float16) if kind == Type.F16 else data, kind)
        assert np.isfinite(expected).all()
        if kind == Type.F16:
            writer.add_tensor(f"{kind.name}.blocks", data.view(np.float16))
        else:
            writer.add_tensor(f"{kind.name}.blocks", data, raw_dtype=kind)
        writer.add_tensor(f"{kind.name}.expected", expected.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
