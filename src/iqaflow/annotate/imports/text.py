"""What all label files share: JSON that may be anything, names that must stay inside their folder, texts of bounded length."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

from iqaflow.core.errors import InputError
from iqaflow.core.files import json_lines

LONGEST = 20_000  # characters of a text that are read


def load(path: Path) -> Any:
    """A JSON file, or one with an object per line. Raises InputError in one sentence if it is neither."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text ({type(error).__name__}): give the label file.") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return [line.value for line in json_lines(text.encode().splitlines())]
    except ValueError as error:
        raise InputError(f"{path} is neither JSON nor JSON lines ({error}): give the label file.") from None


def entries(path: Path, what: str) -> list[Any]:
    """The entries of a file that holds a list, perhaps under one of the usual keys."""
    tree = load(path)
    if isinstance(tree, dict):
        lone = [tree] if tree.keys() & {"image", "images", "img_path", "image_A"} else None  # a file of one line
        tree = next((tree[key] for key in ("data", "annotations", "items", "metas") if isinstance(tree.get(key), list)), lone)
    if not isinstance(tree, list):
        raise InputError(f"{path} holds no list of entries: is it {what}?")
    return tree


def name(value: Any) -> str | None:
    """An image name with forward slashes, or None if it is no name or leads outside its folder."""
    if not isinstance(value, str) or not value.strip() or "\0" in value or len(value) > 1024:
        return None
    path = PurePosixPath(value.strip().replace("\\", "/"))
    return None if path.is_absolute() or ".." in path.parts else path.as_posix()


def text_of(value: Any) -> str | None:
    """A text without blanks around it, or None if there is none."""
    return (value.strip()[:LONGEST] or None) if isinstance(value, str) else None


def number(value: Any) -> float | None:
    """A finite number, or None."""
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return result if result == result and abs(result) != float("inf") else None
