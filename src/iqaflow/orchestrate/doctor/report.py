"""Does this machine run the project? Every component is started for real, in a temporary folder; one table says what works.

iqaflow doctor            # exit code 1 if something that is needed does not work
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from iqaflow.core import process
from iqaflow.core.workspace import Workspace

LIMIT_SECONDS = 120  # for one group; together they take well under a minute on a free machine
GROUPS = {  # heaviest first; components that share an import share a process
    "orchestration": ("Prefect server, flow, cron tick",),
    "tracking": ("MLflow store and server",),
    "learning": ("torch", "transformers", "DeepSpeed"),
    "data": ("Great Expectations",),
    "graph": ("DVC and git",),
    "machine": ("compiler", "disk", "ports"),
}


@dataclass
class Finding:
    """One row of the table."""

    component: str
    did: str
    ok: bool = True
    needed: bool = True
    version: str = ""
    seconds: float = 0.0


def run(workspace: Workspace, as_json: bool = False) -> int:
    """Examine everything, print the table (or JSON); 0 if all that is needed works, else 1."""
    started = time.monotonic()
    with ThreadPoolExecutor(max_workers=max(2, min(4, (os.cpu_count() or 2)))) as pool:
        findings = [finding for group in pool.map(lambda name: _examine(name, workspace), GROUPS) for finding in group]
    bad = [finding for finding in findings if finding.needed and not finding.ok]
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
        return 1 if bad else 0
    _print(findings)
    seconds = time.monotonic() - started
    print(f"{'Everything needed works' if not bad else f'{len(bad)} needed components do not work'} ({seconds:.0f} s).")
    return 1 if bad else 0


def _examine(group: str, workspace: Workspace) -> list[Finding]:
    """Run one group in a process of its own: a crash or a hang there is a row here."""
    findings: list[Finding] = []
    with tempfile.TemporaryDirectory(prefix="iqaflow-doctor-", ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-m", "iqaflow.orchestrate.doctor.examinations", group, folder, str(workspace.root)]
        child = process.start(command, Path(folder), _environment(folder))
        try:
            out, _ = child.communicate(timeout=LIMIT_SECONDS)
            why = (out.strip().splitlines() or [f"exit code {child.returncode}"])[-1][:200]
        except subprocess.TimeoutExpired:
            process.kill_tree(child.pid)
            out, why = child.communicate()[0], f"no answer within {LIMIT_SECONDS} s"
    for line in out.splitlines():
        if line.startswith('{"component"'):
            findings.append(Finding(**json.loads(line)))
    missing = GROUPS[group][len(findings) :]
    return findings + [Finding(name, why, ok=False) for name in missing[:1]]


def _environment(folder: str) -> dict[str, str]:
    """State of the servers goes to the folder; a user's own servers are not touched."""
    return {
        "PREFECT_HOME": f"{folder}/prefect",
        "PREFECT_API_URL": "",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlruns/mlflow.db",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "1",
        "HF_HUB_OFFLINE": "1",
    }


def version(*names: str) -> str:
    """Installed versions, for the table."""
    return ", ".join(importlib.metadata.version(name) for name in names)


def _print(findings: list[Finding]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("component", "version", "what was done", "seconds", "works", box=box.SIMPLE)
    for finding in findings:
        works = "yes" if finding.ok else ("NO" if finding.needed else "no, not needed")
        table.add_row(
            finding.component,
            finding.version,
            finding.did,
            f"{finding.seconds:.1f}",
            works,
            style=None if finding.ok else ("red" if finding.needed else "yellow"),
        )
    Console(width=None if sys.stdout.isatty() else 150).print(table)
