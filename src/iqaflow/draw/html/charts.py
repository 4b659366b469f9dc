"""Charts as inline SVG: crisp, coloured by the page's style sheet, and the same bytes for the same numbers.

Classes: `model`, `base`, `yard`, `other` (predictors), `train`, `calibration`, `test` (splits), `soft` (light fill), `axis`,
`grid`, `quiet` (text), `heat` (cell fill).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from iqaflow.data.tables import SPLITS
from iqaflow.draw.html.svg import coordinate, drawing, tag, text
from iqaflow.draw.html.text import number, short

DIAMOND = "l6 6l-6 6l-6 -6z"
KEYS: dict[str, str] = {  # of legends: what a mark looks like, in a box of 20 x 16
    "model": tag("circle", cx=10, cy=8, r=5.5, class_="model"),
    "base": tag("path", d=f"M10 2{DIAMOND}", class_="base"),
    "other": tag("circle", cx=10, cy=8, r=3.5, class_="other"),
    "yard": tag("path", d="M10 3l5 9h-10z", class_="yard"),
    "interval": tag("line", x1=3, x2=17, y1=8, y2=8, class_="span model"),
    **{split: tag("rect", x=4, y=2, width=12, height=12, rx=3, class_=split) for split in SPLITS},
    **{kind: tag("rect", x=2, y=2, width=16, height=12, class_=kind) for kind in ("truth", "guess", "asked")},
    "point": tag("circle", cx=10, cy=8, r=4, class_="point"),
}


@dataclass(frozen=True)
class Mark:
    """One value on a strip or bar, with its interval; `kind` is a series class."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    kind: str = "base"


def strip(marks: Sequence[Mark], maximum: float, label: str, width: int = 240) -> Markup:
    """Values with their intervals on one line from 0 to `maximum`: a disc for the model, a diamond for the baseline it
    is compared with, small open marks for the others.
    """

    def x(value: float) -> float:
        return 8 + (width - 16) * min(max(value / maximum, 0), 1)

    parts = [tag("line", x1=x(0), x2=x(maximum), y1=17.0, y2=17.0, class_="axis")]
    for k in range(5):
        parts.append(tag("line", x1=x(maximum * k / 4), x2=x(maximum * k / 4), y1=12.0, y2=22.0, class_="grid"))
    rank = {"other": 0, "yard": 1, "base": 2, "model": 3}
    for mark in sorted(marks, key=lambda mark: rank[mark.kind]):
        at, title = x(mark.value), tag("title", f"{mark.name}: {_with_interval(mark)}")
        span = Markup()
        if mark.low is not None and mark.high is not None and mark.kind in ("model", "base"):
            span = tag("line", x1=x(mark.low), x2=x(mark.high), y1=17.0, y2=17.0, class_=f"span {mark.kind}")
        if mark.kind == "model":
            shape = tag("circle", cx=at, cy=17.0, r=5.5, class_="model")
        elif mark.kind == "base":
            shape = tag("path", d=f"M{coordinate(at)} 11{DIAMOND}", class_="base")
        elif mark.kind == "yard":
            shape = tag("path", d=f"M{coordinate(at)} 12l5 9h-10z", class_="yard")
        else:
            shape = tag("circle", cx=at, cy=17.0, r=3.5, class_="other")
        parts.append(tag("g", title + span + shape))
    return drawing(width, 34, parts, f"{label}: " + ", ".join(f"{mark.name} {mark.value:.3f}" for mark in marks))


