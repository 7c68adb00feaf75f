#!/usr/bin/env python3
"""`graft export` of models against the `gguf` package and transformers.

Tensors of a GGUF model must be the package's own conversion of the weights, bit by bit, under the
names of its table; where transformers reads the architecture, logits must be the original's.
"""

import json
from pathlib import Path

from peers import LLAMA3_ROPE, Report, arguments, largest, load_model, save_tiny

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from gguf.constants import Keys
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from gguf_writing import SAMPLES, byte_level, interleaved, sentencepiece

WIDE = dict(vocab_size=512, hidden_size=64, intermediate_size=96)
LLAMA3 = {**LLAMA3_ROPE, "factor": 32.0, "rope_theta": 500000.0, "original_max_position_embeddings": 8192}
# Case: tiny checkpoint, changes, architecture in the file, whether transformers reads it.
MODELS = {
    "llama": ("llama", {}, "LLAMA", True),
    "llama-tied": ("llama-tied", {}, "LLAMA", True),
    "llama-biases": ("llama-biases", {}, "LLAMA", False),
    "llama-rope3": ("llama", dict(rope_parameters=LLAMA3, max_position_embeddings=131072), "LLAMA", False),
    "llama-yarn": ("llama-rope-yarn", {}, "LLAMA", False),
    "llama-linear": ("llama-rope-linear", {}, "LLAMA", False),
    "mistral": ("mistral-window", dict(sliding_window=32), "LLAMA", False),
    "qwen2": ("qwen2", {}, "QWEN2", True),
    "qwen2-tied": ("qwen2-tied", {}, "QWEN2", True),
    "qwen3": ("qwen3", dict(head_dim=128), "QWEN3", True),
    "qwen3-narrow": ("qwen3", {}, "QWEN3", False),
    "gemma": ("gemma", {}, "GEMMA", False),
    "gemma2": ("gemma2", dict(query_pre_attn_scalar=12), "GEMMA2", False),
    "gemma3": ("gemma3-linear", dict(query_pre_attn_scalar=8), "GEMMA3", False),
    "phi3": ("phi3", dict(sliding_window=None), "PHI3", True),
    "phi3-window": ("phi3", {}, "PHI3", False),
    "phi3-long": ("phi3-long", dict(hidden_size=32), "PHI3", False),
    "phi4-mini": ("phi4-mini", {}, "PHI3", False),
    "granite": ("granite", {}, "GRANITE", False),
    "olmo2": ("olmo2", {}, "OLMO2", False),
    "smollm3": ("smollm3", {}, "SMOLLM3", False),
    "gpt2": ("gpt2", {}, "GPT2", False),
}
PERMUTED = ["LLAMA", "GRANITE", "SMOLLM3"]
STORAGE = {"f32": Type.F32, "f16": Type.F16, "bf16": Type.BF16, "q8_0": Type.Q8_0}


def checkpoint(options, case: str, tokenizer: Tokenizer | None = None) -> Path:
    """A tiny checkpoint with a tokenizer and a chat template."""
    name, changes, _, _ = MODELS[case]
    directory = save_tiny(name, options.work / case, **{**WIDE, **changes})
    tokenizer = tokenizer or byte_level("smollm")
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>",
        "chat_template": "{% for m in messages %}{{ m['content'] }}<|end|>{% endfor %}"}))
    return directory


def expected_tensors(model, architecture: str) -> dict[str, np.ndarray]:
    """The weights as llama.cpp wants them, by the names of the package's table."""
    config = model.config
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture], config.num_hidden_layers)
    found = {}
    for key, tensor in model.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = tensor.float().numpy()
        if architecture == "GPT2" and key.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            values = values.T
        if architecture in PERMUTED and (".q_proj." in key or ".k_proj." in key):
            values = interleaved(values, config.num_attention_heads if ".q_proj." in key
                                 else config.num_key_value_heads)
        if architecture.startswith("GEMMA") and key.endswith("norm.weight"):
            values = values + np.float32(1)
        found[names.get_name(key, (".weight", ".bias"))] = np.ascontiguousarray(values)
    return found


def stored(name: str, values: np.ndarray, kind: Type) -> tuple[Type, np.ndarray]:
    """The type that a tensor is stored in, and its bytes."""
    if values.ndim == 1 or name.startswith("position_embd"):
        kind = Type.F32
    elif values.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0]:
        kind = Type.F16
    return kind, gguf.quants.quantize(values.astype(np.float32), kind).reshape(-1).view(np.uint8)


def difference(reader: gguf.GGUFReader, expected: dict, kind: Type) -> str:
    tensors = {tensor.name: tensor for tensor in reader.tensors if not tensor.name.startswith("rope_")}
    if tensors.keys() != expected.keys():
        return f"names {sorted(tensors.keys() ^ expected.keys())[:4]}"
    for name, values in expected.items():
        wanted, data = stored(name, values, kind)
        tensor = tensors[name]
        if tensor.tensor_type != wanted or list(tensor.shape) != list(values.shape[::-1]):
            return f"{name}: {tensor.tensor_type.name} {list(tensor.shape)}, not {wanted.name}"
        if not np.array_equal(np.ascontiguousarray(tensor.data).reshape(-1).view(np.uint8), data):
            return f"{name}: other bytes"
    return ""


