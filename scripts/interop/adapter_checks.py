"""Adapters of any method both ways between PEFT and graft: logits, loss, gradients, merging."""

import json
import re
import shutil
import warnings
from contextlib import chdir

import torch
from peft import PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from peers import completion_rows, disturb, folder, largest, load_model, relative, sample_inputs, worst, write_rows

LOGITS, LOSS, GRADIENTS = 1e-4, 1e-4, 1e-4


def make_adapter(directory, base, scale, config):
    """A PEFT adapter with every trainable tensor random, saved to `directory`."""
    torch.manual_seed(3)
    model = get_peft_model(load_model(base), config)
    disturb(model, scale)
    model.save_pretrained(directory)
    if config.peft_type == "XLORA":
        complete_classifier(model, directory)
    return directory


def complete_classifier(model, directory):
    """Writes the whole classifier: PEFT 0.21.2 takes the number of a layer for the name of an expert and leaves
    it out, always so for the first one, and saves folders of experts that nothing can open."""
    tensors = {key: value for key, value in model.state_dict().items() if "internal_xlora_classifier" in key}
    missing = tensors.keys() - load_file(directory / "adapter_model.safetensors").keys()
    names = model.active_peft_config.adapters
    assert missing and all(key.split(".")[-2] in names for key in missing), f"PEFT leaves out {missing}"
    save_file(tensors, directory / "adapter_model.safetensors")
    for name in names:
        shutil.rmtree(directory / name)


def is_repeated(key, names):
    """Whether a key is a layer's copy of a tensor that graft writes once for the model."""
    return ".model." in key and any(f".{name}" in key for name in names)


def load_adapter(base, adapter, trainable=False, repeated=()):
    """The adapter in PEFT; a warning about missing keys is an error, but for layers' copies."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(load_model(base), adapter, is_trainable=trainable).eval()
    for warning in caught:
        text = str(warning.message)
        if "missing adapter keys" in text:
            keys = re.findall(r"base_model[.\w]+", text)
            assert keys and all(is_repeated(key, repeated) for key in keys), text[:300]
    return model


def unknown_keys(model, adapter, repeated=()):
    """Keys of the file that the model does not have, and the other way round."""
    have, file = get_peft_model_state_dict(model).keys(), load_file(adapter / "adapter_model.safetensors").keys()
    if model.active_peft_config.peft_type == "XLORA":
        have = {key for key in model.state_dict() if "internal_xlora_classifier" in key}
    return sorted(key for key in have ^ file if not is_repeated(key, repeated))


def peer_gradients(model):
    """The gradient of every trainable tensor by its key in the file."""
    # One object for a parameter that layers share, whichever of its names PEFT looks for.
    grads = {p: p.grad if p.grad is not None else torch.zeros_like(p) for p in model.parameters() if p.requires_grad}
    named = {name: grads[p] for name, p in model.named_parameters(remove_duplicate=False) if p in grads}
    config = model.active_peft_config
    if getattr(config, "save_only_topk_weights", False):
        config.save_only_topk_weights = False
    found = get_peft_model_state_dict(model, state_dict={**model.state_dict(), **named})
    left, result = {id(grad) for grad in grads.values()}, {}
    for key, value in found.items():
        # PEFT puts whole numbers (SHiRA's places) in from elsewhere. What layers share is named once.
        if id(value) in left and value.is_floating_point():
            left.remove(id(value))
            result[key] = value
    if config.peft_type == "XLORA":
        # PEFT saves neither the classifier's first layer nor experts.
        result |= {name.replace(".lora_model.model.", ".model."): grad for name, grad in named.items()}
    return result


def peer_results(model, inputs):
    """Logits, loss and gradients."""
    model.zero_grad()
    loss = model(**inputs).loss
    loss.backward()
    with torch.no_grad():
        # A second pass, as `graft forward` makes: some methods draw numbers in each.
        logits = model(**inputs).logits
    return logits, loss.detach(), peer_gradients(model)


class Peer:
    """How PEFT is asked for its numbers; methods that are asked in another way have their own."""

    def trained(self, directory, base, scale, config, repeated=()):
        """The model with an adapter that is saved to `directory`, so that it can be trained."""
        return load_adapter(base, make_adapter(directory, base, scale, config), trainable=True, repeated=repeated)

    def inputs(self, vocabulary, **sizes):
        return sample_inputs(vocabulary, **sizes)

    def logits(self, output, inputs):
        """Those of the caller's own positions."""
        return output.logits

    def results(self, model, inputs):
        """Logits, loss and gradients by the keys of files."""
        return peer_results(model, inputs)


