"""What whylogs files say about predictions and outcomes, as the sums that our own profiles keep.

Counts, and sums of errors, are exactly those of the file. Of scores whylogs keeps number, mean and variance, which
carry over, and their distribution as a sketch: what depends on it (area under the curve, calibration, logarithmic
loss) is that of the sketch, within its error.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.profiling.performance import (
    SUMS,
    TENTHS,
    TOTALS,
    Performance,
    by_code,
    canonical,
    score_cells,
    tenth_of,
)
from monitoring_pipeline.profiling.whylogs.messages import Model, ScoreCell
from monitoring_pipeline.profiling.whylogs.sketches import kll_from_whylogs, without_infinities

_EPSILON = np.finfo(np.float64).eps
_REGRESSION: Final[tuple[str, ...]] = ("errors", "absolute_error", "error", "squared_error")

Floats = NDArray[np.float64]


def performance_from_whylogs(model: Model) -> Performance:
    """The sums of a model's metrics. Raises ProfileError when a sketch of scores is damaged."""
    used = [place for place, cell in enumerate(model.cells) if cell.n]
    cells = [model.cells[place] for place in used]
    # Where nobody gave scores, whylogs counts each as 1.
    scored = any(cell.mean != 1 or cell.m2 != 0 for cell in cells)
    pairs = np.array([divmod(place, len(model.labels)) for place in used], np.int64).reshape(-1, 2)
    sums = np.zeros((len(cells), len(SUMS)))
    sums[:, SUMS.index("weight")] = [cell.n for cell in cells]
    sums[:, SUMS.index("agreed")] = np.where(pairs[:, 0] == pairs[:, 1], sums[:, SUMS.index("weight")], 0)
    keys, mass = [np.zeros((0, 2), np.int64)], [np.zeros(0)]
    for row, cell in enumerate(cells) if scored else ():
        found = _scores(cell)
        if found is None:
            continue
        points, weights = found
        places = score_cells(points)
        _add_scores(sums[row], cell, points, weights, tenth_of(places))
        keys.append(np.stack([np.full(len(points), row), places], axis=1))
        mass.append(weights)
    return canonical(
        model.labels, pairs, sums, np.concatenate(keys), np.concatenate(mass), _totals(model, cells)
    )


def _scores(cell: ScoreCell) -> tuple[Floats, Floats] | None:
    """Scores that the sketch holds, and how many rows each stands for; None where not every row has a finite one."""
    if cell.kll is None or not math.isfinite(cell.mean) or not math.isfinite(cell.m2):
        return None
    kll, negative, positive = without_infinities(kll_from_whylogs(cell.kll))
    if not kll.n or negative or positive:
        return None
    weights = np.repeat(2.0 ** np.arange(len(kll.levels)), [len(level) for level in kll.levels])
    return np.concatenate(kll.levels), (weights * (cell.n / kll.n)).astype(np.float64, copy=False)


def _add_scores(
    row: Floats, cell: ScoreCell, points: Floats, weights: Floats, tenths: NDArray[np.int64]
) -> None:
    """The sums by `SUMS` that are of scores."""
    fair = (points >= 0) & (points <= 1)
    log, rest = (
        float(weights @ np.log(np.clip(np.where(fair, share, 1.0), _EPSILON, 1 - _EPSILON)))
        for share in (points, 1 - points)
    )
    known = {
        "scored": cell.n,
        "score": cell.n * cell.mean,
        "score_squared": cell.m2 + cell.n * cell.mean * cell.mean,
        "log_score": log,
        "log_rest": rest,
    }
    for name, total in known.items():
        row[SUMS.index(name)] = total
    start = SUMS.index("score_0")
    row[start : start + TENTHS] = by_code(tenths, [weights * points], TENTHS)[:, 0]


def _totals(model: Model, cells: list[ScoreCell]) -> Floats:
    finite = all(map(math.isfinite, model.regression))
    known: dict[str, float] = dict(zip(_REGRESSION, model.regression if finite else (), strict=False))
    known["rows"] = max(sum(cell.n for cell in cells), known.get("errors", 0.0))
    return np.array([known.get(name, 0.0) for name in TOTALS], np.float64)
