"""The doorkeeper before every HTTP port we open (Prefect, MLflow, the page, model serving): who may come in, and from where.

A browser lets any web page send requests to 127.0.0.1, and a name in somebody's DNS may point there. So a request is let
through only if (a) its Host is the very address it arrived at, `localhost` there, or one of IQAFLOW_ALLOWED_HOSTS
(`iqa.example.org,iqa.example.org:8443`: for people behind a proxy), (b) its Origin, if it has one, is that same host, and
a browser does not say that another site sent it, unless a person follows a link, and (c) it carries the secret, if there
is one, as HTTP Basic authentication. Websockets, too. Answers may not be framed or embedded by other sites.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

ALLOWED_HOSTS = "IQAFLOW_ALLOWED_HOSTS"
FOREIGN = ("cross-site", "same-site")  # of Sec-Fetch-Site; another port of this machine is "same-site"
# nobody frames or embeds our answers, and no page of ours speaks to another host (Prefect's would, whatever its settings say)
HEADERS = [
    (b"content-security-policy", b"frame-ancestors 'self'; connect-src 'self' data: blob:"),
    (b"cross-origin-resource-policy", b"same-origin"),
]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def allowed_hosts() -> tuple[str, ...]:
    """Hosts besides a server's own, as they stand in a Host header."""
    return tuple(filter(None, (host.strip().lower() for host in os.environ.get(ALLOWED_HOSTS, "").split(","))))


class Doorkeeper:
    """ASGI middleware. `secret` is `user:password`; without it nobody has to log in."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], secret: str | None = None) -> None:
        self.app, self.secret, self.extra = app, secret, allowed_hosts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):  # the server's own start and stop
            return await self.app(scope, receive, send)
        status, sentence = self.verdict(scope)
        if status == 200:
            return await self.app(scope, receive, _sealed(send) if scope["type"] == "http" else send)
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008, "reason": sentence})
        headers = [(b"content-type", b"text/plain; charset=utf-8"), *HEADERS]
        if status == 401:
            headers.append((b"www-authenticate", b'Basic realm="iqaflow", charset="UTF-8"'))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": f"{sentence}\n".encode()})

    def verdict(self, scope: Scope) -> tuple[int, str]:
        """The status to answer with (200: let through), and why."""
        hosts = [host.lower() for host in _values(scope, b"host")]
        if len(hosts) != 1 or hosts[0] not in (*_own_hosts(scope), *self.extra):
            return 403, f"This server does not answer to this Host: use its own address, or name the host in {ALLOWED_HOSTS}."
        scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
        schemes = {scheme, "https"} if hosts[0] in self.extra else {scheme}  # a proxy may speak TLS for us
        if any(origin.lower() not in {f"{allowed}://{hosts[0]}" for allowed in schemes} for origin in _values(scope, b"origin")):
            return 403, "Requests from pages of another origin are refused."
        if any(site in FOREIGN for site in _values(scope, b"sec-fetch-site")) and not _follows_a_link(scope):
            return 403, "Requests from another site are refused."
        if self.secret is not None and not self._knows_the_secret(scope):
            return 401, "Log in with the user and the password that `iqaflow up` prints."
        return 200, ""

    def _knows_the_secret(self, scope: Scope) -> bool:
        scheme, _, given = "".join(_values(scope, b"authorization")).partition(" ")
        try:
            decoded = base64.b64decode(given, validate=True)
        except (binascii.Error, ValueError):
            return False
        return scheme.lower() == "basic" and hmac.compare_digest(decoded, str(self.secret).encode())


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key.lower() == name]


def _own_hosts(scope: Scope) -> list[str]:
    """The address at which the request arrived, as a Host header says it; a name somebody points here is none of them."""
    address, port = scope.get("server") or (None, None)
    if not address or port is None:  # a Unix socket
        return []
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return []
    names = [f"[{ip}]" if ip.version == 6 else str(ip), *(["localhost"] if ip.is_loopback else [])]
    return [f"{name}:{port}" for name in names] + (names if port == 80 else [])


def _follows_a_link(scope: Scope) -> bool:
    """Whether a person opens the page in a tab of its own, as a link on another site does; not a frame, not a form."""
    return (
        scope["type"] == "http"
        and scope["method"] in ("GET", "HEAD")
        and _values(scope, b"sec-fetch-mode") == ["navigate"]
        and _values(scope, b"sec-fetch-dest") == ["document"]
    )


def _sealed(send: Send) -> Send:
    async def with_headers(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
        await send(message)

    return with_headers
