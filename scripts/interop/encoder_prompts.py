#!/usr/bin/env python3
"""Virtual tokens on encoders and on models with heads against PEFT: outputs, losses and gradients.

Prompt tuning, prefix tuning and P-tuning with adapters that PEFT saved, for classes of rows and of tokens, answers and
features. What PEFT gives for virtual tokens themselves is left out; its labels are asked behind them.
"""

import torch
from peft import PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (AutoModel, AutoModelForQuestionAnswering, AutoModelForSequenceClassification,
                          AutoModelForTokenClassification)

from encoders import BERT, DISTIL, MODERN, save
from peers import SMALL, TINY, Report, arguments, disturb, largest, relative, worst

OUTPUTS, LOSS, GRADIENTS, COUNT, VOCABULARY, LENGTH = 1e-4, 1e-4, 1e-4, 3, 96, 11
# DistilBERT's configuration has other names: PEFT has to be told the sizes.
SIZES = dict(token_dim=32, num_attention_heads=4, num_layers=3)
FAMILIES = {
    "bert": ("bert", BERT, {}), "roberta": ("roberta", {**BERT, "pad_token_id": 1, "type_vocab_size": 1}, {}),
    "distilbert": ("distilbert", DISTIL, SIZES), "modernbert": ("modernbert", MODERN, {}),
    "modernbert-mean": ("modernbert", {**MODERN, "classifier_pooling": "mean"}, {}),
    "llama": ("llama", {**SMALL, **TINY["llama"][1]}, {}), "gpt2": ("gpt2", {**SMALL, **TINY["gpt2"][1]}, {}),
}
TASKS = {
    "sequence-classification": (AutoModelForSequenceClassification, "SEQ_CLS", dict(num_labels=3)),
    "token-classification": (AutoModelForTokenClassification, "TOKEN_CLS", dict(num_labels=5)),
    "question-answering": (AutoModelForQuestionAnswering, "QUESTION_ANS", {}),
    "feature-extraction": (AutoModel, "FEATURE_EXTRACTION", {}),
}
METHODS = {"prompt": PromptTuningConfig, "prefix": PrefixTuningConfig, "p-tuning": PromptEncoderConfig}
# Their blocks take no keys and values.
WITHOUT_PREFIX = ["distilbert", "modernbert", "modernbert-mean"]


def batches(pad, model_type):
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(3, VOCABULARY, (2, LENGTH), generator=generator)
    for name in ["unpadded", "padded"]:
        own, mask = ids.clone(), torch.ones_like(ids)
        if name == "padded":
            # Behind virtual tokens PEFT reads a decoder's last position, which must not be padding.
            place = slice(0, 3) if model_type in ("llama", "gpt2") else slice(LENGTH - 3, None)
            own[0, place], mask[0, place] = pad, 0
        inputs = {"input_ids": own, "attention_mask": mask}
        if model_type == "bert":
            inputs["token_type_ids"] = (torch.arange(LENGTH) > 6).long().expand(2, -1).contiguous()
        yield name, inputs


def asked(task, mask):
    generator = torch.Generator().manual_seed(7)
    if task == "sequence-classification":
        return {"labels": torch.tensor([2, 0])}
    if task == "token-classification":
        return {"labels": torch.where(mask > 0, torch.randint(0, 5, mask.shape, generator=generator), -100)}
    if task == "question-answering":
        return {"start_positions": torch.tensor([4, 5]), "end_positions": torch.tensor([6, 7])}
    return {}


def peer_results(task, model, inputs, labels, leading):
    """Outputs behind the virtual tokens, and the loss of labels that are asked there."""
    output = model(**inputs)
    if task == "sequence-classification":
        return {"logits": output.logits}, torch.nn.functional.cross_entropy(output.logits, labels["labels"])
    if task == "token-classification":
        logits = output.logits[:, leading:]
        return {"logits": logits}, torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels["labels"].flatten())
    if task == "question-answering":
        parts = [(output.start_logits, labels["start_positions"]), (output.end_logits, labels["end_positions"])]
        loss = sum(torch.nn.functional.cross_entropy(scores, places + leading) for scores, places in parts) / 2
        return {"start_logits": parts[0][0][:, leading:], "end_logits": parts[1][0][:, leading:]}, loss
    return {"last_hidden_state": output.last_hidden_state[:, leading:]}, None


