"""A small hub of its own on 127.0.0.1, which misbehaves as a check wants it to."""

import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


def git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Repository:
    """Files of one commit; those in `large` are in large-file storage."""

    def __init__(self, files: dict[str, bytes], large: set[str] = frozenset(), revision: str = "main"):
        self.files, self.large, self.revision = files, set(large), revision
        self.commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()

    def tag(self, name: str) -> str:
        content = self.files[name]
        return hashlib.sha256(content).hexdigest() if name in self.large else git_blob(content)

    def siblings(self, with_blobs: bool) -> list[dict]:
        entries = []
        for name, content in self.files.items():
            entry = {"rfilename": name}
            if with_blobs:
                entry |= {"size": len(content), "blobId": git_blob(content)}
                if name in self.large:
                    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.tag(name)}\n"
                    entry |= {"blobId": git_blob(pointer.encode()),
                              "lfs": {"sha256": self.tag(name), "size": len(content), "pointerSize": 134}}
            entries.append(entry)
        return entries

    def tree(self) -> list[dict]:
        """The same as Python's `snapshot_download` asks for it."""
        entries = []
        for entry in self.siblings(with_blobs=True):
            large = entry.pop("lfs", None)
            entries.append({"type": "file", "path": entry["rfilename"], "size": entry["size"], "oid": entry["blobId"]})
            if large:
                entries[-1]["lfs"] = {"oid": large["sha256"], "size": large["size"], "pointerSize": 134}
        return entries


class Faults:
    """What the server does wrong with files of some size; each check sets what it needs."""

    def __init__(self):
        self.drop_after = None       # bytes of a body after which the connection is closed, each time
        self.announce = 0            # added to the Content-Length of whole files
        self.corrupt = 0             # how many answers for large files have a wrong byte
        self.away = None             # address of another server to which large files are redirected
        self.token = None            # the token that is wanted
        self.gated = False           # 403 with the hub's code for gated models
        self.errors = 0              # how many requests are answered 503 first
        self.slow = 0.0              # seconds between pieces of a body
        self.piece = 1 << 16
        self.stall_after = None      # bytes after which the body stops without an end, once
        self.ranges = "yes"          # yes, ignored (200), refused (416), shifted (another part)
        self.blobs = True            # whether the list of files has sizes and checksums
        self.plain_tags = False      # entity tags that are no checksums
        self.loop = False            # redirects to itself
        self.garbage = False         # the list of files is no JSON
        self.extra = b""             # sent behind the end of a file, with a length that covers it