def interval_bars(rows: Sequence[tuple[str, int, Mark, Mark | None]], label: str, width: int = 496) -> Markup:
    """Horizontal bars 0..1: (label, n, value, tick of the baseline) each."""
    left, right, step = 168, 92, 26
    height = step * len(rows) + 26

    def x(value: float) -> float:
        return left + (width - left - right) * min(max(value, 0), 1)

    parts = []
    for k in range(5):
        parts.append(tag("line", x1=x(k / 4), x2=x(k / 4), y1=2.0, y2=float(height - 22), class_="grid"))
        parts.append(text(x(k / 4), height - 6, f"{k / 4:g}", "middle", "quiet"))
    for row, (name, count, mark, tick) in enumerate(rows):
        y = float(row * step + 4)
        rival = f"; {tick.name} {tick.value:.3f}" if tick else ""
        body = tag("title", f"{name}: {_with_interval(mark)}, n={count}{rival}")
        length = max(x(mark.value) - x(0), 0.5)
        body += tag("rect", x=x(0), y=y + 3, width=length, height=13.0, rx=2, class_="model soft")
        if mark.low is not None and mark.high is not None:
            body += tag("line", x1=x(mark.low), x2=x(mark.high), y1=y + 9.5, y2=y + 9.5, class_="span model")
        body += tag("circle", cx=x(mark.value), cy=y + 9.5, r=3.5, class_="model")
        if tick:
            body += tag("path", d=f"M{coordinate(x(tick.value))} {coordinate(y + 4.5)}l5 5l-5 5l-5 -5z", class_="base")
        body += text(left - 10, y + 14, name, "end") + text(width - right + 10, y + 14, f"{mark.value:.2f}")
        body += text(width - 2, y + 14, f"n={count}", "end", "quiet")
        parts.append(tag("g", body))
    return drawing(width, height, parts, label)


def matrix(labels: Sequence[str], counts: Sequence[Sequence[int]], columns: Sequence[str], label: str) -> Markup:
    """Rows (truth) by columns (answer); a cell's shade and number are its share of the row, in per cent."""
    cell, left, top = 34, 176, 150
    width, height = left + cell * len(columns) + 92, top + cell * len(labels) + 8
    parts = [text(left - 10, top - 10, "truth \u2193   answer \u2192", "end", "quiet")]
    for column, name in enumerate(columns):
        at = left + cell * column + cell / 2 + 4
        parts.append(text(at, top - 8, name, "start", "", transform=f"rotate(-45 {coordinate(at)} {top - 8})"))
    for row, name in enumerate(labels):
        total, y = sum(counts[row]), top + cell * row
        parts.append(text(left - 10, y + cell / 2 + 4, f"{name} ({total})", "end"))
        for column, other in enumerate(columns):
            x, count = left + cell * column, counts[row][column]
            part = count / total if total else 0.0
            body = tag("title", f"{name} called {other}: {count} of {total}")
            body += tag("rect", x=float(x + 1), y=float(y + 1), width=cell - 2, height=cell - 2, rx=3, class_="cell")
            if count:
                body += tag(
                    "rect",
                    x=float(x + 1),
                    y=float(y + 1),
                    width=cell - 2,
                    height=cell - 2,
                    rx=3,
                    class_="heat" if name == other else "heat wrong",
                    fill_opacity=0.08 + 0.92 * part,
                )
                body += text(x + cell / 2, y + cell / 2 + 4, f"{100 * part:.0f}", "middle", "onheat" if part > 0.5 else "")
            parts.append(tag("g", body))
    return drawing(width, height, parts, label)


def scatter(points: Sequence[tuple[float, float]], x_label: str, y_label: str, label: str, size: int = 380) -> Markup:
    """Points in the unit square with the diagonal."""
    at, parts = _square(size, x_label, y_label)
    dots = [tag("circle", cx=cx, cy=cy, r=2.6) for cx, cy in (at(x, y) for x, y in points)]
    return drawing(size, size, [*parts, tag("g", Markup().join(dots), class_="dots")], label)


def reliability(bins: Sequence[tuple[float, float, int, float, float]], label: str, size: int = 380) -> Markup:
    """Bins of (mean confidence, accuracy, count, low, high): a disc's area is the bin's share of the answers."""
    at, parts = _square(size, "confidence", "share of right answers")
    most = max((count for _, _, count, _, _ in bins), default=1)
    for confidence, accuracy, count, low, high in bins:
        x, y = at(confidence, accuracy)
        body = tag("title", f"confidence {confidence:.2f}: {accuracy:.2f} right, n={count}")
        body += tag("line", x1=x, x2=x, y1=at(0, low)[1], y2=at(0, high)[1], class_="span thin model")
        body += tag("circle", cx=x, cy=y, r=3 + 9 * (count / most) ** 0.5, class_="model soft")
        body += tag("circle", cx=x, cy=y, r=2.5, class_="model")
        parts.append(tag("g", body))
    return drawing(size, size, parts, label)


