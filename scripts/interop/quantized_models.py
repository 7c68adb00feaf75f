"""Quantised models of bitsandbytes for the comparison scripts, and the formula of LLM.int8."""

from __future__ import annotations

import logging
from pathlib import Path

# It warns when it is imported, and at every int8 product that a float32 input is cast.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

import bitsandbytes
import torch
from peers import AutoModelForCausalLM, load_file
from quantized_files import decoded, nibbles
from transformers import BitsAndBytesConfig

# Name -> (options of graft, options of transformers).
FORMATS = {
    "int8": (["int8"], dict(load_in_8bit=True)),
    "nf4": (["nf4"], dict(load_in_4bit=True, bnb_4bit_quant_type="nf4")),
    "nf4 double": (["nf4", "--double-quant"], dict(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)),
    "fp4": (["fp4"], dict(load_in_4bit=True, bnb_4bit_quant_type="fp4")),
    "fp4 double": (["fp4", "--double-quant"], dict(
        load_in_4bit=True, bnb_4bit_quant_type="fp4", bnb_4bit_use_double_quant=True)),
}


def quantize(directory: Path, name: str, dtype=torch.float32, **changes):
    """The peer's quantised model of a float checkpoint, computing in float32."""
    config = BitsAndBytesConfig(**{**FORMATS[name][1], "bnb_4bit_compute_dtype": torch.float32, **changes})
    model = AutoModelForCausalLM.from_pretrained(
        directory, quantization_config=config, dtype=dtype, device_map="cpu")
    return in_float32(model)


def open_quantized(directory: Path):
    """A quantised directory in transformers; a key too many or too few is an error."""
    model, loading = AutoModelForCausalLM.from_pretrained(directory, device_map="cpu", output_loading_info=True)
    wrong = {key: value for key, value in loading.items() if value}
    assert not wrong, f"transformers reports of {directory.name}: {str(wrong)[:400]}"
    return in_float32(model)


def in_float32(model):
    """Evaluation in the compute type that the configuration names.

    On a processor with AVX512-BF16 Linear4bit repacks its weight in the first forward pass of
    evaluation and multiplies in bfloat16, whatever the compute type; a checkpoint saved afterwards
    holds bfloat16 scales in another order.
    """
    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False
    return model.eval()


class RowQuantizedLinear(torch.nn.Module):
    """The formula of LLM.int8 (Dettmers et al. 2022), exact but for the rounding to whole numbers.

    The codes of inputs are taken in `activations`: float16 is what bitsandbytes casts to. Products
    are in float64, where sums of int8 products are exact.
    """

    def __init__(self, layer: bitsandbytes.nn.Linear8bitLt, activations: torch.dtype, threshold: float | None):
        super().__init__()
        weight, state = layer.weight, layer.state
        codes = weight.CB if getattr(weight, "CB", None) is not None else state.CB
        scales = weight.SCB if getattr(weight, "SCB", None) is not None else state.SCB
        self.codes, self.scales = codes.double(), scales.double()
        self.bias, self.activations = layer.bias, activations
        self.threshold = state.threshold if threshold is None else threshold

    def forward(self, x):
        rows = x.reshape(-1, x.shape[-1])
        seen = rows.to(self.activations).float()
        outlier = seen.abs() >= self.threshold if self.threshold > 0 else torch.zeros_like(seen, dtype=torch.bool)
        columns = outlier.any(dim=0)
        scale = seen.masked_fill(outlier, 0).abs().amax(dim=1, keepdim=True)
        codes = torch.round(seen * (127.0 / scale)).nan_to_num(0)
        codes[:, columns] = 0
        weight = self.codes * (self.scales / 127)[:, None]
        result = (codes.double() @ self.codes.T) * (scale.double() / 127) * (self.scales / 127)
        result += rows[:, columns].double() @ weight[:, columns].T
        if self.bias is not None:
            result += self.bias.double()
        return result.to(x.dtype).reshape(*x.shape[:-1], -1)


def with_exact_rows(model, activations=torch.float32, threshold: float | None = None):
    """The peer's int8 model with its layers replaced by the formula; its own threshold, or another."""
    for name, module in list(model.named_modules()):
        if isinstance(module, bitsandbytes.nn.Linear8bitLt):
            model.set_submodule(name, RowQuantizedLinear(module, activations, threshold))
    return model


def function_codes(weight: torch.Tensor, name: str, size: int):
    """The 4-bit codes that bitsandbytes' own function gives a weight, and their table."""
    packed, state = bitsandbytes.functional.quantize_4bit(weight, blocksize=size, quant_type=name[:3])
    return nibbles(packed), state.code


def load_decoded(model, directory: Path):
    """A float model with its weights replaced by those of a quantised directory, decoded."""
    tensors = load_file(directory / "model.safetensors")
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(decoded(tensors, key))
    return model
