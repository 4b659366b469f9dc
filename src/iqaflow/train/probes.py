"""Fixed probe images of the calibration split, pointed at while the model learns: truth and answer drawn on one sheet.

The sheets of a run stand beside each other in MLflow by step; nothing is learnt from them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from iqaflow.core.config import Config
from iqaflow.data.images import decode, encode_lossless
from iqaflow.data.masks import decode_mask
from iqaflow.data.tables import read_rows


class Probes:
    """`config.track.probes` locally distorted images, the first of the split, so that all runs show the same."""

    def __init__(self, annotated: Path, config: Config) -> None:
        self.images: list[tuple[np.ndarray, np.ndarray]] = []
        for row in read_rows(annotated, "images", "calibration", ["image", "distortions", "regions"]):
            local = [flaw["region_id"] for flaw in row["distortions"] if flaw["region_id"] is not None]
            if len(self.images) >= config.track.probes:
                break
            if len(local) == 1:
                region = next(region for region in row["regions"] if region["region_id"] == local[0])
                self.images.append((decode(row["image"]), decode_mask(region["mask_rle"])))

    def sheet(self, model: Any, processor: Any) -> bytes | None:
        """PNG of every probe with its true region and the model's answer, uncalibrated; None without probes."""
        from iqaflow.draw import sheets
        from iqaflow.engine import calibration
        from iqaflow.engine.session import Engine, Prompt
        from iqaflow.grounding import examples, ground
        from iqaflow.tasks.ground import plain_question

        if not self.images:
            return None
        training = model.training
        session = Engine(model, processor).session([[image] for image, _ in self.images], [["image"]] * len(self.images))
        answers = session.spatial([Prompt(item, plain_question("worst")) for item in range(len(self.images))])
        model.train(training)
        settings = calibration.defaults()
        return sheets.overlays_png(
            [
                examples.example(encode_lossless(image), mask, ground.ground(image, spatial, settings), "worst")
                for (image, mask), (spatial, _) in zip(self.images, answers, strict=True)
            ]
        )
