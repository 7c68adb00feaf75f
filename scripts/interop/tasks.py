#!/usr/bin/env python3
"""Token classification, question answering and masked tokens: training with LoRA and as a whole against PEFT and torch.

Tiny models of several families with real tokenizers (MiniLM's WordPiece, SmolLM2's BPE). From one start both programs
train on the same rows; figures are compared with seqeval's and with the rules of SQuAD; merged and trained directories
are opened by transformers; killed runs go on with the same numbers.
"""

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import (AutoConfig, AutoModelForMaskedLM, AutoModelForQuestionAnswering,
                          AutoModelForTokenClassification, AutoTokenizer)

import task_data as data
from peers import Report, arguments, largest, read_metrics, worst, write_rows

LOSSES, OUTPUTS, FIGURES, WEIGHTS = 1e-4, 1e-4, 1e-9, 1e-2
STEPS, BATCH, RATE, LENGTH, STRIDE, SHARE, SEED = 8, 4, 2e-3, 48, 12, 0.15, 42
BERT = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64,
            pad_token_id=0)
FAMILIES = {
    "bert": ("bert", BERT, ["query", "value"]),
    "distilbert": ("distilbert", dict(dim=32, hidden_dim=48, n_layers=2, n_heads=4, max_position_embeddings=64,
                                      pad_token_id=0), ["q_lin", "v_lin"]),
    "modernbert": ("modernbert", {**BERT, "local_attention": 16, "bos_token_id": 101, "eos_token_id": 102,
                                  "cls_token_id": 101, "sep_token_id": 102}, ["Wqkv"]),
    "llama": ("llama", dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                            num_key_value_heads=2, max_position_embeddings=64, pad_token_id=2), ["q_proj", "v_proj"]),
    "gpt2": ("gpt2", dict(n_embd=32, n_layer=2, n_head=4, n_positions=64, pad_token_id=2), ["c_attn"]),
}
TASKS = {
    "token-classification": (AutoModelForTokenClassification, "TOKEN_CLS"),
    "question-answering": (AutoModelForQuestionAnswering, "QUESTION_ANS"),
    "masked-lm": (AutoModelForMaskedLM, None),
}
CASES = [("bert", "token-classification"), ("llama", "token-classification"), ("gpt2", "token-classification"),
         ("bert", "question-answering"), ("distilbert", "question-answering"), ("llama", "question-answering"),
         ("bert", "masked-lm"), ("modernbert", "masked-lm")]


