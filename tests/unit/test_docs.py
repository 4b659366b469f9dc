"""The documentation names only what is there; and the check behind `make docs` finds what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import check_docs

PAGES = sorted(page for pattern in ("*.md", "docs/**/*.md", "models/base-tiny/*.md") for page in check_docs.ROOT.glob(pattern))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(check_docs.ROOT).as_posix())
def test_what_a_page_names_is_there(page: Path) -> None:
    assert list(check_docs.check(page)) == []


PLANTED = """# A page
[gone](gone.md) [no such heading](#another) [here](#a-page) `src/iqaflow/gone.py` `core/errors.py` `core/gone.py`
`make nothing` `make run` `iqaflow asess x.jpg` `iqaflow assess x.jpg --overlay out --reigon 1,2,3,4` `iqaflow config shown`
`train.lr=1` `train.rate` `train.csv` IQAFLOW_NOTHING IQAFLOW_ROOT
"""


def test_planted_faults_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "environment.md").write_text("| `IQAFLOW_ROOT` |")
    (tmp_path / "Makefile").write_text("run: x  ## all of it\n")
    page = tmp_path / "page.md"
    page.write_text(PLANTED)
    monkeypatch.setattr(check_docs, "ROOT", tmp_path)
    assert [fault.removeprefix("page.md: ") for fault in check_docs.check(page)] == [
        "the link gone.md leads nowhere",
        "the link #another names a heading that is not there",
        "there is no src/iqaflow/gone.py",
        "there is no core/gone.py",
        "there is no `make nothing`",
        "there is no `iqaflow asess`",
        "`iqaflow assess` has no --reigon",
        "there is no `iqaflow config shown`",
        "there is no parameter train.rate",
        "IQAFLOW_NOTHING is not in docs/environment.md",
    ]
