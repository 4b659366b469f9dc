"""Read a large JSON object part by part: COCO's panoptic file is 300 MB, and 2 GB once parsed as a whole."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SPACE = re.compile(r"[ \t\r\n]*")


def parts(path: Path, arrays: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """(key, element) for every element of the top-level lists named in `arrays`; everything else is skipped. Raises
    ValueError with the place where the text is no JSON object, or one of these is no list.
    """
    text = path.read_text(encoding="utf-8")
    decode = json.JSONDecoder().raw_decode

    def skip(at: int, *expected: str) -> int:
        """Past white space and one of the expected marks, if any are."""
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches everywhere
        if expected and not text.startswith(expected, at):
            raise json.JSONDecodeError(f"Expected {' or '.join(expected)}", text, at)
        return at + bool(expected)

    at = skip(0, "{")
    while text[at - 1] != "}":
        key, at = decode(text, skip(at))
        at = skip(at, ":")
        if key not in arrays:
            _, at = decode(text, skip(at))
        else:
            at = skip(at, "[")
            if text.startswith("]", skip(at)):
                at = skip(at, "]")
            while text[at - 1] != "]":
                element, at = decode(text, skip(at))
                yield key, element
                at = skip(at, ",", "]")
        at = skip(at, ",", "}")