class Case:
    """One family and task: its checkpoint, rows and what the peer makes of them."""

    def __init__(self, options, family, task):
        self.options, self.family, self.task = options, family, task
        self.work = options.work / f"{family}-{task}"
        self.auto, self.task_type = TASKS[task]
        self.model_type, sizes, self.targets = FAMILIES[family]
        self.rows = {"train": self.make(16, 1), "test": self.make(12, 2)}
        self.names = sorted({label for row in self.rows["train"] for label in row.get("labels", [])})
        self.base = self.work / "base"
        self.save(options.smollm2 if family in ("llama", "gpt2") else options.minilm, sizes)
        for name, rows in self.rows.items():
            write_rows(self.work / f"{name}.jsonl", rows)
        self.examples = {name: self.encode(rows) for name, rows in self.rows.items()}

    def make(self, count, seed):
        if self.task == "token-classification":
            return data.tag_rows(count, seed)
        if self.task == "question-answering":
            return data.question_rows(count, seed, unanswered=self.family == "bert")
        return data.text_rows(count, seed)

    def save(self, source, sizes):
        """A random checkpoint with the head, and the tokenizer's files beside it."""
        self.base.mkdir(parents=True)
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            if (source / name).exists():
                shutil.copy(source / name, self.base / name)
        self.tokenizer = AutoTokenizer.from_pretrained(self.base)
        torch.manual_seed(sum(self.family.encode()))
        labels = dict(num_labels=len(self.names), id2label=dict(enumerate(self.names)),
                      label2id={name: k for k, name in enumerate(self.names)}) if self.names else {}
        config = AutoConfig.for_model(self.model_type, vocab_size=len(self.tokenizer), **sizes, **labels)
        model = self.auto.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                parameter.normal_(1.0 if "norm" in key.lower() and "bias" not in key else 0.0,
                                  0.2 if parameter.ndim == 1 else 0.1)
        model.save_pretrained(self.base)

    def model(self, directory=None):
        return self.auto.from_pretrained(directory or self.base, dtype=torch.float32).eval()

    def encode(self, rows):
        if self.task == "token-classification":
            space = " " if self.family in ("llama", "gpt2") else ""
            return data.encode_tags(self.tokenizer, rows, self.names, LENGTH, space)
        if self.task == "question-answering":
            found = data.encode_questions(self.tokenizer, rows, LENGTH, STRIDE)
            # Other models know no segments.
            return found if self.family == "bert" else [{**one, "token_type_ids": None} for one in found]
        return data.encode_texts(self.tokenizer, rows, LENGTH)

    def batch(self, part, numbers, epoch=0):
        examples = [self.examples[part][number] for number in numbers]
        if self.task == "masked-lm":
            examples = [data.hidden(example, number, epoch, self.tokenizer, len(self.tokenizer), SHARE, SEED)
                        for example, number in zip(examples, numbers)]
        return data.collate(examples, self.model_pad())

    def model_pad(self):
        return 2 if self.family in ("llama", "gpt2") else 0

    def options_of_training(self, output, *more):
        found = ["--task", self.task, "--data", self.work / "train.jsonl", "--output", output, "--max-steps", STEPS,
                 "--batch-size", BATCH, "--learning-rate", RATE, "--weight-decay", 0, "--no-shuffle",
                 "--no-group-by-length", "--log-every", 1, "--seed", SEED, "--max-length", LENGTH]
        if self.task == "question-answering":
            found += ["--stride", STRIDE]
        if self.task == "masked-lm":
            found += ["--mask-probability", SHARE]
        return found + list(more)

    def train(self, model):
        """The plain loop in the order of the file, without dropout."""
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: (STEPS - k) / STEPS)
        losses, position, epoch, count = [], 0, 0, len(self.examples["train"])
        for _ in range(STEPS):
            if position >= count:
                position, epoch = 0, epoch + 1
            batch = self.batch("train", list(range(position, min(position + BATCH, count))), epoch)
            position += BATCH
            loss = forward(model, batch).loss
            loss.backward()
            losses.append(float(loss.detach()))
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        return losses

    def figures(self, model):
        """Loss and figures of the test rows."""
        examples = self.examples["test"]
        if self.task == "masked-lm":
            examples = [data.hidden(example, number, 2**32 - 1, self.tokenizer, len(self.tokenizer), SHARE, SEED)
                        for number, example in enumerate(examples)]
        sums, count, outputs = 0.0, 0, []
        with torch.no_grad():
            for example in examples:
                batch = data.collate([example], self.model_pad())
                output = forward(model, batch)
                targets = int((batch["labels"] != -100).sum()) if "labels" in batch else 1
                if targets:
                    sums, count = sums + float(output.loss) * targets, count + targets
                outputs.append(output)
        found = {"loss": sums / count}
        if self.task == "question-answering":
            starts, ends = [[output[key][0].numpy() for output in outputs] for key in ("start_logits", "end_logits")]
            answers = data.best_answers(examples, starts, ends, self.rows["test"])
            return {**found, **data.answer_figures(answers, self.rows["test"])}
        pairs = [(output.logits[0].argmax(-1).tolist(), example["labels"]) for output, example in zip(outputs, examples)]
        answers = [[one for one, right in zip(*pair) if right != -100] for pair in pairs]
        rights = [[right for right in labels if right != -100] for _, labels in pairs]
        if self.task == "token-classification":
            return {**found, **data.tag_figures(answers, rights, self.names)}
        right = sum(a == b for one, other in zip(answers, rights) for a, b in zip(one, other))
        return {**found, "accuracy": right / count}

    def evaluated(self, *model):
        # Padding is among the positions that an answer's loss counts, as in transformers: rows one by one have none.
        more = ["--stride", STRIDE, "--batch-size", 1] if self.task == "question-answering" else []
        more += ["--mask-probability", SHARE] if self.task == "masked-lm" else []
        return self.options.graft.json("evaluate", "--model", *model, "--data", self.work / "test.jsonl", "--max-length",
                                       LENGTH, "--task", self.task, *more)


