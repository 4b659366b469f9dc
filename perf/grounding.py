"""Stage two on photographs with segments that people drew: the whole method against its parts and what does not look.

    python perf/grounding.py --photographs DIR --masks DIR [--model models/base-tiny] [--work DIR]

Views of the photographs are distorted inside real segments (35 distortions); photographs of calibration and test differ.
Stage two is fitted on the calibration views; every table is of the test views. Prints markdown.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from iqaflow import sources
from iqaflow.annotate import stage as annotate
from iqaflow.benchmark import items as bench_items
from iqaflow.calibrate import confidence, fit, methods
from iqaflow.calibrate import stage as calibrate
from iqaflow.calibrate.ask import ask as read_calibration
from iqaflow.core import config
from iqaflow.core.environment import prepare
from iqaflow.core.workspace import Workspace
from iqaflow.data.images import decode
from iqaflow.data.masks import decode_mask
from iqaflow.data.tables import read_rows
from iqaflow.engine.answers import read
from iqaflow.grounding.text_to_point import READ_OUTS, Settings, is_whole, read_out
from iqaflow.infer import findings, load
from iqaflow.infer.picture import opened
from iqaflow.infer.regions import region_prompt
from iqaflow.tasks import grammar
from iqaflow.tasks.grading.answers import set_credit
from iqaflow.tasks.refer import faults

SIZES = "[[96, 96], [96, 128], [128, 96], [128, 128], [160, 160], [192, 144], [256, 192]]"
FAMILIES = ("HyD", "SiD", "DAO")
NOTHING = dict.fromkeys(("region", "mask", "point", "phrase"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--masks", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=Path("models/base-tiny"))
    parser.add_argument("--calibration", type=int, default=700)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--work", type=Path, help="keep what is made here")
    chosen = parser.parse_args()
    prepare()
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace(chosen.work or Path(scratch))
        settings = configuration(chosen)
        if not workspace.annotated.exists():
            sources.index(settings, workspace)
            annotate.run(settings, workspace)
        shutil.rmtree(workspace.stage1, ignore_errors=True)
        shutil.copytree(chosen.model, workspace.stage1)
        calibrate.run(settings, workspace)
        judge = load(workspace.stage1.parent)
        images = {row["image_id"]: row for row in read_rows(workspace.annotated, "images", split="test")}
        conversations = list(read_rows(workspace.annotated, "conversations", split="test"))
        readings = list(
            read(
                judge.engine,
                list(images.values()),
                [
                    row
                    for row in bench_items.truth(list(images.values()), conversations, settings)[1]
                    if row["task"] in ("ground", "identify", "rate")
                ],
            )
        )
        photographs = len({row["source_id"] for row in images.values()})
        print(f"{len(images)} test views of {photographs} photographs; fitted on {chosen.calibration} views of others.\n")
        grounding(judge, readings, images, published(workspace, settings))
        reliability(judge, readings)
        referring(judge, images)


def configuration(chosen: argparse.Namespace) -> Any:
    return config.load(
        overrides=(
            "source.kind=folder",
            f"source.path={chosen.photographs.resolve()}",
            f"source.masks={chosen.masks.resolve()}",
            "annotate.regions=given",
            "annotate.local=0.8",
            "annotate.pairs=1",
            f"annotate.sizes_px={SIZES}",
            "annotate.images.train=20",
            f"annotate.images.calibration={chosen.calibration}",
            f"annotate.images.test={chosen.test}",
            "source.weights.train=1",
            "source.weights.calibration=40",
            "source.weights.test=59",
            "resources.workers=1",
        )
    )


def published(workspace: Workspace, settings: Any) -> methods.Method:
    """The published form, its temperature, anchors, segmenter and points fitted like ours: two words an axis, one point."""
    rows = [list(read_rows(workspace.annotated, table, split="calibration")) for table in ("images", "conversations")]
    asked = [row for row in rows[1] if row["task"] == "ground"]
    found, _ = read_calibration(workspace.stage1, rows[0], asked, settings)
    local = [one for one in found if not one.whole_truth][: fit.MAX_LOCAL]
    words = fit.fit_read_out("2x2", local, settings.calibrate.temperatures)[0]
    name, options, words, _ = fit.fit_segmenter(words, local, settings, np.random.default_rng(settings.seed))
    return methods.with_segmenter(words, name, options)


def grounding(judge: Any, readings: list[Any], images: dict[str, Any], words: methods.Method) -> None:
    """The table of methods by family, with the gate's errors on test."""
    found = [item(one, images) for one in readings if one.spatial is not None]
    local, record = [one for one in found if not one.whole_truth], judge.record
    settings, segmenter = Settings.read(record["text_to_point"]), record["segmenter"]

    def used(name: str) -> methods.Method:
        one = Settings.read({**record["text_to_point"], "read_out": name, "pointing": ""})
        return methods.with_segmenter(one, segmenter["name"], segmenter["options"])

    table: dict[str, methods.Method] = {
        "whole image": lambda one: (methods.whole(one)[0], None),
        "centre": methods.centre,
        "argmax words": methods.argmax_words,
        "argmax box": methods.argmax_box,
    }
    names = [name for name in READ_OUTS if read_out(local[0].spatial, Settings(name)) == name]
    table["published: 2x2, with its own best segmenter"] = words
    table |= {f"{name} + {segmenter['name']}": used(name) for name in names if name != "2x2"}
    pointing = f", point of {settings.pointing}" if settings.pointing else ""
    table[f"**whole method** ({settings.read_out} + {segmenter['name']}{pointing}, gate)"] = lambda one: gated(judge, one)
    print("| method | " + " | ".join(f"{name} hit | {name} mIoU" for name in FAMILIES) + " |")
    print("|---|" + "---|" * 2 * len(FAMILIES))
    parts = {name: [one for one in local if methods.sub_task(one.kind) == name] for name in FAMILIES}
    for name, method in table.items():
        cells = []
        for part in parts.values():
            row = methods.summary(part, [method(one) for one in part], 0)
            cells += [cell(row["hit_rate"]), cell(row["miou"])]
        print(f"| {name} | {' | '.join(cells)} |")
    called = [is_whole(one.spatial, record["gate"]["threshold"]) for one in found]
    wrong = [says for one, says in zip(found, called, strict=True) if not one.whole_truth]
    missed = [not says for one, says in zip(found, called, strict=True) if one.whole_truth]
    print(
        f"\nn: {', '.join(f'{name} {len(part)}' for name, part in parts.items())}. Gate: takes {np.mean(wrong):.1%} of "
        f"{len(wrong)} local flaws for global, misses {np.mean(missed):.1%} of {len(missed)} global ones.\n"
    )


