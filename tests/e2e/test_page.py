"""The page in a real browser: what a person does with it, and that it asks no other host for anything."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from iqaflow.data.masks import decode_mask
from iqaflow.tasks import grammar

START_SECONDS = 90


def demo(*arguments: object, folder: Path, temporary: Path) -> subprocess.Popen:
    environment = {"TMPDIR": str(temporary), "HTTP_PROXY": "http://192.0.2.1:9"}  # an unreachable proxy must not matter
    return subprocess.Popen(
        [sys.executable, "-m", "iqaflow.cli", "demo", *map(str, arguments)],
        cwd=folder,
        text=True,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.fixture(scope="module")
def address(model, tmp_path_factory) -> Iterator[str]:
    """The page as `iqaflow demo` serves it; at the end Ctrl-C must be quiet and leave no upload behind."""
    temporary = tmp_path_factory.mktemp("tmp")
    server = demo("--model", model, folder=temporary, temporary=temporary)
    said, begun = "", time.monotonic()
    while "The page is at" not in said:
        line = server.stdout.readline()
        assert line and time.monotonic() - begun < START_SECONDS, said
        said += line
    yield re.search(r"http://127\.0\.0\.1:\d+", said)[0]
    server.send_signal(signal.SIGINT)
    rest, _ = server.communicate(timeout=30)
    assert server.returncode == 0 and not rest.strip(), rest
    assert not list(temporary.glob("iqaflow-page-*"))


@pytest.fixture
def page(browser, address) -> Iterator:
    """A fresh page; whatever happens on it, it asks this machine alone and has no error in its console."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(20_000)
    hosts, errors = set(), []
    page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#picture input[type=file]", state="attached")
    yield page
    page.close()
    assert hosts - {None} == {"127.0.0.1"} and not errors, (hosts, errors)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    import skimage

    folder = tmp_path_factory.mktemp("photographs")
    Image.fromarray(skimage.data.coffee()).save(folder / "cup <b>.jpg", quality=60)
    Image.fromarray(skimage.data.coffee()[:90, :130]).save(folder / "small.tif")
    (folder / "letter.png").write_text("Dear all,")
    return folder


def drop(page, place: str, file: Path) -> None:
    page.set_input_files(f"#{place} input[type=file]", file)


def click(page, x: float, y: float) -> None:
    """On the picture, at these shares of its width and height."""
    box = page.locator("#picture img").bounding_box()
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def download(page, button: str) -> bytes:
    page.wait_for_selector(f"#{button}:not([disabled])")
    with page.expect_download() as got:
        page.click(f"#{button}")
    return Path(got.value.path()).read_bytes()


