#!/usr/bin/env python3
"""Writes Tests/AdaptersTests/Fixtures/lora-convolutions.safetensors with PEFT: LoRA on convolutions.

    .peers/bin/python scripts/goldens/lora_convolutions.py

For each case the base's tensors, the adapter's by their keys, an input, the output, the gradients of the sum of
squared outputs, and the output after merging where PEFT can.
"""

from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import nn

OUTPUT = Path(__file__).parents[2] / "Tests/AdaptersTests/Fixtures/lora-convolutions.safetensors"
CASES = {
    "line": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1), (2, 4, 9), {}),
    "plane": (lambda: nn.Conv2d(3, 5, (3, 2), stride=(2, 1), padding=(1, 0)), (2, 3, 7, 6), {}),
    "point": (lambda: nn.Conv2d(3, 5, 1, bias=False), (2, 3, 4, 4), {}),
    "grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2), (2, 4, 6, 6), {}),
    "bias": (lambda: nn.Conv1d(4, 6, 3), (2, 4, 9), {"lora_bias": True}),
    "dora": (lambda: nn.Conv2d(3, 5, 3), (2, 3, 6, 6), {"use_dora": True}),
}


class Model(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.conv = layer

    def forward(self, x):
        return self.conv(x)


def main():
    torch.manual_seed(11)
    tensors = {}
    for name, (make, shape, changes) in CASES.items():
        layer = make()
        base = {f"{name}.base.{key}": value.clone() for key, value in layer.state_dict().items()}
        model = get_peft_model(Model(layer), LoraConfig(r=4, lora_alpha=6, target_modules=["conv"], **changes))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter += 0.3 * torch.randn(parameter.shape)
        x = torch.randn(shape)
        model.eval()
        y = model(x)
        (y * y).sum().backward()
        gradients = {key: parameter.grad for key, parameter in model.named_parameters() if parameter.requires_grad}
        tensors |= base | {f"{name}.x": x, f"{name}.y": y}
        tensors |= {f"{name}.adapter.{key}": value for key, value in get_peft_model_state_dict(model).items()}
        tensors |= {f"{name}.grad.{key}": value
                    for key, value in get_peft_model_state_dict(model, state_dict=gradients).items()}
        if name != "grouped":
            tensors[f"{name}.merged"] = model.merge_and_unload()(x)
    save_file({key: value.detach().clone().contiguous() for key, value in tensors.items()}, OUTPUT)


if __name__ == "__main__":
    main()
