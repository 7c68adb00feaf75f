#!/usr/bin/env python3
"""Writes Tests/TokenizersTests/Fixtures/byte-pair/*.json with the Python package `tokenizers`.

Each file holds a tiny tokenizer.json of one recipe that real models use, trained on the sentences
below, and what `tokenizers` 0.23.3 makes of a list of texts: ids, decoded text, and decoded text
without special tokens. Tolerance: none. Seed: 7, for the random texts.

With --directories DIR it writes a model directory for each recipe instead, for use with
scripts/interop/tokenizer.py --model DIR/<recipe>.
"""

import argparse
import json
import random
from collections import Counter
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

OUTPUT = Path(__file__).parents[2] / "Tests/TokenizersTests/Fixtures/byte-pair"
GPT2 = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
O200K = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
SENTENCES = [
    "The quick brown fox jumps over the lazy dog, and the dog doesn't care at all.",
    "It's 2024 and we've 12345 reasons; they're the ones I'd say you'll like, I'm sure.",
    "def forward(self, x):\n    return self.linear(x) + 1.5  # the linear layer\n",
    "for (int i = 0; i < 10; i++) { printf(\"%d\\n\", i); }\r\n\r\n",
    "你好，世界。今天天气很好，我们去公园。", "こんにちは世界、カタカナも。", "안녕하세요 세계",
    "Grüße aus Köln: café, naïve, e\u0301te\u0301, Ångström.", "Привет, мир! Как дела?",
    "😀 😃 👍🏽 🎉 emoji", "  two  spaces   three\t\ttabs \u00a0 nbsp \u3000 wide",
    "HELLO World HTTPServer camelCase snake_case 3.14159 1,000,000 50%",
] * 3
TEXTS = SENTENCES[:12] + [
    "", " ", "  ", "\n", "a", "\u00e9", "e\u0301", "I'LL 'S ' s it's'ſ", "1234567 ½ Ⅷ ٣٤", "\r\n \n\t x",
    "<s>hi</s>yo", " <s> hi </s> yo", "<s></s>", "[lr]  a  [lr]  [lr]b", "xword word _word word.", "WORD",
    "normal Normal", "\ufffd\u0000\u0001", "unknown: ᚠᛇ \U0001D54F", "\u180e \u200b\u200d\u2028",
    "don't,,, stop!!!\n\n\nnow...", "a" * 60, "the " * 40, "\u2581x\u2581\u2581y", "<0x41><0xE4>中",
]
ADDED = [
    AddedToken("<s>", special=True, normalized=False),
    AddedToken("</s>", special=True, normalized=False),
    AddedToken("[lr]", lstrip=True, rstrip=True, normalized=False),
    AddedToken("word", single_word=True, normalized=False),
    AddedToken("Normal", normalized=True),
    AddedToken("<|new token|>", special=True, normalized=False, rstrip=True),
]
BOS = dict(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])


def with_few_characters(limit):
    """The sentences without their rarest characters; the trainer's own limit breaks ties at random."""
    counts = Counter("".join(SENTENCES))
    kept = sorted(counts, key=lambda c: (-counts[c], c))[:limit]
    return ["".join(c for c in sentence if c in kept) for sentence in SENTENCES]


def recipe(normalizer=None, pre=None, decoder=None, post=None, size=400, model=None, characters=None,
           train=True, **training):
    tokenizer = Tokenizer(models.BPE(**(model or {})))
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre:
        tokenizer.pre_tokenizer = pre
    if decoder:
        tokenizer.decoder = decoder
    if (model or {}).get("unk_token"):
        training.setdefault("special_tokens", [model["unk_token"]])
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False, **training)
    if train:
        tokenizer.train_from_iterator(with_few_characters(characters), trainer)
    if post:
        tokenizer.post_processor = post
    tokenizer.add_tokens(ADDED)
    return tokenizer


def affix_model():
    """A model with a prefix and a suffix, made by hand: training one is not reproducible."""
    words = sorted({word for sentence in SENTENCES for word in sentence.split() if word.isalpha()})[:60]
    pieces = {}
    for word in words:
        pieces[word] = [("##" if i else "") + c + ("</w>" if i == len(word) - 1 else "")
                        for i, c in enumerate(word)]
    vocabulary, merges = ["<unk>"], []
    letters = sorted(set("".join(words)) - set("zq"))
    vocabulary += [a + c + b for c in letters for a in ("", "##") for b in ("", "</w>")]
    for parts in pieces.values():
        left = parts[0]
        for right in parts[1:]:
            joined = left + right[2:]
            if left in vocabulary and right in vocabulary and (left, right) not in merges:
                merges.append((left, right))
                if joined not in vocabulary:
                    vocabulary.append(joined)
            left = joined
    return dict(vocab={token: i for i, token in enumerate(vocabulary)}, merges=merges, unk_token="<unk>",
                continuing_subword_prefix="##", end_of_word_suffix="</w>")


