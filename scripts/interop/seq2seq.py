#!/usr/bin/env python3
"""Sequence-to-sequence models in use, against transformers and PEFT.

Tiny models of T5 (tied and gated) and BART with a tokenizer made here: what `graft data preview` shows, losses of LoRA
steps, texts by every way of writing, files both ways, merged models, a killed run, and a task that is learned.
"""

import json
import random
import signal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForSeq2SeqLM, BartConfig, T5Config

from peers import Report, arguments, read_metrics, worst, write_rows
from resume import Runs, same_run

LOSSES, NORMS, WEIGHTS, SCORES = 1e-4, 1e-2, 1e-2, 1e-4
# Of the losses of later steps: rounding in another order moves the gated model's by 1.4e-4 by the seventeenth.
ENLARGED = 5e-4
PAD, END, BEGIN = 0, 1, 2
MONTHS = "January February March April May June July August September October November December".split()
T5 = dict(d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, dropout_rate=0.0, pad_token_id=PAD, eos_token_id=END,
          decoder_start_token_id=PAD, relative_attention_num_buckets=8, relative_attention_max_distance=20)
BART = dict(d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
            encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=96, dropout=0.0, pad_token_id=PAD,
            eos_token_id=END, bos_token_id=BEGIN, decoder_start_token_id=END, forced_eos_token_id=END)
KINDS = {
    "t5": lambda size: T5Config(vocab_size=size, feed_forward_proj="relu", **T5),
    "t5-gated": lambda size: T5Config(vocab_size=size, feed_forward_proj="gated-gelu", tie_word_embeddings=False, **T5),
    "bart": lambda size: BartConfig(vocab_size=size, **BART),
}
# Settings of generation_config.json; "ends" stands for tokens that end texts at several lengths.
SETTINGS = {
    "greedy": dict(),
    "greedy, ends": dict(eos_token_id="ends"),
    "forced tokens": dict(forced_bos_token_id=9, forced_eos_token_id=END, eos_token_id="ends"),
    "rules": dict(repetition_penalty=1.3, no_repeat_ngram_size=2, min_new_tokens=5, suppress_tokens=[12, 30],
                  begin_suppress_tokens=[40, 41], bad_words_ids=[[9], [20, 21]], eos_token_id="ends"),
    "source rules": dict(encoder_repetition_penalty=1.4, encoder_no_repeat_ngram_size=2, sequence_bias=[[[30], 1.5]],
                         exponential_decay_length_penalty=[3, 1.2], eos_token_id="ends"),
    "beams": dict(num_beams=4, eos_token_id="ends"),
    "beams, early": dict(num_beams=4, num_return_sequences=3, early_stopping=True, eos_token_id="ends"),
    "beams, long": dict(num_beams=3, num_return_sequences=3, length_penalty=1.8, eos_token_id="ends"),
    "beams, never": dict(num_beams=3, num_return_sequences=2, early_stopping="never", length_penalty=0.6,
                         eos_token_id="ends"),
    "beams and rules": dict(num_beams=4, num_return_sequences=4, repetition_penalty=1.2, no_repeat_ngram_size=2,
                            encoder_no_repeat_ngram_size=3, min_new_tokens=4, renormalize_logits=True,
                            forced_bos_token_id=9, forced_eos_token_id=END, eos_token_id="ends"),
}


def dates(count, seed):
    """Dates in words and as ISO 8601 has them."""
    chance, rows = random.Random(seed), []
    for _ in range(count):
        year, month, day = chance.randint(1900, 2099), chance.randint(1, 12), chance.randint(1, 28)
        ending = "th" if 10 <= day <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
        name = MONTHS[month - 1]
        rows.append({"source": chance.choice([f"{name} {day}{ending}, {year}", f"the {day}{ending} of {name} {year}",
                                              f"{day} {name} {year}"]),
                     "target": f"{year}-{month:02}-{day:02}"})
    return rows


