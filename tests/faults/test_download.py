"""Downloads against a real server on loopback: broken off, killed, changed, damaged, refused, hostile; and what comes of them."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iqaflow import sources
from iqaflow.core import config
from iqaflow.core import lock as lease
from iqaflow.core.clients import http
from iqaflow.core.errors import InputError, NoSpaceError, PipelineError, StageError
from iqaflow.core.workspace import Workspace
from iqaflow.data.photographs import Index
from iqaflow.sources import archive, catalogue, download, transfer


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


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(transfer, "WAIT_SECONDS", 0.001)


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


# ---- one file ------------------------------------------------------------------------------------------------------------------


DATA = np.random.default_rng(1).bytes(300_000)


def fetch(server: Server, path: Path, **wanted) -> str:
    with transfer.client() as http:
        return transfer.fetch(http, server.url("file"), path, **wanted)


def test_a_broken_connection_is_continued(server, tmp_path):
    server.files["file"] = DATA
    server.cut = [100_000, 50_000, 0, 0, 0]
    assert (
        fetch(server, tmp_path / "file", sha256=hashlib.sha256(DATA).hexdigest(), size=len(DATA))
        == hashlib.sha256(DATA).hexdigest()
    )
    assert (tmp_path / "file").read_bytes() == DATA and [path.name for path in tmp_path.iterdir()] == ["file"]
    starts = [wanted for _, wanted in server.asked]
    assert starts[0] is None and all(wanted.startswith("bytes=") for wanted in starts[1:]) and len(starts) == 6
    assert server.sent == len(DATA), "no byte came twice"


def test_a_server_without_ranges_starts_afresh(server, tmp_path):
    server.files["file"] = DATA
    server.cut, server.ranges = [100_000], False
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA and server.sent == len(DATA) + 100_000


def test_a_file_that_changed_meanwhile_is_not_stitched_together(server, tmp_path, monkeypatch):
    server.files["file"] = DATA
    server.cut = [100_000]
    monkeypatch.setattr(transfer, "TRIES", 1)
    with pytest.raises(PipelineError, match=r"cannot be downloaded .*: check the network and run the same command again"):
        fetch(server, tmp_path / "file")
    assert (tmp_path / "file.part").stat().st_size == 100_000
    server.files["file"] = newer = DATA[::-1]
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == newer and server.asked[-1] == ("file", "bytes=100000-")


def test_killed_between_the_last_byte_and_the_rename(server, tmp_path):
    server.files["file"] = DATA
    fetch(server, tmp_path / "file")
    os.replace(tmp_path / "file", tmp_path / "file.part")
    tag = f'"{hashlib.md5(DATA).hexdigest()}"'
    (tmp_path / "file.part.json").write_text(json.dumps({"url": server.url("file"), "version": tag}))
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA and server.sent == len(DATA)
    (tmp_path / "file.part").write_bytes(DATA + b"too long")
    (tmp_path / "file.part.json").write_text(json.dumps({"url": server.url("file"), "version": tag}))
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA
    (tmp_path / "file.part").write_bytes(b"of unknown origin")  # no note beside it: not trusted
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA


@pytest.mark.parametrize(
    "wanted, words",
    [
        ({"sha256": "0" * 64}, "has sha256 .* instead of 0000"),
        ({"md5": "0" * 32}, "has md5 .* instead of 0000"),
        ({"size": 5}, "is 300000 bytes, but the catalogue says 5"),
    ],
)
def test_wrong_content_is_refused(server, tmp_path, wanted, words):
    server.files["file"] = DATA
    with pytest.raises(StageError, match=words):
        fetch(server, tmp_path / "file", **wanted)
    assert list(tmp_path.iterdir()) == [], "nothing is left that could be taken for it"


def test_a_right_md5_is_enough(server, tmp_path):
    server.files["file"] = DATA
    assert fetch(server, tmp_path / "file", md5=hashlib.md5(DATA).hexdigest()) == hashlib.sha256(DATA).hexdigest()


def test_servers_that_are_not_well(server, tmp_path):
    server.files["file"] = DATA
    server.busy = [503, 429, 500]
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA and len(server.asked) == 4
    server.busy = [404]
    with pytest.raises(StageError, match="answers 404 Not Found: the file is no longer there; check the address"):
        fetch(server, tmp_path / "other")
    server.busy = [403]
    with pytest.raises(StageError, match="answers 403 Forbidden: the server refuses it"):
        fetch(server, tmp_path / "other")
    assert len(server.asked) == 6, "not tried again: it would be the same"
    server.busy = [503] * 99
    with pytest.raises(PipelineError, match="the server answers 503"):
        fetch(server, tmp_path / "other")
    assert len(server.asked) == 6 + transfer.TRIES


def test_waits_grow(server, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(transfer, "WAIT_SECONDS", 1.0)
    monkeypatch.setattr(http, "JITTER", 0.0)
    monkeypatch.setattr(time, "sleep", waits.append)
    server.busy = [503] * 99
    with pytest.raises(PipelineError):
        fetch(server, tmp_path / "file")
    assert waits == [1, 2, 4, 8, 16]


def test_no_network_is_one_sentence(tmp_path):
    with transfer.client() as http, pytest.raises(PipelineError, match=r"127.0.0.1:9/x cannot be downloaded \(ConnectError"):
        transfer.fetch(http, "http://127.0.0.1:9/x", tmp_path / "x")


def test_too_large_for_the_disk_is_said_before(server, tmp_path):
    server.files["file"], server.claim = DATA, 10**16
    with pytest.raises(NoSpaceError, match=r"needs 10000000.0 GB, but .* has only .* GB free: free some disk space"):
        fetch(server, tmp_path / "file")


PROGRAM = """
import sys, resource
from pathlib import Path
from iqaflow.core import config
from iqaflow.sources import download
from iqaflow.core.errors import exit_code, sentence
from iqaflow.core.workspace import Workspace
if len(sys.argv) > 2:
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
source = config.load(overrides=("source.kind=download", "source.catalogue=ours.yaml")).source
try:
    print(len(download.bring(source, Workspace(Path(sys.argv[1]))).files))
