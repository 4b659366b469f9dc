"""The rows of an annotated data set as types: what `images_schema` and `conversations_schema` (data/tables.py) hold, as Python
reads it. Boxes are pixels (x0, y0, x1, y1), right and bottom exclusive.
"""

from __future__ import annotations

from typing import Literal, TypedDict

Split = Literal["train", "calibration", "test"]
Origin = Literal["synthetic", "authentic", "grounded", "imported"]


class Rle(TypedDict):
    """A mask in COCO's run lengths: `size` is (height, width)."""

    size: list[int]
    counts: str


class DistortionRow(TypedDict):
    """One distortion of an image; `region_id` None: of the whole image."""

    name: str | None
    category: str
    level: float | None
    severity: str | None
    order: int | None
    region_id: int | None


class RegionRow(TypedDict):
    """One region of an image; `area` is its share of the image, `score` how sure its finder was, 0..1."""

    region_id: int
    label: str | None
    box_xyxy: list[float]
    mask_rle: Rle
    area: float
    score: float | None


class ImageRow(TypedDict):
    """One annotated image. Only synthetic ones must have a reference and a score."""

    image_id: str
    origin: Origin
    dataset: str | None
    source_id: str
    source_sha256: str | None
    source_origin: str | None
    license: str | None
    split: Split
    width: int
    height: int
    image: bytes
    reference: bytes | None
    distortions: list[DistortionRow]
    regions: list[RegionRow]
    score: float | None
    score_std: float | None
    score_source: str | None
    phash: str | None
    pipeline_version: str
    seed: int | None


class ImageRole(TypedDict):
    """An image of a conversation and the role it plays in the prompt."""

    role: str
    image_id: str


class Turn(TypedDict):
    role: str
    text: str


class Targets(TypedDict):
    """What a conversation's answer is checked against; `kind` is the sub-task, such as worst or best_blur."""

    categories: list[str]
    levels: list[float]
    region_ids: list[int]
    boxes_cells: list[list[int]]
    better: str | None
    kind: str


class ConversationRow(TypedDict):
    """One question and its answer. `answer_spans` are [start, end) characters of the label words in the answer."""

    conversation_id: str
    origin: Origin
    dataset: str | None
    image_ids: list[ImageRole]
    task: str
    style: str | None
    reference_mode: str | None
    turns: list[Turn]
    answer_spans: list[list[int]] | None
    targets: Targets
    teacher: str | None
    teacher_confidence: float | None
    split: Split
