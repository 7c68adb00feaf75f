"""LoRA's starts and variants through its configuration file; adapters.py has the rest of it."""

from peft import EvaConfig, LoraConfig
from peft.tuners.lora.config import (BdLoraConfig, CordaConfig, KasaConfig, LoraGAConfig, MontecloraConfig,
                                     VeloraConfig)

from peers import sample_inputs


def config(**changes):
    return lambda: LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "up_proj", "down_proj"],
                                 "task_type": "CAUSAL_LM", **changes})


CASES = {
    "lora": dict(config=config()),
    "dora": dict(config=config(use_dora=True)),
    "dora pissa": dict(config=config(use_dora=True, init_lora_weights="pissa"), scale=0.05),
    "lora bias": dict(config=config(lora_bias=True, target_modules=["q_proj", "v_proj"]), bases=["qwen2"],
                      trained_merges=False),
    "lora bias false": dict(config=config(lora_bias=True, init_lora_weights=False), merges=False),
    "lora orthogonal": dict(config=config(init_lora_weights="orthogonal")),
    "lora pissa": dict(config=config(init_lora_weights="pissa"), scale=0.05),
    "lora pissa rslora": dict(config=config(init_lora_weights="pissa", use_rslora=True), scale=0.05),
    "lora olora": dict(config=config(init_lora_weights="olora"), scale=0.05),
    "lora embeddings": dict(config=config(target_modules=["embed_tokens", "q_proj"])),
    "dora embeddings": dict(config=config(target_modules=["embed_tokens"], use_dora=True)),
    # Training moves the tokens it has seen alone: A is zero at the others, and B is frozen.
    "lora mica embeddings": dict(config=config(target_modules=["embed_tokens"], init_lora_weights="mica"), scale=0.02,
                                 trains=False),
    "lora eva": dict(config=config(init_lora_weights="eva", eva_config=EvaConfig()), ),
    "lora ga": dict(config=config(init_lora_weights="lora_ga", lora_ga_config=LoraGAConfig()), opens=False),
    "lora corda": dict(config=config(init_lora_weights="corda", corda_config=CordaConfig()), opens=False),
    "lora pissa niter": dict(config=config(init_lora_weights="pissa_niter_4"), opens=False, rate=1e-3),
    "bdlora": dict(config=config(use_bdlora=BdLoraConfig(target_modules_bd_a=["down_proj"], nblocks=2,
                                                         target_modules_bd_b=["q_proj", "up_proj"]))),
    "kasa": dict(config=config(kasa_config=KasaConfig())),
    "lora parameters": dict(config=config(target_modules=["q_proj"], target_parameters=["mlp.up_proj.weight"])),
    "lora parameters alone": dict(config=config(target_modules=[], target_parameters=["up_proj.weight"])),
    # Tokens of the first row that forward checks run on.
    "alora": dict(config=config(alora_invocation_tokens=sample_inputs(96)["input_ids"][0, 4:6].tolist()),
                  trains=False, merges=False),
    "lora parameters and defaults": dict(config=config(target_modules=None, target_parameters=["up_proj.weight"])),
    "lora replicated": dict(config=config(layer_replication=[[0, 2], [1, 3]], target_modules=["q_proj", "up_proj"]),
                            bases=["llama"]),
    # PEFT's two updates share memory but not gradients.
    "lora tied": dict(config=config(target_modules=["lm_head", "q_proj"], ensure_weight_tying=True),
                      bases=["llama-tied"], differentiates=False),
    "lora tied module": dict(config=config(modules_to_save=["lm_head"], ensure_weight_tying=True),
                             bases=["llama-tied"], differentiates=False),
    "velora": dict(config=config(velora_config=VeloraConfig(num_groups=8, init_type="batch_average_once"))),
    # Evaluation and files; scripts/goldens/lora_monteclora.py has the steps of training.
    "monteclora": dict(config=config(monteclora_config=MontecloraConfig(num_samples=3, sample_scaler=1e-2,
                                                                        buffer_size=2, use_entropy=True))),
    "monteclora pissa": dict(config=config(init_lora_weights="pissa", rank_pattern={"up_proj": 6},
                                           monteclora_config=MontecloraConfig(buffer_size=2)), scale=0.05),
    "lora mica": dict(config=config(init_lora_weights="mica")),
}
