#!/usr/bin/env python3
"""Virtual tokens beyond single forward passes: greedy text as PEFT's generate gives it, initial texts."""

import json

import torch
from generation import load_tokenizer
from peers import (Report, arguments, completion_rows, disturb, folder, load_model, tiny_with_tokenizer,
                   write_rows)
from peft import (AdaptionPromptConfig, CartridgeConfig, CPTConfig, PrefixTuningConfig, PromptEncoderConfig,
                  PromptTuningConfig, TrainableTokensConfig, get_peft_model)
from adapter_checks import load_adapter
from safetensors.torch import load_file

TOKENS = 24
PROMPTS = ["The capital of France is", "Once upon a time,", "1, 2, 3, 4,", "Water boils at", "To be, or not to be,",
           "def fibonacci(n):\n"]
CAUSAL = dict(task_type="CAUSAL_LM", num_virtual_tokens=6)
CONFIGS = {
    "prompt tuning": lambda: PromptTuningConfig(**CAUSAL),
    "prefix tuning": lambda: PrefixTuningConfig(**CAUSAL),
    "prefix tuning with projection": lambda: PrefixTuningConfig(prefix_projection=True, **CAUSAL),
    "p-tuning": lambda: PromptEncoderConfig(**CAUSAL),
    "p-tuning, lstm": lambda: PromptEncoderConfig(encoder_reparameterization_type="LSTM", **CAUSAL),
    "cartridge": lambda: CartridgeConfig(**CAUSAL),
    "cpt": lambda: CPTConfig(cpt_token_ids=[50, 60, 70, 80], cpt_tokens_type_mask=[1, 2, 3, 4], task_type="CAUSAL_LM"),
    "adaption prompt": lambda: AdaptionPromptConfig(adapter_len=5, adapter_layers=2, task_type="CAUSAL_LM"),
    "trainable tokens": lambda: TrainableTokensConfig(token_indices=[28, 253, 314], task_type="CAUSAL_LM"),
}


def generated(options, report, base, tokenizer, name, config):
    """The adapter is opened as it is in use: from PEFT's directory alone."""
    adapter = folder(options, name)
    torch.manual_seed(3)
    made = get_peft_model(load_model(base), config)
    disturb(made, 0.5)
    made.save_pretrained(adapter)
    model = load_adapter(base, adapter)
    rows = write_rows(options.work / "prompts.jsonl", [{"prompt": text} for text in PROMPTS])
    expected = []
    for text in PROMPTS:
        ids = torch.tensor([tokenizer.encode(text)])
        with torch.no_grad():
            output = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False,
                                    max_new_tokens=TOKENS, eos_token_id=None, pad_token_id=0)
        expected.append(output[0, -TOKENS:].tolist())
    for size in (1, len(PROMPTS)):
        results = options.graft.json("generate", "--model", base, "--adapter", adapter, "--prompts", rows,
                                     "--max-new-tokens", TOKENS, "--batch-size", size)["results"]
        same = sum(row["ids"] == ids for row, ids in zip(results, expected))
        report.line(same == len(PROMPTS), f"{name}, batches of {size}", f"{same} of {len(PROMPTS)} texts the same")
    differ = len({tuple(ids) for ids in expected})
    report.line(differ > 1, f"{name} texts differ", f"{differ} different")


def begun(options, report, base):
    """An initial text becomes the same virtual tokens."""
    for tokens in (3, 9):
        config = PromptTuningConfig(
            task_type="CAUSAL_LM", num_virtual_tokens=tokens, prompt_tuning_init="TEXT", tokenizer_name_or_path=str(base),
            prompt_tuning_init_text="Answer the question in words")
        expected = get_peft_model(load_model(base), config).prompt_encoder["default"].embedding.weight.detach()
        directory = options.work / "configuration"
        config.save_pretrained(directory)
        data = write_rows(options.work / "train.jsonl", completion_rows(4))
        options.graft.run("train", "--model", base, "--data", data, "--output", options.work / f"text-{tokens}",
                          "--adapter-config", directory / "adapter_config.json", "--max-steps", 1,
                          "--learning-rate", 1e-30)
        found = load_file(options.work / f"text-{tokens}" / "adapter_model.safetensors")["prompt_embeddings"]
        report.line(torch.equal(found, expected), f"initial text in {tokens} tokens", str(list(found.shape)))


def continued(options, report, base):
    """A run that goes on from the encoder, killed in spirit after two of four steps, ends as one run."""
    directory = options.work / "encoder-configuration"
    PromptEncoderConfig(encoder_reparameterization_type="LSTM", encoder_dropout=0.1, **CAUSAL).save_pretrained(directory)
    data = write_rows(options.work / "train.jsonl", completion_rows(16))
    common = ["train", "--model", base, "--data", data, "--adapter-config", directory / "adapter_config.json",
              "--batch-size", 2, "--seed", 4, "--save-every", 2, "--learning-rate", 1e-2]
    whole, halves = options.work / "whole", options.work / "halves"
    options.graft.run(*common, "--output", whole, "--max-steps", 4)
    options.graft.run(*common, "--output", halves, "--max-steps", 4)
    # What the second half wrote is taken away.
    for name in ("adapter_model.safetensors", "adapter_config.json", "adapter_encoder.safetensors"):
        (halves / name).unlink()
    for path in sorted((halves / "checkpoints").glob("step-*"))[1:]:
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    options.graft.run("train", "--resume", halves)
    one, other = (load_file(path / "adapter_encoder.safetensors") for path in (whole, halves))
    same = one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    steps = json.loads((halves / "checkpoints").glob("step-*").__next__().joinpath("state.json").read_text())["step"]
    report.line(same, "an encoder's run resumed is the same run", f"{len(one)} tensors, a checkpoint of step {steps}")


def main():
    options = arguments(__doc__)
    report = Report("prompts")
    base = tiny_with_tokenizer(options.work / "base", options.smollm2)
    config = json.loads((base / "config.json").read_text())
    # No end of text, so that every text is as long.
    for name in ("config.json", "generation_config.json"):
        path = base / name
        content = json.loads(path.read_text()) if path.exists() else {}
        content["eos_token_id"] = config["vocab_size"] - 1
        path.write_text(json.dumps(content))
    tokenizer = load_tokenizer(options.smollm2)
    for name, make in CONFIGS.items():
        report.case(name, generated, options, report, base, tokenizer, name, make())
    report.case("initial text", begun, options, report, base)
    report.case("resumed", continued, options, report, base)
    report.finish()


if __name__ == "__main__":
    main()
