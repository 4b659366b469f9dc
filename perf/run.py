"""`make run` as a new user meets it: a fresh clone, its own environment, timed, with the peak memory of all its processes.

python perf/run.py [--args "--preset quick"] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--args", default="", help="options passed on as ARGS")
    parser.add_argument("--keep", type=Path, help="clone into this folder and leave it there")
    chosen = parser.parse_args()
    folder = chosen.keep or Path(tempfile.mkdtemp(prefix="iqaflow-run-"))
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder / "clone")], check=True)
    try:
        rows = [
            (what, *measure(["make", "--no-print-directory", "-C", str(folder / "clone"), *target]))
            for what, target in (
                ("set-up", ["setup"]),
                (f"make run {chosen.args}".strip(), ["run", f"ARGS={chosen.args}"]),
                ("the same again", ["run", f"ARGS={chosen.args}"]),
            )
        ]
        print("| what | seconds | peak memory, GiB |\n|---|---|---|")
        for what, seconds, peak in rows:
            print(f"| {what} | {seconds:.1f} | {peak / 2**30:.2f} |")
        changed = subprocess.run(
            ["git", "-C", str(folder / "clone"), "diff", "--stat", "dvc.lock"], capture_output=True, text=True, check=True
        ).stdout.strip()
        print(f"dvc.lock after the run: {changed or 'the same hashes as committed'}")
    finally:
        if not chosen.keep:
            shutil.rmtree(folder, ignore_errors=True)


def measure(command: list[str]) -> tuple[float, int]:
    """Wall seconds of a command that must succeed, and the largest sum of its processes' memory (unshared and shared
    pages divided among their users), sampled twice a second.
    """
    begun = time.monotonic()
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    peak, done = 0, threading.Event()

    def sample() -> None:
        nonlocal peak
        while not done.wait(0.5):
            peak = max(peak, memory(process))

    watcher = threading.Thread(target=sample)
    watcher.start()
    code = process.wait()
    done.set()
    watcher.join()
    if code:
        raise SystemExit(f"{' '.join(command)} ended with {code}")
    return time.monotonic() - begun, peak


def memory(process: psutil.Process) -> int:
    total = 0
    try:
        for member in (process, *process.children(recursive=True)):
            try:
                total += member.memory_full_info().pss
            except psutil.Error:
                continue  # it ended while we looked
    except psutil.Error:
        return total
    return total


if __name__ == "__main__":
    main()
