"""The parts of validate that need no Great Expectations: leaks, balance, chance, frames, and what goes into the page."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from iqaflow.validate import suites
from iqaflow.validate.check import REMEDIES, remedy
from iqaflow.validate.checks import balance, chance, flatten, leakage, presence
from iqaflow.validate.expectations import plain
from iqaflow.validate.report import examples


def photographs(*rows):
    """Images frame from (source_id, sha256, phash, split)."""
    frame = pd.DataFrame(rows, columns=["source_id", "source_sha256", "phash", "split"])
    frame["image_id"] = [f"i{number}" for number in range(len(frame))]
    frame["dataset"] = "synthetic"
    return leakage.photographs(frame).set_index("source_id")


def test_leaks_between_splits():
    found = photographs(
        ("a", "1", "00000000000000ff", "train"),
        ("a", "1", "00000000000000ff", "train"),
        ("b", "2", "00000000000000f0", "test"),  # 4 bits from a
        ("c", "3", "ffffffffffffffff", "train"),
        ("d", "3", "ffffffffffffffff", "test"),  # the bytes of c under another name
        ("e", "5", "0f0f0f0f0f0f0f0f", "train"),
        ("e", "5", "0f0f0f0f0f0f0f0f", "calibration"),
    )
    assert found["split_count"].to_dict() == {"a": 1, "b": 1, "c": 1, "d": 1, "e": 2}
    assert found.loc["e", "splits"] == "calibration, train"
    assert found["byte_split_count"].to_dict() == {"a": 1, "b": 1, "c": 2, "d": 2, "e": 2}
    assert found.loc["a", "nearest_distance"] == 4 and found.loc["a", "nearest_photograph"] == "b"
    assert found.loc["c", "nearest_distance"] == 0 and found.loc["c", "nearest_photograph"] == "d"
    assert (found["contents"] == 1).all()


def test_look_alikes_inside_a_split_are_no_leak_and_bad_hashes_no_crash():
    found = photographs(("a", "1", "00000000000000ff", "train"), ("b", "2", "00000000000000ff", "train"))
    assert found["nearest_distance"].isna().all()
    found = photographs(("a", "1", "xyz", "train"), ("b", "2", None, "test"), ("c", "3", "-00000000000000f", "test"))
    assert found["nearest_distance"].isna().all()


def test_look_alikes_are_found_as_by_comparing_all_with_all():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**63, 1500).astype(np.uint64)
    for number in range(0, 300, 2):  # near-duplicates at 0..7 bits
        flips = rng.choice(64, int(rng.integers(8)), replace=False)
        values[number + 1] = values[number] ^ np.bitwise_or.reduce(np.uint64(1) << flips.astype(np.uint64), initial=np.uint64(0))
    splits = rng.choice(["train", "calibration", "test"], 1500)
    found = photographs(*((f"p{i:04d}", str(i), f"{int(values[i]):016x}", splits[i]) for i in range(1500)))
    bits = np.bitwise_count(values[:, None] ^ values[None, :]).astype(float)
    bits[splits[:, None] == splits[None, :]] = 99
    nearest = bits.min(1)
    wanted = np.where(nearest <= leakage.REACH, nearest, np.nan)
    assert np.array_equal(found["nearest_distance"].to_numpy(float), wanted, equal_nan=True) and (wanted <= 5).sum() > 50
    close = wanted <= leakage.REACH
    assert found["nearest_photograph"].to_numpy()[close].tolist() == [f"p{i:04d}" for i in bits.argmin(1)[close]]


def test_a_crowd_of_equal_hashes_is_no_trouble():
    rows = [(f"p{i}", str(i), "00000000000000ff", "train" if i % 2 else "test") for i in range(3000)]
    found = photographs(*rows, ("alone", "x", "ff00000000000000", "test"))
    assert (found["nearest_distance"].iloc[1:] == 0).all() and np.isnan(found.loc["alone", "nearest_distance"])


def test_what_must_be_given_depends_on_the_origin():
    frame = pd.DataFrame({name: ["x"] * 3 for name in (*presence.ALWAYS["images"], *presence.SYNTHETIC["images"])})
    frame["origin"] = ["synthetic", "authentic", "synthetic"]
    frame["score"] = [None, None, 0.5]
    frame.loc[2, "license"] = None
    assert presence.missing(frame, "images").tolist() == ["score", None, "license"]


@pytest.mark.parametrize("n", [1, 10, 100, 1000])
@pytest.mark.parametrize("p", [1 / 36, 0.3, 2 / 3])
def test_bounds_hold_for_what_chance_gives(n, p):
    """The exact binomial tail beyond each bound is less than one in a million, and bounds close in on p."""
    from scipy.stats import binom

    low, high = chance.least(n, p), chance.most(n, p)
    assert 0 <= low <= p <= high <= 1
    assert binom.cdf(np.ceil(low * n) - 1, n, p) <= chance.ALARM and binom.sf(np.floor(high * n), n, p) <= chance.ALARM
    assert chance.most(100 * n, p) - p < high - p or high == 1.0
    assert chance.least(10**7, p) > 0.95 * p


def asked(n, **columns):
    """A conversations frame of `n` training rows about as many images."""
    row = {
        "origin": "synthetic",
        "split": "train",
        "task": "score",
        "kind": "image",
        "answer": "good",
        "better": None,
        "question": "How good is it?",
        "target_categories": "",
        "target_regions": "",
        "target_boxes": "",
    } | columns
    frame = pd.DataFrame({name: value if isinstance(value, list) else [value] * n for name, value in row.items()})
    return frame.assign(conversation_id=[f"c{i}" for i in range(n)], shown=[f"image=i{i}" for i in range(n)])


@pytest.mark.parametrize(("n", "stops"), [(10, False), (200, True)])
def test_small_sets_are_not_failed_for_what_they_cannot_show(n, stops):
    phrases = balance.phrases(asked(n)).set_index("task").loc["score"]
    assert (phrases.top_share > phrases.top_limit) == stops == (phrases.wordings < phrases.wordings_needed)
    yes = balance.choices(asked(n, task="vqa", kind="yesno_blur", answer="Yes"))
    mine = yes[(yes["split"] == "train") & (yes["choice"] == "vqa: Yes")].iloc[0]
    assert mine.share == 1.0 and (mine.share > mine.high) == stops
    assert balance.phrases(asked(n, origin="imported"))["questions"].sum() == 0


def test_wordings_leave_out_what_differs_from_image_to_image():
    texts = pd.Series(
        [
            "Is the [sky](<0, 63>) at the top left affected by blur? Answer with a single word or phrase.",
            "Is the [red region](<7, 9>) affected by insufficient contrast?",
        ]
    )
    assert balance.wording(texts).tolist() == ["Is the REGION affected by DISTORTION?"] * 2


def test_contradictions_name_the_earlier_row():
    frame = asked(4, target_categories=["blur", "noise", "blur", "blur"], shown="x")
    frame["shown"] = ["a", "a", "a", "b"]
    assert balance.contradictions(frame).tolist() == [None, "c0", None, None]
    assert balance.contradictions(frame.assign(origin="imported")).tolist() == [None] * 4


def test_nested_columns_become_flat_ones():
    import pyarrow as pa

    lists = pa.array([[[1, 2], None, [3]], None, [], [[4, 5, 6], [7, None]]])
    parents, values = flatten.items(lists)
    assert parents.tolist() == [0, 0, 0, 3, 3] and flatten.numbered(parents).tolist() == [0, 1, 2, 0, 1]
    assert flatten.at(values, 0, (1, 2)).to_pylist() == [1, None, 3, None, None]
    assert flatten.at(values, -1, (1, 2)).to_pylist() == [2, None, 3, None, None]
    words = pa.array(["a", None, "b", "c", "d"])
    assert flatten.joined(parents, words, 4).to_pylist() == ["a None b", "", "", "c d"]
    pieces = pa.chunked_array([lists.slice(0, 2), lists.slice(2)])
    assert flatten.items(pieces)[0].tolist() == parents.tolist() and flatten.items(lists.slice(2))[0].tolist() == [1, 1]


def test_every_check_has_a_remedy_and_a_place_in_the_report():
    from iqaflow.validate.checks import frames
    from iqaflow.validate.report import page

    rules = suites.layout() | suites.content(2)
    assert set(rules) == set(page.TABLES) == set(frames.IDS)
    assert all("`iqaflow annotate`" in remedy(table, "anything") for table in rules)
    assert {name.partition(".")[0] for name in REMEDIES} <= set(rules)


def test_values_in_the_verdict_are_strict_json():
    assert plain(np.float32(0.1)) == 0.1 and plain(float("nan")) == "nan" and plain(np.inf) == "inf"
    assert plain(np.int64(3)) == 3 and plain(4.0) == 4 and plain(np.bool_(True)) is True and plain(None) is None
    assert len(plain("x" * 999)) == 200


def test_examples_take_the_tasks_in_turn_and_no_image_twice():
    conversations = pd.DataFrame(
        {"conversation_id": [f"c{number}" for number in range(60)], "task": ["identify", "rate", "vqa"] * 20}
    )
    links = pd.DataFrame(
        {"conversation_id": conversations["conversation_id"], "image_id": [f"i{number // 3}" for number in range(60)]}
    )
    chosen = examples.choose(conversations, links, 12)
    task = conversations.set_index("conversation_id")["task"]
    assert [task[name] for name in chosen[:6]] == ["identify", "rate", "vqa"] * 2
    image = links.set_index("conversation_id")["image_id"]
    assert len(chosen) == 12 == len({image[name] for name in chosen})
    assert examples.choose(conversations.iloc[::-1], links.iloc[::-1], 12) == chosen
    assert len(examples.choose(conversations, links, 100)) == 20  # there are only twenty images


def test_importing_is_light():
    code = (
        "import sys, iqaflow.validate.stage, iqaflow.validate.report.page, iqaflow.validate.suites; "
        "print([name for name in ('great_expectations', 'pandas', 'torch', 'cv2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
