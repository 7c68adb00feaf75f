#!/usr/bin/env python3
"""State of `graft train --optimizer` in bitsandbytes' optimisers, and theirs in ours, step by step.

A run saves a checkpoint at every step; all steps see the same batch. The peer takes the state of step
4 and makes step 5, we take the peer's state of step 5 and make step 6. bitsandbytes' CPU backend puts
states into codes by a coarse table, so that tiny codes differ after a step of its own; a step itself
uses the state before that and must agree.
"""

import math
import shutil

import bitsandbytes as bnb
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from peers import (Report, arguments, completion_rows, load_model, relative, tiny_with_tokenizer, write_rows)
from training import collate, encode

FROM, RANK, DECAY = 4, 32, 0.01
WRAPPED = "__bnb_optimizer_quant_state__"
KINDS = {
    "adam": (bnb.optim.Adam, 1e-3, {}), "adamw": (bnb.optim.AdamW, 1e-3, {}),
    "lion": (bnb.optim.Lion, 1e-4, {}), "sgd": (bnb.optim.SGD, 1e-2, {"momentum": 0.9}),
    "rmsprop": (bnb.optim.RMSprop, 1e-3, {}), "adagrad": (bnb.optim.Adagrad, 1e-3, {}),
    "lamb": (bnb.optim.LAMB, 1e-2, {}), "lars": (bnb.optim.LARS, 1e-1, {"momentum": 0.9}),
    "ademamix": (bnb.optim.AdEMAMix, 1e-3, {}),
}


class Run:
    """One recipe of graft, and the same model and batch in the peer."""

    def __init__(self, options, base, rows, rule, bits):
        self.options, self.base, self.rule, self.bits = options, base, rule, bits
        self.make, self.rate, self.more = KINDS[rule]
        # LARS measures its direction before the decay here and behind it there.
        self.decay = 0.0 if rule == "lars" else DECAY
        # `adamw` is torch's; the fused one in 32 bits is the paged one.
        name = {"adamw32": "paged-adamw"}.get(f"{rule}{bits}", rule + ("-8bit" if bits == 8 else ""))
        self.directory = options.work / name
        self.batch = collate(encode(rows, base))
        data = write_rows(options.work / "rows.jsonl", rows)
        options.graft.run(
            "train", "--model", base, "--data", data, "--output", self.directory, "--optimizer", name,
            "--learning-rate", self.rate, "--weight-decay", self.decay, "--schedule", "constant",
            "--max-steps", FROM + 2, "--batch-size", len(rows), "--max-gradient-norm", 0, "--rank", RANK,
            "--no-shuffle", "--no-group-by-length", "--save-every", 1, "--keep", 99, "--max-length", 128)

    def checkpoint(self, step):
        return self.directory / "checkpoints" / f"step-{step:08}"

    def weights(self, step):
        return load_file(self.checkpoint(step) / "adapter_model.safetensors")

    def states(self, step):
        """Our saved state by parameter and key."""
        found = {}
        for name, tensor in load_file(self.checkpoint(step) / "optimizer.safetensors").items():
            if name != "generator":
                parameter, key = name.rsplit(".", 1)
                found.setdefault(parameter, {})[key] = tensor
        return found

    def peer(self, step):
        """The peer's model with our adapter of a step, and a fresh optimiser of its."""
        model = PeftModel.from_pretrained(load_model(self.base), self.checkpoint(step), is_trainable=True).eval()
        named = {name.replace(".default.", "."): p for name, p in model.named_parameters() if p.requires_grad}
        optimizer = self.make(list(named.values()), lr=self.rate, weight_decay=self.decay,
                              optim_bits=self.bits, **self.more)
        return model, named, optimizer

    def peer_step(self, model, optimizer):
        labels = self.batch["labels"]
        logits = model(input_ids=self.batch["input_ids"], attention_mask=self.batch["attention_mask"]).logits
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()).backward()
        optimizer.step()


def numbers(state, index):
    """A state as numbers."""
    values = state[f"state{index}"]
    if values.dtype != torch.uint8:
        return values
    decoded = state[f"qmap{index}"][values.long()]
    scale = state[f"absmax{index}"]
    if decoded.ndim > scale.ndim and scale.ndim == 2:  # AdEMAMix: two of them
        return torch.stack([numbers({**state, "state1": v, "absmax1": s}, 1) for v, s in zip(values, scale)])
    return (decoded.flatten() * scale.repeat_interleave(256)[:decoded.numel()]).reshape(decoded.shape)


def layout(state):
    return {key: (str(value.dtype), tuple(value.shape)) for key, value in state.items() if torch.is_tensor(value)}


