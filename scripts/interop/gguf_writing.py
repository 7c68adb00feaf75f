"""GGUF files for the comparison scripts, written with the `gguf` package."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from tokenizers import (Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

# K-quants cannot be quantised by the package: their blocks are random bytes with small scales.
# Type -> offsets of the half-precision scales in a block, and their size.
RANDOM_BLOCKS = {Type.Q2_K: ([80, 82], 2e-2), Type.Q3_K: ([108], 2e-3), Type.Q4_K: ([0, 2], 2e-4),
                 Type.Q5_K: ([0, 2], 1e-4), Type.Q6_K: ([208], 3e-5)}
TYPES = [Type.F32, Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0,
         *RANDOM_BLOCKS]


def random_blocks(rng, count: int, kind: Type) -> np.ndarray:
    """`count` blocks as bytes, [count, block bytes]."""
    offsets, scale = RANDOM_BLOCKS[kind]
    blocks = rng.integers(0, 256, (count, gguf.GGML_QUANT_SIZES[kind][1]), dtype=np.uint8)
    for offset in offsets:
        scales = (rng.standard_normal(count) * scale).astype(np.float16)
        blocks[:, offset:offset + 2] = scales[:, None].view(np.uint8)
    return blocks


def stored(rng, values: np.ndarray, kind: Type) -> np.ndarray:
    """A matrix in a storage type, as bytes for the writer."""
    if kind in RANDOM_BLOCKS:
        block, size = gguf.GGML_QUANT_SIZES[kind]
        return random_blocks(rng, values.size // block, kind).reshape(values.shape[0], -1)
    return gguf.quants.quantize(values.astype(np.float32), kind)


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """The rows of each head as llama.cpp orders them: halves become neighbours."""
    shape = (heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return weight.reshape(shape).swapaxes(1, 2).reshape(weight.shape)


def llama3_divisors(rope: dict, head_size: int) -> np.ndarray:
    """The tensor `rope_freqs.weight` of Llama 3.1 and later."""
    frequencies = rope["rope_theta"] ** -(np.arange(0, head_size, 2, dtype=np.float32) / head_size)
    low, high, length = (rope[key] for key in ["low_freq_factor", "high_freq_factor",
                                               "original_max_position_embeddings"])
    divisors = []
    for wavelength in 2 * np.pi / frequencies:
        smooth = (length / wavelength - low) / (high - low)
        if wavelength < length / high:
            divisors.append(1.0)
        elif wavelength > length / low:
            divisors.append(rope["factor"])
        else:
            divisors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(divisors, dtype=np.float32)


NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
         "post_attention_layernorm": "ffn_norm"}


def gguf_name(name: str) -> str:
    """The GGUF name of a Hugging Face tensor of Llama or Qwen2."""
    for old, new in {"model.embed_tokens": "token_embd", "model.norm": "output_norm",
                     "lm_head": "output", "model.layers": "blk", **NAMES}.items():
        name = name.replace(old, new)
    return name


def write_model(path: Path, model, kind: Type = Type.F32, tokenizer=None, seed: int = 0):
    """A Hugging Face Llama or Qwen2 as a GGUF file, its matrices in one storage type."""
    config, rng = model.config, np.random.default_rng(seed)
    architecture = config.model_type
    writer = gguf.GGUFWriter(path, architecture)
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(head_size)
    (tokenizer or byte_tokenizer)(writer, config.vocab_size)
    if config.rope_parameters.get("rope_type") == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_divisors(config.rope_parameters, head_size))
    for name, parameter in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = parameter.float().numpy()
        if architecture == "llama" and (".q_proj" in name or ".k_proj" in name):
            values = interleaved(values, heads if ".q_proj" in name else kv_heads)
        if values.ndim == 1 or kind == Type.F32:
            writer.add_tensor(gguf_name(name), np.ascontiguousarray(values, dtype=np.float32))
        else:
            writer.add_tensor(gguf_name(name), stored(rng, values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def byte_tokenizer(writer, size: int):
    """The smallest tokenizer: 256 bytes, one merge, filler up to `size`."""
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "th"]
    known = len(tokens)
    tokens += [f"[PAD{index}]" for index in range(known, size)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * known + [5] * (size - known))
    writer.add_token_merges(["t h"])


# Tokenizers of the original models' structure, trained on little text

TEXT = ["The quick brown fox jumps over the lazy dog.", "Don't you'll we've I'M he'D 'tis",
        "naïve café Ångström 日本語のテキスト Привет мир", "1234567890 3.14159 2024-11-24 v1.2.3",
        "def f(x):\n    return x ** 2  # comment\n\n\n", "tabs\t\tand  double   spaces\r\nCRLF",
        "HTTPServer camelCase SCREAMING_SNAKE", "emoji 😀👍🏽 family 👨‍👩‍👧", "ﬁ ½ Ⅷ e\u0301 \u00a0nbsp",
        "<div class='a'>&amp;</div>", "a" * 40, "....!!!???---==="]
SAMPLES = TEXT + ["", " ", "  leading", "trailing  ", "\n", "x\n\n y", "100000 apples", "\u0000\u0001",
                  "<s>Hi</s> there", "<|end|>Hi<|end|> there", " <mark> in <mark>text"]


def split(digits: str):
    pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + digits
               + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def byte_level(name: str) -> Tokenizer:
    """A byte-level BPE with the pre-tokenizer of the models behind `tokenizer.ggml.pre`."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=name == "llama-bpe"))
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = {
        "gpt-2": plain,
        "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), plain]),
        "llama-bpe": split("{1,3}"), "qwen2": split(""),
    }[name]
    if name == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<s>", "</s>", "<|end|>"], show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.add_tokens(["<mark>"])
    if name == "llama-bpe":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 0)])
    return tokenizer


