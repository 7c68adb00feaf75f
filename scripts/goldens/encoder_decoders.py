#!/usr/bin/env python3
"""Tiny checkpoints of models with encoder and decoder, transformers' numbers for every task, and PEFT adapters.

    .peers/bin/python scripts/goldens/encoder_decoders.py

Writes Tests/ModelsTests/EncoderDecoderFixtures and Tests/AdaptersTests/EncoderDecoderFixtures anew. A checkpoint holds
the heads of all tasks at once, from which each class of transformers takes its own.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT / "scripts/interop"))

import peft
import torch
import transformers
from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import (AutoConfig, AutoModel, AutoModelForQuestionAnswering, AutoModelForSeq2SeqLM,
                          AutoModelForSequenceClassification, AutoModelForTextEncoding, AutoModelForTokenClassification)

import peers  # noqa: F401 (quiet and offline)
from encoders import emptied

T5 = dict(vocab_size=48, d_model=16, d_kv=5, d_ff=24, num_layers=2, num_decoder_layers=1, num_heads=3, num_labels=2,
          relative_attention_num_buckets=8, relative_attention_max_distance=6, decoder_start_token_id=0)
FAMILIES = {
    "t5": ("t5", T5),
    "flan-t5": ("t5", {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "mt5": ("mt5", {**T5, "num_layers": 1}),
    "bart": ("bart", dict(vocab_size=48, d_model=16, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=24,
                          decoder_ffn_dim=20, encoder_attention_heads=4, decoder_attention_heads=2, num_labels=3,
                          max_position_embeddings=24, scale_embedding=True)),
}
OWN_HEAD = ["flan-t5", "mt5"]
# The class for text first: it has the most parts.
CLASSES = {"seq2seq-lm": AutoModelForSeq2SeqLM, "sequence-classification": AutoModelForSequenceClassification,
           "token-classification": AutoModelForTokenClassification,
           "question-answering": AutoModelForQuestionAnswering, "feature-extraction": AutoModelForTextEncoding}
ADAPTERS = {
    "t5-text": ("t5", "seq2seq-lm", "SEQ_2_SEQ_LM", "all-linear", None),
    "flan-t5-text": ("flan-t5", "seq2seq-lm", "SEQ_2_SEQ_LM", ["q", "v", "wi_1", "relative_attention_bias"], None),
    "mt5-text": ("mt5", "seq2seq-lm", "SEQ_2_SEQ_LM", ["embed_tokens", "o"], None),
    "bart-text": ("bart", "seq2seq-lm", "SEQ_2_SEQ_LM", ["q_proj", "fc1", "lm_head"], None),
    "t5-rows": ("t5", "sequence-classification", "SEQ_CLS", ["q", "wo"], ["classification_head"]),
    "bart-answers": ("bart", "question-answering", "QUESTION_ANS", ["v_proj"], None),
}
# Virtual tokens: the fields of their configurations.
PROMPTS = {
    "t5-prompt-text": ("t5", PromptTuningConfig, dict(num_virtual_tokens=3)),
    "bart-prefix-text": ("bart", PrefixTuningConfig, dict(num_virtual_tokens=2, token_dim=16, num_layers=2,
                                                          num_attention_heads=2)),
}
TOLERANCE = {"absolute": 1e-5, "reason": "sums of at most 48 products of order 1 in float32, in another order"}


def manifest(directory):
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    (directory / "manifest.json").write_text(json.dumps(
        {"script": "scripts/goldens/encoder_decoders.py", "versions": versions, "tolerance": TOLERANCE,
         "seeds": "weights: sum of the bytes of the family's name; ids 1, labels 2; adapters 3 and 5"}, indent=2) + "\n")


def tasks(model_type):
    """The classes that there are; BART's features are those of its decoder."""
    for task, auto in CLASSES.items():
        if model_type == "bart" and task == "token-classification":
            continue
        yield task, AutoModel if model_type == "bart" and task == "feature-extraction" else auto


def inputs(config):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 48, (2, 9), generator=generator)
    ids[:, -1] = config.eos_token_id
    own, mask = ids.clone(), torch.ones_like(ids)
    own[0, :3], mask[0, :3] = config.pad_token_id, 0
    return {"plain": {"input_ids": ids}, "left": {"input_ids": own, "attention_mask": mask}}


