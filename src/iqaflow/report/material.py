"""What the report is made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from iqaflow.benchmark.compare import Comparison
from iqaflow.benchmark.items import MODEL
from iqaflow.benchmark.results import Results
from iqaflow.core.config import Config

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]


@dataclass
class Material:
    """What the page is made from: `metrics.json`, the items, the benchmark's images by id, the headline comparisons,
    and grounded answers to show (`grounding.examples`).
    """

    results: Results
    frame: pd.DataFrame
    images: dict[str, Row]
    comparisons: list[Comparison]
    config: Config
    grounded: list[Row] = field(default_factory=list)

    @property
    def model(self) -> pd.DataFrame:
        return self.frame[self.frame["predictor"] == MODEL]

    def rows(self, predictor: str | None, family: str) -> pd.DataFrame:
        return self.frame[(self.frame["predictor"] == predictor) & (self.frame["family"] == family)]
