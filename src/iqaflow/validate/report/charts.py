"""Bar charts as inline SVG: no script, no font, no file beside the page; colours come from the page's style."""

from __future__ import annotations

from collections.abc import Sequence

from iqaflow.data.tables import SPLITS
from iqaflow.validate.report.text import escape, number

WIDTH, LABEL, VALUE, ROW = 520, 150, 62, 22


def bars(rows: Sequence[tuple[str, Sequence[int]]], describe: str) -> str:
    """Horizontal bars, one per (label, counts per split), the splits side by side in one bar."""
    most = max((sum(counts) for _, counts in rows), default=0) or 1
    room, height = WIDTH - LABEL - VALUE, ROW * len(rows) + 2
    parts = [_open(height, describe)]
    for index, (label, counts) in enumerate(rows):
        top, x = index * ROW + 1, float(LABEL)
        parts.append(f'<text class="label" x="{LABEL - 8}" y="{top + 15}" text-anchor="end">{escape(label, 24)}</text>')
        for split, count in zip(SPLITS, counts, strict=True):
            width = room * count / most
            if count:
                parts.append(
                    f'<rect class="{split}" x="{x:.1f}" y="{top + 3}" width="{width:.1f}" height="{ROW - 6}">'
                    f"<title>{escape(label, 60)}, {split}: {number(count)}</title></rect>"
                )
            x += width
        parts.append(f'<text class="value" x="{x + 6:.1f}" y="{top + 15}">{number(sum(counts))}</text>')
    return "".join([*parts, "</svg>"])


def histogram(columns: Sequence[Sequence[int]], low: str, high: str, describe: str) -> str:
    """Upright bars, one per list of counts per split, over an axis from `low` to `high`."""
    most = max((sum(counts) for counts in columns), default=0) or 1
    tall, height, step = 150, 172, WIDTH / max(len(columns), 1)
    parts = [_open(height, describe)]
    for index, counts in enumerate(columns):
        y = float(tall)
        for split, count in zip(SPLITS, counts, strict=True):
            part = (tall - 6) * count / most
            y -= part
            if count:
                parts.append(
                    f'<rect class="{split}" x="{index * step + 1:.1f}" y="{y:.1f}" width="{step - 2:.1f}" '
                    f'height="{part:.1f}"><title>{split}: {number(count)}</title></rect>'
                )
    parts.append(f'<line class="axis" x1="0" y1="{tall}.5" x2="{WIDTH}" y2="{tall}.5"/>')
    parts.append(f'<text class="value" x="0" y="{height - 5}">{escape(low, 40)}</text>')
    parts.append(f'<text class="value" x="{WIDTH}" y="{height - 5}" text-anchor="end">{escape(high, 40)}</text>')
    return "".join([*parts, "</svg>"])


def _open(height: int, describe: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        f'aria-label="{escape(describe, 120)}">'
    )
