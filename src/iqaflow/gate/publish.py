"""`reports/benchmark.json`: the metrics with what may not be in a DVC output: champion, verdict, commit, date.

Runs after the gate; running it again with the same inputs changes nothing.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from iqaflow.core.clients import git
from iqaflow.core.errors import StageError
from iqaflow.core.files import write_json
from iqaflow.core.workspace import Workspace


def publish(
    workspace: Workspace, champion: dict[str, Any] | None = None, verdict: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Write `benchmark.json` from `metrics.json`, the champion's table on the same items (or None) and the gate's
    verdict; returns it. The date stays that of the first writing of this content.
    """
    try:
        metrics = json.loads(workspace.metrics.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise StageError(f"{workspace.metrics} is missing or unreadable: run `iqaflow benchmark` first.") from None
    value: dict[str, Any] = {
        "model": metrics["model"],
        "champion": champion,
        "baselines": metrics["baselines"],
        "items": metrics["items"],
        "gate": verdict,
        "commit": git.head(workspace.root),
    }
    value = json.loads(json.dumps(value))  # tuples and the like, as they will be read back
    try:
        old: dict[str, Any] = json.loads(workspace.benchmark.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        old = {}
    if {key: entry for key, entry in old.items() if key != "created"} == value:
        return old
    value["created"] = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(workspace.benchmark, value)
    return value