def together(tensors):
    """Tensors of one number as one with their namesakes of the other layers.

    Such a number is a sum over all positions that may nearly cancel, so that its own size says nothing
    about rounding."""
    result, single = {}, {}
    for key, tensor in sorted(tensors.items()):
        if tensor.numel() == 1:
            single.setdefault(".".join(key.split(".")[-2:]), []).append(tensor.reshape(1))
        else:
            result[key] = tensor
    return result | {key: torch.cat(parts) for key, parts in single.items()}


def from_peft(report, options, label, base, config, scale, merges=True, repeated=(), differentiates=True,
              peer=Peer(), more={}):
    """PEFT's adapter in graft: forward, gradients, merge where the method can."""
    work = folder(options, label)
    adapter = work / "adapter"
    model = peer.trained(adapter, base, scale, config, repeated)
    inputs = {**peer.inputs(model.config.vocab_size, length=12), **more}
    logits, loss, gradients = peer.results(model, inputs)
    with torch.no_grad(), model.disable_adapter(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = {key: inputs[key] for key in ("input_ids", "labels")}
        moved, _ = largest(peer.logits(model(**plain), inputs), logits)
    assert moved > 1e-2, f"the adapter hardly acts ({moved:.1e}): the check would prove nothing"
    actual = options.graft.forward(base, inputs, work, adapter, gradients=True)
    found = {key[5:]: value for key, value in actual.items() if key.startswith("grad.")}
    report.within(f"{label} logits", largest(actual["logits"], logits), LOGITS)
    report.within(f"{label} loss", relative(actual["loss"].reshape(()), loss), LOSS)
    if differentiates:
        report.within(f"{label} {len(gradients)} gradients", worst(together(found), together(gradients)), GRADIENTS)
    if merges:
        report.case(f"{label} merge", merged, report, options, label, base, adapter, inputs, logits)
    shutil.rmtree(work)


def merged(report, options, label, base, adapter, inputs, logits):
    """`graft merge`: a directory that transformers loads without missing or extra weights."""
    output = options.work / "merged"
    shutil.rmtree(output, ignore_errors=True)
    options.graft.run("merge", "--model", base, "--adapter", adapter, "--output", output)
    model, loading = AutoModelForCausalLM.from_pretrained(
        output, dtype=torch.float32, output_loading_info=True)
    wrong = {key: value for key, value in loading.items() if value}
    report.line(not wrong, f"{label} merged weights complete", str(wrong or "all keys used"))
    with torch.no_grad():
        report.within(f"{label} merged logits", largest(model.eval()(**inputs).logits, logits), LOGITS)


def from_graft(report, options, label, base, rate, changes, peft_type="LORA", merges=True, repeated=(), peer=Peer(),
               more={}):
    """An adapter trained by graft in PEFT: keys, logits, merge; the config in PEFT's spelling."""
    work = folder(options, label)
    rows = completion_rows(16)
    if "task_ids" in more:
        rows = [{**row, "task_id": index % 2} for index, row in enumerate(rows)]
    data = write_rows(options.work / "train.jsonl", rows)
    adapter = work / "adapter"
    options.graft.run(
        "train", "--model", base, "--data", data, "--output", adapter, "--max-steps", 4,
        "--batch-size", 2, "--learning-rate", rate, "--seed", 4, "--max-length", 128, *changes)
    config = json.loads((adapter / "adapter_config.json").read_text())
    report.line(config.get("peft_type") == peft_type and config.get("inference_mode") is True,
                f"{label} adapter_config.json", f"{len(config)} keys")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        PeftConfig.from_pretrained(adapter)
    # PEFT warns of every adapter whose projections are drawn anew.
    # Said of every file that leaves out what can be found again.
    told = ("Specified to not save", "save_precomputed_indices=False")
    caught = [str(w.message)[:200] for w in caught if not str(w.message).startswith(told)]
    report.line(not caught, f"{label} config keys known", str(caught))
    with chdir(adapter):  # PEFT follows relative paths of a file from there.
        model = load_adapter(base, adapter, repeated=repeated)
    odd = unknown_keys(model, adapter, repeated)
    report.line(not odd, f"{label} no missing or unexpected keys", str(odd[:4]))
    # Without labels: AdaLoRA has a loss in training only.
    inputs = {**peer.inputs(model.config.vocab_size), **more}
    inputs.pop("labels")
    with torch.no_grad():
        # One pass on each side, as sampled methods draw anew in every one.
        logits = peer.logits(model(**inputs), inputs)
        with model.disable_adapter():
            plain = {"input_ids": inputs["input_ids"]}
            moved, _ = largest(peer.logits(model(**plain), inputs), logits)
    report.line(moved > 1e-3, f"{label} training moved the logits", f"{moved:.1e}")
    actual = options.graft.forward(base, inputs, work, adapter)
    report.within(f"{label} logits", largest(actual["logits"], logits), LOGITS)
    if merges:
        report.case(f"{label} merge", merged, report, options, label, base, adapter, inputs, logits)
