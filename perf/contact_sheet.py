"""Draw docs/distortions.png: every distortion at every level, on a packaged photograph.

python perf/contact_sheet.py [OUT.png]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import skimage
from PIL import Image, ImageDraw, ImageFont

from iqaflow import distortions

TILE, GAP, LABEL, HEAD = 74, 4, 156, 122  # pixels
COLOURS, ROUNDS = 256, 5  # of the palette, and of k-means that fits it: less than half the bytes of full colour
BLOCKS = (  # side by side, about as long as each other
    ("blur", "noise", "compression", "pixelate", "oversharpen", "contrast_weaken"),
    ("brighten", "darken", "contrast_strengthen", "saturate_strengthen", "saturate_weaken", "quantization"),
)
CAPTION = f"Left: the photograph, {TILE} px. Each tile is this photograph distorted at that size, seed 0."
PAPER, INK, FAINT = (255, 255, 255), (20, 20, 20), (110, 110, 110)


def photograph() -> np.ndarray:
    """A portrait, TILE x TILE: a face, hair, strong and weak colours, smooth parts."""
    return np.array(Image.fromarray(skimage.data.astronaut()[:300, 80:380]).resize((TILE, TILE), Image.Resampling.LANCZOS))


def sheet() -> Image.Image:
    """The picture: two blocks of rows, a row per function with its category and five levels."""
    rows = [[n for id in block for n in distortions.categories()[id].functions] for block in BLOCKS]
    width = LABEL + 5 * (TILE + GAP)
    page = Image.new("RGB", (2 * width + 5 * GAP, HEAD + max(map(len, rows)) * (TILE + GAP) + GAP), PAPER)
    draw, image = ImageDraw.Draw(page), photograph()
    big, small = (ImageFont.load_default(size) for size in (22, 12))
    draw.text((GAP + TILE + 14, 12), "35 distortions at 5 levels", INK, big)
    draw.text((GAP + TILE + 14, 42), CAPTION, FAINT, small)
    page.paste(Image.fromarray(image), (GAP, GAP))
    for block, names in enumerate(rows):
        left = GAP + block * (width + 3 * GAP)
        for level, word in enumerate(distortions.SEVERITIES):
            draw.text((left + LABEL + level * (TILE + GAP), HEAD - 20), f"{level + 1} {word}", INK, small)
        for row, name in enumerate(names):
            top = HEAD + row * (TILE + GAP)
            category = distortions.category_of(name)
            draw.text((left, top + 16), distortions.phrase(category), FAINT, small)
            for line, words in enumerate(lines(name, category)):
                draw.text((left, top + 32 + 15 * line), words, INK, small)
            for level in range(1, 6):
                tile = distortions.apply(image, name, level, np.random.default_rng(0))
                page.paste(Image.fromarray(tile), (left + LABEL + (level - 1) * (TILE + GAP), top))
    return page.quantize(COLOURS, Image.Quantize.MEDIANCUT, ROUNDS)


def lines(name: str, category: str) -> list[str]:
    """A function's name in lines that fit the margin."""
    if len(name) <= 22:
        return [name]
    cut = name.rfind("_", 0, 22)
    return [name[:cut], name[cut:]]


def main() -> None:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs" / "distortions.png"
    page = sheet()
    page.save(out, optimize=True)
    print(f"{out}: {page.width}x{page.height}, {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
