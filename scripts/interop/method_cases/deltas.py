"""Methods that add a matrix of a form of its own, on layers of three shapes."""

import torch
from peft import (
    C3AConfig,
    DeloraConfig,
    FourierFTConfig,
    GraloraConfig,
    HiraConfig,
    LilyConfig,
    LoHaConfig,
    LoKrConfig,
    MissConfig,
    PeanutConfig,
    ShiraConfig,
    SupertuningConfig,
    WaveFTConfig,
)
from peft.tuners.c3a import layer as c3a_layer

COMMON = dict(target_modules=["q_proj", "v_proj", "up_proj"], task_type="CAUSAL_LM")
WAVELETS = ["db2", "db7", "db10", "sym2", "sym5", "sym10", "coif1", "coif3", "coif4"]


class CircularConvolution:
    """C3A's product with the derivative that autograd finds.

    PEFT 0.21.2 writes it by hand and gets that of the input wrong: the kernel is reversed, as
    torch.autograd.gradcheck shows."""

    @staticmethod
    def apply(x, kernel):
        blocks = x.reshape(*x.shape[:-1], kernel.shape[1], kernel.shape[2])
        sums = torch.einsum("...nb,mnb->...mb", torch.fft.ifft(blocks), torch.fft.fft(kernel))
        return torch.fft.fft(sums).real.flatten(start_dim=-2)


c3a_layer.BlockCircularConvolution = CircularConvolution


def case(kind, *, scale=0.1, rate=1e-2, merges=True, trains=True, **fields):
    return dict(config=lambda: kind(**{**COMMON, **fields}), scale=scale, rate=rate, merges=merges, trains=trains)


CASES = {
    "loha": case(LoHaConfig, r=4, alpha=6, scale=0.3, rate=5e-2),
    "loha patterns": case(
        LoHaConfig, r=4, scale=0.3, rate=5e-2, rank_pattern={"q_proj": 2}, alpha_pattern={"v_proj": 16}),
    "loha random": case(LoHaConfig, r=4, init_weights=False, rank_dropout=0.2, module_dropout=0.1),
    "lokr": case(LoKrConfig, r=8, alpha=8),
    "lokr products": case(LoKrConfig, r=1, alpha=4, scale=0.3, rate=5e-2, decompose_both=True, decompose_factor=4),
    "lokr lycoris": case(
        LoKrConfig, r=2, init_weights="lycoris", alpha_pattern={"up_proj": 6}, rank_pattern={"q_proj": 3}),
    "lokr lycoris products": case(LoKrConfig, r=1, init_weights="lycoris", decompose_both=True, rate=5e-2),
    "lokr random": case(
        LoKrConfig, r=4, init_weights=False, decompose_factor=8, rank_dropout=0.2, rank_dropout_scale=True,
        module_dropout=0.1),
    "miss": case(MissConfig, r=4),
    "miss remainder": case(MissConfig, r=7, miss_dropout=0.1),
    "miss bat": case(MissConfig, r=4, init_weights="bat"),
    "miss mini": case(MissConfig, r=8, mini_r=4, init_weights="mini"),
    "miss random": case(MissConfig, r=4, init_weights=False),
    "shira": case(ShiraConfig, r=3),
    "shira seed": case(ShiraConfig, r=2, random_seed=11, init_weights=False),
    "c3a": case(C3AConfig, block_size=8, block_size_pattern={"v_proj": 4}, scale=1, rate=1e-1),
    "c3a gaussian": case(C3AConfig, block_size=4, init_weights="gaussian", rate=1e-1),
    "c3a kaiming": case(C3AConfig, block_size=16, init_weights="kaiming_uniform", scale=1, rate=1e-1),
    "c3a zero": case(C3AConfig, block_size=8, init_weights=True, scale=1, rate=1e-1),
    "fourierft": case(FourierFTConfig, n_frequency=200, n_frequency_pattern={"q_proj": 90}, rate=1e-1),
    "fourierft zero": case(
        FourierFTConfig, n_frequency=300, init_weights=True, random_loc_seed=5, scaling=40.0, scale=1, rate=1e-1),
    "waveft": case(WaveFTConfig, n_frequency=200, n_frequency_pattern={"q_proj": 90}),
    "waveft without transform": case(WaveFTConfig, n_frequency=200, use_idwt=False, random_loc_seed=3),
    "waveft proportional": case(WaveFTConfig, n_frequency=150, proportional_parameters=True),
    "waveft random": case(WaveFTConfig, n_frequency=100, init_weights=False),
    **{f"waveft {name}": case(WaveFTConfig, n_frequency=300, wavelet_family=name, scaling=8.0) for name in WAVELETS},
    "delora": case(DeloraConfig, r=4, delora_lambda=3),
    "delora patterns": case(
        DeloraConfig, r=4, rank_pattern={"q_proj": 2}, lambda_pattern={"v_proj": 5.5}, init_weights=False,
        module_dropout=0.1),
    "gralora": case(GraloraConfig, r=8, alpha=16),
    "gralora hybrid": case(
        GraloraConfig, r=8, alpha=16, gralora_k=4, hybrid_r=3, gralora_dropout=0.1, init_weights=False),
    "hira": case(HiraConfig, r=4, scale=0.5, rate=1e-1),
    # PEFT's layers ignore the pattern and cannot open what heeds it.
    "hira patterns": case(
        HiraConfig, r=4, rank_pattern={"q_proj": 2}, init_weights="gaussian", hira_dropout=0.1, scale=0.5, rate=1e-1,
        trains=False),
    "hira random": case(HiraConfig, r=4, init_weights=False),
    "peanut": case(PeanutConfig, r=4, scale=0.3, rate=5e-2),
    "peanut deep": case(PeanutConfig, r=4, depth=2, act_fn="silu", scaling=2.0, scale=0.3, rate=5e-2),
    "peanut random": case(PeanutConfig, r=4, depth=1, act_fn="gelu_new", init_weights=False, rate=5e-2),
    "lily": case(LilyConfig, r=4, merges=False, scale=0.3),
    "lily shared": case(LilyConfig, r=4, stride_A=2, num_B=3, scaling=2.0, merges=False, init_weights=False, scale=0.3),
    "supertuning": case(SupertuningConfig, sparsity=0.8),
    "supertuning smallest": case(
        SupertuningConfig, sparsity=0.9, select_top=False, save_precomputed_indices=False, init_weights=False),
    "supertuning supra": case(SupertuningConfig, sparsity=0.9, r=2, lora_dropout=0.1),
}
