"""Opinion scores, one image a row: a CSV file with `image,mos[,std][,n]`, or the folder that holds it as `scores.csv`.

Other usual names of the columns are known (`dis_img_path`, `score`, `SD`, `variance`). Of a score column named `dmos` lower is
better. The scale is `source.labelled[].scale`, worst first, or else the narrowest usual one that holds nearly all scores; which
one it was is part of every row's `score_source`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from iqaflow.annotate.imports import Item, Problems
from iqaflow.annotate.imports.text import name, number
from iqaflow.core.config.schema import SCORES_TABLE
from iqaflow.core.errors import InputError

NAMES = {
    "image": "image dis_img_path image_name image_path img_path img filename file_name file name dist_img dis_img distorted",
    "score": "mos score dmos mean mean_opinion_score quality quality_mos mos_mean",
    "spread": "std sd mos_std score_std dmos_std std_dev stddev standard_deviation",
    "variance": "var variance",
    "raters": "n ratings raters num_ratings n_ratings count c_total votes",
}
SCALES = ((0.0, 1.0), (1.0, 5.0), (0.0, 5.0), (1.0, 10.0), (0.0, 10.0), (0.0, 100.0))
NEARLY_ALL = 0.98  # of the scores lie on a scale that is found out; the others are slips of the pen


class Scale(NamedTuple):
    """The scores of the worst and of the best image there could be, and how that is known."""

    worst: float
    best: float
    known: str

    def place(self, value: float) -> float:
        """A score as 0..1, higher is better; outside where it lies outside the scale."""
        return (value - self.worst) / (self.best - self.worst)

    def __str__(self) -> str:
        lower = ", lower is better" if self.best < self.worst else ""
        return f"{min(self.worst, self.best):g}..{max(self.worst, self.best):g} {self.known}{lower}"


def read(path: Path, problems: Problems, scale: tuple[float, float] | None = None) -> Iterator[Item]:
    """Every image that has a score once and on the scale. Raises InputError, in one sentence, for a file without such columns
    or scores, or with scores on no usual scale.
    """
    path = path / SCORES_TABLE if path.is_dir() else path
    header, rows = _table(path)
    columns = _columns(header, path)
    values = [number(row.get(columns["score"])) for row in rows]
    if not any(value is not None for value in values):
        raise InputError(f"{path} has no number in its column {columns['score']}: give one score per image.")
    read_as = _scale(scale, [value for value in values if value is not None], columns["score"], path)
    source = f"human ({path.name}: {columns['score']}, {read_as})"
    seen: dict[str, int] = {}
    for line, (row, value) in enumerate(zip(rows, values, strict=True), 2):
        file = name(row.get(columns["image"]))
        score = None if value is None else read_as.place(value)
        raters = number(row.get(columns["raters"])) if "raters" in columns else None
        reason = _refused(file, value, score, raters, seen, read_as)
        if reason or file is None or score is None:
            problems(f"row {line}" + (f" ({file})" if file else ""), reason)
            continue
        seen[file] = line
        spread, fault = _spread(row, columns, raters, read_as)
        if fault:
            problems(f"row {line} ({file}): its spread alone", fault)
        yield Item((("image", file),), score=score, spread=spread, score_source=source)


def _refused(
    file: str | None, value: float | None, score: float | None, raters: float | None, seen: dict[str, int], scale: Scale
) -> str:
    if file is None:
        return "its image name is missing or leads outside the folder"
    if value is None or score is None:
        return "its score is missing or no number"
    if not 0 <= score <= 1:
        return f"its score {value:g} lies outside {scale}"
    if raters is not None and raters < 1:
        return "nobody rated it"
    return f"row {seen[file]} rates this image already" if file in seen else ""


def _spread(row: dict[str, str], columns: dict[str, str], raters: float | None, scale: Scale) -> tuple[float | None, str]:
    """The standard deviation of the opinions as a share of the scale, and what is wrong with a given one."""
    column = columns.get("spread") or columns.get("variance")
    text = (row.get(column) or "").strip() if column else ""
    if not text or (raters is not None and raters < 2):  # one opinion has no spread
        return None, ""
    value = number(text)
    if value is None or value < 0:
        return None, f"{column} is {text[:20]!r}, no spread of opinions"
    spread = (value if "spread" in columns else value**0.5) / abs(scale.best - scale.worst)
    return (spread, "") if spread <= 1 else (None, f"{column} is {text[:20]!r}, more than the whole scale {scale}")


def _scale(given: tuple[float, float] | None, values: list[float], column: str, path: Path) -> Scale:
    if given:
        return Scale(*given, "as given")
    for low, high in SCALES:
        if sum(low <= value <= high for value in values) >= NEARLY_ALL * len(values):
            return Scale(high, low, "found out") if "dmos" in _plain(column) else Scale(low, high, "found out")
    raise InputError(
        f"{path} has scores from {min(values):g} to {max(values):g}, on no usual scale: say which by "
        "`scale: [worst, best]` in source.labelled, or by source.scale."
    )


def _table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Names of the columns, and the rows; columns may be parted by commas, semicolons (then with decimal commas) or tabs."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        mark = max(",;\t", key=lines[0].count) if lines else ","
        reader = csv.DictReader(lines, delimiter=mark)
        rows = [row for row in reader if any(isinstance(cell, str) and cell.strip() for cell in row.values())]
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: give a CSV file with columns image,mos.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV ({type(error).__name__}): give columns image,mos[,std][,n].") from None
    if mark == ";":
        rows = [
            {
                key: re.sub(r"^\s*(-?\d+),(\d+)\s*$", r"\1.\2", cell) if isinstance(cell, str) else cell
                for key, cell in row.items()
            }
            for row in rows
        ]
    return [column for column in reader.fieldnames or [] if column], rows


def _columns(header: list[str], path: Path) -> dict[str, str]:
    """The column of each meaning, the commonest name first."""
    plain = {_plain(column): column for column in reversed(header)}
    columns = {
        meaning: next((plain[usual] for usual in names.split() if usual in plain), None) for meaning, names in NAMES.items()
    }
    missing = [meaning for meaning in ("image", "score") if columns[meaning] is None]
    if missing:
        raise InputError(
            f"{path} has no column for the {' and the '.join(missing)} among {', '.join(header)[:200] or 'none'}: "
            "name them image,mos[,std][,n]."
        )
    return {meaning: column for meaning, column in columns.items() if column is not None}


def _plain(column: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")
