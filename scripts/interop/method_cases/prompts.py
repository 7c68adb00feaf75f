"""Virtual tokens of every kind, adaption prompts, trainable tokens."""

import torch
from adapter_checks import Peer
from peers import disturb, load_model, padded, sample_inputs
from peft import (AdaptionPromptConfig, CartridgeConfig, CPTConfig, LoraConfig, MultitaskPromptTuningConfig,
                  PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, TrainableTokensConfig, get_peft_model)
from safetensors.torch import save_file

CAUSAL = dict(task_type="CAUSAL_LM")


class PromptPeer(Peer):
    """PEFT loads virtual tokens for inference only, and returns scores of theirs too."""

    def __init__(self, table="embedding.weight", encoder=False):
        self.table, self.encoder = table, encoder

    def trained(self, directory, base, scale, config, repeated=()):
        torch.manual_seed(3)
        model = get_peft_model(load_model(base), config).eval()
        disturb(model, scale)
        model.save_pretrained(directory)
        if self.encoder:
            # What PEFT leaves out, under its own names.
            state = {key: value.contiguous() for key, value in model.prompt_encoder["default"].state_dict().items()}
            save_file(state, directory / "adapter_encoder.safetensors")
        return model

    def logits(self, output, inputs):
        return output.logits[:, -inputs["input_ids"].shape[1]:]

    def key(self, name):
        if name.startswith("prompt_encoder.default."):
            inner = name.removeprefix("prompt_encoder.default.")
            return "prompt_embeddings" if inner == self.table else inner
        return name.replace(".modules_to_save.default", "")

    def results(self, model, inputs):
        model.zero_grad()
        output = model(**inputs)
        output.loss.backward()
        gradients = {self.key(name): p.grad if p.grad is not None else torch.zeros_like(p)
                     for name, p in model.named_parameters() if p.requires_grad}
        return self.logits(output, inputs).detach(), output.loss.detach(), gradients


class TaskPeer(PromptPeer):
    """Rows of different tasks."""

    def __init__(self, tasks):
        super().__init__()
        self.tasks = tasks

    def inputs(self, vocabulary, **sizes):
        inputs = sample_inputs(vocabulary, **sizes)
        return inputs | {"task_ids": torch.arange(len(inputs["input_ids"])) % self.tasks}


class PositionPeer(PromptPeer):
    """Positions of the caller, which PEFT takes beside keys and values."""

    def inputs(self, vocabulary, **sizes):
        inputs = sample_inputs(vocabulary, **sizes)
        positions = torch.arange(inputs["input_ids"].shape[1]) + torch.tensor([[3], [0]])
        return inputs | {"position_ids": positions}


class PaddedPeer(PromptPeer):
    """Padding on the left, behind the virtual tokens."""

    def inputs(self, vocabulary, **sizes):
        return padded(sample_inputs(vocabulary, **sizes), "left")


def prompt(config, peer=None, bases=("llama", "qwen2"), **more):
    return dict(config=config, merges=False, peer=peer or PromptPeer(), bases=list(bases), **more)


CPT_IDS, CPT_TYPES = [5, 6, 7, 8, 9, 10, 11, 12, 13], [1, 2, 3, 4, 5, 6, 7, 8, 8]
LORA = dict(r=4, target_modules=["q_proj", "up_proj"], **CAUSAL)

