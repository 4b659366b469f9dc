"""Q-Instruct: chat JSON, or questions: `{"image" or "img_path": NAME, "question": TEXT, "answer" or "correct_ans": TEXT}`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from iqaflow.annotate.imports import Item, Problems
from iqaflow.annotate.imports.llava import roles, turns
from iqaflow.annotate.imports.text import entries, text_of


def read(path: Path, problems: Problems) -> Iterator[Item]:
    for place, entry in enumerate(entries(path, "Q-Instruct JSON")):
        if not isinstance(entry, dict):
            problems(f"entry {place}", "it is no object")
            continue
        images = roles(entry.get("image") or entry.get("img_path"))
        question, answer = text_of(entry.get("question")), text_of(entry.get("answer") or entry.get("correct_ans"))
        dialogue = turns(entry) or (((question, answer),) if question and answer else ())
        if images is None or not dialogue:
            problems(f"entry {place}", "it has no image inside the folder, or no question with an answer")
        else:
            yield Item(images, dialogue=dialogue)