def byte_level(pre, **rest):
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return recipe(pre=pre, decoder=decoders.ByteLevel(), initial_alphabet=alphabet, **rest)


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def raw_bytes():
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def byte_tokens():
    return [f"<0x{byte:02X}>" for byte in range(256)]


def recipes():
    sequence = pre_tokenizers.Sequence
    yield "gpt2", byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))
    yield "gpt2-prefix-space", byte_level(
        pre_tokenizers.ByteLevel(add_prefix_space=True), post=processors.RobertaProcessing(("</s>", 2), ("<s>", 1)))
    yield "smollm2", byte_level(sequence([
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]))
    yield "llama3", byte_level(
        sequence([split(LLAMA3), raw_bytes()]), model=dict(ignore_merges=True),
        post=processors.Sequence([processors.ByteLevel(), processors.TemplateProcessing(**BOS)]))
    yield "qwen2", byte_level(sequence([split(QWEN2), raw_bytes()]), normalizer=normalizers.NFC())
    yield "o200k", byte_level(sequence([split(O200K, "removed", True), raw_bytes()]))
    yield "deepseek", byte_level(sequence([
        split(r"\p{N}{1,3}"), split("[一-龥\u3040-ゟ゠-ヿ]+"),
        split(r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
              r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"), raw_bytes()]),
        normalizer=normalizers.Sequence([]))
    llama2 = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    spm = dict(byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    yield "llama2", recipe(
        normalizer=normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
        decoder=llama2, model=spm, special_tokens=["<unk>", "<s>", "</s>"] + byte_tokens(),
        post=processors.TemplateProcessing(**BOS), size=600, characters=60)
    yield "gemma", recipe(
        normalizer=normalizers.Replace(" ", "▁"), pre=pre_tokenizers.Split(" ", "merged_with_previous"),
        decoder=decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]),
        model=spm, special_tokens=["<unk>"] + byte_tokens()[:200], size=500, characters=80)
    for scheme in ["always", "first", "never"]:
        yield f"metaspace-{scheme}", recipe(
            pre=pre_tokenizers.Metaspace(prepend_scheme=scheme), model=dict(unk_token="<unk>", fuse_unk=scheme == "first"),
            decoder=decoders.Metaspace(prepend_scheme=scheme), size=300, characters=80)
    yield "metaspace-whole", recipe(
        pre=pre_tokenizers.Metaspace(prepend_scheme="first", split=False), size=250, characters=50)
    yield "words", recipe(
        normalizer=normalizers.Sequence([
            normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip(), normalizers.Replace(Regex(r"\s+"), " ")]),
        pre=sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation("contiguous")]),
        model=dict(unk_token="<unk>"), size=300, characters=60,
        decoder=decoders.Sequence([decoders.Fuse(), decoders.Strip("t", 1, 0)]))
    affixes = recipe(
        normalizer=normalizers.NFD(), pre=sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits()]),
        model=affix_model(), train=False)
    yield "affixes", affixes
    for behavior in ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]:
        yield f"split-{behavior.replace('_', '-')}", recipe(
            normalizer=normalizers.NFKD(),
            pre=sequence([split(r"[\s,]|x?", behavior), split(r"\w+", behavior, True)]), size=200, characters=50)


def texts(count, random_count):
    source = random.Random(7)
    pool = TEXTS + [token.content for token in ADDED] + [" ", "\n", "'", "12", "Ö", "o\u0308", "が", "か\u3099", "x,"]
    mixed = ["".join(source.choice(pool)[:40] for _ in range(source.randint(2, 6))) for _ in range(random_count)]
    return TEXTS[:count] + mixed


def fixture(tokenizer):
    cases = []
    for text in texts(len(TEXTS), 24):
        ids = tokenizer.encode(text).ids
        cases.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False),
                      "skipped": tokenizer.decode(ids, skip_special_tokens=True)})
    source = random.Random(7)
    size = tokenizer.get_vocab_size()
    for _ in range(12):
        ids = [source.randrange(size + 2) for _ in range(source.randint(1, 10))]
        cases.append({"ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False),
                      "skipped": tokenizer.decode(ids, skip_special_tokens=True)})
    return {"size": size, "tokenizer": json.loads(tokenizer.to_str()), "cases": cases}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--directories", type=Path)
    options = parser.parse_args()
    for name, tokenizer in recipes():
        if options.directories:
            (options.directories / name).mkdir(parents=True, exist_ok=True)
            tokenizer.save(str(options.directories / name / "tokenizer.json"))
        else:
            OUTPUT.mkdir(parents=True, exist_ok=True)
            text = json.dumps(fixture(tokenizer), ensure_ascii=False, separators=(",", ":"))
            (OUTPUT / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
