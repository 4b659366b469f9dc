"""Environment variables of every process the project starts: no telemetry, few threads, everything in the checkout.

`prepare()` is the first thing the CLI does. It only fills in what is not set, so that a user's own value wins, but for two
things: our own servers are never asked through a proxy, and no other git repository than the checkout's is meant.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

QUIET = {  # nothing phones home
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "GRADIO_ANALYTICS_ENABLED": "False",
}
SAFE = {  # no pickles from a store, no code in results
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
}
MODEST = {  # two spinning threads on busy cores are ten times slower than one
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its seven workers take 250 MB each
}
TOOLS = {
    "MPLBACKEND": "Agg",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "TQDM_DISABLE": "1",  # bars of libraries inside logs; ours is core/progress.py
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")  # no proxy can reach our own servers
FOREIGN_GIT = (  # a hook's or a wrapper's repository: ours is the one around the checkout, for git, DVC and MLflow alike
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
)


def prepare(root: Path | None = None) -> None:
    """Set every variable that is not set; with `root` (a checkout), also where servers keep their state."""
    for name in FOREIGN_GIT:
        os.environ.pop(name, None)
    for name in ("NO_PROXY", "no_proxy"):
        spared = [host.strip() for host in os.environ.get(name, "").split(",") if host.strip()]
        os.environ[name] = ",".join([*spared, *(host for host in LOOPBACK if host not in spared and "*" not in spared)])
    if os.environ.get("IQAFLOW_TRACKING_URI"):  # MLflow's own code asks its variable: one store, whoever asks
        os.environ["MLFLOW_TRACKING_URI"] = os.environ["IQAFLOW_TRACKING_URI"]
    for group in (QUIET, SAFE, MODEST, TOOLS):
        for key, value in group.items():
            os.environ.setdefault(key, value)
    scripts = Path(sys.prefix) / "bin"
    path = os.environ.get("PATH", os.defpath)
    if (scripts / "python").exists() and str(scripts) not in path.split(os.pathsep):
        os.environ["PATH"] = f"{scripts}{os.pathsep}{path}"  # dvc starts `iqaflow`, deepspeed starts `ninja`, by name
    extensions = Path(sys.prefix) / "torch_ext"  # the shared default is rebuilt and locked by every environment
    os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(extensions))
    if not _has_gpu():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    if root is not None:
        os.environ.setdefault("PREFECT_HOME", str(root / ".iqaflow" / "prefect"))
        os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlruns' / 'mlflow.db'}")


def _has_gpu() -> bool:
    """Cheap and without torch: an NVIDIA or AMD device node, and not hidden from us."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists()
