"""Ports of this machine's loopback, where everything listens that we open."""

from __future__ import annotations

import socket
from collections.abc import Callable

from iqaflow.core.errors import PipelineError

HOST = "127.0.0.1"


def listen(preferred: int, say: Callable[[str], None] | None = None, what: str = "") -> socket.socket:
    """A socket that listens on the loopback at `preferred`, or, if that is in use, at any free port, with a sentence."""
    for port in (preferred, 0):
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
            listening.listen(2048)
        except OSError:
            listening.close()
            continue
        chosen = listening.getsockname()[1]
        if chosen != preferred and say:
            say(f"Port {preferred} is in use, so {what} takes {chosen}.")
        return listening
    raise PipelineError(f"No free port on {HOST}.")


def free_port(preferred: int, say: Callable[[str], None] | None = None, what: str = "") -> int:
    """`preferred` if nothing listens there, else any free port of the loopback, with a sentence."""
    with listen(preferred, say, what) as probe:
        return int(probe.getsockname()[1])
