#!/usr/bin/env python3
"""Exit codes of bad input: the code, a message that names the thing, and nothing written."""

import json
import os
import shutil
import subprocess

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from peers import (Report, arguments, completion_rows, load_model, sample_inputs, save_tiny,
                   tiny_with_tokenizer, write_rows)


class Checks:
    def __init__(self, options, report):
        self.graft, self.report, self.work = options.graft, report, options.work
        self.model = tiny_with_tokenizer(options.work / "model", options.smollm2)
        self.data = write_rows(options.work / "rows.jsonl", completion_rows(8))

    def expect(self, name, codes, mentions, *arguments, output=None):
        """The command fails with one of `codes`, its message contains each of `mentions` (a tuple:
        one of them), and `output` is not there afterwards."""
        done = self.graft.run(*arguments, expect=None, timeout=120)
        problems = []
        if done.returncode not in codes:
            problems.append(f"exit {done.returncode}, not {codes}")
        for mention in mentions:
            choices = mention if isinstance(mention, tuple) else (mention,)
            if not any(str(choice) in done.stderr for choice in choices):
                problems.append(f"message does not name {mention}")
        if output is not None and output.exists():
            left = sorted(str(p.relative_to(output)) for p in output.rglob("*")) if output.is_dir() else ["a file"]
            problems.append(f"left behind {left[:5]}")
        strays = [p.name for p in self.work.iterdir() if output is not None and output.name in p.name and p != output]
        if strays:
            problems.append(f"temporary files left {strays[:3]}")
        if any(word in done.stderr for word in ("Fatal error", "Stack dump", "terminate called")):
            problems.append("a crash, not an error")
        if done.stdout.strip():
            problems.append("text on standard output")
        message = " | ".join(done.stderr.strip().splitlines()[-2:])[:300]
        self.report.line(not problems, name, f"exit {done.returncode}" if not problems else "; ".join(problems) + f" [{message}]")

    def train(self, name, codes, mentions, model=None, data=None, more=(), keep=False):
        output = self.work / "out" if not keep else None
        self.expect(name, codes, mentions, "train", "--model", model or self.model, "--data", data or self.data,
                    "--output", self.work / "out", "--max-steps", 2, "--batch-size", 2, *more, output=output)
        shutil.rmtree(self.work / "out", ignore_errors=True)

    def forward(self, name, codes, mentions, inputs, model=None, more=()):
        source, output = self.work / "inputs.safetensors", self.work / "result.safetensors"
        save_file(inputs, source)
        self.expect(name, codes, mentions, "forward", "--model", model or self.model, "--input", source,
                    "--output", output, *more, output=output)
        output.unlink(missing_ok=True)


def models(checks):
    """Missing and damaged model directories."""
    missing = checks.work / "no-such-model"
    checks.train("missing model", [66], ["no-such-model"], model=missing)
    checks.train("missing data file", [66], ["no-such.jsonl"], data=checks.work / "no-such.jsonl")
    content = (checks.model / "model.safetensors").read_bytes()
    header = int.from_bytes(content[:8], "little")
    for name, damaged in [
        ("truncated", content[:-1000]),
        ("header length beyond the file", (1 << 40).to_bytes(8, "little") + content[8:]),
        ("header no JSON", content[:8] + b"x" * header + content[8 + header:]),
        ("empty", b""),
        ("offsets beyond the data", content.replace(b'"data_offsets":[0,', b'"data_offsets":[9,', 1)),
    ]:
        model = shutil.copytree(checks.model, checks.work / "damaged", dirs_exist_ok=True)
        (model / "model.safetensors").write_bytes(damaged)
        checks.train(f"safetensors {name}", [65], ["model.safetensors"], model=model)
    tensors = load_file(checks.model / "model.safetensors")
    lost = "model.layers.1.mlp.up_proj.weight"
    save_file({k: v for k, v in tensors.items() if k != lost}, model / "model.safetensors", {"format": "pt"})
    checks.train("a weight missing", [65], [lost], model=model)
    (model / "model.safetensors").unlink()
    checks.train("no weights", [66, 65], ["model.safetensors"], model=model)
    (model / "config.json").write_text("{\"model_type\": \"llama\",")
    checks.train("config.json malformed", [65], ["config.json"], model=model)
    (model / "config.json").write_text(json.dumps({"model_type": "nonesuch"}))
    checks.train("unknown model type", [65], ["nonesuch"], model=model)


