#!/usr/bin/env python3
"""Models with heads of tasks against transformers and PEFT: outputs within 1e-4, loss and LoRA gradients relative.

Tiny random checkpoints of every family x task by the peer: as they are, padded on the right and on the left.
"""

import json

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from transformers import (AutoConfig, AutoModel, AutoModelForMaskedLM, AutoModelForQuestionAnswering,
                          AutoModelForSequenceClassification, AutoModelForTokenClassification)

from peers import TINY, SMALL, Report, arguments, largest, relative, worst

OUTPUTS, LOSS, GRADIENTS = 1e-4, 1e-4, 1e-4
VOCABULARY, LENGTH = 96, 13
BERT = dict(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=3,
            num_attention_heads=4, max_position_embeddings=64, pad_token_id=0)
DISTIL = dict(vocab_size=VOCABULARY, dim=32, hidden_dim=48, n_layers=3, n_heads=4,
              max_position_embeddings=64, pad_token_id=0)
MODERN = {**BERT, "num_hidden_layers": 4, "local_attention": 6, "bos_token_id": 1, "eos_token_id": 2,
          "cls_token_id": 1, "sep_token_id": 2}
FAMILIES = {
    "bert": ("bert", BERT),
    "bert-relu": ("bert", {**BERT, "hidden_act": "relu", "layer_norm_eps": 1e-5}),
    "roberta": ("roberta", {**BERT, "pad_token_id": 1, "type_vocab_size": 1, "layer_norm_eps": 1e-5}),
    "xlm-roberta": ("xlm-roberta", {**BERT, "pad_token_id": 1, "type_vocab_size": 1}),
    "distilbert": ("distilbert", DISTIL),
    "modernbert": ("modernbert", MODERN),
    "modernbert-mean": ("modernbert", {**MODERN, "classifier_pooling": "mean", "norm_bias": True, "mlp_bias": True,
                                       "attention_bias": True, "classifier_bias": True}),
    # As the files of the hub spell it.
    "modernbert-v4": ("modernbert", {**MODERN, "rope_parameters": {
        "full_attention": {"rope_type": "default", "rope_theta": 5000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 700.0}}}),
}
DECODERS = ["llama", "qwen3", "gemma2", "gpt2"]
# The class, PEFT's task_type, settings of the configuration, layers that get an adapter (PEFT refuses "all-linear"
# where a head is trained whole under a name that it does not expect).
SOME = r".*(query|value|q_lin|v_lin|Wqkv|lin1|intermediate\.dense|Wi)"
TASKS = {
    "masked-lm": (AutoModelForMaskedLM, None, {}, "all-linear"),
    "sequence-classification": (AutoModelForSequenceClassification, "SEQ_CLS", dict(num_labels=3), SOME),
    "regression": (AutoModelForSequenceClassification, "SEQ_CLS", dict(num_labels=1), SOME),
    "multi-label": (AutoModelForSequenceClassification, "SEQ_CLS", dict(num_labels=4), SOME),
    "token-classification": (AutoModelForTokenClassification, "TOKEN_CLS", dict(num_labels=5), SOME),
    "question-answering": (AutoModelForQuestionAnswering, "QUESTION_ANS", {}, SOME),
    "feature-extraction": (AutoModel, "FEATURE_EXTRACTION", {}, "all-linear"),
}


def save(directory, auto, model_type, settings):
    """A checkpoint whose every parameter matters."""
    torch.manual_seed(sum(directory.name.encode()))
    model = auto.from_config(AutoConfig.for_model(model_type, **settings), dtype=torch.float32)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in key.lower() and "bias" not in key else 0.0,
                              0.3 if parameter.ndim == 1 else 0.2)
    model.save_pretrained(directory)
    if "-v4" in directory.name:
        rewrite_as_v4(directory / "config.json")
    return directory


def rewrite_as_v4(path):
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["global_rope_theta"] = rope["full_attention"]["rope_theta"]
    config["local_rope_theta"] = rope["sliding_attention"]["rope_theta"]
    config.pop("layer_types")
    config["global_attn_every_n_layers"] = 3
    config["torch_dtype"] = config.pop("dtype")
    path.write_text(json.dumps(config))


def labels(task, ids, pad):
    """What is asked of a batch, by the names of both programs."""
    rows, length = ids.shape
    generator = torch.Generator().manual_seed(7)
    if task == "masked-lm":
        chosen = torch.rand(ids.shape, generator=generator) < 0.4
        return {"labels": torch.where(chosen & (ids != pad), ids, -100)}
    if task == "token-classification":
        found = torch.randint(0, 5, ids.shape, generator=generator)
        return {"labels": torch.where(ids != pad, found, -100)}
    if task == "sequence-classification":
        return {"labels": torch.randint(0, 3, (rows,), generator=generator)}
    if task == "regression":
        return {"labels": torch.randn(rows, generator=generator)}
    if task == "multi-label":
        return {"labels": (torch.rand(rows, 4, generator=generator) < 0.5).float()}
    if task == "question-answering":
        # The last row's answer ends behind the row, which asks for nothing.
        return {"start_positions": torch.tensor([5, 6, 7]), "end_positions": torch.tensor([6, 8, length + 3])}
    return {}