def field(reader, key: str):
    found = reader.fields.get(key)
    return None if found is None else found.contents()


def expected_metadata(config, architecture: str) -> dict:
    arch = gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH[architecture]]
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    found = {
        Keys.General.ARCHITECTURE: arch, Keys.General.TYPE: "model",
        Keys.LLM.VOCAB_SIZE: config.vocab_size, Keys.LLM.BLOCK_COUNT: config.num_hidden_layers,
        Keys.LLM.EMBEDDING_LENGTH: config.hidden_size, Keys.Attention.HEAD_COUNT: config.num_attention_heads,
        Keys.LLM.CONTEXT_LENGTH: config.max_position_embeddings,
    }
    if architecture == "GPT2":
        found |= {Keys.LLM.FEED_FORWARD_LENGTH: 4 * config.hidden_size,
                  Keys.Attention.LAYERNORM_EPS: np.float32(config.layer_norm_epsilon)}
    else:
        rope = config.rope_parameters
        rope = rope.get("full_attention", rope)
        share = rope.get("partial_rotary_factor", 1.0)
        found |= {
            Keys.LLM.FEED_FORWARD_LENGTH: config.intermediate_size,
            Keys.Attention.HEAD_COUNT_KV: config.num_key_value_heads, Keys.Attention.KEY_LENGTH: head,
            Keys.Attention.VALUE_LENGTH: head, Keys.Rope.DIMENSION_COUNT: int(head * share),
            Keys.Rope.FREQ_BASE: np.float32(rope["rope_theta"]),
            Keys.Attention.LAYERNORM_RMS_EPS: np.float32(config.rms_norm_eps)}
        if rope["rope_type"] in ["linear", "yarn"]:
            found |= {Keys.Rope.SCALING_TYPE: rope["rope_type"], Keys.Rope.SCALING_FACTOR: rope["factor"]}
        if rope["rope_type"] in ["yarn", "longrope"]:
            found[Keys.Rope.SCALING_ORIG_CTX_LEN] = (rope.get("original_max_position_embeddings")
                                                     or config.original_max_position_embeddings)
    window = getattr(config, "sliding_window", None)
    if architecture in ["GEMMA2", "GEMMA3", "PHI3"] and window:
        found[Keys.Attention.SLIDING_WINDOW] = window
    if config.model_type == "mistral" and window:
        found[Keys.LLM.CONTEXT_LENGTH] = window
    if architecture == "GEMMA2":
        found |= {Keys.LLM.ATTN_LOGIT_SOFTCAPPING: config.attn_logit_softcapping,
                  Keys.LLM.FINAL_LOGIT_SOFTCAPPING: config.final_logit_softcapping}
    if architecture == "GRANITE":
        found |= {Keys.Attention.SCALE: np.float32(config.attention_multiplier),
                  Keys.LLM.EMBEDDING_SCALE: np.float32(config.embedding_multiplier),
                  Keys.LLM.RESIDUAL_SCALE: np.float32(config.residual_multiplier),
                  Keys.LLM.LOGIT_SCALE: np.float32(config.logits_scaling)}
    return {key.format(arch=arch): value for key, value in found.items()}


def model_case(report, options, case: str):
    _, _, architecture, is_read = MODELS[case]
    directory = checkpoint(options, case)
    model = load_model(directory)
    expected = expected_tensors(model, architecture)
    for name, kind in STORAGE.items():
        path = options.work / f"{case}-{name}.gguf"
        options.graft.run("export", "--model", directory, "--output", path, "--format", name)
        reader = gguf.GGUFReader(path)
        found = difference(reader, expected, kind)
        report.line(not found, f"{case} {name}", found or f"{len(expected)} tensors equal byte by byte")
    path = options.work / f"{case}-f32.gguf"
    reader = gguf.GGUFReader(path)
    wrong = {key: (field(reader, key), value) for key, value in expected_metadata(model.config, architecture).items()
             if field(reader, key) != value}
    report.line(not wrong, f"{case} metadata", f"{wrong or 'as the configuration says'}")
    ids = torch.arange(3, 30)[None]
    with torch.no_grad():
        logits = model(ids).logits
        if is_read:
            peer = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
            report.within(f"{case} logits by transformers", largest(peer.eval()(ids).logits, logits), 1e-5)
    back = options.work / f"{case}-back"
    options.graft.run("import", path, "--output", back)
    theirs, ours = load_file(directory / "model.safetensors"), load_file(back / "model.safetensors")
    # One more and one less are rounded; a head that the reader needs comes back as a tensor of its own.
    one = architecture.startswith("GEMMA")
    extra = {"lm_head.weight"} if architecture == "OLMO2" and model.config.tie_word_embeddings else set()
    same = theirs.keys() == ours.keys() - extra and all(
        torch.allclose(theirs[key], ours[key], rtol=0, atol=2e-7) if one and key.endswith("norm.weight")
        else torch.equal(theirs[key], ours[key]) for key in theirs)
    report.line(same, f"{case} imported again", "weights equal " + ("but for one more and less" if one else "bit for bit"))
    inputs = {"input_ids": ids}
    first = options.graft.forward(directory, inputs, options.work / "forward")["logits"]
    second = options.graft.forward(back, inputs, options.work / "forward")["logits"]
    if one or case == "mistral":
        report.within(f"{case} logits of what was imported", largest(second, first), 2e-6)
    else:
        report.line(torch.equal(first, second), f"{case} logits of what was imported", str(largest(second, first)))
    with torch.no_grad():
        theirs = load_model(back)(ids).logits
    report.within(f"{case} transformers' logits of what was imported", largest(theirs, logits), 1e-5)


