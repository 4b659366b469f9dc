"""The assessor: a calibrated model that says of an image what is wrong, where, how badly, and how sure it is.

iqaflow.load("champion").assess("photo.jpg")
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from iqaflow.core.errors import DamagedError, InputError
from iqaflow.data.images import size_of
from iqaflow.engine import calibration as records
from iqaflow.engine.session import Engine, Prompt
from iqaflow.grounding import ground as grounding
from iqaflow.grounding.record import Calibration
from iqaflow.infer import findings
from iqaflow.infer.descriptions import descriptions
from iqaflow.infer.differences import differences
from iqaflow.infer.picture import MAX_PIXELS, Source, Subject, opened
from iqaflow.infer.regions import RegionPrompt, region_prompt
from iqaflow.infer.schema import Assessment, Comparison, Region, Score
from iqaflow.infer.tiles import Mosaic, is_large, parts
from iqaflow.tasks import describe, grammar, rate, vocabulary

if TYPE_CHECKING:
    from iqaflow.model.location import Location

SCHEMA, COMPARISON = "iqaflow.assessment/1", "iqaflow.comparison/1"
SAME = "The two images are equal, pixel by pixel."
SCORED_TILES, COMPARED_TILES = 32, 12  # enough for a mean


class Assessor:
    """One loaded model. Not for several threads at once."""

    def __init__(self, engine: Engine, record: Calibration, model: dict[str, Any]) -> None:
        self.engine, self.record, self.model = engine, record, model
        self.max_pixels = MAX_PIXELS  # of an encoded image, checked before it is decoded

    @classmethod
    def load(cls, place: Location) -> Assessor:
        """The model at a place; `iqaflow.load` finds places. DamagedError if its calibration was made for another vocabulary."""
        record = records.read(place.calibration) if place.calibration else records.defaults()
        engine = Engine.load(place.stage1)
        if place.calibration and vocabulary.of(record) != engine.vocabulary:
            raise DamagedError(
                f"{place.calibration} was fitted to another vocabulary than that of the model beside it: run "
                "`iqaflow calibrate` again."
            )
        return cls(engine, record, place.model)

    def probabilities(self, kind: str, log_probs: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of the candidates of a question of this kind (`reading.Reading.kind`)."""
        return records.probabilities(log_probs, kind, self.record)

    def expected_score(self, probabilities: np.ndarray) -> float:
        """Score 0..1: the expectation over the rating words (Q-Align's read-out)."""
        return float(np.dot(probabilities, self.engine.vocabulary.values))

    def ground(self, image: np.ndarray, spatial: Any) -> grounding.Grounding:
        return grounding.ground(image, spatial, self.record)

    def assess(
        self,
        image: Source,
        reference: Source | None = None,
        region: Sequence[float] | None = None,
        mask: np.ndarray | None = None,
        point: Sequence[float] | None = None,
        phrase: str | None = None,
        question: str | None = None,
    ) -> Assessment:
        """An assessment (schema `iqaflow.assessment/1`, plain JSON values) of one image.

        `image` and `reference`: path, encoded bytes, or uint8 RGB (H, W, 3). A region may be a box (x0, y0, x1, y1), a bool
        mask (H, W), a point (x, y), all in pixels of the original, or a phrase; it is then the only region reported. A
        `question` is answered freely. Raises InputError if an image cannot be read or a region lies outside it.
        """
        subject = opened(image, self.max_pixels)
        wanted = region_prompt(subject.pixels, region, mask, point, phrase, self.engine.vocabulary.grid)
        others = [opened(reference, self.max_pixels)] if reference is not None else None
        return self._assess([subject], others, wanted, question)[0]

    def assess_all(self, images: Sequence[Source], question: str | None = None) -> list[Assessment | InputError]:
        """An assessment of each image, all asked together, which is faster than one by one. An image that cannot be used has the
        InputError in its place.
        """
        out: list[Any] = []
        for image in images:
            try:
                out.append(opened(image, self.max_pixels))
            except InputError as error:
                out.append(error)
        subjects = [entry for entry in out if isinstance(entry, Subject)]
        results = iter(self._assess(subjects, None, None, question) if subjects else ())
        return [next(results) if isinstance(entry, Subject) else entry for entry in out]

    def examine(
        self,
        image: Source,
        region: Sequence[float] | None = None,
        mask: np.ndarray | None = None,
        point: Sequence[float] | None = None,
        phrase: str | None = None,
    ) -> Region:
        """What is wrong with one region: an entry of `regions` of an assessment, without the rest. Raises InputError as `assess`
        does, and if no region is given.
        """
        subject = opened(image, self.max_pixels)
        wanted = region_prompt(subject.pixels, region, mask, point, phrase, self.engine.vocabulary.grid)
        if wanted is None:
            raise InputError("Give a region: a box, a mask, a point or a phrase.")
        session = self.engine.session([[subject.pixels]], [["image"]])
        return findings.regions(self, session, [subject], [[wanted]], given=True)[0][0]

    def compare(self, a: Source, b: Source, reference: Source | None = None) -> Comparison:
        """Which of two images is better (schema `iqaflow.comparison/1`): `{better, confidence, reason, regions, differences}`.

        `regions` are what is wrong in each image; `differences` what differs where between two versions of one picture
        (`infer.differences`), null if the two are not that. Two images with equal pixels are not asked about: `better` is
        "neither". Raises InputError if an image cannot be read.
        """
        pair = [opened(image, self.max_pixels) for image in (a, b)]
        known: dict[str, Any] = {"schema": COMPARISON, "images": [subject.about for subject in pair], "model": self.model}
        if np.array_equal(pair[0].pixels, pair[1].pixels):
            known |= {"better": "neither", "confidence": 1.0, "reason": SAME, "regions": [], "differences": []}
            return cast(Comparison, known)
        others = [opened(reference, self.max_pixels)] if reference is not None else []
        roles = [*(["reference"] if others else []), "A", "B"]
        candidates = ("Image A", "Image B")
        views = self._together([*others, *pair])
        session = self.engine.session(views, [roles] * len(views))
        logs = session.choose([Prompt(item, rate.plain_question()) for item in range(len(views))], candidates)
        chances = self.probabilities("rate", (logs[1:] if len(views) > 1 else logs).mean(0))
        best = int(chances.argmax())
        ((reason, _),) = session.write([Prompt(0, rate.DETAILED[0], self.engine.ids(f"{candidates[best]} is better."))])
        alone = self.look(pair)
        faults = findings.distortions(self, alone, pair)
        regions = findings.regions(self, alone, pair, findings.places(self, alone, pair, faults))
        known |= {
            "better": candidates[best],
            "confidence": findings.rounded(chances[best]),
            "reason": f"{candidates[best]} is better.{reason}",
            "regions": [
                {"image": name, **region} for name, several in zip(candidates, regions, strict=True) for region in several
            ],
            "differences": differences(self, alone, pair),
        }
        return cast(Comparison, known)

    def score(self, images: Sequence[Source]) -> list[Score]:
        """`{value, level, distribution, confidence}` of each image, all in one batch; of a large one, a sample of its tiles."""
        subjects = [opened(image, self.max_pixels) for image in images]
        return findings.scores(self, self.look(subjects, SCORED_TILES), subjects)

    def _assess(
        self, subjects: list[Subject], references: list[Subject] | None, wanted: RegionPrompt | None, question: str | None
    ) -> list[Assessment]:
        begun = time.perf_counter()
        alone = session = self.look(subjects, references=references)
        if references:  # regions and questions of the papers are asked of the image alone
            session = self.engine.session(
                [[other.pixels, subject.pixels] for other, subject in zip(references, subjects, strict=True)],
                [["reference", "image"]] * len(subjects),
            )
        scores, faults = findings.scores(self, session, subjects), findings.distortions(self, session, subjects)
        regions = findings.regions(
            self, alone, subjects, findings.places(self, alone, subjects, faults) if not wanted or subjects[0].mosaic else [[]]
        )
        for item, several in enumerate(regions):  # of the whole image one thing is said, not two
            regions[item] = [
                {**region, "distortions": faults[item], "score": scores[item]} if region["label"] == grammar.WHOLE else region
                for region in several
            ]
        styles = ("brief", "detailed")
        small = [item for item, subject in enumerate(subjects) if not subject.mosaic]
        prompts = [Prompt(item, describe.plain_question(style)) for item in small for style in styles]
        written = iter(session.write(prompts) if prompts else ())
        results = []
        for item, subject in enumerate(subjects):
            result: dict[str, Any] = {
                "schema": SCHEMA,
                "image": subject.about,
                "model": self.model,
                "score": scores[item],
                "distortions": faults[item],
                "regions": regions[item],
            }
            result["description"] = (
                descriptions(result, self.engine.vocabulary) if subject.mosaic else {style: next(written)[0] for style in styles}
            )
            results.append(result)
        if wanted:
            (results[0]["regions"],) = findings.regions(self, alone, subjects, [[wanted]], given=True)
        if question:
            for result, (text, sure) in zip(
                results, alone.write([Prompt(item, question) for item in range(len(subjects))]), strict=True
            ):
                result["answer"] = {"question": question, "text": text, "confidence": findings.rounded(sure)}
        spent = 1000 * (time.perf_counter() - begun) / len(subjects)
        return [cast(Assessment, {**result, "timing_ms": {"total": round(spent, 1)}}) for result in results]

    def look(self, subjects: Sequence[Subject], most: int | None = None, references: Sequence[Subject] | None = None) -> Any:
        """A session that holds every subject alone; large ones also get their tiles read."""
        for at, subject in enumerate(subjects):
            if is_large(*size_of(subject.pixels), self.engine.budget):
                reference = references[at].pixels if references and references[at].pixels.shape == subject.pixels.shape else None
                subject.mosaic = Mosaic(self.engine, subject.pixels, most, reference)
        return self.engine.session([[subject.pixels] for subject in subjects], [["image"]] * len(subjects))

    def _together(self, group: Sequence[Subject]) -> list[list[np.ndarray]]:
        """Views of images that are compared: the whole images and, where they are large and equally so, pairs of tiles."""
        views = [[subject.pixels for subject in group]]
        if len({subject.pixels.shape for subject in group}) == 1 and is_large(*size_of(group[0].pixels), self.engine.budget):
            tiles = parts(*size_of(group[0].pixels), self.engine.budget)
            some = np.unique(np.linspace(0, len(tiles) - 1, min(COMPARED_TILES, len(tiles))).round().astype(int))
            views += [[tiles[at].of(subject.pixels) for subject in group] for at in some]
        return views
