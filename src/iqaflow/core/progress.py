"""Progress with an ETA on stderr: tqdm's moving bar on a terminal, a plain line every ten seconds in a log."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from iqaflow.core.log import shows_bars
from iqaflow.core.security.escaping import escape, raw

Item = TypeVar("Item")
LOG_SECONDS = 10.0
FORM = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
log = logging.getLogger(__name__)


class Bar:
    """A labelled count towards a total; `update` may start anywhere, as a resumed run does."""

    def __init__(self, label: str) -> None:
        self.label, self.moves = label, shows_bars()
        self.begun = self.logged = time.monotonic()
        self.first: int | None = None
        self.line = ""
        self.drawn: Any = None  # tqdm's bar

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.drawn is not None:
            self.drawn.close()
        elif self.line:
            log.info("%s", self.line)

    def update(self, done: int, total: int, note: str = "") -> None:
        if self.moves:
            return self._draw(done, total, note)
        now = time.monotonic()
        if self.first is None:
            self.first, self.begun = done - 1, now
        rate = (done - self.first) / max(now - self.begun, 1e-9)
        left = "" if done == self.first + 1 else f", {_clock((total - done) / rate)} left"
        self.line = f"{self.label}: {done}/{total}{left}{f', {note}' if note else ''}"
        if now - self.logged >= LOG_SECONDS:
            self.logged = now
            log.info("%s", self.line)

    def _draw(self, done: int, total: int, note: str) -> None:
        """Move tqdm's bar. It writes past the guard of stderr, for the sake of its carriage returns: texts are escaped here."""
        if self.drawn is None:
            self.drawn = _new_bar(escape(self.label), total, done - 1)
        self.drawn.total = total
        self.drawn.set_postfix_str(escape(note), refresh=False)
        self.drawn.update(done - self.drawn.n)


def _new_bar(label: str, total: int, initial: int) -> Any:
    from tqdm import tqdm

    unwatched: Any = type("unwatched", (tqdm,), {"monitor_interval": 0})  # no thread: every call of `update` draws
    width = shutil.get_terminal_size((0, 0)).columns
    return unwatched(
        desc=label,
        total=total,
        initial=initial,
        file=raw(sys.stderr),
        bar_format=FORM,
        ncols=None if width else 80,  # a terminal may not know its width
        dynamic_ncols=bool(width),
        mininterval=0,
        miniters=1,
        smoothing=0,  # the ETA is that of the mean rate
        disable=False,  # TQDM_DISABLE is for the bars of libraries
    )


def progress(items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
    """Pass items through, counting them."""
    with Bar(label) as bar:
        for done, item in enumerate(items, 1):
            bar.update(done, total)
            yield item


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
