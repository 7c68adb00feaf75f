"""Token ids of 10 MB of text on one thread, beside Hugging Face's `tokenizers`."""

import json
import sys
import sysconfig
from pathlib import Path

from measuring import run, timed

MEGABYTES = 10
# Lines that Python's sources have none like.
SENTENCES = [
    "Die Straße nach Köln führt über große Brücken, ça va très bien à l'été déjà vu.",
    "今天天气很好，我们去公园散步。東京は日本の首都です。오늘은 날씨가 좋습니다.",
    "Привет, мир! Сегодня хорошая погода. مرحبا بالعالم، كيف حالك اليوم؟",
    "नमस्ते दुनिया, आप कैसे हैं? 😀 👍🏽 👩‍💻 x² ½ Ⅷ ﬁ ｆｕｌｌ ＷＩＤＴＨ",
]


def write_text(path: Path):
    """Sources of Python's standard library, no file twice; each twelfth line is one of other scripts."""
    size, count = 0, 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for source in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
            if "site-packages" in source.parts:
                continue
            for line in source.read_bytes().decode("utf-8", "replace").splitlines():
                if not line.strip():
                    continue
                count += 1
                if count % 12 == 0:
                    line = f"{SENTENCES[count // 12 % len(SENTENCES)]} {count}"
                size += len(line.encode()) + 1
                file.write(line + "\n")
                if size >= MEGABYTES * 1e6:
                    return
    sys.exit(f"Python's standard library has {size / 1e6:.1f} MB of text, not {MEGABYTES}")


class Tokenizing:
    """MB/s of encoding itself, by each side's own clock; memory is that of the whole process."""

    speed = 1.0
    unit = "MB/s"

    def __init__(self, key, name, option):
        self.key, self.option = key, option
        self.name = f"tokenising {MEGABYTES} MB on one thread, {name}"
        self.is_checked = False

    def is_possible(self, options) -> bool:
        return getattr(options, self.option) is not None

    def prepare(self, options, work):
        self.options, self.work, self.text = options, work, work / "text.txt"
        self.model = getattr(options, self.option)
        write_text(self.text)
        self.peer_command = [options.python, Path(__file__).parent / "peers/tokenization.py", self.model / "tokenizer.json",
                             self.text]

    def ours(self):
        output, _, memory = timed([self.options.graft, "tokenize", "--model", self.model, "--file", self.text, "--count"])
        return self.found(json.loads(output), memory)

    def peer(self):
        output, _, memory = timed(self.peer_command, threads=1)
        return self.found(json.loads(output), memory)

    @staticmethod
    def found(result, memory):
        return {"value": MEGABYTES / result["seconds"], "memory": memory, "ids": result["ids"]}

    def check(self, ours, peer):
        if ours["ids"] != peer["ids"]:
            sys.exit(f"{self.name}: {ours['ids']} ids, the peer makes {peer['ids']}")
        if self.is_checked:
            return
        # Once every id, not only how many.
        theirs = self.work / "ids.txt"
        run([*self.peer_command, "--ids", theirs])
        found = run([self.options.graft, "tokenize", "--model", self.model, "--file", self.text]).split("\n")
        wanted = theirs.read_text().split("\n")
        for number, (a, b) in enumerate(zip(found, wanted), start=1):
            if a != b:
                sys.exit(f"{self.name}: line {number} becomes {a}, not {b}")
        if len(found) != len(wanted):
            sys.exit(f"{self.name}: {len(found)} lines of ids, the peer makes {len(wanted)}")
        self.is_checked = True