def forward(model, batch):
    # PEFT 0.21.2 forgets segments on the way to a model for answers: it is asked below that.
    if isinstance(model, PeftModel) and "start_positions" in batch:
        return model.base_model(**batch)
    return model(**batch)


def outputs(task, output):
    if task == "question-answering":
        return torch.stack([output.start_logits, output.end_logits], -1)
    return output.logits


def compare_losses(report, label, actual, expected, limit=LOSSES):
    found = [(abs(a - e) / abs(e), f"step {k}: {a}, not {e}") for k, (a, e) in enumerate(zip(actual, expected), 1)]
    report.line(len(actual) == len(expected), f"{label}: logged steps", str(len(actual)))
    report.within(f"{label}: losses", max(found), limit)


def compare_figures(report, label, actual, expected):
    report.within(f"{label}: loss", (abs(actual["loss"] - expected["loss"]) / expected["loss"], str(actual)), 1e-4)
    names = [name for name in expected if name != "loss"]
    difference = max(abs(actual[name] - expected[name]) for name in names)
    shown = ", ".join(f"{name} {expected[name]:.3f}" for name in names)
    report.within(f"{label}: {shown}", (difference, str(actual)), FIGURES)


def compare_directory(report, case, label, directory, expected):
    """transformers opens a directory that was written here, and both give the same."""
    config = json.loads((directory / "config.json").read_text())
    name = type(case.model()).__name__
    report.line(config["architectures"] == [name], f"{label}: architectures", str(config["architectures"]))
    if case.names:
        report.line([config["id2label"][str(k)] for k in range(len(case.names))] == case.names, f"{label}: id2label",
                    str(config["id2label"]))
    model, info = case.auto.from_pretrained(directory, dtype=torch.float32, output_loading_info=True)
    strange = {key: sorted(found) for key, found in info.items() if found}
    report.line(not strange, f"{label}: opened by transformers with every weight", str(strange))
    batch = case.batch("test", [0, 1, 2])
    with torch.no_grad():
        wanted = outputs(case.task, model.eval()(**batch))
    actual = case.options.graft.forward(directory, batch, case.work / "forward", more=["--task", case.task])["logits"]
    report.within(f"{label}: logits", largest(actual, wanted), OUTPUTS)
    if expected is not None:
        with torch.no_grad():
            before = outputs(case.task, forward(expected, batch))
        report.within(f"{label}: logits before and after", largest(wanted, before), OUTPUTS)


