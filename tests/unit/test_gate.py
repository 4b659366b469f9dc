"""The gate: comparisons on constructed items, and whole promotions of a real tiny model against a real MLflow."""

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from iqaflow.core.config import Config
from iqaflow.core.errors import ConfigError, DamagedError, StageError
from iqaflow.core.files import write_json
from iqaflow.core.manifest import commit_directory
from iqaflow.core.workspace import StageResult, Workspace
from iqaflow.gate import compare, verdict
from iqaflow.gate import stage as gate
from iqaflow.model import integrity
from iqaflow.registry import versions
from iqaflow.registry.versions import locate
from iqaflow.serve.signature import served
from iqaflow.track import parent_run, store
from iqaflow.track.run import PARENT

CONFIG = Config()
SOURCE = Path(__file__).parents[2] / "src"
COUNT = 200


def items(predictor="model", identify=0.9, score_noise=0.05, rate=0.9, hit=0.8, iou=0.5, seed=0):
    """Item rows of one predictor, shaped as `bench.items`: shares of right answers, and how far scores are off."""
    from iqaflow.benchmark.items import frame

    rng = np.random.default_rng(seed)
    rows = []

    def add(family, cell, number, value, target="blur", prediction="blur", target_value=None, hit=None):
        rows.append(
            {
                "predictor": predictor,
                "family": family,
                "cell": cell,
                "item_id": f"{family}-{number}",
                "source_id": f"photo-{number % 7}",
                "image_id": f"image-{number}",
                "target": target,
                "prediction": prediction,
                "target_value": target_value,
                "value": value,
                "confidence": 0.9,
                "hit": hit,
                "level": 3.0,
            }
        )

    truth = np.random.default_rng(99).random(COUNT)
    for number in range(COUNT):
        add("identify", "single_nr", number, float(rng.random() < identify))
        add("rate", "nr", number, float(rng.random() < rate), target="Image A")
        add("score", "nr", number, float(truth[number] + rng.normal(0, score_noise)), target_value=float(truth[number]))
        add("ground", "hyd", number, float(np.clip(rng.normal(iou, 0.1), 0, 1)), hit=float(rng.random() < hit))
    return frame(rows)


def with_baselines(model):
    import pandas as pd

    chance = items("chance", identify=0.1, score_noise=3.0, rate=0.5, hit=0.2, iou=0.1, seed=5)
    linear = items("nss_linear", identify=0.4, score_noise=0.5, rate=0.7, hit=0.3, iou=0.2, seed=6)
    return pd.concat([model, chance, linear])


@pytest.mark.parametrize(("share", "outcome"), [(0.9, "promoted"), (0.42, "kept"), (0.2, "kept")])
def test_the_first_model_must_beat_the_best_baseline(share, outcome):
    found = verdict.first(CONFIG, with_baselines(items(identify=share)), 1)
    assert found.outcome == outcome and found.rival == "nss_linear" and found.primary.n == COUNT
    assert ("first champion" in found.sentence) == (outcome == "promoted")


def test_without_a_baseline_nothing_is_promoted():
    assert verdict.first(CONFIG, items(), 1).outcome == "kept"


def test_a_baseline_that_sees_the_clean_image_is_no_rival():
    from iqaflow.benchmark.compare import yardsticks

    cheat = items(sorted(yardsticks())[0], identify=1.0, seed=8)
    import pandas as pd

    found = verdict.first(CONFIG, pd.concat([with_baselines(items()), cheat]), 1)
    assert found.rival == "nss_linear" and found.promoted


