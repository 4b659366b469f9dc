"""Licence and credit of every photograph: from `licenses.csv`, from a LICENSE text beside it, or from the source.

`licenses.csv` has the columns `file,license[,origin]`, with names relative to its own folder; `origin` is the author or the
address where the photograph was published. A file LICENSE (or .txt, .md) holds for its folder and those below; its first line
counts. What is nearer to a photograph wins, and in one folder the table wins over the text.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from iqaflow.core.errors import StageError
from iqaflow.data.photographs import LeftOut

TABLE = "licenses.csv"
TEXTS = {f"{word}{suffix}" for word in ("license", "licence") for suffix in ("", ".txt", ".md")}
LONGEST = 200


def is_licence(name: str) -> bool:
    """Whether a file speaks of licences rather than being a photograph."""
    return PurePosixPath(name).name.lower() in {TABLE, *TEXTS}


class Licences:
    """Looks up (licence, credit) by the name of a photograph inside its source."""

    def __init__(self, default: str, files: Iterable[tuple[str, Path]] = ()) -> None:
        self.default = default
        self.rows: dict[str, tuple[str, str, str]] = {}  # licence, credit, folder of the table
        self.texts: dict[str, str] = {}
        self.tables: dict[str, list[str]] = {}
        # outer folders first, so that a table nearer to a photograph overwrites
        for name, path in sorted(files, key=lambda file: file[0].count("/")):
            folder = str(PurePosixPath(name).parent)
            if PurePosixPath(name).name.lower() == TABLE:
                self._table(name, folder, path)
            elif is_licence(name):
                self.texts[folder] = _first_line(path) or self.texts.get(folder, default)

    def of(self, name: str) -> tuple[str, str]:
        """Licence and credit of the photograph `name`; the credit is empty where nobody is named."""
        row = self.rows.get(name)
        for folder in PurePosixPath(name).parents:
            if row and row[2] == str(folder):
                return row[:2]
            if str(folder) in self.texts:
                return self.texts[str(folder)], row[1] if row else ""
        return self.default, ""

    def unmatched(self, names: Mapping[str, object] | set[str]) -> list[LeftOut]:
        """One entry per table that speaks of files which are not there: most often a slip of the pen."""
        left_out: list[LeftOut] = []
        for table, listed in sorted(self.tables.items()):
            if missing := [name for name in listed if name not in names]:
                left_out.append({"file": table, "reason": f"names {len(missing)} files that are not there, first {missing[0]}"})
        return left_out

    def _table(self, name: str, folder: str, path: Path) -> None:
        try:
            rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise StageError(f"{path} cannot be read ({type(error).__name__}): it must be a UTF-8 CSV file.") from None
        if rows and not {"file", "license"} <= set(rows[0]):
            raise StageError(f"{path} needs the columns file,license[,origin], but has {','.join(map(str, rows[0]))}.")
        self.tables[name] = []
        for row in rows:
            file = str(PurePosixPath(folder, (row["file"] or "").strip()))
            self.tables[name].append(file)
            licence = (row["license"] or "").strip()[:LONGEST] or self.default
            self.rows[file] = (licence, (row.get("origin") or "").strip()[:LONGEST], folder)


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.strip(" \t\r\n#*"):
                    return line.strip(" \t\r\n#*")[:LONGEST]
    except OSError as error:
        raise StageError(f"{path} cannot be read ({error.strerror}): it says under which licence its folder is.") from None
    return ""
