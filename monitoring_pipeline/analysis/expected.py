"""Values that a document expects, and when an observed one is the same.

A number is the same as another within one unit in the last place of the expected one (Java's `Math.ulp`, as in the
reference), so that 0.1 + 0.2 is 0.3; NaN is the same as NaN only. A text is the same when every character is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.config.analyzers import ExpectedValue
from monitoring_pipeline.errors import AnalysisError


def is_text(values: NDArray[Any]) -> bool:
    """Whether these are values of a text metric."""
    return values.dtype.kind in "UO"


def missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where there is no value."""
    return values == "" if is_text(values) else np.isnan(values)


def expected_value(given: ExpectedValue, *, text: bool) -> float | str:
    """What a text or a number is compared with. Raises AnalysisError when it cannot be compared."""
    if text:
        found = given.text if given.text is not None or given.whole is None else str(given.whole)
        if found is None:
            raise AnalysisError(
                f'a text is expected to be the number {given.number:g}; write {{"str": …}} instead'
            )
        return found
    for number in (given.number, given.whole):
        if number is not None:
            return float(number)
    try:
        return float(given.text or "")
    except ValueError:
        raise AnalysisError(f"a number is expected to be {given.text!r}, which is no number") from None


def same(observed: NDArray[Any], expected: NDArray[Any] | float | str) -> NDArray[np.bool_]:
    """Where observed values are the expected ones; shapes are broadcast.

    >>> same(np.array([9.000000000000002, 9.000000000000004]), 9.0).tolist()
    [True, False]
    """
    if is_text(observed):
        return np.asarray(observed == expected, dtype=np.bool_)
    wanted = np.asarray(expected, dtype=np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(wanted - observed) <= np.spacing(np.abs(wanted))
    return near | (wanted == observed) | (np.isnan(wanted) & np.isnan(observed))
