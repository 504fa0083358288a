"""The shape that every algorithm has: arrays of targets and baselines in, arrays of verdicts out.

An algorithm declares in `needs` what it wants to be given, so that the engine is written once:

| needs | target | baseline |
|---|---|---|
| `series` | `(n_series, n_targets)` float64 | `(n_series, n_targets, n_window)` float64, one value per baseline bucket |
| `merged` | `(n_series, n_targets)` float64, or text | the same: the metric of the merged baseline |
| `distribution` | `(n_series, n_targets, n_bins)` float64 | the same: probabilities over the same bins, padded with zeros |
| `items` | `(n_series, n_targets)` object: `Items` or None | the same: names and how often each occurs |

NaN is a missing number, "" a missing text. An algorithm is pure: no store, no clock, no randomness that its input does
not seed. It may be a module, as the built-in ones are, or an object. An `evaluate` with a parameter named `context`
is given a `Context` by that name.

An algorithm may also have

| attribute | what | else |
|---|---|---|
| `kinds` | the kinds of metric that it judges: some of number, text, distribution | distribution for those that need one, number for others |
| `reach(analyzer)` | buckets before the window of the baseline that `series` begins with, too | 0 |
| `remembers` | True: the context has the details of the analyzer's own stored anomalies in the baselines | False |
| `merges_targets` | False: `targetSize` buckets are not merged into one target | True |
| `lists` | True: a merged baseline may be several values, along one more axis | False |
| `binning(config)` | which bins a distribution of numbers is given over: `equal` or `steps` (`distributions`) | `equal` |
| `parameters` | the `params` that it knows; others are noted to have no effect | none |
| `Config` | the pydantic model of its `config` block, a `CustomConfig`, when it serves a type of its own | none |
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.draws import uniforms
from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.config.analyzers import Analyzer, AnyConfig
from monitoring_pipeline.errors import AnalysisError
from monitoring_pipeline.timegrid import Granularity

Needs = Literal["series", "merged", "distribution", "items"]
Binning = Literal["equal", "steps"]
Floats = NDArray[np.float64]
Column = NDArray[Any] | float | str | None

KINDS = ("number", "text", "distribution")

_AXES: Mapping[Needs, tuple[int, int]] = {
    "series": (2, 3),
    "merged": (2, 2),
    "distribution": (3, 3),
    "items": (2, 2),
}
"""Axes of the target and of the baseline."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What is known about the arrays: whose they are and when. Bucket indices are those of `Granularity.index`."""

    analyzer_id: str
    granularity: Granularity
    keys: tuple[tuple[str, str], ...]
    """(segment key, column) of every series."""
    targets: NDArray[np.int64]
    """Bucket index of every target, (n_targets,)."""
    baseline_starts: NDArray[np.int64] | None = None
    """Bucket index of the first baseline value of every target, (n_targets,); None for what is in no bucket."""
    positions: Floats | None = None
    """Where the bins of a distribution over `steps` lie, (n_series, n_targets, n_bins); padding repeats the last."""
    earlier: Mapping[tuple[tuple[str, str], int], Mapping[str, object]] = field(default_factory=dict)
    """Details of the analyzer's stored anomalies by (series, bucket index), for an algorithm that `remembers`."""

    def uniforms(self, series: int, bucket: int, count: int, *, seed: str = "") -> Floats:
        """Numbers in [0, 1), (count,), that belong to a series and a bucket: a replay draws the same."""
        return uniforms(f"{seed}|{self.analyzer_id}", *self.keys[series], str(bucket), count=count)


@dataclass(frozen=True)
class Verdicts:
    """Verdicts on `(n_series, n_targets)` targets.

    `value` is what was judged: the metric itself, a distance or a difference; NaN for what is no number. `lower` and
    `upper` are the bounds that it, or the metric, had to stay within; NaN where there is none. `columns` names the
    fields of `AnalyzerResult` that the algorithm fills, as arrays (of numbers, or of objects that JSON can hold) or as
    one value for all; a name that is not a field goes to `details`.
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

    @property
    def evaluate(self) -> Callable[..., Verdicts]:
        """Judge all targets at once: `evaluate(config, target, baseline)`."""
        ...


def kinds_of(algorithm: Algorithm) -> tuple[str, ...]:
    """The kinds of metric that an algorithm judges."""
    default = ("distribution",) if algorithm.needs in ("distribution", "items") else ("number",)
    return getattr(algorithm, "kinds", default)


def reach_of(algorithm: Algorithm, analyzer: Analyzer) -> int:
    """Buckets before the baseline's window that an algorithm looks at, too."""
    reach = getattr(algorithm, "reach", None)
    return reach(analyzer) if reach is not None and algorithm.needs == "series" else 0


