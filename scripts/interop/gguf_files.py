#!/usr/bin/env python3
"""`graft import` against transformers reading the same GGUF file.

Weights must be equal, logits within 1e-3, tokenizer ids equal to the original tokenizer's. (The name
is not gguf.py because that would hide the `gguf` package from every script in this folder.)
"""

import argparse
import shutil
from pathlib import Path

from peers import LLAMA3_ROPE, Graft, Report, largest  # first: sets the environment

import gguf
import numpy as np
import torch
import transformers
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from gguf_writing import (SAMPLES, TYPES, Type, byte_level, byte_level_writer, sentencepiece,
                          sentencepiece_writer, write_model)

LOGITS = 1e-3
PROMPTS = ["The capital of France is", "def fibonacci(n):\n    ", "Once upon a time, in 1984, there",
           "<|im_start|>user\nName three colours.<|im_end|>\n<|im_start|>assistant\n"]
# SmolLM2's published ids: digits are split one by one.
KNOWN_IDS = {"Hello world 2024!": [19556, 905, 216, 34, 32, 34, 36, 17],
             "<|im_start|>user\nHi<|im_end|>\n": [1, 4093, 198, 26843, 2, 198]}


def unequal(actual: dict, expected: dict) -> str:
    """The first difference between two sets of tensors, bit by bit; empty when there is none."""
    if actual.keys() != expected.keys():
        return f"names {sorted(actual.keys() ^ expected.keys())[:4]}"
    for name, tensor in expected.items():
        if actual[name].shape != tensor.shape or actual[name].dtype != tensor.dtype:
            return f"{name}: {actual[name].shape} {actual[name].dtype}"
        if not torch.equal(actual[name].view(torch.uint8), tensor.contiguous().view(torch.uint8)):
            return f"{name}: {largest(actual[name], tensor)}"
    return ""


def weights(model) -> dict:
    tied = model.config.tie_word_embeddings
    return {name: tensor for name, tensor in model.state_dict().items()
            if not (tied and name == "lm_head.weight")}


def peer(path: Path):
    return AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32).eval()


def compare(report, options, name: str, path: Path, expected, tokens: list):
    """Imports a file; weights and logits against a model of transformers."""
    output = options.work / f"{path.stem}-imported"
    options.graft.run("import", path, "--output", output)
    difference = unequal(load_file(output / "model.safetensors"), weights(expected))
    report.line(not difference, f"{name} weights", difference or "equal bit for bit")
    actual = AutoModelForCausalLM.from_pretrained(output, dtype=torch.float32).eval()
    with torch.no_grad():
        pairs = [(actual(ids).logits, expected(ids).logits) for ids in tokens]
    found = max((largest(a, e) for a, e in pairs), key=lambda row: row[0])
    report.within(f"{name} logits", found, LOGITS)
    return output


def real_file(report, options):
    """The file given on the command line: SmolLM2 with its published ids, or another model."""
    expected = peer(options.gguf)
    theirs = AutoTokenizer.from_pretrained(options.gguf.parent, gguf_file=options.gguf.name)
    tokens = [torch.tensor([theirs(text)["input_ids"]]) for text in PROMPTS]
    output = compare(report, options, options.gguf.name, options.gguf, expected, tokens)
    ours = AutoTokenizer.from_pretrained(output)
    literal = Tokenizer.from_file(str(output / "tokenizer.json"))
    same = all(ours(text)["input_ids"] == literal.encode(text).ids for text in SAMPLES + PROMPTS)
    report.line(same, "tokenizer: AutoTokenizer reads tokenizer.json literally", f"{len(SAMPLES)} texts")
    differing = [text for text in SAMPLES + PROMPTS if ours(text)["input_ids"] != theirs(text)["input_ids"]]
    report.note("tokenizer: texts where transformers' rebuild from the GGUF differs", f"{differing}")
    if "smollm2" in options.gguf.name.lower():
        for text, ids in KNOWN_IDS.items():
            found = ours(text)["input_ids"]
            report.line(found == ids, f"tokenizer: ids of {text!r}", f"{found}")
        report.line(all(ours.decode(literal.encode(text).ids) == text for text in SAMPLES),
                    "tokenizer: decoding returns the text", f"{len(SAMPLES)} texts")
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
    ours_chat, theirs_chat = (t.apply_chat_template(chat, tokenize=False) for t in (ours, theirs))
    report.line(ours_chat == theirs_chat, "chat template", repr(ours_chat)[:120])
    for name in ["bos_token", "eos_token", "unk_token", "pad_token"]:
        report.line(getattr(ours, name) == getattr(theirs, name), name, repr(getattr(ours, name)))
    for dtype in ["float16", "bfloat16"]:
        target = options.work / dtype
        options.graft.run("import", options.gguf, "--output", target, "--dtype", dtype)
        wanted = {key: value.to(getattr(torch, dtype)) for key, value in weights(expected).items()}
        difference = unequal(load_file(target / "model.safetensors"), wanted)
        report.line(not difference, f"weights in {dtype}", difference or "equal bit for bit")
        shutil.rmtree(target)


def tiny(model_type: str, **changes):
    """A model whose rows fit the blocks of 256."""
    torch.manual_seed(1)
    config = transformers.AutoConfig.for_model(model_type, **{
        **dict(vocab_size=300, hidden_size=256, intermediate_size=512, num_hidden_layers=2,
               num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128), **changes})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name else 0.0, 0.3 if parameter.ndim == 1 else 0.05)
    return model.eval()