def test_drop_click_and_download(page, photographs):
    file = photographs / "cup <b>.jpg"
    drop(page, "picture", file)
    page.wait_for_selector("#verdict .iq-score")
    assert page.locator("#verdict .iq-words li").count() == 5
    page.locator("#verdict summary").click()
    result = json.loads(download(page, "json"))
    assert result["schema"] == "iqaflow.assessment/1" and result["score"]["level"] in grammar.RATINGS
    assert (result["image"]["width"], result["image"]["height"]) == (600, 400)
    assert result["image"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()  # the very file, not a copy
    assert "/" not in result["image"]["path"]

    click(page, 0.25, 0.5)
    page.wait_for_selector("#answer .iq-score")
    assert f"Region {len(result['regions']) + 1}" in page.inner_text("#answer")
    assert page.locator("#legend li").count() == len(result["regions"]) + 1
    asked = json.loads(download(page, "json"))["regions"][-1]
    assert asked["points"][0] == pytest.approx([150, 200], abs=3)
    assert decode_mask(asked["mask_rle"])[200, 150]
    picture = Image.open(io.BytesIO(download(page, "png")))
    assert picture.format == "PNG" and picture.width >= 600


@pytest.mark.slow
def test_every_file_is_given_as_it_is(page, photographs):
    """The second and third upload of a page, too; a JPEG must not be encoded again."""
    for name in ("small.tif", "letter.png", "cup <b>.jpg"):
        drop(page, "picture", photographs / name)
        if name == "letter.png":
            page.get_by_text("is not an image").first.wait_for()
            continue
        page.wait_for_selector("#verdict .iq-score")
        wanted = hashlib.sha256((photographs / name).read_bytes()).hexdigest()
        assert json.loads(download(page, "json"))["image"]["sha256"] == wanted
        page.locator("#picture").get_by_label("Remove Image").click()
        page.wait_for_selector("#picture input[type=file]", state="attached")
        page.wait_for_selector("#json[disabled]")
        assert page.locator("#legend li").count() == 0


@pytest.mark.slow
def test_a_box_by_two_corners(page, photographs):
    drop(page, "picture", photographs / "small.tif")
    page.wait_for_selector("#verdict .iq-score")
    page.locator("#mode").get_by_text("box").click()
    page.get_by_text("Click two opposite corners").wait_for()
    page.wait_for_timeout(300)
    before = page.locator("#picture img").get_attribute("src")
    click(page, 0.75, 0.75)
    page.get_by_text("Now click the opposite corner.").wait_for()
    assert page.locator("#picture img").get_attribute("src") != before  # the corner is drawn
    click(page, 0.25, 0.5)
    page.wait_for_selector("#answer .iq-score")
    region = json.loads(download(page, "json"))["regions"][-1]
    assert region["box_xyxy"] == pytest.approx([0.25 * 130, 0.5 * 90, 0.75 * 130, 0.75 * 90], abs=2)


@pytest.mark.slow
def test_a_question_is_answered_and_escaped(page):
    page.locator("#examples img").first.click()
    page.wait_for_selector("#verdict .iq-score")
    page.get_by_text("Reference and question").click()
    page.fill("#question textarea", "Is this <img src=x onerror=alert(1)> ${1+1} sharp?")
    page.press("#question textarea", "Enter")
    page.get_by_text("Is this <img src=x onerror=alert(1)> ${1+1} sharp?").first.wait_for()
    assert page.locator("#verdict img").count() == 0


@pytest.mark.slow
def test_compare(page, photographs):
    page.get_by_role("tab", name="Compare").click()
    drop(page, "image-a", photographs / "cup <b>.jpg")
    drop(page, "image-b", photographs / "small.tif")
    page.wait_for_selector("#comparison .iq-score")
    assert re.search(r"Image [AB]\s+is better", page.inner_text("#comparison"))
    page.wait_for_selector("#slider img")
    result = json.loads(download(page, "comparison-json"))
    assert result["schema"] == "iqaflow.comparison/1" and result["better"] in ("Image A", "Image B")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("letter.png", "letter.png is not an image of a known format"),
        ("bomb.png", "bomb.png claims more pixels than Pillow accepts"),
    ],
)
def test_a_bad_file_is_one_sentence(page, photographs, name, says):
    if name == "bomb.png":
        Image.fromarray(np.zeros((1, 1), np.uint8)).save(photographs / name)
        data = (photographs / name).read_bytes()
        header = b"IHDR" + struct.pack(">II", 30_000, 30_000) + data[24:29]
        (photographs / name).write_bytes(data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:])
    for _ in range(2):  # the same file again is refused again
        drop(page, "picture", photographs / name)
        page.get_by_text(says).first.wait_for()
        page.wait_for_selector("#picture input[type=file]", state="attached")
    assert "Drop a photograph" in page.inner_text("#verdict") and "Traceback" not in page.inner_text("body")


def test_a_port_in_use_is_one_sentence(model, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = demo("--model", model, "--port", taken.getsockname()[1], folder=tmp_path, temporary=tmp_path)
        said, _ = server.communicate(timeout=60)
    assert server.returncode == 2 and "cannot be used" in said and len(said.strip().splitlines()) == 1, said