def batches(task, pad, token_types):
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(3, VOCABULARY, (3, LENGTH), generator=generator)
    for name in ["unpadded", "right padded", "left padded"]:
        own, mask = ids.clone(), torch.ones_like(ids)
        if name != "unpadded":
            for row, count in [(0, 4), (1, 1)]:
                place = slice(0, count) if name == "left padded" else slice(LENGTH - count, None)
                own[row, place], mask[row, place] = pad, 0
        inputs = {"input_ids": own, "attention_mask": mask}
        if token_types:
            inputs["token_type_ids"] = (torch.arange(LENGTH) > 6).long().expand(3, -1).contiguous()
        yield name, inputs, labels(task, own, pad)


def expected_outputs(task, output, mask):
    if task == "question-answering":
        return {"start_logits": output.start_logits, "end_logits": output.end_logits}
    if task == "feature-extraction":
        states = output.last_hidden_state
        weights = mask.unsqueeze(-1).float()
        found = {"last_hidden_state": states, "embedding.cls": states[:, 0],
                 "embedding.mean": (states * weights).sum(1) / weights.sum(1)}
        pooled = getattr(output, "pooler_output", None)
        return found if pooled is None else {**found, "pooler_output": pooled}
    return {"logits": output.logits}


def compare(report, options, name, task, directory, model, batch, adapter=None):
    label, inputs, asked = batch
    label = f"{name} {task} {label}" + (" adapter" if adapter else "")
    given = {**inputs, **asked}
    model.zero_grad()
    # PEFT 0.21.2 forgets segments and positions on the way to a model for answers: it is asked below that.
    asked_model = model.base_model if adapter is not None and task == "question-answering" else model
    output = asked_model(**given)
    gradients = adapter is not None and bool(asked)
    more = ["--task", task if task in TASKS and task not in ("regression", "multi-label") else "sequence-classification"]
    actual = options.graft.forward(directory, given, options.work / "forward", adapter=adapter,
                                   gradients=gradients, more=more)
    for key, expected in expected_outputs(task, output, inputs["attention_mask"]).items():
        report.within(f"{label} {key}", largest(actual[key], expected.detach()), OUTPUTS)
    if not asked:
        return
    report.within(f"{label} loss", relative(actual["loss"].reshape(()), output.loss.detach()), LOSS)
    if gradients:
        output.loss.backward()
        named = {key: p.grad if p.grad is not None else torch.zeros_like(p)
                 for key, p in model.named_parameters() if p.requires_grad}
        found = get_peft_model_state_dict(model, state_dict={**model.state_dict(), **named})
        trained = {id(grad) for grad in named.values()}
        found = {key: value for key, value in found.items() if id(value) in trained}
        ours = {key.removeprefix("grad."): value for key, value in actual.items() if key.startswith("grad.")}
        # What is added to the scores of all positions alike changes nothing: there is only rounding.
        for key in [key for key in found if key.endswith("qa_outputs.bias")]:
            size = max(float(ours.pop(key).abs().max()), float(found.pop(key).abs().max()))
            report.within(f"{label} gradient of a bias that changes nothing", (size, ""), 1e-6)
        report.within(f"{label} {len(found)} gradients", worst(ours, found), GRADIENTS)


def make_adapter(directory, model, targets, task_type):
    torch.manual_seed(5)
    peft = get_peft_model(model, LoraConfig(r=3, lora_alpha=5, target_modules=targets, task_type=task_type))
    with torch.no_grad():
        for parameter in peft.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape)
    peft.save_pretrained(directory)


def case(report, options, name, model_type, sizes, task):
    auto, task_type, settings, targets = TASKS[task]
    pad = sizes["pad_token_id"]
    directory = save(options.work / f"{name}-{task}", auto, model_type, {**sizes, **settings})

    def peer():
        return auto.from_pretrained(directory, dtype=torch.float32).eval()

    token_types = sizes.get("type_vocab_size", 2) > 1 and model_type == "bert"
    for batch in batches(task, pad, token_types):
        with torch.no_grad():
            compare(report, options, name, task, directory, peer(), batch)
    adapter = options.work / f"{name}-{task}-adapter"
    if model_type in DECODERS:
        targets = "all-linear"
    make_adapter(adapter, peer(), targets, task_type)
    trained = PeftModel.from_pretrained(peer(), adapter, is_trainable=True).eval()
    for batch in list(batches(task, pad, token_types))[1:]:
        compare(report, options, name, task, directory, trained, batch, adapter)


def main():
    options = arguments(__doc__, lambda parser: parser.add_argument("--only", default="", help="part of a case's name"))
    report = Report("encoders")
    for name, (model_type, sizes) in FAMILIES.items():
        for task in TASKS:
            if options.only in f"{name} {task}":
                report.case(f"{name} {task}", case, report, options, name, model_type, sizes, task)
    for name in DECODERS:
        model_type, changes = TINY[name]
        for task in ["sequence-classification", "regression", "multi-label"]:
            if options.only in f"{name} {task}":
                report.case(f"{name} {task}", case, report, options, name, model_type, {**SMALL, **changes}, task)
    report.finish()


if __name__ == "__main__":
    main()
