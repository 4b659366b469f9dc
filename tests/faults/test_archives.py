"""Archives that are downloaded: unpacked, hostile, damaged, killed half-way, changed at their address."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile

import pytest

from iqaflow import sources
from iqaflow.core import lock as lease
from iqaflow.core.errors import StageError
from iqaflow.sources import archive
from tests.faults.file_server import Checkout, photographs, tarred, zipped

pytestmark = pytest.mark.usefixtures("impatient")


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


def test_a_changed_catalogue_leaves_nothing_of_the_old_one(server, tmp_path):
    server.files["file.zip"] = zipped(
        {f"{folder}/{name}": data for folder, first in (("a", 0), ("b", 50)) for name, data in photographs(3, first).items()}
    )
    first = Checkout(tmp_path / "work", [{"url": server.url("file.zip"), "photographs": ["a/*"]}])
    assert {photo.origin.split("/")[1] for photo in first.index().photographs} == {"a"}
    second = Checkout(tmp_path / "work", [{"url": server.url("file.zip"), "photographs": ["b/*"]}])
    assert {photo.origin.split("/")[1] for photo in second.index().photographs} == {"b"}
    assert not list(second.home.rglob("photo0.png")) and not list(second.home.glob(".work/file/*"))
