#!/usr/bin/env python3
"""Tiny checkpoints of every encoder family with transformers' numbers for every task, and PEFT adapters on them.

    .peers/bin/python scripts/goldens/encoders.py

Writes Tests/ModelsTests/EncoderFixtures and Tests/AdaptersTests/EncoderFixtures anew. A checkpoint holds the heads of
all tasks at once, from which each class of transformers takes its own.
"""

import json
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts/interop"))

import peft
import torch
import transformers
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import (AutoConfig, AutoModel, AutoModelForMaskedLM, AutoModelForQuestionAnswering,
                          AutoModelForSequenceClassification, AutoModelForTokenClassification)

import peers  # noqa: F401 (quiet and offline)

SIZES = dict(vocab_size=48, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
             max_position_embeddings=24, pad_token_id=0)
MARKS = dict(bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2)
FAMILIES = {
    "bert": SIZES,
    "roberta": {**SIZES, "pad_token_id": 1, "type_vocab_size": 1},
    "xlm-roberta": {**SIZES, "pad_token_id": 1, "type_vocab_size": 1, "num_hidden_layers": 1},
    "distilbert": dict(vocab_size=48, dim=16, hidden_dim=24, n_layers=2, n_heads=4, max_position_embeddings=24,
                       pad_token_id=0),
    "modernbert": {**SIZES, **MARKS, "num_hidden_layers": 4, "local_attention": 4},
}
# The class with no head first, whose pooler a model with a head does not have.
CLASSES = {"feature-extraction": AutoModel, "masked-lm": AutoModelForMaskedLM,
           "sequence-classification": AutoModelForSequenceClassification,
           "token-classification": AutoModelForTokenClassification,
           "question-answering": AutoModelForQuestionAnswering}
ADAPTERS = {
    "bert-rows": ("bert", "sequence-classification", "SEQ_CLS", "all-linear"),
    "distilbert-rows": ("distilbert", "sequence-classification", "SEQ_CLS", ["q_lin", "lin2"]),
    "roberta-rows": ("roberta", "sequence-classification", "SEQ_CLS", ["query", "value"]),
    "modernbert-tokens": ("modernbert", "token-classification", "TOKEN_CLS", ["Wqkv", "Wo"]),
    "bert-answers": ("bert", "question-answering", "QUESTION_ANS", ["key", "intermediate.dense"]),
    "roberta-tokens-hidden": ("roberta", "masked-lm", None, "all-linear"),
    "llama-rows": ("../Fixtures/llama", "sequence-classification", "SEQ_CLS", ["q_proj", "down_proj"]),
}
TOLERANCE = {"absolute": 1e-5, "reason": "sums of at most 48 products of order 1 in float32, in another order"}


def emptied(directory):
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def manifest(directory):
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    (directory / "manifest.json").write_text(json.dumps(
        {"script": "scripts/goldens/encoders.py", "versions": versions, "tolerance": TOLERANCE,
         "seeds": "weights: sum of the bytes of the family's name; ids 1; adapters 3 and 5"}, indent=2) + "\n")


def inputs(vocabulary, pad, token_types):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, vocabulary, (2, 9), generator=generator)
    own, mask = ids.clone(), torch.ones_like(ids)
    own[0, :3], mask[0, :3] = pad, 0
    found = {"plain": {"input_ids": ids}, "left": {"input_ids": own, "attention_mask": mask}}
    if token_types:
        types = (torch.arange(9) > 4).long().expand(2, -1).contiguous()
        found = {name: {**given, "token_type_ids": types} for name, given in found.items()}
    return found


def asked(task, ids):
    if task in ("masked-lm", "token-classification"):
        labels = ids if task == "masked-lm" else ids % 2
        return {"labels": torch.where(ids % 3 == 0, labels, -100)}
    if task == "sequence-classification":
        return {"labels": torch.tensor([1, 0])}
    if task == "question-answering":
        return {"start_positions": torch.tensor([4, 5]), "end_positions": torch.tensor([6, 40])}
    return {}


