"""What a metric is: a name, what it needs, and a formula over arrays of any shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.errors import UsageError

Floats = NDArray[np.float64]
Formula = Callable[[Mapping[str, NDArray]], NDArray]
Level = Literal["column", "dataset"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric.

    `formula` takes arrays named as in `needs` (float64 of one shape, NaN where missing) and gives an array of that
    shape: float64 with NaN where the metric has no value, or for `kind` "text" strings with "" there. `needs` are
    scalars of a column's profile, or at `level` "dataset" of the dataset-level row. `additive` says that the value
    of several buckets together is the sum of theirs. A metric of `kind` "distribution" is a whole sketch (the
    component named by `sketch`), and one of `source` "batch" comes from when data arrived; neither is computed by
    its formula, which raises UsageError. A metric at `level` "dataset" with a `column` is one of that column, read
    off the column's profile and said of the dataset.
    """

    name: str
    level: Level
    unit: str
    kind: Literal["number", "text", "distribution"]
    additive: bool
    needs: tuple[str, ...]
    formula: Formula
    description: str
    source: Literal["profile", "batch"] = "profile"
    sketch: str | None = None
    expression: str | None = None
    """What a metric of a dataset's own is worked out from, with the expressions of such metrics that it names."""
    column: str | None = None


def number(
    name: str,
    description: str,
    *,
    level: Level,
    needs: Sequence[str],
    formula: Formula | None = None,
    unit: str = "share",
    additive: bool = False,
    sketch: str | None = None,
) -> Metric:
    """A metric that is a number; without a formula it is the one scalar that it needs, as it is."""
    return Metric(
        name=name,
        level=level,
        unit=unit,
        kind="number",
        additive=additive,
        needs=tuple(needs),
        formula=_as_it_is(*needs) if formula is None else formula,
        description=description,
        sketch=sketch,
    )


def elsewhere(
    name: str,
    description: str,
    *,
    level: Level,
    where: str,
    kind: Literal["number", "distribution"] = "distribution",
    unit: str = "",
    source: Literal["profile", "batch"] = "profile",
    sketch: str | None = None,
) -> Metric:
    """A metric that scalars do not tell; whoever asks them for it learns `where` it is."""

    def formula(scalars: Mapping[str, NDArray]) -> NDArray:  # noqa: ARG001
        raise UsageError(f"metric {name} {where}")

    return Metric(
        name=name,
        level=level,
        unit=unit,
        kind=kind,
        additive=False,
        needs=(),
        formula=formula,
        description=description,
        source=source,
        sketch=sketch,
    )


def share(part: Floats, whole: Floats) -> Floats:
    """`part` / `whole`; NaN where either is missing or `whole` is not positive."""
    shape = np.broadcast_shapes(np.shape(part), np.shape(whole))
    return np.divide(part, whole, out=np.full(shape, np.nan), where=np.asarray(whole) > 0)


def _as_it_is(scalar: str) -> Formula:
    return lambda scalars: np.asarray(scalars[scalar], np.float64)
