"""The few shapes of Great Expectations' rules that the suites use, each with the sentence people read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation


def filled(*columns: str) -> list[Expectation]:
    import great_expectations.expectations as gxe

    return [
        gxe.ExpectColumnValuesToNotBeNull(column=column, description=f"Every `{column}` is given and is not NaN.")
        for column in columns
    ]


def between(
    column: str, low: float | None, high: float | None, says: str, when: Any = None, of: str | None = None
) -> Expectation:
    """Values in [low, high]; `of` names a column worth showing beside a failing value."""
    import great_expectations.expectations as gxe

    return gxe.ExpectColumnValuesToBeBetween(
        column=column,
        min_value=low,
        max_value=high,
        row_condition=when,
        description=says,
        meta={"show": of} if of else None,
    )


def among(column: str, values: Any, says: str, when: Any = None, of: str | None = None) -> Expectation:
    import great_expectations.expectations as gxe

    return gxe.ExpectColumnValuesToBeInSet(
        column=column, value_set=list(values), row_condition=when, description=says, meta={"show": of} if of else None
    )


def equal(a: str, b: str, says: str) -> Expectation:
    import great_expectations.expectations as gxe

    return gxe.ExpectColumnPairValuesToBeEqual(
        column_A=a, column_B=b, ignore_row_if="either_value_is_missing", description=says
    )


def above(a: str, b: str, says: str, or_equal: bool = False) -> Expectation:
    import great_expectations.expectations as gxe

    return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
        column_A=a, column_B=b, or_equal=or_equal, description=says, ignore_row_if="either_value_is_missing"
    )
