"""Pages for people: Jinja2 templates that escape all text, one style sheet, charts and pictures inside the page.

    render("report.html", title=..., ...)

A page is one file: it loads nothing and runs nothing, whatever a text contains. Equal values give equal bytes.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from iqaflow.draw.html import charts, text

HERE = Path(__file__).parent


def render(template: str, **values: Any) -> str:
    """A template filled with `values`. Text is escaped and its control characters are made visible; `Markup` is taken as it is.
    Raises jinja2.UndefinedError for a value that a template asks for and nobody gave.
    """
    return environment(HERE / "templates").get_template(template).render(values)


@functools.cache
def environment(folder: Path) -> jinja2.Environment:
    """What fills the templates of a folder: everything is escaped, a name that nobody gave is an error."""
    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )
    pages.filters |= {"short": text.short, "number": text.number, "plural": text.plural, "code": text.code}
    pages.globals |= {"keys": charts.KEYS, "style": _style}
    return pages


def _shown(value: Any) -> Any:
    """What a template writes for a value, before it is escaped."""
    return value if isinstance(value, Markup) else text.visible(value)


def _style(name: str) -> Markup:
    return Markup((HERE / name).read_text(encoding="utf-8"))  # noqa: S704 - our own file
