"""Paths of a retraining in a worktree of its own."""

from pathlib import Path

import yaml

from iqaflow.core import config
from iqaflow.core.workspace import Workspace
from iqaflow.orchestrate.worktree import anchored


def test_paths_that_git_does_not_keep_are_read_where_they_are(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "worktree"
    for path in (home / "photos", home / "people" / "images", home / "kept", folder / "kept"):
        path.mkdir(parents=True)
    (home / "people" / "labels.json").write_text("{}")
    (home / "a, b.json").write_text("{}")
    tree = {
        "source": {
            "kind": "folder",
            "path": "photos",
            "masks": "a, b.json",
            "labelled": [
                {"name": "people", "format": "coco", "path": "people/labels.json", "images": "people/images"},
                {"name": "kept", "format": "coco", "path": "kept", "images": str(home)},
            ],
        },
        "annotate": {"sam": {"model": "org/name"}},
        "train": {"base": "kept"},
    }
    (home / "params.yaml").write_text(yaml.safe_dump(tree))
    moved = config.load(home / "params.yaml", overrides=anchored(Workspace(home), folder))
    assert moved.source.path == str(home / "photos") and moved.source.masks == str(home / "a, b.json")
    assert [(one.path, one.images) for one in moved.source.labelled] == [
        (str(home / "people" / "labels.json"), str(home / "people" / "images")),
        ("kept", str(home)),
    ]
    assert moved.annotate.sam.model == "org/name" and moved.train.base == "kept"


def test_downloads_stay_in_the_checkout(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"source": {"kind": "download", "catalogue": "bsds500"}}))
    assert anchored(Workspace(tmp_path), tmp_path / "worktree") == (f"source.path={tmp_path / 'data' / 'downloads'}",)
    (tmp_path / "params.yaml").write_text("{}\n")
    assert anchored(Workspace(tmp_path), tmp_path / "worktree") == ()
