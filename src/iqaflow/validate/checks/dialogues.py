"""The nested conversations table as flat frames: one row per conversation, turn, image shown, label and target."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from iqaflow.data import text_hygiene
from iqaflow.data.tables import conversations_schema
from iqaflow.validate.checks import answers, balance, presence, truth
from iqaflow.validate.checks.flatten import at, field, first_fault, frame, items, joined, known, numbered, paired, whole
from iqaflow.validate.checks.frames import read

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

NESTED = ("image_ids", "turns", "answer_spans", "targets")
LONGEST = {"brief": 60, "detailed": 400}  # words of an answer the pipeline makes
LONGEST_IMPORTED = 2000  # words of anything people or other models wrote: more does not fit beside an image
LONGEST_QUESTION = 150


class _Images:
    """What conversations are compared with. The first row of an id stands for it: a second fails another check."""

    def __init__(self, images: pd.DataFrame, distortions: pd.DataFrame, areas: pd.DataFrame) -> None:
        import pyarrow as pa

        first = images.drop_duplicates("image_id")
        self.ids = pa.array(first["image_id"], pa.string())
        self.split, self.origin = (pa.array(first[name], pa.string()) for name in ("split", "origin"))
        self.score = pa.array(first["score"], from_pandas=True)
        self.stored = pa.array(first["has_reference"].to_numpy(bool))
        self.categories = paired(pa.array(distortions["image_id"], pa.string()), pa.array(distortions["category"], pa.string()))
        self.areas = _area_keys(areas["image_id"], areas["region_id"])


def conversations(folder: Path, images: pd.DataFrame, distortions: pd.DataFrame, areas: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Frame `conversations` (one row each) and one frame for each nested column of it."""
    import pyarrow as pa

    table = read(folder, "conversations", conversations_schema().names)
    seen = _Images(images, distortions, areas)
    ids = table["conversation_id"]
    flat = table.drop_columns(list(NESTED)).to_pandas()

    turns, texts = _turns(table)
    links, shown = _links(table, seen)
    nested, meant = _targets(table, shown["about"], seen)
    spans, words = _spans(ids, table["answer_spans"], texts["answer"])
    nested = {"turns": turns, "conversation_images": links, "answer_spans": spans, **nested}
    for name, values in {**texts, **shown, **meant, "label_words": words}.items():
        flat[name] = values.to_pandas() if isinstance(values, pa.Array) else values
    for name, own in nested.items():
        own["missing"] = presence.missing(own, name)
    flat["missing"] = presence.missing(flat, "conversations")
    synthetic = (flat["origin"] == "synthetic").to_numpy(bool)
    flat["origin_fits"] = flat["image_origin"].isna().to_numpy() | (
        synthetic == (flat["image_origin"] == "synthetic").to_numpy(bool)
    )
    flat["better_fault"], flat["better_by_score"] = truth.better(flat), truth.better_by_score(flat)
    flat["rating_fault"] = truth.ratings(flat, areas)
    flat["kind_fault"] = truth.kinds(flat, distortions, areas)
    flat["answer_fault"] = answers.faults(flat)
    flat["contradicts"] = balance.contradictions(flat)
    _lengths(flat, texts)
    return {"conversations": flat, **nested}


