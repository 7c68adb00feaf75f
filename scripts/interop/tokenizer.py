#!/usr/bin/env python3
"""Compares `graft tokenize` with Hugging Face's `tokenizers`, id by id and text by text.

    tokenizer.py --graft .build/release/graft --model DIR [--lines 60000] [--seed 1]

DIR holds tokenizer.json. The lines are made here, the same ones for the same seed and Python:
English and code (the standard library's sources), Chinese, emoji, combining marks, odd white space,
bytes that are no UTF-8, and every added token inside text. Exit code 0 means no difference.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import sysconfig
import tempfile

from tokenizers import Tokenizer

SPACES = (
    " \t\r\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006"
    "\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
)
MARKS = "\u0300\u0301\u0302\u0303\u0308\u030a\u0327\u0323\u0345\u0483\u05b0\u064b\u0670\u093e\u094d"
MARKS += "\u0e31\u0e34\u3099\u309a\u20dd\u20e3\ufe0f\ufe20\U0001e8d0\U0001d165"
EMOJI = "😀😃🤖👍👎🎉🔥❤✨🚀🇩🇪🇯🇵👨👩👧👦🏽🏿🧑🎨🪄🫠☺️⌚️1️⃣🏳️‍🌈👩‍💻"
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'LL", "'ſ", "’s", "'x", "''", "'"]
DIGITS = "0123456789٠١٢٣४५６７½¼²³①⑩Ⅷⅳ一〇௰𝟘𝟙"
SCRIPTS = [
    (0x00C0, 0x024F), (0x0370, 0x03FF), (0x0400, 0x052F), (0x0590, 0x05F4), (0x0620, 0x06D3),
    (0x0900, 0x097F), (0x0E01, 0x0E5B), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1E00, 0x1FFE),
    (0x2000, 0x206F), (0x2070, 0x218F), (0x2190, 0x2BFF), (0x3041, 0x30FF), (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFB00, 0xFB4F), (0xFE00, 0xFEFF), (0xFF01, 0xFFEF),
    (0x10000, 0x103FF), (0x1D400, 0x1D7FF), (0x1F000, 0x1FAFF), (0x20000, 0x2A6DF),
    (0xE000, 0xF8FF), (0x0, 0x10FFFF),
]


def standard_library_lines():
    """Lines of English and code: docstrings, comments and statements of Python's own sources."""
    root = pathlib.Path(sysconfig.get_paths()["stdlib"])
    lines = []
    for path in sorted(root.glob("*.py")) + sorted(root.glob("email/*.py")):
        lines += path.read_bytes().split(b"\n")
    return lines


