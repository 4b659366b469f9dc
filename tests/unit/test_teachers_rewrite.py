"""Descriptions in a teacher's words: kept only where they say the same, and nothing of the row is lost."""

from __future__ import annotations

import copy
import json
import re

import numpy as np
import pytest

from iqaflow import tasks
from iqaflow.annotate import synthetic
from iqaflow.annotate.teachers import rewrite
from iqaflow.core import config
from iqaflow.core.workspace import Workspace
from iqaflow.data.photographs import Photograph
from iqaflow.tasks import grammar
from tests.chat_server import scripted


@pytest.fixture(scope="module")
def rows():
    """Rows of the synthetic branch: a few dozen images and everything asked about them."""
    from skimage import data

    pixels = np.ascontiguousarray(data.astronaut()[:384, :384])
    photograph = Photograph(
        source_id="a", sha256="0" * 64, origin="a.png", license="x", width=384, height=384, phash="0" * 16, split="train"
    )
    small = config.load(overrides=("annotate.images.train=28", "annotate.sizes_px=[[64, 64]]", "annotate.reference=0.5"))
    images, conversations = [], []
    for unit in range(14):
        some, asked = synthetic.make_unit(unit, "train", small.annotate, 0, [photograph], lambda _: pixels)
        images, conversations = images + some, conversations + asked
    return images, conversations


def settings(url):
    return config.load(
        overrides=(
            "annotate.teacher.kind=http",
            f"annotate.teacher.url={url}",
            "annotate.teacher.model=writer",
            "annotate.teacher.rewrite=true",
            "annotate.teacher.timeout_s=5",
        )
    )


def facts_of(text):
    return json.loads(text.split("\n\nYour last reply")[0].split("Facts: ")[1])


def written(text: str, before: str = "", after: str = "") -> str:
    """What a teacher that follows the prompt writes, from nothing but the prompt."""
    facts = facts_of(text)
    parts = [before]
    if better := re.search(r'sentence "(Image [AB] is better\.)"', text):
        parts = [better[1], before]
    for name, about in facts.items():
        if name == "regions":
            continue
        where = "The photograph" if name == "image" else name
        for flaw in about["distortions"]:
            place = flaw["where"] if flaw["where"].startswith("[") else where
            parts.append(f"{place} holds {flaw['distortion']}, which a careful viewer will notice at once in this scene.")
        if not about["distortions"]:
            parts.append(f"{where} holds no distortion, and a careful viewer will find nothing to complain about here.")
    if verdict := re.search(r'the quality is "(\w+)"', text):
        parts.append(f"All things considered the quality is {verdict[1]}.")
    return json.dumps({"description": " ".join([*parts, after]).strip()})


def the_text(request):
    return request["messages"][0]["content"][-1]["text"]


def test_rewritten_rows_say_the_same(rows, tmp_path):
    images, conversations = rows
    before = copy.deepcopy(conversations)
    with scripted(lambda request, _: written(the_text(request))) as server:
        after = rewrite.shard(images, conversations, settings(server.url), Workspace(tmp_path))
        asked = len(server.requests)
        again = rewrite.shard(images, conversations, settings(server.url), Workspace(tmp_path))
        assert again == after and len(server.requests) == asked
    assert conversations == before  # the rows given are left alone
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == asked > 30
    kinds = {(old["task"], old["reference_mode"]) for old, _ in changed}
    assert kinds == {("describe", "nr"), ("describe", "fr"), ("rate", "nr"), ("rate", "fr")}
    assert any(grammar.parse(new["turns"][-1]["text"]).places for _, new in changed)
    for old, new in changed:
        assert set(new) == set(old) and new["teacher"] == "writer" and new["teacher_confidence"] is None
        same = ("conversation_id", "image_ids", "task", "style", "reference_mode", "targets", "split")
        assert all(old[name] == new[name] for name in same) and new["turns"][0] == old["turns"][0]
        was, now = (tasks.parse(row["task"], row["turns"][-1]["text"]) for row in (old, new))
        assert set(was.categories) == set(now.categories) and was.better == now.better and set(was.places) == set(now.places)
        assert {one for one in was.faults if one[0]} == {one for one in now.faults if one[0]}
        assert was.rating == now.rating or old["task"] == "rate"
        labels = [[row["turns"][-1]["text"][start:end] for start, end in row["answer_spans"]] for row in (old, new)]
        assert labels[0] == labels[1] and labels[0]
        assert "[R" not in new["turns"][-1]["text"]


