#!/usr/bin/env python3
"""Classification on the real MiniLM: outputs against transformers, training against PEFT on the same rows.

Sentences about six subjects; those of the test use other words than those of training, so that a model has to know what
words mean. From one start the losses of both programs are compared step by step; with heads of their own, accuracies.
"""

import itertools
import json
import random
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score, f1_score
from tokenizers import Tokenizer
from transformers import AutoModel, AutoModelForSequenceClassification

from peers import Report, arguments, largest, read_metrics, worst, write_rows

OUTPUTS, LOSSES, WEIGHTS = 1e-4, 1e-3, 5e-2
STEPS, BATCH, RATE = 60, 8, 2e-3
SUBJECTS = {
    "weather": ("rain storm sunshine frost wind", "snow thunder fog drizzle heat"),
    "food": ("bread soup cheese pasta salad", "rice pizza butter omelette cake"),
    "sport": ("football tennis rowing cycling boxing", "hockey swimming golf cricket judo"),
    "travel": ("train airport hotel passport ferry", "flight luggage visa cruise hostel"),
    "music": ("guitar violin opera drums concert", "piano orchestra trumpet choir melody"),
    "money": ("bank loan tax salary rent", "mortgage invoice savings dividend wage"),
}
FRAMES = ["They talked about the {} all day.", "I read a long article on {} yesterday.", "The {} was a surprise to us.",
          "Nobody expected the {} this week.", "My sister asked me about {} again.", "{} is what I remember of that year.",
          "We had planned everything around the {}.", "What do you think of the {}?"]


def rows(part):
    """Rows of training (0) or of the test (1), in an order of their own."""
    found = [{"text": frame.format(word), "label": name}
             for name, words in SUBJECTS.items() for word in words[part].split() for frame in FRAMES]
    random.Random(part).shuffle(found)
    return found


def encode(tokenizer, texts):
    encoded = [tokenizer.encode(text).ids for text in texts]
    length = max(map(len, encoded))
    return {"input_ids": torch.tensor([ids + [0] * (length - len(ids)) for ids in encoded]),
            "attention_mask": torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for ids in encoded])}


class MiniLM:
    def __init__(self, directory):
        self.directory, self.names = directory, sorted(SUBJECTS)
        self.tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()

    def model(self, seed=0):
        torch.manual_seed(seed)
        return AutoModelForSequenceClassification.from_pretrained(
            self.directory, num_labels=len(self.names), dtype=torch.float32).eval()

    def config(self):
        return LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"], task_type="SEQ_CLS")

    def labels(self, data):
        return torch.tensor([self.names.index(row["label"]) for row in data])

    def scores(self, model, data):
        with torch.no_grad():
            return torch.cat([model(**encode(self.tokenizer, [row["text"] for row in data[k:k + 16]])).logits
                              for k in range(0, len(data), 16)])

    def figures(self, model, data):
        answers, right = self.scores(model, data).argmax(-1), self.labels(data)
        return accuracy_score(right, answers), f1_score(right, answers, average="macro")

    def train(self, model, data, steps=STEPS):
        """The plain loop in the order of the file, without dropout."""
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: max(0.0, (steps - k) / steps))
        losses, stream = [], itertools.cycle(range(0, len(data), BATCH))
        for _ in range(steps):
            start = next(stream)
            part = data[start:start + BATCH]
            loss = model(**encode(self.tokenizer, [row["text"] for row in part]), labels=self.labels(part)).loss
            loss.backward()
            losses.append(float(loss.detach()))
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        return losses


def options_of_training(data, output, seed):
    return ["--task", "sequence-classification", "--data", data, "--output", output, "--max-steps", STEPS,
            "--batch-size", BATCH, "--learning-rate", RATE, "--schedule", "linear", "--weight-decay", 0,
            "--no-shuffle", "--no-group-by-length", "--log-every", 1, "--seed", seed, "--base-dropout", "off"]


def features(report, options, minilm):
    """Last states, both ways of pooling and the pooler."""
    inputs = encode(minilm.tokenizer, [row["text"] for row in rows(0)[:6]])
    actual = options.graft.forward(options.minilm, inputs, options.work / "forward")
    with torch.no_grad():
        output = AutoModel.from_pretrained(options.minilm, dtype=torch.float32).eval()(**inputs)
    weights = inputs["attention_mask"].unsqueeze(-1).float()
    expected = {"last_hidden_state": output.last_hidden_state, "pooler_output": output.pooler_output,
                "embedding.cls": output.last_hidden_state[:, 0],
                "embedding.mean": (output.last_hidden_state * weights).sum(1) / weights.sum(1)}
    for name, value in expected.items():
        report.within(f"MiniLM {name}", largest(actual[name], value), OUTPUTS)


