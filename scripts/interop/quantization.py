#!/usr/bin/env python3
"""Quantised checkpoints both ways between bitsandbytes and graft: files, logits, loss."""

import json
from pathlib import Path

import torch
from bitsandbytes.nn import Linear4bit
from peers import TOKENIZER_FILES, Report, arguments, folder, load_model, relative, sample_inputs, save_tiny
from safetensors.torch import load_file
from tokenizers import Tokenizer

from quantized_files import compare_files, nibbles, quantization_state, weight_keys
from quantized_models import (FORMATS, function_codes, load_decoded, open_quantized, quantize,
                              with_exact_rows)

# Of logits, relative; 4-bit products are ordinary float32 products of the decoded weights.
LOGITS, LOSS = 1e-4, 1e-4
# Rows of int8 are rounded after each layer before. Where a sum is a last bit off, a code can be one
# off, and the layers behind multiply that: SmolLM2's logits move by 0.05 of their scale when its
# embeddings move by 1e-7. So whole models are compared with how far bitsandbytes is from the formula
# (it casts inputs to float16 and has 1/127^2 wrong in the fifth digit), and the formula itself is
# checked on one layer, where the typical token has no code off.
AS_FAR_AS_PEER, ONE_LAYER, ONE_CODE_OFF = 2, 1e-5, 5e-2
# Rows as wide as the peer is right for: its AVX-512 code decodes others wrongly.
WIDE = dict(hidden_size=64, intermediate_size=128, head_dim=16)
BASES = ["llama", "llama-biases", "llama-tied", "mistral-window", "qwen2", "qwen3"]
HELD_OUT = Path(__file__).resolve().parents[2] / "Examples/text/held-out.jsonl"


def logits_of(model, inputs):
    with torch.no_grad():
        return model(**inputs)


def nearby_losses(model, inputs, count=4):
    """Losses with the embeddings 1e-7 of themselves off."""
    weight = model.get_input_embeddings().weight
    before, losses = weight.detach().clone(), []
    for seed in range(count):
        noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            weight.copy_(before * (1 + 1e-7 * noise))
        losses.append(logits_of(model, inputs).loss)
    with torch.no_grad():
        weight.copy_(before)
    return losses


def check_logits(report, label, name, actual, expected, base, inputs, model):
    """Logits and loss of graft against those of the peer's model."""
    if name != "int8":
        report.within(f"{label}, logits", relative(actual["logits"], expected.logits), LOGITS)
        report.within(f"{label}, loss", relative(actual["loss"].reshape(()), expected.loss), LOSS)
        return
    exact = logits_of(with_exact_rows(model), inputs)
    own, ours = ((logits - expected.logits).norm() / expected.logits.norm()
                 for logits in (exact.logits, actual["logits"]))
    report.line(bool(ours <= AS_FAR_AS_PEER * own), f"{label}, logits",
                f"{ours:.1e} from the peer in the 2-norm, the formula {own:.1e}")
    unquantised = logits_of(load_model(base), inputs)
    # Within half of what quantising does, so that not to quantise fails, unless the formula itself is
    # further off than that: the farthest of a few, whose embeddings differ in the last digits.
    moved, difference = (abs(float(loss) - float(expected.loss)) for loss in (unquantised.loss, actual["loss"]))
    losses = [exact.loss, *nearby_losses(with_exact_rows(model), inputs)]
    apart = max(abs(float(loss) - float(expected.loss)) for loss in losses)
    report.line(difference <= max(moved / 2, AS_FAR_AS_PEER * apart) + 1e-4, f"{label}, loss",
                f"{difference:.1e} from the peer, the formula {apart:.1e}, unquantised {moved:.1e}")


def both_ways(report, options, label, base, name, inputs):
    """The peer's directory in graft, graft's in the peer, and the two beside each other."""
    work = folder(options, label)
    ours, theirs, spelled = work / "ours", work / "theirs", FORMATS[name][0]
    # Saved before anything else is done to it: see in_float32.
    peer = quantize(base, name)
    peer.save_pretrained(theirs)
    expected = logits_of(peer, inputs)

    def opened_by_graft():
        actual = options.graft.forward(theirs, inputs, work)
        check_logits(report, f"{label}, peer's in graft", name, actual, expected, base, inputs, peer)

    def opened_by_peer():
        options.graft.run("quantize", "--model", base, "--format", *spelled, "--output", ours)
        actual = options.graft.forward(ours, inputs, work)
        model = open_quantized(ours)
        wanted = logits_of(model, inputs)
        check_logits(report, f"{label}, graft's in transformers", name, actual, wanted, base, inputs, model)
        loaded = options.graft.forward(base, inputs, work, more=["--quantize", *spelled])
        report.within(f"{label}, --quantize as the directory", relative(loaded["logits"], actual["logits"]), 1e-6)

    report.case(f"{label}, peer's in graft", opened_by_graft)
    if report.case(f"{label}, graft's in transformers", lambda: opened_by_peer() or True):
        report.case(f"{label}, files", compare_files, report, label, ours, theirs, base)


