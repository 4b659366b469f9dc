"""Idefics3 and SmolVLM: one tile of the tower's size over the whole picture, its tokens between two marks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from iqaflow.model.families.family import Family, Placed

MARK, WHOLE = "<fake_token_around_image>", "<global-img>"


class Idefics(Family):
    types = ("idefics3", "smolvlm")

    def processor(self, where: str | Path, config: Any, revision: str | None, pixels: tuple[int, int] | None) -> Any:
        chat = super().processor(where, config, revision, pixels)
        chat.image_end = MARK
        return chat

    def whole(self, images: Any, config: Any) -> None:
        side = config.vision_config.image_size
        images.do_image_splitting, images.do_pad = False, False
        images.size, images.max_image_size = {"height": side, "width": side}, {"longest_edge": side}

    def encode(self, processor: Any, config: Any, images: Sequence[np.ndarray]) -> tuple[dict[str, Any], list[Placed]]:
        pixels = processor.image_processor([list(images)], return_tensors="pt")["pixel_values"]
        rows, columns = (side // config.vision_config.patch_size // config.scale_factor for side in pixels.shape[-2:])
        text = f"{MARK}{WHOLE}{processor.image_token * (rows * columns)}{MARK}"
        return {"pixel_values": pixels}, [Placed(text, rows * columns, (rows, columns)) for _ in images]

    def shape(self, like: Any, flat: Any, tokens: Sequence[int]) -> Any:
        return [flat]


FAMILY = Idefics()
