"""What every family of vision-language models can do; a family overrides what is different about it.

All of them hand vision features to the language model as `mm_encoder_outputs`, so that an image is encoded once, whoever
reads its tokens: many questions, the dense read-out, the lens.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from iqaflow.core.errors import StageError


@dataclass(frozen=True)
class Placed:
    """An image in a prompt: the `text` for its placeholder, the number of visual `tokens` in it, and their `grid` (rows,
    columns) if they lie on one grid over the whole picture, else None.
    """

    text: str
    tokens: int
    grid: tuple[int, int] | None


@dataclass
class Chat:
    """A base's tokenizer, image processor and chat template, without the video parts that need torchvision."""

    tokenizer: Any
    image_processor: Any
    chat_template: str
    image_token: str
    image_token_id: int
    image_end: str


class Family(ABC):
    """`types` are the `model_type`s it serves, `inputs` the tensors of the vision part, `axes` is 3 for multimodal rotary
    positions.
    """

    types: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ("pixel_values",)
    axes = 1

    def processor(self, where: str | Path, config: Any, revision: str | None, pixels: tuple[int, int] | None) -> Any:
        """Tokenizer and image processor of a folder or hub id; `pixels` is the budget (least, most) of an image, for
        families that keep an image's own resolution. Raises StageError if the base has no chat template.
        """
        from transformers import AutoImageProcessor

        tokenizer = self.tokenizer(where, revision)
        images = AutoImageProcessor.from_pretrained(where, revision=revision, backend="pil", trust_remote_code=False)
        self.whole(images, config)
        token = tokenizer.convert_ids_to_tokens(config.image_token_id)
        return Chat(tokenizer, images, tokenizer.chat_template, token, config.image_token_id, token)

    def tokenizer(self, where: str | Path, revision: str | None) -> Any:
        """The base's tokenizer, with its chat template and a padding token."""
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(where, revision=revision, trust_remote_code=False)
        tokenizer.chat_template = chat_template(where, tokenizer, revision)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    def whole(self, images: Any, config: Any) -> None:  # noqa: B027  for most there is nothing to set
        """Set an image processor to show whole pictures: a cropped one hides what the answers speak of."""

    def budget(self, processor: Any) -> int:
        """Pixels of an image the model sees one by one; a larger image is reduced to them."""
        size = processor.image_processor.size
        return int(size["longest_edge"]) if "longest_edge" in size else int(size["height"]) * int(size["width"])

    @abstractmethod
    def encode(self, processor: Any, config: Any, images: Sequence[np.ndarray]) -> tuple[dict[str, Any], list[Placed]]:
        """The vision part's `inputs` for uint8 RGB images (H, W, 3), and the place of each in a prompt."""

    def positions(self, model: Any, ids: Any, image_token_id: int, placed: Sequence[Placed]) -> Any:
        """Positions (axes, S) of a prefix's token ids (S,)."""
        import torch

        return torch.arange(len(ids))[None]

    def features(self, model: Any, batch: dict[str, Any]) -> Any:
        """The images' features, as the language model takes them."""
        given = {name: batch[name] for name in self.inputs}
        return model.get_image_features(**given, return_dict=True)

    def visual(self, features: Any, tokens: Sequence[int]) -> list[Any]:
        """Visual tokens (N, width) of each image, given how many it has."""
        return list(_flat(features.pooler_output).split(list(tokens)))

    def again(self, features: Any, tokens: Sequence[int], which: Sequence[int]) -> Any:
        """The features of images number `which`, in that order and as often: for rows that share images."""
        import torch

        each = self.visual(features, tokens)
        taken = type(features)(**dict.fromkeys(features))
        taken.pooler_output = self.shape(
            features.pooler_output, torch.cat([each[number] for number in which]), [tokens[number] for number in which]
        )
        return taken

    def shape(self, like: Any, flat: Any, tokens: Sequence[int]) -> Any:
        """Visual tokens (N, width) in the shape in which the model passes them on."""
        return flat.reshape(-1, *like.shape[1:]) if hasattr(like, "shape") else flat.split(list(tokens))

    def hidden(self, model: Any, batch: dict[str, Any], features: Any) -> Any:
        """Last hidden states (B, S, width) of a packed batch over features of its images."""
        if "which" in batch:  # one question per row: rows of a pack share its images
            features = self.again(features, batch["tokens"].tolist(), batch["which"].tolist())
        return model.model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            position_ids=batch["position_ids"],
            use_cache=False,
            mm_encoder_outputs={"image": features},
        ).last_hidden_state


def chat_template(where: str | Path, tokenizer: Any, revision: str | None) -> str:
    """The chat template, which some bases keep beside the tokenizer."""
    from transformers.utils.hub import cached_file

    if tokenizer.chat_template:
        return tokenizer.chat_template
    for name in ("chat_template.jinja", "chat_template.json"):
        path = cached_file(
            where,
            name,
            revision=revision,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        if path:
            text = Path(path).read_text(encoding="utf-8")
            return json.loads(text)["chat_template"] if name.endswith(".json") else text
    raise StageError(f"The base {where} has no chat template: take its instruction-tuned release.")


def _flat(pooled: Any) -> Any:
    """(N, width) of a tensor or of one tensor per image."""
    import torch

    if isinstance(pooled, torch.Tensor):
        return pooled.reshape(-1, pooled.shape[-1])
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in pooled])
