"""The world around a checkout: the real pipeline in it, with toy stages. Each surrounding once stopped, misled or slowed it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from iqaflow.core.environment import FOREIGN_GIT, LOOPBACK, prepare
from iqaflow.core.errors import InputError
from iqaflow.core.workspace import Workspace
from tests import toy
from tests.representatives import representatives

Surrounding = Callable[[Path, Path], "tuple[Path, dict[str, str]]"]


@contextmanager
def proxy() -> Iterator[tuple[str, list[str]]]:
    """A proxy that answers 502 to everything: its address, and what it was asked."""
    heard: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.requestline)
            self.send_response(502)
            self.end_headers()

        do_POST = do_CONNECT = do_HEAD = do_PUT = do_PATCH = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", heard
    finally:
        server.shutdown()


def clean() -> dict[str, str]:
    ours = ("PREFECT_", "MLFLOW_TRACKING", "IQAFLOW_", "NO_PROXY", "no_proxy")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def run(root: Path, extra: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "toy.py", "run", *arguments]
    return subprocess.run(command, cwd=root, env={**clean(), **extra}, capture_output=True, text=True, timeout=600)


def behind_a_proxy_and_in_another_repository(root: Path, elsewhere: Path) -> tuple[Path, dict[str, str]]:
    """As in a git hook of another repository, behind a company's proxy."""
    other = elsewhere / "other"
    other.mkdir()
    toy.run(other, "git", "init", "-q")
    (other / "file").write_text("of another project")
    toy.commit(other)
    return root, {"GIT_DIR": str(other / ".git"), "GIT_WORK_TREE": str(other), "GIT_INDEX_FILE": str(other / ".git" / "index")}


def closed_umask_and_c_locale(root: Path, elsewhere: Path) -> tuple[Path, dict[str, str]]:
    return root, {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "TMPDIR": str(_folder(elsewhere / "tmp"))}


def detached_shallow_clone(root: Path, elsewhere: Path) -> tuple[Path, dict[str, str]]:
    toy.commit(root)
    place = elsewhere / "clone"
    toy.run(elsewhere, "git", "clone", "-q", "--depth", "1", root.as_uri(), str(place))
    toy.run(place, "git", "checkout", "-q", "--detach")
    return place, {}


def git_worktree(root: Path, elsewhere: Path) -> tuple[Path, dict[str, str]]:
    place = elsewhere / "worktree"
    toy.run(root, "git", "worktree", "add", "-q", str(place), "-b", "side")
    return place, {}


def submodule(root: Path, elsewhere: Path) -> tuple[Path, dict[str, str]]:
    outer = _folder(elsewhere / "outer")
    toy.run(outer, "git", "init", "-q")
    toy.run(outer, "git", "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(root), "inner")
    return outer / "inner", {}


def odd_but_good_name(root: Path, elsewhere: Path) -> tuple[Path, dict[str, str]]:
    place = elsewhere / "a b#c%20d'e;f[g]"
    shutil.move(root, place)
    return place, {}


SURROUNDINGS: list[Surrounding] = [
    behind_a_proxy_and_in_another_repository,
    closed_umask_and_c_locale,
    detached_shallow_clone,
    git_worktree,
    submodule,
    odd_but_good_name,
]


@pytest.mark.parametrize("surrounding", representatives(SURROUNDINGS), ids=lambda case: case.__name__)
def test_the_pipeline_runs_whole_and_keeps_everything_in_the_checkout(surrounding: Surrounding, tmp_path: Path) -> None:
    workspace = toy.make(_folder(tmp_path / "checkout"))
    root, extra = surrounding(workspace.root, _folder(tmp_path / "elsewhere"))
    before = os.umask(0o077 if surrounding is closed_umask_and_c_locale else 0o022)
    try:
        with proxy() as (address, heard):
            done = run(
                root, {**extra, "HTTP_PROXY": address, "HTTPS_PROXY": address, "http_proxy": address, "https_proxy": address}
            )
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    assert "MLflow does not answer" not in done.stderr
    assert not [line for line in heard if "127.0.0.1" in line or "localhost" in line], (
        "our own servers are not asked through a proxy"
    )
    assert (root / "mlruns" / "mlflow.db").is_file() and (root / ".iqaflow" / "finished").is_file()
    head = toy.run(root, "git", "rev-parse", "HEAD").strip()
    import sqlite3

    with sqlite3.connect(root / "mlruns" / "mlflow.db") as database:
        commits = {value for (value,) in database.execute("SELECT value FROM tags WHERE key = 'mlflow.source.git.commit'")}
    assert commits == {head}, "provenance names the checkout's own commit"


def test_a_name_that_a_database_address_cannot_hold_is_refused_at_once(tmp_path: Path) -> None:
    for name, why in (("a?b", "has ? in"), ("a\nb", "control character")):
        workspace = toy.make(_folder(tmp_path / name))
        done = run(workspace.root, {})
        assert done.returncode == 2 and why in done.stderr and "rename it" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == [name], "nothing is written beside the checkout"
        shutil.rmtree(workspace.root)


def test_another_encoding_of_a_folder_is_said_in_ascii() -> None:
    with pytest.raises(InputError, match=r"caf\\udce9"):
        Workspace(Path(os.fsdecode(b"/tmp/caf\xe9"))).refuse_odd_names()


def test_prepare_adds_the_loopback_once_and_drops_the_other_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "example.org, localhost")
    monkeypatch.setenv("no_proxy", "*")
    for name in FOREIGN_GIT:
        monkeypatch.setenv(name, "elsewhere")
    prepare()
    prepare()
    assert os.environ["NO_PROXY"].split(",") == ["example.org", "localhost", "127.0.0.1", "::1"]
    assert os.environ["no_proxy"] == "*" and set(LOOPBACK) >= {"127.0.0.1", "localhost"}
    assert not [name for name in FOREIGN_GIT if name in os.environ]


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
