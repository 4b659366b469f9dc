"""InternVL in the library's own format (`...-hf`): one tile of the tower's size over the whole picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from iqaflow.model.families.family import Family, Placed


class InternVL(Family):
    types = ("internvl",)

    def processor(self, where: str | Path, config: Any, revision: str | None, pixels: tuple[int, int] | None) -> Any:
        chat = super().processor(where, config, revision, pixels)
        chat.image_end = chat.tokenizer.end_image_token
        return chat

    def whole(self, images: Any, config: Any) -> None:
        images.crop_to_patches = False  # tiles would tear the grid of visual tokens apart
        height, width = config.vision_config.image_size
        images.size = {"height": height, "width": width}

    def encode(self, processor: Any, config: Any, images: Sequence[np.ndarray]) -> tuple[dict[str, Any], list[Placed]]:
        pixels = processor.image_processor(list(images), return_tensors="pt")["pixel_values"]
        rows, columns = (
            int(side // patch * config.downsample_ratio)
            for side, patch in zip(pixels.shape[-2:], config.vision_config.patch_size, strict=True)
        )
        tokens = rows * columns
        text = f"{processor.tokenizer.start_image_token}{processor.image_token * tokens}{processor.image_end}"
        return {"pixel_values": pixels}, [Placed(text, tokens, (rows, columns)) for _ in images]


FAMILY = InternVL()
