"""What one request, and all of them together, may cost the model server: numbers, and the ASGI middleware that holds bodies,
waiting requests and time to them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.exceptions import HTTPException

from iqaflow.core.security.doorkeeper import Receive, Scope, Send

MAX_ROWS = 32
MAX_PIXELS = 60_000_000
MAX_MIB = 32  # of a request; IQAFLOW_MAX_REQUEST_MIB
MAX_PIECES = 1_000_000  # lists, objects and fields: each takes up to 100 bytes and a microsecond when it is parsed
MAX_WAITING = 32  # requests whose bodies are held at once
SECONDS = 60.0  # until a request is given up


def max_mib() -> float:
    """The largest body, in MiB."""
    return float(os.environ.get("IQAFLOW_MAX_REQUEST_MIB", MAX_MIB))


def paths(default: bool = False) -> bool:
    """Whether cells may name files of this machine: not over HTTP, unless IQAFLOW_IMAGE_PATHS=1."""
    return os.environ.get("IQAFLOW_IMAGE_PATHS", "1" if default else "0") != "0"


class Limits:
    """ASGI middleware. Of a body above `mib` MiB no more than that is kept in memory. `refuse(status, sentence)` makes the answer
    to a request that finds `waiting` others before it (503), or that takes longer than `seconds` (504; None: however long).
    """

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        refuse: Callable[[int, str], Callable[[Scope, Receive, Send], Awaitable[None]]],
        mib: float,
        seconds: float | None,
        waiting: int = MAX_WAITING,
    ) -> None:
        self.app, self.refuse, self.mib, self.seconds, self.most, self.waiting = app, refuse, mib, seconds, waiting, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):  # health is answered however many wait
            return await self.app(scope, receive, send)
        if self.waiting >= self.most:
            sentence = f"{self.most} requests wait already: send this one again later."
            return await self.refuse(503, sentence)(scope, receive, send)
        begun = False

        async def sent(message: Any) -> None:
            nonlocal begun
            begun = True
            await send(message)

        self.waiting += 1
        try:
            await asyncio.wait_for(self.app(scope, self._weighed(receive), sent), self.seconds)
        except TimeoutError:
            if not begun:
                await self.refuse(504, f"There was no answer within {self.seconds:g} s.")(scope, receive, send)
        finally:
            self.waiting -= 1

    def _weighed(self, receive: Receive) -> Receive:
        """The body as it comes. One above the limit is read to its end, or its sender would never see the answer, and dropped."""
        size = 0

        async def weighed() -> Any:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size <= self.mib * 2**20:
                return message
            while message.get("more_body"):
                message = await receive()
                size += len(message.get("body", b""))
            raise HTTPException(413, f"The request has {size / 2**20:.1f} MiB, above the limit of {self.mib:g} MiB.")

        return weighed
