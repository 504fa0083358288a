"""What a metric is: a name, what it needs, and a formula over arrays of any shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Formula = Callable[[Mapping[str, NDArray]], NDArray]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric.

    `formula` takes arrays named as in `needs` (float64 of one shape, NaN where missing) and gives an array of that
    shape: float64 with NaN where the metric has no value, or for `kind` "text" strings with "" there. `needs` are
    scalars of a column's profile, or at `level` "dataset" of the dataset-level row. `additive` says that the value
    of several buckets together is the sum of theirs. A metric of `kind` "distribution" is a whole sketch (the
    component named by `sketch`), and one of `source` "batch" comes from when data arrived; neither is computed by
    its formula, which raises UsageError.
    """

    name: str
    level: Literal["column", "dataset"]
    unit: str
    kind: Literal["number", "text", "distribution"]
    additive: bool
    needs: tuple[str, ...]
    formula: Formula
    description: str
    source: Literal["profile", "batch"] = "profile"
    sketch: str | None = None


def share(part: Floats, whole: Floats) -> Floats:
    """`part` / `whole`; NaN where either is missing or `whole` is not positive."""
    shape = np.broadcast_shapes(np.shape(part), np.shape(whole))
    return np.divide(part, whole, out=np.full(shape, np.nan), where=np.asarray(whole) > 0)
