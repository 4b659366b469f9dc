"""Failures that are one sentence, and the exit codes they become.

| exit code | meaning | tried again by the flow |
|---|---|---|
| 0 | done | |
| 1 | failed, and may work next time (a crash, a lost server) | yes |
| 2 | bad input or parameters | no |
| 3 | stopped on purpose or would fail again: a gate, damaged data, a full disk, another run in the way | no |
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from iqaflow.core.security.redaction import redact

FAILED, BAD_INPUT, STOPPED = 1, 2, 3


class StageError(RuntimeError):
    """A stage stops on purpose (gate failed, empty folder, busy checkout); the message is the whole story."""


class InputError(ValueError):
    """What the caller gave is unusable; the message says what, where, and what to do."""


class PipelineError(RuntimeError):
    """The pipeline around the stages failed; trying again may help."""


class ConfigError(ValueError):
    """The parameters are wrong; the message says which, where, and what was expected."""


class DamagedError(RuntimeError):
    """Something on disk is missing, cut short or altered; the message names it and says what to do."""


class NoSpaceError(OSError):
    """The disk or quota is full; the message names the place. What was there before is untouched."""


def exit_code(error: BaseException) -> int:
    """The exit code of a failure; see the table above."""
    if isinstance(error, (ConfigError, InputError)):
        return BAD_INPUT
    if isinstance(error, (StageError, DamagedError, NoSpaceError)):
        return STOPPED
    return FAILED


def sentence(error: BaseException) -> str:
    """What to print and to store, without secrets: our own messages as they are; anything else with its type and the way to
    the traceback.
    """
    if isinstance(error, NoSpaceError):
        return redact(f"{error.strerror}.")
    if isinstance(error, _ours()):
        return redact(str(error))
    text = redact(" ".join(str(error).split())) or "no message"
    return f"{type(error).__name__}: {text[:600]} (IQAFLOW_DEBUG=1 shows the traceback)"


def again(error: Exception, text: str) -> Exception:
    """The same failure with another text, so that its exit code stays."""
    if isinstance(error, NoSpaceError):
        return StageError(text)
    for kind in _ours():
        if isinstance(error, kind):
            return kind(text)
    return PipelineError(f"{type(error).__name__}: {text}")


@contextmanager
def redacted() -> Iterator[None]:
    """What fails inside the block fails with a message that may be stored (Prefect keeps it in its database)."""
    try:
        yield
    except Exception as error:
        shown = redact(str(error))
        if shown == str(error):
            raise
        raise again(error, shown) from None


def _ours() -> tuple[type[Exception], ...]:
    """The failures whose message is the whole story."""
    return ConfigError, InputError, StageError, PipelineError, DamagedError