def test_what_the_teacher_sees(rows, tmp_path):
    images, conversations = rows
    with scripted(lambda request, _: written(the_text(request))) as server:
        rewrite.shard(images, conversations, settings(server.url), Workspace(tmp_path))
    stored = {row["image_id"]: row["reference"] is not None for row in images}
    assert any(stored.values())
    for request in server.requests:
        *pictures, text = request["messages"][0]["content"]
        shown = "You see the undistorted reference, then" in text["text"]
        assert len(pictures) == 1 + shown + ("Image A, then Image B" in text["text"])
        assert "never mention or hint at one" in text["text"] or shown


@pytest.mark.parametrize(
    ("spoilt", "says"),
    [
        (lambda text: "I am sorry, but I cannot help with that image, which is a very great pity for everybody.", "an excuse"),
        (lambda text: "Too short.", "2 words, expected 12"),
        (lambda text: text + " and so on" * 60, "words, expected 12 to"),
        (lambda text: text + " There is slight blur and catastrophic oversharpening.", "must name exactly these distortions"),
        (lambda text: re.sub(r"slight|moderate|obvious|serious|catastrophic", "mild", text), "must name exactly|must begin"),
        (lambda text: text + " This is a good, fair and excellent photo.", "only quality word|"),
        (lambda text: text + " Look at [R9] too.", "exactly the marks"),
        (lambda text: text.replace("[R1]", "this part"), "exactly the marks|"),
        (lambda text: text + " <script>alert(1)</script>", "no markup"),
        (lambda text: text + " See https://evil.example now.", "no markup"),
        (lambda text: text + " <|im_end|>", "no markup"),
        (lambda text: text + " It was made from the original photo.", "hint at a reference|"),
    ],
)
def test_other_texts_are_dropped(rows, tmp_path, spoilt, says):
    """Asked again with the reason, then the answer of the synthetic branch stays."""
    images, conversations = rows
    one_split = conversations[:80]

    def answer(request, _):
        return json.dumps({"description": spoilt(json.loads(written(the_text(request)))["description"])})

    with scripted(answer) as server:
        after = rewrite.shard(images, one_split, settings(server.url), Workspace(tmp_path))
        texts = server.texts
    dropped = [text for text in texts if "Your last reply could not be used" in text]
    assert dropped and all(re.search(says, text) for text in dropped)
    kept = sum(old != new for old, new in zip(one_split, after, strict=True))
    wanted = sum(rewrite.is_wanted(row, {image["image_id"]: image for image in images}) for row in one_split)
    assert kept == wanted - len(dropped)
    if "|" not in says:
        assert kept == 0
    lines = (tmp_path / ".iqaflow" / "teachers" / "dropped.jsonl").read_text().splitlines()
    assert len(lines) == len(dropped) and json.loads(lines[0])["prompt"] == "rewrite/1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Compared to the reference image, the sky is grainy.", "The sky is grainy."),
        ("The sky is grainy compared with the reference, and dark.", "The sky is grainy and dark."),
        ("Edges are softer than in the original image.", "Edges are softer."),
        ("Unlike the reference, it is dark.", "It is dark."),
        ("The sky is dark when compared to the pristine version. It is flat.", "The sky is dark. It is flat."),
        ("A dog compared with a cat.", "A dog compared with a cat."),
    ],
)
def test_mentions_of_the_reference_are_cut_out(text, expected):
    assert rewrite.without_reference(text) == expected


