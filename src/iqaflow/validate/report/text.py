"""Text on the page: everything from the data is untrusted, so it is escaped, shortened and stripped of controls."""

from __future__ import annotations

import html
import unicodedata
from typing import Any


def escape(value: Any, longest: int = 600) -> str:
    """A value as HTML text or attribute. Control and direction characters become a visible mark: they could hide or
    turn around what is written."""
    text = "" if value is None else str(value)
    text = text if len(text) <= longest else f"{text[: longest - 1]}…"
    shown = "".join(
        "\ufffd" if unicodedata.category(mark) in ("Cc", "Cf", "Cs", "Co") and mark not in "\n\t" else mark
        for mark in text
    )
    return html.escape(shown, quote=True)


def number(value: float) -> str:
    return f"{value:,.0f}"


def plural(count: int, noun: str) -> str:
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"