def _turns(table: pa.Table) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Frame `turns`; and of each conversation what is wrong with the order of roles, the first question and the last answer."""
    import pyarrow as pa

    parents, values = items(table["turns"])
    roles, texts, rows = field(values, "role"), field(values, "text"), len(table)
    turns = frame(
        {
            "conversation_id": table["conversation_id"].take(pa.array(parents)),
            "turn": numbered(parents),
            "role": roles,
            "text": texts,
        }
    )
    turns["text_fault"] = text_hygiene.faults(texts)
    says = turns["role"].to_numpy(dtype=object)
    answer, question = np.full(rows, -1), np.full(rows, -1)
    spoken = np.flatnonzero(says == "assistant")
    answer[parents[spoken]] = spoken  # the last one stays
    user_turns = np.flatnonzero(says == "user")[::-1]
    question[parents[user_turns]] = user_turns  # the first one stays
    order = joined(parents, roles, rows).dictionary_encode()
    fits = [re.fullmatch("user assistant(?: user assistant)*", text) for text in order.dictionary.to_pylist()]
    wrong = pa.array(
        [
            None if fit else f"speaking are: {text[:80] or 'none'}"
            for fit, text in zip(fits, order.dictionary.to_pylist(), strict=True)
        ],
        pa.string(),
    )
    return turns, {"turns_fault": wrong.take(order.indices), "question": _taken(texts, question), "answer": _taken(texts, answer)}


def _links(table: pa.Table, seen: _Images) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Frame `conversation_images`; and of each conversation its roles, its mode by them, the number of images compared, the
    image it is about, the origin of an image, the scores of its images, and a key of all it shows.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    parents, values = items(table["image_ids"])
    take = pa.array(parents)
    role, image, rows = field(values, "role"), field(values, "image_id"), len(table)
    place = pc.index_in(image, value_set=seen.ids, skip_nulls=True)
    stored = pc.if_else(pc.fill_null(pc.equal(role, "reference"), False), seen.stored.take(place), pa.scalar(None, pa.bool_()))
    links = frame(
        {
            "conversation_id": table["conversation_id"].take(take),
            "image_id": image,
            "role": role,
            "split": table["split"].take(take),
            "image_split": seen.split.take(place),
            "reference_stored": stored,
        }
    )
    first, scores = {}, {}
    for name in ("image", "A", "B"):
        index = np.full(rows, -1)
        mine = np.flatnonzero(pc.fill_null(pc.equal(role, name), False).to_numpy(zero_copy_only=False))[::-1]
        index[parents[mine]] = mine
        first[name] = _taken(image, index)
        scores[f"score_{name.lower()}"] = seen.score.take(_taken(place, index))
    origin = np.full(rows, -1)
    origin[parents[::-1]] = np.arange(len(parents))[::-1]
    a, b = (first[name].is_valid().to_numpy(zero_copy_only=False).astype(int) for name in "AB")
    same = pc.fill_null(pc.equal(first["A"], first["B"]), False).to_numpy(zero_copy_only=False)
    roles = joined(parents, role, rows).dictionary_encode()  # a handful of different ones
    ordered = [" ".join(sorted(text.split(" "))) for text in roles.dictionary.to_pylist()]
    by_role = pa.array(ordered, pa.string()).take(roles.indices)
    mode = pa.array(["fr" if "reference" in text.split(" ") else "nr" for text in ordered], pa.string()).take(roles.indices)
    return links, {
        "image_roles": by_role,
        "mode_by_roles": mode,
        "images_compared": a + b - (same & (a + b == 2)),
        "about": first["image"],
        **scores,
        "image_origin": seen.origin.take(_taken(place, origin)),
        "shown": joined(parents, _role_and_image(role, image), rows),
    }


def _role_and_image(role: pa.Array, image: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(pc.fill_null(role, ""), pc.fill_null(image, ""), "=")


def _spans(ids: Any, column: Any, answer: pa.Array) -> tuple[pd.DataFrame, pa.Array]:
    """Frame `answer_spans`; and the label words of each answer, joined."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parents, values = items(column)
    start, end = at(values, 0, (2,)), at(values, -1, (2,))
    take, texts = pa.array(parents), answer.to_pylist()
    words = [
        None if s is None or e is None else (texts[row] or "")[max(s, 0) : max(e, 0)]
        for row, s, e in zip(parents.tolist(), start.to_pylist(), end.to_pylist(), strict=True)
    ]
    text = pa.array(words, pa.string())
    length = pc.fill_null(pc.utf8_length(answer), 0).take(take)
    spans = frame(
        {
            "conversation_id": ids.take(take),
            "span": numbered(parents),
            "start": start,
            "end": end,
            "answer_length": length,
            "text": text,
        }
    )
    spans["fault"] = _span_faults(spans)
    return spans, joined(parents, text, len(ids), null="")


