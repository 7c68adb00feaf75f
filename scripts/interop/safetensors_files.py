#!/usr/bin/env python3
"""Files that graft writes against the Python `safetensors` package, and damaged files.

What `graft import` writes is saved again by the package: the bytes must be the same, for every
element type. Damaged model directories must be refused with exit code 65, naming the
file, wherever the package refuses them; no damage may crash graft.
"""

import argparse
import json
import random
import shutil
from pathlib import Path

from peers import Graft, Report  # first: sets the environment

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from gguf_files import tiny
from gguf_writing import write_model


def written(report, options, model: Path):
    """Bytes of imported weights against the package's, for the three element types."""
    for dtype in ["float32", "float16", "bfloat16"]:
        output = options.work / dtype
        options.graft.run("import", model, "--output", output, "--dtype", dtype)
        path, again = output / "model.safetensors", options.work / f"{dtype}.safetensors"
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        save_file(load_file(path), again, metadata=metadata)
        same = path.read_bytes() == again.read_bytes()
        report.line(same and metadata == {"format": "pt"}, f"{dtype}: bytes equal the package's",
                    f"{path.stat().st_size} bytes, metadata {metadata}")
    return options.work / "float32"


def package_refuses(path: Path) -> bool:
    try:
        with safe_open(path, "pt") as file:
            file.keys()
        return False
    except (SafetensorError, OSError):
        return True


def inspected(options, directory: Path):
    done = options.graft.run("inspect", directory, expect=None, timeout=60)
    return done.returncode, done.stderr


def damaged(report, options, good: Path):
    """Random damage to the header, and the hostile headers by hand."""
    data = (good / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    name = next(key for key in header if key != "__metadata__")

    def packed(changed: dict | str, body: bytes = data[8 + length:]) -> bytes:
        text = (changed if isinstance(changed, str) else json.dumps(changed)).encode()
        return len(text).to_bytes(8, "little") + text + body

    def entry(**changes):
        return {**header, name: {**header[name], **changes}}

    begin, end = header[name]["data_offsets"]
    shape = header[name]["shape"]
    cases = {
        "empty": b"", "short": data[:7], "cut header": data[:100], "cut data": data[:-1],
        "extra data": data + b"\0", "header of 2^63": (1 << 63).to_bytes(8, "little") + data[8:],
        "header of 100 MB and 1": (100_000_001).to_bytes(8, "little") + data[8:],
        "not JSON": packed("{"), "invalid UTF-8": data[:10] + b"\xff" + data[11:],
        "unknown dtype": packed(entry(dtype="F31")), "negative shape": packed(entry(shape=[-1])),
        "overflowing shape": packed(entry(shape=[2**62, 8])),
        "float shape": packed(entry(shape=[float(size) for size in shape])),
        "wrong size": packed(entry(shape=[*shape, 2])),
        "reversed offsets": packed(entry(data_offsets=[end, begin])),
        "offsets past the end": packed(entry(data_offsets=[begin + 2**50, end + 2**50])),
        "overlap": packed({**header, "zzz": header[name]}),
        "metadata of numbers": packed({**header, "__metadata__": {"a": 1}}),
    }
    directory = options.work / "damaged"
    shutil.copytree(good, directory)
    path = directory / "model.safetensors"
    for title, content in cases.items():
        path.write_bytes(content)
        code, message = inspected(options, directory)
        ok = code == 65 and "model.safetensors" in message and package_refuses(path)
        report.line(ok, f"damaged: {title}", f"exit {code}: {message.strip()[-160:]}")
    duplicate = data[8:8 + length].decode().rstrip()
    path.write_bytes(packed(duplicate[:-1] + "," + duplicate[1:]))
    code, message = inspected(options, directory)
    report.line(code == 65, "damaged: duplicate names", f"exit {code}: {message.strip()[-160:]}")
    rng, disagreements, codes = random.Random(4), [], set()
    for round in range(options.rounds):
        content = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            content[rng.randrange(8 + length)] = rng.randrange(256)
        path.write_bytes(content)
        code, message = inspected(options, directory)
        codes.add(code)
        if code not in (0, 65, 66) or (code == 0) and package_refuses(path):
            disagreements.append((round, code, message[-100:]))
    report.line(not disagreements, "damaged at random",
                f"{options.rounds} files, exit codes {sorted(codes)} {disagreements[:2]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graft", required=True, help="the graft executable")
    parser.add_argument("--work", required=True, type=Path, help="folder for temporary files")
    parser.add_argument("--rounds", type=int, default=300, help="files damaged at random")
    options = parser.parse_args()
    options.graft = Graft(options.graft)
    options.work = options.work.resolve() / "safetensors_files"
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    report = Report("safetensors")
    model = options.work / "model.gguf"
    write_model(model, tiny("llama"))
    good = report.case("written", written, report, options, model)
    if good:
        report.case("damaged", damaged, report, options, good)
    report.finish()


if __name__ == "__main__":
    main()
