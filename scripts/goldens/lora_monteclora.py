#!/usr/bin/env python3
"""Writes Tests/AdaptersTests/Fixtures/lora-monteclora.safetensors with PEFT: MonteCLoRA's outputs, loss and steps.

    .peers/bin/python scripts/goldens/lora_monteclora.py

Two linear layers of ranks 3 and 2, the adapter as PEFT saves it, and what comes of it: outputs in evaluation and
weights that it is merged into; the part of the loss for the matrices and weights of the file; a step of training with
given random numbers (z): outputs, loss, gradients, and the tensors that the step leaves in the file.
"""

from pathlib import Path

import torch
from peft import LoraConfig, MontecloraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import nn

OUTPUT = Path(__file__).parents[2] / "Tests/AdaptersTests/Fixtures/lora-monteclora.safetensors"
LAYERS, SAMPLES = ["first", "second"], 4


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(7, 6), nn.Linear(6, 5, bias=False)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def samplers(model):
    return {name: model.get_submodule(f"base_model.model.{name}.lora_monteclora_sampler.default") for name in LAYERS}


def gradients(model):
    """By the keys of files."""
    named = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    own = get_peft_model_state_dict(model, state_dict=named)
    return {key: value.clone() for key, value in own.items()}


def main():
    torch.manual_seed(23)
    settings = MontecloraConfig(num_samples=SAMPLES, use_entropy=True, dirichlet_prior=0.3, sample_scaler=0.05,
                                kl_loss_weight=0.01, buffer_size=1)
    config = LoraConfig(r=3, lora_alpha=6, target_modules=LAYERS, rank_pattern={"second": 2}, init_lora_weights=False,
                        monteclora_config=settings)
    model = get_peft_model(Model(), config)
    # A file in the middle of training: matrices and weights that steps have left.
    for sampler in samplers(model).values():
        sampler.gaussian_var_prior = torch.diag(torch.rand(sampler.out_features) * 3)
        sampler.expert_weights = torch.softmax(torch.randn(SAMPLES), 0)
        sampler.std_prior.data[0] = -4.0  # Small enough for the smallest variance.
    tensors = {f"base.{name}": model.base_model.model.get_submodule(name).base_layer.weight.detach().clone()
               for name in LAYERS}
    tensors["base.bias"] = model.base_model.model.first.base_layer.bias
    tensors |= {f"adapter.{key}": value.clone() for key, value in get_peft_model_state_dict(model).items()}
    x, slope = torch.randn(2, 5, 7), torch.randn(2, 5, 5)
    tensors |= {"x": x, "slope": slope, "evaluated": model.eval()(x).detach()}

    model.train()
    for name, uses in [("entropy", True), ("plain", False)]:
        for sampler in samplers(model).values():
            sampler.use_entropy = uses
        model.zero_grad()
        loss = model.base_model._get_monteclora_loss()
        loss.backward()
        tensors[f"{name}.loss"] = loss.detach()
        tensors |= {f"{name}.grad.{key}": value for key, value in gradients(model).items()}

    for name, sampler in samplers(model).items():
        sampler.use_entropy = True
        wishart = sampler.sampler.wish_sampler._bartlett_sampling(torch.Size())
        z = {"z_mvn": torch.randn(SAMPLES, sampler.in_features, sampler.out_features), "z_wishart": wishart,
             "z_dirichlet": torch.randn(SAMPLES)}
        sampler.sampler.get = lambda z=z: z
        tensors |= {f"{key}.{name}": value for key, value in z.items()}
    model.zero_grad()
    y = model(x)
    loss = (y * slope).sum() + model.base_model._get_monteclora_loss()
    loss.backward()
    tensors |= {"step.y": y.detach(), "step.loss": loss.detach()}
    tensors |= {f"step.grad.{key}": value for key, value in gradients(model).items()}
    tensors |= {f"step.after.{key}": value for key, value in get_peft_model_state_dict(model).items()
                if "gaussian_var_prior" in key or key.endswith(".expert_weights")}

    merged = model.merge_and_unload()
    tensors |= {f"merged.{name}": merged.get_submodule(name).weight for name in LAYERS}
    save_file({key: value.detach().clone().contiguous() for key, value in tensors.items()}, OUTPUT)


if __name__ == "__main__":
    main()
