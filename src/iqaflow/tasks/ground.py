"""Find the region a question means (IQA-Spider, task 3): worst or best overall (HyD), for a named distortion (SiD), or by
the order of its two distortions (DAO).

The answer is position words, a point and a box: `top left: [dark green region](<147>) [dark green region](<63, 190>)`.
The point is a cell *drawn from the region*, so that the distribution over cells becomes the region's map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import isnan

import numpy as np

from iqaflow import distortions
from iqaflow.data.rows import ConversationRow, ImageRow
from iqaflow.tasks.grading import checks
from iqaflow.tasks.grammar import GRID, WHOLE, Place, position
from iqaflow.tasks.phrasing import draw
from iqaflow.tasks.phrasing import ground as phrasing
from iqaflow.tasks.scene import Area, Exchange, Flaw, Scene, Targets, levels, pick
from iqaflow.tasks.task import Counted, Task

POOLS = {"worst": phrasing.WORST, "best": phrasing.BEST}
POOLS_OF = {
    "worst": phrasing.WORST_OF,
    "best": phrasing.BEST_OF,
    "order": phrasing.ORDER,
    "first": phrasing.FIRST,
    "last": phrasing.LAST,
}
# orders people can tell apart (IQA-Spider, table of orders)
ORDERS = (
    ("blur", "compression"),
    ("blur", "noise"),
    ("compression", "blur"),
    ("compression", "noise"),
    ("contrast_weaken", "noise"),
    ("contrast_weaken", "blur"),
    ("contrast_weaken", "compression"),
    ("contrast_weaken", "pixelate"),
    ("contrast_weaken", "saturate_weaken"),
    ("pixelate", "noise"),
    ("saturate_weaken", "noise"),
)
CLEAR_GAP = 0.05  # regions whose scores differ less have no best or worst


def plain_question(kind: str, phrase: Callable[[str], str] = distortions.phrase) -> str:
    """The test question of a kind: `worst`, `best`, `worst_CATEGORY`, `best_CATEGORY`, `order_FIRST_SECOND`,
    `first_CATEGORY`, `last_CATEGORY`. `phrase` gives the words of a category.
    """
    return worded(kind, lambda pool: pool[0], phrase)


def worded(kind: str, choose: Callable[[Sequence[str]], str], phrase: Callable[[str], str] = distortions.phrase) -> str:
    """A question of a kind; `choose` takes one of a pool."""
    which, _, rest = kind.partition("_")
    if not rest:
        return choose(POOLS[which])
    names = (rest,) if which != "order" else next(pair for pair in ORDERS if rest == "_".join(pair))
    return choose(POOLS_OF[which]).format(*map(phrase, names))


def questions(scene: Scene, reference: bool, rng: np.random.Generator, plain: bool = False) -> list[Exchange]:
    if reference or not scene.flaws or not scene.visible(reference):
        return []

    def question(kind: str) -> str:
        return worded(kind, lambda pool: draw(rng, pool, plain))

    if scene.whole:
        kinds = ["worst"]
        if rng.random() < 0.5:
            kinds.append(f"worst_{pick(rng, scene.flaws).category}")
        return [_whole(scene, question(kind), kind) for kind in kinds]
    places = [*_overall(scene), *(_named(scene, pick(rng, scene.placed)) if scene.placed else ()), *_orders(scene)]
    if places and not plain:  # a second question with another drawn cell: the map is learnt from draws
        places.append(places[0])
    return [_local(scene, area, question(kind), kind, rng) for kind, area in places]


def _overall(scene: Scene) -> Iterator[tuple[str, Area]]:
    quality = {area.region: area.score for area in scene.faulty_areas}
    scored = not any(map(isnan, quality.values()))
    if not scored:  # all distortions together (IQA-Spider's own measure)
        quality = {region: -sum(flaw.level for flaw in scene.flaws_of(region)) for region in quality}
    areas = sorted(scene.faulty_areas, key=lambda area: quality[area.region])
    ranks = [quality[area.region] for area in areas]
    if len(areas) == 1 or (scored and not scene.ordered) or ranks[1] - ranks[0] > CLEAR_GAP:
        yield "worst", areas[0]
    if ranks[-1] - ranks[0] > CLEAR_GAP and (scored or ranks[-1] > ranks[-2]):
        yield "best", areas[-1]


def _named(scene: Scene, category: str) -> Iterator[tuple[str, Area]]:
    """The regions where one distortion is strongest and weakest. Where regions have other distortions too, or no scores, levels
    decide.
    """
    levels = {
        area.region: flaw.level for area in scene.faulty_areas for flaw in scene.own(area.region) if flaw.category == category
    }
    alone = len(scene.flaws) == len(scene.faulty_areas)
    if alone and not any(isnan(area.score) for area in scene.faulty_areas):
        same = sorted((area for area in scene.faulty_areas if area.region in levels), key=lambda area: area.score)
        yield f"worst_{category}", same[0]
        if same[-1].score - same[0].score > CLEAR_GAP:
            yield f"best_{category}", same[-1]
        return
    ranked = sorted(levels, key=lambda region: -levels[region])
    if len(ranked) == 1 or levels[ranked[0]] > levels[ranked[1]]:
        yield f"worst_{category}", scene.area(ranked[0])
    if len(ranked) > 1 and levels[ranked[-1]] < levels[ranked[-2]]:
        yield f"best_{category}", scene.area(ranked[-1])


def _orders(scene: Scene) -> Iterator[tuple[str, Area]]:
    """Questions about orders that exactly one region has. Only distortions of our own have a known order."""
    orders: dict[int, tuple[Flaw, ...]] = {}
    for area in scene.faulty_areas:
        flaws = scene.own(area.region)
        if len(flaws) == 2 and {flaw.name for flaw in flaws} <= set(distortions.names()):
            orders[area.region] = flaws
    pairs = {region: (first.category, last.category) for region, (first, last) in orders.items()}
    for region, pair in pairs.items():
        for kind, count in (
            (f"order_{'_'.join(pair)}", list(pairs.values()).count(pair)),
            (f"first_{pair[0]}", [first for first, _ in pairs.values()].count(pair[0])),
            (f"last_{pair[1]}", [last for _, last in pairs.values()].count(pair[1])),
        ):
            if pair in ORDERS and count == 1:
                yield kind, scene.area(region)


def _whole(scene: Scene, question: str, kind: str) -> Exchange:
    targets = Targets(tuple(flaw.category for flaw in scene.flaws), kind=kind)
    return Exchange("ground", "brief", question, WHOLE, targets, (WHOLE,))


def _local(scene: Scene, area: Area, question: str, kind: str, rng: np.random.Generator) -> Exchange:
    vertical, horizontal = position(area.box, scene.width, scene.height)
    point = Place(area.label, drawn_cell(area.mask, rng))
    answer = f"{vertical} {horizontal}: {point} {scene.place(area)}"
    flaws = scene.flaws_of(area.region)
    targets = Targets(tuple(flaw.category for flaw in flaws), levels(flaws), (area.region,), (scene.cells(area),), kind=kind)
    return Exchange("ground", "brief", question, answer, targets, (vertical, horizontal))


def drawn_cell(mask: np.ndarray, rng: np.random.Generator) -> int:
    """The cell of a pixel drawn uniformly from a mask (H, W)."""
    inside = np.flatnonzero(mask)
    row, column = divmod(int(inside[int(rng.integers(len(inside)))]), mask.shape[1])
    return row * GRID // mask.shape[0] * GRID + column * GRID // mask.shape[1]


def _item(row: ConversationRow, image: ImageRow) -> Counted:
    targets = row["targets"]
    kind, wanted = targets["kind"] or "", set(targets["region_ids"] or [])
    levels = [
        float(entry["level"]) for entry in image["distortions"] if entry["level"] is not None and entry["region_id"] in wanted
    ]
    strongest = max(levels, default=None)
    if not wanted:
        return Counted("whole", WHOLE, strongest)
    sort = kind.partition("_")[0]
    return Counted("dao" if sort in ("order", "first", "last") else "hyd" if kind == sort else "sid", kind, strongest)


TASK = Task(
    name="ground",
    about="region",
    questions=questions,
    headline="miou",
    item=_item,
    check=lambda answer, meant: checks.boxes(answer, meant, needed=True),
    # the strongest of one is that one
    ungraded=lambda scene, exchange: scene.whole or len(scene.faulty_areas) == 1,
    place=5,
    question_place=5,
    benchmarked=4,
)
