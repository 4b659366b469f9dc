"""Shards: the units that are annotated, resumed and shared out. Each is a deterministic function of (configuration,
photographs and labels, seed), so a killed run makes only what is missing, and any engine gives the same bytes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypedDict, cast
from uuid import uuid4

import numpy as np

from iqaflow import regions, sources
from iqaflow.core import plugins, process
from iqaflow.core.config import Config
from iqaflow.core.errors import DamagedError, InputError
from iqaflow.core.files import write_json
from iqaflow.core.hashes import sha256
from iqaflow.core.manifest import read_sealed, seal
from iqaflow.core.workspace import Workspace
from iqaflow.data import tables
from iqaflow.data.photographs import OWN, Index
from iqaflow.data.rows import ConversationRow, ImageRow, Split
from iqaflow.data.tables import SPLITS
from iqaflow.regions import Segments

DASK_ADDRESS = "IQAFLOW_DASK_SCHEDULER"  # a running cluster; without it one is started on this machine
DASK_SECONDS = 10
TURN = 4  # shards per worker that an engine without a stream of results makes in one round
UNFINISHED = "unfinished"  # folder of tables being written; what a killed process leaves there never joins the data set
Rows = tuple[list[ImageRow], list[ConversationRow]]


@dataclass(frozen=True)
class Shard:
    """`count` units of a split from number `first`: pairs of views of the synthetic data set, items of a labelled one."""

    name: str
    dataset: str
    split: Split
    first: int
    count: int


class Marker(TypedDict):
    """What is noted of a finished shard: SHA-256 of its files, the number of its images, and of its questions by task."""

    files: dict[str, str]
    dataset: str
    split: Split
    images: int
    tasks: dict[str, int]


def plan(config: Config, labelled: dict[str, dict[str, int]]) -> list[Shard]:
    """All shards of a data set. `labelled` is the number of items of each labelled data set by split."""
    from iqaflow.annotate.synthetic import units

    totals = [
        (OWN, split, units(getattr(config.annotate.images, split)), max(config.annotate.shard_images // 2, 1)) for split in SPLITS
    ]
    totals += [
        (name, split, counts[split], config.annotate.shard_images) for name, counts in labelled.items() for split in SPLITS
    ]
    shards: list[Shard] = []
    for dataset, split, total, step in totals:
        for first in range(0, total, step):
            shards.append(Shard(f"{len(shards):05d}", dataset, split, first, min(step, total - first)))
    return shards


def make(work: Path, shard: Shard, config: Config, workspace: Workspace) -> str:
    """Write both tables of a shard, and its marker last: a shard without one does not exist."""
    import cv2

    cv2.setNumThreads(1)  # workers share the cores
    index = _index(sources.index_path(workspace))
    plugins.check(index.inputs.get(plugins.NAME), workspace.relative(sources.index_path(workspace)))
    images, conversations = (_synthetic if shard.dataset == OWN else _labelled)(shard, config, index, workspace)
    files = {}
    for table, rows, schema in (
        ("images", images, tables.images_schema()),
        ("conversations", conversations, tables.conversations_schema()),
    ):
        path = work / table / f"part-{shard.name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = work / UNFINISHED / f"{table}-{shard.name}-{uuid4().hex}"  # a cluster may make a shard twice at once
        try:
            tables.write_table(beside, rows, schema)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
        files[f"{table}/{path.name}"] = sha256(path)
    write_json(
        work / f"shard-{shard.name}.json",
        seal(
            {
                "files": files,
                "dataset": shard.dataset,
                "split": shard.split,
                "images": len(images),
                "tasks": dict(sorted(Counter(row["task"] for row in conversations).items())),
            }
        ),
    )
    return shard.name


def done(work: Path, shard: Shard) -> bool:
    """Whether a shard is there, whole."""
    try:
        files = read_marker(work, shard.name)["files"]
    except DamagedError:  # absent, or altered since: the shard is made again
        return False
    return all((work / file).is_file() and sha256(work / file) == digest for file, digest in files.items())


def read_marker(work: Path, name: str) -> Marker:
    """What `make` noted of a shard. Raises DamagedError."""
    marker = read_sealed(work / f"shard-{name}.json", "run `iqaflow annotate` again")
    return cast(Marker, marker)  # its seal holds, so it is what `make` wrote


def _synthetic(shard: Shard, config: Config, index: Index, workspace: Workspace) -> Rows:
    from iqaflow.annotate.synthetic import make_unit

    @lru_cache(maxsize=2)  # neighbouring units share a photograph
    def pixels(source_id: str) -> np.ndarray:
        return sources.load(by_id[source_id], config.source, workspace)

    @lru_cache(maxsize=2)
    def segments(source_id: str) -> Segments | None:
        return regions.of_photograph(by_id[source_id], pixels(source_id), config, workspace)

    photographs = index.of(shard.split)
    by_id = {photograph.source_id: photograph for photograph in photographs}
    images: list[ImageRow] = []
    conversations: list[ConversationRow] = []
    for unit in range(shard.first, shard.first + shard.count):
        unit_images, unit_conversations = make_unit(
            unit,
            shard.split,
            config.annotate,
            config.seed,
            photographs,
            lambda photograph: pixels(photograph.source_id),
            lambda photograph: segments(photograph.source_id),
        )
        images += unit_images
        conversations += unit_conversations
    if config.annotate.teacher.rewrite:
        from iqaflow.annotate.teachers import rewrite

        conversations = rewrite.shard(images, conversations, config, workspace)
    return images, conversations


def _labelled(shard: Shard, config: Config, index: Index, workspace: Workspace) -> Rows:
    from iqaflow.annotate import labelled

    data_set = next(entry for entry in config.source.labelled if entry.name == shard.dataset)
    items, _ = labelled.items(data_set, index, workspace)
    chosen = items[shard.split][shard.first : shard.first + shard.count]
    return labelled.make(chosen, data_set, shard.split, config, index, workspace, first=shard.first)


@lru_cache(maxsize=1)
def _read(path: Path, stamp: tuple[int, int]) -> Index:
    return Index.read(path)


def _index(path: Path) -> Index:
    """The photographs, read once per process: sending the list with every shard would cost more than the shard."""
    status = path.stat()
    return _read(path, (status.st_mtime_ns, status.st_size))


@contextmanager
def engine(config: Config, workers: int) -> Iterator[Callable[[list[Any]], Iterator[Any]]]:
    """A function that runs joblib's delayed calls on `resources.engine` and yields results as they come.

    Raises InputError if the engine is not installed or its cluster does not answer.
    """
    from joblib import Parallel

    with ENGINES[config.resources.engine](workers) as options:
        run_all = Parallel(**{"n_jobs": workers, "return_as": "generator_unordered", **options})
        yield run_all if run_all.return_generator else lambda calls: _in_turns(run_all, calls, TURN * workers)


def _in_turns(run_all: Any, calls: list[Any], turn: int) -> Iterator[Any]:
    """For an engine that gives results only when all are there: a few rounds of shards at a time, to show progress."""
    for start in range(0, len(calls), turn):
        yield from run_all(calls[start : start + turn])


@contextmanager
def _sequential(workers: int) -> Iterator[dict[str, Any]]:
    yield {"backend": "sequential"}


@contextmanager
def _loky(workers: int) -> Iterator[dict[str, Any]]:
    """Processes on this machine, which end with this one even when it is killed."""
    from joblib.externals.loky import get_reusable_executor

    try:
        yield {"backend": "loky", "initializer": process.die_with, "initargs": ((process.identity(),),)}
    finally:
        get_reusable_executor(reuse=True).shutdown(kill_workers=True)  # joblib would keep them for the next call


@contextmanager
def _ray(workers: int) -> Iterator[dict[str, Any]]:
    """The Ray cluster of RAY_ADDRESS, or one on this machine."""
    try:
        import ray
        from joblib import parallel_config
        from ray.util.joblib import register_ray
    except ImportError:
        raise InputError(
            "resources.engine=ray needs the package ray: install it with `pip install iqaflow[ray]`, or take loky or dask."
        ) from None
    register_ray()
    ours = not ray.is_initialized()
    try:
        with parallel_config("ray"):
            yield {"return_as": "list"}  # joblib's Ray back end knows no other way
    finally:
        if ours:
            ray.shutdown()


@contextmanager
def _dask(workers: int) -> Iterator[dict[str, Any]]:
    """All workers of the cluster named in the environment, or processes on this machine."""
    from distributed import Client, LocalCluster
    from joblib import parallel_config

    address = os.environ.get(DASK_ADDRESS)
    if address:
        try:
            client = Client(address, timeout=DASK_SECONDS)
        except (OSError, TimeoutError, ValueError) as error:
            raise InputError(f"{DASK_ADDRESS}={address} does not answer ({error}): start the scheduler, or unset it.") from None
        with client, parallel_config("dask"):
            yield {"n_jobs": -1}
        return
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            host="127.0.0.1",
            security=True,  # keys of its own: whoever can speak to a scheduler can run code
            silence_logs="ERROR",
        ) as cluster,
        Client(cluster),
        parallel_config("dask"),
    ):
        yield {"n_jobs": -1}


ENGINES = {"loky": _loky, "dask": _dask, "ray": _ray, "sequential": _sequential}  # names for `resources.engine`
