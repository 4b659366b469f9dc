"""What `models/calibration.json` holds, as Python reads it: the schema `iqaflow.calibration/1`, section by section.

`iqaflow calibrate` writes it, `engine.calibration.read` reads it. Keys that only a fitted record has are NotRequired: the
defaults of a model that is not calibrated, and records of older versions, lack them. Floats are rounded to six digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

if TYPE_CHECKING:
    from iqaflow.tasks.vocabulary import VocabularyTree


class TextToPoint(TypedDict, total=False):
    """How an answer's logits are read; `text_to_point.Settings` says what each value means. One not given has its default."""

    read_out: str
    tau_words: float
    tau_cells: float
    tau_box: float
    inset: float
    tau_visual: float
    weight: float
    weight_visual: float
    smoothing: float
    cut: float
    floor: float
    points: int
    negatives: int
    pointing: str


class Segmenter(TypedDict):
    """The chosen segmenter; what `options` may hold is the segmenter's own affair (`OPTIONS` of its module)."""

    name: str
    options: dict[str, Any]


# Log-odds above which an answer is the whole image; shares of both kinds that it gets wrong, and their numbers. Not written as a
# class, since `global` is a word of the language.
Gate = TypedDict(
    "Gate",
    {
        "threshold": float,
        "missed_global": NotRequired[float],
        "local_called_whole": NotRequired[float],
        "global": NotRequired[int],
        "local": NotRequired[int],
    },
)


class Clean(TypedDict):
    """What is added to the log-probability of `none`; the rates are None where there was nothing to fit."""

    offset: float
    accuracy: NotRequired[float | None]
    false_alarm: NotRequired[float | None]
    called_clean: NotRequired[float | None]
    clean: NotRequired[int]
    distorted: NotRequired[int]


class Confidence(TypedDict):
    """How the confidence of a task's answers, or of a place, is mapped: slope and offset of the chosen answer's log-odds, or of
    a map's concentration. A place has no temperature and no accuracy. Errors are None where there was nothing to fit.
    """

    slope: float
    offset: float
    temperature: NotRequired[float]
    n: NotRequired[int]
    accuracy: NotRequired[float | None]
    ece_before: NotRequired[float | None]
    ece_after: NotRequired[float | None]


class Bin(TypedDict):
    """Answers with a confidence in (lo, hi]: how many, their mean confidence and the share that is right."""

    lo: float
    hi: float
    n: int
    confidence: float
    accuracy: float


class Curve(Confidence):
    """A fit with its reliability, bin by bin: the bins go to `reports/calibrate`, the rest to the record."""

    before: list[Bin]
    after: list[Bin]


class Interval(TypedDict):
    """A mean over `n` items with its 95 % interval [low, high]."""

    value: float
    ci95: list[float]
    n: int


class Scores(TypedDict):
    """What a way from logits to a place reaches; no hit rate where it gives no point."""

    miou: Interval
    hit_rate: Interval | None


class AblationRow(Scores):
    """One way, by its name in the table."""

    method: str


class SegmenterRow(TypedDict):
    """One segmenter that was tried, with its best options."""

    name: str
    options: dict[str, Any]
    miou: float
    n: int


class Fit(TypedDict):
    """What the search over read-outs, points and segmenters found; `items` counts the grounding questions by kind."""

    text_to_point: TextToPoint
    segmenter: Segmenter
    gate: Gate
    region: Curve
    ablation: list[AblationRow]
    segmenters: list[SegmenterRow]
    items: dict[str, int]


class Provenance(TypedDict):
    """What a record was fitted to. `items` counts grounding questions by kind and answers by task."""

    stage1_manifest_sha256: str
    data_manifest_sha256: str
    split: str
    images: int
    items: dict[str, int]
    seed: int


class Calibration(TypedDict):
    """The whole record. `provenance` is None in the defaults; records of models older than the vocabulary have none."""

    schema: str
    provenance: Provenance | None
    vocabulary: NotRequired[VocabularyTree]
    text_to_point: TextToPoint
    segmenter: Segmenter
    gate: Gate
    clean: Clean
    confidence: dict[str, Confidence]
    region: Confidence
    ablation: NotRequired[list[AblationRow]]
    segmenters: NotRequired[list[SegmenterRow]]