def adapters(checks):
    """An adapter made for a base of another size."""
    other = save_tiny("llama", checks.work / "other", hidden_size=64)
    wrapped = get_peft_model(load_model(other), LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    wrapped.save_pretrained(checks.work / "adapter-of-other")
    key = "layers.0.self_attn.q_proj.lora_A"
    adapter = ["--adapter", checks.work / "adapter-of-other"]
    checks.forward("adapter of another base", [65], [key, "32", "64"], {"input_ids": torch.ones(1, 4, dtype=torch.long)}, more=adapter)
    checks.forward("missing adapter", [66], ["no-such-adapter"], {"input_ids": torch.ones(1, 4, dtype=torch.long)},
                   more=["--adapter", checks.work / "no-such-adapter"])
    checks.train("unknown target module", [64, 65], ["query_projection", ("q_proj", "v_proj")], more=["--target-modules", "query_projection"])
    checks.train("one target of two unknown", [64, 65], ["w_proj", "v_proj"], more=["--target-modules", "q_proj,w_proj"])
    checks.train("regex that matches nothing", [64, 65], [("q_proj", "v_proj")], more=["--target-modules", r".*\.decoder\.[0-9]+\.query"])


def data(checks):
    """Rows that cannot be used, named by file and line."""
    rows = checks.data.read_text().splitlines(keepends=True)
    for name, text, mentions in [
        ("empty data", "", ["bad.jsonl"]),
        ("blank lines only", "\n\n", ["bad.jsonl"]),
        ("malformed line", "".join(rows[:2]) + '{"prompt": "a", \n' + rows[3], ["bad.jsonl:3"]),
        ("row is no object", rows[0] + "[1, 2]\n", ["bad.jsonl:2"]),
        ("unknown fields", rows[0] + '{"question": "a", "reply": "b"}\n', ["bad.jsonl:2", "question"]),
        ("field of a wrong type", rows[0] + '{"prompt": 5, "completion": "b"}\n', ["bad.jsonl:2", "prompt"]),
        ("invalid UTF-8", None, ["bad.jsonl:2"]),
    ]:
        path = checks.work / "bad.jsonl"
        path.write_bytes(rows[0].encode() + b'{"text": "\xff\xfe"}\n' if text is None else text.encode())
        checks.train(name, [65], mentions, data=path)


def options_and_outputs(checks):
    """Wrong usage, and places that cannot be written."""
    checks.train("misspelt option", [64], ["--learning-rat", "--learning-rate"], more=["--learning-rat", "0.1"])
    checks.train("option without value", [64], ["--rank"], more=["--rank"])
    checks.train("option value no number", [64], ["--rank", "eight"], more=["--rank", "eight"])
    checks.train("rank 0", [64], ["rank"], more=["--rank", "0"])
    checks.train("unknown schedule", [64], ["lineer", "linear"], more=["--schedule", "lineer"])
    checks.train("unknown method", [64], ["lorra", ("lora", "LORA")], more=["--method", "lorra"])
    checks.expect("misspelt verb", [64], ["trian", "train"], "trian")
    checks.expect("required option missing", [64], ["--model"], "train", "--data", checks.data)
    other = checks.work / "out"
    checks.graft.run("train", "--model", checks.model, "--data", checks.data, "--output", other, "--max-steps", 2, "--batch-size", 2)
    before = {p: p.read_bytes() for p in other.rglob("*") if p.is_file()}
    done = checks.graft.run("train", "--model", checks.model, "--data", checks.data, "--output", other,
                            "--max-steps", 3, "--batch-size", 2, "--seed", 9, expect=None)
    kept = before == {p: p.read_bytes() for p in other.rglob("*") if p.is_file()}
    checks.report.line(done.returncode == 73 and kept and str(other.name) in done.stderr, "output of another run",
                       f"exit {done.returncode}, {'' if kept else 'not '}kept as it was")
    shutil.rmtree(other)
    (checks.work / "file").write_text("x")
    checks.expect("output below a file", [73], ["file"], "train", "--model", checks.model, "--data", checks.data,
                  "--output", checks.work / "file" / "run", "--max-steps", 1)


def sequences(checks):
    """Input tensors that do not fit the model."""
    good = sample_inputs(49152)
    checks.forward("label outside the vocabulary", [65], ["labels", "49152"],
                   {**good, "labels": good["labels"].clone().fill_(49152)})
    checks.forward("negative label", [65], ["labels", "-7"], {**good, "labels": good["labels"].clone().fill_(-7)})
    checks.forward("id outside the vocabulary", [65], ["input_ids", "49153"],
                   {"input_ids": good["input_ids"].clone().fill_(49153)})
    checks.forward("sequence too long", [65], ["257", "256"], {"input_ids": torch.ones(1, 257, dtype=torch.long)})
    checks.forward("mask of another shape", [65], ["attention_mask"],
                   {**good, "attention_mask": torch.ones(2, 5, dtype=torch.long)})
    checks.forward("ids of the wrong type", [65], ["input_ids"], {"input_ids": torch.ones(1, 4)})
    checks.forward("no input_ids", [65], ["input_ids"], {"ids": torch.ones(1, 4, dtype=torch.long)})


def disk_full(checks):
    """A file system of 64 KB: exit 73, no half-written file under a final name."""
    mount = checks.work / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mount)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        checks.report.note("disk full", "not run: needs the right to mount a tmpfs")
        return
    try:
        source = checks.work / "inputs.safetensors"
        save_file({"input_ids": torch.ones(1, 8, dtype=torch.long)}, source)
        for name, target, command in [
            ("forward", mount / "r.safetensors", ["forward", "--model", checks.model, "--input", source]),
            ("train", mount / "run", ["train", "--model", checks.model, "--data", checks.data, "--max-steps", 2,
                                      "--rank", 16, "--target-modules", "all-linear"]),
        ]:
            done = checks.graft.run(*command, "--output", target, expect=None)
            half = [p.name for p in mount.rglob("*.safetensors") if p.is_file()]
            told = "small" in done.stderr
            checks.report.line(done.returncode == 73 and not half and told, f"disk full, {name}",
                               f"exit {done.returncode}, left {half}" + ("" if told else ", path not named"))
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def main():
    options = arguments(__doc__)
    report = Report("cli")
    checks = Checks(options, report)
    for part in (models, adapters, data, options_and_outputs, sequences, disk_full):
        report.case(part.__name__, part, checks)
    report.finish()


if __name__ == "__main__":
    main()
