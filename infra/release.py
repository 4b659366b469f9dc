"""Builds the wheel, and shows that it works where there is no clone: `make release` (FULL=1 for locked packages of its own).

    python infra/release.py          # dist/iqaflow-VERSION-py3-none-any.whl

The wheel is made from the files of the last commit and installed into a fresh virtual environment in a temporary folder. There
`iqaflow init` makes a workspace, `iqaflow assess` asks the shipped base about a packaged photograph, `iqaflow run --preset quick`
goes from photographs to the gate, and says then that nothing is left to do; `iqaflow up` and `down` start and stop the services.
By default the fresh environment borrows the packages of .venv, but not the clone: that shows that the wheel is whole, not that
the requirements in pyproject.toml can be had. With FULL=1 all of requirements.lock is installed anew by infra/setup.sh.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


def main() -> None:
    full = os.environ.get("FULL", "") not in ("", "0")
    with tempfile.TemporaryDirectory(prefix="iqaflow-release-") as name:
        place = Path(name)
        step("git", "clone", "--quiet", ROOT, place / "clone")
        wheel = build(place / "clone", ROOT / "dist")
        program = install(wheel, place / "clone" / ".venv" if full else place / "venv", full)
        prove(program, place / "work")
    print(f"release: {wheel.relative_to(ROOT)} ({wheel.stat().st_size / 1e6:.1f} MB) works without a clone")


def build(source: Path, dist: Path) -> Path:
    """The wheel of a source tree, which this leaves a `build` folder in."""
    dist.mkdir(parents=True, exist_ok=True)
    done = step(sys.executable, "-c", BUILD, dist.resolve(), cwd=source, capture_output=True)
    return dist / done.stdout.splitlines()[-1]


def install(wheel: Path, folder: Path, full: bool = False) -> Path:
    """Install the wheel into a fresh environment; its `iqaflow`. Not `full`, it finds all other packages in ours: by their
    folder alone, so that the clone, which a .pth file there names, stays out of sight.
    """
    python = folder / "bin" / "python"
    if full:
        step("infra/setup.sh", cwd=folder.parent)
        step(
            ".boot/bin/uv", "pip", "install", "--quiet", "--python", python, "--no-deps", "--reinstall", wheel, cwd=folder.parent
        )
    else:
        step(sys.executable, "-m", "venv", folder)
        packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
        (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        step(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", wheel)
    return folder / "bin" / "iqaflow"


def prove(iqaflow: Path, work: Path) -> None:
    """Raises CalledProcessError or AssertionError where the installed package does not do what a clone does."""
    work.mkdir()
    where = step(iqaflow.with_name("python"), "-c", "import iqaflow; print(iqaflow.__file__)", cwd=work, capture_output=True)
    assert where.stdout.startswith(str(iqaflow.parents[1])), f"{where.stdout.strip()} was imported, not the wheel"
    step(iqaflow, "init", ".", cwd=work)
    photograph = Path(find_spec("skimage").origin).parent / "data" / "chelsea.png"
    step(iqaflow, "assess", photograph, "--model", "models/base-tiny", cwd=work)
    step(iqaflow, "run", "--preset", "quick", cwd=work)
    again = step(iqaflow, "run", "--preset", "quick", cwd=work, capture_output=True)
    assert "Everything is up to date" in again.stderr, again.stderr
    try:
        step(iqaflow, "up", cwd=work)
    finally:
        step(iqaflow, "down", cwd=work)


def step(*command: str | Path, cwd: Path | None = None, capture_output: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a command in an environment without this clone. Raises CalledProcessError; what was captured is shown then."""
    print("release:", " ".join(map(str, command))[:160], file=sys.stderr, flush=True)
    foreign = ("PYTHON", "VIRTUAL_ENV", "IQAFLOW_", "PREFECT_", "MLFLOW_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    kept["PATH"] = os.pathsep.join(part for part in kept["PATH"].split(os.pathsep) if Path(part) != Path(sys.prefix) / "bin")
    done = subprocess.run(command, cwd=cwd, env=kept, text=True, capture_output=capture_output, check=False)
    if done.returncode and capture_output:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
    done.check_returncode()
    return done


if __name__ == "__main__":
    main()
