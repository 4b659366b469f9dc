"""An image to be assessed: opened from whatever a caller gives, and what identifies it in a result."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from iqaflow.core.errors import InputError
from iqaflow.data.images import ImageError, decode
from iqaflow.infer.tiles import Mosaic

MAX_PIXELS, MIN_SIDE = 200_000_000, 8
Source = str | Path | bytes | np.ndarray


@dataclass
class Subject:
    """`pixels` uint8 RGB (H, W, 3), `about` the entry `image` of a result, `mosaic` its tiles if it is large."""

    pixels: np.ndarray
    about: dict[str, Any]
    mosaic: Mosaic | None = None


def opened(image: Source, max_pixels: int = MAX_PIXELS) -> Subject:
    """An image from its path, its encoded bytes or an array. Raises InputError in one sentence if it cannot be used."""
    path = None
    try:
        if isinstance(image, np.ndarray):
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise InputError(f"An image array must be uint8 RGB (H, W, 3), got {image.dtype} {image.shape}.")
            if min(image.shape[:2]) < MIN_SIDE:
                raise InputError(f"The image is {image.shape[1]}x{image.shape[0]}, its short side is under {MIN_SIDE} px.")
            pixels, data = image, image.tobytes()
        else:
            path = None if isinstance(image, bytes) else str(image)
            data = image if isinstance(image, bytes) else Path(image).read_bytes()
            pixels = decode(data, max_pixels, MIN_SIDE)
    except ImageError as error:
        raise InputError(f"{path or 'The image'} cannot be used: it {str(error).removeprefix('image ')}.") from None
    except OSError as error:
        raise InputError(f"{path or 'The image'} cannot be read: {error.strerror or error}.") from None
    return Subject(
        pixels, {"path": path, "width": pixels.shape[1], "height": pixels.shape[0], "sha256": hashlib.sha256(data).hexdigest()}
    )
