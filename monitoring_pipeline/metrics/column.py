"""Metrics of one column, read off the scalars of its profile.

Names and edge cases are those of the reference platform's `AnalysisMetric`; what it does not have (`count_true`,
`count_nan`, `count_inf`, `quantile_50`, `variance`) follows the same pattern.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.metrics.metric import Floats, Formula, Metric, elsewhere, number, share

_COUNTED = {
    "count_null": ("n_null", "values that are missing"),
    "count_bool": ("t_bool", "booleans"),
    "count_integral": ("t_integral", "integers"),
    "count_fractional": ("t_fractional", "fractional numbers, NaN and infinities among them"),
    "count_string": ("t_string", "strings"),
    "count_object": ("t_object", "values of any other type, times among them"),
    "count_true": ("n_true", "booleans that are true"),
    "count_nan": ("n_nan", "numbers that are NaN"),
}
_UNIQUE = {
    "unique_est": "Distinct values, estimated",
    "unique_lower": "Distinct values, lower bound (two standard errors)",
    "unique_upper": "Distinct values, upper bound (two standard errors)",
}
_OWN = "of the column"
_TYPES = ("t_object", "t_fractional", "t_integral", "t_bool", "t_string")
_TYPE_NAMES = np.array(["UNKNOWN", "FRACTIONAL", "INTEGRAL", "BOOLEAN", "STRING", "NULL", ""])
_UNKNOWN, _FRACTIONAL, _INTEGRAL, _, _STRING, _NULL, _MISSING = range(7)


_number = partial(number, level="column")


def column_metrics() -> list[Metric]:
    """Every column metric."""
    return [*_counts(), *_distinct(), *_moments(), *_quantiles(), *_kinds(), *_distributions()]


def _counts() -> Iterator[Metric]:
    add_up = partial(_number, unit="values", additive=True)
    yield add_up("count", "All values, missing ones included", needs=("n",))
    for name, (scalar, what) in _COUNTED.items():
        yield add_up(name, f"How many {what}", needs=(scalar,))
        yield _number(
            f"{name}_ratio",
            f"The share of {what}, of all values",
            needs=(scalar, "n"),
            formula=_ratio(scalar),
        )
    yield add_up(
        "count_inf", "How many numbers are infinite", needs=("n_pos_inf", "n_neg_inf"), formula=_infinite
    )


def _distinct() -> Iterator[Metric]:
    for name, what in _UNIQUE.items():
        yield _number(name, what, needs=(name,), unit="values")
        yield _number(
            f"{name}_ratio", f"{what}, as a share of all values", needs=(name, "n"), formula=_ratio(name)
        )


def _moments() -> Iterator[Metric]:
    for name, what in (("mean", "Mean"), ("min", "Smallest"), ("max", "Largest")):
        yield _number(name, f"{what} of the finite numbers", needs=(name,), unit=_OWN)
    spread = partial(_number, needs=("m_n", "m2"))
    yield spread("variance", "Sample variance of the finite numbers", formula=_variance, unit="squared")
    yield spread("stddev", "Sample standard deviation", formula=_stddev, unit=_OWN)


def _quantiles() -> Iterator[Metric]:
    yield _number("median", "Median", needs=("quantile_50",), unit=_OWN)
    for rank in (5, 25, 50, 75, 90, 95, 99):
        name = f"quantile_{rank}"
        yield _number(name, f"The value that {rank} % of the numbers lie below", needs=(name,), unit=_OWN)


def _kinds() -> Iterator[Metric]:
    yield _number(
        "discrete",
        "1 where there are few distinct values, 0 where not",
        needs=("n", "unique_est", "n_null", *_TYPES),
        formula=_discrete,
    )
    yield Metric(
        name="inferred_data_type",
        level="column",
        unit="",
        kind="text",
        additive=False,
        needs=("n_null", *_TYPES),
        formula=_inferred_type,
        description="The type of most values: NULL, UNKNOWN, FRACTIONAL, INTEGRAL, BOOLEAN or STRING",
    )


def _distributions() -> Iterator[Metric]:
    for name, sketch, what in (
        ("histogram", "kll.v1", "The distribution of the numbers"),
        ("frequent_items", "frequent_items.v1", "The commonest values"),
    ):
        where = f"is a distribution: read it off the profile's {sketch}, not off its scalars"
        yield elsewhere(name, what, level="column", where=where, sketch=sketch)


def _ratio(name: str) -> Formula:
    return lambda scalars: share(scalars[name], scalars["n"])


def _infinite(scalars: Mapping[str, Floats]) -> Floats:
    return scalars["n_pos_inf"] + scalars["n_neg_inf"]


def _variance(scalars: Mapping[str, Floats]) -> Floats:
    return share(scalars["m2"], scalars["m_n"] - 1)


def _stddev(scalars: Mapping[str, Floats]) -> Floats:
    return np.sqrt(_variance(scalars))


def _discrete(scalars: Mapping[str, Floats]) -> Floats:
    """`ResultPostAggregatorNoDruid.java`: by type, else whether (distinct + 1) / n is at most 0.15."""
    n, distinct = np.asarray(scalars["n"], np.float64), np.asarray(scalars["unique_est"], np.float64)
    few = ((distinct < 1) | (share(distinct + 1, n) <= 0.15)) & (distinct < n) & (n >= 1)
    found = np.where(np.isnan(distinct) | np.isnan(n), np.nan, few.astype(np.float64))
    kind = _inferred_code(scalars)
    found = np.where((kind == _STRING) | (kind == _UNKNOWN), 1.0, found)
    return np.where(kind == _FRACTIONAL, 0.0, np.where(kind == _MISSING, np.nan, found))


def _inferred_type(scalars: Mapping[str, Floats]) -> NDArray[np.str_]:
    return _TYPE_NAMES[_inferred_code(scalars)]


def _inferred_code(scalars: Mapping[str, Floats]) -> NDArray[np.intp]:
    """The rules of `ResultPostAggregatorNoDruid.java`, in their order, as places in `_TYPE_NAMES`."""
    counts = np.stack([np.asarray(scalars[name], np.float64) for name in _TYPES])
    missing = np.isnan(counts).all(axis=0) & np.isnan(scalars["n_null"])
    counts = np.nan_to_num(counts)
    total = counts.sum(axis=0)
    candidate = counts.argmax(axis=0)
    best = np.nan_to_num(share(counts.max(axis=0), total))
    numeric = counts[_FRACTIONAL] + counts[_INTEGRAL]
    strings = (candidate == _STRING) & (counts[_STRING] > numeric)
    mixed = np.nan_to_num(share(numeric, total)) >= 0.5
    widened = np.where((best > 0.7) | strings | (best >= 0.5) | ~mixed, candidate, _FRACTIONAL)
    empty = np.where(np.nan_to_num(scalars["n_null"]) > 0, _NULL, _UNKNOWN)
    return np.where(missing, _MISSING, np.where(total == 0, empty, widened))
