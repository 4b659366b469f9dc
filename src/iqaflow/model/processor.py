"""Image processors: the tiny base's own, which hands low-level structure to the model, and torchvision-free loading.

Noise, blur and blocking live in the *logarithm of derivatives*, where their energies are linear for a patch embedding;
a small model that only sees RGB hardly learns them. So the tiny base sees eleven channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from transformers import Qwen3VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.processing_utils import ProcessorMixin

from iqaflow.data.images import budget_size

CHANNELS = 11
FLOOR = 0.003  # about one grey level: keeps the logarithm of an absent derivative finite


def channels(image: np.ndarray) -> np.ndarray:
    """Low-level channels (11, H, W) float32 of a uint8 RGB image (H, W, 3).

    RGB; luma residual (signed root, log size); MSCN (Ruderman 1994, as in BRISQUE); log of horizontal, vertical and
    mid-band derivatives; log high-pass of the two chroma planes. Each has roughly zero mean and unit spread.
    """
    import cv2

    cv2.setNumThreads(1)
    rgb = image.astype(np.float32) / 255.0
    red, green, blue = (np.ascontiguousarray(rgb[..., index]) for index in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    smooth = cv2.GaussianBlur(luma, (0, 0), 1.0, borderType=cv2.BORDER_REFLECT)
    coarse = cv2.GaussianBlur(luma, (0, 0), 2.5, borderType=cv2.BORDER_REFLECT)
    residual = luma - smooth
    spread = np.sqrt(np.maximum(cv2.GaussianBlur(residual * residual, (0, 0), 1.2, borderType=cv2.BORDER_REFLECT), 0))
    across = np.abs(np.diff(luma, axis=1, append=luma[:, -1:]))
    down = np.abs(np.diff(luma, axis=0, append=luma[-1:]))
    chroma = [plane - cv2.GaussianBlur(plane, (0, 0), 1.0, borderType=cv2.BORDER_REFLECT) for plane in (blue - luma, red - luma)]

    def log(size: np.ndarray) -> np.ndarray:
        return (np.log(size + FLOOR) + 4.2) / 1.2

    planes = [
        *((plane - 0.45) / 0.27 for plane in (red, green, blue)),
        np.sign(residual) * np.sqrt(np.abs(residual)) / 0.12,
        log(np.abs(residual)),
        residual / (spread + 0.01),
        log(across),
        log(down),
        log(np.abs(smooth - coarse)),
        log(np.abs(chroma[0])),
        log(np.abs(chroma[1])),
    ]
    return np.stack(planes).astype(np.float32)


class LowLevelImageProcessor(Qwen2VLImageProcessorPil):
    """Qwen's native-resolution patches over `channels`. Images keep their aspect; only the pixel budget resizes them."""

    model_input_names = ["pixel_values", "image_grid_thw"]

    def __call__(self, images: Any, *_: Any, return_tensors: Any = None, **__: Any) -> Any:
        import cv2
        from transformers import BatchFeature

        patches, grids = [], []
        multiple = self.patch_size * self.merge_size
        for image in images if isinstance(images, (list, tuple)) else [images]:
            pixels = np.asarray(image.convert("RGB") if hasattr(image, "convert") else image)
            height, width = pixels.shape[:2]
            height, width = budget_size(height, width, self.size["shortest_edge"], self.size["longest_edge"], multiple)
            if (height, width) != pixels.shape[:2]:
                shrinks = height * width < pixels.shape[0] * pixels.shape[1]
                pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
            flat, rows, columns = self.patchify(channels(pixels), self.patch_size, self.merge_size, self.temporal_patch_size)
            patches.append(flat)
            grids.append([1, rows, columns])
        return BatchFeature(
            {"pixel_values": np.concatenate(patches), "image_grid_thw": np.array(grids)}, tensor_type=return_tensors
        )


class ImageOnlyProcessor(Qwen3VLProcessor):
    """Qwen3-VL's processor without the video part, which needs torchvision."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None, **_: Any):
        self.video_processor = None
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.vision_start_token, self.vision_end_token = "<|vision_start|>", "<|vision_end|>"
        self.image_end = self.vision_end_token
        ids = tokenizer.convert_tokens_to_ids
        self.image_token_id, self.video_token_id = ids(self.image_token), ids(self.video_token)
        self.vision_start_token_id, self.vision_end_token_id = ids(self.vision_start_token), ids(self.vision_end_token)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]
