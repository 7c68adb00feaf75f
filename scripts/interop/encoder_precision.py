#!/usr/bin/env python3
"""bfloat16 and float16 of encoders and models with heads: outputs, stored weights and training against transformers.

Numbers of 8 or 11 bits round differently in either program; each is measured against float32 on the same weights, and
ours may be at most twice as far from it as the peer's.
"""

import json
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoTokenizer

import task_data as data
from encoders import BERT, DISTIL, MODERN, TASKS, batches, expected_outputs, save
from peers import SMALL, TINY, Report, arguments, read_metrics, write_rows

TYPES = {"bfloat16": (torch.bfloat16, 2**-8), "float16": (torch.float16, 2**-11)}
FAMILIES = {"bert": ("bert", BERT), "roberta": ("roberta", {**BERT, "pad_token_id": 1, "type_vocab_size": 1}),
            "distilbert": ("distilbert", DISTIL), "modernbert": ("modernbert", MODERN),
            "llama": ("llama", {**SMALL, **TINY["llama"][1]}), "gpt2": ("gpt2", {**SMALL, **TINY["gpt2"][1]})}
CHOSEN = ["masked-lm", "sequence-classification", "token-classification", "question-answering", "feature-extraction"]
STEPS, BATCH, RATE, LENGTH = 6, 4, 1e-3, 48


def case(report, options, family, task, name):
    """One checkpoint in float32 and in the type itself, computed in the type."""
    model_type, sizes = FAMILIES[family]
    auto, _, settings, _ = TASKS[task]
    dtype, step = TYPES[name]
    whole = save(options.work / f"{family}-{task}", auto, model_type, {**sizes, **settings})
    stored = options.work / f"{family}-{task}-{name}"
    auto.from_pretrained(whole, dtype=dtype).save_pretrained(stored)
    token_types = model_type == "bert"
    for label, inputs, _ in list(batches(task, sizes["pad_token_id"], token_types))[:2]:
        with torch.no_grad():
            # Weights rounded, sums in float32: what both are measured against.
            reference = auto.from_pretrained(stored, dtype=torch.float32).eval()(**inputs)
            peer = auto.from_pretrained(stored, dtype=dtype).eval()(**inputs)
        exact = expected_outputs(task, reference, inputs["attention_mask"])
        rounded = expected_outputs(task, peer, inputs["attention_mask"])
        for source in (whole, stored):
            actual = options.graft.forward(source, inputs, options.work / "forward", more=["--task", task, "--precision", name])
            for key, value in exact.items():
                shown = inputs["attention_mask"].bool() if value.shape[:2] == inputs["attention_mask"].shape else ...
                scale = float(value.abs().max())
                ours, theirs = [float((found[key].float() - value)[shown].abs().max()) / scale for found in (actual, rounded)]
                report.within(f"{family} {task} {name} {label} {key} from {'float32' if source == whole else name}",
                              (ours, f"the peer's is {theirs:.1e}"), max(2 * theirs, 4 * step))


def trained(report, options, family, task):
    """LoRA in bfloat16: losses near those of PEFT in bfloat16, and near float32's."""
    work = options.work / f"{family}-{task}-trained"
    base = work / "base"
    base.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(options.minilm / name, base / name)
    tokenizer = AutoTokenizer.from_pretrained(base)
    rows = data.tag_rows(STEPS * BATCH, 1) if task == "token-classification" else data.question_rows(STEPS * BATCH, 1)
    names = sorted({label for row in rows for label in row.get("labels", [])})
    model_type, sizes = FAMILIES[family]
    auto, task_type, _, _ = TASKS[task]
    labels = dict(num_labels=len(names)) if names else {}
    save(base, auto, model_type, {**sizes, "vocab_size": len(tokenizer), **labels})
    targets = r".*(query|value|q_lin|v_lin|Wqkv)"
    torch.manual_seed(5)
    start = get_peft_model(auto.from_pretrained(base, dtype=torch.float32),
                           LoraConfig(r=4, lora_alpha=8, target_modules=targets, task_type=task_type))
    start.save_pretrained(work / "start")
    if names:
        (work / "start" / "labels.json").write_text(json.dumps({"labels": names}))
    write_rows(work / "rows.jsonl", rows)
    examples = (data.encode_tags(tokenizer, rows, names, LENGTH) if task == "token-classification"
                else data.encode_questions(tokenizer, rows, LENGTH, 12))

    def losses(dtype):
        model = PeftModel.from_pretrained(auto.from_pretrained(base, dtype=dtype), work / "start", is_trainable=True).eval()
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer, found = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.0), []
        for step in range(STEPS):
            batch = data.collate(examples[step * BATCH:(step + 1) * BATCH], sizes["pad_token_id"])
            loss = (model.base_model if "start_positions" in batch else model)(**batch).loss
            loss.backward()
            found.append(float(loss.detach()))
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return found

    more = ["--stride", 12] if task == "question-answering" else []
    options.graft.run("train", "--model", base, "--adapter", work / "start", "--task", task, "--data", work / "rows.jsonl",
                      "--output", work / "run", "--max-steps", STEPS, "--batch-size", BATCH, "--learning-rate", RATE,
                      "--schedule", "constant", "--no-shuffle", "--no-group-by-length", "--log-every", 1, "--max-length",
                      LENGTH, "--base-dropout", "off", "--precision", "bfloat16", *more)
    actual, exact, peer = [row["loss"] for row in read_metrics(work / "run")], losses(torch.float32), losses(torch.bfloat16)
    ours, theirs = [max(abs(a - e) / e for a, e in zip(found, exact)) for found in (actual, peer)]
    report.line(len(actual) == STEPS, f"{family} {task}: logged steps in bfloat16", str(len(actual)))
    report.within(f"{family} {task}: losses in bfloat16 against float32", (ours, f"the peer's differ by {theirs:.1e}"),
                  max(2 * theirs, 1e-2))
    adapter = load_file(work / "run" / "adapter_model.safetensors")
    report.line(all(torch.isfinite(value).all() for value in adapter.values()), f"{family} {task}: the adapter is finite",
                str({str(value.dtype) for value in adapter.values()}))


def main():
    def add(parser):
        parser.add_argument("--minilm", required=True, help="MiniLM's directory")
        parser.add_argument("--only", default="", help="part of a case's name")

    options = arguments(__doc__, add)
    options.minilm = Path(options.minilm).resolve()
    report = Report("encoder_precision")
    for family in FAMILIES:
        for task in CHOSEN:
            if task == "masked-lm" and family in ("llama", "gpt2"):
                continue
            for name in TYPES:
                if options.only in f"{family} {task} {name}":
                    report.case(f"{family} {task} {name}", case, report, options, family, task, name)
    for family, task in [("bert", "token-classification"), ("distilbert", "question-answering"),
                         ("modernbert", "token-classification")]:
        if options.only in f"{family} {task} trained":
            report.case(f"{family} {task} trained", trained, report, options, family, task)
    report.finish()


if __name__ == "__main__":
    main()