def make_tokenizer(begins=False):
    """Byte-level pairs with single digits, `</s>` behind each text, `<s>` before it where asked."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        [text for row in dates(1000, 0) for text in row.values()],
        trainers.BpeTrainer(vocab_size=360, special_tokens=["<pad>", "</s>", "<s>"],
                            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>" if begins else "$A </s>", special_tokens=[("</s>", END), ("<s>", BEGIN)])
    return tokenizer


def write_model(kind, directory, random_weights=True):
    """A checkpoint with tokenizer; with random weights every parameter matters."""
    tokenizer = make_tokenizer(begins=kind == "bart")
    torch.manual_seed(sum(kind.encode()))
    model = AutoModelForSeq2SeqLM.from_config(KINDS[kind](tokenizer.get_vocab_size()), dtype=torch.float32)
    if random_weights:
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                centre = 1.0 if "norm" in key and key.endswith("weight") else 0.0
                parameter.normal_(centre, 0.3 if parameter.ndim == 1 else 0.25)
            if kind == "bart":
                model.final_logits_bias.normal_(0.0, 0.3)
    model.save_pretrained(directory)
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "pad_token": "<pad>", "bos_token": "<s>"}))
    return directory


def load(directory):
    return AutoModelForSeq2SeqLM.from_pretrained(directory, dtype=torch.float32).eval()


def filled(rows, value):
    width = max(map(len, rows))
    return torch.tensor([row + [value] * (width - len(row)) for row in rows])


def batch(tokenizer, rows):
    """Sources, masks and labels, padded on the right."""
    sources = [tokenizer.encode(row["source"]).ids for row in rows]
    inputs = {"input_ids": filled(sources, PAD), "attention_mask": filled([[1] * len(ids) for ids in sources], 0)}
    if "target" in rows[0]:
        inputs["labels"] = filled([tokenizer.encode(row["target"]).ids for row in rows], -100)
    return inputs


# Data


def preview(report, options, kind, base):
    """Tokens and labels as the peer's tokenizer cuts them."""
    tokenizer = make_tokenizer(begins=kind == "bart")
    rows = dates(6, 7) + [{"source": "caf\u00e9 \U0001f600 " * 4, "target": "x" * 30}]
    found = options.graft.json("data", "preview", "--model", base, "--data", write_rows(options.work / "rows.jsonl", rows),
                               "--max-length", 9, "--max-target-length", 7, "--rows", len(rows))
    for key, tokens, length in [("source", "tokens", 9), ("target", "target_tokens", 7)]:
        tokenizer.enable_truncation(length)
        expected = [tokenizer.encode(row[key]).ids for row in rows]
        actual = [[token["id"] for token in row[tokens] if token["role"] != "cut"] for row in found["rows"]]
        report.line(actual == expected, f"{kind}: preview, {key}", f"{sum(map(len, expected))} tokens in {len(rows)} rows")
    labels = [[token["label"] for token in row["target_tokens"] if token["role"] != "cut"] for row in found["rows"]]
    report.line(labels == expected, f"{kind}: preview, labels", f"{found['report']['targets']} count")


# Training

STEPS, WARMUP, ROWS, ACCUMULATION, RATE = 20, 4, 3, 2, 5e-3


