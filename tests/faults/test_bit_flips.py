"""Five hundred single bits flipped, one at a time, in everything a model, a verdict or a training is made from: each is found
before it is used, or provably means the same.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iqaflow import infer
from iqaflow.annotate import shards
from iqaflow.benchmark import items, metrics, results
from iqaflow.benchmark.stage import Exam
from iqaflow.core.errors import DamagedError
from iqaflow.core.manifest import commit_directory, read_manifest
from iqaflow.core.workspace import Workspace
from iqaflow.model import integrity
from iqaflow.registry import versions
from iqaflow.serve.signature import served
from iqaflow.track import parent_run
from iqaflow.train import checkpoint

FLIPS = 500
Door = Callable[[], None]  # uses what was flipped as the product does; DamagedError where it notices


@pytest.fixture(scope="module")
def workspace(calibrated, small_config, tmp_path_factory) -> Iterator[Workspace]:
    """Data, model, benchmark items and a registered champion, made by the real stages but for the items."""
    made = Workspace(tmp_path_factory.mktemp("flips") / "work")
    shutil.copytree(calibrated, made.root)
    row = dict.fromkeys(items.schema().names) | {
        "predictor": "model",
        "family": "identify",
        "cell": "single_nr",
        "target": "blur",
        "prediction": "blur",
        "value": 1.0,
    }
    frame = items.frame([{**row, "item_id": str(number), "source_id": "a", "image_id": str(number)} for number in range(300)])
    results.write(made, {"model": metrics.table(frame, small_config), "items": {"test_sha256": "x"}}, frame)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IQAFLOW_TRACKING_URI", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        with parent_run(small_config, made) as run:
            versions.promote(small_config, made, versions.register(small_config, made, run, served(), check=False), None)
        yield made


@pytest.fixture(scope="module")
def places(workspace, small_config, tmp_path_factory) -> dict[str, tuple[Path, Door]]:
    """What is flipped (a folder or a file), and the door that must notice."""
    scratch = tmp_path_factory.mktemp("scratch")
    plan = shards.plan(small_config, {})[:2]
    for shard in plan:
        shards.make(scratch / "shards", shard, small_config, workspace)
    shutil.copytree(workspace.stage1, scratch / "state")
    commit_directory(scratch / "state", scratch / "checkpoints" / "step-0000004", {"step": 4, "world": 1, "zero_stage": 0})
    champion = versions.find(small_config, workspace, versions.CHAMPION)
    assert champion is not None and champion.sealed

    def unfinished_shards() -> None:
        if not all(shards.done(scratch / "shards", shard) for shard in plan):
            raise DamagedError("a shard is made again")

    def checkpoints() -> None:
        if checkpoint.newest(scratch / "checkpoints") is None:
            raise DamagedError("the checkpoint is passed over")

    return {
        "model": (workspace.stage1, lambda: infer.load(workspace.models)),
        "calibration": (workspace.calibration, lambda: infer.load(workspace.models)),
        "manifest of the model": (workspace.models / "manifest.json", lambda: infer.load(workspace.models)),
        "items": (workspace.items, lambda: results.read(workspace, integrity.fingerprint(workspace.models))),
        "metrics": (workspace.metrics, lambda: results.read(workspace, integrity.fingerprint(workspace.models))),
        "data": (workspace.annotated, lambda: Exam.load(small_config, workspace)),
        "unfinished shards": (scratch / "shards", unfinished_shards),
        "checkpoint": (scratch / "checkpoints", checkpoints),
        "champion": (champion.folder.parent, lambda: versions.find(small_config, workspace, versions.CHAMPION)),
    }


def files_of(place: Path) -> list[Path]:
    files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    return [path for path in files if "__pycache__" not in path.parts and path.stat().st_size]


def means_the_same(path: Path, before: bytes, after: bytes) -> bool:
    """A JSON text may have another byte and the same value."""
    try:
        return path.suffix == ".json" and json.loads(before) == json.loads(after)
    except ValueError:
        return False


@pytest.mark.slow
def test_no_flipped_bit_is_used(places: dict[str, tuple[Path, Door]]) -> None:
    draw, silent, harmless = random.Random(20261128), [], 0
    for name, (_, door) in places.items():
        door()  # unharmed, all is well
        assert len(files_of(places[name][0])) > 0
    for number in range(FLIPS):
        name = list(places)[number % len(places)]
        place, door = places[name]
        path = draw.choice(files_of(place))
        before = path.read_bytes()
        position, bit = draw.randrange(len(before)), draw.randrange(8)
        after = bytearray(before)
        after[position] ^= 1 << bit
        path.write_bytes(after)
        try:
            door()
        except DamagedError:
            continue
        else:
            if means_the_same(path, before, bytes(after)):
                harmless += 1
            else:
                silent.append(f"{name}: {path} byte {position} bit {bit}")
        finally:
            path.write_bytes(before)
    assert not silent, "\n".join(silent)
    assert harmless < 5  # nearly every flip is found


def test_a_folder_with_a_stray_file_is_no_model(places, workspace) -> None:
    stray = workspace.stage1 / "adapter_config.json"  # transformers would load an adapter
    stray.write_text("{}")
    try:
        with pytest.raises(DamagedError, match=r"adapter_config.json does not belong"):
            infer.load(workspace.models)
    finally:
        stray.unlink()


def test_a_lost_calibration_is_not_replaced_by_none(workspace) -> None:
    kept = workspace.calibration.read_bytes()
    workspace.calibration.unlink()
    try:
        with pytest.raises(DamagedError, match=r"calibration.json is missing or does not match its manifest: run `iqaflow calib"):
            infer.load(workspace.models)
    finally:
        workspace.calibration.write_bytes(kept)


def test_new_weights_do_not_answer_with_an_old_calibration(workspace, tmp_path) -> None:
    copy = tmp_path / "models"
    shutil.copytree(workspace.models, copy)
    manifest = read_manifest(copy / "stage1")
    shutil.move(copy / "stage1", tmp_path / "again")
    commit_directory(tmp_path / "again", copy / "stage1", {"schema": manifest["schema"], "steps": manifest["steps"] + 1})
    with pytest.raises(DamagedError, match="run `iqaflow calibrate` again"):
        infer.load(copy)