WIDTH, LABEL, VALUE, ROW = 520, 150, 62, 22  # of charts of counts, in px


def count_bars(rows: Sequence[tuple[str, Sequence[int]]], label: str) -> Markup:
    """Horizontal bars, one per (name, counts per split), the splits side by side in one bar."""
    most = max((sum(counts) for _, counts in rows), default=0) or 1
    parts = []
    for row, (name, counts) in enumerate(rows):
        top, x = row * ROW + 1, float(LABEL)
        parts.append(text(LABEL - 8, top + 15, short(name, 24), "end"))
        for split, count in zip(SPLITS, counts, strict=True):
            width = (WIDTH - LABEL - VALUE) * count / most
            if count:
                title = tag("title", f"{short(name, 60)}, {split}: {number(count)}")
                parts.append(tag("rect", title, x=x, y=top + 3, width=width, height=ROW - 6, class_=split))
            x += width
        parts.append(text(x + 6, top + 15, number(sum(counts)), "start", "quiet"))
    return drawing(WIDTH, ROW * len(rows) + 2, parts, short(label, 120))


def histogram(columns: Sequence[Sequence[int]], low: str, high: str, label: str) -> Markup:
    """Upright bars, one per list of counts per split, over an axis from `low` to `high`."""
    most = max((sum(counts) for counts in columns), default=0) or 1
    tall, height, step = 150, 172, WIDTH / max(len(columns), 1)
    parts = []
    for column, counts in enumerate(columns):
        y = float(tall)
        for split, count in zip(SPLITS, counts, strict=True):
            part = (tall - 6) * count / most
            y -= part
            if count:
                parts.append(
                    tag(
                        "rect",
                        tag("title", f"{split}: {number(count)}"),
                        x=column * step + 1,
                        y=y,
                        width=step - 2,
                        height=part,
                        class_=split,
                    )
                )
    parts.append(tag("line", x1=0, y1=tall + 0.5, x2=WIDTH, y2=tall + 0.5, class_="axis"))
    parts += [text(0, height - 5, short(low, 40), "start", "quiet"), text(WIDTH, height - 5, short(high, 40), "end", "quiet")]
    return drawing(WIDTH, height, parts, short(label, 120))


def _square(size: int, x_label: str, y_label: str) -> tuple[Callable[[float, float], tuple[float, float]], list[Markup]]:
    """A unit square with grid, diagonal and axis names; returns its coordinates and parts."""
    low, high = 52, size - 14

    def at(x: float, y: float) -> tuple[float, float]:
        span = high - low
        return low + span * min(max(x, 0), 1), size - low - span * min(max(y, 0), 1) + 6

    parts = []
    for k in range(5):
        (x, y0), (_, y1) = at(k / 4, 0), at(k / 4, 1)
        (x0, y), (x1, _) = at(0, k / 4), at(1, k / 4)
        parts.append(tag("line", x1=x, x2=x, y1=y0, y2=y1, class_="grid"))
        parts.append(tag("line", x1=x0, x2=x1, y1=y, y2=y, class_="grid"))
        parts.append(text(x, y0 + 16, f"{k / 4:g}", "middle", "quiet"))
        parts.append(text(x0 - 8, y + 4, f"{k / 4:g}", "end", "quiet"))
    (x0, y0), (x1, y1) = at(0, 0), at(1, 1)
    parts.append(tag("line", x1=x0, y1=y0, x2=x1, y2=y1, class_="diagonal"))
    parts.append(text((x0 + x1) / 2, size - 6, x_label, "middle", "quiet"))
    middle = (y0 + y1) / 2
    parts.append(text(14, middle, y_label, "middle", "quiet", transform=f"rotate(-90 14 {coordinate(middle)})"))
    return at, parts


def _with_interval(mark: Mark) -> str:
    interval = f" ({mark.low:.3f} to {mark.high:.3f})" if mark.low is not None and mark.high is not None else ""
    return f"{mark.value:.3f}{interval}"
