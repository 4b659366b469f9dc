"""What a command tells about its work: records of the logger `iqaflow` and those below it, on stderr.

    iqaflow --verbose run        # or --quiet; --log json
    logging.getLogger(__name__).info("train: continuing from step %d", step)

Results are no records: they are printed, to stdout. A record is its message, as plain text, on a terminal above a moving bar;
`--verbose` adds time and level. With `--log json` it is one line of JSON with `time`, `level`, `logger` and `message`. The two
environment variables carry the choice to stages, ranks and servers. Secrets are hidden and control characters spelled out.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from iqaflow.core.errors import InputError
from iqaflow.core.security.escaping import escape, raw
from iqaflow.core.security.redaction import redact

FORM, LEVEL = "IQAFLOW_LOG", "IQAFLOW_LOG_LEVEL"
FORMS = ("text", "json")
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
logger = logging.getLogger("iqaflow")


def choose(form: str | None = None, level: str | None = None) -> None:
    """Choose form and level for this process and those it starts; None leaves them. Raises InputError for an unknown one."""
    for variable, value in ((FORM, form), (LEVEL, level)):
        if value is not None:
            os.environ[variable] = value
    set_up()


def set_up() -> None:
    """Let the records of this process be seen, as the environment says. Doing it again follows a changed environment. Raises
    InputError for an unknown form or level.
    """
    form, level = _of(FORM, FORMS, "text"), _of(LEVEL, tuple(LEVELS), "info")
    for handler in [handler for handler in logger.handlers if isinstance(handler, Handler)]:
        logger.removeHandler(handler)
    logger.addHandler(Handler(form == "json", detailed=level == "debug"))
    logger.setLevel(LEVELS[level])
    logger.propagate = False  # libraries put handlers of their own on the root: a line would be seen twice


def shows_bars() -> bool:
    """Whether progress may be drawn: on a terminal, unless records are JSON or below INFO unwanted."""
    return sys.stderr.isatty() and logger.level <= logging.INFO and os.environ.get(FORM) != "json"


class Handler(logging.Handler):
    """Writes records to what is stderr at that moment. Texts are printed, as a flow whose prints Prefect logs takes them."""

    def __init__(self, as_json: bool = False, detailed: bool = False) -> None:
        super().__init__()
        self.as_json, self.detailed = as_json, detailed

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = escape(redact(self.format(record)))
            if self.as_json:
                # past the guard of stderr: the line is safe, and another look for secrets could take JSON's quotes for theirs
                raw(sys.stderr).write(f"{as_json(record, message)}\n")
                sys.stderr.flush()
                return
            with _above_bars():
                if self.detailed and sys.stderr.isatty():
                    _print_in_colour(record, message)
                else:
                    print(f"{_stamp(record)} {message}" if self.detailed else message, file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


def as_json(record: logging.LogRecord, message: str) -> str:
    """A record as one line of JSON in ASCII; the time is in UTC."""
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": time, "level": record.levelname, "logger": record.name, "message": message})


def _stamp(record: logging.LogRecord) -> str:
    return f"{datetime.fromtimestamp(record.created):%H:%M:%S} {record.levelname:<7}"


def _print_in_colour(record: logging.LogRecord, message: str) -> None:
    from rich.console import Console
    from rich.text import Text

    line = Text.assemble((_stamp(record), f"logging.level.{record.levelname.lower()}"), " ", message)
    Console(file=sys.stderr, soft_wrap=True).print(line, highlight=False)


@contextmanager
def _above_bars() -> Iterator[None]:
    """A line of text between two states of a bar: the bar is taken away and drawn again below it."""
    if "tqdm" not in sys.modules:
        yield
        return
    from tqdm import tqdm

    with tqdm.external_write_mode(file=raw(sys.stderr)):
        yield


def _of(variable: str, choices: tuple[str, ...], default: str) -> str:
    value = (os.environ.get(variable) or default).lower()
    if value not in choices:
        raise InputError(f"{variable} is {value!r}; choose one of {', '.join(choices)}.")
    return value
