"""Start the page: a model, a free port of the loopback, nothing from or for any other host, nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from iqaflow.core import environment
from iqaflow.core.errors import InputError, StageError
from iqaflow.core.security import doorkeeper, loopback
from iqaflow.core.workspace import Workspace, shipped
from iqaflow.infer import load

if TYPE_CHECKING:
    import gradio

    from iqaflow.infer.assessor import Assessor

PORT = 7860
MAX_FILE = "300mb"


def run(workspace: Workspace, model: str | None, port: int | None) -> None:
    """Serve the page until Ctrl-C."""
    port = _port(port)
    print("Loading the model ...", flush=True)
    assessor, name, note = chosen(workspace, model)
    with tempfile.TemporaryDirectory(prefix="iqaflow-page-") as folder:
        page = start(assessor, name, note, port, Path(folder))
        print(f"The page is at http://{loopback.HOST}:{port} (Ctrl-C ends it).", flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that uploads are removed then, too
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)  # a second one would leave uploads behind
            print()
        finally:
            page.close(verbose=False)


def chosen(workspace: Workspace, model: str | None) -> tuple[Assessor, str, str]:
    """The model to show, its name, and a sentence if it is not the one expected: without a champion, the shipped base."""
    if model:
        return load(model), model, ""
    try:
        return load("champion"), "champion", ""
    except (InputError, StageError) as error:
        reason, inside = str(error), Path("models", "base-tiny")
    base = (workspace.root if (workspace.root / inside / "config.json").is_file() else shipped()) / inside
    return load(base), "models/base-tiny", f"{reason} Until then the small base that ships answers, its confidences uncalibrated."


def start(assessor: Assessor, name: str, note: str, port: int, folder: Path) -> gradio.Blocks:
    """The page, listening; uploads and downloads live in `folder`."""
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")
    environment.prepare()  # gradio asks its own address whether it answers: not through a proxy
    import gradio as gr
    from starlette.middleware import Middleware

    from iqaflow.serve.page import app, examples
    from iqaflow.serve.page.desk import Desk

    page = app.build(Desk(assessor), name, note, examples.make(folder / "examples"), folder)
    system = gr.themes.Font("sans-serif"), gr.themes.Font("monospace")  # other fonts would come from another host
    theme = gr.themes.Default(primary_hue="blue", neutral_hue="slate", font=system[0], font_mono=system[1])
    css = files("iqaflow.serve.page").joinpath("page.css").read_text("utf-8")
    page.launch(
        server_name=loopback.HOST,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        inbrowser=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        run_history=False,
        enable_monitoring=False,
        show_error=True,
        footer_links=[],
        max_file_size=MAX_FILE,
        css=css,
        theme=theme,
        app_kwargs={"middleware": [Middleware(doorkeeper.Doorkeeper)]},
    )  # no password: the page reads, it changes nothing
    return page


def _port(wanted: int | None) -> int:
    """The port asked for, or any free one. Raises InputError if another program listens there."""
    if wanted is None:
        return loopback.free_port(PORT, print, "the page")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((loopback.HOST, wanted))
        except (OSError, OverflowError) as error:
            raise InputError(
                f"Port {wanted} cannot be used ({getattr(error, 'strerror', None) or error}): "
                f"give another with --port, or none for any free one."
            ) from None
    return wanted