def peer_losses(model, tokenizer, rows):
    """The plain loop in the order of the file; each target has the same weight in a step."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda k: min(k / WARMUP, max(0.0, (STEPS - k) / (STEPS - WARMUP))))
    found, place = [], 0
    for _ in range(STEPS):
        parts = []
        for _ in range(ACCUMULATION):
            parts.append(batch(tokenizer, rows[place:place + ROWS]))
            place = (place + ROWS) % len(rows)
        count, total = sum(int((part["labels"] != -100).sum()) for part in parts), 0.0
        for part in parts:
            loss = torch.nn.functional.cross_entropy(
                model(**part).logits.flatten(0, 1), part["labels"].flatten(), reduction="sum") / count
            loss.backward()
            total += float(loss.detach())
        norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        found.append({"loss": total, "gradient_norm": float(norm)})
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return found


def training(report, options, kind, base, targets):
    """The same steps of AdamW from one PEFT directory; afterwards both adapters, each opened by the other."""
    work, tokenizer = options.work / f"{kind}-training", make_tokenizer(begins=kind == "bart")
    torch.manual_seed(11)
    start = get_peft_model(load(base), LoraConfig(r=4, lora_alpha=16, target_modules=targets, task_type="SEQ_2_SEQ_LM"))
    start.save_pretrained(work / "start")
    # Ten steps an epoch, so that twenty cross into a second one.
    rows = dates(10 * ROWS * ACCUMULATION, 3)
    data = write_rows(work / "rows.jsonl", rows)
    train = ["train", "--model", base, "--adapter", work / "start", "--data", data, "--max-steps", STEPS, "--batch-size",
             ROWS, "--gradient-accumulation", ACCUMULATION, "--learning-rate", RATE, "--warmup-steps", WARMUP,
             "--weight-decay", 0.01, "--no-shuffle", "--no-group-by-length", "--log-every", 1]
    options.graft.run(*train, "--output", work / "ours")
    model = PeftModel.from_pretrained(load(base), work / "start", is_trainable=True).eval()
    expected, actual = peer_losses(model, tokenizer, rows), read_metrics(work / "ours")
    report.line(len(actual) == STEPS, f"{kind}: logged steps", str(len(actual)))
    for key, limit in [("loss", ENLARGED), ("gradient_norm", NORMS)]:
        found = [(abs(a[key] - e[key]) / abs(e[key]), f"step {k}: {a[key]}, not {e[key]}")
                 for k, (a, e) in enumerate(zip(actual, expected), 1)]
        # Steps of this size enlarge what rounding did to the weights before; at first there is nothing to enlarge.
        report.within(f"{kind}: {key}, first 5", max(found[:5]), LOSSES)
        report.within(f"{kind}: {key} x {len(found)}", max(found), limit)
    report.line(expected[0]["loss"] - expected[-1]["loss"] > 0.3, f"{kind}: the peer's loss falls",
                f"{expected[0]['loss']:.3f} to {expected[-1]['loss']:.3f}")
    options.graft.run(*train, "--output", work / "checkpointed", "--activation-checkpointing")
    again = [row["loss"] for row in read_metrics(work / "checkpointed")]
    found = [(abs(a - e["loss"]) / e["loss"], str(k)) for k, (a, e) in enumerate(zip(again, expected), 1)]
    report.within(f"{kind}: losses with activation checkpointing, first 5", max(found[:5]), LOSSES)
    report.within(f"{kind}: losses with activation checkpointing x {len(found)}", max(found), ENLARGED)
    model.save_pretrained(work / "peer")
    report.within(f"{kind}: adapter after {STEPS} steps",
                  worst(*[load_file(work / who / "adapter_model.safetensors") for who in ("ours", "peer")]), WEIGHTS)
    config = json.loads((work / "ours/adapter_config.json").read_text())
    report.line(config["task_type"] == "SEQ_2_SEQ_LM", f"{kind}: task_type", str(config["task_type"]))
    # Losses of the test by the adapters of both, and the model with ours merged.
    test = write_rows(work / "test.jsonl", dates(12, 4))
    opened = PeftModel.from_pretrained(load(base), work / "ours").eval()
    with torch.no_grad():
        for who, peer in [("ours", opened), ("peer", model)]:
            wanted = float(peer(**batch(tokenizer, dates(12, 4))).loss)
            found = options.graft.json("evaluate", "--model", base, "--adapter", work / who, "--data", test, "--metrics",
                                       "loss,perplexity", "--batch-size", 5)
            report.within(f"{kind}: evaluation loss of the adapter by {who}",
                          (abs(found["loss"] - wanted) / wanted, f"{found['loss']}, not {wanted}"), LOSSES)
    texts(report, options, opened, f"{kind}: PEFT with our adapter", base, tokenizer, ["--adapter", work / "ours"],
          {name: SETTINGS[name] for name in ("greedy, ends", "beams, early")})
    options.graft.run("merge", "--model", base, "--adapter", work / "ours", "--output", work / "merged")
    texts(report, options, load(work / "merged"), f"{kind}: merged", work / "merged", tokenizer, [],
          {name: SETTINGS[name] for name in ("greedy, ends", "beams, early")})


# Texts


def written(model, inputs, settings, count):
    """transformers' texts behind the start token, each up to its end token, their scores and log-probabilities."""
    inputs = {key: inputs[key] for key in ("input_ids", "attention_mask")}
    with torch.no_grad():
        output = model.generate(**inputs, do_sample=False, max_new_tokens=count, return_dict_in_generate=True,
                                output_scores=True, output_logits=True, **settings)
    end = settings["eos_token_id"]
    rows = [row[1:].tolist() for row in output.sequences]
    rows = [row[:next((i + 1 for i, token in enumerate(row) if token in end), len(row))] for row in rows]
    if settings.get("num_beams", 1) > 1:
        return rows, output.sequences_scores.tolist(), None
    logits = torch.stack(output.logits, 1).log_softmax(-1)
    return rows, None, [[float(logits[k, step, token]) for step, token in enumerate(row)] for k, row in enumerate(rows)]


