"""Find the region a question means: worst or best overall (HyD), or for a named distortion (SiD) (IQA-Spider, task 3).

The answer is position words, a point and a box: `top left: [dark green region](<147>) [dark green region](<63, 190>)`.
The point is a cell *drawn from the region*, so that the distribution over cells becomes the region's map.
"""

from __future__ import annotations

import numpy as np

from iqaflow import distortions
from iqaflow.tasks.grammar import GRID, WHOLE, Place, position
from iqaflow.tasks.scene import Area, Exchange, Scene, Targets, pick

WORST = (
    "Where is the quality worst?",
    "Which region is degraded the most?",
    "Locate the region with the worst quality.",
    "Point to the most distorted part.",
    "Find the area that suffers the most.",
    "Where are the distortions strongest?",
)
BEST = (
    "Which distorted region is degraded the least?",
    "Locate the distorted region with the best quality.",
    "Point to the least distorted of the faulty parts.",
    "Where are the distortions weakest?",
)
WORST_OF = (
    "Where is the {} strongest?",
    "Locate the region with the most {}.",
    "Point to the part most affected by {}.",
)
BEST_OF = ("Where is the {} weakest?", "Locate the region with the least {}.")


def asked(kind: str) -> str:
    """The question of a kind: `worst`, `best`, `worst_CATEGORY`, `best_CATEGORY`."""
    which, _, category = kind.partition("_")
    if not category:
        return (WORST if which == "worst" else BEST)[0]
    return (WORST_OF if which == "worst" else BEST_OF)[0].format(distortions.phrase(category))


def questions(scene: Scene, reference: bool, rng: np.random.Generator) -> list[Exchange]:
    if reference or not scene.flaws or not scene.visible(reference):
        return []
    if scene.whole:
        flaw = pick(rng, scene.flaws)
        exchanges = [_whole(scene, pick(rng, WORST), "worst")]
        if rng.random() < 0.5:
            pool = pick(rng, WORST_OF).format(distortions.phrase(flaw.category))
            exchanges.append(_whole(scene, pool, f"worst_{flaw.category}"))
        return exchanges
    exchanges = []
    areas = sorted(scene.faulty_areas, key=lambda area: area.score)
    exchanges.append(_local(scene, areas[0], pick(rng, WORST), "worst", rng))
    # a second question with another drawn cell: the map is learnt from draws
    exchanges.append(_local(scene, areas[0], pick(rng, WORST), "worst", rng))
    if len(areas) > 1 and areas[-1].score - areas[0].score > 0.05:
        exchanges.append(_local(scene, areas[-1], pick(rng, BEST), "best", rng))
    category = pick(rng, scene.flaws).category
    same = [area for area in areas if any(flaw.category == category for flaw in scene.flaws_of(area.region))]
    exchanges.append(_local(scene, same[0], pick(rng, WORST_OF).format(distortions.phrase(category)),
                            f"worst_{category}", rng))
    if len(same) > 1 and same[-1].score - same[0].score > 0.05:
        exchanges.append(_local(scene, same[-1], pick(rng, BEST_OF).format(distortions.phrase(category)),
                                f"best_{category}", rng))
    return exchanges


def _whole(scene: Scene, question: str, kind: str) -> Exchange:
    targets = Targets(tuple(flaw.category for flaw in scene.flaws), kind=kind)
    return Exchange("ground", "brief", question, WHOLE, targets, (WHOLE,))


def _local(scene: Scene, area: Area, question: str, kind: str, rng: np.random.Generator) -> Exchange:
    vertical, horizontal = position(area.box, scene.width, scene.height)
    point = Place(area.label, drawn_cell(area.mask, rng))
    answer = f"{vertical} {horizontal}: {point} {scene.place(area)}"
    flaws = scene.flaws_of(area.region)
    targets = Targets(tuple(flaw.category for flaw in flaws), tuple(float(flaw.level) for flaw in flaws), (area.region,),
                      (scene.cells(area),), kind=kind)
    return Exchange("ground", "brief", question, answer, targets, (vertical, horizontal))


def drawn_cell(mask: np.ndarray, rng: np.random.Generator) -> int:
    """The cell of a pixel drawn uniformly from a mask (H, W)."""
    rows, columns = np.nonzero(mask)
    chosen = int(rng.integers(len(rows)))
    return int(rows[chosen] * GRID // mask.shape[0]) * GRID + int(columns[chosen] * GRID // mask.shape[1])
