"""The command line: one door per stage, the pipeline, the model, the services. Thin: everything is imported when called.

    iqaflow --help

Exit codes: 0 done, 1 failed (may work next time), 2 bad input or parameters, 3 stopped on purpose (core/errors.py).
"""

from __future__ import annotations

import logging
import os
import sys

import typer

from iqaflow.cli import model, pipeline, services, stages
from iqaflow.cli.options import Commands, log_options

INTERRUPTED = 130
log = logging.getLogger(__name__)
app = typer.Typer(
    cls=Commands,
    callback=log_options,
    help="Explainable image quality assessment: annotate, validate, train, calibrate, benchmark, promote, assess.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (pipeline, stages, model, services):
    app.add_typer(part.app)


def main() -> None:
    """The console script: failures become one sentence on stderr and an exit code."""
    from iqaflow.core import environment
    from iqaflow.core.log import set_up
    from iqaflow.core.security import escaping
    from iqaflow.core.workspace import Workspace

    escaping.guard(results=True)
    environment.prepare(Workspace.here().root)
    try:
        _keep_secrets()
        set_up()
        app()
    except KeyboardInterrupt:
        _interrupted()
    except SystemExit as end:
        if end.code == INTERRUPTED:  # typer has caught the interrupt and says nothing
            _interrupted()
        raise
    except BrokenPipeError:  # `| head` closed our output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if os.environ.get("IQAFLOW_DEBUG"):
            raise
        from iqaflow.core import errors

        log.error("iqaflow: %s", errors.sentence(error))
        sys.exit(errors.exit_code(error))


def _keep_secrets() -> None:
    """Nothing secret into logs, and no address with a password from the environment."""
    from iqaflow.core.config import refusal
    from iqaflow.core.security import redaction

    redaction.guard_logging()
    refusal.environment()


def _interrupted() -> None:
    log.warning("Interrupted; the same command goes on from what was kept.")
    sys.exit(INTERRUPTED)
