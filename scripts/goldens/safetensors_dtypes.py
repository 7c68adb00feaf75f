#!/usr/bin/env python3
"""Writes Tests/CheckpointsTests/Fixtures/dtypes.safetensors with the Python package.

Every dtype that torch has (all of the format but F6_E2M3 and F6_E3M2), names in an order that is
neither that of the dtypes nor of the alphabet, a scalar, empty tensors, names that JSON must escape,
and two names that differ only in how an accent is composed. Data: bytes 0, 1, 2, ... in each tensor.
Tolerance: none, the bytes are equal. Seed: none is used.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file

OUTPUT = Path(__file__).parents[2] / "Tests/CheckpointsTests/Fixtures/dtypes.safetensors"
DTYPES = ["bool", "uint8", "int8", "float8_e5m2", "float8_e4m3fn", "float8_e8m0fnu",
          "float8_e4m3fnuz", "float8_e5m2fnuz", "int16", "uint16", "float16", "bfloat16", "int32",
          "uint32", "float32", "complex64", "float64", "int64", "uint64"]


def counted(dtype: str, *shape: int) -> torch.Tensor:
    kind = getattr(torch, dtype)
    count = torch.empty(0, dtype=kind).element_size() * int(torch.tensor(shape).prod())
    data = torch.arange(count) % (2 if dtype == "bool" else 256)
    return data.to(torch.uint8).view(kind).reshape(shape)


def main():
    tensors = {f"z.{dtype}": counted(dtype, 2, 3) for dtype in reversed(DTYPES)}
    tensors["packed"] = counted("float4_e2m1fn_x2", 3, 2)
    tensors["scalar"] = torch.tensor(1.5)
    tensors["empty"] = torch.zeros(0, 4)
    tensors["a.empty"] = torch.zeros(3, 0, dtype=torch.int64)
    tensors["B"] = counted("float32", 3)
    tensors["quote\"back\\slash/\n\t\u0001\u007f"] = counted("uint8", 1)
    tensors["caf\u00e9"] = counted("float32", 1)
    tensors["cafe\u0301"] = counted("float32", 2)
    tensors["\U0001F600"] = counted("float32", 4)
    save_file(tensors, OUTPUT, metadata={"format": "pt"})


if __name__ == "__main__":
    main()
