"""The shape that every algorithm has: arrays of targets and baselines in, arrays of verdicts out.

An algorithm declares in `needs` what it wants to be given, so that the engine is written once:

| needs | target | baseline |
|---|---|---|
| `series` | `(n_series, n_targets)` float64 | `(n_series, n_targets, n_window)` float64, one value per baseline bucket |
| `merged` | `(n_series, n_targets)` float64 | `(n_series, n_targets)` float64, the metric of the merged baseline |
| `distribution` | `(n_series, n_targets, n_bins)` float64 | the same: probabilities over the same bins, padded with zeros |

NaN is a missing value. An algorithm is pure: no store, no clock, no randomness that its input does not seed. It may be
a module, as the built-in ones are, or an object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.config.analyzers import AnyConfig

Needs = Literal["series", "merged", "distribution"]
Floats = NDArray[np.float64]
Column = Floats | float | str | None


@dataclass(frozen=True)
class Verdicts:
    """Verdicts on `(n_series, n_targets)` targets.

    `value` is what was judged: the metric itself, a distance or a difference. `lower` and `upper` are the bounds that
    it, or the metric, had to stay within; NaN where there is none. `columns` names the fields of `AnalyzerResult` that
    the algorithm fills, as arrays or as one value for all; a name that is not a field goes to `details`.
    """

    anomaly: NDArray[np.bool_]
    value: Floats
    lower: Floats
    upper: Floats
    failure: NDArray[np.object_]
    """`FailureType` or None."""
    explanation: NDArray[np.object_]
    """What a person is told about the failure, or None."""
    columns: Mapping[str, Column] = field(default_factory=dict)


class Algorithm(Protocol):
    """One way to judge targets. `name` is the analyzer type that it serves, or an experimental `implementation`."""

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> Needs: ...

    def evaluate(self, config: AnyConfig, target: Floats, baseline: Floats, /) -> Verdicts:
        """Judge all targets at once."""
        ...


def no_failures(shape: tuple[int, ...]) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Arrays of None for `Verdicts.failure` and `Verdicts.explanation`."""
    return np.full(shape, None, dtype=object), np.full(shape, None, dtype=object)


def fail(
    verdicts: Verdicts,
    where: NDArray[np.bool_],
    failure: FailureType,
    explanation: NDArray[np.object_] | str,
    *,
    instead: bool = False,
) -> Verdicts:
    """The same verdicts with a failure `where` there is none yet, or with `instead` also where there is one.

    A failed target is never an anomaly.
    """
    if not instead:
        where = where & np.array([one is None for one in verdicts.failure.flat]).reshape(where.shape)
    if not where.any():
        return verdicts
    failures, explanations = verdicts.failure.copy(), verdicts.explanation.copy()
    failures[where] = failure
    explanations[where] = explanation if isinstance(explanation, str) else explanation[where]
    return replace(verdicts, anomaly=verdicts.anomaly & ~where, failure=failures, explanation=explanations)


def explained(numbers: NDArray[np.int64], say: Callable[[int], str]) -> NDArray[np.object_]:
    """An explanation for each number, same shape."""
    texts = {number: say(number) for number in np.unique(numbers).tolist()}
    return np.array([texts[number] for number in numbers.ravel().tolist()], dtype=object).reshape(
        numbers.shape
    )
