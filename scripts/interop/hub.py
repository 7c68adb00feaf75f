#!/usr/bin/env python3
"""`graft download` and hub names against a local server that misbehaves, and the cache shared with Python's."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from huggingface_hub import snapshot_download, try_to_load_from_cache
from huggingface_hub.file_download import _CACHED_NO_EXIST
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from hub_models import SIZE, WEIGHTS, read_files, repositories
from hub_server import Hub, Repository, git_blob
from peers import Report, arguments, completion_rows, largest, load_model, sample_inputs, write_rows

TOKEN = "hf_secretOfTheUser"


class Checks:
    """Runs `graft` with a home of its own for most checks, against a server of its own for each part."""

    def __init__(self, options, report, hub, part):
        self.graft, self.report, self.hub = options.graft, report, hub
        self.models, self.work, self.homes = options.work, options.work / f"part-{part}", 0
        self.work.mkdir()

    @property
    def faults(self):
        return self.hub.faults

    def home(self) -> Path:
        self.homes += 1
        self.hub.reset()
        return self.work / f"home-{self.homes}"

    def environment(self, home: Path, **more) -> dict:
        kept = {k: v for k, v in os.environ.items()
                if not k.startswith("HF_") and k != "TRANSFORMERS_OFFLINE" and "PROXY" not in k.upper()}
        return kept | {"HF_HOME": str(home), "HF_ENDPOINT": self.hub.address, "HF_HUB_DOWNLOAD_TIMEOUT": "2",
                       "OMP_NUM_THREADS": "2"} | more

    def run(self, home: Path, *words, more: dict = {}, timeout: float = 120):
        return subprocess.run([self.graft.executable, *map(str, words)], capture_output=True, text=True,
                              timeout=timeout, env=self.environment(home, **more))

    def download(self, name: str, home: Path, *words, code: int = 0, says=(), more: dict = {}, title: str = ""):
        """One download: exit code, words of the message, and no secret in it; its JSON where it succeeded."""
        done = self.run(home, "download", name, *words, "--json", more=more)
        problems = [] if done.returncode == code else [f"exit {done.returncode}, not {code}"]
        problems += [f"message lacks {word!r}" for word in says if word not in done.stderr]
        if TOKEN in done.stderr + done.stdout or "signature=" in done.stderr:
            problems.append("a secret is shown")
        if any(word in done.stderr for word in ("Fatal error", "Stack dump", "terminate called")):
            problems.append("a crash")
        if code and done.stdout.strip():
            problems.append("text on standard output")
        if code == 0 and not problems:
            result = json.loads(done.stdout)
            problems += self.wrong_files(name.split("@")[0], Path(result["directory"]), result["files"])
        last = " | ".join(done.stderr.strip().splitlines()[-2:])[:400]
        self.report.line(not problems, title or f"{name} {words}",
                         "; ".join(problems) + f" [{last}]" if problems else f"exit {code}")
        return json.loads(done.stdout) if code == 0 and not problems else None

    def wrong_files(self, name: str, directory: Path, files: list[dict]) -> list[str]:
        contents = self.hub.repositories[name].files
        wrong = [f["name"] for f in files if (directory / f["name"]).read_bytes() != contents[f["name"]]]
        cached = "snapshots" in directory.parts
        left = [p.name for p in directory.parents[1].rglob("*.incomplete")] if cached else []
        return [f"{f}: other bytes" for f in wrong] + [f"left {n}" for n in left]

    def nothing_left(self, home: Path, title: str):
        """No content under its final name, no link and no reference after a failure."""
        model = home / "hub"
        links = [p.name for p in model.glob("models--*/snapshots/*/*.safetensors")]
        references = [p.name for p in model.glob("models--*/refs/*")]
        self.report.line(not links and not references, title, f"weights {links}, references {references}")

    def expect(self, title: str, value: bool, figure=""):
        self.report.line(bool(value), title, str(figure))


def broken_connections(checks):
    home = checks.home()
    checks.faults.drop_after = 1_000_000
    if checks.download("acme/big", home, title="dropped every 1 MB, resumed"):
        ranges = [r["range"] for r in checks.hub.bodies(WEIGHTS)]
        checks.expect("each attempt asks for the rest only", len(ranges) >= 3 and ranges[0] is None and all(ranges[1:]),
                      ranges)
    home = checks.home()
    checks.faults.drop_after, checks.faults.ranges = 0, "yes"
    checks.download("acme/big", home, code=66, says=[WEIGHTS, "the same command goes on"], title="dropped at once, always")
    checks.nothing_left(home, "dropped at once: nothing under a final name")
    home = checks.home()
    checks.faults.stall_after = 1_000_000
    checks.download("acme/big", home, says=["silent"], title="silent in the middle, resumed")
    home = checks.home()
    checks.faults.slow, checks.faults.piece = 0.15, 1 << 17
    checks.download("acme/big", home, title="slow but steady")
    home = checks.home()
    checks.faults.errors = 3
    checks.download("acme/big", home, says=["503", "again in"], title="503 three times, then fine")
    home = checks.home()
    checks.faults.errors = 1000
    checks.download("acme/big", home, code=66, says=["503"], title="503 always")
    home = checks.home()
    checks.download("acme/big", home, code=66, more={"HF_ENDPOINT": "http://127.0.0.1:1"},
                    says=["cannot be fetched", "127.0.0.1:1"], title="nobody listens")


def ranges(checks):
    for kind in ("ignored", "refused", "shifted"):
        home = checks.home()
        checks.faults.drop_after = 1_000_000
        blob = home / "hub/models--acme--big/blobs" / (checks.hub.repositories["acme/big"].tag(WEIGHTS) + ".incomplete")
        checks.faults.ranges = kind
        checks.download("acme/big", home, code=66, title=f"ranges {kind}, and dropped always")
        checks.expect(f"ranges {kind}: what arrived is kept", blob.exists() and blob.stat().st_size >= 900_000)
        checks.faults.drop_after = None
        checks.download("acme/big", home, title=f"ranges {kind}, no longer dropped")


def lengths(checks):
    for announced, title in [(1000, "Content-Length too large"), (-1_000_000, "Content-Length too small")]:
        home = checks.home()
        checks.faults.announce = announced
        checks.download("acme/big", home, title=f"{title}: the file is right all the same")
    home = checks.home()
    checks.faults.extra = b"x" * 500
    checks.download("acme/big", home, code=65, says=[WEIGHTS, "size", str(SIZE)], title="more bytes than listed")
    checks.nothing_left(home, "more bytes than listed: nothing under a final name")
    incomplete = list(home.rglob("*.incomplete"))
    checks.expect("more bytes than listed: the bytes are thrown away",
                  not [p for p in incomplete if p.name.startswith(checks.hub.repositories["acme/big"].tag(WEIGHTS))])


def checksums(checks):
    home = checks.home()
    checks.faults.corrupt = 1
    checks.download("acme/big", home, says=["checksum is wrong"], title="a wrong byte once: fetched again")
    home = checks.home()
    checks.faults.corrupt = 1000
    checks.download("acme/big", home, code=65, says=[WEIGHTS, "checksum", checks.hub.repositories["acme/big"].tag(WEIGHTS)],
                    title="a wrong byte always")
    checks.nothing_left(home, "a wrong byte always: nothing under a final name")
    home = checks.home()
    blobs = home / "hub/models--acme--big/blobs"
    blobs.mkdir(parents=True)
    tag = checks.hub.repositories["acme/big"].tag(WEIGHTS)
    (blobs / f"{tag}.incomplete").write_bytes(b"rubbish" * 1000)
    checks.download("acme/big", home, says=["checksum is wrong"], title="rubbish of an earlier attempt: found, fetched anew")
    (blobs / tag).write_bytes(b"cut")
    checks.download("acme/big", home, title="a content that was cut in the cache: fetched anew")
    small = git_blob(checks.hub.repositories["acme/big"].files["config.json"])
    checks.expect("a small file is named by git's checksum", (blobs / small).exists())


def redirects(checks):
    home = checks.home()
    checks.faults.away, checks.faults.token = checks.hub.storage, TOKEN
    checks.download("acme/big", home, more={"HF_TOKEN": TOKEN}, title="redirected to another port, with a token")
    away = [r for r in checks.hub.requests if r["storage"]]
    checks.expect("the token is not sent there", away and all(r["token"] is None for r in away), len(away))
    own = [r for r in checks.hub.requests if not r["storage"]]
    checks.expect("the token is sent to the hub", own and all(r["token"] == f"Bearer {TOKEN}" for r in own), len(own))
    checks.expect("no compressed content is asked for", all(r["encoding"] == "identity" for r in checks.hub.requests))
    home = checks.home()
    checks.faults.away, checks.faults.drop_after = checks.hub.storage, 1_000_000
    checks.download("acme/big", home, title="redirected and dropped every 1 MB")
    home = checks.home()
    checks.faults.loop = True
    checks.download("acme/big", home, code=65, says=["redirects"], title="redirects without end")


def refusals(checks):
    home = checks.home()
    checks.faults.token = TOKEN
    checks.download("acme/big", home, code=66, says=["acme/big", "HF_TOKEN"], title="401 without a token")
    checks.download("acme/big", home, code=66, says=["refuses the token"], more={"HF_TOKEN": "hf_other"},
                    title="401 with a wrong token")
    (home / "token").parent.mkdir(parents=True, exist_ok=True)
    (home / "token").write_text(TOKEN + "\n")
    checks.download("acme/big", home, title="token from HF_HOME/token")
    other = checks.home()
    checks.faults.token = TOKEN
    path = checks.work / "elsewhere"
    path.write_text(TOKEN)
    checks.download("acme/big", other, more={"HF_TOKEN_PATH": str(path)}, title="token from HF_TOKEN_PATH")
    home = checks.home()
    checks.download("acme/big", home, code=64, more={"HF_TOKEN": "two words\u00e9"}, says=["HF_TOKEN"],
                    title="a token that cannot be sent")
    home = checks.home()
    checks.faults.gated = True
    checks.download("acme/big", home, code=66, says=["gated", "ask for access"], more={"HF_TOKEN": TOKEN}, title="403 gated")
    checks.nothing_left(home, "403: nothing under a final name")
    home = checks.home()
    checks.download("acme/none", home, code=66, says=["acme/none"], title="no such model, no token")
    checks.download("acme/none", home, code=66, says=["no such model"], more={"HF_TOKEN": TOKEN}, title="no such model, 404")
    checks.download("acme/big@v9", home, code=66, says=["v9", "no branch"], title="no such revision")
    checks.download("acme/../x", home, code=64, says=["ORG/NAME"], title="no name of a model")
    checks.download("acme/big", home, "--revision", "../x", code=64, says=["--revision"], title="no revision")
    checks.download("acme/big", home, code=64, more={"HF_ENDPOINT": "ftp://x"}, says=["HF_ENDPOINT"], title="no endpoint")
    home = checks.home()
    checks.faults.garbage = True
    checks.download("acme/big", home, code=65, says=["no JSON"], title="a list of files that is no JSON")


def contents(checks):
    home = checks.home()
    checks.download("acme/pickle", home, code=65, says=["pytorch_model.bin", "pickle", "convert", "refs/pr/N"],
                    title="pickles only: refused, with a way out")
    checks.expect("pickles only: none was fetched", not checks.hub.bodies(".bin"))
    checks.download("acme/gguf", home, code=65, says=["model.safetensors", "q4.gguf"], title="GGUF only: named")
    checks.download("acme/evil", home, code=65, says=["index"], title="an index that climbs out of the directory")
    checks.download("acme/hole", home, code=65, says=["model-00002-of-00002.safetensors"], title="a shard that is not there")
    found = checks.download("acme/sharded", home, title="shards by their index")
    if found:
        names = {f["name"] for f in found["files"]}
        wanted = {n for n in checks.hub.repositories["acme/sharded"].files if not n.endswith((".md", ".bin", ".h5"))}
        checks.expect("the files that are used, no others", names == wanted, sorted(names ^ wanted))
    before = len(checks.hub.bodies(""))
    checks.download("acme/sharded", home, title="again")
    checks.expect("again: nothing is fetched", before > 0 and len(checks.hub.bodies("")) == before, before)
    found = checks.download("acme/adapter", checks.home(), title="an adapter")
    if found:
        checks.expect("an adapter: its two files", {f["name"] for f in found["files"]} >=
                      {"adapter_config.json", "adapter_model.safetensors"})
    home = checks.home()
    checks.faults.blobs = False
    checks.download("acme/sharded", home, title="a mirror without sizes in its list: asked by HEAD")
    checks.faults.plain_tags = True
    home = checks.home()
    checks.faults.blobs, checks.faults.plain_tags = False, True
    checks.download("acme/big", home, title="a mirror whose tags are no checksums")


def killed(checks):
    home = checks.home()
    checks.faults.slow, checks.faults.piece = 0.05, 1 << 16
    command = [checks.graft.executable, "download", "acme/big"]
    process = subprocess.Popen(command, env=checks.environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    name = checks.hub.repositories["acme/big"].tag(WEIGHTS) + ".incomplete"
    blob = home / "hub/models--acme--big/blobs" / name
    end = time.time() + 30
    while time.time() < end and not (blob.exists() and blob.stat().st_size > 800_000):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    size = blob.stat().st_size
    checks.expect("killed in the middle", 0 < size < SIZE, f"{size} bytes")
    checks.nothing_left(home, "killed: nothing under a final name")
    checks.hub.reset()
    found = checks.download("acme/big", home, title="killed with -9, resumed")
    asked = [r["range"] for r in checks.hub.bodies(WEIGHTS)]
    checks.expect("the rest only", asked == [f"bytes={size}-"] and checks.hub.sent(WEIGHTS) == SIZE - size, asked)
    fetched = {f["name"]: f["downloaded_bytes"] for f in (found or {"files": []})["files"]}
    checks.expect("the JSON says so", fetched.get(WEIGHTS) == SIZE - size, fetched)
    for number, code in [(signal.SIGINT, 130), (signal.SIGTERM, 130)]:
        home = checks.home()
        checks.faults.slow = 0.1
        process = subprocess.Popen(command, env=checks.environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        blob = home / "hub/models--acme--big/blobs" / name
        while time.time() < end + 30 and not (blob.exists() and blob.stat().st_size > 100_000):
            time.sleep(0.02)
        process.send_signal(number)
        checks.expect(f"signal {number.name}", process.wait(timeout=20) == code, process.returncode)
    home = checks.home()
    checks.faults.slow = 0.02
    both = [subprocess.Popen(command, env=checks.environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            for _ in range(2)]
    codes = [p.wait(timeout=60) for p in both]
    told = any(b"another program" in p.stderr.read() for p in both)
    checks.expect("two at once: both succeed, one fetches", codes == [0, 0] and told and
                  checks.hub.sent(WEIGHTS) == SIZE, f"{codes}, {checks.hub.sent(WEIGHTS)} bytes")


def directories(checks):
    home = checks.home()
    target = checks.work / "plain"
    checks.faults.drop_after = 0
    checks.download("acme/sharded", home, "--output", target, code=66, title="--output, dropped always")
    checks.expect("--output: no directory yet", not target.exists())
    checks.faults.drop_after = None
    found = checks.download("acme/sharded", home, "--output", target, title="--output")
    checks.expect("--output: plain files", found and Path(found["directory"]) == target and
                  not any(p.is_symlink() for p in target.rglob("*")))
    checks.expect("--output: nothing beside it", not [p.name for p in checks.work.iterdir() if p.name.startswith(".plain")])
    checks.download("acme/sharded", home, "--output", target, code=73, says=["plain", "exists"], title="--output that exists")
    checks.download("acme/sharded", home)
    checks.hub.reset()
    checks.download("acme/sharded", home, "--output", checks.work / "copy", title="--output from the cache")
    checks.expect("--output from the cache: no weights are fetched", not checks.hub.bodies(".safetensors"))
    checks.download("acme/sharded", home, "--output", checks.work / "offline", more={"HF_HUB_OFFLINE": "1"},
                    title="--output, offline")
    checks.expect("--output, offline: the same files", read_files(checks.work / "offline") == read_files(target))
    locked = checks.work / "locked"
    locked.write_text("a file")
    checks.download("acme/big", home, code=73, more={"HF_HUB_CACHE": str(locked / "cache")}, says=["locked"],
                    title="a cache that cannot be made")


def offline(checks):
    home = checks.home()
    checks.download("acme/big", home, code=66, more={"HF_HUB_OFFLINE": "1"}, says=["HF_HUB_OFFLINE"], title="offline, not there")
    checks.expect("offline: nobody is asked", not checks.hub.requests)
    checks.download("acme/big", home)
    checks.hub.reset()
    checks.download("acme/big", home, more={"TRANSFORMERS_OFFLINE": "yes"}, title="offline, in the cache")
    checks.expect("offline, in the cache: nobody is asked", not checks.hub.requests)
    checks.download("acme/big", home, more={"HF_ENDPOINT": "http://127.0.0.1:1"}, says=["using what is in the cache"],
                    title="nobody listens, in the cache")
    old = checks.hub.repositories["acme/big"]
    files = old.files | {WEIGHTS: old.files[WEIGHTS][::-1]}
    checks.hub.repositories["acme/big"] = Repository(files, old.large)
    try:
        checks.faults.corrupt = 1000
        checks.download("acme/big", home, code=65, title="a new commit that cannot be fetched")
        checks.hub.reset()
        found = checks.run(home, "download", "acme/big", "--json", more={"HF_HUB_OFFLINE": "1"})
        checks.expect("the old commit stays in use", json.loads(found.stdout)["commit"] == old.commit)
        found = checks.download("acme/big", home, title="the new commit")
        checks.expect("unchanged files are not fetched again", found and not checks.hub.bodies("config.json"))
        checks.download(f"acme/big@{checks.hub.repositories['acme/big'].commit}", home, title="by its commit")
    finally:
        checks.hub.repositories["acme/big"] = old


def progress(checks):
    """A bar on a terminal, lines in a pipe, nothing with --quiet."""
    home = checks.home()
    checks.faults.slow = 0.02
    done = checks.run(home, "download", "acme/big")
    lines = done.stderr.splitlines()
    checks.expect("lines in a pipe", done.returncode == 0 and any(WEIGHTS in line for line in lines) and
                  "\r" not in done.stderr, lines)
    checks.expect("the directory on standard output", Path(done.stdout.strip(), WEIGHTS).exists(), done.stdout.strip())
    done = checks.run(checks.home(), "download", "acme/big", "--quiet")
    checks.expect("nothing with --quiet", done.returncode == 0 and not done.stderr, done.stderr)
    home = checks.home()
    checks.faults.slow = 0.02
    terminal, other = pty.openpty()
    process = subprocess.Popen([checks.graft.executable, "download", "acme/big"], stdout=subprocess.DEVNULL, stderr=other,
                               env=checks.environment(home, TERM="xterm"))
    os.close(other)
    text = b""
    while True:
        try:
            piece = os.read(terminal, 1 << 16)
        except OSError:
            break
        if not piece:
            break
        text += piece
    code = process.wait(timeout=30)
    drawn = [line for line in text.decode().split("\r") if "MB/s" in line or "kB/s" in line]
    checks.expect("a bar on a terminal", code == 0 and len(drawn) > 3 and any("left" in line for line in drawn) and
                  all(len(line) < 90 for line in drawn), drawn[-2:])


def python_reads(checks):
    """What we downloaded is found by huggingface_hub and transformers."""
    home = checks.home()
    found = checks.download("acme/tiny", home)
    cache = home / "hub"
    repository = checks.hub.repositories["acme/tiny"]
    directory = snapshot_download("acme/tiny", cache_dir=cache, local_files_only=True)
    checks.expect("snapshot_download finds it", found and Path(directory) == Path(found["directory"]), directory)
    for name in ("config.json", WEIGHTS, "tokenizer.json"):
        path = try_to_load_from_cache("acme/tiny", name, cache_dir=cache)
        checks.expect(f"try_to_load_from_cache finds {name}",
                      isinstance(path, str) and Path(path).read_bytes() == repository.files[name])
        link = Path(directory) / name
        checks.expect(f"{name} is a relative link into blobs", link.is_symlink() and
                      os.readlink(link) == f"../../blobs/{repository.tag(name)}", os.readlink(link))
    checks.expect("a file that is not there is marked",
                  try_to_load_from_cache("acme/tiny", "spiece.model", cache_dir=cache) is _CACHED_NO_EXIST)
    checks.expect("the reference", (cache / "models--acme--tiny/refs/main").read_text() == repository.commit)
    model = AutoModelForCausalLM.from_pretrained("acme/tiny", cache_dir=cache, local_files_only=True)
    checks.expect("transformers opens it", model.config.model_type == "llama")


PYTHON_DOWNLOAD = """
import sys
from huggingface_hub import hf_hub_download, snapshot_download
if sys.argv[1] == "snapshot":
    print(snapshot_download("acme/tiny", ignore_patterns=["*.bin", "*.md"]))