except Exception as error:
    print(exit_code(error), sentence(error))
"""


def test_full_disk_is_one_sentence_and_loses_nothing(server, tmp_path):
    server.files["file.zip"] = zipped({**photographs(3), "big.png": DATA})
    checkout = Checkout(tmp_path / "work", [{"url": server.url("file.zip")}])
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path / "work"), "200000"], capture_output=True, text=True)
    assert done.stdout.startswith("3 No space left while writing") and "free some disk space" in done.stdout, done.stderr
    assert (checkout.home / ".file.download.part").stat().st_size == 200_000
    assert len(checkout.index().photographs) == 3
    assert server.asked[-1] == ("file.zip", "bytes=200000-")


def test_a_killed_download_goes_on(server, tmp_path):
    """Kill -9 in the middle of the transfer; the next run asks for the rest only."""
    server.files["file.zip"] = zipped({**photographs(3), "noise.bin": np.random.default_rng(2).bytes(1 << 20)})
    server.pause = 0.02
    checkout = Checkout(tmp_path / "work", [{"url": server.url("file.zip")}])
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path / "work")], stdout=subprocess.DEVNULL)
    part = checkout.home / ".file.download.part"
    deadline = time.monotonic() + 60
    while not (part.is_file() and part.stat().st_size > 100_000):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    here, server.pause = part.stat().st_size, 0.0
    assert here < len(server.files["file.zip"])
    found = checkout.index()
    assert len(found.photographs) == 3 and server.asked[-1] == ("file.zip", f"bytes={here}-")


# ---- archives ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archives_become_a_source(server, tmp_path, kind):
    members = {
        **{f"set/images/{name}": data for name, data in photographs(6).items()},
        "set/images/broken.png": b"no image",
        "set/other/skipped.png": b"not wanted",
        "set/masks/one.mat": b"mask",
    }
    name = "set.zip" if kind == "zip" else "set.tar.gz"
    server.files[name] = zipped(members) if kind == "zip" else tarred(members)
    digest = hashlib.sha256(server.files[name]).hexdigest()
    checkout = Checkout(
        tmp_path / "work",
        [{"url": server.url(name), "kind": kind, "sha256": digest, "photographs": ["set/images/*"], "keep": ["*.mat"]}],
    )
    found = checkout.index()
    assert [photo.origin for photo in found.photographs] == [f"set/set/images/photo{number}.png" for number in range(6)]
    assert {photo.license for photo in found.photographs} == {"CC0"}
    assert found.quarantine == [
        {
            "file": "set/set/images/broken.png",
            "reason": "image is not an image of a known format (JPEG, PNG, WEBP, BMP, TIFF, GIF, PPM, JPEG2000)",
        }
    ]
    assert found.provenance == [{"from": server.url(name), "bytes": str(len(server.files[name])), "sha256": digest}]
    photo = found.photographs[0]
    assert sources.load(photo, checkout.config.source, checkout.workspace).shape == (110, 110, 3)
    there = {path.relative_to(checkout.home).as_posix() for path in checkout.home.rglob("*") if path.is_file()}
    assert "set/set/masks/one.mat" in there and not any("skipped" in path or "download" in path for path in there)
    server.shutdown()
    asked = len(server.asked)
    assert checkout.index() == found and len(server.asked) == asked, "no network is needed any more"
    (checkout.home / photo.origin).write_bytes(b"changed")
    with pytest.raises(StageError, match="changed or vanished"):
        sources.load(photo, checkout.config.source, checkout.workspace)


def test_inner_archives_and_coco_licences(server, tmp_path):
    images = photographs(4)
    tree = {
        "licenses": [{"id": 4, "name": "Attribution License", "url": "http://by"}, {"id": 1, "name": "NC", "url": "http://nc"}],
        "images": [
            {"file_name": name, "license": 4 if number else 1, "flickr_url": f"http://flickr/{number}"}
            for number, name in enumerate(images)
            if number < 3
        ],
    }
    server.files["train.zip"] = zipped({f"train/{name}": data for name, data in images.items()})
    server.files["notes.zip"] = zipped(
        {"notes/panoptic.json": json.dumps(tree).encode(), "notes/panoptic.zip": zipped({"panoptic/mask.png": b"mask"})}
    )
    checkout = Checkout(
        tmp_path / "work",
        [
            {"url": server.url("train.zip"), "photographs": ["train/*"]},
            {"url": server.url("notes.zip"), "photographs": [], "keep": ["notes/panoptic.json"], "inner": ["notes/panoptic.zip"]},
        ],
        coco_licences={"part": "notes", "file": "notes/panoptic.json"},
    )
    told = [(photo.license, photo.credit) for photo in checkout.index().photographs]
    assert told == [
        ("NC (http://nc)", "http://flickr/0"),
        ("Attribution License (http://by)", "http://flickr/1"),
        ("Attribution License (http://by)", "http://flickr/2"),
        ("CC0", ""),
    ]
    assert (checkout.home / "notes/notes/panoptic/mask.png").read_bytes() == b"mask"
    assert not (checkout.home / "notes/notes/panoptic.zip").exists()


HOSTILE = ["../escaped.png", "/tmp/escaped.png", "a/../../escaped.png", "..\\escaped.png", "C:\\escaped.png"]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_members_outside_the_folder_are_refused(server, tmp_path, kind, name):
    pack = zipped if kind == "zip" else tarred
    server.files["evil"] = pack({**photographs(3), name: b"evil"})
    checkout = Checkout(tmp_path / "work", [{"url": server.url("evil"), "kind": kind}])
    with pytest.raises(StageError, match=r"is refused: its member .* would leave its folder"):
        checkout.index()
    assert not list(tmp_path.rglob("*escaped*")) and not (checkout.home / "evil").exists()


def test_links_devices_and_encrypted_members_are_left_out(server, tmp_path):
    link, device, hard = tarfile.TarInfo("link.png"), tarfile.TarInfo("device.png"), tarfile.TarInfo("hard.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    hard.type, hard.linkname = tarfile.LNKTYPE, "../../secret"
    device.type = tarfile.CHRTYPE
    server.files["a.tar.gz"] = tarred(photographs(3), link, hard, device)
    symbolic = zipfile.ZipInfo("link.png")
    symbolic.create_system, symbolic.external_attr = 3, 0o120777 << 16
    buffer = io.BytesIO(zipped(photographs(3, 10)))
    with zipfile.ZipFile(buffer, "a") as packed:
        packed.writestr(symbolic, "/etc/passwd")
    data = bytearray(buffer.getvalue())
    at = data.rfind(b"PK\x01\x02", 0, data.rfind(b"PK\x01\x02"))  # the directory's entry before the link's
    data[at + 8] |= 1  # the bit that says "encrypted"
    server.files["b.zip"] = bytes(data)
    checkout = Checkout(tmp_path / "work", [{"url": server.url("a.tar.gz"), "kind": "tar"}, {"url": server.url("b.zip")}])
    found = checkout.index()
    assert {entry["file"]: entry["reason"].split(" in ")[0] for entry in found.quarantine} == {
        "a/link.png": "a link or device",
        "a/hard.png": "a link or device",
        "a/device.png": "a link or device",
        "b/link.png": "a link",
        "b/photo12.png": "encrypted",
    }
    assert len(found.photographs) == 5 and not any(path.is_symlink() for path in checkout.home.rglob("*"))


@pytest.mark.parametrize(
    "kind, data",
    [
        ("zip", b"<!DOCTYPE html><html>Please log in</html>"),
        ("zip", b""),
        ("zip", zipped(photographs(3))[:-400]),
        ("tar", b"<!DOCTYPE html><html>Please log in</html>"),
        ("tar", tarred(photographs(3))[:-4000]),
        ("tar", b""),
    ],
)
def test_what_is_no_archive_is_refused(server, tmp_path, kind, data):
    server.files["file"] = data
    checkout = Checkout(tmp_path / "work", [{"url": server.url("file"), "kind": kind}])
    with pytest.raises(StageError, match=rf"is no sound {kind} archive .*: check the address in the catalogue"):
        checkout.index()
    assert not (checkout.home / "file").exists() and not (checkout.home / ".file.download").exists()
    server.files["file"] = zipped(photographs(3)) if kind == "zip" else tarred(photographs(3))
    assert len(checkout.index().photographs) == 3, "what was refused is not recorded as the right one"


def test_damaged_members_are_noticed(server, tmp_path):
    data = bytearray(zipped(photographs(3)))
    data[200] ^= 1
    server.files["file.zip"] = bytes(data)
    with pytest.raises(StageError, match="Bad CRC-32"):
        Checkout(tmp_path / "work", [{"url": server.url("file.zip")}]).index()


def test_killed_while_unpacking_goes_on(tmp_path):
    """Members that are whole are not written again; half ones do not exist."""
    packed = tmp_path / "a.zip"
    packed.write_bytes(zipped(photographs(5)))
    folder = tmp_path / "out"
    folder.mkdir()
    archive.unpack(packed, "zip", folder, lambda name: name < "photo3", "a.zip")
    assert sorted(path.name for path in folder.iterdir()) == ["photo0.png", "photo1.png", "photo2.png"]
    before = {path.name: path.stat().st_ino for path in folder.iterdir()}
    archive.unpack(packed, "zip", folder, lambda name: True, "a.zip")
    assert {name: (folder / name).stat().st_ino for name in before} == before and len(list(folder.iterdir())) == 5


def test_a_later_change_at_the_address_is_detected(server, tmp_path):
    server.files["file.zip"] = zipped(photographs(3))
    checkout = Checkout(tmp_path / "work", [{"url": server.url("file.zip")}])
    first = checkout.index()
    lock = checkout.home.with_name("ours.lock")
    recorded = json.loads(lock.read_text())[server.url("file.zip")]
    assert recorded["sha256"] == hashlib.sha256(server.files["file.zip"]).hexdigest() == first.provenance[0]["sha256"]
    server.files["file.zip"] = zipped(photographs(3, 50))
    assert checkout.index() == first, "nothing is downloaded twice"
    (checkout.home / "file" / "manifest.json").unlink()  # somebody removed a part of it
    with pytest.raises(StageError, match=r"changed since it was first downloaded .*: if that is right, remove its entry from"):
        checkout.index()
    lock.unlink()
    assert checkout.index().photographs != first.photographs


def test_two_downloads_at_once(server, tmp_path):
    server.files["file.zip"] = zipped(photographs(3))
    checkout = Checkout(tmp_path / "work", [{"url": server.url("file.zip")}])
    with (
        lease.hold(checkout.home / ".lease", "download of ours"),
        pytest.raises(lease.BusyError, match="Another download of ours is at work"),
    ):
        checkout.index()


# ---- lists ---------------------------------------------------------------------------------------------------------------------


def test_a_list_of_addresses(server, tmp_path):
    images = photographs(6)
    server.files.update({f"p/{name}": data for name, data in images.items()})
    digest = {name: hashlib.sha256(data).hexdigest() for name, data in images.items()}
    rows = ["url,file,sha256,license,origin"]
    rows += [f"{server.url(f'p/{name}')},{name},{digest[name]},CC BY,Ann" for name in list(images)[:4]]
    rows += [
        f"{server.url('p/photo4.png')},sub/four.png,,,",
        f"{server.url('p/photo5.png')},five.png,{'0' * 64},,",
        f"{server.url('p/gone.png')},gone.png,,,",
    ]
    server.files["list.csv"] = "\n".join(rows).encode()
    checkout = Checkout(tmp_path / "work", [{"url": server.url("list.csv"), "kind": "list"}])
    found = checkout.index()
    assert [photo.origin for photo in found.photographs] == [*(f"list/photo{n}.png" for n in range(4)), "list/sub/four.png"]
    assert (found.photographs[0].license, found.photographs[0].credit) == ("CC BY", "Ann")
    assert (found.photographs[4].license, found.photographs[4].credit) == ("CC0", server.url("p/photo4.png"))
    reasons = {entry["file"]: entry["reason"] for entry in found.quarantine}
    assert set(reasons) == {"list/five.png", "list/gone.png"}
    assert "instead of 0000" in reasons["list/five.png"] and "404" in reasons["list/gone.png"]
    (checkout.home / "list" / "manifest.json").unlink()  # brought again: each photograph must be what it was
    (checkout.home / "list").rename(tmp_path / "away")
    server.files["p/photo4.png"] = photographs(1, 90)["photo90.png"]
    again = checkout.index()
    assert len(again.photographs) == 4 and "instead of" in {e["file"]: e["reason"] for e in again.quarantine}["list/sub/four.png"]


def test_unreachable_addresses_stop_the_run_and_the_rest_is_kept(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "TRIES", 2)
    images = photographs(4)
    server.files.update(images)
    urls = [*(server.url(name) for name in images), "http://127.0.0.1:9/dead.png"]
    checkout = Checkout(tmp_path / "work", [{"kind": "list", "name": "few", "urls": urls}])
    with pytest.raises(
        PipelineError, match=r"1 of the 5 addresses of few are out of reach; the others are kept. First: http://127"
    ):
        checkout.index()
    asked = len(server.asked)
    checkout = Checkout(tmp_path / "work", [{"kind": "list", "name": "few", "urls": urls[:3]}])
    assert len(checkout.index().photographs) == 3 and len(server.asked) == asked
    names = [photo.origin for photo in checkout.index().photographs]
    assert all(name.startswith("few/") and name.endswith(".png") for name in names)


def test_a_changed_catalogue_leaves_nothing_of_the_old_one(server, tmp_path):
    server.files["file.zip"] = zipped(
        {f"{folder}/{name}": data for folder, first in (("a", 0), ("b", 50)) for name, data in photographs(3, first).items()}
    )
    first = Checkout(tmp_path / "work", [{"url": server.url("file.zip"), "photographs": ["a/*"]}])
    assert {photo.origin.split("/")[1] for photo in first.index().photographs} == {"a"}
    second = Checkout(tmp_path / "work", [{"url": server.url("file.zip"), "photographs": ["b/*"]}])
    assert {photo.origin.split("/")[1] for photo in second.index().photographs} == {"b"}
    assert not list(second.home.rglob("photo0.png")) and not list(second.home.glob(".work/file/*"))


@pytest.mark.parametrize(
    "text, words",
    [
        ("url,file\nftp://x/y.png,y.png", "entry 1: url: string should match"),
        ("not an address", "entry 1: url"),
        ("url,file\nhttp://x/1,../1.png", "would leave its folder"),
        ("url,sha256\nhttp://x/1,abc", "sha256"),
        ("url,file\nhttp://x/1,a.png\nhttp://x/2,a.png", "entry 2: a.png is the file name of two addresses"),
    ],
)
def test_bad_lists_are_named(text, words):
    with pytest.raises(InputError, match=words):
        catalogue.addresses(text, "the list")


# ---- catalogues ----------------------------------------------------------------------------------------------------------------


def test_shipped_catalogues_are_sound():
    assert catalogue.shipped() == ["bsds500", "coco", "kadis700k", "koniq10k"]
    for name in catalogue.shipped():
        found = catalogue.read(name, Workspace(Path("/nowhere")))
        assert found.name == name and found.license and found.homepage.startswith("https://")
        assert all(part.photographs or part.keep for part in found.parts)
        if found.coco_licences:
            part = next(part for part in found.parts if part.folder == found.coco_licences.part)
            assert part.wants(found.coco_licences.file) and not part.is_photograph(found.coco_licences.file)
    part = catalogue.read("bsds500", Workspace(Path("/nowhere"))).parts[0]
    assert part.is_photograph("BSR/BSDS500/data/images/train/100075.jpg")
    assert not part.wants("BSR/BSDS500/data/images/test/100007.jpg")
    assert part.wants("BSR/BSDS500/data/groundTruth/val/101085.mat")


@pytest.mark.parametrize(
    "text, words",
    [
        ("name: x\nlicense: y", "parts: field required"),
        ("name: x\nlicense: y\nparts: []", "parts"),
        ("name: x\nlicense: y\nparts: [{url: 'file:///etc/passwd'}]", "parts.0.url"),
        ("name: x\nlicense: y\nparts: [{kind: list}]", "give `url`"),
        ("{", "cannot be read"),
        ("- a", "is not right"),
        ("name: x\nlicense: y\nparts: [{url: 'http://a/b.zip'}, {url: 'http://c/b.zip'}]", "parts need different names"),
        ("name: ../x\nlicense: y\nparts: [{url: 'http://a/b.zip'}]", "name"),
        ("name: x\nlicense: y\nparts: [{url: 'http://a/b.zip', sha256: abc}]", "sha256"),
    ],
)
def test_bad_catalogues_are_one_sentence(tmp_path, text, words):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputError, match=words):
        catalogue.read("mine.yaml", Workspace(tmp_path))


def test_unknown_catalogue_names_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="neither one of bsds500, coco, kadis700k, koniq10k nor a YAML file"):
        catalogue.read("imagenet", Workspace(tmp_path))


def test_downloads_may_lie_on_a_shared_disk(server, tmp_path):
    server.files["file.zip"] = zipped(photographs(3))
    checkout = Checkout(tmp_path / "work", [{"url": server.url("file.zip")}])
    source = checkout.config.source.model_copy(update={"path": str(tmp_path / "disk")})
    holding = download.bring(source, checkout.workspace)
    assert (tmp_path / "disk" / "ours.lock").is_file() and not checkout.home.exists()
    assert download.path(holding.files[0][0], source, checkout.workspace) == holding.files[0][1]