class Hub:
    """Two servers: the hub, and one that stands for the storage elsewhere."""

    def __init__(self, repositories: dict[str, Repository]):
        self.repositories, self.faults = repositories, Faults()
        self.renamed: dict[str, str] = {}  # models without an organisation, and what they are called now
        self.requests: list[dict] = []
        self.lock = threading.Lock()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                self.do_GET()

            def do_GET(self):
                try:
                    hub.answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

        self.servers = [ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2)]
        for server in self.servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
        self.address, self.storage = (f"http://127.0.0.1:{server.server_port}" for server in self.servers)

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def reset(self):
        self.faults, self.requests = Faults(), []

    def bodies(self, name: str) -> list[dict]:
        """Requests for the content of a file that were answered with some of it."""
        return [r for r in self.requests if r["path"].endswith(name) and r["method"] == "GET" and r["sent"]]

    def sent(self, name: str) -> int:
        return sum(r["sent"] for r in self.bodies(name))

    def answer(self, handler):
        parts = urlsplit(handler.path)
        record = {"method": handler.command, "path": unquote(parts.path), "query": parts.query, "sent": 0,
                  "token": handler.headers.get("Authorization"), "range": handler.headers.get("Range"),
                  "encoding": handler.headers.get("Accept-Encoding"),
                  "storage": handler.server is self.servers[1]}
        with self.lock:
            self.requests.append(record)
            fails = self.faults.errors > 0
            self.faults.errors -= fails
        if fails:
            return self.error(handler, 503, "", "overloaded")
        if record["storage"]:
            return self.content(handler, record, *record["path"].lstrip("/").split("/", 1))
        wanted = self.faults.token
        if wanted and record["token"] != f"Bearer {wanted}":
            return self.error(handler, 401, "", "Invalid credentials" if record["token"] else "")
        if self.faults.gated:
            return self.error(handler, 403, "GatedRepo", "Access to model is restricted")
        first = record["path"].removeprefix("/api/models/").lstrip("/").split("/")[0]
        if first in self.renamed:
            target = handler.path.replace(first, self.renamed[first], 1)
            return self.head(handler, 307, {"Location": target, "Content-Length": "0"})
        if record["path"].startswith("/api/models/"):
            return self.listing(handler, record)
        if record["path"].count("/") < 5 or "/resolve/" not in record["path"]:
            return self.error(handler, 404, "", "Not found")
        owner, name, _, commit, path = record["path"].lstrip("/").split("/", 4)
        repository = self.repositories.get(f"{owner}/{name}")
        if repository is None:
            return self.error(handler, 404, "RepoNotFound", "Repository not found")
        if commit not in (repository.commit, repository.revision):
            return self.error(handler, 404, "RevisionNotFound", f"Invalid rev id: {commit}")
        if path not in repository.files:
            return self.error(handler, 404, "EntryNotFound", "Entry not found",
                              {"X-Repo-Commit": repository.commit})
        if self.faults.loop:
            return self.head(handler, 302, {"Location": handler.path, "Content-Length": "0"})
        if self.faults.away and path in repository.large:
            self.head(handler, 302, {
                "Location": f"{self.faults.away}/{owner}/{name}/resolve/{commit}/{path}?signature=secret",
                "X-Repo-Commit": repository.commit, "X-Linked-ETag": f'"{repository.tag(path)}"',
                "X-Linked-Size": str(len(repository.files[path])), "Content-Length": "0"})
            return None
        return self.content(handler, record, owner, f"{name}/resolve/{commit}/{path}")

    def listing(self, handler, record):
        owner, name, kind, revision = record["path"].removeprefix("/api/models/").split("/", 3)
        repository = self.repositories.get(f"{owner}/{name}")
        if repository is None:
            # The hub does not tell strangers whether a model exists.
            return self.error(handler, 404 if record["token"] else 401, "RepoNotFound", "Repository not found")
        if revision not in (repository.commit, repository.revision):
            return self.error(handler, 404, "RevisionNotFound", f"Invalid rev id: {revision}")
        with_blobs = self.faults.blobs and "blobs=" in record["query"]
        if kind == "tree":
            body = json.dumps(repository.tree()).encode()
        else:
            body = json.dumps({"id": f"{owner}/{name}", "sha": repository.commit,
                               "siblings": repository.siblings(with_blobs)}).encode()
        if self.faults.garbage:
            body = b"<html>not a hub</html>"
        self.head(handler, 200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        if handler.command == "GET":
            handler.wfile.write(body)
        return None

    def content(self, handler, record, owner, rest):
        name, _, commit, path = rest.split("/", 3)
        repository, faults = self.repositories[f"{owner}/{name}"], self.faults
        body = repository.files[path]
        tag = f'"{repository.tag(path)}"' if not faults.plain_tags else 'W/"version one"'
        large = len(body) > 100_000
        announce = faults.announce if not record["range"] else 0
        with self.lock:
            if large and faults.corrupt > 0 and handler.command == "GET":
                faults.corrupt -= 1
                body = body[:-1] + bytes([body[-1] ^ 1])
        headers = {"ETag": tag, "X-Repo-Commit": repository.commit, "Accept-Ranges": "bytes"}
        status, start = 200, 0
        if record["range"] and faults.ranges != "ignored":
            start = int(record["range"].removeprefix("bytes=").rstrip("-"))
            if faults.ranges == "refused" or start >= len(body):
                return self.error(handler, 416, "", "", {"Content-Range": f"bytes */{len(body)}"})
            shown = start
            if faults.ranges == "shifted":
                start = shown = start // 2
            status = 206
            headers["Content-Range"] = f"bytes {shown}-{len(body) - 1}/{len(body)}"
        part = body[start:] + (faults.extra if large else b"")
        headers["Content-Length"] = str(len(part) + (announce if large else 0))
        self.head(handler, status, headers)
        if handler.command != "GET":
            return None
        if large and announce < 0:
            part = part[:announce]
        for place in range(0, len(part), faults.piece):
            piece = part[place:place + faults.piece]
            if large and faults.drop_after is not None and place >= faults.drop_after:
                break
            if large and faults.stall_after is not None and place >= faults.stall_after:
                faults.stall_after = None
                time.sleep(6)
                break
            handler.wfile.write(piece)
            record["sent"] += len(piece)
            if faults.slow and large:
                handler.wfile.flush()
                time.sleep(faults.slow)
        else:
            if not (large and announce):
                return None
        handler.close_connection = True
        return None

    @staticmethod
    def head(handler, status, headers):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()

    def error(self, handler, status, code, message, headers=None):
        body = json.dumps({"error": message}).encode()
        extra = {"Content-Length": str(len(body))} | (headers or {})
        if code:
            extra["X-Error-Code"] = code
        if message:
            extra["X-Error-Message"] = message
        self.head(handler, status, extra)
        if handler.command == "GET":
            handler.wfile.write(body)
