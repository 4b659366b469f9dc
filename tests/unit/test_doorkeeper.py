"""The doorkeeper by itself: which requests reach the application behind it. And the secret it asks for."""

from __future__ import annotations

import asyncio
import base64
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from iqaflow.core.errors import StageError
from iqaflow.core.security import secret
from iqaflow.core.security.doorkeeper import ALLOWED_HOSTS, Doorkeeper
from iqaflow.core.workspace import Workspace

OWN = ("127.0.0.1", 4200)
LINK = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def ask(
    headers: dict[str, str] | list[tuple[str, str]],
    *,
    method: str = "GET",
    kind: str = "http",
    secret: str | None = None,
    server: tuple[str, int] | None = OWN,
) -> tuple[int | str, dict[bytes, bytes]]:
    """Status and headers of the answer; 200 comes from the application. `closed` is a websocket refused."""
    pairs = list(headers.items()) if isinstance(headers, dict) else headers
    scope = {
        "type": kind,
        "method": method,
        "path": "/",
        "scheme": "ws" if kind == "websocket" else "http",
        "server": server,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in pairs],
    }
    sent: list[dict] = []

    async def application(scope, receive, send) -> None:
        await send(
            {"type": "websocket.accept"}
            if kind == "websocket"
            else {"type": "http.response.start", "status": 200, "headers": [(b"x-app", b"1")]}
        )

    async def send(message) -> None:
        sent.append(message)

    asyncio.run(Doorkeeper(application, secret)(scope, lambda: None, send))
    first = sent[0]
    if kind == "websocket":
        return {"websocket.accept": 200, "websocket.close": "closed"}[first["type"]], {}
    return first["status"], dict(first["headers"])


