"""Qwen2-VL, Qwen2.5-VL, Qwen3-VL, Qwen3.5: native resolution within a pixel budget, rotary positions over the image's grid.

The tiny base that ships is one of them, with an image processor of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from iqaflow.model.families.family import Family, Placed

OWN_PROCESSOR = "LowLevelImageProcessor"


class Qwen(Family):
    types = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe")
    inputs = ("pixel_values", "image_grid_thw")
    axes = 3

    def processor(self, where: str | Path, config: Any, revision: str | None, pixels: tuple[int, int] | None) -> Any:
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
        from transformers.utils.hub import cached_file

        from iqaflow.model.processor import ImageOnlyProcessor, LowLevelImageProcessor

        tokenizer = self.tokenizer(where, revision)
        path = cached_file(where, "preprocessor_config.json", revision=revision)
        own = json.loads(Path(str(path)).read_text()).get("image_processor_type") == OWN_PROCESSOR
        images = (LowLevelImageProcessor if own else Qwen2VLImageProcessorPil).from_pretrained(where, revision=revision or "main")
        if pixels is not None:
            images.size = {"shortest_edge": pixels[0], "longest_edge": pixels[1]}
        return ImageOnlyProcessor(images, tokenizer, chat_template=tokenizer.chat_template)

    def encode(self, processor: Any, config: Any, images: Sequence[np.ndarray]) -> tuple[dict[str, Any], list[Placed]]:
        batch = processor.image_processor(list(images), return_tensors="pt")
        merge, placed = processor.image_processor.merge_size, []
        for _, rows, columns in batch["image_grid_thw"].tolist():
            grid = rows // merge, columns // merge
            placed.append(Placed(processor.image_token * (grid[0] * grid[1]), grid[0] * grid[1], grid))
        return {name: batch[name] for name in self.inputs}, placed

    def positions(self, model: Any, ids: Any, image_token_id: int, placed: Sequence[Placed]) -> Any:
        import torch

        merge = model.config.vision_config.spatial_merge_size
        grids = torch.tensor([[1, *(side * merge for side in place.grid or ())] for place in placed])
        kinds = (ids[None] == image_token_id).int()
        return model.model.get_rope_index(ids[None], mm_token_type_ids=kinds, image_grid_thw=grids)[0][:, 0]

    def again(self, features: Any, tokens: Sequence[int], which: Sequence[int]) -> Any:
        taken = super().again(features, tokens, which)
        if getattr(features, "deepstack_features", None) is not None:
            taken.deepstack_features = [[level[number] for number in which] for level in features.deepstack_features]
        return taken


FAMILY = Qwen()
