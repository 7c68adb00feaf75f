#!/usr/bin/env python3
"""Small directories without tokenizer.json, and the ids that transformers' AutoTokenizer gives for them.

    scripts/goldens/vocabulary_files.py

Needs transformers 5.23.0, tokenizers 0.23.3 and sentencepiece 0.2.3; trains vocabularies of some hundred tokens and
writes Tests/TokenizersTests/Fixtures/vocabulary-files.json.
"""

import base64
import io
import json
import os
import pathlib
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import sentencepiece
import tokenizers
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer

CORPUS = """The river is deep and the bridge is old. We walked along the river for hours.
An old clock stands in the garden, and nobody winds the clock any more.
Die Straße nach Köln führt über große Brücken; ça va très bien à l'été.
Numbers like 1234 and 56.78 are cut into digits, I'm sure, and they're read so.
The harbour was full of lanterns. Lanterns, violins and clocks were sold there.""".split("\n") * 8
TEXTS = ["The river is old.", "  two  spaces, and a tab\there", "CAFÉ café cafe\u0301 Straße", "中文 the river", "",
         "I'm [MASK] sure <mask> of NEW <extra> words", "unknown ☃ 😀", "<s>clock</s>", "line\nbreak word!"]


def plain(content, **flags):
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, **flags}


def word_list():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(
        vocab_size=160, show_progress=False, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    return "".join(token + "\n" for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]))


def byte_pairs(specials):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=330, show_progress=False, special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    model = json.loads(tokenizer.to_str())["model"]
    merges = "".join(" ".join(merge) + "\n" for merge in model["merges"])
    return {"vocab.json": json.dumps(model["vocab"], ensure_ascii=False), "merges.txt": "#version: 0.2\n" + merges}


def pieces(**options):
    result = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=result, minloglevel=2, num_threads=1, hard_vocab_limit=False,
        normalization_rule_name="identity", **options)
    return result.getvalue()


def cases():
    bert, gpt2 = word_list(), byte_pairs(["<|endoftext|>"])
    roberta = byte_pairs(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    yield "bert", {"vocab.txt": bert, "config.json": {"model_type": "bert"}}
    yield "bert cased", {"vocab.txt": bert, "tokenizer_config.json": {
        "tokenizer_class": "BertTokenizerFast", "do_lower_case": False, "tokenize_chinese_chars": False},
        "special_tokens_map.json": {"cls_token": "<cls>", "mask_token": plain("[MASK]", lstrip=True)},
        "added_tokens.json": {"NEW": 161, "<extra>": 160}}
    yield "bert accents", {"vocab.txt": bert.replace("\n", "\r\n"), "tokenizer_config.json": {
        "tokenizer_class": "DistilBertTokenizer", "strip_accents": False, "added_tokens_decoder": {
            "161": plain("word", single_word=True), "160": plain("<extra>", special=True, rstrip=True)}}}
    yield "gpt2", {**gpt2, "config.json": {"model_type": "gpt2"}}
    yield "gpt2 prefix", {**gpt2, "tokenizer_config.json": {
        "tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True, "add_bos_token": True}}
    yield "roberta", {**roberta, "config.json": {"model_type": "roberta"},
                      "special_tokens_map.json": {"mask_token": plain("<mask>", lstrip=True)}}
    yield "qwen2", {**gpt2, "config.json": {"model_type": "qwen2"}, "tokenizer_config.json": {
        "tokenizer_class": "Qwen2Tokenizer", "additional_special_tokens": ["<extra>"]}}
    yield "xlm-roberta", {"sentencepiece.bpe.model": pieces(model_type="unigram", vocab_size=140),
                          "config.json": {"model_type": "xlm-roberta"}}
    yield "t5", {"spiece.model": pieces(model_type="unigram", vocab_size=140, pad_id=0, eos_id=1, unk_id=2, bos_id=-1),
                 "config.json": {"model_type": "t5"}}
    yield "albert", {"spiece.model": pieces(model_type="unigram", vocab_size=140, pad_id=0, unk_id=1, bos_id=-1, eos_id=-1,
                                            control_symbols="[CLS],[SEP],[MASK]"),
                     "tokenizer_config.json": {"tokenizer_class": "AlbertTokenizer"}}
    bpe = dict(model_type="bpe", vocab_size=380, byte_fallback=True, remove_extra_whitespaces=False)
    yield "llama", {"tokenizer.model": pieces(**bpe), "tokenizer_config.json": {
        "tokenizer_class": "LlamaTokenizer", "legacy": False, "add_bos_token": True}}
    yield "gemma", {"tokenizer.model": pieces(
        pad_id=0, eos_id=1, bos_id=2, unk_id=3, bos_piece="<bos>", eos_piece="<eos>", add_dummy_prefix=False,
        user_defined_symbols="<mask>,\u2581\u2581", **bpe),
        "tokenizer_config.json": {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True}}


def main():
    written = []
    for name, files in cases():
        with tempfile.TemporaryDirectory() as directory:
            for file, content in {"config.json": {}, **files}.items():
                if isinstance(content, dict):
                    content = json.dumps(content)
                content = content if isinstance(content, bytes) else content.encode()
                pathlib.Path(directory, file).write_bytes(content)
            peer = AutoTokenizer.from_pretrained(directory)
        ids = [peer(text)["input_ids"] for text in TEXTS]
        stored = {file: {"base64": base64.b64encode(content).decode()} if isinstance(content, bytes) else content
                  for file, content in files.items()}
        written.append({"name": name, "files": stored, "ids": ids, "pair": peer(TEXTS[0], TEXTS[3])["input_ids"],
                        "special": {key: peer.convert_tokens_to_ids(str(value))
                                    for key, value in peer._special_tokens_map.items() if value is not None}})
    versions = {module.__name__: module.__version__ for module in (transformers, tokenizers, sentencepiece)}
    root = pathlib.Path(__file__).resolve().parents[2] / "Tests/TokenizersTests/Fixtures"
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in written)
    head = json.dumps({"versions": versions, "texts": TEXTS}, ensure_ascii=False)[:-1]
    (root / "vocabulary-files.json").write_text(f'{head}, "cases": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
