#!/usr/bin/env python3
"""Greedy continuations by transformers; prints tokens/s behind the first ones and the texts.

    generation.py --model DIR --prompts rows.jsonl --short 16 --long 80
"""

import argparse
import json
import os
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--prompts", required=True)
    parser.add_argument("--short", required=True, type=int)
    parser.add_argument("--long", required=True, type=int)
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(options.model, padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32)
    prompts = [json.loads(line)["prompt"] for line in open(options.prompts)]
    batch = tokenizer(prompts, return_tensors="pt", padding=True)
    seconds, output = {}, None
    for count in (options.short, options.long):
        if count == 0:
            seconds[0] = 0.0
            continue
        begin = time.perf_counter()
        output = model.generate(**batch, max_new_tokens=count, min_new_tokens=count, do_sample=False)
        seconds[count] = time.perf_counter() - begin
    texts = tokenizer.batch_decode(output[:, batch["input_ids"].shape[1]:], skip_special_tokens=True)
    rate = len(prompts) * (options.long - options.short) / (seconds[options.long] - seconds[options.short])
    print(json.dumps({"value": rate, "texts": texts}))


if __name__ == "__main__":
    main()