def sentencepiece() -> Tokenizer:
    """A SentencePiece BPE as Llama 2 has it: prefix space, byte fallback, begin token."""
    alphabet = [f"<0x{byte:02X}>" for byte in range(256)]
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    trained.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")
    trainer = trainers.BpeTrainer(
        vocab_size=480, special_tokens=["<unk>", "<s>", "</s>", *alphabet], show_progress=False,
        limit_alphabet=90)
    trained.train_from_iterator(TEXT, trainer)
    content = json.loads(trained.to_str())
    content["model"].update(byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    content["pre_tokenizer"] = None
    content["added_tokens"] = content["added_tokens"][:3]
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(),
                                           decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
    return tokenizer


def byte_level_writer(name: str, tokenizer: Tokenizer):
    """The function that writes a byte-level tokenizer's metadata."""
    content = json.loads(tokenizer.to_str())

    def write(writer, size: int):
        vocabulary = tokenizer.get_vocab()
        tokens = sorted(vocabulary, key=vocabulary.get)
        kinds = {token["content"]: 3 if token["special"] else 4 for token in content["added_tokens"]}
        filler = [f"[PAD{index}]" for index in range(len(tokens), size)]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(name)
        writer.add_token_list(tokens + filler)
        writer.add_token_types([kinds.get(token, 1) for token in tokens] + [5] * len(filler))
        writer.add_token_merges([" ".join(pair) for pair in content["model"]["merges"]])
        writer.add_bos_token_id(vocabulary["<s>"])
        writer.add_eos_token_id(vocabulary["</s>"])
        writer.add_chat_template("{% for m in messages %}{{ m['content'] }}<|end|>{% endfor %}")
    return write


def sentencepiece_writer(tokenizer: Tokenizer):
    """The function that writes a SentencePiece tokenizer's metadata: scores, no merges."""
    merges = json.loads(tokenizer.to_str())["model"]["merges"]

    def write(writer, size: int):
        vocabulary = tokenizer.get_vocab()
        tokens = sorted(vocabulary, key=vocabulary.get)
        scores = dict.fromkeys(tokens, -1e9)
        for rank, (left, right) in enumerate(merges):
            scores.setdefault(left + right, 0)
            if scores[left + right] == -1e9:
                scores[left + right] = -float(rank)
        kinds = [2, 3, 3] + [6] * 256 + [1] * (len(tokens) - 259)
        filler = size - len(tokens)
        writer.add_tokenizer_model("llama")
        writer.add_token_list(tokens + [f"[PAD{index}]" for index in range(len(tokens), size)])
        writer.add_token_scores([scores[token] for token in tokens] + [0.0] * filler)
        writer.add_token_types(kinds + [5] * filler)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_unk_token_id(0)
    return write