def storage_type(report, options, model_type: str, kind: Type):
    path = options.work / f"{model_type}-{kind.name}.gguf"
    write_model(path, tiny(model_type, tie_word_embeddings=kind == Type.Q4_0), kind)
    tokens = [torch.arange(3, 40)[None]]
    compare(report, options, f"{model_type} {kind.name}", path, peer(path), tokens)


def round_trip(report, options, name: str, model):
    """The original model is the expectation: transformers drops rope_freqs and biases of llama."""
    path = options.work / f"{name}.gguf"
    write_model(path, model)
    compare(report, options, f"{name}, against the original", path, model,
            [torch.arange(0, 120)[None] % 250])


def tokenizer(report, options, name: str, original: Tokenizer, writer):
    path = options.work / f"tokenizer-{name}.gguf"
    write_model(path, tiny("llama", vocab_size=512), tokenizer=writer)
    output = options.work / f"tokenizer-{name}"
    options.graft.run("import", path, "--output", output)
    imported = Tokenizer.from_file(str(output / "tokenizer.json"))
    auto = AutoTokenizer.from_pretrained(output)
    rng = np.random.default_rng(7)
    alphabet = sorted(set("".join(SAMPLES)))
    texts = SAMPLES + ["".join(rng.choice(alphabet, rng.integers(1, 40))) for _ in range(2000)]
    wrong = [t for t in texts if imported.encode(t).ids != original.encode(t).ids]
    report.line(not wrong, f"tokenizer {name}: ids", f"{len(wrong)} of {len(texts)} differ {wrong[:1]}")
    wrong = [t for t in texts if auto(t)["input_ids"] != original.encode(t).ids]
    report.line(not wrong, f"tokenizer {name}: ids by AutoTokenizer", f"{len(wrong)} differ {wrong[:1]}")
    texts = [t for t in texts if t]
    wrong = [t for t in texts if imported.decode(imported.encode(t).ids)
             != original.decode(original.encode(t).ids)]
    report.line(not wrong, f"tokenizer {name}: decoding", f"{len(wrong)} differ {wrong[:1]}")


def refusals(report, options):
    """Exit codes and messages of what cannot be imported."""
    def refused(name, path, output, code, *words):
        done = options.graft.run("import", path, "--output", output, expect=code)
        missing = [word for word in words if word not in done.stderr]
        report.line(not missing, f"refused: {name}", done.stderr.strip()[-200:])

    good = options.work / "llama-F32.gguf"
    data = good.read_bytes()
    target = options.work / "refused"
    renamed = options.work / "renamed.gguf"
    renamed.write_bytes(data.replace(b"llama", b"lhama"))
    refused("architecture", renamed, target, 65, "lhama", "llama", "qwen2")
    short = options.work / "short.gguf"
    short.write_bytes(data[: len(data) // 2])
    refused("truncated", short, target, 65, "short.gguf")
    refused("missing file", options.work / "no.gguf", target, 66, "no.gguf")
    (options.work / "none").write_text("a file")
    refused("parent that is a file", good, options.work / "none" / "out", 73, "none")
    writer = gguf.GGUFWriter(options.work / "iq.gguf", "llama")
    reader = gguf.GGUFReader(good)
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            kind = field.types[0]
            sub = field.types[1] if len(field.types) > 1 else None
            writer.add_key_value(field.name, field.contents(), kind, sub)
    for tensor in reader.tensors:
        if tensor.name == "blk.1.attn_v.weight":
            size = tensor.n_elements // 256 * 66
            rows = int(tensor.shape[1])
            writer.add_tensor(tensor.name, np.zeros((rows, size // rows), np.uint8),
                              raw_dtype=Type.IQ2_XXS)
        else:
            writer.add_tensor(tensor.name, tensor.data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    refused("tensor type", options.work / "iq.gguf", target, 65, "IQ2_XXS", "blk.1.attn_v.weight",
            "Q4_K")
    report.line(not target.exists(), "refused: nothing is left", str(target))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graft", required=True, help="the graft executable")
    parser.add_argument("--gguf", type=Path, help="a real GGUF file of llama or qwen2")
    parser.add_argument("--work", required=True, type=Path, help="folder for temporary files")
    options = parser.parse_args()
    options.graft = Graft(options.graft)
    options.work = options.work.resolve() / "gguf_files"
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    report = Report("gguf")
    for model_type in ["llama", "qwen2"]:
        for kind in TYPES:
            report.case(f"{model_type} {kind.name}", storage_type, report, options, model_type, kind)
    scaled = {**LLAMA3_ROPE, "factor": 32.0, "rope_theta": 500000.0,
              "original_max_position_embeddings": 8192}
    for name, model in {
        "llama-rope3": tiny("llama", rope_parameters=scaled, max_position_embeddings=131072),
        "llama-biases": tiny("llama", attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
        "llama-wide-heads": tiny("llama", head_dim=96),
        "qwen2-biases": tiny("qwen2", tie_word_embeddings=True),
    }.items():
        report.case(name, round_trip, report, options, name, model)
    for name in ["gpt-2", "smollm", "llama-bpe", "qwen2"]:
        original = byte_level(name)
        report.case(name, tokenizer, report, options, name, original,
                    byte_level_writer(name, original))
    original = sentencepiece()
    report.case("sentencepiece", tokenizer, report, options, "sentencepiece", original,
                sentencepiece_writer(original))
    report.case("refusals", refusals, report, options)
    if options.gguf:
        options.gguf = options.gguf.resolve()
        report.case("real file", real_file, report, options)
    report.finish()


if __name__ == "__main__":
    main()
