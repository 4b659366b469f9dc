"""Stage calibrate: fit text-to-point, the gates and the confidences of a trained model, on the calibration split only.

    iqaflow calibrate

Reads `models/stage1` and the calibration rows of `data/annotated`; writes `models/calibration.json` (what inference
needs, with the ablation table) and `reports/calibrate/` (reliability by bin, grounded examples) for the report.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from iqaflow.calibrate import confidence, reliability, thresholds
from iqaflow.calibrate.fit import fit
from iqaflow.core.config import Config
from iqaflow.core.errors import StageError
from iqaflow.core.files import write_json, write_text
from iqaflow.core.hashes import sha256
from iqaflow.core.manifest import MANIFEST, read_manifest
from iqaflow.core.workspace import StageResult, Workspace
from iqaflow.data.images import encode_lossless
from iqaflow.data.tables import read_rows
from iqaflow.engine.calibration import SCHEMA, rounded
from iqaflow.grounding import examples, segmenters
from iqaflow.grounding.ground import ground
from iqaflow.grounding.item import Item
from iqaflow.grounding.record import AblationRow, Calibration, Clean, Confidence, Curve, Fit, Interval
from iqaflow.model.integrity import bind
from iqaflow.tasks import vocabulary

SPLIT = "calibration"
Answers = dict[str, list[confidence.Answer]]
Reader = Callable[..., tuple[list[Item], Answers]]  # (model folder, images, conversations, config)


def run(config: Config, workspace: Workspace, read: Reader | None = None) -> StageResult:
    """Calibrate `models/stage1`. `read` asks the model; the default is `iqaflow.calibrate.ask.ask`.

    Raises DamagedError if the model or the data is not what its manifest says, StageError without calibration images,
    ConfigError for an unknown segmenter.
    """
    import cv2

    workspace.needs_model()
    for path in (workspace.models / MANIFEST, workspace.calibration):  # an old calibration must not outlive a new model
        path.unlink(missing_ok=True)
    for folder in (workspace.stage1, workspace.annotated):
        read_manifest(folder, verify=True)
    # only synthetic rows have exact masks and one definition of the score
    images, conversations = (
        list(read_rows(workspace.annotated, table, split=SPLIT, origin="synthetic")) for table in ("images", "conversations")
    )
    if not images:
        raise StageError(
            f"{workspace.relative(workspace.annotated)} holds no images of the split {SPLIT}: "
            "raise annotate.images.calibration and run `iqaflow annotate`."
        )
    for name in config.calibrate.segmenters:
        segmenters.find(name)  # a wrong name is said before the model is asked
    if read is None:
        from iqaflow.calibrate.ask import ask

        read = ask
    items, answers = read(workspace.stage1, images, conversations, config)
    cv2.setNumThreads(1)  # images are small: threads only wait for each other
    places, clean, curves = calibrate(items, answers, config)
    record: Calibration = {
        "schema": SCHEMA,
        "provenance": {
            "stage1_manifest_sha256": sha256(workspace.stage1 / MANIFEST),
            "data_manifest_sha256": sha256(workspace.annotated / MANIFEST),
            "split": SPLIT,
            "images": len(images),
            "items": places["items"] | {task: len(given) for task, given in sorted(answers.items())},
            "seed": config.seed,
        },
        vocabulary.KEY: vocabulary.of_model(workspace.stage1).tree(),
        "text_to_point": places["text_to_point"],
        "segmenter": places["segmenter"],
        "gate": places["gate"],
        "region": _without_bins(curves["region"]),
        "ablation": places["ablation"],
        "segmenters": places["segmenters"],
        "clean": clean,
        "confidence": {task: _without_bins(curve) for task, curve in curves.items() if task != "region"},
    }
    record = rounded(record)
    _write(workspace, record, curves, items)
    result = StageResult(
        "calibrate",
        metrics=metrics(record),
        markdown=markdown(record),
        artifacts=[
            workspace.relative(workspace.calibration),
            workspace.relative(workspace.reports / "calibrate" / "reliability.csv"),
        ],
    )
    result.save(workspace)
    return result


def calibrate(items: Sequence[Item], answers: Answers, config: Config) -> tuple[Fit, Clean, dict[str, Curve]]:
    """What is fitted to places, to `none`, and the confidence with its reliability of every task and of regions."""
    places = fit(items, config, config.seed)
    named = answers.get("identify", [])
    clean = thresholds.fit_clean(np.array([logs for logs, _ in named]), np.array([truth for _, truth in named]))
    curves: dict[str, Curve] = {}
    for task, given in sorted(answers.items()):
        if task == "identify":
            given = confidence.shifted(given, clean["offset"])
        # of a score the whole distribution is the answer, so only its temperature is fitted
        curves[task] = confidence.calibrate(given, config.calibrate.bins, mapped=task != "score")
    curves["region"] = places["region"]
    return places, clean, curves


def metrics(record: Calibration) -> dict[str, float]:
    """The numbers worth a line in MLflow."""
    values: dict[str, float | None] = {
        "gate.missed_global": record["gate"]["missed_global"],
        "gate.local_called_whole": record["gate"]["local_called_whole"],
        "clean.false_alarm": record["clean"]["false_alarm"],
        "clean.accuracy": record["clean"]["accuracy"],
    }
    for task, row in (record["confidence"] | {"region": record["region"]}).items():
        values |= {f"ece.{task}_before": row["ece_before"], f"ece.{task}": row["ece_after"]}
    final = _final(record)
    if final:
        values |= {"miou": final["miou"]["value"], "hit_rate": final["hit_rate"]["value"] if final["hit_rate"] else None}
    return {name: float(value) for name, value in values.items() if value is not None}


def markdown(record: Calibration) -> str:
    """What was chosen and what each step brings, for a person."""
    settings, segmenter, provenance = record["text_to_point"], record["segmenter"], record["provenance"]
    local = provenance["items"]["fitted"] if provenance else 0
    lines = [
        "# Calibration",
        "",
        f"Read-out **{settings['read_out']}**, segmenter **{segmenter['name']}**, {settings['points']} positive and "
        f"{settings['negatives']} negative points; fitted to {local} local places of "
        f"the calibration split (the benchmark measures on the test split).",
        "",
        "| method | mIoU | 95 % | hit rate | 95 % | n |",
        "|---|---|---|---|---|---|",
    ]
    for row in record["ablation"]:
        cells = [_cells(interval) if interval else ("", "") for interval in (row["miou"], row["hit_rate"])]
        lines.append(f"| {row['method']} | {' | '.join(cells[0])} | {' | '.join(cells[1])} | {row['miou']['n']} |")
    gates, clean = record["gate"], record["clean"]
    lines += [
        "",
        f"Whole-image gate: misses {gates['missed_global']:.1%} of {gates['global']} global flaws, takes "
        f"{gates['local_called_whole']:.1%} of {gates['local']} local ones for global.",
    ]
    if clean["accuracy"] is not None:
        lines.append(
            f"Clean images: {clean['false_alarm']:.1%} of {clean['clean']} called distorted, "
            f"{clean['called_clean']:.1%} of {clean['distorted']} distorted called clean; accuracy "
            f"{clean['accuracy']:.3f}."
        )
    lines += ["", "| confidence of | fitted | ECE before | ECE after | n |", "|---|---|---|---|---|"]
    for task, curve in (record["confidence"] | {"region": record["region"]}).items():
        if curve["n"]:
            fitted = f"temperature {curve['temperature']:.2f}, " if "temperature" in curve else ""
            fitted += f"slope {curve['slope']:.2f}, offset {curve['offset']:.2f}"
            lines.append(f"| {task} | {fitted} | {curve['ece_before']:.3f} | {curve['ece_after']:.3f} | {curve['n']} |")
    return "\n".join(lines) + "\n"


def _write(workspace: Workspace, record: Calibration, curves: dict[str, Curve], items: Sequence[Item]) -> None:
    """All files of the stage; the manifest of the calibrated model last, for it says that the others are there."""
    folder = workspace.reports / "calibrate"
    shutil.rmtree(folder, ignore_errors=True)
    local = [item for item in items if not item.whole_truth and item.true_mask.any()]
    # enough to span best to worst; more would only take time
    shown = [local[at] for at in np.unique(np.linspace(0, len(local) - 1, min(len(local), 48)).round().astype(int))]
    write_text(folder / "reliability.csv", reliability.as_csv(curves))
    examples.write(
        folder / "groundings.parquet",
        [
            examples.example(encode_lossless(item.image), item.true_mask, ground(item.image, item.spatial, record), item.kind)
            for item in shown
        ],
    )
    write_json(workspace.calibration, record)
    bind(workspace.models)


def _final(record: Calibration) -> AblationRow | None:
    """The ablation row of the whole method, gate included."""
    return next((row for row in reversed(record["ablation"]) if row["method"].endswith("+ gate")), None)


def _without_bins(curve: Curve) -> Confidence:
    return cast(Confidence, {key: value for key, value in curve.items() if key not in ("before", "after")})


def _cells(row: Interval) -> tuple[str, str]:
    return f"{row['value']:.3f}", f"{row['ci95'][0]:.3f} to {row['ci95'][1]:.3f}"