def _targets(table: pa.Table, about: pa.Array, seen: _Images) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """The four frames of targets; and of each conversation its targets in one text each.

    A target is compared with the one image asked about; a comparison of two has none.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    def start(name: str) -> tuple[np.ndarray, pa.Array, pa.Array]:
        parents, values = items(field(targets, name))
        return parents, values, about.take(pa.array(parents))

    ids, targets, rows = table["conversation_id"], whole(table["targets"]), len(table)
    owner, category, image = start("categories")
    categories = frame(
        {
            "conversation_id": ids.take(pa.array(owner)),
            "category": category,
            "in_image": _inside(image, paired(image, category), seen.categories),
        }
    )
    named, region, image = start("region_ids")
    areas = frame(
        {
            "conversation_id": ids.take(pa.array(named)),
            "region_id": region,
            "in_image": _inside(image, _area_keys(image, region), seen.areas),
        }
    )
    leveled, level, _ = start("levels")
    take = pa.array(leveled)
    levels = frame(
        {"conversation_id": ids.take(take), "origin": table["origin"].take(take), "item": numbered(leveled), "level": level}
    )
    boxed, cells, _ = start("boxes_cells")
    first, last = at(cells, 0, (1, 2)), at(cells, -1, (1, 2))
    boxes = frame({"conversation_id": ids.take(pa.array(boxed)), "box": numbered(boxed), "first": first, "last": last})
    boxes["fault"] = _box_faults(boxes["first"].to_numpy(float), boxes["last"].to_numpy(float))
    pair = pc.binary_join_element_wise(
        first.cast(pa.string()), last.cast(pa.string()), "-", null_handling="replace", null_replacement=""
    )
    meant = {
        "better": field(targets, "better"),
        "kind": field(targets, "kind"),
        "target_categories": joined(owner, category, rows),
        "target_regions": joined(named, region, rows),
        "target_boxes": joined(boxed, pair, rows),
    }
    frames = {"target_categories": categories, "target_levels": levels, "target_regions": areas, "target_boxes": boxes}
    return frames, meant


def _box_faults(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """For each box null, or what is wrong with its cells."""
    from iqaflow.tasks.grammar import CELLS, GRID

    given = ~(np.isnan(first) | np.isnan(last))
    a, b = np.where(given, first, 0), np.where(given, last, 0)
    return first_fault(
        [~given, (np.minimum(a, b) < 0) | (np.maximum(a, b) >= CELLS), b // GRID < a // GRID, b % GRID < a % GRID],
        [
            "it is not one or two cells",
            "a cell is not on the grid",
            "the last cell is above the first",
            "the last cell is left of the first",
        ],
    )


def _span_faults(spans: pd.DataFrame) -> np.ndarray:
    """For each label null, or what is wrong with its place in the answer."""
    start, end = (spans[name].to_numpy(float) for name in ("start", "end"))
    blank = (spans["text"].fillna("").str.strip() == "").to_numpy(bool)
    return first_fault(
        [np.isnan(start) | np.isnan(end), start < 0, end <= start, end > spans["answer_length"].to_numpy(float), blank],
        [
            "it is not given by two places",
            "it begins before its answer",
            "it has no length",
            "it ends after its answer",
            "it holds no words",
        ],
    )


def _inside(image: pa.Array, keys: pa.Array, there: pa.Array) -> np.ndarray:
    """True where no image is asked about or it has the thing."""
    return image.is_null().to_numpy(zero_copy_only=False) | known(keys, there)


def _area_keys(image: Any, region: Any) -> pa.Array:
    import pyarrow as pa

    number = region if isinstance(region, pa.Array) else pa.array(region, from_pandas=True)
    ids = image if isinstance(image, pa.Array) else pa.array(image, pa.string())
    return paired(ids, number.cast(pa.int64(), safe=False))


def _lengths(flat: pd.DataFrame, texts: dict[str, Any]) -> None:
    """Words of question and answer, and the most each may have by style and origin."""
    import pyarrow.compute as pc

    synthetic = flat["origin"].to_numpy(dtype=object) == "synthetic"
    for column in ("question", "answer"):
        flat[f"{column}_words"] = pc.fill_null(pc.count_substring_regex(texts[column], r"\S+"), 0).to_numpy()
    limit = flat["style"].map(LONGEST).fillna(max(LONGEST.values())).to_numpy(float)
    flat["answer_limit"] = np.where(synthetic, limit, LONGEST_IMPORTED)
    flat["question_limit"] = np.where(synthetic, LONGEST_QUESTION, LONGEST_IMPORTED)


def _taken(values: pa.Array, index: np.ndarray) -> pa.Array:
    """Values by index; null where it is negative."""
    import pyarrow as pa

    return values.take(pa.array(np.maximum(index, 0), mask=index < 0))
