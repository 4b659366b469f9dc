"""The nested conversations table as flat frames: one row per conversation, turn, image shown, label and target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqaflow.data.tables import conversations_schema
from iqaflow.validate import answers
from iqaflow.validate.frames import frame, read, rows

if TYPE_CHECKING:
    import pandas as pd

GRID = 20  # cells per side of the answer grid
NESTED = ("image_ids", "turns", "answer_spans", "targets")
DERIVED = ("dialogue", "image_roles", "mode_by_roles", "images_compared", "better", "kind", "answer_fault")
COLUMNS = {
    "turns": ("conversation_id", "turn", "role", "text"),
    "conversation_images": ("conversation_id", "image_id", "role", "split", "image_split", "reference_stored"),
    "answer_spans": ("conversation_id", "span", "start", "end", "answer_length", "text"),
    "target_categories": ("conversation_id", "category", "in_image"),
    "target_levels": ("conversation_id", "item", "level"),
    "target_regions": ("conversation_id", "region_id", "in_image"),
    "target_boxes": ("conversation_id", "box", "first", "last", "first_row", "first_column", "last_row", "last_column"),
}
NUMBERS = {
    "answer_spans": ("start", "end"), "target_levels": ("level",), "target_regions": ("region_id",),
    "target_boxes": COLUMNS["target_boxes"][2:],
}


class _Images:
    """What conversations are compared with. The first row of an id stands for it: a second fails another check."""

    def __init__(self, images: pd.DataFrame, distortions: pd.DataFrame, regions: pd.DataFrame) -> None:
        first = images.drop_duplicates("image_id").set_index("image_id")
        self.split: dict[Any, Any] = first["split"].to_dict()
        self.stored: dict[Any, Any] = first["has_reference"].to_dict()
        self.categories: dict[Any, set] = distortions.groupby("image_id")["category"].agg(set).to_dict()
        self.regions: dict[Any, set] = regions.groupby("image_id")["region_id"].agg(set).to_dict()


def conversations(
    folder: Path, images: pd.DataFrame, distortions: pd.DataFrame, regions: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Frame `conversations` (one row each) and one frame for each nested column of it (COLUMNS)."""
    table = read(folder, "conversations", conversations_schema().names)
    known = _Images(images, distortions, regions)
    nested: dict[str, list[tuple[Any, ...]]] = {name: [] for name in COLUMNS}
    derived: list[tuple[Any, ...]] = []
    for name, task, style, split, *parts in rows(table, "conversation_id", "task", "style", "split", *NESTED):
        links, turns, spans, targets = parts
        targets = targets or {}
        answer = next((turn.get("text") for turn in reversed(turns) if turn.get("role") == "assistant"), None) or ""
        nested["turns"] += [(name, number, turn.get("role"), turn.get("text")) for number, turn in enumerate(turns)]
        nested["conversation_images"] += [_link(name, split, link, known) for link in links]
        nested["answer_spans"] += [_span(name, number, span, answer) for number, span in enumerate(spans or ())]
        _targets(nested, name, links, targets, known)
        roles = sorted(str(link.get("role")) for link in links)
        derived.append((
            " ".join(str(turn.get("role")) for turn in turns), " ".join(roles), "fr" if "reference" in roles else "nr",
            len({link.get("image_id") for link in links if link.get("role") in ("A", "B")}), targets.get("better"),
            targets.get("kind"), answers.fault(task, style, answer, spans, targets),
        ))
    flat = table.drop_columns(list(NESTED)).to_pandas().join(frame(derived, DERIVED))
    flat_nested = {name: frame(nested[name], COLUMNS[name], NUMBERS.get(name, ())) for name in COLUMNS}
    return {"conversations": flat, **flat_nested}


def _link(name: str, split: str, link: dict[str, Any], known: _Images) -> tuple[Any, ...]:
    image_id, role = link.get("image_id"), link.get("role")
    stored = bool(known.stored[image_id]) if role == "reference" and image_id in known.stored else None
    return name, image_id, role, split, known.split.get(image_id), stored


def _span(name: str, number: int, span: list[int] | None, answer: str) -> tuple[Any, ...]:
    if not span or len(span) != 2 or None in span:
        return name, number, None, None, len(answer), None
    start, end = span
    return name, number, start, end, len(answer), answer[max(start, 0) : max(end, 0)]


def _targets(nested: dict[str, list], name: str, links: list[dict], targets: dict[str, Any], known: _Images) -> None:
    """A target is compared with the one image asked about; a comparison of two has none."""
    about = next((link.get("image_id") for link in links if link.get("role") == "image"), None)
    for category in targets.get("categories") or ():
        applied = about is None or category in known.categories.get(about, ())
        nested["target_categories"].append((name, category, applied))
    for item, level in enumerate(targets.get("levels") or ()):
        nested["target_levels"].append((name, item, level))
    for region in targets.get("region_ids") or ():
        nested["target_regions"].append((name, region, about is None or region in known.regions.get(about, ())))
    for number, cells in enumerate(targets.get("boxes_cells") or ()):
        first, last = (cells[0], cells[-1]) if cells and len(cells) in (1, 2) else (None, None)
        parted = (None,) * 4 if first is None or last is None else (*divmod(first, GRID), *divmod(last, GRID))
        nested["target_boxes"].append((name, number, first, last, *parted))
