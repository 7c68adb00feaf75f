#!/usr/bin/env python3
"""Writes a Llama of random numbers with another model's tokenizer; without options, four of Llama-3.2-1B's layers.

    llama_shape.py TOKENIZERS_MODEL OUTPUT [--width 2048] [--inner 8192] [--layers 4] [--heads 32] [--key-heads 8]
"""

import argparse
import os
import shutil

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("output")
    for name, default in (("width", 2048), ("inner", 8192), ("layers", 4), ("heads", 32), ("key-heads", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=options.width, intermediate_size=options.inner, num_hidden_layers=options.layers,
        num_attention_heads=options.heads, num_key_value_heads=options.key_heads, head_dim=64, vocab_size=49152,
        tie_word_embeddings=True, rope_theta=500000.0, max_position_embeddings=8192, bos_token_id=1, eos_token_id=2)
    LlamaForCausalLM(config).save_pretrained(options.output)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(os.path.join(options.source, name), options.output)


if __name__ == "__main__":
    main()
