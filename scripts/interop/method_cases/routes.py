"""Methods that take part in whole passes of a model."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import torch
from peft import LoraConfig, ShadowConfig, XLoraConfig, get_peft_model

from peers import load_model, save_tiny

EXPERTS = [["q_proj", "down_proj"], ["q_proj", "v_proj", "down_proj"], ["q_proj", "gate_proj"]]


@cache
def directory():
    path = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@cache
def experts():
    """Three LoRA adapters of small models, whatever their type: the sizes are the same."""
    base = save_tiny("llama", directory() / "base")
    result = {}
    for number, layers in enumerate(EXPERTS):
        torch.manual_seed(number)
        config = LoraConfig(r=3 + number, lora_alpha=8, target_modules=layers, init_lora_weights=False,
                            task_type="CAUSAL_LM")
        path = directory() / f"expert-{number}"
        get_peft_model(load_model(base), config).save_pretrained(path)
        result[str(number)] = str(path)
    return result


@cache
def decoder():
    """A decoder of another width with the vocabulary of small models."""
    return str(save_tiny("llama", directory() / "decoder", hidden_size=16, intermediate_size=24, num_hidden_layers=2,
                         num_attention_heads=2))


def mixture(**fields):
    return lambda: XLoraConfig(adapters=dict(experts()), task_type="CAUSAL_LM", **{"hidden_size": 32, **fields})


def shadow(**fields):
    return lambda: ShadowConfig(task_type="CAUSAL_LM", **{"shadow_alpha": 0.5, "shadow_dropout": 0.0, **fields})


MIXTURE = dict(merges=False, scale=0.3, rate=0.1)
SHADOW = dict(merges=False)
CASES = {
    "xlora": dict(config=mixture(), **MIXTURE),
    "xlora deep": dict(config=mixture(xlora_depth=3, xlora_size=20, softmax_temperature=0.5), **MIXTURE),
    "xlora layer by layer": dict(config=mixture(
        xlora_depth=2, xlora_size=20, xlora_dropout_p=0.0, layerwise_scalings=True, global_scaling_weight=1.5), **MIXTURE),
    "xlora first pass": dict(config=mixture(
        enable_softmax=False, scaling_pass_value=0.4, layerwise_scalings=True), **MIXTURE),
    "xlora largest": dict(config=mixture(top_k_lora=2, scaling_pass_value=0.4), **MIXTURE),
    "xlora largest normalised": dict(config=mixture(
        top_k_lora=2, enable_softmax=False, enable_softmax_topk=True, scaling_pass_value=0.4), **MIXTURE),
    "xlora trained experts": dict(config=mixture(use_trainable_adapters=True, scaling_pass_value=0.2), **MIXTURE),
    "shadow": dict(config=shadow(shadow_dropout=0.2), **SHADOW),
    "shadow narrow": dict(config=shadow(
        shadow_hidden_size=16, shadow_num_hidden_layers=4, shadow_num_attention_heads=2, shadow_intermediate_size=20,
        update_hidden_size=6), bases=["llama", "qwen2", "qwen3", "mistral-window", "llama-biases"], **SHADOW),
    "shadow heads": dict(config=shadow(shadow_num_attention_heads=8, init_weights=False, r=4), **SHADOW),
    "shadow own embeddings": dict(config=shadow(share_embeddings=False, auxiliary_loss_weight=0.5), **SHADOW),
    "shadow some blocks": dict(config=shadow(
        target_modules=r".*\.layers\.[12]", auxiliary_loss_weight=0.0), **SHADOW),
    "shadow excluded": dict(config=shadow(exclude_modules=["layers.2"], modules_to_save=["lm_head"]), **SHADOW),
    "shadow of a directory": dict(
        config=lambda: shadow(shadow_model=decoder())(), trains=False, **SHADOW),
}
