"""Chat JSON with the pictures as files: LLaMA-Factory's sharegpt form with its `dataset_info.json`, and ms-swift's JSON lines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iqaflow.data.tables import SPLITS, read_rows
from iqaflow.model.prompt import NAMES

MAGIC = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpg"), (b"RIFF", "webp"))


def write(annotated: Path, folder: Path) -> dict[str, int]:
    """`images/`, `SPLIT.json` with `dataset_info.json`, and `swift/SPLIT.jsonl`. Lone images get no name, several theirs."""
    (folder / "images").mkdir(parents=True)
    (folder / "swift").mkdir()
    counts = {"images": 0, "conversations": 0}
    info: dict[str, Any] = {}
    for split in SPLITS:
        files: dict[tuple[str, bool], str] = {}
        for row in read_rows(annotated, "images", split, ["image_id", "split", "image", "reference"]):
            for key in ("image", "reference"):
                if row[key] is not None:
                    files[row["image_id"], key == "reference"] = _saved(folder, row["image_id"], key, row[key])
            counts["images"] += 1
        if not files:
            continue
        number = 0
        with (
            (folder / f"{split}.json").open("w", encoding="utf-8") as factory,
            (folder / "swift" / f"{split}.jsonl").open("w", encoding="utf-8") as swift,
        ):
            factory.write("[\n")
            for row in read_rows(annotated, "conversations", split):
                messages, images = _messages(row, files)
                factory.write((",\n" if number else "") + json.dumps({"messages": messages, "images": images}))
                swift.write(json.dumps({"messages": messages, "images": [f"../{name}" for name in images]}) + "\n")
                number += 1
            factory.write("\n]\n")
        counts["conversations"] += number
        info[f"iqaflow_{split}"] = {
            "file_name": f"{split}.json",
            "formatting": "sharegpt",
            "columns": {"messages": "messages", "images": "images"},
            "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
        }
    (folder / "dataset_info.json").write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")
    return counts


def _saved(folder: Path, image_id: str, key: str, data: bytes) -> str:
    kind = next((suffix for magic, suffix in MAGIC if data.startswith(magic)), "bin")
    name = f"images/{image_id}{'-reference' if key == 'reference' else ''}.{kind}"
    (folder / name).write_bytes(data)
    return name


def _messages(row: Mapping[str, Any], files: dict[tuple[str, bool], str]) -> tuple[list[dict[str, str]], list[str]]:
    several = len(row["image_ids"]) > 1
    marks = "".join(f"{NAMES[image['role']] if several else ''}<image>\n" for image in row["image_ids"])
    images = [files[image["image_id"], image["role"] == "reference"] for image in row["image_ids"]]
    messages = [{"role": turn["role"], "content": turn["text"]} for turn in row["turns"]]
    messages[0]["content"] = marks + messages[0]["content"]
    return messages, images
