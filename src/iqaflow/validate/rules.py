"""The few shapes of Great Expectations' rules that the suites use, each with the sentence people read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

NUMBERS = "none one two three four five six seven eight nine ten eleven twelve".split()


def counted(number: int) -> str:
    """A number as people write it: a word up to twelve."""
    return NUMBERS[number] if number < len(NUMBERS) else str(number)


def between(
    column: str, low: float | None, high: float | None, says: str, when: Any = None, of: tuple[str, ...] = ()
) -> Expectation:
    """Values in [low, high]; `of` names columns worth showing beside a failing value."""
    import great_expectations.expectations as gxe

    return gxe.ExpectColumnValuesToBeBetween(
        column=column, min_value=low, max_value=high, row_condition=when, description=says, meta={"show": list(of)}
    )


def among(column: str, values: Any, says: str, when: Any = None, of: tuple[str, ...] = ()) -> Expectation:
    import great_expectations.expectations as gxe

    return gxe.ExpectColumnValuesToBeInSet(
        column=column, value_set=list(values), row_condition=when, description=says, meta={"show": list(of)}
    )


def empty(column: str, says: str, when: Any = None, of: tuple[str, ...] = ()) -> Expectation:
    """No value: the column holds a fault in words where there is one."""
    import great_expectations.expectations as gxe

    return gxe.ExpectColumnValuesToBeNull(column=column, row_condition=when, description=says, meta={"show": list(of)})


def filled(column: str, says: str, when: Any = None) -> Expectation:
    import great_expectations.expectations as gxe

    return gxe.ExpectColumnValuesToNotBeNull(column=column, row_condition=when, description=says)


def like(column: str, regex: str, says: str) -> Expectation:
    import great_expectations.expectations as gxe

    return gxe.ExpectColumnValuesToMatchRegex(column=column, regex=regex, description=says)


def once(columns: tuple[str, ...], says: str) -> Expectation:
    """No two rows have the same values in these columns."""
    import great_expectations.expectations as gxe

    if len(columns) == 1:
        return gxe.ExpectColumnValuesToBeUnique(column=columns[0], description=says)
    return gxe.ExpectCompoundColumnsToBeUnique(column_list=list(columns), description=says)


def equal(a: str, b: str, says: str) -> Expectation:
    import great_expectations.expectations as gxe

    return gxe.ExpectColumnPairValuesToBeEqual(column_A=a, column_B=b, ignore_row_if="either_value_is_missing", description=says)


def above(a: str, b: str, says: str, or_equal: bool = False, of: tuple[str, ...] = ()) -> Expectation:
    import great_expectations.expectations as gxe

    return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
        column_A=a,
        column_B=b,
        or_equal=or_equal,
        description=says,
        ignore_row_if="either_value_is_missing",
        meta={"show": list(of)},
    )
