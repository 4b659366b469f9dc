"""Examples: what a model will be shown and told, with the truth drawn in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from iqaflow import tasks
from iqaflow.validate.report import images

if TYPE_CHECKING:
    import pandas as pd

COUNT = 12


def choose(conversations: pd.DataFrame, links: pd.DataFrame, count: int) -> list[str]:
    """Ids of conversations to show: the tasks in turn, each image at most once, the same for the same data."""
    from pandas.util import hash_array

    image_of = links.drop_duplicates("conversation_id").set_index("conversation_id")["image_id"]
    queues = []
    for task in tasks.names():
        ids = conversations.loc[conversations["task"] == task, "conversation_id"].dropna().unique()
        ids = np.asarray(ids, dtype=object)
        queues.append(ids[hash_array(ids).argsort(kind="stable")].tolist())  # the key of the hash is fixed
    chosen: list[str] = []
    used: set[str] = set()
    while len(chosen) < count and any(queues):
        for queue in queues:
            place = next((place for place, name in enumerate(queue) if image_of.get(name) not in used), len(queue))
            if place < len(queue) and len(chosen) < count:
                chosen.append(queue[place])
                used.add(image_of.get(queue[place], ""))
            del queue[: place + 1]
    return chosen


def cards(data: dict[str, pd.DataFrame], folder: Path) -> list[dict[str, Any]]:
    """The chosen conversations: their task, pictures with captions, turns."""
    chosen = choose(data["conversations"], data["conversation_images"], COUNT)
    links, turns, regions = (
        dict(iter(frame[frame["conversation_id"].isin(chosen)].groupby("conversation_id")))
        for frame in (data["conversation_images"], data["turns"], data["target_regions"])
    )
    facts = data["conversations"].drop_duplicates("conversation_id").set_index("conversation_id").loc[chosen]
    shown_ids = {image_id for part in links.values() for image_id in part["image_id"] if isinstance(image_id, str)}
    rows = images.rows(folder, shown_ids)
    shown = []
    for name, task, style, mode, split in facts[["task", "style", "reference_mode", "split"]].itertuples():
        target_regions = {int(region) for region in regions[name]["region_id"].dropna()} if name in regions else set()
        pictures = []
        for link in links[name].itertuples() if name in links else ():
            if link.role != "reference":
                row = rows.get(link.image_id)
                caption = f"{'' if link.role == 'image' else f'Image {link.role}: '}{images.flaws(row)}"
                pictures.append((images.drawn(row, caption, target_regions), caption))
        spoken = turns[name][["role", "text"]].itertuples(index=False) if name in turns else ()
        shown.append(
            {
                "name": name,
                "task": task,
                "style": style,
                "split": split,
                "pictures": pictures,
                "turns": list(spoken),
                "reference": "with the reference" if mode == "fr" else "no reference",
            }
        )
    return shown