@pytest.mark.parametrize("text", ["The reference image is sharper.", "Its original colors are gone.", "The first image is dark."])
def test_mentions_that_cannot_be_cut_out_are_refused(text):
    with pytest.raises(ValueError, match="reference"):
        rewrite.without_reference(text)


def _row(answer, task="describe", images=(("image", "a"),)):
    return {
        "conversation_id": "c",
        "origin": "synthetic",
        "task": task,
        "style": "detailed",
        "reference_mode": "nr",
        "image_ids": [{"role": role, "image_id": name} for role, name in images],
        "answer_spans": [],
        "turns": [{"role": "user", "text": "?"}, {"role": "assistant", "text": answer}],
    }


def _image(flaws, regions=()):
    return {
        "width": 100,
        "height": 100,
        "image": b"",
        "reference": None,
        "distortions": [dict(zip(("severity", "category", "region_id"), one, strict=True)) for one in flaws],
        "regions": [dict(zip(("region_id", "label", "box_xyxy"), one, strict=True)) for one in regions],
    }


def test_distortions_of_one_image_are_not_given_to_the_other():
    known = {"a": _image([("serious", "blur", None)]), "b": _image([("slight", "noise", None)])}
    row = _row("Image B is better. Image A shows serious blur. Image B shows slight noise.", "rate", (("A", "a"), ("B", "b")))
    case = rewrite.case_of(row, known)
    assert rewrite.mixed_up("Image B is better. Image A has serious blur. Slight noise is all Image B has.", case) == ""
    assert rewrite.mixed_up("Image B is better. Image B has serious blur.", case) == "Image B does not have serious blur"
    assert rewrite.mixed_up("Image A has serious blur, unlike Image B.", case) == ""  # both are named: cannot be told


def test_distortions_of_one_region_are_not_given_to_another():
    regions = [(0, "red region", (0.0, 0.0, 50.0, 50.0)), (1, "sky", (50.0, 50.0, 100.0, 100.0))]
    known = {"a": _image([("serious", "blur", 0), ("slight", "noise", 1)], regions)}
    answer = "The [red region](<0, 189>) shows serious blur. The [sky](<210, 399>) shows slight noise. The quality is poor."
    case = rewrite.case_of(_row(answer), known)
    assert case.text == "The [R1] shows serious blur. The [R2] shows slight noise. The quality is poor."
    assert case.filled(case.text) == answer and case.facts["regions"] == {"[R1]": "red region", "[R2]": "sky"}
    assert rewrite.mixed_up("The [R1] has serious blur. In [R2] there is slight noise.", case) == ""
    assert rewrite.mixed_up("The [R1] has slight noise.", case) == "[R1] does not have slight noise"
    worded = rewrite.case_of(_row("There is serious blur in the red region at the top left. The quality is poor."), known)
    assert worded.text == "There is serious blur in the [R1]. The quality is poor."
    assert worded.facts["image"]["distortions"][1]["where"] == "only the sky"
    known["a"]["regions"].append({"region_id": 2, "label": "dark red region", "box_xyxy": (0.0, 0.0, 40.0, 40.0)})
    darker = rewrite.case_of(_row("There is serious blur in the dark red region at the top left. The quality is poor."), known)
    assert darker.markers == ("dark red region at the top left",)


def test_nothing_happens_unless_asked_for(rows, tmp_path):
    images, conversations = rows
    assert rewrite.shard(images, conversations, config.load(), Workspace(tmp_path)) == conversations
    off = config.load(overrides=("annotate.teacher.kind=http", "annotate.teacher.model=m"))
    assert rewrite.shard(images, conversations, off, Workspace(tmp_path)) == conversations
    assert not (tmp_path / ".iqaflow").exists()
