"""Nested columns as flat arrays, by Arrow's own kernels: Python sees no row, so 100,000 conversations take a second.

Nulls inside nested values stay nulls: a missing value is a finding, not an exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def first_fault(conditions: Sequence[np.ndarray], sentences: Sequence[str]) -> np.ndarray:
    """For each row the sentence of the first condition that holds there; None where none does."""
    return np.select(list(conditions), list(sentences), np.array(None))


def whole(column: Any) -> pa.Array:
    """A column as one array."""
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return column


def items(column: Any) -> tuple[np.ndarray, pa.Array]:
    """The items of a list column, and the row (int64) each comes from. A null list has none."""
    import pyarrow.compute as pc

    array = whole(column)
    return pc.list_parent_indices(array).to_numpy(zero_copy_only=False), pc.list_flatten(array)


def numbered(parents: np.ndarray) -> np.ndarray:
    """The place of each item in its row, from 0, by the rows of `items`."""
    if not len(parents):
        return np.zeros(0, np.int64)
    first = np.flatnonzero(np.r_[True, np.diff(parents) != 0])
    return np.arange(len(parents)) - np.repeat(first, np.diff(np.r_[first, len(parents)]))


def field(structs: pa.Array, name: str) -> pa.Array:
    """A field of an array of structs; null where the struct is."""
    import pyarrow.compute as pc

    return pc.struct_field(structs, name)


def lengths(lists: pa.Array) -> np.ndarray:
    """How many items each list has; 0 for a null."""
    import pyarrow.compute as pc

    return pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)


def at(lists: pa.Array, place: int, counts: tuple[int, ...]) -> pa.Array:
    """Item `place` (from the end if negative) of each list that has one of `counts` items and no null; else null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    count, flat = lengths(lists), pc.list_flatten(lists)
    start = np.cumsum(count) - count
    right = np.isin(count, counts)
    if flat.null_count:
        gone = np.concatenate([[0], np.cumsum(pc.is_null(flat).to_numpy(zero_copy_only=False))])
        right &= gone[start + count] == gone[start]
    index = np.where(right, start + (place if place >= 0 else count + place), 0)
    return flat.take(pa.array(index, mask=~right))


def joined(parents: np.ndarray, texts: pa.Array, rows: int, between: str = " ", null: str = "None") -> pa.Array:
    """The texts of each row as one string (rows,); empty where a row has none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    offsets = np.searchsorted(parents, np.arange(rows + 1)).astype(np.int32)
    filled = pc.fill_null(texts.cast(pa.string()), null)
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), filled), between)


def frame(columns: dict[str, Any]) -> pd.DataFrame:
    """Equally long arrays as a pandas frame."""
    import pyarrow as pa

    return pa.table(columns).to_pandas()


def known(keys: pa.Array, values: pa.Array) -> np.ndarray:
    """Whether each key is among the values (bool); a null never is."""
    import pyarrow.compute as pc

    is_known = pc.is_in(keys, value_set=values, skip_nulls=True)
    return is_known.to_numpy(zero_copy_only=False).astype(bool)


def paired(left: Any, right: Any) -> pa.Array:
    """Two arrays as one of keys, `left|right`; null where either is."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(whole(left).cast(pa.string()), whole(right).cast(pa.string()), "\x1f")
