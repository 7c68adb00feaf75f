#!/usr/bin/env python3
"""Writes Tests/TokenizersTests/Fixtures/components/*.json with the Python package `tokenizers` 0.23.3.

Each file holds a small tokenizer.json, requests as `graft tokenize --requests` takes them, and the peer's
answers: ids, tokens, offsets, words, masks, what was cut off, decoded text. Tolerance: none. Seed: 5.
"""

import io
import json
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "interop"))

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import tokenizer_recipes as recipes
from tokenizer import Maker
from tokenizers_all import configure, make_requests

OUTPUT = Path(__file__).parents[2] / "Tests/TokenizersTests/Fixtures/components"
TEXTS = recipes.SENTENCES + [
    "The quick brown fox jumps over the lazy dog, and the dog doesn't care at all.",
    "def forward(self, x):\n    return self.linear(x) + 1.5", "word wordy [lr] x [lr] normal ÉTÉ été",
]


def letters():
    return sorted(set("".join(TEXTS)) - set("qzйש"))


def word_piece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=400, show_progress=False, limit_alphabet=70,
                                        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def charsmap():
    """A small map: some keys of several characters, one that goes, one that grows."""
    import sentencepiece
    rules = [("FF21", "41"), ("FB01", "66 69"), ("65 301", "E9"), ("41 30A", "C5"), ("200B", ""), ("9", "20"),
             ("BD", "31 2044 32"), ("30AB 3099", "30AC"), ("FF76", "30AB"), ("2581", "20"), ("D A", "20")]
    model = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        file.write("".join(f"{key}\t{value}\n" for key, value in rules))
        file.flush()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXTS * 3), model_writer=model, minloglevel=2, vocab_size=400,
            normalization_rule_tsv=file.name, hard_vocab_limit=False, num_threads=1)
    return recipes.parsed(model.getvalue()).normalizer_spec.precompiled_charsmap


def unigram(byte_fallback=False):
    source = random.Random(3)
    tokens = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    tokens += [(letter, -4 - source.randint(0, 20) / 8) for letter in letters() + ["▁"]]
    words = sorted({word for text in TEXTS for word in text.split() if len(word) > 1})
    tokens += [("▁" + word, -6 - source.randint(0, 9) / 8) for word in words[:60]]
    tokens += [(word[:3], -5.0) for word in words[60:] if len(word) > 3]
    if byte_fallback:
        tokens += [(f"<0x{byte:02X}>", -9.0) for byte in range(256)]
    tokenizer = Tokenizer(models.Unigram(list(dict(tokens).items()), 0, byte_fallback))
    steps = [normalizers.Precompiled(charsmap()), normalizers.Replace(Regex(" {2,}"), " ")]
    tokenizer.normalizer = normalizers.Sequence(steps)
    scheme = "first" if byte_fallback else "always"
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=not byte_fallback)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=scheme)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B:1 </s>:1", special_tokens=[("</s>", 2)])
    return tokenizer


def word_level(normalizer, pre, decoder=None, post=None):
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre
    trainer = trainers.WordLevelTrainer(vocab_size=250, show_progress=False, special_tokens=["<unk>", "<s>", "</s>"])
    tokenizer.train_from_iterator(TEXTS, trainer)
    if decoder:
        tokenizer.decoder = decoder
    if post:
        tokenizer.post_processor = post
    return tokenizer


def byte_pair(**model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=450, show_progress=False, special_tokens=["<s>", "<pad>", "</s>"],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def tokenizers():
    sequence, words = pre_tokenizers.Sequence, pre_tokenizers.WhitespaceSplit()
    yield "word-piece", word_piece()
    yield "unigram", unigram()
    yield "unigram-bytes", unigram(byte_fallback=True)
    yield "roberta", byte_pair()
    yield "dropout", byte_pair(dropout=1.0)
    yield "scripts", word_level(
        normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]),
        sequence([words, pre_tokenizers.UnicodeScripts(), pre_tokenizers.Digits()]), decoders.CTC("<s>", "e", True))
    yield "lengths", word_level(
        normalizers.Sequence([normalizers.NFC(), normalizers.Nmt(), normalizers.Strip(), normalizers.Prepend("é")]),
        sequence([pre_tokenizers.CharDelimiterSplit("e"), pre_tokenizers.FixedLength(3)]), decoders.BPEDecoder("o"),
        processors.Sequence([processors.ByteLevel(trim_offsets=True), processors.TemplateProcessing(
            single="<s> $A:4 <s>:2", pair="$B:1 <s> $A", special_tokens=[("<s>", 1)])]))
    yield "behaviors", word_level(
        normalizers.Sequence([normalizers.ByteLevel(), normalizers.Replace("Ġ", "")]),
        sequence([pre_tokenizers.Punctuation("merged_with_previous"),
                  pre_tokenizers.Split(Regex("[aeiou]"), "merged_with_next")]))


def main():
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for name, tokenizer in tokenizers():
        tokenizer.add_tokens(recipes.odd_tokens())
        configure(tokenizer, None, None)
        maker = Maker(5, tokenizer)
        maker.library = [text.encode() for text in TEXTS]
        requests, answers = make_requests(tokenizer, maker, 130, random.Random(5))
        pairs = [(r, a) for r, a in zip(requests, answers) if len(json.dumps([r, a])) < 2500 and "error" not in a]
        pairs = pairs[:60] + [pair for pair in pairs if "decode" in pair[0]][:20]
        configure(tokenizer, None, None)
        lines = [json.dumps(part, ensure_ascii=False, separators=(",", ":")) for pair in pairs for part in pair]
        document = json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":"))
        (OUTPUT / f"{name}.jsonl").write_text("\n".join([document] + lines) + "\n")


if __name__ == "__main__":
    main()
