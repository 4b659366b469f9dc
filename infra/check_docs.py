"""Holds the documentation to the project: `make docs`.

In every Markdown file of the repository: links and their anchors lead somewhere, named files are there, `make` targets, `iqaflow`
commands and their options exist, dotted parameters are in the schema, IQAFLOW_ variables are in docs/environment.md.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "iqaflow"
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```\w*\n(.*?)^```|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
PATH = re.compile(r"(?<![\w/.~:-])((?:[\w.-]+/)+[\w.-]*)")
PARAMETER = re.compile(r"\b(?:source|annotate|validate|train|calibrate|benchmark|schedule|track|resources)(?:\.[a-z_]+)+\b")
VARIABLE = re.compile(r"\bIQAFLOW_[A-Z_]+\b")
COMMAND = re.compile(r"(?:^|[\s`(])(iqaflow|make) ([a-z][a-z-]*)(?: ([^`\n|&;]*))?", re.MULTILINE)
EXAMPLES = ("vignetting.py",)  # files that a worked example tells the reader to write
HISTORY = ("CHANGELOG.md",)  # speaks of what was; only its links are checked


def main() -> None:
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    faults = [fault for name in sorted(files) for fault in check(ROOT / name)]
    print("\n".join(faults) or f"docs: {len(files)} files are fine", file=sys.stderr if faults else sys.stdout)
    sys.exit(1 if faults else 0)


def check(path: Path) -> Iterator[str]:
    """One sentence for everything in a file that is not so."""
    text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT)
    for target in LINK.findall(CODE.sub("", text)):
        if fault := _link(path, target):
            yield f"{name}: the link {target} {fault}"
    if path.name in HISTORY:
        return
    code = [block or span for block, span in CODE.findall(text)]
    for part in code:
        yield from (f"{name}: there is no {place}" for place in PATH.findall(part) if not _exists(place))
        yield from (f"{name}: there is no parameter {key}" for key in PARAMETER.findall(part) if not _is_parameter(key))
        for program, verb, rest in COMMAND.findall(part):
            if fault := _command(program, verb, rest):
                yield f"{name}: {fault}"
    table = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")
    yield from (
        f"{name}: {variable} is not in docs/environment.md"
        for variable in sorted(set(VARIABLE.findall(text)))
        if f"`{variable}`" not in table
    )


def _link(path: Path, target: str) -> str | None:
    if target.startswith(("http://", "https://")):
        return None
    file, _, anchor = target.partition("#")
    place = path.parent / file if file else path
    if not place.exists():
        return "leads nowhere"
    headings = re.findall(r"^#+ (.+)$", place.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
    slugs = [re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings]
    return "names a heading that is not there" if anchor and anchor not in slugs else None


def _exists(place: str) -> bool:
    """Paths that begin in a folder of the repository or in a room of the package; others are a reader's own, or made by a run."""
    first, parts = place.split("/")[0], place.rstrip("/.")
    if place.endswith(EXAMPLES):
        return True
    if first in ("src", "flows", "docs", "tests", "perf", "infra", ".ci", ".github") or place.startswith("models/base-tiny"):
        return (ROOT / parts).exists()
    if (PACKAGE / first / "__init__.py").is_file() and place.endswith((".py", "/")) and first != "data":
        return (PACKAGE / parts).exists()
    return True


def _is_parameter(key: str) -> bool:
    """A parameter or a section; a file such as `train.csv` is none of ours to judge."""
    from iqaflow.core.config import Config

    if key.endswith((".csv", ".json", ".html", ".py", ".parquet")):
        return True
    node: Any = Config().tree()
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            return isinstance(node, list) or node is None  # entries of a list have fields of their own
        node = node[part]
    return True


def _command(program: str, verb: str, rest: str) -> str | None:
    if program == "make":
        targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        return None if verb in targets else f"there is no `make {verb}`"
    import typer.main

    from iqaflow.cli import app

    node: Any = typer.main.get_command(app)
    for word in (verb, *rest.split()):
        if not hasattr(node, "commands"):
            break
        if word not in node.commands:
            return f"there is no `iqaflow {verb}`" if word == verb else f"there is no `iqaflow {verb} {word}`"
        node = node.commands[word]
    known = {option for parameter in node.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    unknown = [option for option in re.findall(r"(?:^|\s)(--[a-z-]+)", rest.partition(" #")[0]) if option not in known]
    return f"`iqaflow {verb}` has no {unknown[0]}" if unknown else None


if __name__ == "__main__":
    main()