# Cases


def one_layer(report, options, name, threshold):
    """The formula of LLM.int8 on one layer: the threshold of the configuration, and of the option."""
    label = f"int8 rows, {name}, threshold {threshold}"
    work = folder(options, label)
    base = save_tiny(name, work / "base", **WIDE, num_hidden_layers=1)
    theirs, ours = work / "theirs", work / "ours"
    quantize(base, "int8", llm_int8_threshold=threshold).save_pretrained(theirs)
    options.graft.run("quantize", "--model", base, "--format", "int8", "--output", ours)
    inputs = sample_inputs(96, length=24)
    for how, files, model, more in [
        ("peer's file", theirs, theirs, []),
        ("--quantize", ours, base, ["--quantize", "int8", "--int8-threshold", threshold]),
    ]:
        actual = options.graft.forward(model, inputs, work, more=more)["logits"]
        found = {}
        for kind in (torch.float32, torch.float16):
            expected = logits_of(with_exact_rows(open_quantized(files), kind, threshold), inputs).logits
            each = (actual - expected).abs().amax(-1) / expected.abs().amax(-1)
            found[str(kind)[6:]] = float(each.median()), float(each.max())
        kind, (typical, most) = min(found.items(), key=lambda item: item[1])
        report.line(typical <= ONE_LAYER and most <= ONE_CODE_OFF, f"{label}, {how}",
                    f"token's median {typical:.1e} (limit {ONE_LAYER:.0e}), most {most:.1e}; inputs as {kind}")


def odd_widths(report, options, name):
    """Rows that blocks run across and a last block that is short, where the peer decodes wrongly."""
    label = f"{name}, 40 columns"
    work = folder(options, label)
    base = save_tiny("llama", work / "base", hidden_size=40, intermediate_size=56, head_dim=10)
    theirs, ours = work / "theirs", work / "ours"
    quantize(base, name).save_pretrained(theirs)
    inputs = sample_inputs(96)
    if name != "int8":
        expected = logits_of(load_decoded(load_model(base), theirs), inputs)
        actual = options.graft.forward(theirs, inputs, work)
        report.within(f"{label}, logits", relative(actual["logits"], expected.logits), LOGITS)
    options.graft.run("quantize", "--model", base, "--format", *FORMATS[name][0], "--output", ours)
    compare_files(report, label, ours, theirs, base)


def block_sizes(report, options, name, size):
    """Sizes that only graft can ask for: codes against the function, logits against transformers."""
    label = f"{name}, blocks of {size}"
    work = folder(options, label)
    base = save_tiny("llama", work / "base", hidden_size=256, intermediate_size=512, head_dim=64)
    ours = work / "ours"
    options.graft.run("quantize", "--model", base, "--format", *FORMATS[name][0], "--block-size", size,
                      "--output", ours)
    tensors, weights = load_file(ours / "model.safetensors"), load_file(base / "model.safetensors")
    wrong = []
    for key in weight_keys(tensors):
        codes, table = function_codes(weights[key], name, size)
        same = torch.equal(table[codes.long()], table[nibbles(tensors[key]).long()])
        wrong += [] if same and quantization_state(tensors, key)[1]["blocksize"] == size else [key]
    report.line(not wrong, f"{label}, codes", f"{wrong[:3]} differ" if wrong else f"{len(weight_keys(tensors))} weights")
    inputs = sample_inputs(96)
    actual, expected = options.graft.forward(ours, inputs, work), logits_of(open_quantized(ours), inputs)
    report.within(f"{label}, logits", relative(actual["logits"], expected.logits), LOGITS)


# Files of the peer that graft opens: name, format, how it was made.
OTHERS = [
    ("packed as bfloat16", "nf4 double", dict(bnb_4bit_quant_storage=torch.bfloat16)),
    ("modules left out", "nf4", dict(llm_int8_skip_modules=["lm_head", "down_proj", "layers.1.self_attn"])),
    # A list of its own takes the place of the default, and with it the head is quantised too.
    ("with the head", "nf4", dict(llm_int8_skip_modules=["down_proj"])),
    ("bfloat16", "nf4 double", dict(dtype=torch.bfloat16)),
]


