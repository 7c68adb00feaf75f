#!/usr/bin/env python3
"""`graft forward` against transformers: logits within 1e-4, loss within 1e-5 relative."""

import torch

from peers import (TINY, Report, arguments, folder, largest, load_model, padded, relative, sample_inputs,
                   save_tiny)

LOGITS, LOSS = 1e-4, 1e-5
# Ways to write the same checkpoint: name, options of save_tiny.
WRITTEN = [("v5", {}), ("v5 sharded", {"sharded": True}), ("v4", {"v4": True})]


def compare(report, options, name, directory, model, inputs):
    """Logits (padding positions apart) and loss of one batch."""
    with torch.no_grad():
        expected = model(**inputs)
    actual = options.graft.forward(directory, inputs, options.work / "forward")
    mask = inputs.get("attention_mask")
    report.within(f"{name} logits", largest(actual["logits"], expected.logits, mask), LOGITS)
    if mask is not None and not mask.all():
        value, where = largest(actual["logits"], expected.logits, 1 - mask)
        report.note(f"{name} logits at padding", f"{value:.2e} {where}")
    report.within(f"{name} loss", relative(actual["loss"].reshape(()), expected.loss), LOSS)


def batches(vocabulary, pad):
    """Named inputs: plain, both paddings, left padding with positions that skip it."""
    plain = sample_inputs(vocabulary)
    left = padded(plain, "left", pad=pad)
    positions = (left["attention_mask"].cumsum(-1) - 1).clamp_min(0)
    yield "unpadded", plain
    yield "right padded", padded(plain, "right", pad=pad)
    yield "left padded", left
    yield "left padded, positions", {**left, "position_ids": positions}
    yield "length 40", sample_inputs(vocabulary, batch=1, length=40, seed=2)


def tiny(report, options, name):
    for style, how in WRITTEN:
        label = f"{name} {style}"
        directory = save_tiny(name, folder(options, label), **how)
        if how.get("sharded"):
            assert (directory / "model.safetensors.index.json").exists(), "peer wrote no shards"
        model = load_model(directory)
        for batch, inputs in batches(model.config.vocab_size, pad=0):
            if style == "v5" or batch == "right padded":
                compare(report, options, f"{label} {batch}", directory, model, inputs)


def smollm2(report, options):
    model = load_model(options.smollm2)
    for batch, inputs in batches(model.config.vocab_size, pad=2):
        compare(report, options, f"SmolLM2 {batch}", options.smollm2, model, inputs)


def main():
    options = arguments(__doc__)
    report = Report("models")
    for name in TINY:
        report.case(name, tiny, report, options, name)
    report.case("SmolLM2", smollm2, report, options)
    report.finish()


if __name__ == "__main__":
    main()
