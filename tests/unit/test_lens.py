"""The lens's map on constructed chances: which distortions of a place count for which question."""

from __future__ import annotations

import numpy as np
import pytest

from iqaflow import distortions
from iqaflow.engine.logit_lens import Lens
from iqaflow.tasks import ground
from iqaflow.tasks.grammar import GRID
from iqaflow.tasks.vocabulary import current

CATEGORIES = sorted(distortions.categories())
LEFT, RIGHT = np.s_[:, : GRID // 2 - 1], np.s_[:, GRID // 2 + 1 :]  # off the seam, where the map is interpolated


def lens(left: dict[str, float], right: dict[str, float], levels: tuple[int, int] = (5, 5), side: int = GRID) -> Lens:
    """Two halves of an image with the chances of their distortions, the rest being clean, each surely of one level."""
    chances = np.zeros((side, side, len(CATEGORIES) + 1), np.float32)
    severities = np.zeros((side, side, 5), np.float32)
    for half, given, level in ((np.s_[:, : side // 2], left, levels[0]), (np.s_[:, side // 2 :], right, levels[1])):
        for name, chance in given.items():
            chances[half][..., CATEGORIES.index(name) + 1] = chance
        chances[half][..., 0] = 1 - sum(given.values())
        severities[half][..., level - 1] = 1
    return Lens([chances], [severities], current())


def halves(made: Lens, kind: str) -> tuple[float, float]:
    map_ = made.map(0, ground.plain_question(kind))
    for half in (LEFT, RIGHT):
        assert np.ptp(map_[half]) < 1e-6
    return float(map_[0, 0]), float(map_[0, -1])


def test_the_worst_place_has_anything_and_a_named_one_only_that():
    made = lens({"noise": 0.6, "blur": 0.3}, {"blur": 0.5})
    assert halves(made, "worst") == pytest.approx((0.9, 0.5), abs=1e-5)
    assert halves(made, "worst_noise") == pytest.approx((0.6, 0.0), abs=1e-5)
    assert halves(made, "worst_blur") == pytest.approx((0.3, 0.5), abs=1e-5)


def test_levels_weigh_and_the_least_prefers_the_weak():
    made = lens({"noise": 1.0}, {"noise": 1.0}, levels=(2, 4))
    assert halves(made, "worst") == halves(made, "worst_noise") == pytest.approx((0.4, 0.8), abs=1e-5)
    assert halves(made, "best") == halves(made, "best_noise") == pytest.approx((0.8, 0.4), abs=1e-5)  # 1.2 less the level
    clean = lens({"noise": 1.0}, {"noise": 0.01}, levels=(4, 1))
    weak, least = halves(clean, "best_noise")
    assert weak == pytest.approx(0.4) and least == pytest.approx(0.01)  # a place without the distortion is not its weakest


def test_two_named_distortions_need_both():
    made = lens({"noise": 0.64, "blur": 0.36}, {"noise": 0.99})
    both, one = halves(made, "order_blur_noise")
    assert both == pytest.approx(0.48, abs=1e-4)  # sqrt(.64 * .36)
    assert one < 0.002


def test_what_came_first_needs_the_named_one_and_another():
    made = lens({"blur": 0.36, "noise": 0.64}, {"blur": 1.0})
    assert halves(made, "first_blur") == pytest.approx((0.48, 0.0), abs=1e-4)
    assert halves(made, "last_blur") == pytest.approx((0.36, 1.0), abs=1e-5)  # the last one covers what was before


@pytest.mark.parametrize(("side", "shown"), [(4, GRID), (GRID, GRID), (33, 33)])
def test_the_map_has_a_cell_for_every_token_and_no_fewer_than_the_grid(side, shown):
    map_ = lens({"noise": 0.8}, {}, side=side).map(0, ground.plain_question("worst"))
    assert map_.shape == (shown, shown)
    assert map_[:, 0] == pytest.approx(np.full(shown, 0.8)) and map_[:, -1] == pytest.approx(np.zeros(shown))
    assert (np.diff(map_, axis=1) <= 1e-6).all()  # no overshoot between


def test_a_map_is_of_its_own_image():
    one, two = lens({"noise": 0.5}, {}), lens({}, {"blur": 0.7})
    both = Lens([*one.chances, *two.chances], [*one.severities, *two.severities], current())
    for item, alone in enumerate((one, two)):
        assert (both.map(item, ground.plain_question("worst")) == alone.map(0, ground.plain_question("worst"))).all()
