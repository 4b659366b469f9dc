"""Load any base: a folder, a hub id with a pinned revision, or a fresh tiny one; and save in Hugging Face layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from iqaflow.ops.errors import StageError
from iqaflow.sections import Train

OWN_PROCESSOR = "LowLevelImageProcessor"


def load(where: str | Path, train: Train | None = None) -> tuple[Any, Any]:
    """Model and processor of a local folder or a hub id (`train.revision` pins it). Weights are safetensors only and no
    remote code runs. Raises StageError in one sentence if the base is absent or of an unknown kind."""
    import torch
    from transformers import AutoModelForImageTextToText
    from transformers.utils import logging

    logging.disable_progress_bar()
    options: dict[str, Any] = {"use_safetensors": True, "trust_remote_code": False}
    if not Path(where).is_dir():
        if train is None or not train.revision or len(train.revision) != 40:
            raise StageError(
                f"The base {where} is not a local folder, and a hub id needs train.revision (40 hex digits): set it, or make "
                "the tiny base with `make base`."
            )
        options["revision"] = train.revision
    dtype = torch.bfloat16 if train and train.precision == "bf16" else torch.float32
    try:
        model = AutoModelForImageTextToText.from_pretrained(where, dtype=dtype, **options)
        processor = load_processor(where, train, options.get("revision"))
    except (OSError, ValueError, KeyError) as error:
        raise StageError(f"The base {where} cannot be loaded ({str(error).splitlines()[0]}).") from None
    return model, processor


def load_processor(where: str | Path, train: Train | None = None, revision: str | None = None) -> Any:
    """The image and text processor of a base, without torchvision."""
    from transformers import AutoTokenizer
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    from transformers.utils import cached_file

    from iqaflow.model.processor import ImageOnlyProcessor, LowLevelImageProcessor

    tokenizer = AutoTokenizer.from_pretrained(where, revision=revision, trust_remote_code=False)
    path = cached_file(where, "preprocessor_config.json", revision=revision)
    own = json.loads(Path(path).read_text()).get("image_processor_type") == OWN_PROCESSOR
    images = (LowLevelImageProcessor if own else Qwen2VLImageProcessorPil).from_pretrained(where, revision=revision)
    if train is not None:
        images.size = {"shortest_edge": train.min_pixels, "longest_edge": train.max_pixels}
    return ImageOnlyProcessor(images, tokenizer, chat_template=tokenizer.chat_template)


def save(model: Any, processor: Any, folder: Path) -> None:
    """Hugging Face layout: config, safetensors, tokenizer, chat template, image processor."""
    model.save_pretrained(folder, safe_serialization=True)
    processor.tokenizer.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors are written for their owner alone
