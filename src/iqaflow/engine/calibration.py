"""`models/calibration.json`: what stage two found, and what inference needs of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from iqaflow.core.errors import DamagedError
from iqaflow.grounding.record import Calibration, Confidence
from iqaflow.grounding.text_to_point import Settings, softmax
from iqaflow.tasks import vocabulary

SCHEMA = "iqaflow.calibration/1"
SECTIONS = ("text_to_point", "segmenter", "gate", "clean", "confidence", "region")
UNFITTED: Confidence = {"slope": 1.0, "offset": 0.0}  # the chance as the model gives it


def defaults() -> Calibration:
    """A record that changes nothing: temperatures 1, thresholds 0, the map as it is. For models not calibrated."""
    return {
        "schema": SCHEMA,
        "provenance": None,
        vocabulary.KEY: vocabulary.current().tree(),
        "text_to_point": Settings().tree(),
        "segmenter": {"name": "map", "options": {}},
        "gate": {"threshold": 0.0},
        "clean": {"offset": 0.0},
        "confidence": {},
        "region": UNFITTED.copy(),
    }


def read(path: Path) -> Calibration:
    """The stored record. DamagedError if it is missing, not JSON, of another schema or lacks a section."""
    try:
        record: Calibration = json.loads(path.read_text(encoding="utf-8"))
        if record["schema"] != SCHEMA:
            raise ValueError(f"schema {record['schema']}")
        missing = [section for section in SECTIONS if section not in record]
        if missing:
            raise ValueError(f"no {', '.join(missing)}")
        Settings.read(record["text_to_point"])
        vocabulary.of(record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{path} is no calibration for this version ({error}): run `iqaflow calibrate`.") from None
    return record


def rounded(value: Any, digits: int = 6) -> Any:
    """Plain JSON values with floats rounded, so that the last bits of a machine do not change the file."""
    if isinstance(value, dict):
        return {key: rounded(entry, digits) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(entry, digits) for entry in value]
    return round(float(value), digits) if isinstance(value, float) else value


def probabilities(log_probs: np.ndarray, task: str, record: Calibration, clean: int = -1) -> np.ndarray:
    """Calibrated probabilities of the candidates of a question, from `models/calibration.json` (`read`).

    For `identify` the candidate at `clean` must be `none`: the fitted offset is added to it first.
    """
    logs = np.array(log_probs, dtype=np.float64)
    if task == "identify":
        logs[clean] += record["clean"]["offset"]
    fitted = record["confidence"].get(task, UNFITTED)
    return surely(softmax(logs, fitted.get("temperature", 1.0)), fitted.get("slope", 1.0), fitted.get("offset", 0.0))


def surely(chances: np.ndarray, slope: float, offset: float) -> np.ndarray:
    """Chances (k,) with that of the likeliest answer mapped and the others scaled to what is left. It stays the likeliest."""
    best = int(np.argmax(chances))
    rest = 1.0 - chances[best]
    if (slope, offset) == (1.0, 0.0) or rest <= 0:
        return chances
    mapped = 1 / (1 + np.exp(-(slope * float(log_odds(chances[best : best + 1])[0]) + offset)))
    second = np.delete(chances, best).max(initial=0.0) / rest  # its share of what is left
    mapped = max(mapped, second / (1 + second) + 1e-9)
    out = chances * (1 - mapped) / rest
    out[best] = mapped
    return out


def log_odds(chance: np.ndarray) -> np.ndarray:
    return np.log(np.clip(chance, 1e-6, 1 - 1e-6) / (1 - np.clip(chance, 1e-6, 1 - 1e-6)))
