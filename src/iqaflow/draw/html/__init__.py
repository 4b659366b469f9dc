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
    Raises jinja2.UndefinedError for a value that a template asks for and nobody gave."""
    return _environment().get_template(template).render(values)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True, undefined=jinja2.StrictUndefined, finalize=_shown,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, auto_reload=False)
    environment.filters |= {"short": text.short, "number": text.number, "plural": text.plural, "code": text.code}
    environment.globals |= {"keys": charts.KEYS, "style": _style}
    return environment


def _shown(value: Any) -> Any:
    """What a template writes for a value, before it is escaped."""
    return value if isinstance(value, Markup) else text.visible(value)


def _style(name: str) -> Markup:
    return Markup((HERE / name).read_text(encoding="utf-8"))  # noqa: S704 - our own file
