"""Methods whose layers share tensors."""

from peft import (FrodConfig, PveraConfig, RandLoraConfig, TinyLoraConfig, UniLoraConfig, VBLoRAConfig, VeraConfig)

SOME = ["q_proj", "v_proj", "down_proj"]


def make(kind, **fields):
    return lambda: kind(**{"target_modules": SOME, "task_type": "CAUSAL_LM", **fields})


CASES = {
    "vera": dict(config=make(VeraConfig, r=8)),
    "vera all-linear drawn anew": dict(config=make(
        VeraConfig, r=6, target_modules="all-linear", save_projection=False, projection_prng_key=7)),
    "pvera": dict(config=make(PveraConfig, r=8)),
    "pvera sampled drawn anew": dict(config=make(
        PveraConfig, r=6, save_projection=False, sample_at_inference=True, generator_seed=4), merges=False),
    "randlora": dict(config=make(RandLoraConfig, r=6, randlora_alpha=12), repeated=["randlora_A", "randlora_B"]),
    "randlora drawn anew": dict(config=make(RandLoraConfig, r=5, randlora_alpha=10, save_projection=False)),
    "randlora sparse": dict(config=make(
        RandLoraConfig, r=5, randlora_alpha=10, sparse=True, save_projection=False)),
    "randlora very sparse": dict(config=make(
        RandLoraConfig, r=4, randlora_alpha=8, very_sparse=True, save_projection=False)),
    "vblora": dict(config=make(VBLoRAConfig, num_vectors=20, vector_length=8), scale=0.5),
    "vblora largest": dict(config=make(
        VBLoRAConfig, num_vectors=300, vector_length=4, topk=3, save_only_topk_weights=True), scale=0.5),
    "unilora": dict(config=make(UniLoraConfig, theta_d_length=100), scale=0.5),
    "unilora indices": dict(config=make(UniLoraConfig, r=3, theta_d_length=50, save_indices=True), scale=0.5),
    "tinylora": dict(config=make(TinyLoraConfig, r=4, u=8)),
    "tinylora shared": dict(config=make(
        TinyLoraConfig, r=3, u=8, weight_tying=0.7, save_projection=False, init_weights="uniform")),
    "frod": dict(config=make(FrodConfig, sparse_rate=0.05, progressbar=False)),
    "frod drawn anew": dict(config=make(FrodConfig, save_projection=False, progressbar=False)),
}