def steps_agree(report, run, name, old, ours, theirs):
    """The changes of all parameters. Lion's are signs, of which those of sums near zero may differ."""
    keys = sorted(ours)
    one = torch.cat([(ours[key] - old[key]).flatten().double() for key in keys])
    other = torch.cat([(theirs[key] - old[key]).flatten().double() for key in keys])
    if run.rule == "lion":
        share = float(((one - other).abs() > run.rate * 1e-2).double().mean())
        report.within(f"{name} share of other signs", (share, ""), 2e-3)
    else:
        report.within(name, relative(one, other), 2e-3)


def compare(report, options, base, rows, rule, bits):
    label = f"{rule} {bits}"
    run = Run(options, base, rows, rule, bits)
    saved, old = run.states(FROM), run.weights(FROM)

    # Layout: that of an optimiser that made a step of its own.
    model, named, optimizer = run.peer(FROM)
    run.peer_step(model, optimizer)
    wrong = [key for key in named if layout(saved[key]) != {**layout(optimizer.state[named[key]]), "step": ("torch.int64", (1,))}]
    codes = sum(state["state1"].dtype == torch.uint8 for state in saved.values())
    report.line(not wrong and saved.keys() == named.keys() and (codes > 0) == (bits == 8), f"{label} layout",
                f"{len(saved)} parameters, {codes} in codes" if not wrong else
                f"{wrong[0]}: {layout(saved[wrong[0]])}, not {layout(optimizer.state[named[wrong[0]]])}")

    # Our state there.
    model, named, optimizer = run.peer(FROM)
    state = {index: {"step": int(saved[key]["step"]), WRAPPED: {k: v.clone() for k, v in saved[key].items() if k != "step"}}
             for index, key in enumerate(named)}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    run.peer_step(model, optimizer)
    ours = run.weights(FROM + 1)
    theirs = {key: p.detach().clone() for key, p in named.items()}
    if rule == "lamb" and bits == 32:
        # Its CPU backend measures the direction without the correction of its moments.
        c = math.sqrt(1 - 0.999 ** (FROM + 1)) / (1 - 0.9 ** (FROM + 1))
        ours = {key: old[key] * (1 - run.rate * run.decay) * (1 - c) + ours[key] * c for key in ours}
    limited = rule in ("lamb", "lars") and bits == 8  # It ignores the limit of the direction in 8 bits.
    if not limited:
        steps_agree(report, run, f"{label} its step from our state", old, ours, theirs)
    after = run.states(FROM + 1)
    for index in (1, 2) if "state2" in next(iter(saved.values())) else (1,):
        differing = count = 0
        for key, p in named.items():
            one, other = numbers(after[key], index), numbers(optimizer.state[p], index)
            limit = 1e-4 * other.abs().max() + 1e-3 * other.abs()
            differing, count = differing + int(((one - other).abs() > limit).sum()), count + one.numel()
        report.within(f"{label} state {index}: share of other codes", (differing / count, ""), 2e-2)
    if limited or rule == "lamb":
        return

    # Its state here: the run goes on from what the peer made.
    for step in (FROM + 1, FROM + 2):
        target = run.checkpoint(step)
        if step == FROM + 2:
            shutil.rmtree(target)
    target = run.checkpoint(FROM + 1)
    save_file({key: value.contiguous() for key, value in theirs.items()}, target / "adapter_model.safetensors", {"format": "pt"})
    tensors = {"generator": load_file(target / "optimizer.safetensors")["generator"]}
    wrapped = optimizer.state_dict()["state"]
    for index, key in enumerate(named):
        tensors |= {f"{key}.{k}": v.clone() for k, v in wrapped[index][WRAPPED].items()}
        tensors[f"{key}.step"] = torch.tensor([wrapped[index]["step"]])
    save_file(tensors, target / "optimizer.safetensors")
    (run.directory / "adapter_model.safetensors").unlink()
    options.graft.run("train", "--resume", run.directory)
    run.peer_step(model, optimizer)
    steps_agree(report, run, f"{label} our step from its state", theirs, run.weights(FROM + 2),
                {key: p.detach() for key, p in named.items()})


def main():
    options = arguments(__doc__)
    report = Report("optimizers")
    base = tiny_with_tokenizer(options.work / "base", options.smollm2, hidden_size=128, head_dim=32)
    rows = completion_rows(4)
    for rule in KINDS:
        for bits in (32, 8):
            report.case(f"{rule} {bits}", compare, report, options, base, rows, rule, bits)
    report.finish()


if __name__ == "__main__":
    main()