def case(report, options, family, task, method):
    label = f"{family} {task} {method}"
    model_type, sizes, told = FAMILIES[family]
    auto, task_type, settings = TASKS[task]
    directory = save(options.work / label.replace(" ", "-"), auto, model_type, {**sizes, **settings})

    def peer():
        return auto.from_pretrained(directory, dtype=torch.float32).eval()

    adapter = options.work / (label.replace(" ", "-") + "-adapter")
    torch.manual_seed(5)
    made = get_peft_model(peer(), METHODS[method](task_type=task_type, num_virtual_tokens=COUNT, **told)).eval()
    disturb(made, 0.3)
    made.save_pretrained(adapter)
    leading = 0 if method == "prefix" else COUNT
    for name, inputs in batches(sizes["pad_token_id"], model_type):
        labels = asked(task, inputs["attention_mask"])
        made.zero_grad()
        given = dict(inputs)
        if task == "feature-extraction":
            # PEFT takes segments away here.
            given.pop("token_type_ids", None)
        if task == "question-answering":
            given.pop("token_type_ids", None)  # PEFT 0.21.2 forgets them on the way.
        results, loss = peer_results(task, made, given, labels, leading)
        gradients = loss is not None and method != "p-tuning"
        actual = options.graft.forward(directory, {**given, **labels}, options.work / "forward", adapter=adapter,
                                       gradients=gradients, more=["--task", task])
        for key, expected in results.items():
            report.within(f"{label} {name} {key}", largest(actual[key], expected.detach()), OUTPUTS)
        if loss is None:
            continue
        report.within(f"{label} {name} loss", relative(actual["loss"].reshape(()), loss.detach()), LOSS)
        if not gradients:
            continue
        loss.backward()
        named = {key: p.grad for key, p in made.named_parameters() if p.requires_grad and p.grad is not None}
        ours = {key.removeprefix("grad."): value for key, value in actual.items() if key.startswith("grad.")}
        found = {"prompt_embeddings": next(value for key, value in named.items() if "prompt_encoder" in key)}
        for key, value in named.items():
            if "modules_to_save" in key:
                found["base_model." + key.split("base_model.", 1)[1].replace("modules_to_save.default.", "")] = value
        # What is added to the scores of all positions alike changes nothing: there is only rounding.
        for key in [key for key in found if key.endswith("qa_outputs.bias")]:
            size = max(float(ours.pop(key).abs().max()), float(found.pop(key).abs().max()))
            report.within(f"{label} {name} gradient of a bias that changes nothing", (size, ""), 1e-6)
        report.within(f"{label} {name} {len(found)} gradients", worst(ours, found), GRADIENTS)
    saved = load_file(adapter / "adapter_model.safetensors")
    report.line("prompt_embeddings" in saved, f"{label}: keys", str(sorted(saved)))


def refused(report, options, family):
    model_type, sizes, _ = FAMILIES[family]
    directory = save(options.work / f"{family}-refused", AutoModelForTokenClassification, model_type, {**sizes, "num_labels": 2})
    # An adapter of a BERT with as many blocks.
    adapter = options.work / f"bert-for-{family}"
    layers = sizes.get("num_hidden_layers") or sizes["n_layers"]
    base = save(options.work / f"bert-{layers}-refused", AutoModelForTokenClassification, "bert",
                {**BERT, "num_labels": 2, "num_hidden_layers": layers})
    get_peft_model(AutoModelForTokenClassification.from_pretrained(base),
                   PrefixTuningConfig(task_type="TOKEN_CLS", num_virtual_tokens=COUNT)).save_pretrained(adapter)
    save_file({"input_ids": torch.ones(1, 4, dtype=torch.long) * 5}, options.work / "in.safetensors")
    done = options.graft.run("forward", "--model", directory, "--adapter", adapter, "--input", options.work / "in.safetensors",
                             "--output", options.work / "out.safetensors", expect=None)
    report.line(done.returncode == 64 and "keys and values" in done.stderr, f"{family} prefix is refused", done.stderr.strip()[:160])


def main():
    options = arguments(__doc__, lambda parser: parser.add_argument("--only", default="", help="part of a case's name"))
    report = Report("encoder_prompts")
    for family in FAMILIES:
        for task in TASKS:
            for method in METHODS:
                if method == "prefix" and family in WITHOUT_PREFIX:
                    continue
                if options.only in f"{family} {task} {method}":
                    report.case(f"{family} {task} {method}", case, report, options, family, task, method)
    for family in ["distilbert", "modernbert"]:
        if options.only in f"{family} refused":
            report.case(f"{family} refused", refused, report, options, family)
    report.finish()


if __name__ == "__main__":
    main()
