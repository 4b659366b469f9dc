"""People's opinion scores: read from their tables, made rows, learnt as distributions over the rating words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iqaflow import sources
from iqaflow.annotate import imports
from iqaflow.annotate.imports import Item
from iqaflow.core import config
from iqaflow.core.config.schema import Labelled
from iqaflow.core.errors import ConfigError, InputError
from iqaflow.core.workspace import Workspace
from iqaflow.tasks import grammar
from iqaflow.tasks import score as rating

OFFICIAL = Path(__file__).parents[3] / "shared" / "data" / "score_tables"


def read(tmp_path: Path, text: str, scale: tuple[float, float] | None = None) -> tuple[list[Item], list[tuple[str, str]]]:
    path = tmp_path / "scores.csv"
    path.write_text(text, encoding="utf-8")
    return read_file(path, scale)


def read_file(path: Path, scale: tuple[float, float] | None = None) -> tuple[list[Item], list[tuple[str, str]]]:
    left_out: list[tuple[str, str]] = []
    told = Labelled(name="people", format="scores", path=str(path), images="images", scale=scale)
    return imports.read(told, Workspace(path.parent), lambda what, why: left_out.append((what, why))), left_out


def test_scores_with_spread_on_a_scale_that_is_found_out(tmp_path) -> None:
    items, left_out = read(tmp_path, "image,mos,std,n\na/b.jpg,1,0.4,20\nc.jpg,3,0.8,20\nd.jpg,5,,1\ne.jpg,4.2,0.3,1\n")
    assert not left_out
    assert [item.images for item in items] == [(("image", name),) for name in ("a/b.jpg", "c.jpg", "d.jpg", "e.jpg")]
    assert [item.score for item in items] == pytest.approx([0, 0.5, 1, 0.8])
    assert [item.spread for item in items[:2]] == pytest.approx([0.1, 0.2])
    assert [item.spread for item in items[2:]] == [None, None]  # one opinion has no spread
    assert {item.score_source for item in items} == {"human (scores.csv: mos, 1..5 found out)"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("0.2 0.9 0.5", "0..1"),
        ("1.2 4.9 3", "1..5"),
        ("0.4 4.9 3", "0..5"),
        ("1.5 9 3", "1..10"),
        ("0 9 3", "0..10"),
        ("12 96 3", "0..100"),
    ],
)
def test_usual_scales(tmp_path, values: str, said: str) -> None:
    rows = "".join(f"{at}.png,{value}\n" for at, value in enumerate(values.split()))
    items, left_out = read(tmp_path, f"image,mos\n{rows}")
    assert not left_out and f"{said} found out" in items[0].score_source
    items, _ = read(tmp_path, f"file_name,DMOS\n{rows}")
    assert f"{said} found out, lower is better" in items[0].score_source
    low, high = map(float, said.split(".."))
    assert [item.score for item in items] == pytest.approx([(high - float(value)) / (high - low) for value in values.split()])


def test_a_given_scale_overrules_the_name_of_the_column(tmp_path) -> None:
    # KADID-10k calls its scores dmos, has them from 1 to 5, higher is better, and gives variances
    items, _ = read(tmp_path, "dist_img,ref_img,dmos,var\nI01.png,I.png,4.0,0.64\n", (1, 5))
    assert items[0].score == pytest.approx(0.75) and items[0].spread == pytest.approx(0.2)
    assert items[0].score_source == "human (scores.csv: dmos, 1..5 as given)"
    items, _ = read(tmp_path, "image,mos\na.png,30\n", (100, 0))
    assert items[0].score == pytest.approx(0.7) and "0..100 as given, lower is better" in items[0].score_source


def test_other_spellings(tmp_path) -> None:
    items, left_out = read(tmp_path, "\ufeffImage name;MOS;SD\na.png;3,25;0,5\n\nb.png;4;0,5\n")
    assert not left_out and [item.score for item in items] == pytest.approx([0.5625, 0.75])
    assert items[0].spread == pytest.approx(0.125)
    items, _ = read(tmp_path, "dis_img_path\tdis_type\tscore\nx/a b.png\tblur\t50\n")
    assert items[0].images == (("image", "x/a b.png"),) and items[0].score == 0.5


def test_bad_rows_are_named_and_left_out(tmp_path) -> None:
    many = "".join(f"{at}.png,{1 + at % 5},0.5,9\n" for at in range(150))
    items, left_out = read(
        tmp_path,
        f"image,mos,std,n\n{many}0.png,2,0.5,9\nx.png,NaN,0.5,9\ny.png,44,0.5,9\n,3,0.5,9\n"
        "../z.png,3,0.5,9\nw.png,,0.5,9\nv.png,3,0.5,0\nu.png,3,-1,9\nshort.png\nt.png,3,5,9\n",
    )
    assert [item.images[0][1] for item in items[150:]] == ["u.png", "t.png"] and items[150].spread is items[151].spread is None
    assert left_out == [
        ("row 152 (0.png)", "row 2 rates this image already"),
        ("row 153 (x.png)", "its score is missing or no number"),
        ("row 154 (y.png)", "its score 44 lies outside 1..5 found out"),
        ("row 155", "its image name is missing or leads outside the folder"),
        ("row 156", "its image name is missing or leads outside the folder"),
        ("row 157 (w.png)", "its score is missing or no number"),
        ("row 158 (v.png)", "nobody rated it"),
        ("row 159 (u.png): its spread alone", "std is '-1', no spread of opinions"),
        ("row 160 (short.png)", "its score is missing or no number"),
        ("row 161 (t.png): its spread alone", "std is '5', more than the whole scale 1..5 found out"),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no column for the image and the score among none"),
        ("photo,mark\na.png,3\n", "has no column for the image and the score among photo, mark"),
        ("image,mos\n", "has no number in its column mos"),
        ("image,mos\na.png,good\n", "has no number in its column mos"),
        ("image,mos\na.png,1520\nb.png,900\n", r"from 900 to 1520, on no usual scale: say which by `scale: \[worst, best\]`"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_hostile_cells_never_raise(tmp_path) -> None:
    rng = np.random.default_rng(0)
    cells = [
        "",
        "a.jpg",
        "../a.jpg",
        "/etc/passwd",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "-0",
        "3",
        "4.5",
        '"',
        "=1+1",
        "x" * 9000,
        "\0",
        "3,5",
    ]
    for _ in range(200):
        lines = [",".join(cells[int(at)] for at in rng.integers(len(cells), size=rng.integers(1, 7))) for _ in range(8)]
        try:
            items, _ = read(tmp_path, "\n".join(["image,mos,std,n", *lines]))
        except InputError as error:
            assert "scores.csv" in str(error) and "\n" not in str(error)
            continue
        assert all(0 <= item.score <= 1 and ".." not in Path(item.images[0][1]).parts for item in items)
        assert all(item.spread is None or 0 <= item.spread <= 1 for item in items)


def test_a_file_that_is_no_text(tmp_path) -> None:
    (tmp_path / "scores.csv").write_bytes(b"\xff\xfe\x00image,mos")
    with pytest.raises(InputError, match="cannot be read as CSV"):
        read_file(tmp_path / "scores.csv")
    with pytest.raises(InputError, match=r"nowhere\.csv does not exist"):
        read_file(tmp_path / "nowhere.csv")


# number of scores, scale that is found out (or given where there is no usual one), how many lie outside
@pytest.mark.parametrize(
    ("table", "count", "said", "given"),
    [
        ("KonIQ-10k", 10073, "1..5 found out", None),
        ("KADID-10k", 10125, "1..5 found out", None),
        ("SPAQ", 11125, "0..100 found out", None),
        ("LIVE_Challenge", 1161, "0..100 found out", None),
        ("TID2013", 3000, "0..9 as given", (0, 9)),
        ("PIPAL", 23200, "900..1850 as given", (900, 1850)),
        ("CSIQ", 866, "0..1 as given, lower is better", (1, 0)),
        ("MDID2013", 324, "0..1 as given, lower is better", (1, 0)),
        ("LIVE", 779, "-3..112 as given, lower is better", (112, -3)),
        ("LIVE_MD", 450, "0..100 as given, lower is better", (100, 0)),
    ],
)
def test_official_tables(table: str, count: int, said: str, given: tuple[float, float] | None) -> None:
    path = OFFICIAL / f"{table}.csv"
    if not path.is_file():
        pytest.skip(f"{path} is not here: official score tables are not part of the project")
    items, left_out = read_file(path, given)
    assert len(items) == count and not left_out and said in items[0].score_source
    last = path.read_text().splitlines()[-1].split(",")
    low, high = given or map(float, said.split()[0].split(".."))
    assert items[-1].images[0][1] == last[0] and items[-1].score == pytest.approx((float(last[-1]) - low) / (high - low))


def test_hand_computed_shares() -> None:
    assert rating.shares(0.5).tolist() == [0, 0, 1, 0, 0]
    assert rating.shares(0.6).tolist() == pytest.approx([0, 0, 0.6, 0.4, 0])
    # a Gaussian in the middle needs no correction: exp(-x^2/2) at -2, -1, 0, 1, 2 steps
    plain = np.exp([-2, -0.5, 0, -0.5, -2])
    assert rating.shares(0.5, 0.25) == pytest.approx(plain / plain.sum())
    # at .375, half way between two words, the centre c moves until p1 + 2 p2 + 3 p3 + 4 p4 = 1.5: weights exp(-(k - c)^2 / 2)
    shares = rating.shares(0.375, 0.25)
    assert shares == pytest.approx([0.1427, 0.3687, 0.3504, 0.1225, 0.0158], abs=1e-4)
    assert np.diff(np.log(shares), 2) == pytest.approx(-1.0)  # what makes it a Gaussian of one step, wherever its centre


@pytest.mark.parametrize("spread", [0.0, 0.01, 0.05, 0.15, 0.3, 1.0])
@pytest.mark.parametrize("value", [0.0, 1e-4, 0.1, 0.37, 0.5, 0.93, 1.0])
def test_shares_keep_the_mean(value: float, spread: float) -> None:
    shares = rating.shares(value, spread)
    assert shares.min() >= 0 and shares.sum() == pytest.approx(1) and shares @ rating.VALUES == pytest.approx(value, abs=1e-6)


def test_little_spread_is_linear_and_more_spread_is_wider() -> None:
    assert rating.shares(0.6, 0.021) == pytest.approx(rating.shares(0.6), abs=1e-6)
    deviations = [np.sqrt(rating.shares(0.5, spread) @ (np.array(rating.VALUES) - 0.5) ** 2) for spread in (0.1, 0.15, 0.2, 0.3)]
    assert deviations == sorted(deviations) and deviations[1:3] == pytest.approx([0.15, 0.2], abs=0.02)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A folder of photographs with scores.csv, its parameters, and the annotated data set made of it."""
    from iqaflow.annotate import stage

    root = tmp_path_factory.mktemp("scored")
    folder = root / "photos"
    folder.mkdir()
    lines = ["image,mos,std"]
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (5, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((96, 80), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{10 + 7 * number}," + ("" if number % 2 else "20"))
    (folder / "scores.csv").write_text("\n".join([*lines, "gone.png,50,5", ""]))
    chosen = config.load(
        overrides=(
            "source.kind=folder",
            f"source.path={folder}",
            "source.scores=scores.csv",
            "source.min_side_px=64",
            "annotate.images.train=2",
            "annotate.images.calibration=2",
            "annotate.images.test=2",
            "annotate.sizes_px=[[64, 64]]",
            "train.base=scratch",
            "train.ratings=distribution",
            "train.max_steps=3",
            "train.micro_batch=2",
            "train.dense=0",
            "train.max_pixels=4096",
            "resources.engine=sequential",
            "resources.ranks=1",
        )
    )
    workspace = Workspace(root / "work")
    return chosen, workspace, stage.run(chosen, workspace)


def test_a_folder_with_scores_becomes_rows(scored) -> None:
    from iqaflow.data.tables import read_rows

    _, workspace, result = scored
    assert "Scores of `scores`: human (scores.csv: mos, 0..100 found out)." in result.markdown
    assert [one["reason"] for one in result.details["quarantine"]] == ["there is no photograph gone.png in its `images`"]
    rows = [row for row in read_rows(workspace.annotated, "images") if row["dataset"] == "scores"]
    assert len(rows) == 12 and {row["origin"] for row in rows} == {"authentic"}
    for row in rows:
        number = int(row["source_origin"].removesuffix(".png"))
        assert row["score"] == pytest.approx((10 + 7 * number) / 100) and row["distortions"] == []
        assert row["score_std"] is None if number % 2 else row["score_std"] == pytest.approx(0.2)
        assert row["score_source"] == "human (scores.csv: mos, 0..100 found out)"
    made = {row["source_sha256"]: row["split"] for row in read_rows(workspace.annotated, "images", origin="synthetic")}
    assert all(made.get(row["source_sha256"], row["split"]) == row["split"] for row in rows)  # split by photograph
    asked = [row for row in read_rows(workspace.annotated, "conversations") if row["dataset"] == "scores"]
    assert {row["task"] for row in asked} == {"score"} and {row["turns"][1]["text"] for row in asked} <= set(grammar.RATINGS)


def test_the_gate_lets_scores_through(scored) -> None:
    from iqaflow.validate import stage

    chosen, workspace, _ = scored
    assert stage.run(chosen, workspace).metrics


@pytest.mark.parametrize("ratings", ["word", "linear", "distribution"])
def test_scores_are_learnt_as_the_parameter_says(scored, ratings: str) -> None:
    from iqaflow.model import tiny
    from iqaflow.model.packing import packer_for
    from iqaflow.train.dataset import Packs

    chosen, workspace, _ = scored
    model, processor = tiny.build(["Rate the quality of the image."], 0, 1024, 4096)
    train = chosen.train.model_copy(update={"ratings": ratings})
    packs = Packs(workspace.annotated, "train", packer_for(model, processor), train, 0)
    seen = 0
    for number, key in enumerate(packs.keys):
        row = packs.pictures.row(key[-1][1])
        if row["origin"] == "synthetic":
            continue
        (branch,) = {one.answer[0]: one for one in packs.pack(number, 0)[0].branches}.values()
        seen += 1
        if ratings == "word":
            assert not branch.soft
            continue
        ids, shares = branch.soft[0]
        assert [processor.tokenizer.decode(one) for one in ids] == list(grammar.RATINGS)
        spread = (row["score_std"] or rating.OPINIONS) if ratings == "distribution" else 0.0
        assert shares == pytest.approx(rating.shares(row["score"], spread))
    assert seen >= 3


@pytest.mark.slow
def test_training_on_scores_end_to_end(scored) -> None:
    from iqaflow.engine.session import Engine, Prompt
    from iqaflow.train import stage

    chosen, workspace, _ = scored
    result = stage.run(chosen, workspace)
    assert np.isfinite(result.metrics["final_loss"])
    session = Engine.load(workspace.stage1).session([[np.zeros((64, 64, 3), np.uint8)]], [["image"]])
    logs = session.choose([Prompt(0, rating.plain_question())], grammar.RATINGS)
    assert np.exp(logs).sum() == pytest.approx(1) and np.isfinite(logs).all()


def test_good_photographs_lie_nearer_than_spoilt_ones() -> None:
    from skimage import data
    from skimage.filters import gaussian

    from iqaflow.iqa import naturalness

    good = naturalness.fit([data.astronaut(), data.chelsea(), data.rocket()])
    photograph = data.coffee()
    noise = np.random.default_rng(0).normal(0, 25, photograph.shape)
    noisy = np.clip(photograph + noise, 0, 255).astype(np.uint8)
    blurred = (gaussian(photograph, 3, channel_axis=2) * 255).astype(np.uint8)
    clean = naturalness.distance(photograph, good)
    assert 0 < clean < min(naturalness.distance(noisy, good), naturalness.distance(blurred, good))
    assert naturalness.distance(photograph[:64, :64], good) > 0  # one small patch
    with pytest.raises(ValueError, match="at least 96x96 px"):
        naturalness.fit([])


def test_a_table_of_scores_nobody_speaks_of_is_named(tmp_path) -> None:
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (5, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((96, 80)).save(tmp_path / f"{number}.png")
    (tmp_path / "scores.csv").write_text("image,mos\n0.png,3\n")
    chosen = config.load(overrides=("source.kind=folder", f"source.path={tmp_path}", "source.min_side_px=64"))
    found = sources.index(chosen, Workspace(tmp_path / "work"))
    assert {one["reason"] for one in found.quarantine} == {"a table of scores: learn from it by source.scores=scores.csv"}


def test_parameters_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match=r"source\.scores speaks of a folder of photographs, not of kind=packaged"):
        config.load(overrides=("source.scores=scores.csv",))
    entry = {"name": "ours", "path": "a", "images": "b", "scale": [1, 5]}
    with pytest.raises(ConfigError, match="ours has a scale, which is for the format `scores`, not 'coco'"):
        config.load(overrides=(f"source.labelled={json.dumps([entry | {'format': 'coco'}])}",))
    with pytest.raises(ConfigError, match="needs two different numbers"):
        config.load(overrides=(f"source.labelled={json.dumps([entry | {'format': 'scores', 'scale': [1, 1]}])}",))
    chosen = config.load(overrides=("source.kind=folder", "source.path=photos", "source.scores=s.csv", "source.scale=[0, 9]"))
    again = config.Config.model_validate(chosen.tree())
    assert again == chosen and [one.path for one in again.source.labelled] == ["photos/s.csv"]
    assert again.source.labelled[0].scale == (0, 9)
