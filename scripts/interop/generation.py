#!/usr/bin/env python3
"""Greedy `graft generate` against transformers: 20 prompts x 64 tokens, token for token."""

import json

import torch
from transformers import PreTrainedTokenizerFast

from peers import Report, arguments, load_model, write_rows

TOKENS = 64
PROMPTS = [
    "The capital of France is", "Once upon a time, in a small village,", "def fibonacci(n):\n",
    "The three primary colours are", "Water boils at", "Dear Sir or Madam,\n\n", "1, 2, 3, 4,",
    "In 1969, the first", "A recipe for pancakes:\n- flour\n-", "The opposite of hot is",
    "Photosynthesis is the process by which", "To be, or not to be,", "import numpy as np\n\n",
    "My favourite season is autumn because", "Q: What is 12 + 7?\nA:", "Le chat est sur la",
    "The quick brown fox", "Roses are red,\nviolets are blue,\n", "Caf\u00e9 na\u00efve \U0001f600:",
    "The largest planet in our solar system",
]
CHAT = "Name three things that float on water."


def load_tokenizer(directory):
    """tokenizer.json as it is, with the directory's chat template and special tokens."""
    config = json.loads((directory / "tokenizer_config.json").read_text())
    template = directory / "chat_template.jinja"
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(directory / "tokenizer.json"),
        **{key: config[key] for key in ("bos_token", "eos_token", "pad_token") if config.get(key)})
    tokenizer.chat_template = template.read_text() if template.exists() else config["chat_template"]
    return tokenizer


def expected_ids(model, ids):
    """transformers' greedy continuation; ends with the end token where it was reached."""
    with torch.no_grad():
        output = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                                do_sample=False, max_new_tokens=TOKENS)
    return output[0, len(ids):].tolist()


def without_end(ids, end):
    """The ids up to the first end token, which graft may or may not report."""
    return ids[:next((i for i, token in enumerate(ids) if token in end), len(ids))]


def divergence(model, prompt, actual, expected):
    """Where the two part, and the peer's logits there: a near tie or a real difference."""
    place = next((i for i, (a, e) in enumerate(zip(actual, expected)) if a != e), None)
    if place is None:
        return f"{len(actual)} tokens, not {len(expected)}"
    with torch.no_grad():
        logits = model(torch.tensor([prompt + expected[:place]])).logits[0, -1]
    a, e = actual[place], expected[place]
    return f"token {place}: {a}, not {e} (the peer's logits {float(logits[a]):.5f}, {float(logits[e]):.5f})"


def compare(report, tokenizer, model, end, name, prompt, result):
    expected = without_end(expected_ids(model, prompt), end)
    actual = without_end(result["ids"], end)
    same = actual == expected
    report.line(same, name, f"{len(expected)} tokens" if same else divergence(model, prompt, actual, expected))
    text = tokenizer.decode(expected, skip_special_tokens=True)
    if same and result["text"].strip() != text.strip():
        report.line(False, f"{name} text", f"{result['text'][:60]!r}, not {text[:60]!r}")
    return len(expected)


def main():
    options = arguments(__doc__)
    report = Report("generation")
    tokenizer, model = load_tokenizer(options.smollm2), load_model(options.smollm2)
    end = model.generation_config.eos_token_id
    end = set(end if isinstance(end, list) else [end])

    def raw():
        rows = write_rows(options.work / "prompts.jsonl", [{"prompt": text} for text in PROMPTS])
        results = options.graft.json("generate", "--model", options.smollm2, "--prompts", rows,
                                     "--max-new-tokens", TOKENS)["results"]
        report.line([row["prompt"] for row in results] == PROMPTS, "results in order", f"{len(results)} rows")
        total = 0
        for number, (prompt, result) in enumerate(zip(PROMPTS, results)):
            ids = tokenizer.encode(prompt)
            total += compare(report, tokenizer, model, end, f"prompt {number}", ids, result)
        report.line(total > 15 * TOKENS, "enough tokens compared", f"{total}")

    def chat():
        results = options.graft.json("generate", "--model", options.smollm2, "--chat", CHAT,
                                     "--max-new-tokens", TOKENS)["results"]
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": CHAT}], add_generation_prompt=True, tokenize=False)
        ids = tokenizer.encode(text, add_special_tokens=False)
        compare(report, tokenizer, model, end, "chat", ids, results[0])

    report.case("prompts", raw)
    report.case("chat", chat)
    report.finish()


if __name__ == "__main__":
    main()
