"""`iqaflow distort`: what it writes, what it prints, what it refuses."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from skimage import data
from typer.testing import CliRunner

from iqaflow import distortions
from iqaflow.cli import app
from iqaflow.core import errors


@pytest.fixture(scope="module")
def photo():
    return np.ascontiguousarray(data.astronaut()[20:180, 140:300])


@pytest.fixture(scope="module")
def folder(tmp_path_factory, photo):
    folder = tmp_path_factory.mktemp("distort")
    picture = Image.fromarray(photo)
    picture.save(folder / "in.png")
    picture.convert("P").save(folder / "palette.gif")
    picture.convert("CMYK").save(folder / "print.jpg")
    picture.convert("L").save(folder / "grey.tif")
    Image.fromarray(photo[:20]).save(folder / "flat.png")
    mask = np.zeros(photo.shape[:2], np.uint8)
    mask[30:90, 40:120] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    Image.fromarray(mask[:50]).save(folder / "short.png")
    Image.fromarray(mask * 0).save(folder / "black.png")
    (folder / "text.png").write_text("no picture")
    return folder


def distort(folder, *arguments):
    """Exit code, stdout, and the failure's sentence, of `iqaflow distort` run in this process inside `folder`."""
    paths = [str(folder / a) if "." in a and not a.startswith("-") else a for a in arguments]
    result = CliRunner().invoke(app, ["distort", *paths])
    failed = result.exception is not None and not isinstance(result.exception, SystemExit)
    code = errors.exit_code(result.exception) if failed else result.exit_code
    return code, result.stdout, errors.sentence(result.exception) if failed else ""


def test_distort_writes_what_apply_gives(folder, photo):
    assert distort(folder, "in.png", "new/out.png", "--name", "noise_speckle", "--level", "4", "--seed", "9")[0] == 0
    made = np.asarray(Image.open(folder / "new/out.png"))
    assert np.array_equal(made, distortions.apply(photo, "noise_speckle", 4, np.random.default_rng(9)))
    assert distort(folder, "in.png", "part.png", "--name", "pixelate", "--mask", "mask.png")[0] == 0
    part, mask = np.asarray(Image.open(folder / "part.png")), np.asarray(Image.open(folder / "mask.png")) > 0
    assert np.array_equal(part, distortions.apply_in_mask(photo, mask, "pixelate", 3))
    for odd in ("palette.gif", "print.jpg", "grey.tif"):
        assert distort(folder, odd, "odd.png", "--name", "oversharpen") == (0, "", "")
        assert Image.open(folder / "odd.png").size == (160, 160)


def test_distort_lists_the_names(folder):
    names = distortions.names()
    code, text, _ = distort(folder, "--name", "list")
    assert code == 0 and [line.split() for line in text.splitlines()] == [[n, distortions.category_of(n)] for n in names]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("in.png out.png --name motion_blur", "There is no distortion 'motion_blur' (near: blur_motion"),
        ("in.png out.png --name pixelate --level 9", "--level is 9, it must be 1 (slight) to 5 (catastrophic)."),
        ("in.png out.png --name pixelate --seed=-1", "--seed is -1, it must be 0 or more."),
        ("--name pixelate", "`iqaflow distort` needs two files"),
        ("./ out.png --name pixelate", "is a folder; give one image file."),
        ("in.png ./ --name pixelate", "is a folder; give the file to write, such as"),
        ("in.png out.jpg --name pixelate", "out.jpg must end in .png"),
        ("in.png in.png --name pixelate", "in.png is the image itself"),
        ("in.png mask.png/out.png --name pixelate", "cannot be written: File exists."),
        ("none.png out.png --name pixelate", "The image cannot be used: none.png does not exist."),
        ("text.png out.png --name pixelate", "text.png is not an image of a known format"),
        ("flat.png out.png --name pixelate", "flat.png is 160x20, its short side is under 32 px."),
        ("in.png out.png --name pixelate --mask none.png", "The mask cannot be used: none.png does not exist."),
        ("in.png out.png --name pixelate --mask short.png", "The mask must be as large as the image:"),
        ("in.png out.png --name pixelate --mask black.png", "black.png has no white pixel"),
    ],
)
def test_distort_refuses_in_one_sentence(folder, arguments, sentence):
    code, text, said = distort(folder, *arguments.split())
    assert code == 2 and text == "" and sentence in said and "\n" not in said and said.endswith(".")
    assert not (folder / "out.png").exists()


def test_distort_as_a_program(folder):
    call = [sys.executable, "-m", "iqaflow.cli", "distort", "in.png", "out.txt", "--name", "pixelate"]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr == "iqaflow: out.txt must end in .png: the result is written without loss.\n"
