#!/usr/bin/env python3
"""Texts that transformers writes with tiny models of encoder and decoder: greedy, beams, rules.

    .peers/bin/python scripts/goldens/seq2seq_generation.py

Writes Tests/ModelsTests/Seq2SeqFixtures: a T5, a BART and generation.json. Sources are padded on the right.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts/interop"))

import torch
import transformers
from transformers import AutoModelForSeq2SeqLM, BartConfig, T5Config

FIXTURES = ROOT / "Tests/ModelsTests/Seq2SeqFixtures"
NEW = 14
SIZES = dict(vocab_size=48, d_model=16, pad_token_id=0, eos_token_id=2)
MODELS = {
    "t5": T5Config(**SIZES, d_kv=4, d_ff=24, num_layers=2, num_heads=4, decoder_start_token_id=0,
                   feed_forward_proj="gated-gelu", tie_word_embeddings=False, relative_attention_num_buckets=8,
                   relative_attention_max_distance=20),
    "bart": BartConfig(**SIZES, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
                       decoder_attention_heads=4, encoder_ffn_dim=24, decoder_ffn_dim=24,
                       max_position_embeddings=40, bos_token_id=1, decoder_start_token_id=2, forced_eos_token_id=None),
}
SOURCES = [[3, 9, 4, 11, 7, 20, 31, 2], [5, 6, 2], [8, 40, 41, 8, 2]]
ENDS = [2, 17, 30, 6, 21]
SETTINGS = {
    "greedy": {},
    "greedy, many ends": dict(eos_token_id=ENDS),
    "forced": dict(forced_bos_token_id=7, forced_eos_token_id=2),
    "rules": dict(repetition_penalty=1.3, no_repeat_ngram_size=2, min_new_tokens=6, suppress_tokens=[12],
                  begin_suppress_tokens=[9, 41], eos_token_id=ENDS),
    "source rules": dict(encoder_repetition_penalty=1.5, encoder_no_repeat_ngram_size=2, min_length=5,
                         exponential_decay_length_penalty=[3, 1.5], bad_words_ids=[[9], [4, 11]], eos_token_id=ENDS),
    "beams": dict(num_beams=3),
    "beams, early": dict(num_beams=4, early_stopping=True, num_return_sequences=3, eos_token_id=ENDS),
    "beams, late": dict(num_beams=3, num_return_sequences=3, length_penalty=2.0, eos_token_id=ENDS),
    "beams, never": dict(num_beams=3, early_stopping="never", num_return_sequences=2, length_penalty=0.5,
                         eos_token_id=ENDS),
    "beams and rules": dict(num_beams=4, num_return_sequences=4, repetition_penalty=1.2, no_repeat_ngram_size=2,
                            encoder_no_repeat_ngram_size=2, min_new_tokens=4, renormalize_logits=True,
                            forced_bos_token_id=7, forced_eos_token_id=2, eos_token_id=ENDS),
    "greatest length": dict(max_length=7),
}


def write_model(name):
    torch.manual_seed(sum(name.encode()))
    model = AutoModelForSeq2SeqLM.from_config(MODELS[name], dtype=torch.float32).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            centre = 1.0 if "norm" in key and key.endswith("weight") else 0.0
            parameter.normal_(centre, 0.3 if parameter.ndim == 1 else 0.6)
        if name == "bart":
            model.final_logits_bias.normal_(0.0, 0.3)
    model.save_pretrained(FIXTURES / name)
    # Its token ids are those of config.json.
    (FIXTURES / name / "generation_config.json").unlink(missing_ok=True)
    return AutoModelForSeq2SeqLM.from_pretrained(FIXTURES / name, dtype=torch.float32).eval()


def trimmed(ids, end):
    place = next((i for i, token in enumerate(ids) if token in end), len(ids) - 1)
    return ids[:place + 1]


def run(model, settings):
    width = max(map(len, SOURCES))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in SOURCES])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in SOURCES])
    settings = {"eos_token_id": [2], **settings}
    length = {} if "max_length" in settings else {"max_new_tokens": NEW}
    with torch.no_grad():
        output = model.generate(input_ids=ids, attention_mask=mask, return_dict_in_generate=True, output_scores=True,
                                output_logits=True, do_sample=False, **length, **settings)
    result = {"texts": [trimmed(row[1:].tolist(), settings["eos_token_id"]) for row in output.sequences]}
    if settings.get("num_beams", 1) > 1:
        result["scores"] = output.sequences_scores.tolist()
    else:
        logits = torch.stack(output.logits, dim=1).log_softmax(-1)  # [rows, steps, vocabulary]
        result["logprobs"] = [[float(logits[row, step, token]) for step, token in enumerate(text)]
                              for row, text in enumerate(result["texts"])]
    return result


def main():
    runs = []
    for name in MODELS:
        model = write_model(name)
        for label, settings in SETTINGS.items():
            runs.append({"model": name, "label": label, "settings": {"eos_token_id": [2], **settings},
                         **run(model, settings)})
    (FIXTURES / "generation.json").write_text(json.dumps({
        "script": "scripts/goldens/seq2seq_generation.py",
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "tolerance": {"ids": 0, "scores": 1e-4, "reason": "sums of 14 logarithms in float32"},
        "max_new_tokens": NEW, "sources": SOURCES, "runs": runs}) + "\n")
    ends = [len(text) for run in runs for text in run["texts"]]
    print(len(runs), "runs,", len(ends), "texts,", sum(length < NEW for length in ends), "ended early")


if __name__ == "__main__":
    main()
