"""A teacher on this machine: any vision-language model of `transformers`, greedy, from a folder or a pinned hub id.

annotate.teacher: {kind: local, model: models/NAME}
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from iqaflow.annotate.teachers import Completion
from iqaflow.annotate.teachers.weights import Weights, located
from iqaflow.core.config.schema import Teacher, Train
from iqaflow.core.errors import ConfigError, StageError
from iqaflow.core.workspace import Workspace

MAX_PIXELS = 1_048_576  # a teacher looks closer than a student
OWN_LOADER = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")  # their own processors need torchvision, ours does not


class Backend:
    parallel = False  # one model, one question at a time: the same words whatever else is asked

    def __init__(self, config: Teacher, workspace: Workspace) -> None:
        if config.temperature > 0:
            raise ConfigError("annotate.teacher.temperature must be 0 for kind=local: it writes greedily.")
        self.weights = located(config.model, config.revision, "annotate.teacher", workspace)
        self.name, self.identity = self.weights.name, self.weights.identity
        self.max_tokens, self.lock = config.max_tokens, threading.Lock()

    def write(self, text: str, images: Sequence[np.ndarray], schema: dict[str, Any]) -> Completion:
        """The greedy answer and the mean probability of its tokens."""
        import torch

        with self.lock:
            model, processor = self._loaded
            content = [*({"type": "image"} for _ in images), {"type": "text", "text": text}]
            prompt = processor.apply_chat_template(
                [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
            )
            inputs = processor(text=[prompt], images=list(images) or None, return_tensors="pt").to(model.device)
            inputs = {name: value.to(model.dtype) if value.is_floating_point() else value for name, value in inputs.items()}
            with torch.inference_mode():
                output = model.generate(
                    **inputs, max_new_tokens=self.max_tokens, do_sample=False, output_logits=True, return_dict_in_generate=True
                )
            written = output.sequences[0, inputs["input_ids"].shape[1] :]
            chances = [
                float(torch.softmax(logits[0].float(), -1)[token]) for logits, token in zip(output.logits, written, strict=True)
            ]
        tokenizer = getattr(processor, "tokenizer", processor)
        return Completion(tokenizer.decode(written, skip_special_tokens=True), float(np.mean(chances)) if chances else None)

    @functools.cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Model and processor, loaded at the first question that is not in the cache."""
        import torch
        from transformers.utils import logging

        logging.disable_progress_bar()
        cuda = torch.cuda.is_available()
        try:
            model, processor = _load(self.weights, "bf16" if cuda else "fp32")
        except (StageError, OSError, ValueError, KeyError, ImportError) as error:
            reason = str(error).splitlines()[0][:300]
            raise ConfigError(f"annotate.teacher.model: {self.name} cannot be loaded: {reason}") from None
        return model.eval().requires_grad_(False).to("cuda" if cuda else "cpu"), processor


def _load(weights: Weights, precision: Literal["fp32", "bf16"]) -> tuple[Any, Any]:
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    from iqaflow.model import base

    if AutoConfig.from_pretrained(weights.where, trust_remote_code=False, **weights.pinned).model_type in OWN_LOADER:
        return base.load(weights.where, Train(revision=weights.revision, precision=precision, max_pixels=MAX_PIXELS))
    options = {"trust_remote_code": False, **weights.pinned}
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    model = AutoModelForImageTextToText.from_pretrained(weights.where, dtype=dtype, use_safetensors=True, **options)
    processor = AutoProcessor.from_pretrained(weights.where, **options)
    if getattr(processor, "image_processor", None) is None:  # what is left of a processor that needs torchvision
        raise ValueError(f"models of kind {model.config.model_type} need torchvision, which this environment does not have")
    return model, processor