def texts(report, options, model, name, directory, tokenizer, more, chosen=SETTINGS, count=14):
    rows = [{"source": row["source"]} for row in dates(4, 5)] + [{"source": "on May 1st, 2000 and not before"}]
    inputs = batch(tokenizer, rows)
    # Settings of a file, so that only these count.
    greedy, _, _ = written(model, inputs, {"eos_token_id": [END]}, count)
    ends = sorted({text[min(place, len(text) - 1)] for place, text in zip((2, 4, 7, 10, 12), greedy)} - {PAD} | {END})
    file, data = options.work / "generation.json", write_rows(options.work / "sources.jsonl", rows)
    for label, settings in chosen.items():
        settings = {"eos_token_id": [END], **settings}
        settings["eos_token_id"] = ends if settings["eos_token_id"] == "ends" else settings["eos_token_id"]
        file.write_text(json.dumps(settings))
        expected, scores, logs = written(model, inputs, settings, count)
        results = options.graft.json(
            "generate", "--model", directory, "--prompts", data, "--batch-size", len(rows), "--generation-config", file,
            "--max-new-tokens", count, "--logprobs", 0, *more)["results"]
        actual = [row["ids"] for row in results]
        wrong = [place for place, (a, e) in enumerate(zip(actual, expected)) if a != e]
        same = len(actual) == len(expected) and not wrong
        figure = f"{len(expected)} texts, {sum(map(len, expected))} tokens, {sum(len(t) < count for t in expected)} short"
        if not same:
            place = wrong[0] if wrong else 0
            figure = f"{len(wrong)} of {len(expected)}: text {place}: {actual[place]}, not {expected[place]}"
        report.line(same, f"{name}: {label}", figure)
        if same and scores:
            report.within(f"{name}: {label}, scores", max((abs(row["score"] - e) / max(1, abs(e)), f"{row['score']}, not {e}")
                                                          for row, e in zip(results, scores)), SCORES)
        if same and logs:
            report.within(f"{name}: {label}, log-probabilities",
                          max((abs(a - e), f"{a}, not {e}") for row, other in zip(results, logs)
                              for a, e in zip(row["logprobs"], other)), 10 * SCORES)


def generation(report, options, kind, base):
    tokenizer = make_tokenizer(begins=kind == "bart")
    texts(report, options, load(base), kind, base, tokenizer, [])
    torch.manual_seed(13)
    adapted = get_peft_model(load(base), LoraConfig(
        r=4, lora_alpha=16, target_modules="all-linear", init_lora_weights=False, task_type="SEQ_2_SEQ_LM")).eval()
    adapted.save_pretrained(options.work / f"{kind}-adapter")
    texts(report, options, adapted, f"{kind} + LoRA", base, tokenizer, ["--adapter", options.work / f"{kind}-adapter"])
    # Each row alone is what it is in the batch.
    data = options.work / "sources.jsonl"
    for label in ("greedy, ends", "beams, early"):
        settings = {**SETTINGS[label], "eos_token_id": [END]}
        (options.work / "generation.json").write_text(json.dumps(settings))
        one, all_rows = [options.graft.json(
            "generate", "--model", base, "--prompts", data, "--batch-size", size, "--generation-config",
            options.work / "generation.json", "--max-new-tokens", 12)["results"] for size in (1, 5)]
        report.line([row["ids"] for row in one] == [row["ids"] for row in all_rows], f"{kind}: rows alone, {label}",
                    f"{len(one)} texts")


# A task


