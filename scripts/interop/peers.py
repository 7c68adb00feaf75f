"""What the comparison scripts share: running graft, tiny checkpoints, measuring, reporting."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoConfig
from transformers.utils import logging as transformers_logging

transformers_logging.disable_progress_bar()
TOKENIZER_FILES = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]


class GraftFailed(Exception):
    """graft ended with another exit code than the check expects."""


class Graft:
    """The executable under test."""

    def __init__(self, executable: str):
        self.executable = str(Path(executable).resolve())

    def run(self, *arguments, expect: int | None = 0, timeout: float = 600):
        """Runs one command; raises GraftFailed when the exit code is not `expect` (None: any)."""
        command = [self.executable, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
        if expect is not None and done.returncode != expect:
            last = " | ".join(done.stderr.strip().splitlines()[-3:])
            raise GraftFailed(f"graft {arguments[0]}: exit {done.returncode}, not {expect}: {last}")
        return done

    def start(self, *arguments, log: Path) -> subprocess.Popen:
        """Starts a command that the caller waits for or kills; both streams go to `log`."""
        stream = open(log, "ab")
        return subprocess.Popen([self.executable, *map(str, arguments)], stdout=stream, stderr=stream)

    def json(self, *arguments) -> dict:
        return json.loads(self.run(*arguments, "--json").stdout)

    def forward(self, model: Path, inputs: dict, work: Path, adapter: Path | None = None,
                gradients: bool = False, more: list = []) -> dict:
        """`graft forward` on the named tensors, with `more` options; returns the output tensors."""
        work.mkdir(parents=True, exist_ok=True)
        source, result = work / "inputs.safetensors", work / "outputs.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in inputs.items()}, source)
        result.unlink(missing_ok=True)
        options = ["--adapter", adapter] if adapter else []
        options += (["--gradients"] if gradients else []) + more
        self.run("forward", "--model", model, "--input", source, "--output", result, *options)
        return load_file(result)


class Report:
    """One line a check: PASS or FAIL, the name, the figure; `finish` exits accordingly."""

    def __init__(self, title: str):
        self.title, self.passed, self.failed = title, 0, 0

    def line(self, ok: bool, name: str, figure: str):
        self.passed, self.failed = self.passed + ok, self.failed + (not ok)
        print(f"{'PASS' if ok else 'FAIL'}  {self.title}: {name}: {figure}", flush=True)

    def note(self, name: str, figure: str):
        print(f"note  {self.title}: {name}: {figure}", flush=True)

    def within(self, name: str, measured: tuple[float, str], limit: float):
        """`measured` is a difference and where it is; NaN fails."""
        value, where = measured
        ok = value <= limit
        self.line(ok, name, f"{value:.2e} (limit {limit:.0e})" + ("" if ok else f" {where}"))

    def case(self, name: str, body, *arguments):
        """Runs the checks of one case; whatever it raises is one failed check."""
        try:
            return body(*arguments)
        except Exception as error:
            if not isinstance(error, (GraftFailed, AssertionError, subprocess.TimeoutExpired)):
                traceback.print_exc(limit=-4)
            self.line(False, name, f"{type(error).__name__}: {str(error)[:600]}")
            return None

    def finish(self):
        print(f"{self.title}: {self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed else 0)


def arguments(description: str, add=lambda parser: None) -> argparse.Namespace:
    """--graft, --work (made empty, one folder a script), --smollm2 and what `add` declares."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--graft", required=True, help="the graft executable")
    parser.add_argument("--work", required=True, type=Path, help="folder for temporary files")
    parser.add_argument("--smollm2", required=True, type=Path, help="SmolLM2 by `graft import`")
    add(parser)
    options = parser.parse_args()
    options.graft = Graft(options.graft)
    options.work = options.work.resolve() / Path(sys.argv[0]).stem
    options.smollm2 = options.smollm2.resolve()
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    torch.manual_seed(0)
    return options


def folder(options, label: str) -> Path:
    """The folder of one case below the script's own; it is not made."""
    return options.work / label.replace(" ", "-").replace(",", "")


# Measuring


def largest(actual: torch.Tensor, expected: torch.Tensor, mask: torch.Tensor | None = None):
    """The largest absolute difference, over positions where `mask` is true, and where it is."""
    assert actual.shape == expected.shape, f"shape {list(actual.shape)}, not {list(expected.shape)}"
    difference = (actual.double() - expected.double()).abs()
    difference = torch.where(torch.isnan(difference), torch.inf, difference)
    if mask is not None:
        difference[~mask.bool()] = 0
    if difference.numel() == 0:
        return 0.0, ""
    index = torch.unravel_index(difference.argmax(), difference.shape)
    place = [int(i) for i in index]
    return float(difference.max()), f"at {place}: {float(actual[index])}, not {float(expected[index])}"


