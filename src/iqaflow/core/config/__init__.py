"""The one config tree: `params.yaml` is this tree, presets are overlays on it, `--set a.b=c` overrides it.

    iqaflow config show --preset quick --set train.lr=1e-4

The sections, with every parameter, are in schema.py. `resources` changes speed, never bytes, so no DVC stage depends on it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from iqaflow.core.config.schema import (
    Annotate,
    Benchmark,
    Calibrate,
    Resources,
    Schedule,
    Section,
    Source,
    Track,
    Train,
    Validate,
)
from iqaflow.core.errors import ConfigError

PRESETS = Path(__file__).with_name("presets")


class Config(Section):
    seed: int = 0
    """Seed of everything random."""
    source: Source = Source()
    annotate: Annotate = Annotate()
    validate_: Validate = Field(default=Validate(), alias="validate")
    train: Train = Train()
    calibrate: Calibrate = Calibrate()
    benchmark: Benchmark = Benchmark()
    schedule: Schedule = Schedule()
    track: Track = Track()
    resources: Resources = Resources()

    def tree(self) -> dict[str, Any]:
        """The resolved tree as plain values, in the shape of `params.yaml`."""
        return self.model_dump(mode="json", by_alias=True)


def presets() -> list[str]:
    """Names for `--preset`."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load(path: Path | None = None, preset: str | None = None, overrides: tuple[str, ...] = ()) -> Config:
    """Read `path` (defaults where null), lay `preset` over it, then `a.b=c` overrides.

    Raises ConfigError with one sentence naming the key, the file and what was expected; also where a value is a secret.
    """
    from iqaflow.core.config import refusal

    tree = Config().tree()
    if path:
        _merge(tree, _read(path))
    where = str(path) if path else "the defaults"
    if preset:
        if preset not in presets():
            raise ConfigError(f"Unknown preset {preset!r}; choose one of {', '.join(presets())}.")
        _merge(tree, _read(PRESETS / f"{preset}.yaml"))
        where += f" with preset {preset}"
    for text in overrides:
        _set(tree, text)
        where += f" with --set {text.partition('=')[0]}"
    if refused := refusal.parameter(tree):
        raise ConfigError(f"Bad parameters in {where}: {refused}.")
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_sentence(error, where)) from None


def diff(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, with both values."""
    a, b = flatten(old.tree()), flatten(new.tree())
    return {key: (a.get(key), b.get(key)) for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)}


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one dict with dotted keys; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _read(path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML, YAMLError

    try:
        tree = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path} is missing: run inside an iqaflow checkout, make this folder a workspace with "
            f"`iqaflow init`, or restore it with git."
        ) from None
    except (YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line} is not valid YAML: {getattr(error, 'problem', None) or error}.") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} must hold sections such as `train:`, but holds a {type(tree).__name__}.")
    return tree


def _merge(tree: dict[str, Any], overlay: dict[str, Any]) -> None:
    for key, value in overlay.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value


def _set(tree: dict[str, Any], text: str) -> None:
    from ruamel.yaml import YAML, YAMLError

    key, equals, raw = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {text!r} is not of the form section.key=value.")
    try:
        value = YAML(typ="safe", pure=True).load(raw)
    except YAMLError:
        raise ConfigError(f"--set {text!r}: the value {raw!r} is not valid YAML.") from None
    if isinstance(value, str):  # YAML 1.2 needs a dot in 1e-4; people do not
        with contextlib.suppress(ValueError):
            value = float(value)
    *parents, leaf = key.split(".")
    node = tree
    for part in parents:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise ConfigError(f"--set {text!r}: {part} is a value, not a section.")
    node[leaf] = value


def _sentence(error: ValidationError, where: str) -> str:
    parts = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            parts.append(f"unknown key {key!r}")
        elif item["type"] == "value_error":
            parts.append(item["msg"].removeprefix("Value error, "))
        else:
            parts.append(f"{key}: {item['msg'].lower()}, got {item['input']!r}")
    return f"Bad parameters in {where}: {'; '.join(parts)}."