def learning(report, options):
    """A model with random weights learns to write dates; transformers opens what came of it."""
    base = options.work / "untrained"
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    config = T5Config(vocab_size=tokenizer.get_vocab_size(), feed_forward_proj="relu", **{
        **T5, "d_model": 64, "d_kv": 16, "d_ff": 128, "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128})
    AutoModelForSeq2SeqLM.from_config(config, dtype=torch.float32).save_pretrained(base)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (base / name).write_text((options.work / "t5" / name).read_text())
    train, test = dates(3000, 1), dates(200, 2)
    held_out = [row for row in test if row["target"] not in {other["target"] for other in train}]
    files = [write_rows(options.work / name, rows) for name, rows in [("train.jsonl", train), ("test.jsonl", held_out)]]

    def right(model):
        return options.graft.json("evaluate", "--model", model, "--data", files[1], "--metrics", "loss,exact-match",
                                  "--batch-size", 50, "--max-new-tokens", 14)

    before = right(base)
    output = options.work / "trained"
    options.graft.run("train", "--model", base, "--method", "full", "--data", files[0], "--eval-data", files[1], "--output",
                      output, "--max-steps", 800, "--batch-size", 32, "--learning-rate", 3e-3, "--warmup-steps", 50,
                      "--save-every", 800, "--eval-every", 400)
    after = right(output)
    report.line(before["exact_match"] <= 0.05 and after["exact_match"] >= 0.9,
                f"dates in words, {len(held_out)} that training lacks",
                f"{before['exact_match']:.3f} before, {after['exact_match']:.3f} after 800 steps")
    model = load(output)
    inputs = batch(tokenizer, held_out)
    rows, _, _ = written(model, inputs, {"eos_token_id": [END]}, 14)
    exact = sum(tokenizer.decode(ids).strip() == row["target"] for ids, row in zip(rows, held_out)) / len(held_out)
    report.within("exact match in transformers", (abs(exact - after["exact_match"]), f"{exact}, not {after}"), 1e-9)
    with torch.no_grad():
        loss = float(model(**inputs).loss)
    report.within("its loss in transformers", (abs(loss - after["loss"]) / loss, f"{after['loss']}, not {loss}"), 1e-3)
    log = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    evaluated = [row["eval_loss"] for row in log if "eval_loss" in row]
    report.within("the run's own evaluation", (abs(evaluated[-1] - after["loss"]) / loss, str(evaluated)), 1e-3)


def resumed(report, options, base):
    """A run that is killed twice ends as one that is not."""
    runs = object.__new__(Runs)
    runs.graft, runs.work = options.graft, options.work
    data = write_rows(options.work / "resume.jsonl", dates(40, 6))
    runs.recipe = ["train", "--model", base, "--data", data, "--max-steps", 60, "--batch-size", 2, "--gradient-accumulation",
                   2, "--learning-rate", 5e-3, "--schedule", "cosine", "--warmup-steps", 5, "--rank", 4, "--dropout", 0.1,
                   "--seed", 7, "--save-every", 4, "--log-every", 1]
    reference, output = options.work / "whole", options.work / "killed"
    runs.finish(reference)
    landed = []
    for moment in (13, 37):
        if runs.interrupt(output, signal.SIGKILL, moment, *(["--resume"] if landed else [])) == -signal.SIGKILL:
            landed.append(moment)
    runs.finish(output, "--resume")
    report.line(len(landed) >= 1, "kill -9 landed", f"after steps {landed}")
    same_run(report, "kill -9", output, reference)


def main():
    options = arguments(__doc__, lambda parser: parser.add_argument("--only", help="part of the names of cases to run"))
    report = Report("seq2seq")
    bases = {kind: write_model(kind, options.work / kind) for kind in KINDS}
    targets = {"t5": ["q", "v"], "t5-gated": "all-linear", "bart": "all-linear"}
    cases = [(f"{kind} {case.__name__}", case, report, options, kind, base, *more)
             for kind, base in bases.items()
             for case, *more in [(preview,), (generation,), (training, targets[kind])]]
    cases += [("learning", learning, report, options), ("resumed", resumed, report, options, bases["t5-gated"])]
    for name, *case in cases:
        if not options.only or options.only in name:
            report.case(name, *case)
    report.finish()


if __name__ == "__main__":
    main()