def run_case(report, options, family, task):
    case, graft = Case(options, family, task), options.graft
    label, work = f"{family} {task}", case.work
    start = get_peft_model(case.model(), LoraConfig(r=4, lora_alpha=8, target_modules=case.targets, task_type=case.task_type))
    start.save_pretrained(work / "start")
    if case.names:
        (work / "start" / "labels.json").write_text(json.dumps({"labels": case.names}))
    graft.run("train", "--model", case.base, "--adapter", work / "start",
              *case.options_of_training(work / "run", "--base-dropout", "off"))
    peer = PeftModel.from_pretrained(case.model(), work / "start", is_trainable=True).eval()
    expected = case.train(peer)
    compare_losses(report, label, [row["loss"] for row in read_metrics(work / "run")], expected)
    report.line(len(set(expected)) == STEPS, f"{label}: the peer trains", f"{expected[0]:.4f} to {expected[-1]:.4f}")
    peer.save_pretrained(work / "peer")
    found, wanted = [load_file(work / who / "adapter_model.safetensors") for who in ("run", "peer")]
    # What is added to the scores of all positions alike changes nothing: its gradient is rounding alone.
    for tensors in (found, wanted):
        tensors.pop("base_model.model.qa_outputs.bias", None)
    report.within(f"{label}: adapter and head afterwards", worst(found, wanted), WEIGHTS)
    opened = PeftModel.from_pretrained(case.model(), work / "run").eval()
    compare_figures(report, label, case.evaluated(case.base, "--adapter", work / "run"), case.figures(opened))
    graft.run("merge", "--model", case.base, "--adapter", work / "run", "--output", work / "merged")
    compare_directory(report, case, f"{label} merged", work / "merged", opened)
    # All weights, from the same start.
    graft.run("train", "--model", case.base, "--method", "full",
              *case.options_of_training(work / "full", "--base-dropout", "off"))
    whole = case.model()
    expected = case.train(whole)
    actual = [row["loss"] for row in read_metrics(work / "full")]
    # With every weight in motion rounding grows from step to step; more so for answers, whose gradients are small where
    # scores of all positions are nearly equal, so that AdamW's first steps follow their signs.
    half = 20 * LOSSES if task == "question-answering" else LOSSES
    compare_losses(report, f"{label} full, half of the steps", actual[:STEPS // 2], expected[:STEPS // 2], half)
    compare_losses(report, f"{label} full", actual, expected, 100 * LOSSES)
    compare_directory(report, case, f"{label} full", work / "full", None)


def killed(report, options, family, task, *more):
    """Shuffled, with the model's own dropout and the adapter's: killed at random moments and resumed."""
    case = Case(options, family, task)
    shutil.rmtree(case.work / "again", ignore_errors=True)
    command = ["train", "--model", case.base,
               *case.options_of_training(case.work / "whole", "--shuffle", "--max-steps", 40, "--save-every", 3, *more)]
    options.graft.run(*command)
    place = command.index("--output") + 1
    output, landed = case.work / "killed", []
    command[place] = output
    for moment in sorted(random.sample(range(4, 36), 3)):
        process = options.graft.start(*command, *(["--resume"] if landed else []), log=case.work / "log.txt")
        while process.poll() is None:
            rows = read_metrics(output)
            if rows and rows[-1]["step"] >= moment:
                os.kill(process.pid, signal.SIGKILL)
                break
            time.sleep(0.003)
        if process.wait() == -signal.SIGKILL:
            landed.append(moment)
    options.graft.run(*command, "--resume")
    label = f"{family} {task} killed" + (" full" if "full" in more else "")
    report.line(len(landed) >= 2, f"{label}: kills landed", f"after steps {landed}")
    wanted, found = [[(row["step"], row["loss"], row["gradient_norm"]) for row in read_metrics(path)]
                     for path in (case.work / "whole", output)]
    report.line(wanted == found and len(wanted) == 40, f"{label}: every step once, bit for bit", f"{len(found)} rows")
    name = "model.safetensors" if "full" in more else "adapter_model.safetensors"
    one, other = load_file(case.work / "whole" / name), load_file(output / name)
    report.line(all(torch.equal(one[key], other[key]) for key in one) and one.keys() == other.keys(),
                f"{label}: weights", f"{len(one)} tensors")


def main():
    def add(parser):
        parser.add_argument("--minilm", required=True, help="MiniLM's directory")
        parser.add_argument("--only", default="", help="part of a case's name")

    options = arguments(__doc__, add)
    options.minilm = Path(options.minilm).resolve()
    report = Report("tasks")
    seed = int(os.environ.get("INTEROP_SEED", time.time_ns() % 100000))
    random.seed(seed)
    report.note("random moments", f"INTEROP_SEED={seed}")
    for family, task in CASES:
        if options.only in f"{family} {task}":
            report.case(f"{family} {task}", run_case, report, options, family, task)
            shutil.rmtree(options.work / f"{family}-{task}", ignore_errors=True)
    for family, task, more in [("bert", "masked-lm", ["--dropout", 0.1]), ("distilbert", "question-answering", ["--dropout", 0.1]),
                               ("bert", "token-classification", ["--method", "full"])]:
        if options.only in f"{family} {task} killed":
            report.case(f"{family} {task} killed", killed, report, options, family, task, *more)
            shutil.rmtree(options.work / f"{family}-{task}", ignore_errors=True)
    report.finish()


if __name__ == "__main__":
    main()
