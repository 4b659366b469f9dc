"""A server of files on loopback that breaks off, lies or is busy on demand; archives to serve; a checkout that downloads them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image

from iqaflow import sources
from iqaflow.core import config
from iqaflow.core.workspace import Workspace
from iqaflow.data.photographs import Index


class Server(ThreadingHTTPServer):
    """Serves `files` with ranges and ETags; `faults` says what goes wrong."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.sent = 0
        self.ranges = True  # False: a server that knows no ranges
        self.cut: list[int] = []  # close the connection after so many bytes, once for each entry
        self.busy: list[int] = []  # answer so, once for each entry
        self.claim: int | None = None  # another Content-Length
        self.pause = 0.0  # seconds between pieces

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def handle_error(self, request, client_address) -> None:
        pass  # clients that hang up are part of the tests


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Server = self.server
        server.asked.append((self.path.lstrip("/"), self.headers.get("Range")))
        if server.busy:
            return self.send_error(server.busy.pop(0))
        data = server.files.get(self.path.lstrip("/"))
        if data is None:
            return self.send_error(404)
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        wanted, start = self.headers.get("Range"), 0
        if wanted and server.ranges and self.headers.get("If-Range", tag) == tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(server.claim or len(data) - start))
        self.end_headers()
        end = start + server.cut.pop(0) if server.cut else len(data)
        for at in range(start, min(end, len(data)), 4096):
            piece = data[at : min(at + 4096, end)]
            self.wfile.write(piece)
            server.sent += len(piece)
            time.sleep(server.pause)
        self.close_connection = True

    def log_message(self, *_) -> None:
        pass


def photographs(count: int, first: int = 0) -> dict[str, bytes]:
    """Different scenes as PNG, by name."""
    found = {}
    for seed in range(first, first + count):
        small = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(small).resize((110, 110), Image.Resampling.BICUBIC).save(buffer, "PNG")
        found[f"photo{seed}.png"] = buffer.getvalue()
    return found


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return buffer.getvalue()


def tarred(members: dict[str, bytes], *special: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        root = tarfile.TarInfo("./")
        root.type = tarfile.DIRTYPE
        packed.addfile(root)
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
        for info in special:
            packed.addfile(info)
    return buffer.getvalue()


class Checkout:
    """A workspace with a catalogue of its own."""

    def __init__(self, root: Path, parts: list[dict], **more) -> None:
        self.workspace = Workspace(root)
        root.mkdir(exist_ok=True)
        tree = {"name": "ours", "license": "CC0", "parts": parts, **more}
        (root / "ours.yaml").write_text(json.dumps(tree))  # JSON is YAML
        self.config = config.load(overrides=("source.kind=download", "source.catalogue=ours.yaml"))

    @property
    def home(self) -> Path:
        return self.workspace.root / "data" / "downloads" / "ours"

    def index(self) -> Index:
        return sources.index(self.config, self.workspace)
