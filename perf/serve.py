"""`mlflow models serve` under load: requests per second, latency, errors, and whether the server's memory grows.

    python perf/serve.py [--model models/base-tiny] [--clients 8] [--seconds 60] [--rounds 2]

The model is registered in a store of its own, served on a free port of loopback, and asked about photographs of 512 px
(JPEG, base64), one per request, by clients that each send the next request as soon as the last is answered.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import skimage
from PIL import Image

from iqaflow.core.config import Config
from iqaflow.core.files import write_json
from iqaflow.core.workspace import Workspace
from iqaflow.engine import calibration
from iqaflow.model import integrity
from iqaflow.registry import versions
from iqaflow.registry.versions import locate
from iqaflow.track import parent_run

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
SIDE = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/base-tiny"))
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=2)
    chosen = parser.parse_args()
    print("| round | requests | errors | requests/s | p50 | p95 | p99 | memory before | after |\n" + "|---" * 9 + "|")
    with tempfile.TemporaryDirectory() as folder, served(registered(chosen.model, Workspace(Path(folder)))) as (port, server):
        load(port, chosen.clients, 3)  # warm-up
        for number in range(1, chosen.rounds + 1):
            before = memory(server)
            times, errors, took = load(port, chosen.clients, chosen.seconds)
            fast, slow, slowest = np.percentile(times, (50, 95, 99))
            print(
                f"| {number} | {len(times)} | {len(errors)} | {len(times) / took:.1f} | {fast:.2f} s | {slow:.2f} s "
                f"| {slowest:.2f} s | {before:.0f} MiB | {memory(server):.0f} MiB |",
                flush=True,
            )
            for error in sorted(set(errors)):
                print(error, file=sys.stderr)


def registered(model: Path, workspace: Workspace) -> Path:
    """The MLflow model of a folder of weights."""
    place = locate(model)
    shutil.copytree(place.stage1, workspace.stage1)
    if place.calibration:
        shutil.copy(place.calibration, workspace.calibration)
    else:
        write_json(workspace.calibration, calibration.defaults())
    integrity.bind(workspace.models)
    os.environ.pop("IQAFLOW_TRACKING_URI", None)  # its own store
    with parent_run(Config(), workspace) as run:
        versions.register(Config(), workspace, run)
    return versions.resolve("challenger", workspace).parent


@contextmanager
def served(model: Path) -> Iterator[tuple[int, psutil.Process]]:
    """A server of the model: its port and process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}  # uvicorn is there
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        str(model),
        "--env-manager",
        "local",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        until = time.monotonic() + 120
        while not answers(port):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"The server did not start: {' '.join(command)}")
            time.sleep(0.3)
        yield port, psutil.Process(process.pid)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except OSError:
        return False


def load(port: int, clients: int, seconds: float) -> tuple[list[float], list[str], float]:
    """Seconds of every request, what went wrong, and how long it all took."""
    payloads = [json.dumps({"dataframe_split": {"columns": ["image"], "data": [[photograph(name)]]}}) for name in PHOTOGRAPHS]
    begun, times, errors = time.perf_counter(), [], []

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while time.perf_counter() - begun < seconds:
            sent = time.perf_counter()
            try:
                connection.request("POST", "/invocations", payloads[number % len(payloads)], {"Content-Type": "application/json"})
                response = connection.getresponse()
                body = response.read()
                if response.status != 200 or "score" not in json.loads(json.loads(body)["predictions"][0]):
                    errors.append(f"{response.status} {body[:300]!r}")
            except (OSError, http.client.HTTPException, ValueError) as error:
                errors.append(repr(error))
                connection.close()
            times.append(time.perf_counter() - sent)
            number += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, errors, time.perf_counter() - begun


def photograph(name: str) -> str:
    picture = Image.fromarray(getattr(skimage.data, name)())
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return base64.b64encode(buffer.getvalue()).decode()


def memory(server: psutil.Process) -> float:
    """MiB of the server's processes."""
    return sum(process.memory_info().rss for process in [server, *server.children(recursive=True)]) / 2**20


if __name__ == "__main__":
    main()
