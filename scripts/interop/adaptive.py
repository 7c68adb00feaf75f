#!/usr/bin/env python3
"""Methods that act between steps, step by step beside PEFT's own loop: AdaLoRA's budget and penalty, and
AdaMSS's allocation of subspaces."""

import json
from functools import partial
from types import SimpleNamespace

import torch
from peft import AdaLoraConfig, AdamssConfig, PeftModel, get_peft_model
from peft.tuners.adamss.asa_callback import AdamssAsaCallback
from safetensors.torch import load_file

from peers import (Report, arguments, completion_rows, disturb, folder, load_model, read_metrics,
                   tiny_with_tokenizer, worst, write_rows)
from training import ACCUMULATION, BATCH, CLIP, DECAY, encode, groups, summed_loss

RATE, WEIGHTS, LOSSES = 1e-2, 2e-3, 1e-4
TARGETS = ["q_proj", "v_proj", "down_proj"]
INDEX = "adamss_scatter_index"


def run(model, rows, steps, work, allocate, has_penalty):
    """PEFT's loop, `allocate` after each update; the adapter is saved then, and the mean loss returned."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=DECAY)
    losses = []
    for step, batches, tokens in groups(rows, steps):
        total = 0.0
        for batch in batches:
            output = model(**batch)
            loss, count = summed_loss(output.logits, batch["labels"])
            # What PEFT added to the model's own mean loss is the penalty.
            penalty = output.loss - loss / count if has_penalty else 0
            (loss / tokens + penalty / ACCUMULATION).backward()
            total += float(loss.detach()) / tokens
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        losses.append(total)
        optimizer.step()
        allocate(step)
        optimizer.zero_grad()
        model.save_pretrained(work / "peer" / str(step))
    return losses


def compare(report, options, base, name, steps, config, allocate, ours, theirs):
    """The same run in both from the same numbers: losses, what is left after each step, weights at the end.

    allocate(model, step) is PEFT's part of a step; ours(checkpoint) and theirs(saved, model, step) tell what is
    left, which the peer is asked for after each step."""
    work = folder(options, name)
    torch.manual_seed(11)
    start = get_peft_model(load_model(base), config)
    disturb(start, 0.05)
    start.save_pretrained(work / "start")
    rows = completion_rows(6 * BATCH * ACCUMULATION)
    data = write_rows(work / "rows.jsonl", rows)
    options.graft.run(
        "train", "--model", base, "--adapter", work / "start", "--data", data, "--batch-size", BATCH,
        "--gradient-accumulation", ACCUMULATION, "--learning-rate", RATE, "--schedule", "constant",
        "--warmup-steps", 0, "--max-gradient-norm", CLIP, "--weight-decay", DECAY, "--optimizer", "adamw",
        "--max-length", 256, "--no-shuffle", "--no-group-by-length", "--log-every", 1, "--save-every", 1,
        "--keep", 100, "--dropout", 0, "--seed", 1, "--max-steps", steps, "--output", work / "trained")
    model = PeftModel.from_pretrained(load_model(base), work / "start", is_trainable=True).eval()
    expected = []

    def allocated(step):
        allocate(model, step)
        expected.append(theirs(model))

    losses = run(model, encode(rows, base), steps, work, allocated, isinstance(config, AdaLoraConfig))
    found = [row["loss"] for row in read_metrics(work / "trained")]
    difference = max(abs(a - e) / abs(e) for a, e in zip(found, losses)) if len(found) == steps else float("inf")
    report.within(f"{name} {steps} losses", (difference, f"{found}, not {losses}"), LOSSES)
    left, wrong = [], []
    for step in range(1, steps + 1):
        actual = ours(work / "trained" / "checkpoints" / f"step-{step:08}")
        left.append(sum(sum(mask) for mask in actual.values()) if actual else "-")
        wrong += [] if actual == expected[step - 1] else [step]
    report.line(not wrong and len(set(left)) > 2, f"{name} what is left after each step",
                f"{' '.join(map(str, left))}; steps that differ: {wrong}")
    last = load_file(work / "peer" / str(steps) / "adapter_model.safetensors")
    trained = load_file(work / "trained" / "adapter_model.safetensors")
    trained = {key: value for key, value in trained.items() if INDEX not in key}
    report.within(f"{name} adapter after {steps} steps", worst(trained, last), WEIGHTS)
    reopened = PeftModel.from_pretrained(load_model(base), work / "trained").eval()
    ids = torch.arange(5, 25).reshape(2, 10)
    with torch.no_grad():
        logits = reopened(input_ids=ids).logits
    actual = options.graft.forward(base, {"input_ids": ids}, work, work / "trained")
    report.within(f"{name} opened by PEFT", (float((actual["logits"] - logits).abs().max()), ""), 1e-4)


def masks(directory):
    """Which ranks a saved AdaLoRA has, by layer."""
    return json.loads((directory / "adapter_config.json").read_text())["rank_pattern"]


def adalora(report, options, base, name, steps, **fields):
    config = AdaLoraConfig(target_modules=TARGETS, task_type="CAUSAL_LM", total_step=steps, **fields)

    def theirs(model):
        pattern = model.peft_config["default"].rank_pattern
        return pattern and {key.replace(".default", ""): list(mask) for key, mask in pattern.items()}

    compare(report, options, base, name, steps, config,
            lambda model, step: model.base_model.update_and_allocate(step), masks, theirs)


class InclusiveThreshold:
    """torch as PEFT's AdaMSS sees it, whose k-th value lets the subspace that has it through: PEFT 0.21.2 trains
    what is above the score of the last one to keep, one less than asa_target_subspaces says."""

    def __getattr__(self, name):
        return getattr(torch, name)

    @staticmethod
    def kthvalue(scores, k):
        value, index = torch.kthvalue(scores, k)
        return torch.nextafter(value, torch.tensor(torch.inf)), index


def adamss(report, options, base, name, steps, **fields):
    from peft.tuners.adamss import model as adamss_model
    adamss_model.torch = InclusiveThreshold()
    config = AdamssConfig(target_modules=TARGETS, task_type="CAUSAL_LM", use_asa=True, **fields)
    callback = AdamssAsaCallback()

    def allocate(model, step):
        # Trainer counts a step after the callback.
        callback.on_optimizer_step(None, SimpleNamespace(global_step=step - 1), None, model=model)

    def ours(checkpoint):
        state = load_file(checkpoint / "optimizer.safetensors")
        result = {}
        for key, value in state.items():
            if key.endswith(".trained"):
                layer, index = key.removeprefix("adapter.").removesuffix(".trained").split(".adamss.")
                result.setdefault(layer, {})[int(index)] = bool(value)
        return {layer: [flags[index] for index in sorted(flags)] for layer, flags in result.items()}

    def theirs(model):
        result = {}
        for name, module in model.base_model.model.named_modules():
            if hasattr(module, "adamss_A"):
                result[name] = [parameter.requires_grad for parameter in module.adamss_A["default"]]
        return result

    compare(report, options, base, name, steps, config, allocate, ours, theirs)


RUNS = {
    "adalora": (adalora, 12, dict(target_r=2, init_r=4, tinit=2, tfinal=3, deltaT=2)),
    "adalora without pauses": (adalora, 8, dict(target_r=1, init_r=3, beta1=0.5, beta2=0.7, orth_reg_weight=0.1)),
    "adamss": (adamss, 12, dict(
        r=8, num_subspaces=3, subspace_rank=2, asa_target_subspaces=7, init_warmup=1, final_warmup=10,
        mask_interval=3)),
    "adamss often": (adamss, 8, dict(
        r=10, num_subspaces=4, asa_target_subspaces=1, init_warmup=0, final_warmup=6, mask_interval=2,
        asa_importance_beta=0.5, asa_uncertainty_beta=0.3, asa_schedule_exponent=1.0)),
}


def main():
    options = arguments(__doc__)
    report = Report("adaptive")
    base = tiny_with_tokenizer(options.work / "base", options.smollm2)
    for name, (body, steps, fields) in RUNS.items():
        report.case(name, partial(body, **fields), report, options, base, name, steps)
    report.finish()


if __name__ == "__main__":
    main()