def outputs(task, output):
    if task == "feature-extraction":
        return output.last_hidden_state
    if task == "question-answering":
        return torch.stack([output.start_logits, output.end_logits], -1)
    return output.logits


def checkpoint(name, folder):
    config = AutoConfig.for_model(name, **FAMILIES[name])
    torch.manual_seed(sum(name.encode()))
    tensors = {}
    for task, auto in CLASSES.items():
        model = auto.from_config(config, dtype=torch.float32)
        prefix = "" if task != "feature-extraction" else model.base_model_prefix + "."
        for key, value in model.state_dict().items():
            centre = 1.0 if "norm" in key.lower() and "bias" not in key else 0.0
            if prefix + key not in tensors:
                tensors[prefix + key] = centre + (0.3 if value.ndim == 1 else 0.2) * torch.randn(value.shape)
    # Tied: stored once.
    embeddings = next(value for key, value in tensors.items() if "word_embeddings" in key or "tok_embeddings" in key)
    for key, bias in [("cls.predictions.decoder", "cls.predictions.bias"), ("lm_head.decoder", "lm_head.bias"),
                      ("vocab_projector", None), ("decoder", None)]:
        if key + ".weight" in tensors:
            assert tensors.pop(key + ".weight").shape == embeddings.shape
            if bias:
                tensors.pop(key + ".bias", None)
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config.architectures = [CLASSES["masked-lm"].from_config(config).__class__.__name__]
    config.save_pretrained(folder)
    expected = {}
    for task, auto in CLASSES.items():
        model = auto.from_pretrained(folder, dtype=torch.float32).eval()
        for way, given in inputs(48, config.pad_token_id, name == "bert").items():
            expected.update({f"{way}.{key}": value for key, value in given.items()})
            labels = asked(task, given["input_ids"])
            with torch.no_grad():
                output = model(**given, **labels)
            expected[f"{way}.{task}"] = outputs(task, output)
            expected.update({f"{way}.{task}.{key}": value for key, value in labels.items()})
            if labels:
                expected[f"{way}.{task}.loss"] = output.loss
            if getattr(output, "pooler_output", None) is not None:
                expected[f"{way}.pooler"] = output.pooler_output
    save_file({key: value.clone().contiguous() for key, value in expected.items()}, folder / "expected.safetensors")


def adapter(name, root, models):
    base, task, task_type, targets = ADAPTERS[name]
    torch.manual_seed(3)
    model = CLASSES[task].from_pretrained(models / base, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=3, lora_alpha=6, task_type=task_type, target_modules=targets)).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    model.save_pretrained(root / name)
    (root / name / "README.md").unlink(missing_ok=True)
    path = root / name / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": base}, indent=2) + "\n")
    given = inputs(48, model.config.pad_token_id, base == "bert")["left"]
    labels = asked(task, given["input_ids"])
    # PEFT 0.21.2 forgets segments on the way to a model for answers: it is asked below that.
    output = (model.base_model if task == "question-answering" else model)(**given, **labels)
    output.loss.backward()
    named = {key: p.grad for key, p in model.named_parameters() if p.requires_grad}
    own = {id(grad) for grad in named.values()}
    found = get_peft_model_state_dict(model, state_dict={**model.state_dict(), **named})
    saved = set(load_file(root / name / "adapter_model.safetensors"))
    gradients = {f"grad.{key}": value.contiguous() for key, value in found.items() if id(value) in own}
    assert {key.removeprefix("grad.") for key in gradients} <= saved
    save_file({**given, **labels, "outputs": outputs(task, output).detach().contiguous(),
               "loss": output.loss.detach(), **gradients}, root / name / "expected.safetensors")
    text = json.dumps({"task": task})
    (root / name / "task.json").write_text(text + "\n")


def main():
    models = emptied(ROOT / "Tests/ModelsTests/EncoderFixtures")
    for name in FAMILIES:
        checkpoint(name, models / name)
    manifest(models)
    root = emptied(ROOT / "Tests/AdaptersTests/EncoderFixtures")
    for name in ADAPTERS:
        adapter(name, root, models)
    manifest(root)


if __name__ == "__main__":
    main()
