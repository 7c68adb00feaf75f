#!/usr/bin/env python3
"""`graft generate` against transformers, token for token.

SmolLM2: 20 prompts x 64 tokens greedily, then beams, rules and stop strings. Tiny checkpoints of several
families, with and without an adapter: beams and rules together, in batches that are padded on the left.
"""

import json

import torch
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedTokenizerFast

from peers import TOKENIZER_FILES, Report, arguments, load_model, save_tiny, shutil, write_rows

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
# Settings of generation_config.json; "ends" stands for tokens that end texts at several lengths.
SETTINGS = {
    "greedy": dict(),
    "greedy, ends": dict(eos_token_id="ends"),
    "rules": dict(repetition_penalty=1.25, no_repeat_ngram_size=3, min_new_tokens=8, suppress_tokens=[28, 29],
                  eos_token_id="ends", bad_words_ids=[[260], [338, 253]]),
    "prompt rules": dict(encoder_repetition_penalty=1.3, encoder_no_repeat_ngram_size=2,
                         sequence_bias=[[[30], 1.5], [[260, 216], -2.0]], exponential_decay_length_penalty=[4, 1.1]),
    "beams": dict(num_beams=4, eos_token_id="ends"),
    "beams, early": dict(num_beams=4, num_return_sequences=3, early_stopping=True, eos_token_id="ends"),
    "beams, long": dict(num_beams=3, num_return_sequences=3, length_penalty=1.8, eos_token_id="ends"),
    "beams, never": dict(num_beams=3, num_return_sequences=2, early_stopping="never", length_penalty=0.6,
                         eos_token_id="ends"),
    "beams and rules": dict(num_beams=4, num_return_sequences=4, repetition_penalty=1.2, no_repeat_ngram_size=2,
                            min_new_tokens=5, renormalize_logits=True, forced_eos_token_id=2, eos_token_id="ends"),
}
TINY_FAMILIES = ["llama-tied", "gpt2", "gemma2", "qwen3", "mistral-window", "phi3"]


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


def batch(tokenizer, prompts, pad):
    """Prompts padded on the left, as graft pads them."""
    rows = [tokenizer.encode(prompt) for prompt in prompts]
    width = max(map(len, rows))
    return {"input_ids": torch.tensor([[pad] * (width - len(row)) + row for row in rows]),
            "attention_mask": torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])}


def written(model, inputs, settings, pad, count, **more):
    """transformers' texts, each up to its end token, and their scores where there are beams."""
    with torch.no_grad():
        output = model.generate(**inputs, do_sample=False, max_new_tokens=count, pad_token_id=pad,
                                return_dict_in_generate=True, output_scores=True, **settings, **more)
    end = settings["eos_token_id"]
    rows = [row[inputs["input_ids"].shape[1]:].tolist() for row in output.sequences]
    texts = [row[:next((i + 1 for i, token in enumerate(row) if token in end), len(row))] for row in rows]
    return texts, output.sequences_scores.tolist() if "sequences_scores" in output else None


def ends_of(model, inputs, pad):
    """Tokens that greedy texts have at several places."""
    texts, _ = written(model, inputs, {"eos_token_id": [2]}, pad, 16)
    return sorted({text[min(place, len(text) - 1)] for place, text in zip((3, 6, 9, 12), texts)} | {2})


