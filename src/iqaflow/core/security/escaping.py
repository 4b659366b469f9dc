r"""Text from outside (file names, answers of models and servers, exceptions) where it could command: a terminal, a spreadsheet.

guard()         # once per process: control characters that are printed are shown, as \\x1b, instead of obeyed
cell(name)      # a CSV cell that no spreadsheet takes for a formula
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any, TextIO

COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")  # also what turns text around
STYLES = re.compile(r"(\x1b\[[0-9;]{0,40}m)")
FORMULA = re.compile(r"""[\s"'`\u200b\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]""")


def escape(text: str) -> str:
    """`text` with control characters, and bytes of names that are not UTF-8, spelled out; line feeds and tabs stay."""
    return COMMANDS.sub(_spelled, text)


def cell(value: Any) -> Any:
    """A value of a CSV row: a text that a spreadsheet would run gets a single quote in front; numbers stay numbers."""
    if not isinstance(value, str):
        return value
    return f"'{escape(value)}" if FORMULA.match(value) and not _is_number(value) else escape(value)


class Terminal:
    """A text stream that escapes what it is told to write, and with `redacts` hides what is secret. `raw` is the stream
    behind it, for our own cursor movements; `rich_proxied_file` is what rich writes its tables to: colours pass there.
    """

    def __init__(self, raw: TextIO, redacts: bool = False, styled: bool = False) -> None:
        from iqaflow.core.security.redaction import Lines

        self.raw, self.styled = raw, styled
        self.redact: Callable[[str], str] | None = Lines() if redacts else None
        self.rich_proxied_file = self if styled else Terminal(raw, redacts, styled=True)

    def write(self, text: str) -> int:
        shown = self.redact(text) if self.redact and text != "\n" else text
        parts = STYLES.split(shown) if self.styled else [shown]
        shown = "".join(part if number % 2 else escape(part) for number, part in enumerate(parts))
        try:
            self.raw.write(shown)
        except UnicodeEncodeError:  # the terminal's own alphabet is smaller
            encoding = self.raw.encoding or "ascii"
            self.raw.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


def guard(results: bool = False) -> None:
    """Let this process print only what cannot command a terminal, and no secrets; with `results`, its stdout is for programs
    (JSON, CSV) and changed no further.
    """
    for name, redacts in (("stdout", not results), ("stderr", True)):
        stream = getattr(sys, name)
        if stream is not None and (not isinstance(stream, Terminal) or (redacts and not stream.redact)):
            setattr(sys, name, Terminal(raw(stream), redacts))


def raw(stream: Any) -> Any:
    """The stream behind a guarded one, for control characters of our own."""
    return stream.raw if isinstance(stream, Terminal) else stream


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00  # a byte that is not UTF-8, as Python keeps it in names
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
