"""Bases whose frozen blocks come and go: larger than the memory, and shared out between processes.

A model three times as large as the memory that a process may take is trained from disk; the same run with the base in
memory fails there. An adapter that several processes trained under ZeRO 3 opens in PEFT, whose loss is Graft's.
"""
import json
import os
import resource
import shutil

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from process_runs import ProcessRuns

runs = ProcessRuns()
check, loss, work, graft, smollm2 = runs.check, runs.losses, runs.work, runs.graft, runs.smollm2


def run(command, limit=None):
    """Runs a command; with a limit it may take so many bytes of private memory (ulimit -d)."""
    def restrict():
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    return runs.run(command, preexec_fn=restrict if limit else None)


rows = runs.rows("rows.jsonl", 8)
common = ["--data", rows, "--batch-size", "2", "--max-steps", "2", "--log-every", "1", "--rank", "4"]

# ---- Larger than the memory: stored in bfloat16, computed in float32, so that its numbers are in no file.
mebibyte = 1 << 20
limit = 320 * mebibyte
config = LlamaConfig(hidden_size=1024, intermediate_size=4096, num_hidden_layers=16, num_attention_heads=16,
                     num_key_value_heads=4, vocab_size=49152, tie_word_embeddings=True, max_position_embeddings=256)
torch.manual_seed(1)
large = LlamaForCausalLM(config).to(torch.bfloat16)
bytes_in_float32 = 4 * sum(p.numel() for p in large.parameters())
large.save_pretrained(work / "large")
del large
for name in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]:
    if os.path.exists(f"{smollm2}/{name}"):
        shutil.copy(f"{smollm2}/{name}", work / "large")
blocks = bytes_in_float32 - 4 * 49152 * 1024
check("the model is three times the limit", bytes_in_float32 >= 3 * limit, (bytes_in_float32, limit))
train = [graft, "train", "--model", str(work / "large"), *common, "--activation-checkpointing", "--json"]
held = run([*train, *runs.output("held")])
check("in memory", held.returncode == 0, held.stderr)
refused = run([*train, *runs.output("refused")], limit)
check("in memory, limited: fails", refused.returncode != 0, refused.stdout)
disk = run([*train, *runs.output("disk"), "--base-offload", "disk"], limit)
check("from disk, limited", disk.returncode == 0, disk.stderr[-2000:])
if disk.returncode == 0 and held.returncode == 0:
    check("the same losses", loss("disk") == loss("held"), (loss("disk"), loss("held")))
    check("the same adapter", runs.adapter("disk") == runs.adapter("held"))
    peaks = [json.loads(result.stdout)["peak_memory_bytes"] for result in (held, disk)]
    print(f"model {bytes_in_float32 / mebibyte:.0f} MiB in float32, its blocks {blocks / mebibyte:.0f}, limit "
          f"{limit / mebibyte:.0f}; peak in memory {peaks[0] / mebibyte:.0f}, from disk {peaks[1] / mebibyte:.0f} MiB")
    check("the peak is lower by most of the blocks", peaks[0] - peaks[1] > 0.75 * blocks, peaks)

# ---- The same model shared out: a process's peak is its share, two blocks and the table, not the model.
train[train.index("--batch-size") + 1] = "4"
shared = run([*runs.launch(4), *train[1:], *runs.output("four"), "--zero", "3", "--deterministic", "4"])
check("ZeRO 3, four processes", shared.returncode == 0, shared.stderr[-2000:])
alone = run([*train, *runs.output("one"), "--deterministic", "4"])
if shared.returncode == 0 and alone.returncode == 0:
    check("ZeRO 3: the same losses", loss("four") == loss("one"), (loss("four"), loss("one")))
    peak = max(row["peak_memory_bytes"] for row in runs.metrics("four"))
    table = 4 * 49152 * 1024
    expected = bytes_in_float32 / 4 + table + 2 * blocks / 16
    whole = json.loads(alone.stdout)["peak_memory_bytes"]
    print(f"ZeRO 3: share, table and two blocks are {expected / mebibyte:.0f} MiB; peak of a process "
          f"{peak / mebibyte:.0f}, of one alone {whole / mebibyte:.0f} MiB")
    # What else a process takes is what one alone takes beside the model.
    check("ZeRO 3: the peak is near the share", peak < expected + 1.2 * (whole - bytes_in_float32), (peak, expected))
shutil.rmtree(work / "large", ignore_errors=True)

# ---- ZeRO 3: the adapter is whole and opens in PEFT.
for name, more in [("dense", []), ("int8", ["--quantize", "int8"]), ("nf4", ["--quantize", "nf4"])]:
    train = ["train", "--model", smollm2, *common, "--deterministic", "2", *more]
    alone = run([graft, *train, *runs.output(f"{name}-alone")])
    check(f"{name}, alone", alone.returncode == 0, alone.stderr)
    shared = run([*runs.launch(2), *train, "--zero", "3", *runs.output(f"{name}-zero3")])
    check(f"{name}, ZeRO 3", shared.returncode == 0, shared.stderr)
    if alone.returncode or shared.returncode:
        continue
    check(f"{name}: the same losses and adapter", runs.same(f"{name}-alone", f"{name}-zero3"))
    tensors = load_file(work / f"{name}-zero3" / "adapter_model.safetensors")
    check(f"{name}: every tensor is whole", len(tensors) == 2 * 7 * 30 and all(t.numel() for t in tensors.values()))

tokenizer = AutoTokenizer.from_pretrained(smollm2)
base = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
model = PeftModel.from_pretrained(base, work / "dense-zero3")
text = json.loads((work / "rows.jsonl").read_text().splitlines()[3])
prompt, whole = (tokenizer(t)["input_ids"] for t in (text["prompt"], text["prompt"] + text["completion"]))
whole = whole + [tokenizer.eos_token_id]
labels = [-100] * len(prompt) + whole[len(prompt):]
expected = model(input_ids=torch.tensor([whole]), labels=torch.tensor([labels])).loss.item()
one = work / "one.jsonl"
one.write_text(json.dumps(text) + "\n")
evaluated = run([graft, "evaluate", "--model", smollm2, "--adapter", str(work / "dense-zero3"), "--data", str(one),
                 "--metrics", "loss", "--json"])
found = json.loads(evaluated.stdout)["loss"] if evaluated.returncode == 0 else float("nan")
check("PEFT opens it with the same loss", abs(found - expected) < 1e-4 * expected, (found, expected, evaluated.stderr))

runs.finish("blocks: all equal")
