"""Methods that choose in training what is trained, or by task what acts."""

import torch
from peft import AdaLoraConfig, AdamssConfig, PolyConfig

SOME = ["q_proj", "v_proj", "down_proj"]
MASKS = {f"model.layers.{layer}.{name}.lora_E": [layer == 1, True, layer < 2, False]
         for layer in range(3) for name in ["self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"]}


def case(kind, *, scale=0.3, rate=5e-2, **fields):
    return dict(config=lambda: kind(**{"target_modules": SOME, "task_type": "CAUSAL_LM", **fields}),
                scale=scale, rate=rate)


def adalora(**fields):
    """Without the penalty, which PEFT adds to the loss and `graft forward` does not; adaptive.py compares it."""
    return case(AdaLoraConfig, **{"target_r": 2, "init_r": 4, "total_step": 4, "orth_reg_weight": 0, **fields})


def adamss(**fields):
    """graft's files say the order of the outputs, which PEFT finds again."""
    return case(AdamssConfig, **fields) | dict(repeated=["adamss_scatter_index"])


def poly(tasks, **fields):
    return case(PolyConfig, **fields) | dict(merges=False, inputs=dict(task_ids=torch.tensor(tasks)))


CASES = {
    "adalora": adalora(),
    "adalora all-linear": adalora(
        target_modules="all-linear", lora_alpha=0, lora_dropout=0.1, tinit=1, tfinal=1, deltaT=2, init_r=3),
    "adalora random": adalora(init_lora_weights=False, lora_alpha=1, rate=1e-2),
    "adalora default": case(
        AdaLoraConfig, target_modules=None, total_step=4, orth_reg_weight=0, layers_to_transform=[0, 2]),
    # What has too few ranks left for its budget is only trained.
    "adalora masked": adalora(rank_pattern=MASKS, target_r=3),
    "adamss": adamss(r=6, num_subspaces=3, subspace_rank=2),
    "adamss default": adamss(target_modules=None, r=12),
    "adamss dynamic": adamss(
        r=10, num_subspaces=4, subspace_rank=4, use_dynamic_rank=True, svd_threshold=0.6, random_seed=5,
        init_weights=None),
    "adamss allocated": adamss(
        r=8, num_subspaces=2, use_asa=True, asa_target_subspaces=3, init_warmup=0, final_warmup=3, mask_interval=1),
    "poly": poly([2, 0], n_tasks=3, r=4),
    "poly split": poly([1, 1], n_tasks=2, n_skills=3, n_splits=4, r=2, target_modules="all-linear"),
    "poly random": poly([0, 0], n_skills=2, r=4, init_weights=False, exclude_modules=["layers.1.mlp.down_proj"]),
}
