"""params.yaml as text: every parameter of the tree, with its documentation as a comment.

iqaflow config write
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from iqaflow.core.config import Config
from iqaflow.core.files import write_text

if TYPE_CHECKING:
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.nodes import ScalarNode
    from ruamel.yaml.representer import RoundTripRepresenter

SHORT = 3  # a section inside a section with no more fields than this is one line
HEADER = (
    "# Every knob of the pipeline. Schema and comments come from src/iqaflow/core/config/schema.py by `iqaflow config write`.\n"
    "# `resources`, `schedule` and `track` change speed and bookkeeping, never bytes: no DVC stage depends on them.\n"
)
WIDTH = 10**9  # of a line: values are not folded


def as_yaml(config: Config, docs: bool = True) -> str:
    """The tree as YAML, sections in the order of `Config`; with `docs`, a comment above every key."""
    return "".join([HEADER] if docs else []) + dump(_section(type(config), config.tree(), docs))


def as_json(config: Config) -> str:
    return json.dumps(config.tree(), indent=1) + "\n"


def write(path: Path, config: Config) -> None:
    """Replace `path` by the documented tree."""
    write_text(path, as_yaml(config))


def dump(section: CommentedMap) -> str:
    """YAML text that readers of YAML 1.1 and 1.2 understand alike."""
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import RoundTripRepresenter

    class Representer(RoundTripRepresenter):
        """One of our own: what is added to ruamel's holds for everybody in this process."""

    Representer.add_representer(float, _float)
    Representer.add_representer(type(None), _null)
    yaml, text = YAML(), io.StringIO()
    yaml.Representer, yaml.width = Representer, WIDTH
    yaml.dump(section, text)
    return text.getvalue()


def _section(model: type[BaseModel], tree: dict[str, Any], docs: bool, indent: int = 0) -> CommentedMap:
    from ruamel.yaml.comments import CommentedMap

    section = CommentedMap()
    for name, field in model.model_fields.items():
        key, kind = field.alias or name, field.annotation
        inner = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
        if inner is None or (indent and len(inner.model_fields) <= SHORT):
            section[key] = in_flow(tree[key])
        else:
            section[key] = _section(inner, tree[key], docs, indent + 2)
        if docs:
            above = ("\n" if inner is not None and not indent else "") + (field.description or "")
            section.yaml_set_comment_before_after_key(key, before=above or None, indent=indent)
    return section


def in_flow(value: Any) -> Any:
    """A value that stays on one line: lists and mappings in flow style, texts in quotes where a reader could err."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, str):
        return value if _is_plain(value) else DoubleQuotedScalarString(value)
    if not isinstance(value, (dict, list, tuple)):
        return value
    if isinstance(value, dict):
        flow: CommentedMap | CommentedSeq = CommentedMap((key, in_flow(item)) for key, item in value.items())
    else:
        flow = CommentedSeq(in_flow(item) for item in value)
    flow.fa.set_flow_style()
    return flow


def _float(representer: RoundTripRepresenter, value: float) -> ScalarNode:
    text = repr(value)  # YAML 1.1 readers need the dot in 1.0e-05
    text = text.replace("e", ".0e") if "e" in text and "." not in text else text
    return representer.represent_scalar("tag:yaml.org,2002:float", text)


def _null(representer: RoundTripRepresenter, value: None) -> ScalarNode:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _is_plain(text: str) -> bool:
    from ruamel.yaml import YAML

    simple = text and all(char.isalnum() or char in "_-./" for char in text) and text[0].isalpha()
    return (
        bool(simple)
        and YAML(typ="safe", pure=True).load(text) == text
        and text.lower() not in ("yes", "no", "on", "off", "y", "n", "true", "false", "null")
    )
