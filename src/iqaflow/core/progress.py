"""Progress with an ETA on stderr: one moving line on a terminal, a plain line every ten seconds in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from iqaflow.core.security.escaping import escape, raw

Item = TypeVar("Item")
LOG_SECONDS = 10.0


class Bar:
    """A labelled count towards a total; `update` may start anywhere, as a resumed run does."""

    def __init__(self, label: str) -> None:
        self.label, self.terminal = label, sys.stderr.isatty()
        self.begun = self.said = time.monotonic()
        self.first: int | None = None
        self.line = ""

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.line:
            print(f"\r{self.line}" if self.terminal else self.line, file=raw(sys.stderr), flush=True)

    def update(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if self.first is None:
            self.first, self.begun = done - 1, now
        rate = (done - self.first) / max(now - self.begun, 1e-9)
        left = "" if done == self.first + 1 else f", {_clock((total - done) / rate)} left"
        self.line = escape(f"{self.label}: {done}/{total}{left}{f', {note}' if note else ''}")
        if self.terminal:
            print(f"\r\033[K{self.line}", end="", file=raw(sys.stderr), flush=True)
        elif now - self.said >= LOG_SECONDS:
            self.said = now
            print(self.line, file=sys.stderr, flush=True)


def progress(items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
    """Pass items through, counting them."""
    with Bar(label) as bar:
        for done, item in enumerate(items, 1):
            bar.update(done, total)
            yield item


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