def relative(actual: torch.Tensor, expected: torch.Tensor):
    """The larger of |a-e| / |e| in the 2-norm and max|a-e| / max|e|, and where the largest is."""
    difference, where = largest(actual, expected)
    if difference == 0:
        return 0.0, ""
    a, e = actual.double(), expected.double()
    by_norm = float((a - e).norm() / e.norm().clamp_min(1e-30))
    by_maximum = difference / max(float(e.abs().max()), 1e-30)
    return max(by_norm, by_maximum), where


def worst(actual: dict, expected: dict):
    """`relative` over named tensors, which must be the same set; the place names the tensor."""
    missing, extra = sorted(expected.keys() - actual.keys()), sorted(actual.keys() - expected.keys())
    if missing or extra:
        return float("inf"), f"missing {missing[:4]} ({len(missing)}), unexpected {extra[:4]} ({len(extra)})"
    found = [(*relative(actual[name], expected[name]), name) for name in sorted(expected)]
    value, where, name = max(found, key=lambda row: row[0])
    return value, f"{name} {where}"


# Checkpoints

SMALL = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=3,
             num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
             bos_token_id=1, eos_token_id=2, pad_token_id=0)
LLAMA3_ROPE = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0,
                   high_freq_factor=4.0, original_max_position_embeddings=16)
MINISTRAL_ROPE = dict(rope_type="yarn", rope_theta=1e6, factor=4.0, original_max_position_embeddings=8,
                      beta_fast=32.0, beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.3)
PARTIAL_ROPE = dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5)
LONG_ROPE = dict(rope_type="longrope", rope_theta=10000.0, short_factor=[1.0, 1.1, 1.3, 1.5],
                 long_factor=[1.5, 2.0, 3.0, 4.0])
TINY = {
    "llama": ("llama", dict()),
    "llama-tied": ("llama", dict(tie_word_embeddings=True)),
    "llama-rope-llama3": ("llama", dict(rope_parameters=LLAMA3_ROPE)),
    "llama-biases": ("llama", dict(attention_bias=True, mlp_bias=True)),
    "mistral-window": ("mistral", dict(sliding_window=5)),
    "qwen2": ("qwen2", dict()),
    "qwen2-tied": ("qwen2", dict(tie_word_embeddings=True)),
    "qwen3": ("qwen3", dict(head_dim=12)),
    "qwen3-tied": ("qwen3", dict(head_dim=12, tie_word_embeddings=True)),
    "qwen2-window": ("qwen2", dict(use_sliding_window=True, sliding_window=5, max_window_layers=1)),
    "ministral3": ("ministral3", dict(head_dim=8, rope_parameters=MINISTRAL_ROPE)),
    "gemma": ("gemma", dict(head_dim=12)),
    "gemma-gelu": ("gemma", dict(head_dim=8, hidden_act="gelu", attention_bias=True)),
    "gemma2": ("gemma2", dict(head_dim=12, sliding_window=5, query_pre_attn_scalar=20)),
    "gemma2-uncapped": ("gemma2", dict(head_dim=8, sliding_window=5, attn_logit_softcapping=None,
                                       final_logit_softcapping=None)),
    "gemma3": ("gemma3_text", dict(head_dim=12, sliding_window=5, query_pre_attn_scalar=20,
                                   layer_types=["sliding_attention", "full_attention"] * 2,
                                   num_hidden_layers=4)),
    "gemma3-linear": ("gemma3_text", dict(
        head_dim=8, sliding_window=5, num_hidden_layers=6, rope_parameters={
            "full_attention": dict(rope_type="linear", factor=8.0, rope_theta=1e6),
            "sliding_attention": dict(rope_type="default", rope_theta=10000.0)})),
    "phi": ("phi", dict(rope_parameters=PARTIAL_ROPE)),
    "phi3": ("phi3", dict(sliding_window=7)),
    "phi3-long": ("phi3", dict(original_max_position_embeddings=20, rope_parameters=LONG_ROPE)),
    "phi4-mini": ("phi3", dict(rope_parameters=dict(rope_type="default", rope_theta=10000.0,
                                                    partial_rotary_factor=0.75), tie_word_embeddings=True)),
    "granite": ("granite", dict(embedding_multiplier=3.0, attention_multiplier=0.2, tie_word_embeddings=True,
                                residual_multiplier=0.4, logits_scaling=2.5, attention_bias=True)),
    "olmo2": ("olmo2", dict()),
    "smollm3": ("smollm3", dict(num_hidden_layers=4)),
    "smollm3-window": ("smollm3", dict(num_hidden_layers=4, use_sliding_window=True, sliding_window=5,
                                       no_rope_layers=[1, 0, 1, 1])),
    "gpt2": ("gpt2", dict()),
    "gpt2-scaled": ("gpt2", dict(scale_attn_by_inverse_layer_idx=True, n_inner=40, activation_function="relu")),
    "llama-rope-linear": ("llama", dict(rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=4.0))),
    "llama-rope-dynamic": ("llama", dict(max_position_embeddings=24, rope_parameters=dict(
        rope_type="dynamic", rope_theta=10000.0, factor=2.0))),
    "llama-rope-yarn": ("llama", dict(rope_parameters=dict(
        rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=16))),
    "llama-rope-yarn-exact": ("llama", dict(head_dim=16, rope_parameters=dict(
        rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=16,
        truncate=False, beta_fast=8.0, beta_slow=2.0, attention_factor=1.3))),
}