def gated(judge: Any, one: methods.Item) -> methods.Prediction:
    found = judge.ground(one.image, one.spatial)
    return found.mask, found.points[0]


def item(reading: Any, images: dict[str, Any]) -> methods.Item:
    targets, row = reading.conversation["targets"], images[reading.conversation["image_ids"][-1]["image_id"]]
    regions = {region["region_id"]: region["mask_rle"] for region in row["regions"]}
    whole = not len(targets["region_ids"])
    mask = np.ones((row["height"], row["width"]), bool) if whole else decode_mask(regions[targets["region_ids"][0]])
    return methods.Item(decode(row["image"]), mask, reading.spatial, whole, targets["kind"])


def reliability(judge: Any, readings: list[Any]) -> None:
    """Expected calibration error of closed-set answers, with the temperatures fitted on other photographs."""
    print("| confidence of | ECE before | ECE after | accuracy | n |\n|---|---|---|---|---|")
    for task in ("identify", "rate"):
        given = [
            (one.log_probs, one.candidates.index(one.conversation["turns"][-1]["text"]))
            for one in readings
            if one.kind == task and one.log_probs is not None and one.conversation["turns"][-1]["text"] in one.candidates
        ]
        if not given:
            continue
        before = confidence.judged(given, 1.0)
        chances = [judge.probabilities(task, logs) for logs, _ in given]
        after = (
            np.array([row.max() for row in chances]),
            np.array([row.argmax() == truth for row, (_, truth) in zip(chances, given, strict=True)]),
        )
        errors = [confidence.expected_error(confidence.reliability(*one)) for one in (before, after)]
        print(f"| {task} | {errors[0]:.3f} | {errors[1]:.3f} | {after[1].mean():.3f} | {len(given)} |")
    print()


def referring(judge: Any, images: dict[str, Any]) -> None:
    """The same regions given in four ways: set credit of the distortions named."""
    credit: dict[str, list[float]] = {}
    for row in images.values():
        subject = opened(decode(row["image"]))
        session = judge.engine.session([[subject.pixels]], [["image"]])
        asked = [
            (way, truth, region_prompt(subject.pixels, **{**NOTHING, **given}))
            for truth, ways in regions(row)
            for way, given in ways.items()
        ]
        found = findings.regions(judge, session, [subject], [[where for _, _, where in asked]], given=True)[0]
        for (way, truth, _), one in zip(asked, found, strict=True):
            said = faults([(fault["severity"], fault["category"]) for fault in one["distortions"]])
            credit.setdefault(way, []).append(set_credit(truth, said))
    print("| region given as | set credit | n |\n|---|---|---|")
    for way, values in credit.items():
        print(f"| {way} | {cell(methods.interval(np.array(values), 0))} | {len(values)} |")


def regions(row: Any) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """The true answer for each region of an image whose phrase fits no other, and the region in every form a person may use."""
    height, width = row["height"], row["width"]
    phrases = []
    for region in row["regions"]:
        vertical, horizontal = grammar.position(region["box_xyxy"], width, height)
        phrases.append(f"{region['label']} at the {vertical} {horizontal}")
    for region, phrase in zip(row["regions"], phrases, strict=True):
        if phrases.count(phrase) > 1:
            continue
        own = [flaw for flaw in row["distortions"] if flaw["region_id"] in (region["region_id"], None)]
        mask = decode_mask(region["mask_rle"])
        yield (
            faults([(flaw["severity"], flaw["category"]) for flaw in own]),
            {
                "box": {"region": region["box_xyxy"]},
                "drawn mask": {"mask": mask},
                "click": {"point": inner(mask)},
                "phrase": {"phrase": phrase},
            },
        )


def inner(mask: np.ndarray) -> tuple[float, float]:
    """The pixel of a mask that is farthest from its border: where a person would click."""
    import cv2

    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return float(column), float(row)


def cell(row: dict[str, Any] | None) -> str:
    return "" if row is None else f"{row['value']:.3f} ({row['ci95'][0]:.3f} to {row['ci95'][1]:.3f})"


if __name__ == "__main__":
    main()
