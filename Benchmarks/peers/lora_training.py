#!/usr/bin/env python3
"""LoRA training steps with transformers and PEFT; prints one JSON object.

    lora_training.py --model DIR --adapter DIR --data rows.jsonl --batch 4 --length 256 --steps 6 [--mode eager]

The adapter is PEFT's own. Modes: eager, compile (torch.compile), checkpointing (gradient checkpointing),
int8 and nf4 (a base by bitsandbytes). Rows: {"text"}, or {"prompt", "completion"} whose prompt is masked.
Seconds are those of whole steps: batch, forward, backward, clipping, AdamW.
"""

import argparse
import json
import os
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import PeftModel
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, BitsAndBytesConfig


def process_start() -> float:
    """When this process began, in seconds since the epoch (Linux)."""
    ticks = int(open("/proc/self/stat").read().rsplit(")", 1)[1].split()[19])
    boot = next(int(line.split()[1]) for line in open("/proc/stat") if line.startswith("btime"))
    return boot + ticks / os.sysconf("SC_CLK_TCK")


def peak_memory() -> int:
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def read_rows(options) -> list:
    """(ids, labels) of each row, cut to the length; an end of text behind it, as graft puts one."""
    tokenizer = Tokenizer.from_file(f"{options.model}/tokenizer.json")
    end = json.load(open(f"{options.model}/config.json"))["eos_token_id"]

    def encode(text):
        return tokenizer.encode(text, add_special_tokens=False).ids

    rows = []
    for line in open(options.data):
        row = json.loads(line)
        prompt = encode(row["prompt"]) if "prompt" in row else []
        answer = encode(row.get("completion", row.get("text"))) + [end]
        ids, labels = prompt + answer, [-100] * len(prompt) + answer
        rows.append((ids[:options.length], labels[:options.length]))
    return rows


def padded(rows: list) -> dict:
    width = max(len(ids) for ids, _ in rows)
    fill = lambda values, value: values + [value] * (width - len(values))
    return {"input_ids": torch.tensor([fill(ids, 0) for ids, _ in rows]),
            "labels": torch.tensor([fill(labels, -100) for _, labels in rows]),
            "attention_mask": torch.tensor([fill([1] * len(ids), 0) for ids, _ in rows])}


def open_base(options):
    quantization = {
        "int8": dict(load_in_8bit=True),
        "nf4": dict(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32),
    }.get(options.mode)
    config = quantization and BitsAndBytesConfig(**quantization)
    return AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32, quantization_config=config)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "adapter", "data"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("batch", "length", "steps"):
        parser.add_argument(f"--{name}", required=True, type=int)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--mode", default="eager", choices=["eager", "compile", "checkpointing", "int8", "nf4"])
    options = parser.parse_args()

    rows = read_rows(options)
    model = PeftModel.from_pretrained(open_base(options), options.adapter, is_trainable=True)
    model.train()
    if options.mode == "checkpointing":
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable({"use_reentrant": False})
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=options.learning_rate, weight_decay=0.0)
    forward = torch.compile(model) if options.mode == "compile" else model
    losses, seconds, tokens, first = [], [], [], None
    for step in range(options.steps):
        begin = time.perf_counter()
        batch = padded(rows[step * options.batch:(step + 1) * options.batch])
        output = forward(**batch, use_cache=False)
        output.loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(output.loss.item())
        seconds.append(time.perf_counter() - begin)
        tokens.append(int(batch["attention_mask"].sum()))
        first = first or time.time() - process_start()
    print(json.dumps({"losses": losses, "seconds": seconds, "tokens": tokens, "first_step": first,
                      "peak_memory": peak_memory()}))


if __name__ == "__main__":
    main()
