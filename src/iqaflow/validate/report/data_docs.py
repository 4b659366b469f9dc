"""Great Expectations' Data Docs made readable without a network: its pages fetch their style, scripts and index from servers.

What is fetched is taken out (a logo among it that counts readers), a style of our own put in, and the index, which a script
would have drawn, is a plain list. Nothing on the pages can run.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from iqaflow.draw.html import render

if TYPE_CHECKING:
    from iqaflow.validate.check import Check

FETCHED = re.compile(r"<script\b.*?</script>|<link\b[^>]*>|<img\b[^>]*>|<button\b.*?</button>|<footer>.*?</footer>", re.S)


def publish(scratch: Path, docs: Path, checks: list[Check], rows: dict[str, int]) -> None:
    """Put the new pages, readable, in the place of the old ones, so that runs do not pile up."""
    head = render("data_docs_head.html")
    for page in scratch.rglob("*.html"):
        text = FETCHED.sub("", page.read_text(encoding="utf-8"))
        page.write_text(text.replace("</head>", f"{head}</head>", 1), encoding="utf-8")
    (scratch / "index.html").write_text(_index(scratch, checks, rows), encoding="utf-8")
    shutil.rmtree(scratch / "static", ignore_errors=True)
    docs.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(docs, ignore_errors=True)
    shutil.move(scratch, docs)


def _index(folder: Path, checks: list[Check], rows: dict[str, int]) -> str:
    suites = []
    for table in dict.fromkeys(check.table for check in checks):
        mine = [check for check in checks if check.table == table]
        pages = [("results", page) for page in sorted(folder.glob(f"validations/{table}/**/*.html"))]
        pages += [("expectations", page) for page in sorted(folder.glob(f"expectations/{table}.html"))]
        suites.append(
            {
                "table": table,
                "checks": len(mine),
                "failed": _failed(mine),
                "rows": rows[table],
                "pages": [(name, page.relative_to(folder).as_posix()) for name, page in pages],
            }
        )
    return render("data_docs.html", suites=suites, checks=len(checks), failed=_failed(checks))


def _failed(checks: list[Check]) -> int:
    return sum(not check.success for check in checks)
