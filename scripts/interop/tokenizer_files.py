"""Directories without tokenizer.json for tokenizers_all.py: what AutoTokenizer makes of them, and graft.

Each case writes vocabulary files, tokenizer_config.json and its companions as older repositories have them.
"""

import json

import tokenizer_recipes as recipes

UNCASED = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def added(content, **flags):
    return {"__type": "AddedToken", "content": content, "lstrip": False, "normalized": True, "rstrip": False,
            "single_word": False, **flags}


def plain(content, **flags):
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, **flags}


def word_list(lowercase):
    vocabulary = json.loads(recipes.word_piece(lowercase).to_str())["model"]["vocab"]
    return "".join(token + "\n" for token, _ in sorted(vocabulary.items(), key=lambda item: item[1]))


def byte_pairs(make, *specials):
    """vocab.json and merges.txt of a trained tokenizer; special tokens that it lacks go to the end."""
    model = json.loads(make().to_str())["model"]
    vocabulary = dict(model["vocab"])
    for token in specials:
        vocabulary.setdefault(token, len(vocabulary))
    merges = "".join(" ".join(merge) + "\n" for merge in model["merges"])
    return {"vocab.json": json.dumps(vocabulary, ensure_ascii=False), "merges.txt": "#version: 0.2\n" + merges}


def xlm_model():
    """A model whose first pieces are those of fairseq's: unknown, begin, end."""
    return recipes.sentencepiece_model(model_type="unigram", vocab_size=3000, normalization_rule_name="nmt_nfkc",
                                       user_defined_symbols="<user>")


def t5_model():
    return recipes.sentencepiece_model(
        model_type="unigram", vocab_size=4000, normalization_rule_name="nmt_nfkc", pad_id=0, eos_id=1, unk_id=2,
        bos_id=-1, character_coverage=0.999)


def albert_model():
    return recipes.sentencepiece_model(
        model_type="unigram", vocab_size=3000, normalization_rule_name="nmt_nfkc", pad_id=0, unk_id=1, bos_id=-1,
        eos_id=-1, control_symbols="[CLS],[SEP],[MASK]")


def bpe_model(**options):
    return recipes.sentencepiece_model(
        model_type="bpe", vocab_size=2000, byte_fallback=True, normalization_rule_name="identity",
        remove_extra_whitespaces=False, **options)


