"""`models/calibration.json`: what stage two found, and what inference needs of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from iqaflow.calibrate.text_to_point import Settings
from iqaflow.core.files import DamagedError

SCHEMA = "iqaflow.calibration/1"
SECTIONS = ("text_to_point", "segmenter", "gate", "clean", "confidence", "region")


def defaults() -> dict[str, Any]:
    """A record that changes nothing: temperatures 1, thresholds 0, the map as it is. For models not calibrated."""
    return {
        "schema": SCHEMA,
        "provenance": None,
        "text_to_point": Settings().tree(),
        "segmenter": {"name": "map", "options": {}},
        "gate": {"threshold": 0.0},
        "clean": {"offset": 0.0},
        "confidence": {},
        "region": {"slope": 1.0, "offset": 0.0},
    }


def read(path: Path) -> dict[str, Any]:
    """The stored record. DamagedError if it is missing, not JSON, of another schema or lacks a section."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["schema"] != SCHEMA:
            raise ValueError(f"schema {record['schema']}")
        missing = [section for section in SECTIONS if section not in record]
        if missing:
            raise ValueError(f"no {', '.join(missing)}")
        Settings.read(record["text_to_point"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{path} is no calibration for this version ({error}): run `iqaflow calibrate`.") from None
    return record


def rounded(value: Any, digits: int = 6) -> Any:
    """Plain JSON values with floats rounded, so that the last bits of a machine do not change the file."""
    if isinstance(value, dict):
        return {key: rounded(entry, digits) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(entry, digits) for entry in value]
    return round(float(value), digits) if isinstance(value, float) else value
