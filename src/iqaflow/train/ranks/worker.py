"""One training rank: `python -m iqaflow.train.ranks.worker JOB.json`, started by `train.launch`, torchrun, deepspeed or srun."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from pathlib import Path

from iqaflow.core.config import Config
from iqaflow.core.errors import NoSpaceError
from iqaflow.core.files import explain_full_disk, write_json
from iqaflow.core.workspace import Workspace
from iqaflow.train.ranks import heartbeat
from iqaflow.train.ranks.launch import AGAIN, FULL, STOPPED, Failure
from iqaflow.train.run import Again, Run, Stopped

SLURM = {"RANK": "SLURM_PROCID", "LOCAL_RANK": "SLURM_LOCALID", "WORLD_SIZE": "SLURM_NTASKS"}
log = logging.getLogger("iqaflow.train.ranks.worker")  # the module is started as a program


def main(job_path: Path) -> None:
    """Train as the job file says: `{config, root, work}`."""
    job = json.loads(job_path.read_text(encoding="utf-8"))
    config, workspace, work = Config.model_validate(job["config"]), Workspace(Path(job["root"])), Path(job["work"])
    import torch

    torch.set_num_threads(config.resources.threads)
    torch.manual_seed(config.seed)
    run: Run | None = None

    def leave(number: int, frame: object) -> None:
        if run is None:
            os._exit(STOPPED)  # nothing is learnt yet
        run.leave = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    run = Run(config, workspace, work)
    run.train()


def environment() -> None:
    """Who this rank is, as torch's launchers say it: from SLURM where srun started it, else rank 0 of 1 (without a launcher
    DeepSpeed would look for MPI).
    """
    from iqaflow.core.security.loopback import free_port

    srun = "SLURM_PROCID" in os.environ and "RANK" not in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1
    for key, alone in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1")):
        os.environ.setdefault(key, os.environ[SLURM[key]] if srun else alone)
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    if "MASTER_PORT" not in os.environ:
        os.environ["MASTER_PORT"] = str(free_port(0))


def _out_of_memory(error: BaseException) -> bool:
    """CUDA says so by its type, the CPU allocator only by its words."""
    return type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def run_rank(job_path: Path) -> int:
    """The rank as a process of its own: guarded, beating, its reason left to the launcher; the exit code."""
    from iqaflow.core.environment import prepare
    from iqaflow.core.errors import exit_code, sentence
    from iqaflow.core.log import set_up
    from iqaflow.core.process import die_with_parent
    from iqaflow.core.security import escaping, redaction

    prepare()
    escaping.guard()
    redaction.guard_logging()
    set_up()
    die_with_parent()
    environment()
    reason_path = job_path.parent / f"failure-{os.environ['RANK']}.json"  # a rank's reason must survive the rank
    try:
        with explain_full_disk(job_path.parent):
            heartbeat.start(job_path.parent, int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
        main(job_path)
    except (Again, Stopped) as error:
        return _tell(reason_path, {"sentence": str(error), "code": AGAIN if isinstance(error, Again) else STOPPED})
    except Exception as error:
        if _out_of_memory(error):
            return _tell(reason_path, {"sentence": sentence(error), "code": AGAIN, "out_of_memory": True})
        code = _tell(reason_path, {"sentence": sentence(error), "code": exit_code(error)})
        if os.environ.get("IQAFLOW_DEBUG"):
            raise
        if code != FULL:  # the log lies on the same disk
            log.error("%s", sentence(error))
        return code
    return 0


def _tell(path: Path, reason: Failure) -> int:
    """Leave the reason to the launcher; the exit code that goes with it."""
    try:
        write_json(path, reason)
    except NoSpaceError:
        return FULL
    return reason["code"]


if __name__ == "__main__":
    # the deepspeed launcher puts --local_rank=N before the arguments; the environment says the same
    sys.exit(run_rank(Path(next(argument for argument in sys.argv[1:] if not argument.startswith("--")))))