def compare_texts(report, options, tokenizer, model, name, directory, prompts, pad, count, adapter=None,
                  chosen=SETTINGS, more=[]):
    inputs = batch(tokenizer, prompts, pad)
    ends = ends_of(model, inputs, pad)
    rows = write_rows(options.work / "prompts.jsonl", [{"prompt": text} for text in prompts])
    for label, settings in chosen.items():
        settings = {"eos_token_id": "ends" if "stop_strings" not in settings else [2], **settings}
        settings["eos_token_id"] = ends if settings["eos_token_id"] == "ends" and label != "greedy" else [2]
        file = options.work / "generation.json"
        file.write_text(json.dumps(settings))
        given = {"tokenizer": tokenizer} if "stop_strings" in settings else {}
        expected, scores = written(model, inputs, settings, pad, count, **given)
        if given:  # A row that stopped is filled up.
            expected = [row[:max((i + 1 for i, token in enumerate(row) if token != pad), default=0)] for row in expected]
        results = options.graft.json(
            "generate", "--model", directory, "--prompts", rows, "--batch-size", len(prompts), "--generation-config",
            file, "--max-new-tokens", count, *(["--adapter", adapter] if adapter else []), *more)["results"]
        actual = [row["ids"] for row in results]
        wrong = [place for place, (a, e) in enumerate(zip(actual, expected)) if a != e]
        same = len(actual) == len(expected) and not wrong
        figure = f"{len(expected)} texts, {sum(map(len, expected))} tokens, {sum(len(t) < count for t in expected)} short"
        if not same:
            place = wrong[0] if wrong else 0
            figure = f"{len(wrong)} of {len(expected)}: text {place}: {actual[place]}, not {expected[place]}"
        report.line(same, f"{name}: {label}", figure)
        if same and scores:
            report.within(f"{name}: {label}, scores", max(
                (abs(row["score"] - e) / max(1, abs(e)), f"{row['score']}, not {e}")
                for row, e in zip(results, scores)), 1e-4)


def tiny(report, options, tokenizer, family):
    directory = options.work / family
    vocabulary = json.loads((options.smollm2 / "config.json").read_text())["vocab_size"]
    save_tiny(family, directory, vocab_size=vocabulary, max_position_embeddings=256)
    for name in TOKENIZER_FILES:
        if (options.smollm2 / name).exists():
            shutil.copy(options.smollm2 / name, directory / name)
    prompts = [PROMPTS[0], PROMPTS[2], PROMPTS[4], PROMPTS[11]]
    compare_texts(report, options, tokenizer, load_model(directory), family, directory, prompts, 0, 18)
    torch.manual_seed(11)
    adapted = get_peft_model(load_model(directory), LoraConfig(
        r=4, lora_alpha=16, target_modules="all-linear", init_lora_weights=False)).eval()
    adapted.save_pretrained(options.work / f"{family}-adapter")
    compare_texts(report, options, tokenizer, adapted, f"{family} + LoRA", directory, prompts, 0, 18,
                  adapter=options.work / f"{family}-adapter")


def main():
    options = arguments(__doc__, lambda parser: parser.add_argument("--only", help="part of the names of cases to run"))
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

    def together():
        compare_texts(report, options, tokenizer, model, "SmolLM2", options.smollm2, PROMPTS[:6], 2, 24)

    def stops():
        settings = {"a stop string": dict(stop_strings=["\n\n", "the ", "def"]),
                    "beams and a stop string": dict(stop_strings=["\n", " of the"], num_beams=3)}
        # Not 0 as padding, for which beams fill rows with an end token.
        compare_texts(report, options, tokenizer, model, "SmolLM2", options.smollm2, PROMPTS[:6], 1, 24,
                      chosen=settings)

    def shared():
        prompts = [f"The following is a list of colours and of things: {word}" for word in ("red", "green", "blue it")]
        compare_texts(report, options, tokenizer, model, "SmolLM2, shared beginning", options.smollm2, prompts, 2, 16,
                      chosen={name: SETTINGS[name] for name in ("greedy, ends", "beams and rules")},
                      more=["--share-prefix"])

    cases = [("prompts", raw), ("chat", chat), ("beams and rules", together), ("stop strings", stops),
             ("shared beginning", shared)]
    cases += [(family, tiny, report, options, tokenizer, family) for family in TINY_FAMILIES]
    for name, *case in cases:
        if not options.only or options.only in name:
            report.case(name, *case)
    report.finish()


if __name__ == "__main__":
    main()
