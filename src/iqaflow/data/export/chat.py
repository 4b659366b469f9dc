"""Chat JSON that LLaMA-Factory and ms-swift read as it is, with every picture once as a file.

Both take `{"messages": [{"role", "content"}], "images": [PATH]}` lines, one `<image>` in the text for each image:
LLaMA-Factory by the entry in `dataset_info.json` (its sharegpt formatting with OpenAI's roles), ms-swift by the path of the
file. Paths are relative to the folder, so that it can be moved: LLaMA-Factory looks below `dataset_dir`, ms-swift below the
environment variable ROOT_IMAGE_DIR.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any, TextIO

from iqaflow.data import tables
from iqaflow.data.export import Part, Source
from iqaflow.data.images import suffix
from iqaflow.model.prompt import NAMES
from iqaflow.ops.errors import StageError
from iqaflow.ops.files import DamagedError, write_json

MARK = "<image>"
MARKS = re.compile(r"<(?:image|video|audio)>")  # both tools would look for a file
INFO = "dataset_info.json"
Pictures = dict[tuple[str, bool], str]


def write(source: Source, folder: Path) -> list[Part]:
    """`SPLIT.jsonl`, `images/SPLIT/...` and `dataset_info.json`."""
    pictures = _pictures(source.folder, _shown(source.folder), folder)
    files = {}
    for split in tables.SPLITS:
        lines = folder / f"{split}.jsonl"
        with lines.open("w", encoding="utf-8") as file:
            if _lines(source.folder, split, pictures, file):
                files[split] = lines.name
        if split not in files:
            lines.unlink()
    write_json(folder / INFO, {f"iqaflow_{split}": _info(file) for split, file in files.items()})
    return [Part("chat", files)]


def message(roles: list[str], question: str) -> str:
    """A question behind the marks of its images, which have names where there are several (as in model/prompt.py)."""
    if len(roles) == 1:
        return f"{MARK}{question}"
    return "".join(f"{NAMES[role]}{MARK}\n" for role in roles) + question


def _lines(annotated: Path, split: str, pictures: Pictures, file: TextIO) -> int:
    count = 0
    for row in tables.read_rows(annotated, "conversations", split, ["conversation_id", "image_ids", "task", "turns", "split"]):
        roles = [image["role"] for image in row["image_ids"]]
        texts = [turn["text"] for turn in row["turns"]]
        if any(MARKS.search(text) for text in texts):
            raise StageError(f"{row['conversation_id']} has the mark of a file in its text: run `iqaflow validate`, and remove it "
                             "from its source.")
        turns = [{"role": turn["role"], "content": text} for turn, text in zip(row["turns"], texts, strict=True)]
        turns[0]["content"] = message(roles, texts[0])
        try:
            images = [pictures[image["image_id"], image["role"] == "reference"] for image in row["image_ids"]]
        except KeyError as missing:
            raise DamagedError(f"{row['conversation_id']} asks about an image that is not there {missing}: run `iqaflow annotate` "
                               "again.") from None
        line = {"id": row["conversation_id"], "task": row["task"], "messages": turns, "images": images}
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
        count += 1
    return count


def _shown(annotated: Path) -> dict[str, set[bool]]:
    """Which images are asked about: by id, whether as they are (False) or by their reference (True)."""
    shown: dict[str, set[bool]] = defaultdict(set)
    for row in tables.read_rows(annotated, "conversations", columns=["image_ids"]):
        for image in row["image_ids"]:
            shown[image["image_id"]].add(image["role"] == "reference")
    return shown


def _pictures(annotated: Path, shown: dict[str, set[bool]], folder: Path) -> Pictures:
    """Write every picture that is asked about, equal ones once; their paths below `folder`."""
    import pyarrow.parquet as pq

    written: dict[tuple[str, bytes], str] = {}
    paths: Pictures = {}
    for part in tables.parts(annotated, "images"):
        for batch in pq.ParquetFile(part).iter_batches(tables.ROW_GROUP, columns=["image_id", "split", "image", "reference"]):
            for row in batch.to_pylist():
                for reference in sorted(shown.get(row["image_id"], ())):
                    data = row["reference" if reference else "image"]
                    if data is None:
                        raise DamagedError(f"{part} has no reference of {row['image_id']}: run `iqaflow annotate` again.")
                    key = row["split"], hashlib.sha256(data).digest()  # a split can be taken away with its pictures
                    if key not in written:
                        written[key] = _file(row, reference, data, folder)
                    paths[row["image_id"], reference] = written[key]
    return paths


def _file(row: dict[str, Any], reference: bool, data: bytes, folder: Path) -> str:
    name = f"{re.sub(r'[^A-Za-z0-9._-]', '_', row['image_id'])}{'.reference' if reference else ''}{suffix(data)}"
    path = folder / "images" / row["split"] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:  # two ids that become one name are a failure, not one picture
        file.write(data)
    return path.relative_to(folder).as_posix()


def _info(file: str) -> dict[str, Any]:
    """LLaMA-Factory's description of a data set."""
    return {
        "file_name": file, "formatting": "sharegpt", "columns": {"messages": "messages", "images": "images"},
        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
    }
