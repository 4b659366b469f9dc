"""LLaVA: a CLIP or SigLIP tower at its own size, a projector, any language model.

A processor that would crop the middle of a picture scales the whole picture to that size instead: an answer may point
anywhere, and the cells of the answer grammar are relative to the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from iqaflow.core.errors import StageError
from iqaflow.model.families.family import Family, Placed

TOWERS = ("clip_vision_model", "siglip_vision_model")


class Llava(Family):
    types = ("llava",)

    def whole(self, images: Any, config: Any) -> None:
        if config.vision_config.model_type not in TOWERS:
            raise StageError(
                f"A LLaVA base with a {config.vision_config.model_type} tower is not known; known are {' and '.join(TOWERS)}."
            )
        side = config.vision_config.image_size
        images.do_center_crop = False
        images.size = {"height": side, "width": side}

    def encode(self, processor: Any, config: Any, images: Sequence[np.ndarray]) -> tuple[dict[str, Any], list[Placed]]:
        pixels = processor.image_processor(list(images), return_tensors="pt")["pixel_values"]
        rows, columns = (side // config.vision_config.patch_size for side in pixels.shape[-2:])
        # CLIP's first token stands for the whole picture; the select strategy drops the first token, whichever it is
        first = int(config.vision_config.model_type == "clip_vision_model")
        tokens = rows * columns + first - int(config.vision_feature_select_strategy == "default")
        grid = (rows, columns) if tokens == rows * columns else None
        return {"pixel_values": pixels}, [Placed(processor.image_token * tokens, tokens, grid) for _ in images]


FAMILY = Llava()
