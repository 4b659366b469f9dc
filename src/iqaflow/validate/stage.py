"""Stage validate: may this data be trained on? Any failed expectation stops the pipeline and names the rows.

    iqaflow validate

Reads `data/annotated`; writes `data/validation.json`, `reports/validation.html` and Great Expectations' Data Docs.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqaflow import tasks
from iqaflow.core.config import Config
from iqaflow.core.errors import DamagedError, StageError
from iqaflow.core.files import write_json, write_text
from iqaflow.core.manifest import read_manifest
from iqaflow.core.workspace import StageResult, Workspace
from iqaflow.data.masks import MAX_PIXELS
from iqaflow.data.tables import parts
from iqaflow.draw.html.text import plural
from iqaflow.validate.check import Check, remedy
from iqaflow.validate.checks.frames import IDS
from iqaflow.validate.expectations import run_suites

if TYPE_CHECKING:
    import pandas as pd


def run(config: Config, workspace: Workspace) -> StageResult:
    """Check `data/annotated` against every suite.

    Raises DamagedError if its files are not those of its manifest, and StageError (after writing the report) with the
    first failed expectation and its rows.
    """
    from iqaflow.validate import suites
    from iqaflow.validate.checks import frames
    from iqaflow.validate.report import page as report

    workspace.validation.unlink(missing_ok=True)  # an old verdict must not outlive new data
    _verify(workspace)
    options, folder = config.validate_, workspace.annotated
    docs = workspace.reports / "data_docs"

    columns = frames.columns(folder)
    data: dict[str, pd.DataFrame] = {"columns": columns, "tables": frames.tables(folder)}
    rules = suites.layout()
    if (columns["found"] == columns["expected"]).all() and data["tables"]["rows"].all():
        data |= look(config, folder)
        rules |= suites.content(options.phash_distance)
    checks = run_suites(data, rules, options.max_rows_named, docs, workspace.scratch("validate") / "data_docs")

    failed = [check for check in checks if not check.success]
    write_json(workspace.validation, verdict(checks, data))
    page = workspace.reports / "validation.html"
    write_text(page, report.page(checks, data, folder))
    result = StageResult(
        "validate",
        metrics={
            "success": float(not failed),
            "checks": float(len(checks)),
            "failed": float(len(failed)),
            "images": float(len(data.get("images", ()))),
            "conversations": float(len(data.get("conversations", ()))),
        },
        markdown=_markdown(checks, data),
        artifacts=[workspace.relative(path) for path in (page, workspace.validation, docs)],
        details={"failed": [check.says for check in failed]},
    )
    result.save(workspace)
    if failed:
        raise StageError(_sentence(failed, len(checks), data, workspace))
    return result


def look(config: Config, folder: Path) -> dict[str, pd.DataFrame]:
    """All frames that the suites judge, of tables whose columns are as they should be."""
    from iqaflow.core.process import free_cores
    from iqaflow.validate.checks import balance, dialogues, frames, leakage, pixels

    options, workers = config.validate_, config.resources.workers
    images, distortions, regions = frames.images(folder)
    seen, seen_regions = pixels.measure(
        parts(folder, "images"), MAX_PIXELS, options.pixel_rows, free_cores() if workers == "auto" else workers
    )
    images, regions = frames.complete(images.join(seen)), regions.join(seen_regions)
    data = {"images": images, "distortions": distortions, "regions": regions}
    data |= dialogues.conversations(folder, images, distortions, regions)
    conversations = data["conversations"]
    data["photographs"] = leakage.photographs(images, max(options.phash_distance, leakage.REACH))
    data["splits"] = frames.splits(images, conversations)
    data["categories"] = balance.categories(images, distortions)
    data["choices"], data["phrases"] = balance.choices(conversations), balance.phrases(conversations)
    return data


def verdict(checks: list[Check], data: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """`data/validation.json`: the same data give the same bytes."""
    return {
        "schema": "iqaflow.validation/1",
        "success": all(check.success for check in checks),
        "tables": {name: len(frame) for name, frame in sorted(data.items())},
        "counts": _counts(data),
        "expectations": [
            {
                "table": check.table,
                "expectation": check.expectation,
                "column": check.column,
                "says": check.says,
                "success": check.success,
                "unexpected_count": check.unexpected_count,
                "rows": check.rows,
                "remedy": "" if check.success else remedy(check.table, check.column),
            }
            for check in checks
        ],
    }


def _verify(workspace: Workspace) -> None:
    """The files are the manifest's, all of them and no others."""
    folder = workspace.annotated
    listed = read_manifest(folder, verify=True)["files"]
    for table in ("images", "conversations"):
        part_files = parts(folder, table)
        if not part_files:
            raise StageError(f"{folder} holds no {table} table: run `iqaflow annotate` first.")
        for path in part_files:
            if path.relative_to(folder).as_posix() not in listed:
                raise DamagedError(f"{path} is not in the manifest: remove it or run `iqaflow annotate` again.")


