"""A small data set with rows of every origin, as plain dicts to be poisoned, and the ways to write and to judge it."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np

from iqaflow.core.config import Config
from iqaflow.core.manifest import commit_directory
from iqaflow.core.workspace import StageResult, Workspace
from iqaflow.data import tables

CONFIG = Config()
COPIES = 2  # rows enough for every poison to have its own


def rows(annotated: Path) -> tuple[list[dict], list[dict]]:
    """Rows of both tables: what the annotate stage made, twice under other ids, and labelled images of a data set `people`."""
    folder = Workspace(annotated).annotated
    images, conversations = (list(tables.read_rows(folder, table)) for table in ("images", "conversations"))
    all_images, asked = [], []
    for number in range(COPIES):
        images_here, asked_here = copy.deepcopy((images, conversations))
        for row in images_here:
            row["image_id"] += f"-{number}"
        for row in asked_here:
            row["conversation_id"] += f"-{number}"
            for link in row["image_ids"]:
                link["image_id"] += f"-{number}"
        all_images += images_here
        asked += asked_here
    for split in tables.SPLITS:
        labelled, said = people(images, conversations, split)
        all_images += labelled
        asked += said
    return all_images, asked


def people(images: list[dict], conversations: list[dict], split: str) -> tuple[list[dict], list[dict]]:
    """Four images with people's labels, without score, reference and levels, and conversations of the three other origins."""
    by_id = {row["image_id"]: row for row in images if spoilt(row)}
    aimed: dict[str, dict] = {}  # a question that points at one region, per image
    for one in conversations:
        image_id = one["image_ids"][-1]["image_id"]
        if one["task"] == "ground" and one["split"] == split and len(one["targets"]["region_ids"]) == 1 and image_id in by_id:
            aimed.setdefault(image_id, one)
    found, asked = [], []
    for number, (image_id, question) in enumerate(list(aimed.items())[:4]):
        row, said = copy.deepcopy((by_id[image_id], question))
        found.append(row)
        row["image_id"] = f"people-{split}-{number}"
        row |= {"origin": "authentic", "dataset": "people", "score": None, "score_source": None, "reference": None}
        row["distortions"] = [
            {
                "name": name,
                "category": name,
                "level": None,
                "severity": None,
                "order": order,
                "region_id": said["targets"]["region_ids"][0],
            }
            for order, name in enumerate(("blur", "noise"))
        ]
        for area in row["regions"]:
            area["score"] = None
        said["image_ids"] = [{"role": "image", "image_id": row["image_id"]}]
        said |= {"origin": "authentic", "dataset": "people", "conversation_id": f"{row['image_id']}-order"}
        said["targets"] |= {"kind": "order_blur_noise", "categories": ["blur", "noise"], "levels": []}
        said["turns"][0]["text"] = "Where does noise lie on top of blur?"
        grounded = free(said, "grounded", "The [buildings](<60, 230>, <111, 219>) are soft, the [sky](<0, 99>) is clear.")
        grounded["targets"]["boxes_cells"] = [[60, 230], [111, 219], [0, 99]]
        asked += [said, grounded, free(said, "imported", "I like this photo: it is a little soft, but the mood is great.")]
    return found, asked


def free(row: dict, origin: str, text: str) -> dict:
    """A conversation of free text without targets."""
    row = copy.deepcopy(row)
    row |= {
        "origin": origin,
        "task": "describe",
        "style": "detailed",
        "answer_spans": [],
        "teacher_confidence": None,
        "conversation_id": f"{row['conversation_id']}-{origin}",
    }
    row["targets"] = {"categories": [], "levels": [], "region_ids": [], "boxes_cells": [], "better": None, "kind": ""}
    row["turns"] = [{"role": "user", "text": "What do you think of this photo?"}, {"role": "assistant", "text": text}]
    return row


def spoilt(row: dict) -> bool:
    """Distorted inside regions only, with pixels known."""
    return bool(row["distortions"]) and all(flaw["region_id"] is not None for flaw in row["distortions"])


def write(workspace: Workspace, images: list[dict], conversations: list[dict]) -> None:
    """Commit the rows as a data set of two parts per table."""
    work = workspace.root / "work"
    for table, all_rows, schema in (
        ("images", images, tables.images_schema()),
        ("conversations", conversations, tables.conversations_schema()),
    ):
        half = len(all_rows) // 2
        tables.write_table(work / table / "part-00000.parquet", all_rows[:half], schema)
        tables.write_table(work / table / "part-00001.parquet", all_rows[half:], schema)
    commit_directory(work, workspace.annotated)


def validate(workspace: Workspace, config: Config = CONFIG) -> StageResult:
    from iqaflow.validate import stage

    return stage.run(config, workspace)


def verdict(workspace: Workspace) -> dict:
    return json.loads(workspace.validation.read_text(encoding="utf-8"))


def named(outcome: dict, table: str, column: str) -> set[str]:
    """Every id and value that failed checks of a column name."""
    failed = [
        check
        for check in outcome["expectations"]
        if not check["success"] and check["table"] == table and column in check["column"].split(", ")
    ]
    return {str(value) for check in failed for row in check["rows"] for value in row.values()}


def decode(data: bytes) -> np.ndarray:
    from iqaflow.data.images import decode as image

    return image(data)


def encode(image: np.ndarray) -> bytes:
    from iqaflow.data.images import encode_png

    return encode_png(image)
