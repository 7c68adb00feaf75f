#!/usr/bin/env python3
"""Texts that transformers' generate writes with the tiny checkpoints: greedy, beams, rules.

    .peers/bin/python scripts/goldens/generation.py

Writes Tests/ModelsTests/Fixtures/generation.json. Prompts are padded on the left.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts/interop"))

import torch
import transformers

from peers import load_model

FIXTURES = ROOT / "Tests/ModelsTests/Fixtures"
MODELS = ["llama", "gpt2", "gemma2", "mistral-window", "qwen3"]
PROMPTS = [[3, 9, 4, 11, 7, 20, 31], [5, 6], [8, 40, 41, 8]]
NEW = 14
SETTINGS = {
    "greedy": {},
    "greedy, many ends": {"eos_token_id": [2, 17, 30, 6]},
    "rules": dict(repetition_penalty=1.3, no_repeat_ngram_size=2, min_new_tokens=6, suppress_tokens=[12],
                  eos_token_id=[2, 17, 30]),
    "decay": dict(exponential_decay_length_penalty=[3, 1.5], bad_words_ids=[[9], [4, 11]], eos_token_id=[2, 17]),
    "prompt rules": dict(encoder_repetition_penalty=1.5, encoder_no_repeat_ngram_size=2),
    "forced end": dict(forced_eos_token_id=2),
    "beams": dict(num_beams=3),
    "beams, early": dict(num_beams=4, early_stopping=True, num_return_sequences=3, eos_token_id=[2, 17]),
    "beams, late": dict(num_beams=3, early_stopping=False, num_return_sequences=3, length_penalty=2.0,
                        eos_token_id=[2, 17, 30, 6]),
    "beams, never": dict(num_beams=3, early_stopping="never", num_return_sequences=2, length_penalty=0.5,
                         eos_token_id=[2, 17, 30, 6]),
    "beams, never, short": dict(num_beams=3, early_stopping="never", num_return_sequences=2, length_penalty=-1.0,
                                eos_token_id=[2, 17, 30, 6]),
    "beams, no penalty": dict(num_beams=2, length_penalty=0.0, num_return_sequences=2, eos_token_id=[2, 17, 30, 6]),
    "beams and rules": dict(num_beams=4, num_return_sequences=4, repetition_penalty=1.2, no_repeat_ngram_size=2,
                            min_new_tokens=4, renormalize_logits=True, sequence_bias=[[[7], 1.5]],
                            eos_token_id=[2, 17]),
}


def padded_prompts():
    width = max(map(len, PROMPTS))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in PROMPTS])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in PROMPTS])
    return ids, mask


def trimmed(ids, end):
    place = next((i for i, token in enumerate(ids) if token in end), len(ids) - 1)
    return ids[:place + 1]


def run(model, settings):
    ids, mask = padded_prompts()
    settings = {"eos_token_id": [2], **settings}
    with torch.no_grad():
        output = model.generate(
            input_ids=ids, attention_mask=mask, pad_token_id=0, max_new_tokens=NEW, return_dict_in_generate=True,
            output_scores=True, output_logits=True, do_sample=False, **settings)
    texts = [trimmed(row[ids.shape[1]:].tolist(), settings["eos_token_id"]) for row in output.sequences]
    result = {"texts": texts}
    if settings.get("num_beams", 1) > 1:
        result["scores"] = output.sequences_scores.tolist()
    else:
        logits = torch.stack(output.logits, dim=1).log_softmax(-1)  # [rows, steps, vocabulary]
        result["logprobs"] = [[float(logits[row, step, token]) for step, token in enumerate(text)]
                              for row, text in enumerate(texts)]
    return result


def main():
    runs = []
    for name in MODELS:
        model = load_model(FIXTURES / name)
        for label, settings in SETTINGS.items():
            runs.append({"model": name, "label": label, "settings": {"eos_token_id": [2], **settings},
                         **run(model, settings)})
    (FIXTURES / "generation.json").write_text(json.dumps({
        "script": "scripts/goldens/generation.py",
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "tolerance": {"ids": 0, "scores": 1e-4, "reason": "sums of 14 logarithms in float32"},
        "max_new_tokens": NEW, "pad_token_id": 0, "prompts": PROMPTS, "runs": runs}) + "\n")
    ends = [len(text) for run in runs for text in run["texts"]]
    print(len(runs), "runs,", len(ends), "texts,", sum(length < NEW for length in ends), "ended early")


if __name__ == "__main__":
    main()
