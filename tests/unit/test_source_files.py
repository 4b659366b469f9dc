"""Files that are no photographs, or unusual ones: each is used or named with a reason, none is fatal."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tests.scene_folders import indexed, scene


def corpus(root: Path) -> tuple[set[str], set[str]]:
    """Files that are no good photographs, and unusual ones that are; returns (names to use, names to leave out)."""
    good, bad = set(), set()

    def keep(into: set[str], name: str, data: bytes) -> None:
        (root / name).write_bytes(data)
        into.add(name)

    def bytes_of(image: Image.Image, form: str, **how) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, form, **how)
        return buffer.getvalue()

    seeds = iter(range(100, 200))
    turned = Image.Exif()
    turned[0x0112] = 6
    grey = np.arange(160 * 160, dtype=np.uint16).reshape(160, 160) * 2
    plain = {form: bytes_of(scene(next(seeds)), form) for form in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "JPEG2000")}
    suffix = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "BMP": "bmp", "TIFF": "tif", "GIF": "gif", "JPEG2000": "jp2"}
    for form, data in plain.items():
        keep(good, f"good.{suffix[form]}", data)
        keep(bad, f"nothing.{suffix[form]}", b"")
        keep(bad, f"noise.{suffix[form]}", np.random.default_rng(next(seeds)).bytes(3000))
        if form not in ("BMP", "TIFF"):
            keep(bad, f"cut.{suffix[form]}", data[: len(data) // 2])
            keep(bad, f"header.{suffix[form]}", data[:20])
    keep(bad, "cut.bmp", plain["BMP"][:-5000])
    keep(bad, "cut.tif", plain["TIFF"][:5000])
    keep(good, "cmyk.jpg", bytes_of(scene(next(seeds)).convert("CMYK"), "JPEG"))
    keep(good, "turned.jpg", bytes_of(scene(next(seeds)).crop((0, 0, 160, 110)), "JPEG", exif=turned))
    keep(good, "sixteen.png", bytes_of(Image.fromarray(grey), "PNG"))
    keep(good, "grey.png", bytes_of(scene(next(seeds)).convert("L"), "PNG"))
    keep(good, "palette.png", bytes_of(scene(next(seeds)).convert("P"), "PNG"))
    keep(good, "alpha.png", bytes_of(scene(next(seeds)).convert("RGBA"), "PNG"))
    keep(good, "progressive.jpg", bytes_of(scene(next(seeds)), "JPEG", progressive=True))
    keep(good, "animated.gif", bytes_of(scene(next(seeds)), "GIF", save_all=True, append_images=[scene(next(seeds))]))
    keep(good, "animated.webp", bytes_of(scene(next(seeds)), "WEBP", save_all=True, append_images=[scene(next(seeds))]))
    keep(good, "really_a_png.jpg", bytes_of(scene(next(seeds)), "PNG"))
    keep(good, "UPPER.JPG", bytes_of(scene(next(seeds)), "JPEG"))
    keep(good, "two words ünï.png", bytes_of(scene(next(seeds)), "PNG"))
    keep(bad, "bomb.png", bytes_of(Image.new("1", (9_000, 9_000)), "PNG"))
    keep(bad, "claims.bmp", plain["BMP"][:18] + (60_000).to_bytes(4, "little") * 2 + plain["BMP"][26:])
    keep(bad, "tiny.png", bytes_of(scene(1, 40), "PNG"))
    keep(bad, "line.png", bytes_of(scene(2).resize((3000, 1)), "PNG"))
    keep(bad, "drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg' width='500' height='500'/>")
    keep(bad, "drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg' width='500' height='500'/>")
    keep(bad, "page.jpg", b"<!DOCTYPE html><html><body>404</body></html>")
    keep(bad, "photo.txt", plain["PNG"])
    keep(bad, "nosuffix", plain["PNG"])
    keep(bad, "words.csv", b"a,b\n1,2\n")
    keep(bad, "copy of good.png", plain["PNG"])
    keep(bad, "vector.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n")
    keep(bad, "postscript.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 500 500\n")
    keep(bad, "flipped.jpg", plain["JPEG"][:200] + bytes(200) + plain["JPEG"][400:600])
    (root / "link.png").symlink_to(root / "good.png")
    (root / "loop").symlink_to(root)
    (root / "broken link.png").symlink_to(root / "nowhere.png")
    (root / "folder.png").mkdir()
    os.mkfifo(root / "pipe.png")
    bad |= {"link.png", "loop", "broken link.png", "pipe.png"}
    with open(os.fsencode(root) + b"/caf\xe9.png", "wb") as file:  # noqa: PTH123 (Path knows no bytes)
        file.write(plain["PNG"][:-1])
    bad.add("caf\\xe9.png")
    (root / ".hidden.png").write_bytes(plain["PNG"])
    (root / ".thumbnails").mkdir()
    (root / ".thumbnails" / "good.png").write_bytes(plain["PNG"])
    return good, bad


def test_every_bad_file_is_classified_and_none_is_fatal(tmp_path):
    (tmp_path / "corpus").mkdir()
    good, bad = corpus(tmp_path / "corpus")
    assert len(good) + len(bad) >= 60
    found = indexed(tmp_path / "corpus", tmp_path / "work")
    used = {photo.origin for photo in found.photographs}
    reasons = {entry["file"]: entry["reason"] for entry in found.quarantine}
    # of two files with the same bytes one is used
    swapped = {"copy of good.png", "good.png"}
    assert used - swapped == good - swapped and set(reasons) - swapped == bad - swapped
    assert len(used & swapped) == 1 == len(set(reasons) & swapped)
    assert all(len(reason) > 5 and "Traceback" not in reason for reason in reasons.values())
    assert "limit" in reasons["bomb.png"] and "more pixels" in reasons["claims.bmp"]
    assert "UTF-8" in reasons["caf\\xe9.png"] and "link" in reasons["loop"]
    assert "suffix" in reasons["photo.txt"] and "known format" in reasons["drawing.png"]
    upright = next(photo for photo in found.photographs if photo.origin == "turned.jpg")
    assert (upright.width, upright.height) == (110, 160)
    json.dumps(found.model_dump()).encode("utf-8")
    assert indexed(tmp_path / "corpus", tmp_path / "work") == found, "from the cache"


AS_NOBODY = """
import imagehash, json, os, sys, scipy.sparse.csgraph  # all that is loaded late, while everything may be read
from pathlib import Path
from PIL import Image
from iqaflow.core import config
from iqaflow import regions, sources
from iqaflow.sources import cache, folder, split
from iqaflow.core.errors import StageError
from iqaflow.core.plugins import KINDS
from iqaflow.core.workspace import Workspace
Image.init()
imagehash.phash(Image.new("L", (64, 64)))
chosen = config.load(overrides=("source.kind=folder", f"source.path={sys.argv[1]}"))
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    print(json.dumps(sources.index(chosen, Workspace(Path(sys.argv[2]))).quarantine))
except StageError as error:
    print(json.dumps(str(error)))
"""


def test_unreadable_things_are_named(folder, tmp_path):
    """As a user without rights, as root may read anything."""
    (folder / "closed").mkdir()
    scene(50).save(folder / "closed" / "in.png")
    scene(51).save(folder / "secret.png")
    work = tmp_path / "work"
    work.mkdir()
    (folder / "closed").chmod(0)
    (folder / "secret.png").chmod(0)

    def run() -> list | str:
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(folder), str(work)], capture_output=True, text=True, cwd=work, check=True
        )
        return json.loads(done.stdout)

    if os.geteuid() == 0:
        work.chmod(0o777)
        for above in (tmp_path, *tmp_path.parents[:-1]):
            above.chmod(above.stat().st_mode | 0o011)
    try:
        assert run() == [
            {"file": "closed", "reason": "the folder cannot be read (Permission denied)"},
            {"file": "secret.png", "reason": "secret.png cannot be read (Permission denied)"},
        ]
        folder.chmod(0o011)
        assert "the folder cannot be read (Permission denied)" in run()
    finally:
        folder.chmod(0o755)
        (folder / "closed").chmod(0o755)