def save_tiny(name: str, directory: Path, sharded: bool = False, v4: bool = False, **overrides):
    """Writes a random checkpoint whose every parameter matters (norms and biases are not 1 and 0)."""
    model_type, changes = TINY[name]
    torch.manual_seed(sum(name.encode()))
    config = AutoConfig.for_model(model_type, **{**SMALL, **changes, **overrides})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            centre = 1.0 if "norm" in key or ".ln_" in key else 0.0
            parameter.normal_(centre, 0.3 if parameter.ndim == 1 else 0.15)
    model.save_pretrained(directory, max_shard_size="20KB" if sharded else "5GB")
    if v4:
        rewrite_as_v4(directory / "config.json")
    return directory


def rewrite_as_v4(path: Path):
    """The older spelling of the same configuration: rope_theta, rope_scaling, torch_dtype."""
    config = json.loads(path.read_text())
    config["torch_dtype"] = config.pop("dtype")
    rope = dict(config.pop("rope_parameters", {}))
    if "full_attention" in rope:
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = dict(rope["full_attention"])
    else:
        config.pop("layer_types", None)
    if "partial_rotary_factor" in rope:
        config["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    if rope:
        config["rope_theta"] = rope.pop("rope_theta")
        config["rope_scaling"] = None if rope.get("rope_type", "default") == "default" else rope
    config["transformers_version"] = "4.46.0"
    path.write_text(json.dumps(config, indent=2))


def tiny_with_tokenizer(directory: Path, smollm2: Path, **sizes):
    """A small llama with SmolLM2's vocabulary and tokenizer, for runs that need text."""
    vocabulary = json.loads((smollm2 / "config.json").read_text())["vocab_size"]
    save_tiny("llama-tied", directory, vocab_size=vocabulary, max_position_embeddings=256, **sizes)
    for name in TOKENIZER_FILES:
        if (smollm2 / name).exists():
            shutil.copy(smollm2 / name, directory / name)
    return directory


def load_model(directory: Path):
    """The peer's model in float32, as it comes, in evaluation mode."""
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    model.config.use_cache = False  # X-LoRA refuses models that keep keys and values.
    return model


def disturb(model, scale: float):
    """Moves every trainable tensor, so that an adapter that is not applied shows."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += scale * torch.randn(parameter.shape, generator=generator)


def sample_inputs(vocabulary: int, batch: int = 2, length: int = 12, seed: int = 1) -> dict:
    """Random ids with labels; the first three labels of the first row are ignored."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, vocabulary, (batch, length), generator=generator)
    labels = ids.clone()
    labels[0, :3] = -100
    return {"input_ids": ids, "labels": labels}


def padded(inputs: dict, side: str, count: int = 4, pad: int = 0) -> dict:
    """The same batch with `count` padding positions in row 0, labels ignored there.

    On the left so is the first token behind them: it is predicted from padding, which sees nothing, and
    what attention gives then differs between the peer's own kernels.
    """
    ids, labels = inputs["input_ids"].clone(), inputs["labels"].clone()
    place = slice(0, count) if side == "left" else slice(ids.shape[1] - count, None)
    mask = torch.ones_like(ids)
    ids[0, place], labels[0, place], mask[0, place] = pad, -100, 0
    if side == "left":
        labels[0, count] = -100
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_metrics(directory: Path) -> list[dict]:
    """The training rows of metrics.jsonl; a last line cut by a kill is left out."""
    rows, path = [], directory / "metrics.jsonl"
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return [row for row in rows if "loss" in row]


# Rows in the prompt/completion format, each different, for runs that train.
SUBJECTS = ["river", "clock", "garden", "violin", "harbour", "lantern", "orchard", "compass"]
PLACES = ["in the north", "by the old wall", "near the sea", "on the hill", "under the bridge", "at noon"]


def completion_rows(count: int) -> list[dict]:
    rows = []
    for index in range(count):
        subject, place = SUBJECTS[index % 8], PLACES[(index // 3) % 6]
        words = " ".join(SUBJECTS[(index + step) % 8] for step in range(1 + index % 4))
        rows.append({"prompt": f"Question {index}: what is the {subject} {place}?\nAnswer:",
                     "completion": f" It is {words}, {place}."})
    return rows
