"""Runs the suites in Great Expectations, names the failing rows, and builds its Data Docs.

Data Docs are an artifact for people who know Great Expectations; what everybody reads is report.py's page.
"""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqaflow.validate.check import Check
from iqaflow.validate.checks.frames import IDS
from iqaflow.validate.report import data_docs

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.expectations import Expectation

# Data Docs put values into their pages unescaped, and answers are untrusted text
UNSAFE = "<>&\"'`"
HARMLESS = str.maketrans(dict(zip(UNSAFE, "‹›＆”’‘", strict=True)))
SELECTORS = ("task", "extent")  # columns that row conditions read
LONGEST = 200  # characters of a value that are kept


def run_suites(
    frames: dict[str, pd.DataFrame], suites: dict[str, list[Expectation]], named: int, docs: Path, scratch: Path
) -> list[Check]:
    """Validate each frame against its suite; checks in the order of the suites. Replaces the Data Docs in `docs`."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    shutil.rmtree(scratch, ignore_errors=True)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    for site in list(context.variables.data_docs_sites or {}):
        context.delete_data_docs_site(site)
    context.add_data_docs_site(
        "annotated",
        {
            "class_name": "SiteBuilder",
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(scratch.resolve())},
        },
    )
    source = context.data_sources.add_pandas("annotated")
    checks: list[Check] = []
    for table, expectations in suites.items():
        for number, expectation in enumerate(expectations):
            expectation.meta = {**(expectation.meta or {}), "number": number}  # results come back in another order
        frame = frames[table].reset_index(drop=True)
        used = {
            *IDS[table],
            *SELECTORS,
            *(name for expectation in expectations for name in _columns(expectation.configuration.kwargs)),
        }
        batch = source.add_dataframe_asset(table).add_batch_definition_whole_dataframe("all")
        suite = context.suites.add(gx.ExpectationSuite(table, expectations=expectations))
        definition = gx.ValidationDefinition(name=table, data=batch, suite=suite)
        outcome = context.validation_definitions.add(definition).run(
            batch_parameters={"dataframe": _harmless(frame, used)},
            result_format={
                "result_format": "COMPLETE",
                "unexpected_index_column_names": ["row", *IDS[table]],
                "partial_unexpected_count": named,
            },
        )
        results = {_number(result): result for result in outcome.results}
        checks += [_check(table, expectation, results[number], frame, named) for number, expectation in enumerate(expectations)]
    context.build_data_docs()
    data_docs.publish(scratch, docs, checks, {name: len(frame) for name, frame in frames.items()})
    return checks


def _harmless(frame: pd.DataFrame, columns: set[str]) -> pd.DataFrame:
    """A copy of these columns with the row number as one more, and no markup in any text."""
    frame = frame[[column for column in frame.columns if column in columns]].copy()
    for column in frame.columns:
        if frame[column].dtype.kind not in "biuf":
            texts = frame[column]
            unsafe = texts.where(texts.notna(), "").astype(str).str.contains(f"[{UNSAFE}]", regex=True)
            if unsafe.any():
                values = texts.to_numpy(dtype=object, copy=True)
                for row in unsafe.to_numpy().nonzero()[0]:
                    values[row] = str(values[row]).translate(HARMLESS)
                frame[column] = values
    frame["row"] = range(len(frame))
    return frame


def _columns(kwargs: dict[str, Any]) -> list[str]:
    """The columns that an expectation looks at."""
    return [kwargs[key] for key in ("column", "column_A", "column_B") if kwargs.get(key)] + (kwargs.get("column_list") or [])


def _check(table: str, expectation: Expectation, result: Any, frame: pd.DataFrame, named: int) -> Check:
    kwargs = result.expectation_config.kwargs
    columns = _columns(kwargs)
    check = Check(table, result.expectation_config.type, ", ".join(columns), expectation.description or "", bool(result.success))
    if check.success:
        return check
    offenders = [entry["row"] for entry in result.result.get("unexpected_index_list") or ()]
    check.unexpected_count = len(offenders) or int(result.result.get("unexpected_count") or 0)
    shown = [*IDS[table], *columns, *((expectation.meta or {}).get("show") or ())]
    check.rows = [{column: _value(frame[column], row) for column in dict.fromkeys(shown)} for row in offenders[:named]]
    if not offenders:  # a statement about the whole table, or one that could not be computed
        check.unexpected_count = 1
        raised = [entry.get("exception_message") for entry in _exceptions(result.exception_info)]
        check.rows = [{"observed": plain(next(filter(None, raised), result.result.get("observed_value")))}]
    return check


def _value(column: pd.Series, row: int) -> Any:
    """NaN in a column of numbers is a value to name; among texts pandas means that nothing is there."""
    value = column.iloc[row]
    return None if column.dtype.kind not in "biuf" and value != value else plain(value)


def _exceptions(info: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Great Expectations keeps one exception flat and several by metric."""
    info = info or {}
    return [info] if "raised_exception" in info else list(info.values())


def plain(value: Any) -> Any:
    """A value as strict JSON holds it: no NaN, no numpy, short texts, six digits."""
    if hasattr(value, "item"):
        value = value.item()
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return int(value) if value.is_integer() and abs(value) < 2**53 else float(f"{value:.6g}")
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _number(result: Any) -> int:
    """Which of the expectations a result is of: the library may answer in another order."""
    return int(result.expectation_config.meta["number"])