@pytest.mark.parametrize("host", ["127.0.0.1:4200", "localhost:4200", "LOCALHOST:4200"])
def test_its_own_address_is_answered(host: str) -> None:
    assert ask({"host": host})[0] == 200
    assert ask({"host": host, "origin": f"http://{host}"}, method="POST")[0] == 200
    assert ask({"host": host, "origin": f"http://{host}"}, kind="websocket")[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:4200",
        "127.0.0.1",
        "127.0.0.1:80",
        "127.0.0.1:42000",
        "localhost",
        "localhost.:4200",
        "localhost:4200.evil.example",
        "127.0.0.1:4200@evil.example",
        "",
        "0.0.0.0:4200",
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_another_host_is_refused(host: str, kind: str) -> None:
    assert ask({"host": host}, kind=kind)[0] == (403 if kind == "http" else "closed")


def test_no_host_and_two_hosts_are_refused() -> None:
    assert ask({})[0] == 403
    assert ask([("host", "127.0.0.1:4200"), ("host", "127.0.0.1:4200")])[0] == 403


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://evil.example:4200",
        "http://127.0.0.1:5000",
        "http://localhost:4200",
        "https://127.0.0.1:4200",
        "null",
        "",
        "file://",
        "http://127.0.0.1:4200.evil.example",
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_page_of_another_origin_is_refused(origin: str, kind: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        assert ask({"host": "127.0.0.1:4200", "origin": origin}, kind=kind, method=method)[0] in (403, "closed")


def test_a_link_on_another_site_may_be_followed_and_nothing_else() -> None:
    for site in ("cross-site", "same-site"):
        mine = {"host": "127.0.0.1:4200", "sec-fetch-site": site}
        assert ask({**mine, **LINK})[0] == 200
        assert ask({**mine, **LINK}, method="POST")[0] == 403
        assert ask({**mine, **LINK, "sec-fetch-dest": "iframe"})[0] == 403
        assert ask({**mine, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"})[0] == 403
        assert ask(mine)[0] == 403
    assert ask({"host": "127.0.0.1:4200", "sec-fetch-site": "same-origin"}, method="POST")[0] == 200
    assert ask({"host": "127.0.0.1:4200", "sec-fetch-site": "none"})[0] == 200


def test_answers_cannot_be_framed_or_embedded() -> None:
    for headers in (ask({"host": "127.0.0.1:4200"})[1], ask({"host": "evil.example"})[1]):
        assert headers[b"content-security-policy"] == b"frame-ancestors 'self'; connect-src 'self' data: blob:"
        assert headers[b"cross-origin-resource-policy"] == b"same-origin"


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_the_secret(kind: str) -> None:
    def given(text: str | None) -> int | str:
        extra = {} if text is None else {"authorization": text}
        return ask({"host": "127.0.0.1:4200", **extra}, secret="iqaflow:word", kind=kind)[0]

    def basic(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    assert given(f"Basic {basic('iqaflow:word')}") == given(f"basic {basic('iqaflow:word')}") == 200
    for wrong in (
        None,
        "",
        "Basic",
        "Basic !",
        f"Bearer {basic('iqaflow:word')}",
        f"Basic {basic('iqaflow:wor')}",
        f"Basic {basic('iqaflow:word ')}",
        f"Basic {basic(':')}",
        "Basic \xe9",
        basic("iqaflow:word"),
    ):
        assert given(wrong) in (401, "closed"), wrong
    status, headers = ask({"host": "127.0.0.1:4200"}, secret="iqaflow:word")
    assert status == 401 and headers[b"www-authenticate"].startswith(b"Basic ")
    assert ask({"host": "evil.example"}, secret="iqaflow:word")[0] == 403, "a stranger is not even asked"


def test_hosts_of_people_behind_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED_HOSTS, " IQA.example.org, other.example:8443 ,")
    assert ask({"host": "iqa.example.org", "origin": "https://iqa.example.org"}, method="POST")[0] == 200
    assert ask({"host": "other.example:8443"})[0] == ask({"host": "127.0.0.1:4200"})[0] == 200
    assert ask({"host": "iqa.example.org", "origin": "https://other.example:8443"})[0] == 403
    assert ask({"host": "other.example"})[0] == ask({"host": ""})[0] == 403
    assert ask({"host": "iqa.example.org"}, server=None)[0] == 200


def test_a_server_of_a_network_knows_its_own_address_alone() -> None:
    assert ask({"host": "192.0.2.7:5001"}, server=("192.0.2.7", 5001))[0] == 200
    assert ask({"host": "localhost:5001"}, server=("192.0.2.7", 5001))[0] == 403
    assert ask({"host": "127.0.0.1"}, server=("127.0.0.1", 80))[0] == 200
    assert ask({"host": "[::1]:5001"}, server=("::1", 5001))[0] == 200
    assert ask({"host": "localhost:4200"}, server=None)[0] == 403


def test_the_secret_file_is_its_owners_alone(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    before = os.umask(0)
    try:
        text = secret.of(workspace)
    finally:
        os.umask(before)
    place = secret.path(workspace)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600 and text.startswith("iqaflow:") and len(text) > 50
    assert secret.of(workspace) == text and [path.name for path in place.parent.iterdir()] == ["secret"]
    assert secret.of(Workspace(tmp_path / "other")) != text


@pytest.mark.parametrize("harm", ["readable", "short", "link", "folder"])
def test_a_secret_that_others_may_know_is_refused_in_one_sentence(tmp_path: Path, harm: str) -> None:
    workspace = Workspace(tmp_path)
    place = secret.path(workspace)
    text = secret.of(workspace)
    if harm == "readable":
        place.chmod(0o640)
    elif harm == "short":
        place.write_text("iqaflow:\n")
    elif harm == "link":
        place.rename(tmp_path / "elsewhere")
        place.symlink_to(tmp_path / "elsewhere")
    else:
        place.unlink()
        place.mkdir()
    with pytest.raises(StageError, match=r"secret, which opens .*: remove it, run `iqaflow down`") as caught:
        secret.of(workspace)
    assert text not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_accounts_secret_is_refused(tmp_path: Path) -> None:
    secret.of(Workspace(tmp_path))
    os.chown(secret.path(Workspace(tmp_path)), 65534, 65534)
    with pytest.raises(StageError, match="belongs to another account"):
        secret.of(Workspace(tmp_path))


def test_eight_processes_make_one_secret(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom iqaflow.core.security import secret\n"
        "from iqaflow.core.workspace import Workspace\n"
        "sys.stdin.read(1)\nprint(secret.of(Workspace(Path(sys.argv[1]))))\n"
    )
    many = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    for process in many:
        process.stdin.write("x")
        process.stdin.flush()
    assert len({process.communicate()[0] for process in many}) == 1
