"""Secrets planted in the environment, in code, in answers, exceptions and names are in no file that the product wrote and in
nothing it printed; parameters and addresses that hold one are refused before anything is stored.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from iqaflow.core.config import refusal
from iqaflow.core.errors import InputError
from iqaflow.core.workspace import Workspace
from tests import toy
from tests.chat_server import scripted
from tests.faults import planted
from tests.faults.test_reaper import reapers, until
from tests.representatives import representatives

ROOT = Path(__file__).parents[2]
PLACES = {"notes.py", ".git/config"}  # where the test itself put secrets


@pytest.fixture(scope="module")
def secrets():
    return planted.Planted()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, secrets):
    """A toy checkout full of secrets, and everything that was printed while it was used."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "planted.txt").write_text(secrets.text)
    workspace = toy.make(tmp_path_factory.mktemp("toy"))
    planted.careless(workspace.root)
    (workspace.root / "notes.py").write_text("lr = 1\n")
    toy.commit(workspace.root)
    toy.run(workspace.root, "git", "remote", "add", "origin", secrets.remote)
    (workspace.root / "notes.py").write_text(f"lr = 1\ntext = '''{secrets.text}'''\n")  # uncommitted
    (workspace.root / secrets.file_name).write_text("")
    return workspace, outside / "planted.txt", {}


