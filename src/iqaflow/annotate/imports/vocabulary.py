"""People's words for distortions and severities as our categories and levels: the one table for all formats."""

from __future__ import annotations

import re
from typing import Any

from iqaflow import distortions

# besides the ids and phrases of the categories themselves
CATEGORIES = {
    "blur": "blurry blurred out_of_focus defocus focus motion_blur motion jitter camera_shake shake soft unsharp lens_blur",
    "noise": "noisy grain grainy speckle speckles high_iso salt_and_pepper",
    "compression": "artifacts artifact compression_artifacts jpeg jpeg_artifacts blocking blockiness ringing block_artifacts",
    "brighten": "overexposure overexposed over_exposure too_bright highlight_clipping blown_out glare high_brightness",
    "darken": "underexposure underexposed under_exposure low_light too_dark dark dim low_brightness",
    "contrast_strengthen": "high_contrast harsh_contrast too_much_contrast",
    "contrast_weaken": "low_contrast haze hazy fog foggy washed_out flat faded_contrast",
    "saturate_strengthen": "oversaturated oversaturation over_saturation high_saturation",
    "saturate_weaken": "undersaturated desaturated low_saturation pale faded_colors color_fading",
    "oversharpen": "oversharpened over_sharpening halo halos edge_halos",
    "pixelate": "pixelated low_resolution mosaic",
    "quantization": "banding posterization color_banding",
}
LEVELS = {
    1: "slight mild minor weak barely light very_slight",
    2: "moderate medium noticeable",
    3: "obvious visible clear",
    4: "serious severe heavy strong high",
    5: "catastrophic extreme very_severe very_heavy",
}


def category(word: Any) -> str | None:
    """Our category id for a word or phrase, or None."""
    return _table().get(_plain(word))


def level(word: Any) -> float | None:
    """A level 1..5 for a severity word or a number, or None."""
    if isinstance(word, bool):
        return None
    if isinstance(word, (int, float)) or (isinstance(word, str) and re.fullmatch(r"\s*[1-5](\.\d+)?\s*", word)):
        value = float(word)
        return value if 1 <= value <= 5 else None
    return next((float(number) for number, words in LEVELS.items() if _plain(word) in words.split()), None)


def faults(words: Any) -> tuple[tuple[str, float | None], ...]:
    """(category, level or None) of each of the words that is known: names, or `severe blur`, or {distortion, severity}."""
    grades: dict[str, float | None] = {}
    for word in words if isinstance(words, (list, tuple)) else [words]:
        named, grade = word, None
        if isinstance(word, dict):
            named, grade = word.get("distortion") or word.get("name") or word.get("type"), level(word.get("severity"))
        known = category(named)
        if known is None and isinstance(named, str) and " " in named.strip():  # `severe blur`
            first, rest = named.strip().split(" ", 1)
            known, grade = category(rest), level(first)
        if known:
            grades.setdefault(known, grade)
    return tuple(grades.items())


def _plain(word: Any) -> str:
    return re.sub(r"[^a-z0-9]+", "_", word.lower()).strip("_") if isinstance(word, str) else ""


def _table() -> dict[str, str]:
    table = {word: name for name, words in CATEGORIES.items() for word in words.split()}
    for name, known in distortions.categories().items():
        table |= {name: name, _plain(known.phrase): name}
    return table