def binning_of(algorithm: Algorithm, config: AnyConfig) -> Binning:
    """Over which bins an algorithm compares distributions of numbers."""
    binning = getattr(algorithm, "binning", None)
    return "equal" if binning is None else binning(config)


def merges_targets(algorithm: Algorithm) -> bool:
    """Whether the buckets of a target become one value."""
    return getattr(algorithm, "merges_targets", True)


def remembers(algorithm: Algorithm) -> bool:
    """Whether an algorithm goes on from its earlier results."""
    return getattr(algorithm, "remembers", False)


def takes_lists(algorithm: Algorithm) -> bool:
    """Whether a merged baseline may be several values, (n_series, n_targets, n_values)."""
    return getattr(algorithm, "lists", False)


def judge(
    algorithm: Algorithm, config: AnyConfig, target: NDArray[Any], baseline: NDArray[Any], context: Context
) -> Verdicts:
    """Run an algorithm; the context goes to those that ask for it.

    Raises AnalysisError for arrays that do not have the shapes that it `needs`.
    """
    _check_inputs(algorithm, target, baseline)
    asks = "context" in inspect.signature(algorithm.evaluate).parameters
    return algorithm.evaluate(config, target, baseline, **({"context": context} if asks else {}))


def _check_inputs(algorithm: Algorithm, target: NDArray[Any], baseline: NDArray[Any]) -> None:
    of_target, of_baseline = _AXES[algorithm.needs]
    fits = target.ndim == of_target and target.shape[:2] == baseline.shape[:2]
    if fits and (baseline.ndim == of_baseline or (baseline.ndim == 3 and takes_lists(algorithm))):
        return
    one = "one merged value" if of_baseline == 2 else "values along one more axis"
    raise AnalysisError(
        f"{algorithm.name} needs one value of each target, and {one} of its baseline "
        f"(a target of {of_target} axes, a baseline of {of_baseline}); "
        f"found the shapes {target.shape} and {baseline.shape}"
    )


def no_failures(shape: tuple[int, ...]) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Arrays of None for `Verdicts.failure` and `Verdicts.explanation`."""
    return np.full(shape, None, dtype=object), np.full(shape, None, dtype=object)


def no_numbers(anomaly: NDArray[np.bool_], columns: Mapping[str, Column]) -> Verdicts:
    """Verdicts of a comparison that has neither a number nor bounds; nothing has failed."""
    unknown = np.full(anomaly.shape, np.nan)
    return Verdicts(anomaly, unknown, unknown, unknown, *no_failures(anomaly.shape), columns)


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
        where = where & absent(verdicts.failure)
    if not where.any():
        return verdicts
    failures, explanations = verdicts.failure.copy(), verdicts.explanation.copy()
    failures[where] = failure
    explanations[where] = explanation if isinstance(explanation, str) else explanation[where]
    return replace(verdicts, anomaly=verdicts.anomaly & ~where, failure=failures, explanation=explanations)


def absent(objects: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Where there is None, same shape."""
    return np.array([one is None for one in objects.flat], dtype=np.bool_).reshape(objects.shape)


def fail_all(verdicts: Verdicts, failure: FailureType, explanation: str) -> Verdicts:
    """The same verdicts, all of them failed for one reason."""
    return fail(verdicts, np.ones(verdicts.anomaly.shape, dtype=np.bool_), failure, explanation)


def explained(numbers: NDArray[np.int64], say: Callable[[int], str]) -> NDArray[np.object_]:
    """An explanation for each number, same shape."""
    texts = {number: say(number) for number in np.unique(numbers).tolist()}
    return np.array([texts[number] for number in numbers.ravel().tolist()], dtype=object).reshape(
        numbers.shape
    )
