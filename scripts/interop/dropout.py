#!/usr/bin/env python3
"""Dropout of models' own: losses of `graft train` against transformers in training mode with the same numbers drawn.

The peer's dropout is replaced by one that draws from a generator with the run's seed, so that both programs drop the same
elements if, and only if, they drop in the same places in the same order.
"""

import json
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForQuestionAnswering,
                          AutoModelForSeq2SeqLM, AutoModelForSequenceClassification, AutoModelForTokenClassification,
                          AutoTokenizer)

import task_data as data
from peers import Report, arguments, read_metrics, write_rows

LOSSES, STEPS, BATCH, RATE, SEED, LENGTH = 1e-4, 4, 4, 1e-3, 7, 48
BERT = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64,
            pad_token_id=0)
LLAMA = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=64, pad_token_id=2)
T5 = dict(d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, pad_token_id=0, eos_token_id=102,
          decoder_start_token_id=0, relative_attention_num_buckets=8, relative_attention_max_distance=20)
FAMILIES = {
    "t5": ("t5", dict(T5, dropout_rate=0.15)),
    "t5-gated": ("t5", dict(T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False)),
    "bart": ("bart", dict(d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
                          encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=64, pad_token_id=0,
                          eos_token_id=102, bos_token_id=101, decoder_start_token_id=102, dropout=0.15,
                          attention_dropout=0.2, activation_dropout=0.1)),
    "bert": ("bert", dict(BERT, hidden_dropout_prob=0.15, attention_probs_dropout_prob=0.2, classifier_dropout=0.3)),
    "bert-default": ("bert", BERT),
    "roberta": ("roberta", dict(BERT, pad_token_id=1, hidden_dropout_prob=0.15, attention_probs_dropout_prob=0.2)),
    "distilbert": ("distilbert", dict(dim=32, hidden_dim=48, n_layers=2, n_heads=4, max_position_embeddings=64,
                                      pad_token_id=0, dropout=0.15, attention_dropout=0.2)),
    "modernbert": ("modernbert", dict(BERT, local_attention=16, bos_token_id=101, eos_token_id=102, cls_token_id=101,
                                      sep_token_id=102, attention_dropout=0.2, mlp_dropout=0.15, embedding_dropout=0.1,
                                      classifier_dropout=0.3)),
    "gpt2": ("gpt2", dict(n_embd=32, n_layer=2, n_head=4, n_positions=64, pad_token_id=2, resid_pdrop=0.15,
                          attn_pdrop=0.2)),
    "phi": ("phi", dict(LLAMA, num_key_value_heads=4, resid_pdrop=0.15, attention_dropout=0.2, embd_pdrop=0.1)),
    "phi3": ("phi3", dict(LLAMA, resid_pdrop=0.15, attention_dropout=0.2, embd_pdrop=0.1)),
    "llama": ("llama", dict(LLAMA, attention_dropout=0.2)),
    "gemma2": ("gemma2", dict(LLAMA, head_dim=8, attention_dropout=0.2)),
}
SEQ2SEQ = ["t5", "t5-gated", "bart"]
# Of which transformers has no other kernel, or whose padding no kernel treats differently.
EAGER = SEQ2SEQ + ["gemma2"]
ENCODERS = ["bert", "bert-default", "roberta", "distilbert", "modernbert"]
TASKS = {
    "causal-lm": (AutoModelForCausalLM, "CAUSAL_LM"),
    "masked-lm": (AutoModelForMaskedLM, None),
    "seq2seq-lm": (AutoModelForSeq2SeqLM, "SEQ_2_SEQ_LM"),
    "sequence-classification": (AutoModelForSequenceClassification, "SEQ_CLS"),
    "token-classification": (AutoModelForTokenClassification, "TOKEN_CLS"),
    "question-answering": (AutoModelForQuestionAnswering, "QUESTION_ANS"),
}
CASES = [(family, task) for family in ENCODERS for task in TASKS if not task.endswith(("causal-lm", "seq2seq-lm"))] + [
    (family, "seq2seq-lm") for family in SEQ2SEQ] + [
    (family, "causal-lm") for family in ("gpt2", "phi", "phi3", "llama", "gemma2")] + [
    ("gpt2", "token-classification"), ("llama", "token-classification"), ("gpt2", "sequence-classification"),
    ("llama", "question-answering")]


class Replay:
    """Puts a dropout that draws from a generator of its own into torch while it is entered."""

    def __init__(self, seed):
        self.generator, self.calls = torch.Generator().manual_seed(seed), 0

    def __call__(self, x, p=0.5, training=True, inplace=False):
        if not training or p == 0:
            return x
        self.calls += 1
        mask = torch.empty_like(x).bernoulli_(1 - p, generator=self.generator) * (1 / (1 - p))
        return x * mask

    def __enter__(self):
        self.before, torch.nn.functional.dropout = torch.nn.functional.dropout, self
        return self

    def __exit__(self, *unused):
        torch.nn.functional.dropout = self.before


def make_rows(task):
    if task == "sequence-classification":
        return [{"text": row["text"], "label": k % 2} for k, row in enumerate(data.text_rows(STEPS * BATCH, 1))]
    if task == "token-classification":
        return data.tag_rows(STEPS * BATCH, 1)
    if task == "question-answering":
        return data.question_rows(STEPS * BATCH, 1)
    if task == "seq2seq-lm":
        texts = [row["text"] for row in data.text_rows(STEPS * BATCH + 1, 1)]
        return [{"source": source, "target": target} for source, target in zip(texts, texts[1:])]
    return data.text_rows(STEPS * BATCH, 1)


