"""params.yaml as text: every parameter of the tree, with its documentation as a comment.

iqaflow config write
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from iqaflow.core.config import Config
from iqaflow.core.files import write_text

SHORT = 3  # a section inside a section with no more fields than this is one line
HEADER = (
    "# Every knob of the pipeline. Schema and comments come from src/iqaflow/core/config/schema.py by `iqaflow config write`.\n"
    "# `resources`, `schedule` and `track` change speed and bookkeeping, never bytes: no DVC stage depends on them.\n"
)


def as_yaml(config: Config, docs: bool = True) -> str:
    """The tree as YAML, sections in the order of `Config`; with `docs`, a comment above every key."""
    return "".join([HEADER] if docs else []) + "".join(_lines(type(config), config.tree(), docs, ""))


def as_json(config: Config) -> str:
    return json.dumps(config.tree(), indent=1) + "\n"


def write(path: Path, config: Config) -> None:
    """Replace `path` by the documented tree."""
    write_text(path, as_yaml(config))


def _lines(model: type[BaseModel], tree: dict[str, Any], docs: bool, indent: str) -> list[str]:
    lines = []
    for name, field in model.model_fields.items():
        key = field.alias or name
        value, kind = tree[key], field.annotation
        nested = isinstance(kind, type) and issubclass(kind, BaseModel)
        if docs and not indent and nested:
            lines.append("\n")
        if docs and field.description:
            lines += [f"{indent}# {line}\n" for line in field.description.splitlines()]
        if nested and indent and len(kind.model_fields) <= SHORT:
            lines.append(f"{indent}{key}: {as_flow(value)}\n")
        elif nested:
            lines.append(f"{indent}{key}:\n")
            lines += _lines(kind, value, docs, indent + "  ")
        else:
            lines.append(f"{indent}{key}: {as_flow(value)}\n")
    return lines


def as_flow(value: Any) -> str:
    """A value in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {as_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(as_flow(item) for item in value) + "]"
    if isinstance(value, float):
        text = repr(value)  # YAML 1.1 readers need the dot in 1.0e-05
        return text.replace("e", ".0e") if "e" in text and "." not in text else text
    if isinstance(value, str) and _is_plain(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _is_plain(text: str) -> bool:
    from ruamel.yaml import YAML

    simple = text and all(char.isalnum() or char in "_-./" for char in text) and text[0].isalpha()
    return (
        bool(simple)
        and all(YAML(typ=kind, pure=True).load(text) == text for kind in ("safe",))
        and text.lower() not in ("yes", "no", "on", "off", "y", "n", "true", "false", "null")
    )