class Maker:
    def __init__(self, seed, tokenizer):
        self.random = random.Random(seed)
        vocabulary = tokenizer.get_vocab()
        self.words = [tokenizer.decode([i]) for i in sorted(set(vocabulary.values()))]
        self.words = [w for w in self.words if w and "\n" not in w]
        self.han = [w for w in self.words if any("\u4e00" <= c <= "\u9fff" for c in w)]
        document = json.loads(tokenizer.to_str())
        self.added = [t["content"] for t in document["added_tokens"]]
        self.added = [t for t in self.added if "\n" not in t]
        self.library = standard_library_lines()

    def pick(self, items, low=1, high=8):
        return "".join(self.random.choice(items) for _ in range(self.random.randint(low, high)))

    def scalar(self):
        low, high = self.random.choice(SCRIPTS)
        while True:
            value = self.random.randint(low, high)
            if value != 10 and not 0xD800 <= value <= 0xDFFF:
                return chr(value)

    def text(self):
        kind = self.random.randrange(12)
        if kind == 0:
            return self.pick(self.words, 1, 12)
        if kind == 1:
            return " ".join(self.random.choice(self.words) for _ in range(self.random.randint(1, 9)))
        if kind == 2:
            han = self.pick(self.han, 1, 6) if self.han else ""
            return han + "".join(chr(self.random.randint(0x4E00, 0x9FFF)) for _ in range(4))
        if kind == 3:
            return self.pick(EMOJI, 1, 10)
        if kind == 4:
            base = self.pick("aeiouncAEIOUעبकกかは가e", 1, 5)
            return "".join(c + self.pick(MARKS, 0, 3) for c in base)
        if kind == 5:
            return self.pick(SPACES, 1, 6)
        if kind == 6:
            return self.pick(DIGITS, 1, 9)
        if kind == 7:
            return self.pick(["I", "we", "it", "X", "1", " ", "中"], 1, 2) + self.pick(CONTRACTIONS, 1, 2)
        if kind == 8:
            return "".join(self.scalar() for _ in range(self.random.randint(1, 10)))
        if kind == 9:
            return self.pick("{}[]()<>=+-*/%&|^~!?.,:;_#@$\\\"'`", 1, 8)
        if kind == 10:
            return self.pick("abcXYZ019 _\t", 1, 20)
        return self.added_token()

    def added_token(self):
        if not self.added:
            return ""
        token = self.random.choice(self.added)
        cut = self.random.randrange(6)
        if cut == 0:  # almost a token
            token = token[: self.random.randint(0, len(token))]
        if cut == 1:
            token = token.upper()
        return self.pick(["", " ", "  ", "a", "_", ".", "\t", "\u3000"], 0, 2) + token

    def broken(self):
        line = bytearray(self.line().encode())
        for _ in range(self.random.randint(1, 4)):
            position = self.random.randint(0, len(line))
            what = self.random.randrange(4)
            if what == 0:
                del line[position : position + self.random.randint(1, 3)]
            elif what == 1:
                line[position:position] = self.random.randbytes(self.random.randint(1, 6))
            elif what == 2:
                line[position:position] = self.random.choice(
                    [b"\xed\xa0\xbd\xed\xb8\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\xff"]
                )
            else:
                line = line[:position]
        return bytes(line).replace(b"\n", b"")

    def line(self):
        separators = ["", "", " ", "  ", "\t", "\u00a0"]
        parts = self.random.randint(0, 6)
        return "".join(self.text() + self.random.choice(separators) for _ in range(parts))

    def lines(self, count):
        """Every kind of line, every added token in several surroundings first."""
        made = []
        for token in self.added:
            for before in ["", " ", "x", "中", "\t "]:
                for after in ["", " ", "y", "  z", "’", token]:
                    made.append((before + token + after).encode())
        made += [self.broken() for _ in range(count // 8)]
        made += [self.line().encode() for _ in range(count // 3)]
        made += [b"a" * 1000, b" " * 1000, "中".encode() * 1000, b"ab" * 5000, b"", b" ", b"\r"]
        for index in range(max(0, count - len(made))):
            made.append(self.library[index % len(self.library)])
        return made


def run(graft, arguments):
    result = subprocess.run([graft, "tokenize", *arguments], capture_output=True)
    if result.returncode != 0:
        sys.exit(f"graft tokenize {' '.join(arguments)[:200]}: exit code {result.returncode}\n"
                 + result.stderr.decode(errors="replace"))
    return json.loads(result.stdout)


def compare(name, inputs, expected, found):
    if len(expected) != len(found):
        print(f"{name}: {len(found)} results, expected {len(expected)}")
        return 1
    differences = 0
    for number, (item, want, have) in enumerate(zip(inputs, expected, found)):
        if want != have:
            differences += 1
            if differences <= 5:
                print(f"{name} {number}: {item[:300]!r}\n  expected {str(want)[:400]}\n  found    {str(have)[:400]}")
    print(f"{name}: {len(expected)} compared, {differences} differ")
    return differences


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--graft", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--lines", type=int, default=60000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    tokenizer = Tokenizer.from_file(str(pathlib.Path(options.model) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    maker = Maker(options.seed, tokenizer)
    lines = maker.lines(options.lines)
    differences = 0
    with tempfile.TemporaryDirectory() as directory:
        file = str(pathlib.Path(directory) / "input")
        pathlib.Path(file).write_bytes(b"".join(line + b"\n" for line in lines))
        base = ["--model", options.model, "--file", file, "--json"]
        texts = [line.decode("utf-8", errors="replace") for line in lines]

        expected = [e.ids for e in tokenizer.encode_batch_fast(texts)]
        differences += compare("encode", lines, expected, run(options.graft, base)["ids"])
        plain = [e.ids for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        found = run(options.graft, base + ["--no-special-tokens"])["ids"]
        differences += compare("encode without special tokens", lines, plain, found)

        # Texts of several lines, which a file of lines cannot hold.
        joined, results, newlines = [], [], ["\n", "\n\n", "\r\n", " \n", "\n \n", "\n\t"]
        for _ in range(40):
            picked = [maker.random.choice(texts)[:500].replace("\0", "") for _ in range(60)]
            joined.append("".join(text + maker.random.choice(newlines) for text in picked))
            answer = run(options.graft, ["--model", options.model, "--text", joined[-1], "--json"])
            results.append((answer["ids"], answer["tokens"]))
        encodings = [tokenizer.encode(text) for text in joined]
        tokens = [(e.ids, [tokenizer.id_to_token(i) for i in e.ids]) for e in encodings]
        differences += compare("text of many lines", joined, tokens, results)

        size = tokenizer.get_vocab_size(with_added_tokens=True)
        random_ids = [
            [maker.random.randrange(size + 3) for _ in range(maker.random.randint(0, 12))]
            for _ in range(10000)
        ]
        lists = expected + random_ids
        pathlib.Path(file).write_text(json.dumps({"ids": lists}))
        texts = tokenizer.decode_batch(lists, skip_special_tokens=False)
        found = run(options.graft, base + ["--decode"])["texts"]
        differences += compare("decode", lists, texts, found)
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
