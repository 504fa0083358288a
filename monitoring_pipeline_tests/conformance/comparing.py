"""When a found value is the expected one. Every field that a case expects is compared; there is no benefit of doubt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from monitoring_pipeline.timegrid import parse_moment
from monitoring_pipeline_tests.conformance.cases import Case, Json

_ROUNDING = 1e-12
"""Relative difference of numbers that are the same but for the order of additions."""

_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True)
class Unknown:
    """Found for a field that the adapter cannot tell; equal to nothing."""

    why: str

    def __str__(self) -> str:
        return f"({self.why})"


@dataclass(frozen=True)
class Check:
    """One expected value and what was found for it."""

    name: str
    expected: Any
    found: Any
    tolerance: float = 0.0
    relative: float = _ROUNDING

    @property
    def passed(self) -> bool:
        return agrees(self.expected, self.found, tolerance=self.tolerance, relative=self.relative)


def compare(case: Case, found: Json, *, expected: Json | None = None, at: str = "") -> Iterator[Check]:
    """A check for every field that is expected, within the tolerances of the case."""
    wanted = case.expected if expected is None else expected
    for name, value in wanted.items():
        known = ", ".join(sorted(found))
        yield check(case, f"{at}{name}", value, found.get(name, Unknown(f"not told here; told are {known}")))


def check(case: Case, name: str, expected: Any, found: Any) -> Check:
    """One check within the tolerances of the case."""
    relative = case.get("tolerance_rel")
    return Check(
        name,
        expected,
        found,
        float(case.get("tolerance", 0.0)),
        _ROUNDING if relative is None else float(relative),
    )


def agrees(expected: Any, found: Any, *, tolerance: float = 0.0, relative: float = _ROUNDING) -> bool:
    """Whether a found value is the expected one.

    `{"not_null": true}` wants any value, null wants none (NaN is none), an object wants each of its keys, a list all of
    its entries in their order. Numbers may differ by the absolute or the relative tolerance; "NaN", "Infinity" and
    "-Infinity" are numbers, and a number may be expected as text. Moments are compared as such.
    """
    found = found.item() if isinstance(found, np.generic) else found
    if isinstance(found, Unknown):
        return False
    if isinstance(expected, Mapping):
        if set(expected) == {"not_null"}:
            return _is_null(found) is not bool(expected["not_null"])
        return isinstance(found, Mapping) and all(
            key in found and agrees(value, found[key], tolerance=tolerance, relative=relative)
            for key, value in expected.items()
        )
    if isinstance(expected, list):
        return (
            isinstance(found, list | tuple)
            and len(found) == len(expected)
            and all(
                agrees(one, other, tolerance=tolerance, relative=relative)
                for one, other in zip(expected, found, strict=True)
            )
        )
    if expected is None:
        return _is_null(found)
    if isinstance(expected, bool) or isinstance(found, bool):
        return isinstance(expected, bool) and isinstance(found, bool) and expected is found
    number = number_of(expected)
    if isinstance(found, int | float):
        return number is not None and _near(number, found, tolerance, relative)
    if isinstance(found, datetime):
        return isinstance(expected, str) and _moment(expected) == found
    if isinstance(expected, str) and isinstance(found, str):
        # The found text may be of a kind that knows what it agrees with (a message, an error): it is asked.
        other = number_of(str(found))
        as_numbers = number is not None and other is not None and _near(number, other, tolerance, relative)
        return found == expected or as_numbers
    return type(expected) is type(found) and expected == found


def number_of(value: Any) -> float | None:
    """A value as a number: null and "NaN" are NaN; None for what is no number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        try:
            return _NUMBERS[value] if value in _NUMBERS else float(value)
        except ValueError:
            return None
    return math.nan if value is None else None


def number(value: Any) -> float:
    """A number of a vector; null and "NaN" are NaN. Raises ValueError for what is no number."""
    found = number_of(value)
    if found is None:
        raise ValueError(f"{value!r} is no number")
    return found


def _near(expected: float, found: float, tolerance: float, relative: float) -> bool:
    if math.isnan(expected) or math.isnan(found):
        return math.isnan(expected) and math.isnan(found)
    if math.isinf(expected) or math.isinf(found):
        return expected == found
    return abs(expected - found) <= max(tolerance, relative * abs(expected))


def _is_null(found: Any) -> bool:
    return found is None or (isinstance(found, float) and math.isnan(found))


def _moment(text: str) -> datetime | None:
    try:
        return parse_moment(text)
    except ValueError:
        return None
