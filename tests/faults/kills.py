"""Kill training at random instants: `python tests/faults/kills.py CONFIG.json ANNOTATED COUNT SEED`, printed as JSON.

A run is killed (SIGKILL) and started again until it ends; then the next one begins, until COUNT kills are done. Every rank is a
real process; they are forked from this one, which has the libraries loaded, so that a kill costs a second and not ten.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # a pool of threads would not survive the fork


def rank(job: Path) -> int:
    """Start a rank in a child and return its pid."""
    pid = os.fork()
    if pid:
        return pid
    log = os.open(job.parent / "rank-0.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    from iqaflow.train.ranks import worker

    code = 1
    try:
        code = worker.run_rank(job)
    finally:
        os._exit(code)


def waited(pid: int, seconds: float) -> int | None:
    """The exit status of a child, or None if it still runs after so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.002)
    return None


def result(work: Path) -> dict:
    """What a finished run left: hashes of its files and the loss of every step."""
    from iqaflow.core.manifest import read_manifest
    from iqaflow.train.step_log import rows

    files = read_manifest(work / "finished", verify=True)["files"]
    return {
        "files": {name: entry["sha256"] for name, entry in files.items()},
        "losses": [[row["step"], row["loss"]] for row in rows(work / "steps.jsonl")],
    }


def main() -> None:
    config, annotated, count, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    import deepspeed  # noqa: F401
    import transformers.models.qwen3_vl.modeling_qwen3_vl  # noqa: F401

    from iqaflow.core.environment import prepare

    prepare()
    dice, kills, inside_save, runs = random.Random(seed), 0, 0, []
    place = Path(tempfile.mkdtemp(prefix="kills-"))
    try:
        whole = None
        while whole is None or kills < count:
            work = place / f"run-{len(runs)}"
            work.mkdir()
            job = work / "job.json"
            job.write_text(json.dumps({"config": json.loads(config.read_text()), "root": str(annotated), "work": str(work)}))
            while True:
                begun = time.monotonic()
                pid = rank(job)
                status = waited(pid, 600.0 if whole is None or kills >= count else dice.uniform(0.0, whole))
                if status is not None:
                    if status:
                        raise SystemExit(f"a rank failed: {(work / 'rank-0.log').read_text()[-2000:]}")
                    break
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                kills += 1
                inside_save += any((work / "checkpoints").glob(".step-*"))
            whole = whole or time.monotonic() - begun
            runs.append(result(work))
            shutil.rmtree(work)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(json.dumps({"kills": kills, "inside_save": inside_save, "runs": runs, "seconds": whole}))


if __name__ == "__main__":
    main()
