"""What the documentation shows must run as it is written, and results must be what their types say."""

from __future__ import annotations

import re
from pathlib import Path

import pydantic
import pytest
import skimage
from PIL import Image

from iqaflow.infer.schema import Assessment, Comparison

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def folder(model, tmp_path, monkeypatch) -> Path:
    """A folder with what the examples speak of: a model and two photographs."""
    (tmp_path / "models").symlink_to(model)
    Image.fromarray(skimage.data.coffee()[:90, :130]).save(tmp_path / "photo.jpg")
    Image.fromarray(skimage.data.coffee()[100:190, :130]).save(tmp_path / "other.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_example_runs(folder, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", (DOCS / "assess.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(example, "docs/assess.md", "exec"), names)
    assert names["better"] in ("Image A", "Image B") and len(names["several"]) == len(names["values"]) == 2
    assert names["here"]["points"] == [[60.0, 40.0]] and capsys.readouterr().out


def test_results_are_what_their_types_say(folder):
    import iqaflow

    model = iqaflow.load("models")
    whole = pydantic.TypeAdapter(Assessment)
    for options in ({}, {"question": "What is wrong?"}, {"region": (10, 10, 60, 60)}, {"reference": "other.jpg"}):
        result = whole.validate_python(model.assess("photo.jpg", **options), strict=True)
        assert ("answer" in result) == ("question" in options)
    pydantic.TypeAdapter(Comparison).validate_python(model.compare("photo.jpg", "other.jpg"), strict=True)
