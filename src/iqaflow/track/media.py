"""Pictures and tables as files that MLflow shows: PNG, and JSON in pandas' `split` layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from iqaflow.core import files
from iqaflow.core.security.redaction import redact
from iqaflow.data import images

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

TEXTS = {".lock", ".yaml", ".yml", ".json", ".jsonl", ".md", ".csv", ".txt", ".log", ".diff", ".html", ".svg"}
LARGEST_TEXT = 8_000_000  # bytes; a larger file is a table or holds pictures, and is kept as it is


def png(image: Path | str | np.ndarray) -> bytes:
    """PNG bytes of an image file, or of an array: uint8, or floats in 0..1, (H, W) or (H, W, 3) RGB."""
    import numpy as np

    if isinstance(image, (str, Path)):
        return images.encode_png(images.decode(Path(image)))
    array = np.asarray(image)
    if array.dtype == bool or np.issubdtype(array.dtype, np.floating):
        array = (np.nan_to_num(array.astype(np.float64)).clip(0, 1) * 255).round().astype(np.uint8)
    if array.ndim == 2 or array.shape[2] == 1:
        array = np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    return images.encode_png(np.ascontiguousarray(array[..., :3]))


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Columns that JSON cannot hold (bytes) are left out."""
    kept = [name for name in frame.columns if not frame[name].map(lambda value: isinstance(value, bytes)).any()]
    text = frame[kept].reset_index(drop=True).to_json(orient="split", index=False, date_format="iso")
    files.write_text(path, text)


def without_secrets(path: Path) -> dict[Path, str]:
    """The texts of a file or folder that hold secrets, by their place in it, without them."""
    shown = {}
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.suffix in TEXTS and file.is_file() and file.stat().st_size <= LARGEST_TEXT:
            text = file.read_text(encoding="utf-8", errors="replace")
            if (clean := redact(text)) != text:
                shown[file.relative_to(path)] = clean
    return shown
