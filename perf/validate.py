"""How fast a data set is validated: a real annotated set, copied under new ids to N conversations, and the pixel pass alone.

    python perf/validate.py [--conversations 100000] [--images 2000] [--source FOLDER]

The set is annotated at 64 px first, which is not timed. A copy has new ids, hashes and file names, so that every check has
as much to do as on as many photographs; its texts are the original's. Times are CPU seconds of one process with one thread.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from iqaflow.core import config
from iqaflow.core.environment import prepare
from iqaflow.core.workspace import Workspace
from iqaflow.data import tables

SMALL, LARGE = "[[64, 64], [64, 96], [96, 64]]", "[[512, 512]]"
PARTS = {  # function of iqaflow.validate: what the table calls it
    ("stage", "_verify"): "hash every file",
    ("checks.pixels", "measure"): "pixel pass",
    ("checks.frames", "images"): "flatten images",
    ("checks.dialogues", "conversations"): "flatten conversations, read answers",
    ("checks.leakage", "photographs"): "leakage",
    ("checks.balance", "phrases"): "wordings",
    ("stage", "judge"): "Great Expectations and its Data Docs",
    ("report.page", "page"): "report",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=100_000)
    parser.add_argument("--images", type=int, default=2000, help="images annotated before copying")
    parser.add_argument("--pictures", type=int, default=100, help="images of 512 px for the pixel pass")
    parser.add_argument("--source", type=Path, help="folder of photographs; else those inside the packages")
    chosen = parser.parse_args()
    prepare()
    source = [f"source.path={chosen.source}", "source.kind=folder"] if chosen.source else []
    with tempfile.TemporaryDirectory(prefix="iqaflow-validate-") as folder:
        small, large, copied = (Workspace(Path(folder) / name) for name in ("small", "large", "copied"))
        annotate(small, chosen.images, [*source, f"annotate.sizes_px={SMALL}", "source.min_side_px=64"])
        rows = copy(small, copied, chosen.conversations)
        begun = time.process_time()
        import great_expectations  # noqa: F401

        print(f"importing Great Expectations: {time.process_time() - begun:.1f} s of CPU, once, not counted below\n")
        table(copied, rows)
        annotate(large, chosen.pictures, [*source, f"annotate.sizes_px={LARGE}", "annotate.scale=[0.9, 1.0]"])
        pixels(large)


def annotate(workspace: Workspace, images: int, more: list[str]) -> None:
    from iqaflow.annotate import stage

    shares = {"train": 0.6, "calibration": 0.15, "test": 0.25}
    counts = [f"annotate.images.{split}={max(round(images * share), 1)}" for split, share in shares.items()]
    stage.run(config.load(overrides=[*counts, *more]), workspace)


def copy(origin: Workspace, target: Workspace, conversations: int) -> dict[str, int]:
    """Copies of both tables until there are so many conversations; the rows of each table."""
    import pyarrow as pa

    from iqaflow.core.manifest import commit_directory
    from iqaflow.validate.checks.frames import read

    images, asked = (
        read(origin.annotated, name, schema.names)
        for name, schema in (("images", tables.images_schema()), ("conversations", tables.conversations_schema()))
    )
    links, hashes = asked["image_ids"].to_pylist(), [int(text, 16) for text in images["phash"].to_pylist()]
    rng, work = np.random.default_rng(0), target.root / "work"
    copies = -(-conversations // len(asked))
    for number in range(copies):
        change = int(rng.integers(2**63))  # the same bits in every hash of a copy: distances inside it stay

        def new(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
            kind = table.schema.field(name).type
            return table.set_column(table.schema.get_field_index(name), name, pa.array(values, kind))

        def named(table: pa.Table, name: str, number: int = number) -> pa.Table:
            return new(table, name, [f"{text}-{number}" for text in table[name].to_pylist()])

        photographs = named(named(images, "image_id"), "source_id")
        photographs = new(photographs, "phash", [f"{value ^ change:016x}" for value in hashes])
        photographs = new(
            photographs,
            "source_sha256",
            [hashlib.sha256(f"{text}-{number}".encode()).hexdigest() for text in images["source_sha256"].to_pylist()],
        )
        said = new(
            named(asked, "conversation_id"),
            "image_ids",
            [[{**link, "image_id": f"{link['image_id']}-{number}"} for link in row] for row in links],
        )
        save(work, number, photographs, said)
    commit_directory(work, target.annotated)
    return {"images": copies * len(images), "conversations": copies * len(asked)}


def save(work: Path, number: int, images: Any, asked: Any) -> None:
    import pyarrow.parquet as pq

    for name, rows, group in (("images", images, tables.ROW_GROUP), ("conversations", asked, None)):
        path = work / name / f"part-{number:05d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, path, compression="zstd", row_group_size=group)


def table(workspace: Workspace, rows: dict[str, int]) -> None:
    """Run the stage on one core and print the seconds of its parts."""
    import importlib

    from iqaflow.validate import stage

    seconds: dict[str, float] = {}
    for (module, name), title in PARTS.items():
        place = importlib.import_module(f"iqaflow.validate.{module}")
        setattr(place, name, clocked(getattr(place, name), title, seconds))
    begun, wall = time.process_time(), time.perf_counter()
    result = stage.run(config.load(overrides=["resources.workers=1"]), workspace)
    total, wall = time.process_time() - begun, time.perf_counter() - wall
    print("| part | CPU seconds |\n|---|---|")
    for title, value in seconds.items():
        print(f"| {title} | {value:.2f} |")
    rest = total - sum(seconds.values())
    print(f"| the rest | {rest:.2f} |")
    print(f"| **all but the pixel pass** | **{total - seconds['pixel pass']:.2f}** |\n")
    print(
        f"{rows['conversations']:,} conversations, {rows['images']:,} images, {result.metrics['checks']:.0f} checks, all hold; "
        f"{wall:.1f} s of wall time with the pixel pass.\n"
    )


def clocked(function: Callable[..., Any], title: str, seconds: dict[str, float]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        begun = time.process_time()
        try:
            return function(*arguments, **options)
        finally:
            seconds[title] = seconds.get(title, 0.0) + time.process_time() - begun

    return call


def pixels(workspace: Workspace) -> None:
    """The pixel pass over pictures of 512 px, median of three."""
    import pyarrow.parquet as pq

    from iqaflow.validate import stage
    from iqaflow.validate.checks import pixels

    files = tables.parts(workspace.annotated, "images")
    found = []
    for _ in range(3):
        begun = time.process_time()
        images, regions = pixels.measure(files, stage.MAX_PIXELS, None)
        found.append(time.process_time() - begun)
    taken, pictures = sorted(found)[1], len(images) + int(images["has_reference"].sum())
    size = sum(
        pq.read_metadata(file).row_group(group).total_byte_size
        for file in files
        for group in range(pq.read_metadata(file).num_row_groups)
    )
    print(
        f"pixel pass at 512 px: {len(images) / taken:.0f} images/s on one core ({pictures / taken:.0f} pictures/s with the "
        f"references, {len(regions)} masks, {size / 1e3 / pictures:.0f} kB each)"
    )


if __name__ == "__main__":
    main()