def asked(task, ids):
    if task == "seq2seq-lm":
        labels = torch.randint(3, 48, (2, 5), generator=torch.Generator().manual_seed(2))
        labels[1, 3:] = -100
        return {"labels": labels}
    if task == "token-classification":
        return {"labels": torch.where(ids % 3 == 0, ids % 2, -100)}
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
    model_type, sizes = FAMILIES[name]
    config = AutoConfig.for_model(model_type, **sizes)
    torch.manual_seed(sum(name.encode()))
    prefix = "model." if model_type == "bart" else ""
    tensors = {}
    for task, auto in tasks(model_type):
        model = auto.from_config(config, dtype=torch.float32)
        for key, value in model.state_dict().items():
            key = key.removeprefix("transformer.").removeprefix("model.")
            isPart = key.split(".")[0] in ("shared", "encoder", "decoder")
            key = prefix + key if isPart else key
            centre = 1.0 if "norm" in key.lower() and "bias" not in key else 0.0
            deviation = 0.3 if value.ndim == 1 or "bias" in key else 0.2
            if key not in tensors and "embed_tokens" not in key:
                tensors[key] = centre + deviation * torch.randn(value.shape)
    if name not in OWN_HEAD:
        tensors.pop("lm_head.weight")
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = AutoConfig.for_model(model_type, **sizes)
    config.architectures = [AutoModelForSeq2SeqLM.from_config(config).__class__.__name__]
    config.save_pretrained(folder)
    expected = {}
    for task, auto in tasks(model_type):
        model = auto.from_pretrained(folder, dtype=torch.float32).eval()
        for way, given in inputs(config).items():
            expected.update({f"{way}.{key}": value for key, value in given.items()})
            labels = asked(task, given["input_ids"])
            with torch.no_grad():
                output = model(**given, **labels)
            expected[f"{way}.{task}"] = outputs(task, output)
            expected.update({f"{way}.{task}.{key}": value for key, value in labels.items()})
            if labels:
                expected[f"{way}.{task}.loss"] = output.loss
    save_file({key: value.clone().contiguous() for key, value in expected.items()}, folder / "expected.safetensors")


def adapter(name, root, models):
    if name in PROMPTS:
        (base, config, fields), task = PROMPTS[name], "seq2seq-lm"
        config = config(task_type="SEQ_2_SEQ_LM", **fields)
    else:
        base, task, task_type, targets, saved = ADAPTERS[name]
        config = LoraConfig(r=3, lora_alpha=6, task_type=task_type, target_modules=targets, modules_to_save=saved)
    torch.manual_seed(3)
    model = CLASSES[task].from_pretrained(models / base, dtype=torch.float32)
    model = get_peft_model(model, config).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    model.save_pretrained(root / name)
    (root / name / "README.md").unlink(missing_ok=True)
    path = root / name / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": base}, indent=2) + "\n")
    given = inputs(model.config)["left"]
    labels = asked(task, given["input_ids"])
    # PEFT 0.21.2 forgets the decoder on the way to models for answers: it is asked below that.
    output = (model.base_model if task == "question-answering" else model)(**given, **labels)
    output.loss.backward()
    named = {key: p.grad for key, p in model.named_parameters() if p.requires_grad}
    own = {id(grad) for grad in named.values()}
    found = get_peft_model_state_dict(model, state_dict={**model.state_dict(), **named})
    gradients = {f"grad.{key}": value.contiguous() for key, value in found.items() if id(value) in own}
    if name in PROMPTS:
        gradients = {"grad.prompt_embeddings": model.prompt_encoder["default"].embedding.weight.grad}
    save_file({**given, **labels, "outputs": outputs(task, output).detach().contiguous(),
               "loss": output.loss.detach(), **gradients}, root / name / "expected.safetensors")
    (root / name / "task.json").write_text(json.dumps({"task": task}) + "\n")


def main():
    models = emptied(ROOT / "Tests/ModelsTests/EncoderDecoderFixtures")
    for name in FAMILIES:
        checkpoint(name, models / name)
    manifest(models)
    root = emptied(ROOT / "Tests/AdaptersTests/EncoderDecoderFixtures")
    for name in [*ADAPTERS, *PROMPTS]:
        adapter(name, root, models)
    manifest(root)


if __name__ == "__main__":
    main()
