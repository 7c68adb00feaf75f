#!/usr/bin/env python3
"""Token ids of a file's lines by Hugging Face's `tokenizers`; prints how many, and the seconds of encoding.

    tokenization.py tokenizer.json text.txt [--ids ids.txt]

The call is the peer's fastest, which makes ids without offsets; RAYON_NUM_THREADS says how many threads.
"""

import argparse
import json
import time

from tokenizers import Tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokenizer")
    parser.add_argument("text")
    parser.add_argument("--ids", help="file for the ids, a line for each of the text's")
    options = parser.parse_args()
    tokenizer = Tokenizer.from_file(options.tokenizer)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    lines = open(options.text, encoding="utf-8", newline="\n").read().split("\n")[:-1]
    begin = time.perf_counter()
    encodings = tokenizer.encode_batch_fast(lines)
    seconds = time.perf_counter() - begin
    if options.ids:
        with open(options.ids, "w") as file:
            for encoding in encodings:
                file.write(" ".join(map(str, encoding.ids)) + "\n")
    print(json.dumps({"texts": len(lines), "ids": sum(map(len, encodings)), "seconds": seconds}))


if __name__ == "__main__":
    main()
