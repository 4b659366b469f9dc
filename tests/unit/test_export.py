"""What is exported loads in the tools it is for, and is what the tables hold."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iqaflow.core.errors import DamagedError, InputError
from iqaflow.core.manifest import read_manifest
from iqaflow.core.workspace import Workspace
from iqaflow.data import tables
from iqaflow.data.images import decode
from iqaflow.orchestrate import export


@pytest.fixture(scope="module")
def exported(annotated, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("export") / "set"
    counts = export.run(Workspace(annotated), out)
    assert counts["images"] == 84 and read_manifest(out, verify=True)["format"] == "both"
    return out


def rows(annotated: Path, table: str, split: str | None = None) -> list[dict]:
    return list(tables.read_rows(annotated / "data" / "annotated", table, split))


def test_hugging_face_datasets_loads_it_with_pictures(annotated, exported, tmp_path) -> None:
    code = (
        "import json, sys, numpy as np\n"
        "from datasets import load_dataset\n"
        "images, talks = (load_dataset(sys.argv[1], name, cache_dir=sys.argv[2]) for name in ('images', 'conversations'))\n"
        "one = images['train'][0]\n"
        "print(json.dumps({'counts': {name: [len(images[name]), len(talks[name])] for name in images}, 'id': one['image_id'],\n"
        "  'mean': float(np.asarray(one['image'].convert('RGB')).mean()), 'turns': talks['test'][0]['turns'],\n"
        "  'regions': len(one['regions'])}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(exported), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path)},
    )
    told = json.loads(done.stdout.splitlines()[-1])
    for split in tables.SPLITS:
        assert told["counts"][split] == [len(rows(annotated, table, split)) for table in ("images", "conversations")]
    row = next(row for row in rows(annotated, "images") if row["image_id"] == told["id"])
    assert told["mean"] == pytest.approx(decode(row["image"]).mean()) and told["regions"] == len(row["regions"])
    assert told["turns"] == rows(annotated, "conversations", "test")[0]["turns"]


def test_chat_files_hold_every_question_with_its_pictures(annotated, exported) -> None:
    chat = exported / "chat"
    info = json.loads((chat / "dataset_info.json").read_text())
    assert info["iqaflow_train"]["formatting"] == "sharegpt" and set(info) == {f"iqaflow_{split}" for split in tables.SPLITS}
    by_id = {row["image_id"]: row for row in rows(annotated, "images")}
    for split in tables.SPLITS:
        entries = json.loads((chat / info[f"iqaflow_{split}"]["file_name"]).read_text())
        lines = [json.loads(line) for line in (chat / "swift" / f"{split}.jsonl").read_text().splitlines()]
        wanted = rows(annotated, "conversations", split)
        assert len(entries) == len(lines) == len(wanted)
        for entry, line, row in zip(entries, lines, wanted, strict=True):
            asked, answered = entry["messages"]
            assert asked["content"].endswith(row["turns"][0]["text"]) and answered["content"] == row["turns"][1]["text"]
            assert asked["content"].count("<image>") == len(entry["images"]) == len(row["image_ids"])
            assert [(chat / "swift" / name).resolve() for name in line["images"]] == [
                (chat / name).resolve() for name in entry["images"]
            ]
            for name, image in zip(entry["images"], row["image_ids"], strict=True):
                stored = by_id[image["image_id"]]["reference" if image["role"] == "reference" else "image"]
                assert (chat / name).read_bytes() == stored
    first = next((chat / "images").iterdir())
    assert np.asarray(Image.open(io.BytesIO(first.read_bytes()))).ndim == 3


def test_the_card_counts_and_escapes(exported) -> None:
    from iqaflow.orchestrate.export import datasets

    card = (exported / "README.md").read_text()
    assert card.startswith("---\nlicense: other") and "split: calibration" in card and "| ground |" in card
    assert "<" not in datasets.plain("<script>alert(1)</script> [x](http://y)") and "\n" not in datasets.plain("a\nb")


def test_two_exports_are_equal(annotated, exported, tmp_path) -> None:
    export.run(Workspace(annotated), tmp_path / "again")
    assert (tmp_path / "again" / "manifest.json").read_bytes() == (exported / "manifest.json").read_bytes()


def test_bad_targets_are_one_sentence_and_touch_nothing(annotated, tmp_path) -> None:
    workspace = Workspace(annotated)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty: give another folder, or --force"):
        export.run(workspace, tmp_path / "full")
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"
    with pytest.raises(InputError, match="lies inside the data set"):
        export.run(workspace, workspace.annotated / "here")
    with pytest.raises(InputError, match="--format csv is unknown"):
        export.run(workspace, tmp_path / "new", "csv")
    with pytest.raises((DamagedError, FileNotFoundError)):
        export.run(Workspace(tmp_path), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    export.run(workspace, tmp_path / "full", "chat", force=True)
    assert (tmp_path / "full" / "train.json").is_file() and not (tmp_path / "full" / "mine.txt").exists()


def test_a_full_disk_leaves_nothing(annotated, tmp_path) -> None:
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from iqaflow.orchestrate import export\nfrom iqaflow.orchestrate.export import chat, datasets\n"
        "from iqaflow.core.workspace import Workspace\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "export.run(Workspace(Path(sys.argv[1])), Path(sys.argv[2]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(annotated), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode and "NoSpaceError" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
