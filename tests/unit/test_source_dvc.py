"""Photographs from a folder that DVC keeps: fetched, checked, and its origin kept."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from iqaflow import sources
from iqaflow.core import config
from iqaflow.core.errors import PipelineError, StageError
from iqaflow.core.workspace import Workspace
from iqaflow.data.photographs import Index
from tests.scene_folders import scene

PUBLISH = """
import sys
from pathlib import Path
from dvc.repo import Repo
root = Path(sys.argv[1])
publisher = Repo.init(str(root / "publisher"))
publisher.add([str(root / "publisher" / "photos")])
publisher.scm.add([str(root / "publisher" / name) for name in (".dvc", "photos.dvc", ".gitignore")])
publisher.scm.commit("photographs")
checkout = Repo.init(str(root / "checkout"))
checkout.imp(str(root / "publisher"), "photos", out=str(root / "checkout" / "photos"))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> Path:
    """A git and DVC checkout that has imported `photos` from another one, but not its data."""
    root = tmp_path_factory.mktemp("dvc")
    for name in ("publisher", "checkout"):
        (root / name).mkdir()
        subprocess.run(["git", "init", "-q", name], cwd=root, check=True)
        for key, value in (("user.email", "someone@example.org"), ("user.name", "Someone")):
            subprocess.run(["git", "config", key, value], cwd=root / name, check=True)
    (root / "publisher" / "photos").mkdir()
    for seed in range(4):
        scene(seed).save(root / "publisher" / "photos" / f"{seed}.png")
    # the steps of `dvc init`, `dvc add` and `dvc import` in one process, as each command takes a second to start
    done = subprocess.run([sys.executable, "-c", PUBLISH, str(root)], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(root / "checkout" / "photos")  # as a fresh clone is
    shutil.rmtree(root / "checkout" / ".dvc" / "cache")
    return root / "checkout"


def test_dvc_folder_is_pulled_checked_and_its_origin_kept(imported, tmp_path):
    chosen = config.load(overrides=("source.kind=dvc", f"source.path={imported / 'photos'}", "source.license=CC0"))
    assert not (imported / "photos").exists()
    found = sources.index(chosen, Workspace(tmp_path))
    assert [photo.origin for photo in found.photographs] == ["0.png", "1.png", "2.png", "3.png"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=imported.parent / "publisher", capture_output=True, text=True)
    (told,) = found.provenance
    assert told["rev"] == head.stdout.strip() and told["url"].endswith("publisher") and told["path"] == "photos"
    (imported / "photos" / "new.png").write_bytes(b"by hand")
    with pytest.raises(StageError, match=r"differs from photos.dvc: `dvc commit"):
        sources.index(chosen, Workspace(tmp_path))
    assert (imported / "photos" / "new.png").is_file(), "nobody's file is thrown away"


def test_dvc_faults_are_sentences(imported, tmp_path):
    def index(path: Path) -> Index:
        return sources.index(config.load(overrides=("source.kind=dvc", f"source.path={path}")), Workspace(tmp_path))

    with pytest.raises(StageError, match=r"nothing.dvc is missing; bring the folder by `dvc import`"):
        index(imported / "nothing")
    (imported / "odd.dvc").write_text("- just\n- a list\n")
    with pytest.raises(StageError, match=r"odd.dvc is not a .dvc file"):
        index(imported / "odd")
    (imported / "lost.dvc").write_text(
        (imported / "photos.dvc")
        .read_text()
        .replace("  path: photos", "  path: lost")
        .replace(str(imported.parent / "publisher"), "https://user:word@localhost:9/gone.git")
    )
    with pytest.raises(PipelineError, match=r"`dvc (status|pull) .*lost.dvc` failed.*refused") as caught:
        index(imported / "lost")
    assert "word" not in str(caught.value)