def cases():
    """Names, files (JSON values are written as such) and whether the peer itself can be asked."""
    uncased, cased = word_list(True), word_list(False)
    roberta = byte_pairs(recipes.roberta, "<unk>", "<mask>")
    gpt2 = byte_pairs(recipes.gpt2)
    qwen = byte_pairs(recipes.qwen2, "<|endoftext|>")
    yield "bert", {"vocab.txt": uncased, "config.json": {"model_type": "bert"}}
    yield "bert-cased", {"vocab.txt": cased, "tokenizer_config.json": {
        "tokenizer_class": "BertTokenizer", "do_lower_case": False, "tokenize_chinese_chars": False}}
    yield "bert-accents", {"vocab.txt": uncased.replace("\n", "\r\n"), "tokenizer_config.json": {
        "tokenizer_class": "BertTokenizerFast", "strip_accents": False, "do_lower_case": True,
        "mask_token": added("[MASK]", lstrip=True)},
        "special_tokens_map.json": {"sep_token": "[CLS]", "pad_token": plain("[PAD]", normalized=True)}}
    yield "bert-added", {"vocab.txt": uncased, "tokenizer_config.json": {"tokenizer_class": "BertTokenizer"},
                         "special_tokens_map.json": {"additional_special_tokens": ["<extra>", "[MASK]"],
                                                     "cls_token": "<cls>"},
                         "added_tokens.json": {"NEW": 4001, "<extra>": 4000, "word": 4002}}
    yield "bert-decoder", {"vocab.txt": uncased, "config.json": {"model_type": "distilbert"},
                           "tokenizer_config.json": {
        "tokenizer_class": "DistilBertTokenizer", "added_tokens_decoder": {
            "1": plain("[UNK]", special=True), "4": plain("[MASK]", special=True, lstrip=True),
            "4000": plain("Two", special=False, normalized=True), "4001": plain("One", special=False, rstrip=True)}}}
    yield "gpt2", {**gpt2, "config.json": {"model_type": "gpt2"}}
    yield "gpt2-prefix", {**gpt2, "tokenizer_config.json": {
        "tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True, "add_bos_token": True,
        "pad_token": "<pad>"}, "added_tokens.json": {"<pad>": 6000, "a word": 6001}}
    yield "roberta", {**roberta, "config.json": {"model_type": "roberta"}}
    yield "roberta-prefix", {**roberta, "tokenizer_config.json": {
        "tokenizer_class": "RobertaTokenizer", "add_prefix_space": True, "trim_offsets": False,
        "mask_token": added("<mask>", lstrip=True), "bos_token": added("<s>"), "cls_token": added("<s>")},
        "special_tokens_map.json": {"mask_token": plain("<mask>", lstrip=True), "eos_token": "</s>"}}
    yield "qwen2", {**qwen, "config.json": {"model_type": "qwen2"}, "tokenizer_config.json": {
        "tokenizer_class": "Qwen2Tokenizer", "added_tokens_decoder": {
            "6000": plain("<|im_start|>", special=True), "6001": plain("<|im_end|>", special=True)},
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"]}}
    yield "xlm-roberta", {"sentencepiece.bpe.model": xlm_model(), "config.json": {"model_type": "xlm-roberta"}}
    yield "xlm-roberta-mask", {"sentencepiece.bpe.model": xlm_model(), "tokenizer_config.json": {
        "tokenizer_class": "XLMRobertaTokenizer", "mask_token": added("<mask>", lstrip=True)},
        "special_tokens_map.json": {"unk_token": "<unk>", "additional_special_tokens": ["<more>"]}}
    yield "camembert", {"sentencepiece.bpe.model": xlm_model(), "tokenizer_config.json": {
        "tokenizer_class": "CamembertTokenizer"}}
    yield "t5", {"spiece.model": t5_model(), "config.json": {"model_type": "t5"}}
    yield "t5-extra", {"spiece.model": t5_model(), "tokenizer_config.json": {
        "tokenizer_class": "T5Tokenizer", "extra_ids": 3,
        "additional_special_tokens": ["<extra_id_0>", "<extra_id_1>", "<extra_id_2>"]}}
    yield "albert", {"spiece.model": albert_model(), "config.json": {"model_type": "albert"}}
    yield "albert-cased", {"spiece.model": albert_model(), "tokenizer_config.json": {
        "tokenizer_class": "AlbertTokenizer", "do_lower_case": False, "keep_accents": True}}
    flags = {"add_bos_token": True, "add_eos_token": False}
    yield "llama", {"tokenizer.model": bpe_model(), "tokenizer_config.json": {
        "tokenizer_class": "LlamaTokenizer", "legacy": False, **flags}}
    yield "llama-legacy", {"tokenizer.model": bpe_model(user_defined_symbols="<|im_start|>"),
                           "tokenizer_config.json": {
        "tokenizer_class": "LlamaTokenizer", "legacy": True, "pad_token": "<pad>", "add_bos_token": True,
        "add_eos_token": True}}
    yield "gemma", {"tokenizer.model": bpe_model(
        pad_id=0, eos_id=1, bos_id=2, unk_id=3, bos_piece="<bos>", eos_piece="<eos>", add_dummy_prefix=False,
        user_defined_symbols="<mask>,\u2581\u2581,\u2581\u2581\u2581"), "tokenizer_config.json": {
        "tokenizer_class": "GemmaTokenizer", **flags}}


def write(directory, files):
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if isinstance(content, bytes):
            (directory / name).write_bytes(content)
        else:
            text = json.dumps(content, indent=2) if isinstance(content, dict) else content
            (directory / name).write_text(text, encoding="utf-8", newline="")
    return directory


def checks(work):
    """Names, directories and the peer's tokenizer of each."""
    from transformers import AutoTokenizer
    for name, files in cases():
        directory = write(work / f"files-{name}", files)
        # transformers asks for a configuration; graft needs none.
        lone = "config.json" not in files
        if lone:
            (directory / "config.json").write_text("{}")
        peer = AutoTokenizer.from_pretrained(directory)
        if lone:
            (directory / "config.json").unlink()
        yield f"files of {name}", directory, peer