def encode(task, rows, tokenizer, is_decoder):
    if task == "token-classification":
        names = sorted({label for row in rows for label in row["labels"]})
        return data.encode_tags(tokenizer, rows, names, LENGTH, " " if is_decoder else "")
    if task == "question-answering":
        return data.encode_questions(tokenizer, rows, LENGTH, 12)
    if task == "seq2seq-lm":
        return [{"input_ids": tokenizer(row["source"]).input_ids[:LENGTH], "labels": tokenizer(row["target"]).input_ids[:LENGTH]}
                for row in rows]
    examples = data.encode_texts(tokenizer, rows, LENGTH)
    if task == "masked-lm":
        return [data.hidden(example, k, 0, tokenizer, len(tokenizer), 0.15, SEED) for k, example in enumerate(examples)]
    if task == "causal-lm":
        examples = [{"input_ids": example["input_ids"] + [tokenizer.eos_token_id]} for example in examples]
        return [dict(example, labels=example["input_ids"]) for example in examples]
    return examples


def case(report, options, family, task):
    is_decoder, label = family not in ENCODERS + SEQ2SEQ, f"{family} {task}"
    work = options.work / label.replace(" ", "-")
    base = work / "base"
    base.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy((options.smollm2 if is_decoder else options.minilm) / name, base / name)
    tokenizer = AutoTokenizer.from_pretrained(base)
    rows = make_rows(task)
    names = sorted({label for row in rows for label in row.get("labels", [])})
    model_type, sizes = FAMILIES[family]
    labels = {"num_labels": len(names)} if names else {}
    config = AutoConfig.for_model(model_type, vocab_size=len(tokenizer), **{
        **(dict(bos_token_id=1, eos_token_id=2) if is_decoder else {}), **sizes, **labels})
    auto, task_type = TASKS[task]
    torch.manual_seed(3)
    model = auto.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in key.lower() and "bias" not in key else 0.0, 0.2 if parameter.ndim == 1 else 0.1)
    model.save_pretrained(base)

    def peer(kernel="eager"):
        return auto.from_pretrained(base, dtype=torch.float32, attn_implementation="eager" if family in EAGER else kernel)

    targets = r".*(SelfAttention\.q|EncDecAttention\.v|query|value|q_lin|v_lin|Wqkv|c_attn|q_proj|qkv_proj)"
    torch.manual_seed(5)
    get_peft_model(peer(), LoraConfig(r=4, lora_alpha=8, target_modules=targets, task_type=task_type)).save_pretrained(work / "start")
    shown = ["LABEL_0", "LABEL_1"] if task == "sequence-classification" else names
    if shown:
        (work / "start" / "labels.json").write_text(json.dumps({"labels": shown}))
    examples = encode(task, rows, tokenizer, is_decoder)
    write_rows(work / "rows.jsonl", rows)

    def batches():
        for step in range(STEPS):
            numbers = range(step * BATCH, (step + 1) * BATCH)
            batch = data.collate([examples[number] for number in numbers], sizes["pad_token_id"])
            if task == "sequence-classification":
                batch["labels"] = torch.tensor([rows[number]["label"] for number in numbers])
            yield batch

    def losses(training):
        # Padding that sees nothing but padding gets zeros of the fused kernel and a mean of the other.
        trained = PeftModel.from_pretrained(peer("eager" if training else "sdpa"), work / "start", is_trainable=True)
        trained.train(training)
        parameters = [p for p in trained.parameters() if p.requires_grad]
        optimizer, found = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.0), []
        with Replay(SEED) as replay:
            for batch in batches():
                loss = (trained.base_model if "start_positions" in batch else trained)(**batch).loss
                loss.backward()
                found.append(float(loss.detach()))
                torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                optimizer.step()
                optimizer.zero_grad()
        return found, replay.calls

    def trained(output, *more):
        options.graft.run("train", "--model", base, "--adapter", work / "start", "--task", task, "--data", work / "rows.jsonl",
                          "--output", work / output, "--max-steps", STEPS, "--batch-size", BATCH, "--learning-rate", RATE,
                          "--schedule", "constant", "--weight-decay", 0, "--no-shuffle", "--no-group-by-length", "--log-every",
                          1, "--seed", SEED, "--max-length", LENGTH, *more)
        return [row["loss"] for row in read_metrics(work / output)]

    more = ["--stride", 12] if task == "question-answering" else []
    (expected, calls), (without, _) = losses(True), losses(False)
    report.line(calls > STEPS, f"{label}: the peer drops", f"{calls} times in {STEPS} steps")
    for name, actual, wanted in [("dropout", trained("on", *more), expected),
                                 ("none", trained("off", "--base-dropout", "off", *more), without),
                                 ("computed again", trained("again", "--activation-checkpointing", *more), expected)]:
        found = [(abs(a - e) / abs(e), f"step {k}: {a}, not {e}") for k, (a, e) in enumerate(zip(actual, wanted), 1)]
        report.within(f"{label}: losses, {name}", max(found) if len(actual) == STEPS else (1.0, f"{len(actual)} losses"), LOSSES)
    difference = max(abs(a - e) / abs(e) for a, e in zip(expected, without))
    report.line(difference > 10 * LOSSES, f"{label}: dropout shows", f"losses differ by {difference:.1e}")
    shutil.rmtree(work)


def main():
    def add(parser):
        parser.add_argument("--minilm", required=True, help="MiniLM's directory")
        parser.add_argument("--only", default="", help="part of a case's name")

    options = arguments(__doc__, add)
    options.minilm = Path(options.minilm).resolve()
    report = Report("dropout")
    for family, task in CASES:
        if options.only in f"{family} {task}":
            report.case(f"{family} {task}", case, report, options, family, task)
    report.finish()


if __name__ == "__main__":
    main()
