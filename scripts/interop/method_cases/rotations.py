"""Methods that scale, rotate or replace what a layer has."""

import torch
from peft import (
    BeftConfig, BOFTConfig, DeftConfig, GloraConfig, HRAConfig, IA3Config, LNTuningConfig, OFTConfig, OSFConfig,
    PsoftConfig, RoadConfig,
)
from peft.tuners.boft import layer as boft

SOME, CAUSAL = ["q_proj", "v_proj", "down_proj"], dict(task_type="CAUSAL_LM")



class BlockDiagonal:
    """What PEFT's CUDA extension does, without which it leaves out all butterfly factors but one."""

    def forward(self, blocks):
        return [torch.stack([torch.block_diag(*factor) for factor in blocks])]

    def backward(self, gradient, blocks):
        size = blocks.shape[-1]
        starts = range(0, gradient.shape[-1], size)
        return [torch.stack([gradient[:, i:i + size, i:i + size] for i in starts], dim=1)]


boft._FBD_CUDA = BlockDiagonal()


def oft(**changes):
    return dict(config=lambda: OFTConfig(**{"oft_block_size": 8, "target_modules": SOME, **CAUSAL, **changes}))


def boft_case(**changes):
    return dict(config=lambda: BOFTConfig(target_modules=SOME, **CAUSAL, **changes))


def psoft(**changes):
    return dict(config=lambda: PsoftConfig(**{"r": 8, "psoft_alpha": 8, "target_modules": SOME, **CAUSAL, **changes}))


def deft(**changes):
    return dict(config=lambda: DeftConfig(**{"r": 4, "target_modules": SOME, **CAUSAL, **changes}))


CASES = {
    "ia3": dict(config=lambda: IA3Config(**CAUSAL)),
    "ia3 feedforward": dict(config=lambda: IA3Config(
        target_modules=["q_proj", "up_proj", "down_proj"], feedforward_modules=["down_proj", "up_proj"], **CAUSAL)),
    "ia3 none feedforward": dict(config=lambda: IA3Config(target_modules=SOME, feedforward_modules=[], **CAUSAL)),
    "ia3 random": dict(config=lambda: IA3Config(
        target_modules="all-linear", feedforward_modules=r".*\.down_proj", init_ia3_weights=False, **CAUSAL)),
    # Layers of the text model have no bias to merge into; nor have llama's.
    "beft": dict(config=lambda: BeftConfig(**CAUSAL), bases=["llama"], merges=False),
    "beft with bias": dict(config=lambda: BeftConfig(**CAUSAL), bases=["qwen2"], trained_merges=False),
    "ln_tuning": dict(config=lambda: LNTuningConfig(**CAUSAL)),
    "ln_tuning some": dict(config=lambda: LNTuningConfig(
        target_modules=["norm", "input_layernorm"], exclude_modules=["layers.0.input_layernorm"], **CAUSAL)),
    "hra": dict(config=lambda: HRAConfig(r=4, target_modules=SOME, **CAUSAL)),
    "hra default": dict(config=lambda: HRAConfig(**CAUSAL)),
    "hra odd": dict(config=lambda: HRAConfig(r=3, target_modules=SOME, bias="hra_only", **CAUSAL)),
    "hra orthogonal": dict(config=lambda: HRAConfig(r=4, apply_GS=True, target_modules=SOME, **CAUSAL)),
    "hra random": dict(config=lambda: HRAConfig(r=6, init_weights=False, target_modules=SOME, **CAUSAL)),
    "oft": oft(),
    "oft default": dict(config=lambda: OFTConfig(**CAUSAL)),
    "oft adjusted": oft(oft_block_size=7, num_cayley_neumann_terms=8, bias="all"),
    "oft r": oft(oft_block_size=0, r=3, num_cayley_neumann_terms=3),
    "oft exact": oft(use_cayley_neumann=False),
    "oft constrained": oft(coft=True, eps=0.4),
    "oft shared": oft(block_share=True, coft=True, eps=0.2),
    "oft random": oft(init_weights=False, num_cayley_neumann_terms=2),
    "boft": boft_case(),
    "boft butterfly": boft_case(boft_block_size=4, boft_n_butterfly_factor=3),
    "boft blocks": boft_case(boft_block_size=0, boft_block_num=8, boft_n_butterfly_factor=2, bias="boft_only"),
    "boft random": boft_case(boft_n_butterfly_factor=2, init_weights=False),
    "glora random": dict(config=lambda: GloraConfig(r=4, target_modules=SOME, init_weights=False, **CAUSAL)),
    "glora default": dict(config=lambda: GloraConfig(bias="glora_only", **CAUSAL)),
    "psoft": psoft(),
    "psoft split": psoft(ab_svd_init="pissa_init", psoft_alpha=24, psoft_mag_a=False),
    "psoft lowrank": psoft(psoft_svd="lowrank", random_seed=3, psoft_svd_lowrank_niter=4, psoft_mag_b=False),
    "psoft series": psoft(use_cayley_neumann=True, cayley_neumann_eps=0.5, num_cayley_neumann_terms=6),
    "psoft series unbound": psoft(use_cayley_neumann=True, init_weights=False),
    "psoft free": psoft(psoft_orth=False),
    "osf": dict(config=lambda: OSFConfig(**CAUSAL)),
    "osf ranks": dict(config=lambda: OSFConfig(
        effective_rank=0.3, rank_pattern={"down": 20, r"layers\.1": 0.75}, target_modules=SOME, **CAUSAL)),
    "osf random": dict(config=lambda: OSFConfig(init_weights=False, effective_rank=0.9, target_modules=SOME, **CAUSAL),
                       scale=0.01),
    "deft": deft(),
    "deft qr": deft(decomposition_method="qr", alpha=6, bias="deft_only"),
    "deft removing": deft(para=True, init_scale=2.0),
    "deft removing qr": deft(para=True, decomposition_method="qr"),
    "deft random": deft(init_weights=False, r=40),
} | {
    # Only biases are trained with "none", which the model that graft trains does not have.
    f"glora {weights} {inputs} {biases}": dict(
        config=lambda weights=weights, inputs=inputs, biases=biases: GloraConfig(
            r=4, config_A_B=weights, config_C=inputs, config_D_E=biases, target_modules=["q_proj", "v_proj"],
            **CAUSAL), bases=["qwen2"], trains=weights != "none")
    for weights in ["lora", "vector", "constant", "none"]
    for inputs in ["lora", "vector", "none"]
    for biases in ["vector", "constant", "none"]
    if (weights, inputs, biases) != ("none", "none", "none")
} | {
    f"{variant}{label}": dict(config=lambda variant=variant, start=start: RoadConfig(
        variant=variant, group_size=8, target_modules=SOME, init_weights=start, **CAUSAL))
    for variant in ["road_1", "road_2", "road_4"]
    for label, start in [("", True), (" random", False)]
}