CASES = {
    "prompt tuning": prompt(lambda: PromptTuningConfig(num_virtual_tokens=5, **CAUSAL),
                            bases=["llama", "qwen2", "mistral-window", "qwen3-tied"]),
    "prompt tuning, vocabulary": prompt(
        lambda: PromptTuningConfig(num_virtual_tokens=3, prompt_tuning_init="SAMPLE_VOCAB", **CAUSAL)),
    "prompt tuning, text": prompt(
        lambda: PromptTuningConfig(num_virtual_tokens=5, prompt_tuning_init="TEXT", tokenizer_name_or_path="-",
                                   prompt_tuning_init_text="Answer the question", **CAUSAL), bases=[]),
    "prompt tuning, modules to save": prompt(
        lambda: PromptTuningConfig(num_virtual_tokens=3, modules_to_save=["lm_head"], **CAUSAL)),
    "prefix tuning": prompt(lambda: PrefixTuningConfig(num_virtual_tokens=5, **CAUSAL),
                            bases=["llama", "qwen2", "mistral-window", "qwen3"]),
    "prefix tuning, positions": prompt(
        lambda: PrefixTuningConfig(num_virtual_tokens=5, **CAUSAL), PositionPeer()),
    "prefix tuning, zero": prompt(
        lambda: PrefixTuningConfig(num_virtual_tokens=4, init_weights="zero", **CAUSAL)),
    "prefix tuning, projection": prompt(
        lambda: PrefixTuningConfig(num_virtual_tokens=4, prefix_projection=True, encoder_hidden_size=24, **CAUSAL),
        PromptPeer(table=None, encoder=True)),
    "p-tuning": prompt(lambda: PromptEncoderConfig(num_virtual_tokens=5, encoder_hidden_size=20, **CAUSAL),
                       PromptPeer(table=None, encoder=True)),
    "p-tuning, lstm": prompt(
        lambda: PromptEncoderConfig(num_virtual_tokens=5, encoder_reparameterization_type="LSTM", **CAUSAL),
        PromptPeer(table=None, encoder=True)),
    "p-tuning, lstm of three layers": prompt(
        lambda: PromptEncoderConfig(num_virtual_tokens=5, encoder_reparameterization_type="LSTM",
                                    encoder_hidden_size=12, encoder_num_layers=3, encoder_dropout=0.2, **CAUSAL),
        PromptPeer(table=None, encoder=True)),
    "multitask prompt tuning": prompt(
        lambda: MultitaskPromptTuningConfig(num_virtual_tokens=4, num_tasks=1, num_ranks=2, **CAUSAL), TaskPeer(1)),
    "multitask prompt tuning, tasks": prompt(
        lambda: MultitaskPromptTuningConfig(num_virtual_tokens=4, num_tasks=3, num_ranks=2, **CAUSAL), TaskPeer(3),
        trains=False),
    "cpt": prompt(lambda: CPTConfig(cpt_token_ids=CPT_IDS, cpt_tokens_type_mask=CPT_TYPES, **CAUSAL),
                  PromptPeer(table=None, encoder=True)),
    "cpt, decay": prompt(
        lambda: CPTConfig(cpt_token_ids=CPT_IDS, cpt_tokens_type_mask=CPT_TYPES, opt_weighted_loss_type="decay",
                          opt_loss_decay_factor=0.6, opt_projection_epsilon=3.0, **CAUSAL),
        PromptPeer(table=None, encoder=True)),
    "cartridge": prompt(lambda: CartridgeConfig(num_virtual_tokens=5, num_frozen_tokens=2, **CAUSAL),
                        PromptPeer(table=None)),
    "prompt tuning, padding": prompt(lambda: PromptTuningConfig(num_virtual_tokens=5, **CAUSAL), PaddedPeer()),
    "prefix tuning, padding": prompt(lambda: PrefixTuningConfig(num_virtual_tokens=5, **CAUSAL), PaddedPeer()),
    "adaption prompt": dict(config=lambda: AdaptionPromptConfig(adapter_len=5, adapter_layers=2, **CAUSAL),
                            bases=["llama", "mistral-window"], merges=False, scale=0.5),
    "trainable tokens": dict(config=lambda: TrainableTokensConfig(token_indices=[3, 17, 60, 95], **CAUSAL),
                             bases=["llama", "llama-tied", "qwen2"]),
    "lora with tokens": dict(config=lambda: LoraConfig(trainable_token_indices=[3, 17, 60], **LORA),
                             bases=["llama", "llama-tied", "qwen2-tied"]),
    "lora with tokens of both tables": dict(
        config=lambda: LoraConfig(trainable_token_indices={"embed_tokens": [3, 17], "lm_head": [60, 5]}, **LORA),
        bases=["llama"], trains=False),
}
