"""A row of a table, as MLflow or HTTP hands it over, read into what `Assessor.assess` takes; every fault is one sentence.

| column | what a cell may hold |
|---|---|
| image (needed), reference, compare_with | base64 text of an image file (a data URL too), a path, bytes, or uint8 (H, W, 3) |
| mask | the same, white is the region; or (H, W), where anything but 0 is |
| region, point | x0, y0, x1, y1 and x, y in pixels: a list, or text with commas |
| phrase, question | text |
"""

from __future__ import annotations

import base64
import binascii
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqaflow.core.errors import InputError
from iqaflow.data.images import ImageError, decode

if TYPE_CHECKING:
    import numpy as np

    from iqaflow.infer.assessor import Assessor
    from iqaflow.infer.schema import Assessment, Comparison

COMPARED = ("image", "compare_with", "reference")
COLUMNS = (*COMPARED, "region", "mask", "point", "phrase", "question")
MAX_PATH = 4096
MAX_TEXT = 1000  # characters of a phrase or question: its cost grows with the square


def assess(model: Assessor, row: dict[str, Any], paths: bool) -> Assessment | Comparison:
    """The row's assessment, or its comparison if it has a `compare_with`. InputError says what is wrong with the row."""
    given = {name: row[name] for name in COLUMNS if name in row and not _empty(row[name])}
    if "image" not in given:
        raise InputError("The column `image` is empty.")
    pictures: dict[str, Any] = {name: picture(name, given[name], paths) for name in COMPARED if name in given}
    if "compare_with" in given:
        if more := [name for name in given if name not in COMPARED]:
            raise InputError(f"`compare_with` compares whole images: leave out {', '.join(more)}.")
        return model.compare(pictures["image"], pictures["compare_with"], pictures.get("reference"))
    options: dict[str, Any] = {
        name: numbers(name, given[name], count) for name, count in (("region", 4), ("point", 2)) if name in given
    }
    options.update({name: text(name, given[name]) for name in ("phrase", "question") if name in given})
    if "mask" in given:
        options["mask"] = mask(given["mask"], paths, model.max_pixels)
    return model.assess(**pictures, **options)


def picture(name: str, value: Any, paths: bool) -> bytes | str | np.ndarray:
    """A cell as `Assessor.assess` takes images."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        return _pixels(name, value)
    if paths and len(value) < MAX_PATH and _is_file(value):
        return value
    try:
        packed = value.partition(";base64,")[2] if value.startswith("data:") else value
        return base64.b64decode("".join(packed.split()), validate=True)  # some tools break its lines
    except (binascii.Error, ValueError):
        known = "neither the path of an image file nor base64 text" if paths else "no base64 text; paths are not read here"
        raise InputError(f"The column `{name}` holds {known}.") from None


def mask(value: Any, paths: bool, max_pixels: int) -> np.ndarray:
    """A cell as bool (H, W)."""
    if not isinstance(value, (str, bytes)):
        array = _array("mask", value)
        return (array if array.ndim == 2 else _pixels("mask", value).mean(2) > 127) != 0
    given: Any = picture("mask", value, paths)
    try:
        return decode(Path(given) if isinstance(given, str) else given, max_pixels).mean(2) > 127
    except ImageError as error:
        raise InputError(f"The mask cannot be used: {error}.") from None


def numbers(name: str, value: Any, count: int) -> tuple[float, ...]:
    """A cell as so many finite numbers."""
    try:
        coordinates = tuple(float(number) for number in (value.split(",") if isinstance(value, str) else value))
    except (TypeError, ValueError, OverflowError):
        coordinates = ()
    if len(coordinates) != count or not all(map(math.isfinite, coordinates)):
        raise InputError(f"The column `{name}` must hold {count} numbers.")
    return coordinates


def text(name: str, value: Any) -> str:
    whole = isinstance(value, str) and value.encode(errors="ignore").decode() == value  # no half of a surrogate pair
    if not whole or len(value) > MAX_TEXT:
        raise InputError(f"The column `{name}` must hold Unicode text of at most {MAX_TEXT} characters.")
    return value


def _pixels(name: str, value: Any) -> np.ndarray:
    import numpy as np

    array = _array(name, value)
    if array.ndim != 3 or array.shape[2] != 3 or array.size == 0 or array.dtype == bool or array.min() < 0 or array.max() > 255:
        raise InputError(f"The column `{name}` must hold base64 text or whole numbers 0 to 255 as (height, width, 3).")
    return np.ascontiguousarray(array, dtype=np.uint8)


def _array(name: str, value: Any) -> np.ndarray:
    """Nested lists or an array as whole numbers or bools."""
    import numpy as np

    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):  # lists of unequal length
        array = np.empty(0)
    if array.dtype.kind not in "iub":
        raise InputError(f"The column `{name}` holds neither base64 text nor an array of whole numbers.")
    return array


def _empty(value: Any) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_scalar(value) and (value == "" or pd.isna(value)))


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # a name too long or with a null byte is no path
        return False
