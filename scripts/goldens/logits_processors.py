#!/usr/bin/env python3
"""What transformers' logits processors make of scores, one by one and in transformers' own order.

    .peers/bin/python scripts/goldens/logits_processors.py

Writes Tests/ModelsTests/Fixtures/processors.json (settings by case) and processors.safetensors (ids,
scores and results). Scores are random, so that there are no ties where their order would count.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts/interop"))

import torch
import transformers
from safetensors.torch import save_file
from transformers import GenerationConfig

from peers import load_model

FIXTURES = ROOT / "Tests/ModelsTests/Fixtures"
ROWS, LENGTH, PROMPT, VOCABULARY = 3, 12, 8, 48
PADDING = [0, 2, 4]
END = [2, 5]

# Settings of generation_config.json by case; "given" says how scores and ids are made.
SINGLE = {
    "sequence bias": dict(sequence_bias=[[[7], 2.5], [[9], -float("1.5")], [[3, 4], 5.0], [[1, 3, 4], -3.25], [[3, 11], 1.0]]),
    "repetition": dict(repetition_penalty=1.3),
    "repetition wanted": dict(repetition_penalty=0.7),
    "encoder repetition": dict(encoder_repetition_penalty=1.4),
    "no repeated pair": dict(no_repeat_ngram_size=2),
    "no repeated token": dict(no_repeat_ngram_size=1),
    "no repeated triple": dict(no_repeat_ngram_size=3),
    "encoder no repeated pair": dict(encoder_no_repeat_ngram_size=2),
    "encoder no repeated triple": dict(encoder_no_repeat_ngram_size=3),
    "bad words": dict(bad_words_ids=[[6], [2], [3, 4], [3, 4, 9], [40, 41]]),
    "minimum length": dict(min_length=14),
    "minimum length reached": dict(min_length=12),
    "minimum new tokens": dict(min_new_tokens=5),
    "forced last": dict(forced_eos_token_id=[2, 9], max_length=LENGTH + 1),
    "forced last not yet": dict(forced_eos_token_id=2, max_length=LENGTH + 2),
    "invalid values": dict(remove_invalid_values=True),
    "growing end": dict(exponential_decay_length_penalty=[1, 1.2]),
    "growing end not yet": dict(exponential_decay_length_penalty=[4, 1.2]),
    "suppressed": dict(suppress_tokens=[1, 7, 30]),
    "suppressed first, later": dict(begin_suppress_tokens=[1, 7]),
    "temperature": dict(do_sample=True, top_k=0, temperature=0.7),
    "hot": dict(do_sample=True, top_k=0, temperature=1.9),
    "top h": dict(do_sample=True, top_k=0, top_h=0.4),
    "top k": dict(do_sample=True, top_k=5),
    "top k of all": dict(do_sample=True, top_k=1000),
    "top p": dict(do_sample=True, top_k=0, top_p=0.6),
    "top p small": dict(do_sample=True, top_k=0, top_p=0.01),
    "min p": dict(do_sample=True, top_k=0, min_p=0.2),
    "typical": dict(do_sample=True, top_k=0, typical_p=0.5),
    "typical much": dict(do_sample=True, top_k=0, typical_p=0.95),
    "epsilon": dict(do_sample=True, top_k=0, epsilon_cutoff=0.02),
    "eta": dict(do_sample=True, top_k=0, eta_cutoff=0.04),
    "renormalized": dict(renormalize_logits=True),
}
TOGETHER = {
    "all rules": dict(
        sequence_bias=[[[7], 2.5], [[3, 4], 5.0]], encoder_repetition_penalty=1.2, repetition_penalty=1.3,
        no_repeat_ngram_size=2, encoder_no_repeat_ngram_size=3, bad_words_ids=[[6], [3, 4]], min_new_tokens=9,
        exponential_decay_length_penalty=[1, 1.2], suppress_tokens=[1], renormalize_logits=True),
    "all filters": dict(
        do_sample=True, temperature=1.4, top_h=0.9, top_k=20, top_p=0.95, min_p=0.01, typical_p=0.95,
        epsilon_cutoff=1e-3, eta_cutoff=1e-3, renormalize_logits=True),
    "rules and filters": dict(
        do_sample=True, temperature=0.8, top_k=12, top_p=0.9, repetition_penalty=1.2, no_repeat_ngram_size=2,
        min_new_tokens=8, suppress_tokens=[3, 20]),
    "filters of beams": dict(do_sample=True, num_beams=3, temperature=0.5, top_k=1, top_p=0.05, min_p=0.9),
    "typical of beams": dict(do_sample=True, num_beams=3, top_k=0, typical_p=0.05, epsilon_cutoff=0.5),
}


def cases():
    for name, settings in {**SINGLE, **TOGETHER}.items():
        yield name, settings, {}
    for name in ["top k", "top p", "min p", "typical", "epsilon", "eta", "top h", "growing end", "invalid values",
                 "rules and filters"]:
        yield name + ", some forbidden", SINGLE.get(name) or TOGETHER[name], {"infinite": True}
    yield "invalid values, all kinds", SINGLE["invalid values"], {"infinite": True, "invalid": True}
    yield "suppressed first", SINGLE["suppressed first, later"], {"length": PROMPT}
    yield "forced first", dict(forced_bos_token_id=11), {"length": 1, "prompt": 1}
    yield "forced first, later", dict(forced_bos_token_id=11), {"length": 2, "prompt": 1}
    yield "suppressed behind the forced first", dict(
        forced_bos_token_id=11, begin_suppress_tokens=[1, 7]), {"length": 2, "prompt": 1}
    yield "short rows", dict(no_repeat_ngram_size=4, sequence_bias=[[[1, 2, 3], 1.0]]), {"length": 2, "prompt": 1}


def result(model, settings, given, generator):
    length, prompt = given.get("length", LENGTH), given.get("prompt", PROMPT)
    padding = torch.tensor(PADDING if prompt == PROMPT else [0] * ROWS)
    # Few tokens, so that sequences come again.
    ids = torch.randint(1, 12, (ROWS, length), generator=generator)
    ids[:, -2:] = torch.tensor([1, 3])[-min(2, length):]
    if length >= PROMPT:
        ids[:, 4:7] = torch.tensor([1, 3, 7])  # What ends the rows was there before.
    mask = (torch.arange(prompt)[None] >= padding[:, None]).long()
    ids[:, :prompt] = ids[:, :prompt] * mask
    scores = 2.5 * torch.randn(ROWS, VOCABULARY, generator=generator)
    if given.get("infinite"):
        scores[:, 10:30:3] = -torch.inf
    if given.get("invalid"):
        scores[0, 4], scores[1, 5] = torch.nan, torch.inf
    config = GenerationConfig(**{"eos_token_id": END, "pad_token_id": 0, **settings})
    model._prepare_special_tokens(config, device="cpu")
    processors = model._get_logits_processor(
        config, input_ids_seq_length=prompt, encoder_input_ids=ids[:, :prompt], device="cpu",
        model_kwargs={"attention_mask": mask})
    return ids, scores, processors(ids, scores.clone()), {
        "settings": settings, "prompt": prompt, "padding": padding.tolist(),
        "rules": [type(rule).__name__ for rule in processors]}


def main():
    model = load_model(FIXTURES / "llama")
    generator = torch.Generator().manual_seed(7)
    tensors, described = {}, []
    for name, settings, given in cases():
        ids, scores, expected, about = result(model, settings, given, generator)
        described.append({"name": name, **about})
        tensors |= {f"{name}.ids": ids, f"{name}.scores": scores, f"{name}.expected": expected}
    save_file({key: value.contiguous() for key, value in tensors.items()}, FIXTURES / "processors.safetensors")
    (FIXTURES / "processors.json").write_text(json.dumps({
        "script": "scripts/goldens/logits_processors.py", "seed": 7, "eos_token_id": END,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "tolerance": {"relative": 1e-6, "reason": "exponentials of another instruction set"},
        "cases": described}) + "\n")
    print(len(described), "cases")


if __name__ == "__main__":
    main()
