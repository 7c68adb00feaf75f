#!/usr/bin/env python3
"""Twenty losses of `graft train` against a PEFT + torch AdamW loop, within 1e-3 relative."""

import json

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from tokenizers import Tokenizer

from peers import (Report, arguments, completion_rows, load_model, read_metrics,
                   tiny_with_tokenizer, worst, write_rows)

STEPS, WARMUP, BATCH, ACCUMULATION = 20, 4, 2, 2
CLIP, DECAY = 1.0, 0.01
LOSSES, NORMS, WEIGHTS = 1e-3, 1e-2, 2e-2


def encode(rows, model):
    """Prompt/completion rows as ids and labels: EOS appended, loss on the completion only."""
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    eos = json.loads((model / "tokenizer_config.json").read_text())["eos_token"]
    eos = tokenizer.token_to_id(eos if isinstance(eos, str) else eos["content"])
    encoded = []
    for row in rows:
        prompt = tokenizer.encode(row["prompt"]).ids
        whole = tokenizer.encode(row["prompt"] + row["completion"]).ids + [eos]
        assert whole[:len(prompt)] == prompt, "the prompt is no prefix: pick other rows"
        encoded.append((whole, [-100] * len(prompt) + whole[len(prompt):]))
    return encoded


def collate(rows):
    """Right-padded tensors of one micro-batch."""
    length = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([ids + [0] * (length - len(ids)) for ids, _ in rows])
    mask = torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for ids, _ in rows])
    labels = torch.tensor([labels + [-100] * (length - len(labels)) for _, labels in rows])
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def groups(rows, steps):
    """Each step's number, its batches in the order of the rows, and how many targets these have."""
    position = 0
    for step in range(1, steps + 1):
        batches = []
        for _ in range(ACCUMULATION):
            batches.append(collate(rows[position:position + BATCH]))
            position = (position + BATCH) % len(rows)
        yield step, batches, sum(int((batch["labels"][:, 1:] != -100).sum()) for batch in batches)


def summed_loss(logits, labels):
    """The sum of a batch's cross entropies, and how many they are."""
    wanted = labels[:, 1:].flatten()
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), wanted, reduction="sum")
    return loss, int((wanted != -100).sum())


def train(model, rows, steps=STEPS, rate=1e-3):
    """The plain loop: file order, losses weighted by token over the accumulated batches."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda k: min(k / WARMUP, max(0.0, (steps - k) / (steps - WARMUP))))
    metrics = []
    for step, batches, tokens in groups(rows, steps):
        total = 0.0
        for batch in batches:
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            loss = summed_loss(logits, batch["labels"])[0] / tokens
            loss.backward()
            total += float(loss.detach())
        norm = torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        metrics.append({"step": step, "loss": total, "gradient_norm": float(norm),
                        "learning_rate": schedule.get_last_lr()[0]})
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return metrics


def compare(report, options, label, base, rate, targets):
    """The same run in both; the adapter's initial weights come from one PEFT directory."""
    work = options.work / label
    torch.manual_seed(11)
    start = get_peft_model(load_model(base), LoraConfig(
        r=8, lora_alpha=16, target_modules=targets, task_type="CAUSAL_LM"))
    start.save_pretrained(work / "start")
    # Twelve steps an epoch, so that twenty steps cross into a second one.
    rows = completion_rows(12 * BATCH * ACCUMULATION)
    data = write_rows(work / "rows.jsonl", rows)
    options.graft.run(
        "train", "--model", base, "--adapter", work / "start", "--data", data,
        "--output", work / "trained", "--max-steps", STEPS, "--batch-size", BATCH,
        "--gradient-accumulation", ACCUMULATION, "--learning-rate", rate, "--schedule", "linear",
        "--warmup-steps", WARMUP, "--max-gradient-norm", CLIP, "--weight-decay", DECAY,
        "--optimizer", "adamw", "--max-length", 256, "--no-shuffle", "--no-group-by-length",
        "--log-every", 1, "--dropout", 0, "--seed", 1)
    model = PeftModel.from_pretrained(load_model(base), work / "start", is_trainable=True).eval()
    expected = train(model, encode(rows, base), rate=rate)
    actual = read_metrics(work / "trained")
    steps = [row["step"] for row in actual]
    report.line(steps == list(range(1, STEPS + 1)), f"{label} logged steps", f"{len(steps)} rows")
    for key, limit in [("loss", LOSSES), ("gradient_norm", NORMS), ("learning_rate", 1e-6)]:
        found = [(abs(a[key] - e[key]) / max(abs(e[key]), 1e-12) if a[key] != e[key] else 0.0,
                  f"step {e['step']}: {a[key]}, not {e[key]}") for a, e in zip(actual, expected)]
        report.within(f"{label} {key} x {len(found)}", max(found), limit)
    fall = expected[0]["loss"] - expected[-1]["loss"]
    report.line(fall > 0.05, f"{label} the peer's loss falls", f"{fall:.3f}")
    model.save_pretrained(work / "peer")
    name = "adapter_model.safetensors"
    report.within(f"{label} adapter after {STEPS} steps",
                  worst(load_file(work / "trained" / name), load_file(work / "peer" / name)), WEIGHTS)


def tensorboard(report, options, base):
    """The package tensorboard reads the curves of a run, step by step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    work = options.work / "tensorboard"
    options.graft.run(
        "train", "--model", base, "--data", write_rows(options.work / "curve.jsonl", completion_rows(8)),
        "--output", work, "--max-steps", 5, "--batch-size", 2, "--max-length", 128, "--log-every", 1,
        "--report-to", "tensorboard")
    events = EventAccumulator(str(work))
    events.Reload()
    curve = {event.step: event.value for event in events.Scalars("train/loss")}
    rows = {row["step"]: row["loss"] for row in read_metrics(work)}
    difference = max(abs(curve[step] - rows[step]) for step in rows) if curve.keys() == rows.keys() else float("inf")
    report.within(f"TensorBoard's curve of {len(curve)} steps", (difference, f"{curve}, not {rows}"), 1e-6)


def main():
    options = arguments(__doc__)
    report = Report("training")
    tiny = tiny_with_tokenizer(options.work / "tiny-base", options.smollm2)
    report.case("tiny", compare, report, options, "tiny", tiny, 1e-2, "all-linear")
    report.case("SmolLM2", compare, report, options, "SmolLM2", options.smollm2, 1e-3, ["q_proj", "v_proj"])
    report.case("TensorBoard", tensorboard, report, options, tiny)
    report.finish()


if __name__ == "__main__":
    main()