def same_start(report, options, minilm, data, test):
    """Both programs go on with one adapter and head."""
    work = options.work / "same"
    get_peft_model(minilm.model(), minilm.config()).save_pretrained(work / "start")
    (work / "start" / "labels.json").write_text(json.dumps({"labels": minilm.names}))
    options.graft.run("train", "--model", options.minilm, "--adapter", work / "start",
                      *options_of_training(options.work / "train.jsonl", work / "ours", 1))
    model = PeftModel.from_pretrained(minilm.model(), work / "start", is_trainable=True).eval()
    expected = minilm.train(model, data)
    actual = [row["loss"] for row in read_metrics(work / "ours") if "loss" in row]
    # Towards the end losses are small, and what rounding did to the weights counts for more.
    found = [(abs(a - e) / max(e, 0.1), f"step {k}: {a}, not {e}") for k, (a, e) in enumerate(zip(actual, expected), 1)]
    report.line(len(actual) == STEPS, "logged steps", str(len(actual)))
    report.within("20 losses", max(found[:20]), LOSSES)
    report.within(f"{STEPS} losses", max(found), 20 * LOSSES)
    report.line(expected[0] - sum(expected[-5:]) / 5 > 0.5, "the peer's loss falls", f"{expected[0]:.3f} to {expected[-1]:.3f}")
    model.save_pretrained(work / "peer")
    report.within("adapter and head afterwards", worst(*[
        load_file(work / who / "adapter_model.safetensors") for who in ("ours", "peer")]), WEIGHTS)
    # Ours opened by PEFT, PEFT's opened by us.
    opened = PeftModel.from_pretrained(minilm.model(), work / "ours").eval()
    inputs = encode(minilm.tokenizer, [row["text"] for row in test[:8]])
    for who, peer in [("ours", opened), ("peer", model)]:
        with torch.no_grad():
            wanted = peer(**inputs).logits
        logits = options.graft.forward(options.minilm, inputs, options.work / "forward", adapter=work / who)["logits"]
        report.within(f"logits of the adapter by {who}", largest(logits, wanted), OUTPUTS)
    for who, peer in [("ours", opened), ("peer", model)]:
        (work / "peer" / "labels.json").write_text(json.dumps({"labels": minilm.names}))
        found = evaluate(options, work / who)
        accuracy, f1 = minilm.figures(peer, test)
        report.within(f"accuracy {accuracy:.3f} and F1 {f1:.3f} of the adapter by {who}, as scikit-learn has them",
                      (max(abs(found["accuracy"] - accuracy), abs(found["f1"] - f1)), str(found)), 1e-9)


def evaluate(options, adapter):
    return options.graft.json("evaluate", "--model", options.minilm, "--adapter", adapter,
                              "--data", options.work / "test.jsonl", "--metrics", "loss,accuracy,f1")


def pairs(report, options, minilm, test):
    """The loss of pairs of texts, with the tokenizer's segments."""
    found = [{**row, "text_pair": other["text"]} for row, other in zip(test[:40], test[7:47])]
    encoded = [minilm.tokenizer.encode(row["text"], row["text_pair"]) for row in found]
    model = PeftModel.from_pretrained(minilm.model(), options.work / "same/ours").eval()
    with torch.no_grad():
        scores = torch.cat([model(input_ids=torch.tensor([one.ids]), token_type_ids=torch.tensor([one.type_ids])).logits
                            for one in encoded])
    expected = float(torch.nn.functional.cross_entropy(scores, minilm.labels(found)))
    write_rows(options.work / "pairs.jsonl", found)
    actual = options.graft.json("evaluate", "--model", options.minilm, "--adapter", options.work / "same/ours",
                                "--data", options.work / "pairs.jsonl", "--metrics", "loss")["loss"]
    report.within("loss of pairs", (abs(actual - expected) / expected, f"{actual}, not {expected}"), 1e-4)


def own_heads(report, options, minilm, data, test, seeds=3):
    """New heads of each program's own, trained with the adapter: within noise."""
    ours, peers = [], []
    for seed in range(1, seeds + 1):
        output = options.work / f"own-{seed}"
        options.graft.run("train", "--model", options.minilm, "--method", "lora", "--rank", 8, "--alpha", 16,
                          "--target-modules", "query,value",
                          *options_of_training(options.work / "train.jsonl", output, seed))
        found = evaluate(options, output)
        ours.append((found["accuracy"], found["f1"]))
        model = get_peft_model(minilm.model(seed), minilm.config()).eval()
        minilm.train(model, data)
        peers.append(minilm.figures(model, test))
        # PEFT opens what was trained here, and answers alike.
        opened = PeftModel.from_pretrained(minilm.model(seed), output).eval()
        theirs = minilm.figures(opened, test)
        report.within(f"seed {seed}: figures of our head in PEFT",
                      (max(abs(a - b) for a, b in zip(ours[-1], theirs)), f"{ours[-1]}, not {theirs}"), 1e-9)
    for place, name in enumerate(["accuracy", "F1"]):
        own, other = [[pair[place] for pair in part] for part in (ours, peers)]
        spread = max(max(own) - min(own), max(other) - min(other), 0.02)
        difference = abs(sum(own) - sum(other)) / seeds
        report.line(difference <= spread, f"{name} with new heads, {seeds} seeds",
                    f"{[round(v, 3) for v in own]} and PEFT {[round(v, 3) for v in other]}: means differ by {difference:.3f}, "
                    f"spread {spread:.3f}")


def main():
    options = arguments(__doc__, lambda parser: parser.add_argument("--minilm", required=True, help="MiniLM's directory"))

    options.minilm = Path(options.minilm).resolve()
    report, minilm = Report("classification"), MiniLM(options.minilm)
    data, test = rows(0), rows(1)
    write_rows(options.work / "train.jsonl", data)
    write_rows(options.work / "test.jsonl", test)
    report.case("features", features, report, options, minilm)
    report.case("same start", same_start, report, options, minilm, data, test)
    report.case("pairs", pairs, report, options, minilm, test)
    report.case("own heads", own_heads, report, options, minilm, data, test)
    report.finish()


if __name__ == "__main__":
    main()
