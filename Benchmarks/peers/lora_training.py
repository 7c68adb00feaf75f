#!/usr/bin/env python3
"""LoRA training steps with transformers and PEFT; prints one JSON object.

    lora_training.py --model DIR --adapter DIR --data rows.jsonl --batch 4 --length 256 --steps 6

The adapter is PEFT's own. Seconds are those of whole steps: batch, forward, backward, clipping, AdamW.
"""

import argparse
import json
import os
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import PeftModel
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM


def process_start() -> float:
    """When this process began, in seconds since the epoch (Linux)."""
    ticks = int(open("/proc/self/stat").read().rsplit(")", 1)[1].split()[19])
    boot = next(int(line.split()[1]) for line in open("/proc/stat") if line.startswith("btime"))
    return boot + ticks / os.sysconf("SC_CLK_TCK")


def peak_memory() -> int:
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "adapter", "data"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("batch", "length", "steps"):
        parser.add_argument(f"--{name}", required=True, type=int)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    options = parser.parse_args()

    tokenizer = Tokenizer.from_file(f"{options.model}/tokenizer.json")
    rows = [json.loads(line)["text"] for line in open(options.data)]
    ids = torch.tensor([tokenizer.encode(text, add_special_tokens=False).ids[:options.length] for text in rows])
    base = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, options.adapter, is_trainable=True)
    model.train()
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=options.learning_rate, weight_decay=0.0)
    losses, seconds, first = [], [], None
    for step in range(options.steps):
        begin = time.perf_counter()
        batch = ids[step * options.batch:(step + 1) * options.batch]
        output = model(input_ids=batch, labels=batch, use_cache=False)
        output.loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(output.loss.item())
        seconds.append(time.perf_counter() - begin)
        first = first or time.time() - process_start()
    print(json.dumps({"losses": losses, "seconds": seconds, "first_step": first,
                      "peak_memory": peak_memory()}))


if __name__ == "__main__":
    main()
