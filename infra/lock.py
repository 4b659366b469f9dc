"""Writes the lock files, every file by its SHA-256: `make lock` keeps today's versions, `make lock UPGRADE=1` renews them.

| file | what it locks | from |
|---|---|---|
| requirements.lock | what .venv holds; torch by the hashes of the CPU wheel and of the package index's builds | requirements.in |
| infra/cuda.lock | what the package index's build of torch needs besides | requirements.in |
| infra/build.lock | what builds the packages that are published as source only (deepspeed, antlr4) | setuptools, wheel |
| infra/installer.lock | the installer itself | the version in it |
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
CUDA, BUILD, UV = (ROOT / "infra" / f"{name}.lock" for name in ("cuda", "build", "installer"))
Locked = dict[str, tuple[str, set[str]]]  # name -> version, hashes


def main() -> None:
    links, keep = os.environ.get("PIP_FIND_LINKS", ""), not os.environ.get("UPGRADE")
    former = read(LOCK)
    wanted = (ROOT / "requirements.in").read_text()
    cpu = solve(wanted, former if keep else {}, links, () if links else ("--torch-backend", "cpu"))
    index = solve(wanted, cpu)
    version = cpu["torch"][0]
    known = former.get("torch", ("", set()))
    cpu["torch"] = version, cpu["torch"][1] | index["torch"][1] | (known[1] if known[0] == version else set())
    write(LOCK, cpu)
    write(CUDA, {name: entry for name, entry in index.items() if name not in cpu}, " ; sys_platform == 'linux'")
    write(BUILD, solve(f"setuptools=={cpu['setuptools'][0]}\nwheel\n", read(BUILD) if keep else {}))
    write(UV, solve(f"uv=={read(UV)['uv'][0]}\n", {}))


def solve(requirements: str, preferred: Locked, links: str = "", options: tuple[str, ...] = ()) -> Locked:
    """What uv picks for these requirements, the preferred versions where they fit (of torch, the place decides the build)."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in", Path(folder) / "out"
        source.write_text(requirements)
        target.write_text("".join(f"{name}=={version}\n" for name, (version, _) in preferred.items() if name != "torch"))
        done = subprocess.run(
            [
                ROOT / ".boot/bin/uv",
                "pip",
                "compile",
                source,
                "--python-version",
                "3.11.7",
                "--generate-hashes",
                "--no-annotate",
                "--no-header",
                "--quiet",
                *options,
                "-o",
                target,
            ],
            env={**os.environ, "UV_FIND_LINKS": links},
            check=False,
        )
        if done.returncode:
            sys.exit("make lock: uv found no versions that fit; the lock files are as they were.")
        return read(target)


def read(path: Path) -> Locked:
    entries: Locked = {}
    for line in path.read_text().splitlines() if path.is_file() else ():
        if pinned := re.match(r"([\w.-]+)==([^\s;+]+)", line):  # +cpu is left out: the other builds fit, too
            entries[pinned[1]] = name = (pinned[2], set())
        elif digest := re.search(r"--hash=(sha256:[0-9a-f]{64})", line):
            name[1].add(digest[1])
    return entries


def write(path: Path, entries: Locked, marker: str = "") -> None:
    lines = [
        " \\\n    --hash=".join([f"{name}=={version}{marker}", *sorted(hashes)]) for name, (version, hashes) in entries.items()
    ]
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