else:
    print([hf_hub_download("acme/tiny", name) for name in sys.argv[2:]][-1])
"""


def python_writes(checks):
    """What huggingface_hub downloaded is found by us, whole or in part."""
    home = checks.home()

    def python(*words):
        done = subprocess.run([sys.executable, "-c", PYTHON_DOWNLOAD, *words], capture_output=True, text=True,
                              env=checks.environment(home, HF_HUB_DISABLE_XET="1"))
        assert done.returncode == 0, done.stderr[-600:]
        return done.stdout.strip()

    directory = python("files", "config.json")
    found = checks.download("acme/tiny", home, title="what Python fetched in part")
    checks.expect("Python's part is not fetched again", found and not any(
        f["downloaded_bytes"] for f in found["files"] if f["name"] == "config.json"))
    checks.expect("the same directory", found and Path(directory).parent == Path(found["directory"]))
    shutil.rmtree(home)
    directory = python("snapshot")
    checks.hub.reset()
    found = checks.download("acme/tiny", home, title="what Python fetched whole")
    checks.expect("no content is fetched", found and found["downloaded_bytes"] == 0 and found["directory"] == directory)
    checks.hub.reset()
    checks.download("acme/tiny", home, more={"HF_HUB_OFFLINE": "1"}, title="what Python fetched whole, offline")


def hub_names(checks):
    """Names in the place of directories: fetched when they are not in the cache, and only then."""
    home = checks.home()
    data = write_rows(checks.work / "rows.jsonl", completion_rows(6))
    generate = ["generate", "--model", "acme/tiny", "--adapter", "acme/adapter", "--prompt", "The", "--max-new-tokens", 3]
    done = checks.run(home, *generate, more={"HF_HUB_OFFLINE": "1"})
    checks.expect("generate, offline", done.returncode == 66 and "HF_HUB_OFFLINE" in done.stderr, done.stderr[-300:])
    done = checks.run(home, *generate)
    checks.expect("generate --model --adapter by name", done.returncode == 0, done.stderr[-300:])
    asked = len(checks.hub.requests)
    again = checks.run(home, *generate)
    checks.expect("again: nobody is asked, the same text", len(checks.hub.requests) == asked and
                  again.stdout == done.stdout, len(checks.hub.requests) - asked)
    run = checks.work / "run"
    done = checks.run(home, "train", "--model", "acme/tiny@main", "--data", data, "--output", run, "--max-steps", 2,
                      "--batch-size", 2, "--max-length", 64)
    checks.expect("train --model by name", done.returncode == 0, done.stderr[-300:])
    config = json.loads((run / "adapter_config.json").read_text())
    checks.expect("the adapter names its base as the hub does", config["base_model_name_or_path"] == "acme/tiny",
                  config["base_model_name_or_path"])
    commit = checks.hub.repositories["acme/tiny"].commit
    done = checks.run(home, "tokenize", "--model", f"acme/tiny@{commit}", "--text", "x", "--json")
    checks.expect("tokenize by a commit", done.returncode == 0, done.stderr[-300:])
    done = checks.run(home, "inspect", "acme/adapter", "--json")
    checks.expect("inspect an adapter by name", done.returncode == 0, done.stderr[-300:])
    done = checks.run(home, "merge", "--model", "acme/tiny", "--adapter", "acme/adapter", "--output", checks.work / "merged")
    checks.expect("merge by names", done.returncode == 0, done.stderr[-300:])
    done = checks.run(home, "generate", "--model", "acme/nothing", "--prompt", "x")
    checks.expect("a name that is nowhere", done.returncode == 66 and "no such directory" in done.stderr, done.stderr[-300:])
    checks.hub.renamed["tiny"] = "acme/tiny"
    alone = ["generate", "--model", "tiny", "--prompt", "The", "--max-new-tokens", 3]
    done = checks.run(home, *alone, more={"HF_HUB_OFFLINE": "1"})
    checks.expect("a name without an organisation, offline", done.returncode == 66 and "HF_HUB_OFFLINE" in done.stderr,
                  done.stderr[-300:])
    done = checks.run(home, *alone)
    checks.expect("a name without an organisation", done.returncode == 0, done.stderr[-300:])
    python = "from transformers import AutoConfig; AutoConfig.from_pretrained('tiny')"
    found = subprocess.run([sys.executable, "-c", python], capture_output=True, text=True, cwd=checks.work,
                           env=checks.environment(home, HF_HUB_OFFLINE="1"))
    checks.expect("Python finds it in the cache under that name", found.returncode == 0, found.stderr[-300:])
    base = load_model(checks.models / "tiny")
    peer = PeftModel.from_pretrained(base, checks.models / "adapter").eval()
    inputs = sample_inputs(base.config.vocab_size)
    source, output = checks.work / "in.safetensors", checks.work / "out.safetensors"
    save_file(inputs, source)
    done = checks.run(home, "forward", "--model", "acme/tiny", "--adapter", "acme/adapter", "--input", source, "--output", output)
    assert done.returncode == 0, done.stderr[-300:]
    with torch.no_grad():
        expected = peer(input_ids=inputs["input_ids"]).logits
    checks.report.within("logits by names equal PEFT's", largest(load_file(output)["logits"], expected), 1e-5)


PARTS = (broken_connections, ranges, lengths, checksums, redirects, refusals, contents, killed, directories, offline, progress,
         python_reads, python_writes, hub_names)


def main():
    options = arguments(__doc__, lambda parser: parser.add_argument("--only", help="parts, with commas between"))
    report = Report("hub")
    models = repositories(options)
    chosen = [part for part in PARTS if not options.only or part.__name__ in options.only.split(",")]

    def run(part):
        hub = Hub(dict(models))
        report.case(part.__name__, part, Checks(options, report, hub, part.__name__))
        hub.close()

    # Most of the time is waiting before another attempt.
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(run, chosen))
    report.finish()


if __name__ == "__main__":
    main()
