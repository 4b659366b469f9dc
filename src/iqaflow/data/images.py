"""Safe decoding and encoding: one bad file is a reason, never a crash, and never silently half an image."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000")  # JPEG reads MPO too
WEBP_SIDE = 16_383
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".jp2", ".mpo"}


class ImageError(ValueError):
    """An image cannot be used; the message is the reason in one sentence."""


def size_of(image: np.ndarray) -> tuple[int, int]:
    """Height and width of pixels (H, W) or (H, W, C)."""
    height, width = image.shape[:2]
    return height, width


def decode(data: bytes | Path, max_pixels: int = 60_000_000, min_side: int = 1) -> np.ndarray:
    """Image bytes or file as uint8 RGB (H, W, 3), upright by its EXIF orientation.

    The pixel limit is checked on the header, before anything is decoded; truncated files are refused (Pillow's
    `verify` accepts them, a full load does not). CMYK, grey, palette and 16-bit images are converted, transparency
    is laid on white. Raises ImageError with the reason.
    """
    import numpy as np
    from PIL import Image, ImageOps, UnidentifiedImageError

    name = data.name if isinstance(data, Path) else "image"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decompression-bomb warnings: our own limit is stricter
            with Image.open(data if isinstance(data, Path) else io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise ImageError(f"{name} has {width}x{height} pixels, above the limit of {max_pixels}")
                if min(width, height) < min_side:
                    raise ImageError(f"{name} is {width}x{height}, its short side is under {min_side} px")
                image.load()
                return np.asarray(_rgb(ImageOps.exif_transpose(image))).copy()
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(f"{name} is not an image of a known format ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{name} claims more pixels than Pillow accepts") from None
    except FileNotFoundError:
        raise ImageError(f"{name} does not exist") from None
    except IsADirectoryError:
        raise ImageError(f"{name} is a folder") from None
    except Exception as error:  # decoders raise nearly anything on damaged input; the reason is kept
        raise ImageError(f"{name} cannot be decoded ({type(error).__name__}: {error})") from None


def _rgb(image: Image.Image) -> Image.Image:
    import numpy as np
    from PIL import Image

    if image.mode.startswith(("I;16", "I", "F")):
        values = np.asarray(image, dtype=np.float64)
        top = 65535.0 if values.max(initial=0) > 255 else 255.0  # 16-bit files, or 8-bit data in a wide mode
        return Image.fromarray((values.clip(0, top) * (255.0 / top)).round().astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def encode_png(image: np.ndarray) -> bytes:
    """Lossless PNG bytes of a uint8 RGB image (H, W, 3); the same pixels give the same bytes."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()


def encode_lossless(image: np.ndarray) -> bytes:
    """Lossless WebP bytes of a uint8 RGB image (H, W, 3), a fifth smaller than PNG and thrice as fast to write; PNG where a
    side is longer than WebP can hold.
    """
    from PIL import Image

    if max(image.shape[:2]) > WEBP_SIDE:
        return encode_png(image)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="WEBP", lossless=True, quality=0, method=0)
    return buffer.getvalue()


def perceptual_hash(image: np.ndarray) -> str:
    """64-bit DCT hash (pHash) as 16 hex digits; near-duplicates differ in few bits."""
    import imagehash
    from PIL import Image

    return str(imagehash.phash(Image.fromarray(image)))


def budget_size(height: int, width: int, min_pixels: int, max_pixels: int, multiple: int) -> tuple[int, int]:
    """Height and width near the given ones, aspect kept, inside the pixel budget, both multiples of `multiple`."""
    scale = 1.0
    if height * width > max_pixels:
        scale = (max_pixels / (height * width)) ** 0.5
    elif height * width < min_pixels:
        scale = (min_pixels / (height * width)) ** 0.5
    height, width = (max(multiple, round(side * scale / multiple) * multiple) for side in (height, width))
    return height, width