def complete_merges(tokenizer: Tokenizer) -> Tokenizer:
    """The same SentencePiece BPE with every cut of every token as a merge, as converters list them."""
    content = json.loads(tokenizer.to_str())
    vocabulary = content["model"]["vocab"]
    bytes_ = {f"<0x{byte:02X}>" for byte in range(256)} | {"<unk>", "<s>", "</s>"}
    ranks = {}
    for left, right in content["model"]["merges"]:
        ranks.setdefault(left + right, len(ranks))
    merges = []
    for token in sorted(ranks, key=ranks.get):
        cuts = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        cuts = [cut for cut in cuts if all(part in vocabulary and part not in bytes_ for part in cut)]
        merges += sorted(cuts, key=lambda cut: (len(cut[0]), len(cut[1])), reverse=True)
    content["model"]["merges"] = [list(cut) for cut in merges]
    return Tokenizer.from_str(json.dumps(content))


def tokenizer_case(report, options, name: str):
    original = complete_merges(sentencepiece()) if name == "sentencepiece" else byte_level(name)
    directory = checkpoint(options, "llama-tied", original)
    path = options.work / f"tokenizer-{name}.gguf"
    options.graft.run("export", "--model", directory, "--output", path, "--format", "q8_0")
    reader = gguf.GGUFReader(path)
    tokens, vocabulary = field(reader, Keys.Tokenizer.LIST), original.get_vocab()
    wrong = [token for token, id in vocabulary.items() if tokens[id] != token]
    report.line(not wrong and len(tokens) == 512, f"tokenizer {name}: tokens", f"{len(vocabulary)} of {len(tokens)}")
    pre = field(reader, Keys.Tokenizer.PRE)
    report.line(pre == ("default" if name == "sentencepiece" else name), f"tokenizer {name}: pre", f"{pre}")
    ids = [field(reader, key) for key in [Keys.Tokenizer.BOS_ID, Keys.Tokenizer.EOS_ID, Keys.Tokenizer.ADD_BOS]]
    expected = [vocabulary["<s>"], vocabulary["</s>"], name in ["llama-bpe", "sentencepiece"]]
    report.line(ids == expected, f"tokenizer {name}: special ids", f"{ids}")
    template = json.loads((directory / "tokenizer_config.json").read_text())["chat_template"]
    report.line(field(reader, Keys.Tokenizer.CHAT_TEMPLATE) == template, f"tokenizer {name}: template", "equal")
    back = options.work / f"tokenizer-{name}"
    options.graft.run("import", path, "--output", back)
    imported = Tokenizer.from_file(str(back / "tokenizer.json"))
    rng = np.random.default_rng(7)
    alphabet = sorted(set("".join(SAMPLES)))
    texts = SAMPLES + ["".join(rng.choice(alphabet, rng.integers(1, 40))) for _ in range(1000)]
    wrong = [text for text in texts if imported.encode(text).ids != original.encode(text).ids]
    report.line(not wrong, f"tokenizer {name}: ids after export and import", f"{len(wrong)} of {len(texts)} differ {wrong[:1]}")


def real_model(report, options):
    path, back = options.work / "smollm2.gguf", options.work / "smollm2-back"
    options.graft.run("export", "--model", options.smollm2, "--output", path, "--format", "f32")
    options.graft.run("import", path, "--output", back)
    theirs, ours = load_file(options.smollm2 / "model.safetensors"), load_file(back / "model.safetensors")
    same = theirs.keys() == ours.keys() and all(torch.equal(theirs[key].float(), ours[key]) for key in theirs)
    report.line(same, "SmolLM2 exported and imported", f"{len(ours)} tensors equal bit for bit")
    first, second = (Tokenizer.from_file(str(d / "tokenizer.json")) for d in [options.smollm2, back])
    wrong = [text for text in SAMPLES if first.encode(text).ids != second.encode(text).ids]
    report.line(not wrong, "SmolLM2 tokenizer", f"{len(wrong)} of {len(SAMPLES)} differ")
    path.unlink()


def main():
    options = arguments(__doc__)
    report = Report("exports")
    for case in MODELS:
        report.case(case, model_case, report, options, case)
    for name in ["gpt-2", "smollm", "llama-bpe", "qwen2", "sentencepiece"]:
        report.case(name, tokenizer_case, report, options, name)
    report.case("SmolLM2", real_model, report, options)
    report.finish()


if __name__ == "__main__":
    main()
