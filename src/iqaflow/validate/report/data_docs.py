"""Great Expectations' Data Docs made readable without a network: its pages fetch their style, scripts and index from servers.

What is fetched is taken out (a logo among it that counts readers), a style of our own put in, and the index, which a script
would have drawn, is a plain list. Nothing on the pages can run.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from iqaflow.validate.report.text import escape, number, plural

if TYPE_CHECKING:
    from iqaflow.validate.check import Check

FETCHED = re.compile(r"<script\b.*?</script>|<link\b[^>]*>|<img\b[^>]*>|<button\b.*?</button>|<footer>.*?</footer>", re.S)
POLICY = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src \'unsafe-inline\'">'
CSS = """
body{margin:0;font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;color:#20242a;background:#fbfaf8}
body>.container-fluid,main{max-width:1100px;margin:0 auto;padding:24px}
nav{max-width:1100px;margin:0 auto;padding:8px 24px 0}
.breadcrumb,.nav{list-style:none;padding:0;margin:0;display:flex;flex-wrap:wrap;gap:4px 14px}
.navbar-brand,.ge-navigation-sidebar-container .sticky>h4{display:none}
h1{font-size:26px;margin:0 0 8px}h4,h5,h6{font-size:16px;margin:18px 0 6px}
a{color:#3b6fb6}hr{border:0;border-top:1px solid #e3e1dc}
ul{padding-left:20px}p{max-width:80ch}
table{border-collapse:collapse;width:100%;background:#fff;font-size:14px;margin:4px 0 14px}
th,td{text-align:left;padding:6px 12px;border:1px solid #e3e1dc;vertical-align:top;overflow-wrap:anywhere}
.badge{display:inline-block;background:#f1efea;border-radius:4px;padding:0 6px;font-size:13px}
.text-danger,.bad{color:#b3261e}.text-success,.good{color:#1d7a46}
.fa-check-circle::before{content:"✓"}.fa-times::before{content:"✕"}
.ge-section{margin-bottom:18px}.collapse{display:block!important}
"""


def publish(scratch: Path, docs: Path, checks: list[Check], rows: dict[str, int]) -> None:
    """Put the new pages, readable, in the place of the old ones, so that runs do not pile up."""
    for page in scratch.rglob("*.html"):
        text = FETCHED.sub("", page.read_text(encoding="utf-8"))
        page.write_text(text.replace("</head>", f"{POLICY}<style>{CSS}</style></head>", 1), encoding="utf-8")
    (scratch / "index.html").write_text(_index(scratch, checks, rows), encoding="utf-8")
    shutil.rmtree(scratch / "static", ignore_errors=True)
    docs.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(docs, ignore_errors=True)
    shutil.move(scratch, docs)


def _index(folder: Path, checks: list[Check], rows: dict[str, int]) -> str:
    lines = []
    for table in dict.fromkeys(check.table for check in checks):
        mine = [check for check in checks if check.table == table]
        bad = sum(not check.success for check in mine)
        state = f'<b class="bad">✕ {bad} of {len(mine)} failed</b>' if bad else f'<span class="good">✓ {len(mine)} hold</span>'
        pages = [("results", page) for page in sorted(folder.glob(f"validations/{table}/**/*.html"))]
        pages += [("expectations", page) for page in sorted(folder.glob(f"expectations/{table}.html"))]
        links = ", ".join(f'<a href="{escape(page.relative_to(folder).as_posix())}">{name}</a>' for name, page in pages)
        lines.append(f"<tr><td>{escape(table)}</td><td>{state}</td><td>{number(rows[table])}</td><td>{links}</td></tr>")
    failed = sum(not check.success for check in checks)
    verdict = f"{plural(failed, 'check')} of {len(checks)} failed" if failed else f"All {len(checks)} checks hold"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{POLICY}<title>iqaflow: Data Docs</title>'
        f"<style>{CSS}</style></head><body><main><h1>Data Docs</h1><p>{verdict}. One suite of Great Expectations per table; the "
        f'same with pictures and reasons: <a href="../validation.html">the validation report</a>.</p><table><thead><tr>'
        f"<th>suite</th><th>checks</th><th>rows</th><th>pages</th></tr></thead><tbody>{''.join(lines)}</tbody></table></main>"
        f"</body></html>\n"
    )
