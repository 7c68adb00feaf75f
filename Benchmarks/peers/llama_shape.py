#!/usr/bin/env python3
"""Writes a model of random numbers with four of Llama-3.2-1B's layers and another model's tokenizer.

    llama_shape.py TOKENIZERS_MODEL OUTPUT
"""

import os
import shutil
import sys

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def main():
    source, output = sys.argv[1:]
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=2048, intermediate_size=8192, num_hidden_layers=4, num_attention_heads=32, num_key_value_heads=8,
        head_dim=64, vocab_size=49152, tie_word_embeddings=True, rope_theta=500000.0, max_position_embeddings=8192,
        bos_token_id=1, eos_token_id=2)
    LlamaForCausalLM(config).save_pretrained(output)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(os.path.join(source, name), output)


if __name__ == "__main__":
    main()
