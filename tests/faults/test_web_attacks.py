"""While everything runs, no web page and no neighbour can make it do anything: in a real browser, and by plain HTTP.

A page of another host, of another port of this machine, and of a name that its owner points to 127.0.0.1 (DNS rebinding)
tries to create a flow, a deployment with a shell step and a run of it, to move the champion's alias, to put a file into
the page and to use the served model. The last test does the same as the person, and it works: the attack is a real one.
"""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from iqaflow.core.security import secret
from tests.faults.everything import ALIAS, NAME, Everything, running

pytestmark = pytest.mark.slow
EVIL = "evil.example"  # the browser finds it here
JSON = {"Content-Type": "application/json"}
ROWS = {"dataframe_split": {"columns": ["image"], "data": [["QQ=="]]}}


@pytest.fixture(scope="module")
def everything(tmp_path_factory, model, registered) -> Iterator[Everything]:
    with running(tmp_path_factory.mktemp("everything"), model, registered) as services:
        yield services


@pytest.fixture(scope="module")
def evil_port() -> Iterator[int]:
    """Where the attacker's pages lie; every path is an empty page."""

    class Blank(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>kittens</title><body></body>")

        def log_message(self, *arguments: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Blank) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def requests(everything: Everything) -> list[tuple[str, str, str, dict[str, Any]]]:
    """Service, method, path and body of what an attacker wants."""
    shell = [{"prefect.deployments.steps.run_shell_script": {"script": f"touch {everything.marker}"}}]
    return [
        ("prefect", "POST", "/api/flows/", {"name": "evil-flow"}),
        (
            "prefect",
            "POST",
            "/api/deployments/",
            {"name": "evil", "flow_id": "FLOW", "work_pool_name": "iqaflow", "entrypoint": "x.py:x", "pull_steps": shell},
        ),
        ("prefect", "POST", "/api/deployments/DEPLOYMENT/create_flow_run", {"name": "evil-run"}),
        ("prefect", "POST", "/api/work_pools/", {"name": "evil-pool", "type": "process"}),
        ("mlflow", "POST", "/api/2.0/mlflow/registered-models/alias", {"name": NAME, "alias": ALIAS, "version": "2"}),
        ("mlflow", "POST", "/ajax-api/2.0/mlflow/registered-models/alias", {"name": NAME, "alias": ALIAS, "version": "2"}),
        ("mlflow", "POST", "/api/2.0/mlflow/registered-models/create", {"name": "evil-model"}),
        ("page", "POST", "/gradio_api/upload", {}),
        ("page", "POST", "/gradio_api/queue/join", {"data": [], "fn_index": 0, "session_hash": "evil"}),
        ("model", "POST", "/invocations", ROWS),
        ("prefect", "GET", "/api/deployments/DEPLOYMENT", {}),
        ("mlflow", "GET", "/api/2.0/mlflow/registered-models/search", {}),
        ("page", "GET", "/config", {}),
        ("model", "GET", "/version", {}),
    ]


ATTACK = """async ({base, all, sockets}) => {
  const got = [], ids = {FLOW: "00000000-0000-0000-0000-000000000000", DEPLOYMENT: "00000000-0000-0000-0000-000000000000"};
  const fill = text => text.replace("FLOW", ids.FLOW).replace("DEPLOYMENT", ids.DEPLOYMENT);
  for (const [service, method, path, body] of all) {
    const url = base[service] + fill(path), text = fill(JSON.stringify(body)), form = new FormData();
    form.append("files", new Blob(["evil"]), "evil.txt");
    const post = path.endsWith("/upload") ? form : text;
    const ways = method == "GET" ? [{}, {mode: "no-cors"}] : [
      {method, body: post, headers: post === text ? {"Content-Type": "application/json"} : {}},
      {method, body: post, mode: "no-cors"},
      {method, body: post === text ? new Blob([text]) : form, mode: "no-cors", credentials: "include"}];
    for (const way of ways) {
      try {
        const answer = await fetch(url, way), said = answer.type == "opaque" ? "" : await answer.text();
        if (answer.ok) {
          got.push(path + " " + said.slice(0, 80));
          if (path == "/api/flows/") ids.FLOW = JSON.parse(said).id;
          if (path == "/api/deployments/") ids.DEPLOYMENT = JSON.parse(said).id;
        }
      } catch (error) { if (!(error instanceof TypeError)) throw error; }
    }
    if (method == "POST") {  // a form in a frame, with JSON as its one field's name
      const frame = document.createElement("iframe"), sent = document.createElement("form");
      frame.name = "f" + got.length + Math.random();
      document.body.append(frame, sent);
      Object.assign(sent, {method, action: url, target: frame.name, enctype: path.endsWith("/upload") ?
                           "multipart/form-data" : "text/plain"});
      const field = document.createElement("input");
      Object.assign(field, {name: text.slice(0, -1) + ',"x":"', value: '"}'});
      sent.append(field);
      sent.submit();
    }
  }
  for (const url of sockets) await new Promise(done => {
    const socket = new WebSocket(url, ["prefect"]), timer = setTimeout(done, 3000);
    socket.onopen = () => { got.push("websocket " + url); socket.send('{"type":"auth","token":null}'); };
    socket.onclose = () => { clearTimeout(timer); done(); };
  });
  await new Promise(done => setTimeout(done, 1500));
  return got;
}"""


@pytest.mark.parametrize("host", ["another site", "another port", "a name that points here"])
def test_a_web_page_can_do_nothing(everything: Everything, evil_port: int, browser: Any, host: str) -> None:
    """What its scripts may read, and what is in the stores afterwards."""
    before = everything.state()
    context = browser.new_context()
    page = context.new_page()
    got: list[str] = []
    rounds = list(everything.ports) if host == "a name that points here" else [None]
    for service in rounds:  # a rebound page speaks to the one port it came from, as to its own server
        port = everything.ports[service] if service else evil_port
        page.goto(f"http://{'127.0.0.1' if host == 'another port' else EVIL}:{port}/")
        name = EVIL if service else "127.0.0.1"
        base = {key: f"http://{name}:{value}" for key, value in everything.ports.items()}
        wanted = [one for one in requests(everything) if service in (None, one[0])]
        paths = (
            [
                "/api/events/in",
                "/api/events/out",
                "/api/logs/out",
                "/api/task_runs/subscriptions/scheduled",
                "/api/work_pools/iqaflow/workers/connect",
            ]
            if service in (None, "prefect")
            else []
        )
        sockets = [f"ws://{name}:{everything.ports['prefect']}{path}" for path in paths]
        got += page.evaluate(ATTACK, {"base": base, "all": wanted, "sockets": sockets})
    context.close()
    assert got == []
    time.sleep(3)  # the worker looks for runs
    assert everything.state() == before and not before["marker"]


def test_a_page_cannot_hide_ours_in_a_frame(everything: Everything, evil_port: int, browser: Any) -> None:
    page = browser.new_page()
    page.goto(f"http://{EVIL}:{evil_port}/")
    for port in everything.ports.values():
        page.evaluate("url => {document.body.innerHTML = `<iframe src='${url}'></iframe>`}", f"http://127.0.0.1:{port}/")
        page.wait_for_timeout(1000)
        [frame] = page.main_frame.child_frames
        assert frame.url.startswith("chrome-error:") or "refused" in frame.inner_text("body"), frame.url
    page.close()


def test_the_person_sees_prefect_after_logging_in(everything: Everything, browser: Any) -> None:
    """With the string that `up` prints, at 127.0.0.1 and at localhost; without it nothing is shown."""
    for host in ("127.0.0.1", "localhost"):
        page = browser.new_context().new_page()
        page.set_default_timeout(30_000)
        page.goto(f"http://{host}:{everything.ports['prefect']}/")
        page.wait_for_url("**/login**")
        page.locator("input").first.fill(secret.of(everything.workspace))
        page.keyboard.press("Enter")
        page.wait_for_url("**/dashboard**")
        page.goto(f"http://{host}:{everything.ports['prefect']}/v2/deployments")
        page.get_by_text("scheduled-retrain").first.wait_for()
        page.context.close()


def test_the_person_sees_mlflow_with_the_password(everything: Everything, browser: Any) -> None:
    user, _, password = secret.of(everything.workspace).partition(":")
    page = browser.new_context(http_credentials={"username": user, "password": password}).new_page()
    page.goto(f"http://127.0.0.1:{everything.ports['mlflow']}/#/models")
    page.get_by_text(NAME).first.wait_for(timeout=30_000)
    page.context.close()


def test_the_person_uses_the_page(everything: Everything, browser: Any) -> None:
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{everything.ports['page']}/")
    page.locator("#examples img").first.click()
    page.wait_for_selector("#verdict .iq-score", timeout=60_000)
    page.close()


@pytest.mark.parametrize("service", ["prefect", "mlflow", "page", "model"])
def test_forged_requests_are_refused_in_one_sentence(everything: Everything, service: str) -> None:
    """Also those that know the secret: a page that has it from somewhere, a proxy nobody allowed."""
    port = everything.ports[service]
    own = f"127.0.0.1:{port}"
    forged = [
        {"Host": EVIL},
        {"Host": f"{EVIL}:{port}"},
        {"Host": "127.0.0.1:1"},
        {"Host": own, "Origin": "null"},
        {"Host": own, "Origin": f"http://{EVIL}"},
        {"Host": own, "Origin": "http://127.0.0.1:1"},
        {"Host": own, "Origin": f"http://localhost:{port}"},
        {"Host": own, "Sec-Fetch-Site": "cross-site"},
    ]
    before = everything.state()
    for headers in forged:
        for name, method, path, body in requests(everything):
            if name == service:
                answer = httpx.request(
                    method, f"http://{own}{path}", content=json.dumps(body), headers={**JSON, **everything.login, **headers}
                )
                assert answer.status_code == 403 and answer.text.count("\n") == 1, (headers, path, answer.text)
                assert "refused" in answer.text or "does not answer to this Host" in answer.text
    assert raw(port, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 403")
    assert raw(port, f"GET http://{own}/ HTTP/1.1\r\nHost: {EVIL}\r\n\r\n".encode()).startswith(b"HTTP/1.1 403")
    for path in ("/api/events/in", "/gradio_api/queue/data", "/"):
        upgrade = (
            f"GET {path} HTTP/1.1\r\nHost: {own}\r\nOrigin: http://{EVIL}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert raw(port, upgrade.encode()).startswith(b"HTTP/1.1 403"), path
    assert everything.state() == before


def test_a_neighbour_without_the_secret_can_do_nothing(everything: Everything) -> None:
    """Another account of the machine: a client that forges no header and knows no password, or a wrong one."""
    before = everything.state()
    for given in ({}, {"Authorization": "Basic aXFhZmxvdzp4"}, {"Authorization": "Bearer x"}):
        for service, method, path, body in requests(everything):
            if service in ("prefect", "mlflow"):
                answer = httpx.request(
                    method,
                    f"http://127.0.0.1:{everything.ports[service]}{path}",
                    content=json.dumps(body),
                    headers={**JSON, **given},
                )
                assert answer.status_code in (401, 403), (path, answer.text)
    assert everything.state() == before


def test_prefect_alone_would_refuse_too(everything: Everything) -> None:
    """Its own settings, behind the doorkeeper: a change needs a token of its own, CORS names its own address alone."""
    address = f"http://127.0.0.1:{everything.ports['prefect']}"
    answer = httpx.post(f"{address}/api/flows/", json={"name": "evil-flow"}, headers=everything.login)
    assert answer.status_code == 403 and "CSRF" in answer.text
    answer = httpx.get(f"{address}/api/admin/version", headers={**everything.login, "Origin": address})
    assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == address
    assert httpx.get(f"{address}/api/admin/version").status_code == 401


def test_prefects_websockets_want_the_secret(everything: Everything) -> None:
    """They take it as their first message."""
    import websockets
    from websockets.sync.client import connect

    for path in (
        "/api/events/in",
        "/api/events/out",
        "/api/logs/out",
        "/api/task_runs/subscriptions/scheduled",
        "/api/work_pools/iqaflow/workers/connect",
    ):
        for token in (None, "iqaflow:wrong"):
            with connect(f"ws://127.0.0.1:{everything.ports['prefect']}{path}", subprotocols=["prefect"]) as channel:
                channel.send(json.dumps({"type": "auth", "token": token}))
                with pytest.raises(websockets.ConnectionClosed):
                    channel.recv(timeout=10)
        with pytest.raises((websockets.InvalidStatus, websockets.ConnectionClosed)):  # without that protocol: not at all
            connect(f"ws://127.0.0.1:{everything.ports['prefect']}{path}").recv(timeout=10)


def test_the_same_by_the_person_works(everything: Everything) -> None:
    """With the secret the worker runs the shell step, and the alias moves: what was refused above is the real thing."""
    ids = {}
    for service, method, path, body in requests(everything)[:3]:

        def fill(text: str) -> str:
            return text.replace("FLOW", ids.get("FLOW", "")).replace("DEPLOYMENT", ids.get("DEPLOYMENT", ""))

        assert (service, method) == ("prefect", "POST")
        answer = everything.prefect(fill(path).removeprefix("/api"), json.loads(fill(json.dumps(body))))
        ids[{"evil-flow": "FLOW", "evil": "DEPLOYMENT"}.get(answer["name"], "RUN")] = answer["id"]
    deadline = time.monotonic() + 90
    while not everything.marker.exists():
        assert time.monotonic() < deadline, (everything.workspace.state / "logs" / "worker.log").read_text()[-2000:]
        time.sleep(0.5)
    answer = httpx.post(
        f"http://127.0.0.1:{everything.ports['mlflow']}/api/2.0/mlflow/registered-models/alias",
        json={"name": NAME, "alias": ALIAS, "version": "2"},
        headers=everything.login,
    )
    assert answer.status_code == 200 and str(everything.state()["champion"]) == "2"
    upload = httpx.post(f"http://127.0.0.1:{everything.ports['page']}/gradio_api/upload", files={"files": ("mine.txt", b"mine")})
    assert upload.status_code == 200 and any("mine" in name for name in everything.state()["uploads"])
    assert httpx.get(f"http://127.0.0.1:{everything.ports['model']}/version").status_code == 200


def raw(port: int, request: bytes) -> bytes:
    """The first bytes of the answer to these very bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        return connection.recv(1000)
