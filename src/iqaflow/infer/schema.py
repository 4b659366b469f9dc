"""The types of results: what `assess`, `compare` and `score` give, in Python and as JSON.

    pydantic.TypeAdapter(Assessment).json_schema()

Coordinates are pixels of the original image, origin at the top left, right and bottom exclusive; shares are 0..1.
"""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

Severity = str  # one of the model's own words, today slight, moderate, obvious, serious or catastrophic
Rating = str  # today bad, poor, fair, good or excellent
Side = Literal["Image A", "Image B"]


class Image(TypedDict):
    path: str | None
    width: int
    height: int
    sha256: str


class Model(TypedDict):
    uri: str
    version: int | str | None
    run_id: str | None
    base: str | None


class Score(TypedDict):
    """`value` 0..1 is the expectation over the rating words, `level` the likeliest one, `confidence` its calibrated chance."""

    value: float
    level: Rating
    distribution: dict[Rating, float]
    confidence: float


class Fault(TypedDict):
    """A distortion: `category` its name in the code, `phrase` in the answers; `level` 1..5 is the expectation over severities;
    `probability` as the model says it, `confidence` after calibration.
    """

    category: str
    phrase: str
    severity: Severity
    level: float
    probability: float
    confidence: float


class Mask(TypedDict):
    """COCO's run-length code; `size` is height and width. `iqaflow.data.masks.decode_mask` makes it an array."""

    size: list[int]
    counts: str


class Region(TypedDict):
    """`cells` are the first and the last of its box on the model's grid of 20x20; `confidence` that the point lies in the region
    meant, or, for a region that a person gave, of the answer about it.
    """

    label: str
    box_xyxy: list[float]
    cells: list[int]
    points: list[list[float]]
    mask_rle: Mask
    distortions: list[Fault]
    score: Score
    confidence: float


class Description(TypedDict):
    brief: str
    detailed: str


class Answer(TypedDict):
    question: str
    text: str
    confidence: float


class Timing(TypedDict):
    total: float


class Assessment(TypedDict):
    """What `assess` gives; `answer` is there if a question was asked."""

    schema: Literal["iqaflow.assessment/1"]
    image: Image
    model: Model
    score: Score
    distortions: list[Fault]
    regions: list[Region]
    description: Description
    answer: NotRequired[Answer]
    timing_ms: Timing


class Here(TypedDict):
    distortions: list[Fault]
    score: Score


class Difference(TypedDict):
    """A region in which two versions of a picture differ, and what is wrong there in each."""

    label: str
    box_xyxy: list[float]
    cells: list[int]
    mask_rle: Mask
    images: dict[Side, Here]
    better: Side
    confidence: float


class SideRegion(Region):
    image: Side


class Comparison(TypedDict):
    """What `compare` gives; `better` is "neither" for images that are equal pixel by pixel; `differences` is None for pictures of
    different things or sizes.
    """

    schema: Literal["iqaflow.comparison/1"]
    images: list[Image]
    model: Model
    better: Side | Literal["neither"]
    confidence: float
    reason: str
    regions: list[SideRegion]
    differences: list[Difference] | None
