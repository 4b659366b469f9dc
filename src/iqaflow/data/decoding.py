"""Stored pictures as arrays, or the reason why not. What is stored is what a model will see: nothing is converted."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMATS = ("PNG", "WEBP", "JPEG")  # lossless, or the very bytes of a compression distortion
SIGNATURE = b"\x89PNG\r\n\x1a\n"
Decoded = tuple["np.ndarray | None", "str | None", "str | None", tuple[Any, Any]]


def decode(data: bytes | None, max_pixels: int) -> Decoded:
    """Pixels uint8 RGB (H, W, 3) or None, the fault in words or None, the mode, and (width, height). Never raises."""
    if not data:
        return None, "no bytes are stored", None, (None, None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        whole, size = _webp(data)
        if whole and data[12:16] != b"VP8L":
            return None, "is a WebP with loss; store it as PNG, lossless WebP or the original JPEG", None, (None, None)
    else:
        whole, size = _png(data) if data.startswith(SIGNATURE) else (True, None)
    if not whole or size is None or size[0] * size[1] > max_pixels:
        image, fault, mode, size = _any(data, max_pixels)
        if whole or fault:
            return image, fault, mode, size
        return None, "cannot be decoded (a chunk is cut short or changed)", mode, size  # Pillow does not look at all of them
    import cv2

    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)  # a quarter faster than Pillow
    if image is not None:
        return image, None, "RGB", size
    reason = _any(data, max_pixels)[1]  # Pillow fills up what is not there, libpng does not
    return None, reason or "cannot be decoded (it holds fewer pixels than its size says)", "RGB", size


def _png(data: bytes) -> tuple[bool, tuple[int, int] | None]:
    """Whether every chunk of a PNG is whole (CRC) and the last one the end; and its (width, height) if it holds 8-bit RGB
    pixels and nothing else that would change them.
    """
    size, names = None, []
    for name, body in _chunks(data):
        if body is None:
            return False, None
        names.append(name)
        if name == b"IHDR" and len(body) == 13:
            width, height, *kind = struct.unpack(">IIBBBBB", body)
            size = (width, height) if kind == [8, 2, 0, 0, 0] and width and height else None
    plain = names[:1] == [b"IHDR"] and set(names[1:-1]) == {b"IDAT"}
    return names[-1:] == [b"IEND"], size if plain else None


def _webp(data: bytes) -> tuple[bool, tuple[int, int] | None]:
    """Whether a WebP has the length it says; and its (width, height) if it holds lossless RGB pixels and nothing else."""
    if int.from_bytes(data[4:8], "little") + 8 != len(data):
        return False, None
    bits = int.from_bytes(data[21:25], "little")  # 14 bits of width - 1, 14 of height - 1, then whether there is an alpha
    plain = data[12:16] == b"VP8L" and data[20:21] == b"\x2f" and not bits >> 28
    return True, ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1) if plain else None


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview | None]]:
    """Name and content of each chunk; the content is None, and nothing follows, where it is cut short or changed."""
    view, place = memoryview(data), len(SIGNATURE)
    while place < len(data):
        head = data[place : place + 8]
        length = int.from_bytes(head[:4], "big")
        end = place + 8 + length
        sum_ = int.from_bytes(data[end : end + 4], "big")
        if len(head) < 8 or end + 4 > len(data) or zlib.crc32(view[place + 4 : end]) != sum_:
            yield head[4:], None
            return
        yield head[4:], view[place + 8 : end]
        place = end + 4


def _any(data: bytes, max_pixels: int) -> Decoded:
    from PIL import Image

    mode: str | None = None
    width: int | None = None
    height: int | None = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decompression-bomb warnings: our own limit is stricter
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                mode, (width, height) = image.mode, image.size
                if width * height > max_pixels:
                    return None, f"claims {width}x{height} pixels, above the limit of {max_pixels}", mode, (width, height)
                image.load()  # `verify` accepts a truncated file, a full load does not
                return (np.asarray(image) if mode == "RGB" else None), None, mode, (width, height)
    except Exception as error:  # decoders raise nearly anything on damaged input; the reason is kept
        reason = " ".join(str(error).split())
        if "cannot identify image" in reason:  # names an object's address, which differs from run to run
            reason = f"not a readable {' or '.join(FORMATS)} file"
        return None, f"cannot be decoded ({reason[:120]})", mode, (width, height)


def flat(image: np.ndarray) -> bool:
    """Whether all pixels are equal."""
    return bool((image[0, 0] == image[-1, -1]).all() and (image == image[0, 0]).all())
