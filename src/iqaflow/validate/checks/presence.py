"""What must be given, by origin: our own images are known exactly, other people's only as far as they say.

One column `missing` per frame names what a row lacks, so that one expectation judges a dozen columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

ALWAYS = {
    "images": (
        "image_id",
        "origin",
        "dataset",
        "source_id",
        "source_sha256",
        "license",
        "split",
        "width",
        "height",
        "phash",
        "pipeline_version",
        "seed",
    ),
    "distortions": ("category", "order"),
    "regions": ("region_id", "label", "x0", "y0", "x1", "y1", "area"),
    "conversations": ("conversation_id", "origin", "dataset", "task", "style", "reference_mode", "split", "teacher"),
    "turns": ("role", "text"),
    "conversation_images": ("image_id", "role"),
}
SYNTHETIC = {
    "images": ("score", "score_source"),
    "distortions": ("name", "level", "severity"),
    "regions": ("score",),
    "target_levels": ("level",),
}


def missing(frame: pd.DataFrame, table: str) -> np.ndarray:
    """The names of what each row should have and has not, comma separated; None where all is there. NaN is not there.

    Column `origin` says whether a row is synthetic; without it no column is asked of synthetic rows only.
    """
    import numpy as np

    lacking = np.full(len(frame), None, dtype=object)
    if not len(frame):
        return lacking
    synthetic = frame["origin"].to_numpy(dtype=object) == "synthetic" if "origin" in frame else np.zeros(len(frame), bool)
    lacks = {name: frame[name].isna().to_numpy() for name in ALWAYS.get(table, ())}
    lacks |= {name: frame[name].isna().to_numpy() & synthetic for name in SYNTHETIC.get(table, ())}
    rows = np.flatnonzero(np.logical_or.reduce(list(lacks.values())))
    for row in rows:
        lacking[row] = ", ".join(name for name, without in lacks.items() if without[row])
    return lacking
