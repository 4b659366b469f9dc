"""Poisoned data stops the validate stage; the poisoned row is named, and so is what to do.

Real photographs, real distortions, real Great Expectations. Poisons of single rows are put into one data set together, each
in a row of its own, those of the whole set into another, because a run costs seconds; some are tried alone.
"""

from __future__ import annotations

import re

import pytest

from iqaflow.core.config import Config
from iqaflow.core.errors import StageError
from iqaflow.core.workspace import StageResult, Workspace
from tests.faults import poison_rows
from tests.faults.poison_rows import named, validate, verdict, write
from tests.faults.poison_table import TOGETHER, WHOLE
from tests.faults.poisons import ATTACK, Poisoner

ALONE = ("NaN score", "near-duplicate photograph", "prompt injection")


@pytest.fixture(scope="module")
def rows(annotated):
    return poison_rows.rows(annotated)


@pytest.fixture(scope="module")
def clean(rows, tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("clean"))
    write(workspace, *rows)
    return workspace, validate(workspace)


def spoil(poisons, rows, folder):
    """Validate a data set with these poisons: the workspace, the verdict, what each must be named by, and the error."""
    data, workspace = Poisoner(rows), Workspace(folder)
    guilty = {name: poison(data) for name, (poison, _, _) in poisons.items()}
    write(workspace, data.images, data.conversations)
    with pytest.raises(StageError) as stopped:
        validate(workspace, Config.model_validate({"validate": {"max_rows_named": 500}}))
    return workspace, verdict(workspace), guilty, str(stopped.value)


@pytest.fixture(scope="module")
def together(rows, tmp_path_factory):
    return spoil(TOGETHER, rows, tmp_path_factory.mktemp("together"))


@pytest.fixture(scope="module")
def whole(rows, tmp_path_factory):
    return spoil(WHOLE, rows, tmp_path_factory.mktemp("whole"))


# ---------------------------------------------------------------- the clean set


def test_clean_data_of_every_origin_passes(clean, rows):
    workspace, result = clean
    outcome = verdict(workspace)
    assert [check for check in outcome["expectations"] if not check["success"]] == []
    assert outcome["success"] is True and len(outcome["expectations"]) > 100
    assert {row["origin"] for row in rows[1]} == {"synthetic", "authentic", "grounded", "imported"}
    assert outcome["tables"]["images"] == len(rows[0]) and outcome["tables"]["conversations"] == len(rows[1])
    assert sum(outcome["counts"]["task"].values()) == len(rows[1])
    assert outcome["counts"]["decoded"] == len(rows[0])
    assert result.metrics["success"] == 1.0
    assert StageResult.read(workspace, "validate").metrics == result.metrics


def test_same_data_same_bytes(clean):
    workspace, _ = clean
    page = workspace.reports / "validation.html"
    before = workspace.validation.read_bytes(), page.read_bytes()
    validate(workspace)
    assert (workspace.validation.read_bytes(), page.read_bytes()) == before


def test_page_needs_nothing_from_outside(clean):
    workspace, _ = clean
    text = (workspace.reports / "validation.html").read_text(encoding="utf-8")
    assert "may be trained on" in text
    assert "http:" not in text and "https:" not in text and "<script" not in text
    assert "default-src 'none'" in text  # and the browser would refuse
    assert text.count('<article class="example') == 12
    for word in ("authentic", "imported", "licence", "Wordings", "rate: Image A"):
        assert word in text
    assert len(text) < 2_000_000


def test_data_docs_are_built_kept_with_the_run_and_do_not_report_readers(clean):
    workspace, result = clean
    docs = workspace.reports / "data_docs"
    assert (docs / "index.html").is_file() and workspace.relative(docs) in result.artifacts
    assert "reports/data_docs/index.html" in result.markdown
    pages = list(docs.rglob("*.html"))
    suites = {page.stem for page in pages if page.parent.name == "expectations"}
    assert {"images", "conversations", "photographs", "phrases"} <= suites
    texts = [page.read_text(encoding="utf-8") for page in pages]
    assert not [text for text in texts if re.search(r"<(script|link|img)\b", text)]  # nothing is fetched, nothing runs
    index = (docs / "index.html").read_text(encoding="utf-8")
    linked = re.findall(r'href="([^"]+)"', index)
    assert len(linked) > 30 and all((docs / link).is_file() for link in linked)


def test_some_images_only(clean, rows, tmp_path):
    workspace = Workspace(tmp_path)
    write(workspace, *rows)
    config = Config.model_validate({"validate": {"pixel_rows": 7}})
    assert validate(workspace, config).metrics["success"] == 1.0
    assert verdict(workspace)["counts"]["decoded"] == 7


# ---------------------------------------------------------------- poisons


@pytest.mark.parametrize("name", TOGETHER)
def test_poisoned_row_is_named(name, together):
    _, outcome, guilty, _ = together
    _, table, column = TOGETHER[name]
    assert outcome["success"] is False
    assert guilty[name] in named(outcome, table, column)


@pytest.mark.parametrize("name", WHOLE)
def test_poisoned_set_is_named(name, whole):
    _, outcome, guilty, _ = whole
    _, table, column = WHOLE[name]
    assert guilty[name] in named(outcome, table, column)


def test_every_failed_check_says_what_to_do(together, whole):
    for _, outcome, _, said in (together, whole):
        failed = [check for check in outcome["expectations"] if not check["success"]]
        assert failed and all("`iqaflow annotate`" in check["remedy"] for check in failed)
        assert re.search(r"fails \d+ of \d+ checks, first: .*reports/validation\.html, then .*`iqaflow annotate`", said)


@pytest.mark.parametrize("name", ALONE)
def test_poison_alone_stops_the_stage(name, rows, tmp_path):
    _, table, column = found = (TOGETHER | WHOLE)[name]
    workspace, outcome, guilty, said = spoil({name: found}, rows, tmp_path)
    failed = [check for check in outcome["expectations"] if not check["success"]]
    assert [(check["table"], check["column"]) for check in failed] == [(table, column)]
    assert "\n" not in said and said.endswith(".") and guilty[name] in said
    assert guilty[name] in (workspace.reports / "validation.html").read_text(encoding="utf-8")
    assert StageResult.read(workspace, "validate").metrics["success"] == 0.0


def test_message_names_check_count_and_rows(together):
    _, outcome, _, said = together
    first = next(check for check in outcome["expectations"] if not check["success"])
    assert f'first: "{first["says"]}" does not hold for {first["unexpected_count"]} of ' in said
    assert f"and {first['unexpected_count'] - 3} more" in said or first["unexpected_count"] <= 3


def test_what_is_missing_is_told_from_what_is_not_a_number(together):
    _, outcome, guilty, _ = together
    rows = {
        row["conversation_id"]: row
        for check in outcome["expectations"]
        for row in check["rows"]
        if check["column"] in ("better_fault", "missing") and "conversation_id" in row
    }
    assert rows[guilty["comparison without a better image"]]["better"] is None
    assert rows[guilty["NaN target level"]]["level"] == "nan"


def test_text_from_the_data_is_never_markup(together):
    workspace, _, _, _ = together
    page = (workspace.reports / "validation.html").read_text(encoding="utf-8")
    assert ATTACK.replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#39;") in page and "<script" not in page
    docs = "".join(path.read_text(encoding="utf-8") for path in (workspace.reports / "data_docs").rglob("*.html"))
    assert "alert" in docs  # it is shown there
    assert not re.search(r"<script>\s*alert", docs)