CASES = {
    "clear win": ({"identify": 0.8}, {"identify": 0.5}, "promoted", ""),
    "the same": ({"identify": 0.8}, {"identify": 0.8}, "kept", "not better"),
    "within noise": ({"identify": 0.80, "seed": 1}, {"identify": 0.78, "seed": 2}, "kept", "not better"),
    "worse": ({"identify": 0.5}, {"identify": 0.8}, "kept", "not better"),
    "a guarded metric lost": ({"identify": 0.8, "iou": 0.4}, {"identify": 0.5, "iou": 0.5}, "kept", "worse.*ground.miou"),
    "guarded within noise": (
        {"identify": 0.8, "hit": 0.79, "seed": 1},
        {"identify": 0.5, "hit": 0.8, "seed": 2},
        "promoted",
        "nothing guarded",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_against_the_champion(case):
    import re

    new, old, outcome, says = CASES[case]
    found = verdict.against_champion(CONFIG, items(**new), items(**old), 4, 3)
    assert found.outcome == outcome and re.search(says, found.sentence), found.sentence
    assert [each.metric for each in found.guarded] == list(CONFIG.benchmark.guarded)
    text = found.markdown()
    assert text.count("guarded)") == 4 and "| identify.accuracy_single_nr (primary) |" in text
    assert json.loads(json.dumps(found.plain()))["primary"]["n"] == COUNT
    assert found.numbers()["promoted"] == (outcome == "promoted")


def test_only_shared_items_count_and_a_metric_that_vanished_blocks():
    old, new = items(identify=0.5), items(identify=0.9)
    half = new[~new["item_id"].isin([f"identify-{number}" for number in range(100)])]
    found = compare.against(half, old, "identify.accuracy_single_nr", 200, 0)
    assert found.n == 100 and found.better
    found = verdict.against_champion(CONFIG, new[new["family"] != "ground"], old, 4, 3)
    assert found.outcome == "kept" and "ground.miou not measured against 0.4" in found.sentence
    found = verdict.against_champion(CONFIG, new, old[old["family"] != "ground"], 4, 3)
    assert found.promoted  # what the champion never did cannot get worse


def test_items_that_only_one_vocabulary_has_are_left_out_and_said():
    new, old = items(identify=0.9), items(identify=0.5)
    beyond = new["item_id"].isin([f"identify-{number}" for number in range(30)])
    found = verdict.against_champion(CONFIG, new, old[~beyond], 4, 3, {"haze", "fog"})
    assert found.promoted and found.primary.n == COUNT - 30 and found.plain()["left_out"] == 30
    assert found.sentence.endswith("guarded got worse. 30 items are left out: only one of the two knows fog, haze.")
    found = verdict.against_champion(CONFIG, new, old, 4, 3, {"fog"})  # a test set that holds none of it
    assert found.left_out == 0 and "left out" not in found.sentence


def test_less_is_better_for_errors():
    found = compare.against(items(score_noise=0.02), items(score_noise=0.3), "score.mae", 200, 0)
    assert found.better and found.new < found.old and found.difference > 0


def test_unknown_metrics_are_named():
    with pytest.raises(ConfigError, match=r"unknown metric identify\.accurazy"):
        compare.check(Config.model_validate({"benchmark": {"primary": "identify.accurazy"}}))


@pytest.fixture
def workspace(tmp_path, monkeypatch, trained, empty_store):
    """A real tiny model with an uncalibrated record, and an empty store."""
    from iqaflow.engine import calibration as record

    for name in ("IQAFLOW_TRACKING_URI", "MLFLOW_TRACKING_URI", PARENT):
        monkeypatch.delenv(name, raising=False)
    made = Workspace(tmp_path / "work")
    shutil.copytree(trained / "models", made.root / "models")
    shutil.copytree(empty_store, made.mlruns)
    write_json(made.calibration, record.defaults())
    integrity.bind(made.models)
    measured(made, items(), "test-1")
    return made


def measured(workspace, model, test):
    """What the benchmark stage would have left: the model's items beside the baselines', and their tables."""
    from iqaflow.benchmark import items as bench
    from iqaflow.benchmark import metrics
    from iqaflow.benchmark import results as measured

    frame = bench.frame(with_baselines(model).to_dict("records"))
    tables = {name: metrics.table(rows, CONFIG) for name, rows in frame.groupby("predictor")}
    measured.write(workspace, {"model": tables.pop("model"), "baselines": tables, "items": {"test_sha256": test}}, frame)


def change_model(workspace, mark):
    record = json.loads(workspace.calibration.read_text())
    write_json(workspace.calibration, {**record, "provenance": mark})
    integrity.bind(workspace.models)


def aliases(workspace):
    mlflow = store.client(store.ensure(workspace, CONFIG))
    return {alias: int(number) for alias, number in mlflow.get_registered_model("iqaflow").aliases.items()}


def test_models_are_registered_compared_and_promoted(workspace):
    with parent_run(CONFIG, workspace) as parent:
        result = gate.run(CONFIG, workspace)
    assert result.metrics["promoted"] == 1.0 and "is the first champion" in result.markdown
    assert aliases(workspace) == {"challenger": 1, "champion": 1}
    assert StageResult.read(workspace, "gate") == result
    published = json.loads(workspace.benchmark.read_text())
    assert published["champion"] is None and published["gate"]["outcome"] == "promoted"
    mlflow = store.client(store.ensure(workspace, CONFIG))
    version = mlflow.get_model_version("iqaflow", "1")
    assert version.run_id == parent and version.tags["gate"] == "promoted" and version.tags["test_sha256"] == "test-1"
    assert version.description.startswith("---") or "#" in version.description  # the card
    assert mlflow.get_run(parent).data.metrics["identify.accuracy_single_nr"] > 0.8

    result = gate.run(CONFIG, workspace)  # again: the same bytes
    assert "already champion" in result.markdown and len(mlflow.search_model_versions("name='iqaflow'")) == 1

    change_model(workspace, "second")
    measured(workspace, items(identify=0.97, seed=3), "test-1")
    assert gate.run(CONFIG, workspace).metrics["promoted"] == 1.0
    assert aliases(workspace) == {"challenger": 2, "champion": 2, "rollback": 1}

    change_model(workspace, "third")
    measured(workspace, items(identify=1.0, iou=0.3), "test-1")
    result = gate.run(CONFIG, workspace)
    assert result.metrics["promoted"] == 0.0 and "worse than the champion (version 2) in ground.miou" in result.markdown
    assert aliases(workspace) == {"challenger": 3, "champion": 2, "rollback": 1}
    published = json.loads(workspace.benchmark.read_text())
    assert published["champion"]["identify"]["accuracy_single_nr"]["value"] > 0.9
    assert gate.run(CONFIG, workspace).details["version"] == 3  # a second look registers nothing new
    assert versions.rollback(CONFIG, workspace) == 1
    assert aliases(workspace) == {"challenger": 3, "champion": 1, "rollback": 2}


@pytest.mark.slow
def test_the_champion_answers_in_a_process_that_knows_neither_the_checkout_nor_the_package(workspace, tmp_path):
    """By `mlflow models predict`."""
    from iqaflow.data.images import encode_png

    gate.run(CONFIG, workspace)
    picture = base64.b64encode(encode_png(np.random.default_rng(0).integers(0, 255, (80, 96, 3), np.uint8))).decode()
    rows = {"dataframe_split": {"columns": ["image"], "data": [[picture], ["no picture"]]}}
    write_json(tmp_path / "rows.json", rows)
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store.uri(workspace), "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mlflow",
            "models",
            "predict",
            "-m",
            "models:/iqaflow@champion",
            "--env-manager",
            "local",
            "-i",
            str(tmp_path / "rows.json"),
            "-o",
            str(tmp_path / "out.json"),
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    first, second = (json.loads(text) for text in json.loads((tmp_path / "out.json").read_text())["predictions"])
    assert first["schema"] == "iqaflow.assessment/1" and 0 <= first["score"]["value"] <= 1
    assert first["image"]["width"] == 96 and "path" in second["error"]


def test_a_model_that_cannot_answer_is_not_registered(workspace):
    shutil.move(workspace.stage1, workspace.root / "broken")
    (workspace.root / "broken" / "model.safetensors").write_bytes(b"no weights")
    commit_directory(workspace.root / "broken", workspace.stage1)
    integrity.bind(workspace.models)
    with pytest.raises(StageError, match="cannot answer its own example"), parent_run(CONFIG, workspace) as parent:
        versions.register(CONFIG, workspace, parent, served())
    assert versions.find(CONFIG, workspace, "challenger") is None


def test_damaged_weights_are_refused_before_anything_is_stored(workspace):
    weights = workspace.stage1 / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(DamagedError, match="does not match its manifest"):
        gate.run(CONFIG, workspace)


def test_a_champion_is_believed_no_altered_item(workspace):
    """Its answers made five times worse in the store would let any model win."""
    from iqaflow.benchmark import items as bench

    gate.run(CONFIG, workspace)
    kept = versions.resolve("champion", workspace) / "items.parquet"
    frame = bench.read(kept)
    frame["value"] *= 0.2
    kept.write_bytes(bench.file_bytes(frame))
    change_model(workspace, "second")
    measured(workspace, items(identify=0.3, seed=3), "test-1")
    with pytest.raises(DamagedError, match=r"items.parquet is missing or does not match.*: restore .*iqaflow rollback"):
        gate.run(CONFIG, workspace)
    assert aliases(workspace) == {"challenger": 1, "champion": 1}


def test_a_manifest_made_to_fit_is_found_by_the_tags(workspace):
    from iqaflow.core.manifest import read_manifest, write_manifest

    gate.run(CONFIG, workspace)
    folder = versions.resolve("champion", workspace).parent
    files = [folder / name for name in read_manifest(folder)["files"]]
    (folder / "artifacts" / "metrics.json").write_text("{}")
    write_manifest(folder, files, {"schema": "iqaflow.package/1"})
    with pytest.raises(DamagedError, match="is not what was registered as iqaflow version 1"):
        versions.find(CONFIG, workspace, "champion")


def test_going_back_works_when_the_champions_files_are_gone(workspace):
    gate.run(CONFIG, workspace)
    change_model(workspace, "second")
    measured(workspace, items(identify=0.97, seed=3), "test-1")
    gate.run(CONFIG, workspace)
    assert aliases(workspace)["champion"] == 2
    shutil.rmtree(versions.resolve("champion", workspace).parent)
    with pytest.raises(StageError, match=r"version 2 are gone from .*iqaflow rollback"):
        versions.find(CONFIG, workspace, "champion")
    assert versions.rollback(CONFIG, workspace) == 1
    assert aliases(workspace) == {"challenger": 2, "champion": 1, "rollback": 2}
    with pytest.raises(StageError, match="are gone"):  # but not to files that are not there
        versions.rollback(CONFIG, workspace)
    assert aliases(workspace)["champion"] == 1


def test_a_champion_of_before_still_counts_and_answers_anew(workspace, annotated, small_config, monkeypatch):
    """Versions registered before manifests were sealed: their fingerprint vouches for the model, nothing for the items."""
    from iqaflow.benchmark import stage

    shutil.copytree(annotated / "data", workspace.root / "data")
    gate.run(small_config, workspace)
    mlflow = store.client(store.ensure(workspace, small_config))
    mlflow.delete_model_version_tag("iqaflow", "1", "manifest.sha256")
    folder = versions.resolve("champion", workspace)
    (folder / "manifest.json").unlink()
    asked = []
    evaluate = stage.evaluate
    monkeypatch.setattr(stage, "evaluate", lambda *given: asked.append(given) or evaluate(*given))
    change_model(workspace, "second")
    measured(workspace, items(), "test-1")
    gate.run(small_config, workspace)
    assert len(asked) == 1
    (folder / "calibration.json").write_text((folder / "calibration.json").read_text().replace("0.0", "0.1", 1))
    with pytest.raises(DamagedError, match="is not what was registered"):
        versions.find(small_config, workspace, "champion")


def test_a_version_whose_tags_were_taken_away_must_at_least_belong_together(workspace):
    gate.run(CONFIG, workspace)
    mlflow = store.client(store.ensure(workspace, CONFIG))
    for tag in ("manifest.sha256", "fingerprint"):
        mlflow.delete_model_version_tag("iqaflow", "1", tag)
    found = versions.find(CONFIG, workspace, "champion")
    assert found is not None and not found.sealed
    path = found.folder / "calibration.json"
    path.write_text(path.read_text().replace("0.0", "0.1", 1))
    with pytest.raises(DamagedError, match=r"calibration.json is missing or does not match"):
        versions.find(CONFIG, workspace, "champion")


@pytest.mark.parametrize("harm", ["metrics", "items", "weights", "calibration", "manifest"])
def test_damage_at_the_gate_is_one_sentence_and_nothing_moves(workspace, harm):
    from iqaflow.core import errors

    path = {
        "metrics": workspace.metrics,
        "items": workspace.items,
        "weights": workspace.stage1 / "model.safetensors",
        "calibration": workspace.calibration,
        "manifest": workspace.reports / "manifest.json",
    }[harm]
    path.write_bytes(path.read_bytes()[:100] if harm == "weights" else b"")
    with pytest.raises(DamagedError) as caught:
        gate.run(CONFIG, workspace)
    assert errors.exit_code(caught.value) == errors.STOPPED and "run `iqaflow" in errors.sentence(caught.value)
    assert versions.find(CONFIG, workspace, "challenger") is None


def test_items_of_another_model_are_not_this_ones(workspace):
    change_model(workspace, "second")
    with pytest.raises(StageError, match="measured on another model than the one in models: run `iqaflow benchmark` again"):
        gate.run(CONFIG, workspace)


def test_on_another_test_set_the_champion_is_measured_again(workspace, annotated, small_config):
    from iqaflow.benchmark import stage

    shutil.copytree(annotated / "data", workspace.root / "data")
    gate.run(small_config, workspace)
    change_model(workspace, "second")
    theirs = stage.evaluate(locate(versions.resolve("champion", workspace)), small_config, workspace)
    measured(workspace, theirs, "test-2")  # what the new model is said to answer: just the same
    result = gate.run(small_config, workspace)
    assert result.metrics["promoted"] == 0.0
    assert result.details["primary"]["difference"] == 0.0 and result.details["rival"] == "champion (version 1)"


def test_without_a_registry_there_is_no_gate(workspace, monkeypatch):
    monkeypatch.setenv("IQAFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(StageError, match="registry does not answer"):
        gate.run(CONFIG, workspace)


def test_without_a_benchmark_there_is_no_gate(workspace):
    workspace.items.unlink()
    with pytest.raises(StageError, match=r"items\.parquet is missing: run `iqaflow benchmark`"):
        gate.run(CONFIG, workspace)
