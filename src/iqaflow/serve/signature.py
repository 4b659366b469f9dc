"""What a registered version takes and gives back, and a small picture that it must be able to judge."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from iqaflow.data import images
from iqaflow.registry.package import Served
from iqaflow.serve import request


def served() -> Served:
    """How every version of ours is served."""
    return Served(Path(__file__).with_name("mlflow_model.py"), signature(), example())


def signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType

    # a cell may be text or an array, which AnyType alone says (MLflow enforces no string either); `request` looks at it
    inputs: list[Any] = [ColSpec(AnyType(), name, required=name == "image") for name in request.COLUMNS]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema([ColSpec(DataType.string)]))


def example() -> Any:
    """One small picture with something to say about its upper half."""
    import numpy as np
    import pandas as pd

    x, y = np.meshgrid(np.arange(96, dtype=np.uint8), np.arange(96, dtype=np.uint8))
    picture = np.stack([2 * x, 2 * y, np.full_like(x, 128)], axis=2)
    picture[:48] = picture[:48] // 64 * 64  # the upper half has too few colours
    return pd.DataFrame({"image": [base64.b64encode(images.encode_png(picture)).decode()], "region": [[0, 0, 96, 48]]})