def opened(report, options, label, name, how):
    """A directory of the peer in graft, which computes in float32, against its file decoded."""
    work = folder(options, label)
    base = save_tiny("llama", work / "base", **WIDE)
    quantize(base, name, **how).save_pretrained(work / "theirs")
    inputs = sample_inputs(96)
    expected = logits_of(load_decoded(load_model(base), work / "theirs"), inputs)
    actual = options.graft.forward(work / "theirs", inputs, work)
    report.within(f"{label}, logits", relative(actual["logits"], expected.logits), LOGITS)


def left_out(report, options, base_name, modules):
    """graft's list of dense layers, whole paths, as transformers reads it."""
    label = f"{base_name} without {modules}"
    work = folder(options, label)
    base, ours = save_tiny(base_name, work / "base", **WIDE), work / "ours"
    options.graft.run("quantize", "--model", base, "--format", "nf4", "--skip-modules", modules, "--output", ours)
    stored = {key.removesuffix(".weight") for key in weight_keys(load_file(ours / "model.safetensors"))}
    model = open_quantized(ours)
    linear = {name: isinstance(module, Linear4bit) for name, module in model.named_modules()
              if isinstance(module, torch.nn.Linear)}
    wrong = [name for name, is_quantized in linear.items() if is_quantized != (name in stored)]
    report.line(not wrong and not all(linear.values()), f"{label}, layers",
                f"{sum(linear.values())} of {len(linear)} quantised, otherwise in transformers: {wrong}")
    inputs = sample_inputs(96)
    actual, expected = options.graft.forward(ours, inputs, work), logits_of(model, inputs)
    report.within(f"{label}, logits", relative(actual["logits"], expected.logits), LOGITS)


def in_bfloat16(report, options, name):
    """A bfloat16 checkpoint stays one: its floats, the type that scales and states name."""
    label = f"{name}, bfloat16 checkpoint"
    work = folder(options, label)
    tiny = save_tiny("llama-biases", work / "float", **WIDE)
    base, ours, theirs = work / "base", work / "ours", work / "theirs"
    load_model(tiny).to(torch.bfloat16).save_pretrained(base)
    quantize(base, name, dtype=torch.bfloat16).save_pretrained(theirs)
    options.graft.run("quantize", "--model", base, "--format", *FORMATS[name][0], "--output", ours)
    compare_files(report, label, ours, theirs, base)


def text_inputs(smollm2, count=2, length=48):
    """Rows of real text, where a model's errors do not grow as they do on random ids."""
    tokenizer = Tokenizer.from_file(str(smollm2 / TOKENIZER_FILES[0]))
    rows = [json.loads(line)["text"] for line in HELD_OUT.read_text().splitlines()[:count]]
    ids = torch.tensor([tokenizer.encode(row, add_special_tokens=False).ids[:length] for row in rows])
    return {"input_ids": ids, "labels": ids.clone()}


def main():
    options = arguments(__doc__)
    report = Report("quantization")
    for name in BASES:
        base = save_tiny(name, options.work / "bases" / name, **WIDE)
        for kind in FORMATS:
            label = f"{kind}, {name}"
            report.case(label, both_ways, report, options, label, base, kind, sample_inputs(96))
    for name in ["llama", "qwen2"]:
        for threshold in [0.0, 1.5, 6.0]:
            report.case(f"int8 rows, {name}, {threshold}", one_layer, report, options, name, threshold)
    for kind in FORMATS:
        report.case(f"{kind}, 40 columns", odd_widths, report, options, kind)
        report.case(f"{kind}, bfloat16 checkpoint", in_bfloat16, report, options, kind)
    for name in ["llama", "llama-tied"]:
        for modules in ["mlp", "layers.1,v_proj", "model.layers.0.self_attn.q_proj,lm_head"]:
            report.case(f"{name} without {modules}", left_out, report, options, name, modules)
    for kind, size in [("nf4", 32), ("nf4 double", 128), ("fp4 double", 256)]:
        report.case(f"{kind}, blocks of {size}", block_sizes, report, options, kind, size)
    for label, kind, how in OTHERS:
        label = f"{kind}, {label}"
        report.case(label, opened, report, options, label, kind, how)
    inputs = text_inputs(options.smollm2)
    for kind in FORMATS:
        label = f"{kind}, SmolLM2"
        report.case(label, both_ways, report, options, label, options.smollm2, kind, inputs)
    report.finish()


if __name__ == "__main__":
    main()
