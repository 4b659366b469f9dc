"""Two MLflow servers and a local store, each with a version 1 that is champion: the store that is asked is the one used."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from iqaflow.core import process
from iqaflow.core.config import Config
from iqaflow.core.environment import prepare
from iqaflow.core.errors import DamagedError
from iqaflow.core.files import write_json
from iqaflow.core.security.loopback import HOST, free_port
from iqaflow.core.workspace import Workspace
from iqaflow.model import integrity
from iqaflow.registry import versions
from iqaflow.serve.signature import served
from iqaflow.track import parent_run

CONFIG = Config()
NAMES = ("IQAFLOW_TRACKING_URI", "MLFLOW_TRACKING_URI")


@pytest.fixture(scope="module")
def servers(tmp_path_factory) -> Iterator[list[str]]:
    addresses, children = [], []
    for number in range(2):
        home, port = tmp_path_factory.mktemp(f"server-{number}"), free_port(0)
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            HOST,
            "--port",
            str(port),
            "--workers",
            "1",
            "--backend-store-uri",
            f"sqlite:///{home / 'mlflow.db'}",
            "--artifacts-destination",
            str(home / "artifacts"),
        ]
        children.append(process.start(command, home, log=home / "log"))
        addresses.append(f"http://{HOST}:{port}")
    until = time.monotonic() + 120
    for address in addresses:
        while not _answers(address):
            assert time.monotonic() < until, "an MLflow server did not start"
            time.sleep(0.3)
    yield addresses
    for child in children:
        process.stop(child)


def _answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(f"{address}/health", timeout=2).status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def workspace(servers, calibrated, tmp_path_factory) -> Iterator[tuple[Workspace, list[str]]]:
    """A checkout that registered a model of its own at both servers and in its own store: the calibrations differ."""
    made = Workspace(tmp_path_factory.mktemp("asking") / "work")
    shutil.copytree(calibrated / "models", made.models)
    stores = [*servers, f"sqlite:///{made.mlruns / 'mlflow.db'}"]
    made.mlruns.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            patch.delenv(name, raising=False)
        for number, uri in enumerate(stores):
            record = json.loads(made.calibration.read_text())
            write_json(made.calibration, record | {"mark": number})
            integrity.bind(made.models)
            patch.setenv("IQAFLOW_TRACKING_URI", uri)
            with parent_run(CONFIG, made) as run:
                version = versions.register(CONFIG, made, run, served(), check=False)
            versions.promote(CONFIG, made, version, None)
            assert version == 1
        patch.delenv("IQAFLOW_TRACKING_URI")
        yield made, stores


def mark(folder: Path) -> int:
    return json.loads((folder / "calibration.json").read_text())["mark"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1, 2, 0])
@pytest.mark.parametrize("variable", NAMES)
def test_the_store_asked_is_the_store_used(workspace, monkeypatch, number: int, variable: str) -> None:
    made, stores = workspace
    if variable == "IQAFLOW_TRACKING_URI":  # as the command line leaves it: the other variable names the local store
        monkeypatch.setenv("MLFLOW_TRACKING_URI", stores[2])
    monkeypatch.setenv(variable, stores[number])
    found = versions.look_up("champion", made)
    assert mark(found.folder) == number and found.sealed
    if number == 1:  # a copy of its own, so that nobody fetches again because another asked in between
        monkeypatch.setenv(variable, stores[0])
        assert versions.look_up("champion", made).folder != found.folder and mark(found.folder) == 1
        monkeypatch.setenv(variable, stores[number])
    assert mark(versions.look_up("models:/iqaflow@champion", made).folder) == number


@pytest.mark.slow
def test_the_command_line_answers_with_that_model(workspace, tmp_path) -> None:
    import numpy as np

    from iqaflow.data.images import encode_png

    made, stores = workspace
    image = tmp_path / "image.png"
    image.write_bytes(encode_png(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)))
    runs = []
    for uri in stores[:2]:
        source = str(Path(versions.__file__).parents[2])
        environment = {name: value for name, value in os.environ.items() if name not in NAMES}
        environment |= {"IQAFLOW_TRACKING_URI": uri, "IQAFLOW_ROOT": str(made.root), "PYTHONPATH": source}
        done = subprocess.run(
            [sys.executable, "-m", "iqaflow.cli", "assess", str(image), "--json"],
            cwd=tmp_path,
            text=True,
            capture_output=True,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        runs.append(json.loads(done.stdout)["model"]["run_id"])
    assert runs[0] != runs[1]


@pytest.mark.slow
def test_a_damaged_copy_is_fetched_anew_and_a_damaged_original_refused(workspace, servers, monkeypatch) -> None:
    made, stores = workspace
    monkeypatch.setenv("IQAFLOW_TRACKING_URI", stores[0])
    found = versions.look_up("champion", made)
    weights = found.folder / "stage1" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert versions.look_up("champion", made).folder == found.folder and weights.read_bytes() == whole

    [original] = list(_artifacts(servers[0]).rglob("stage1/model.safetensors"))
    original.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    shutil.rmtree(found.folder.parent)
    with pytest.raises(DamagedError, match=r"model.safetensors is missing or does not match"):
        versions.look_up("champion", made)
    assert not list((made.state / "models").glob("*-0*/*")) and not list((made.state / "models").glob(".*.part"))
    original.write_bytes(whole)


def _artifacts(address: str) -> Path:
    """The folder of a server's artifacts, by its process's arguments."""
    import psutil

    port = address.rpartition(":")[2]
    for each in psutil.process_iter(["cmdline"]):
        words = each.info["cmdline"] or []
        if "--artifacts-destination" in words and port in words:
            return Path(words[words.index("--artifacts-destination") + 1])
    raise AssertionError(f"no server at {address}")


def test_one_variable_names_the_store(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("IQAFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:2")
    prepare(tmp_path)
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:1"