def _counts(data: dict[str, pd.DataFrame]) -> dict[str, Any]:
    if "splits" not in data:
        return {}
    task_counts = Counter(data["conversations"]["task"].fillna("missing"))
    return {
        "split": {row.pop("split"): row for row in data["splits"].to_dict("records")},
        "task": {task: task_counts[task] for task in sorted({*tasks.names(), *task_counts})},
        "category": {
            category: {row["split"]: row["images"] for row in mine.to_dict("records")}
            for category, mine in data["categories"].groupby("category", sort=False)
        },
        "decoded": int(data["images"]["decoded"].sum()),
    }


def _sentence(failed: list[Check], total: int, data: dict[str, pd.DataFrame], workspace: Workspace) -> str:
    first = failed[0]
    rows = "; ".join(" ".join(f"{key}={_word(value)}" for key, value in row.items()) for row in first.rows[:3])
    more = f" and {first.unexpected_count - 3} more" if first.unexpected_count > 3 else ""
    return (
        f"{workspace.relative(workspace.annotated)} fails {len(failed)} of {total} checks, first: "
        f'"{first.says}" does not hold for {first.unexpected_count} of {len(data[first.table])} rows of {first.table} '
        f"({rows}{more}); see {workspace.relative(workspace.reports / 'validation.html')}, "
        f"then {remedy(first.table, first.column)}."
    )


def _word(value: Any) -> str:
    """A value inside a sentence: one line, and visible even if it is empty."""
    text = "missing" if value is None else " ".join(str(value).split())
    return (text if len(text) <= 80 else f"{text[:79]}…") or "''"


def _markdown(checks: list[Check], data: dict[str, pd.DataFrame]) -> str:
    failed = [check for check in checks if not check.success]
    lines = [
        f"## validate: {'failed' if failed else 'passed'}\n",
        f"{len(checks) - len(failed)} of {len(checks)} checks hold. Read [reports/validation.html](reports/validation.html) "
        "or Great Expectations' [Data Docs](reports/data_docs/index.html); the stage's MLflow run keeps both.\n",
    ]
    if "splits" in data:
        lines += ["| split | photographs | images | conversations |", "|---|---|---|---|"]
        lines += [
            f"| {row.split} | {row.photographs} | {row.images} | {row.conversations} |" for row in data["splits"].itertuples()
        ]
        origins = data["images"].groupby(["origin", "dataset"], dropna=False).size()
        lines += ["\n| origin | data set | images |", "|---|---|---|"]
        lines += [f"| {_word(origin)} | {_word(dataset)} | {count} |" for (origin, dataset), count in origins.items()]
    for check in failed:
        ids = ", ".join("/".join(_word(row[key]) for key in IDS[check.table] if key in row) for row in check.rows[:5])
        lines.append(
            f"\n- {check.table}: {check.says} Not so for {plural(check.unexpected_count, 'row')}: "
            f"`{ids.replace('`', '')}`. To do: {remedy(check.table, check.column)}."
        )
    return "\n".join(lines) + "\n"
