"""`iqaflow serve`: the application of `serve/application.py` behind uvicorn, until Ctrl-C."""

from __future__ import annotations

import socket

from iqaflow.core.errors import InputError
from iqaflow.core.security import loopback
from iqaflow.infer import load

PORT = 5001
# uvicorn's own formatter for requests wants their parts apart, where our logs, held free of secrets, are whole sentences
LOGS = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(levelname)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {"uvicorn": {"handlers": ["stderr"], "level": "INFO", "propagate": False}},
}


def run(model: str, host: str, port: int | None) -> None:
    """Serve a model at `host`: at `port`, or at 5001 or any free one. InputError if that cannot be listened on."""
    import uvicorn

    from iqaflow.serve.application import application

    with _listening(host, port) as listening:
        print("Loading the model ...", flush=True)
        app = application(load(model))
        address, chosen = listening.getsockname()[:2]
        where = f"[{address}]" if ":" in address else address
        print(f"The model is served at http://{where}:{chosen} (Ctrl-C ends it).", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_config=LOGS, server_header=False)).run(sockets=[listening])


def _listening(host: str, port: int | None) -> socket.socket:
    if host == loopback.HOST and port is None:
        return loopback.listen(PORT, print, "the model")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port or PORT, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{host}:{port or PORT} cannot be listened on ({reason}): give another --host or --port.") from None