def run(checkout, secrets, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    workspace, text, printed = checkout
    servers = ("PREFECT_", "MLFLOW_TRACKING", "IQAFLOW_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(servers)}
    done = subprocess.run(
        [sys.executable, "toy.py", *arguments],
        cwd=workspace.root,
        capture_output=True,
        text=True,
        timeout=400,
        env={**clean, **secrets.environment, "PLANTED": str(text), **environment},
    )
    printed[f"terminal {len(printed)} {arguments}"] = (done.stdout + done.stderr).encode()
    return done


def refuse(request, _):
    return 400, json.dumps({"error": {"message": f"bad header, got {refuse.header}"}})


@pytest.mark.slow
def test_no_secret_is_in_any_file_or_on_the_terminal(checkout, secrets):
    workspace, _, printed = checkout
    told = run(checkout, secrets, "run", REVEAL="tell")
    assert told.returncode == 0 and "Done in" in told.stdout, told.stderr
    raised = run(checkout, secrets, "run", "--set", "validate.phash_distance=3", "--set", "schedule.retries=0", REVEAL="raise")
    assert raised.returncode == 1 and "RuntimeError" in raised.stderr
    refuse.header = f"Authorization: Bearer {secrets.values['teacher key']}"
    with scripted(refuse) as server:
        asked = run(checkout, secrets, "run", "--set", "validate.phash_distance=3", REVEAL="teacher", TEACHER=server.url)
        assert server.headers[0]["Authorization"] == refuse.header.partition(": ")[2], "the teacher was asked with the key"
    assert asked.returncode == 3 and "bad header, got" in asked.stderr and "***" in asked.stderr
    until(lambda: not reapers(workspace))  # that of the last run would send what waits in the spool
    away = run(checkout, secrets, "validate", REVEAL="raise", DVC_STAGE="validate", IQAFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert away.returncode == 1 and list((workspace.state / "spool").glob("local-*.jsonl"))
    lost = run(checkout, secrets, "score", "data", "--model", "champion", MLFLOW_TRACKING_URI=secrets.environment["DATABASE_URL"])
    assert lost.returncode != 0

    files = planted.written(workspace.root, besides=PLACES)
    for name, least in (
        ("mlruns/mlflow.db", 1),
        (".iqaflow/prefect/prefect.db", 1),
        (".iqaflow/failures", 1),
        (".dvc/cache", 2),
        ("mlruns/artifacts", 5),
        (".iqaflow/results", 3),
        ("reports/stages", 3),
        (".iqaflow/spool", 1),
    ):
        assert sum(place.startswith(name) for place in files) >= least, f"{name} was looked at"
    assert any(b"careless" in content for place, content in files.items() if place.startswith(".iqaflow/prefect/prefect.db"))
    assert any(b"lr = 1" in content for place, content in files.items() if place.endswith("uncommitted.diff"))
    assert secrets.hits(files) == []
    assert secrets.hits(printed) == []
    assert [name for name, content in printed.items() if b"***" in content], "something was hidden"
    assert secrets.hits({"a file": secrets.text.encode()}), "the search finds what is there"


REFUSED = {
    "annotate.teacher.url=http://user:{}@127.0.0.1:9/v1": "IQAFLOW_TEACHER_KEY",
    "annotate.teacher.url=http://{}@127.0.0.1:9/v1": "IQAFLOW_TEACHER_KEY",
    "annotate.teacher.url=http://127.0.0.1:9/v1?code={}": "IQAFLOW_TEACHER_KEY",
    "annotate.teacher.model=hf_{}": "HF_TOKEN",
    "train.base=https://me:{}@hub.example/model": "HF_TOKEN",
    "source.catalogue=https://u:{}@h.example/list.yaml": "NETRC",
    "track.experiment=password={}": "environment variable",
    "source.labelled=[{{name: a, format: coco, path: 'http://u:{}@h/x.json', images: x}}]": "environment variable",
    "train.mixture={{'api_key={}': 1.0}}": "environment variable",
}


@pytest.mark.parametrize("override", representatives(REFUSED))
def test_a_secret_among_the_parameters_is_refused_and_nothing_is_stored(override, checkout, secrets):
    workspace, value = checkout[0], planted.WORD(12)
    secrets.values[override] = value
    before = set(planted.written(workspace.root, besides=set()))
    done = run(checkout, secrets, "run", "--set", override.format(value))
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert override.partition("=")[0] in done.stderr and REFUSED[override] in done.stderr
    assert value not in done.stderr + done.stdout
    files = planted.written(workspace.root, besides=PLACES)
    assert secrets.hits({name: files[name] for name in files}) == []
    assert {name for name in set(files) - before if not name.endswith(".lock")} <= {".iqaflow/run.lock"}


def test_a_secret_in_params_yaml_or_a_key_that_does_not_exist_is_not_repeated(checkout, secrets):
    workspace, _, _ = checkout
    own = workspace.params.read_bytes()
    value = planted.WORD(9)
    for text, says in (
        (f"annotate: {{teacher: {{url: 'http://u:{value}@h/v1'}}}}\n", "annotate.teacher.url holds"),
        (f"annotate: {{teacher: {{key: {value}}}}}\n", "unknown key 'annotate.teacher.key'"),
    ):
        workspace.params.write_text(text)
        done = run(checkout, secrets, "run")
        assert done.returncode == 2 and says in done.stderr and value not in done.stderr
    workspace.params.write_bytes(own)
    done = run(checkout, secrets, "run", "--set", f"annotate.teacher.key={value}")
    assert done.returncode == 2 and value not in done.stderr


@pytest.mark.parametrize(
    ("name", "instead"),
    representatives(
        [
            ("IQAFLOW_TRACKING_URI", "MLFLOW_TRACKING_PASSWORD"),
            ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_PASSWORD"),
            ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"),
        ]
    ),
)
def test_addresses_of_servers_with_a_password_are_refused(name, instead, checkout, secrets):
    for address in ("http://me:hunter2@127.0.0.1:9/api", "https://hunter2@127.0.0.1:9", "http://127.0.0.1:9/?token=hunter2"):
        done = run(checkout, secrets, "run", **{name: address})
        assert done.returncode == 2 and name in done.stderr and instead in done.stderr
        assert "hunter2" not in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_addresses_of_databases_are_allowed(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:hunter2@127.0.0.1/m")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    refusal.environment()


def test_addresses_of_catalogues_are_refused_and_netrc_is_used_instead(tmp_path, monkeypatch):
    from iqaflow.sources import catalogue, transfer

    own = tmp_path / "mine.yaml"
    for url in ("https://u:hunter2@h.example/a.zip", "https://h.example/a.zip?X-Amz-Signature=hunter2"):
        own.write_text(f"name: mine\nlicense: x\nparts: [{{url: '{url}'}}]\n")
        with pytest.raises(InputError, match=r"parts\.0: an address holds .* NETRC") as caught:
            catalogue.read(str(own), Workspace(tmp_path))
        assert "hunter2" not in str(caught.value)
        with pytest.raises(InputError, match="entry 1: it is refused: an address holds") as caught:
            catalogue.addresses(url, "the list")
        assert "hunter2" not in str(caught.value)

    def who(request, _):
        return 200, "bytes"

    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with scripted(who) as server, transfer.client() as http:
        with http.stream("POST", f"{server.url}/chat/completions", str, json={}) as response:
            assert response.status_code == 200
        assert server.headers[0]["Authorization"].startswith("Basic ")


SCHEDULED = """
import os, sys
from pathlib import Path
from prefect import flow
from iqaflow.orchestrate import services
from iqaflow.core.workspace import Workspace
from flows.parameters import refuse_secrets

@flow(name="scheduled")
def scheduled(preset: str | None = None, overrides: list[str] | None = None) -> None:
    refuse_secrets(overrides)

scheduled(overrides=["train.lr=1e-4"])
try:
    scheduled(preset="quick", overrides=["train.lr=1e-3", "annotate.teacher.url=http://me:" + sys.argv[1] + "@h/v1"])
except ValueError as error:
    print(error)
"""


@pytest.mark.slow
def test_overrides_of_a_scheduled_run_are_taken_out_of_prefects_database(tmp_path):
    from iqaflow.orchestrate.services import lifecycle

    shutil.copytree(ROOT / "flows", tmp_path / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "scheduled.py").write_text(SCHEDULED)
    value = planted.WORD(9)
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT / 'src'}:{tmp_path}",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_HOME": str(tmp_path / ".iqaflow" / "prefect"),
    }
    home = os.environ.get("PREFECT_HOME")
    os.environ["PREFECT_HOME"] = environment["PREFECT_HOME"]
    try:
        with lifecycle.prefect_server(Workspace(tmp_path), lambda text: None) as url:
            done = subprocess.run(
                [sys.executable, "scheduled.py", value],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=200,
                env={**os.environ, **environment, "PREFECT_API_URL": url},
            )  # the login is in ours
    finally:
        os.environ.pop("PREFECT_HOME") if home is None else os.environ.update(PREFECT_HOME=home)
    assert "annotate.teacher.url holds a password" in done.stdout and value not in done.stdout + done.stderr, done.stderr
    with sqlite3.connect(tmp_path / ".iqaflow" / "prefect" / "prefect.db") as database:
        stored = [json.loads(text) for (text,) in database.execute("SELECT parameters FROM flow_run ORDER BY start_time")]
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        told = [table for table in tables for row in database.execute(f'SELECT * FROM "{table}"') if value in repr(row)]
    assert stored == [
        {"preset": None, "overrides": ["train.lr=1e-4"]},
        {"preset": "quick", "overrides": ["train.lr=***", "annotate.teacher.url=***"]},
    ]
    assert told == []
