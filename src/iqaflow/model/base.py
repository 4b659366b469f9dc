"""Load any base: a folder, a hub id with a pinned revision, or a fresh tiny one; and save in Hugging Face layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from iqaflow.core.config.schema import Train
from iqaflow.core.errors import StageError
from iqaflow.model.integrity import verify_weights


def load(where: str | Path, train: Train | None = None) -> tuple[Any, Any]:
    """Model and processor of a local folder or a hub id (`train.revision` pins it). Weights are safetensors only and no
    remote code runs. Raises StageError in one sentence if the base is absent or of an unknown kind, DamagedError if a folder
    with a manifest is not what that says.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText
    from transformers.utils import logging

    logging.disable_progress_bar()
    options: dict[str, Any] = {"use_safetensors": True, "trust_remote_code": False}
    if Path(where).is_dir():
        verify_weights(Path(where))
    else:
        if train is None or not train.revision or len(train.revision) != 40:
            raise StageError(
                f"The base {where} is not a local folder, and a hub id needs train.revision (40 hex digits): set it, or make "
                "the tiny base with `make base`."
            )
        options["revision"] = train.revision
    dtype = torch.bfloat16 if train and train.precision == "bf16" else torch.float32
    try:
        model = AutoModelForImageTextToText.from_pretrained(where, dtype=dtype, **options)
        processor = load_processor(where, train, options.get("revision"), model.config)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise StageError(f"The base {where} cannot be loaded ({str(error).splitlines()[0]}).") from None
    return model, processor


def load_processor(where: str | Path, train: Train | None = None, revision: str | None = None, config: Any = None) -> Any:
    """The image and text processor of a base, as its family has it; `train` gives the pixel budget."""
    from transformers import AutoConfig

    from iqaflow.model import families

    config = config or AutoConfig.from_pretrained(where, revision=revision, trust_remote_code=False)
    pixels = (train.min_pixels, train.max_pixels) if train else None
    return families.of(config).processor(where, config, revision, pixels)


def save(model: Any, processor: Any, folder: Path) -> None:
    """Hugging Face layout: config, safetensors, tokenizer, chat template, image processor."""
    model.save_pretrained(folder, safe_serialization=True)
    processor.tokenizer.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors are written for their owner alone
