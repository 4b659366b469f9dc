"""Image bytes of an annotated data set, read from disk one picture at a time: a set need not fit in memory.

`tables.write_table` keeps pictures uncompressed in small row groups, so that one of them is a short read of a mapped file.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqaflow.core.errors import DamagedError
from iqaflow.data.arrow_rows import Held

if TYPE_CHECKING:
    import numpy as np

OPEN_FILES = 64


class Pictures:
    """The ids of the images of a split, their rows without the bytes, and the bytes on demand.

    `row(image_id)` has the `columns` asked for; `read(image_id, column)` gives the bytes of `image` or `reference`.
    """

    def __init__(self, folder: Path, split: str, columns: list[str]) -> None:
        self._held = Held(folder, "images", split, ["image_id", *columns])
        self._number = {image_id: number for number, image_id in enumerate(self._held.column("image_id"))}
        self._open: OrderedDict[Path, tuple[Any, np.ndarray]] = OrderedDict()

    def __iter__(self) -> Iterator[str]:
        return iter(self._number)

    def row(self, image_id: str) -> dict[str, Any]:
        return self._held[self._number[image_id]]

    def read(self, image_id: str, column: str = "image") -> bytes:
        """The encoded picture. Raises DamagedError where the table has none."""
        path, number = self._held.places[self._number[image_id]]
        file, starts = self._file(path)
        group = int(starts.searchsorted(number, side="right")) - 1
        data: bytes | None = file.read_row_group(group, columns=[column])[column][number - int(starts[group])].as_py()
        if data is None:
            raise DamagedError(f"{path} has no {column} of {image_id}: run `iqaflow annotate` again.")
        return data

    def _file(self, path: Path) -> tuple[Any, np.ndarray]:
        """The open Parquet file, and the number of the first row of each of its row groups."""
        import numpy as np
        import pyarrow.parquet as pq

        if path in self._open:
            self._open.move_to_end(path)
        else:
            file = pq.ParquetFile(path, memory_map=True)
            groups = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
            self._open[path] = file, np.concatenate([[0], np.cumsum(groups)[:-1]]).astype(int)
            if len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)[1][0].close()
        return self._open[path]
