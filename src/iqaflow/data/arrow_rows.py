"""Rows of a table held as Arrow, one turned into a dict when it is asked for: a tenth of the memory that dicts take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from iqaflow.data.tables import parts


class Held:
    """The rows of one split, numbered in the order of the table's parts. A column may be a field of one,
    `targets.region_ids`; rows then call it `region_ids`.
    """

    def __init__(self, folder: Path, table: str, split: str, columns: list[str]) -> None:
        import pyarrow.parquet as pq

        self._parts: list[Any] = []
        self.places: list[tuple[Path, int]] = []  # the file of every row, and its number there
        for path in parts(folder, table):
            whole = pq.read_table(path, columns=[*dict.fromkeys(("split", *columns))])
            kept = np.flatnonzero(np.array(whole["split"].to_pylist()) == split)
            if len(kept):
                self._parts.append(whole.drop_columns("split").take(kept).combine_chunks())
                self.places += [(path, int(number)) for number in kept]
        self._starts = np.cumsum([0, *(part.num_rows for part in self._parts)])

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> dict[str, Any]:
        return self.rows([number])[0]

    def rows(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Several rows in ascending order at once, much faster than one by one."""
        rows: list[dict[str, Any]] = []
        at = 0
        while at < len(numbers):
            which = int(self._starts.searchsorted(numbers[at], side="right")) - 1
            first, after = int(self._starts[which]), int(self._starts[which + 1])
            here = [number - first for number in numbers[at:] if first <= number < after]
            rows += self._parts[which].take(here).to_pylist()
            at += len(here)
        return rows

    def column(self, name: str) -> Iterator[Any]:
        """The values of a column, row by row."""
        for part in self._parts:
            yield from part[name].to_pylist()
