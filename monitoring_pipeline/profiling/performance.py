"""How well predictions met what came true, as sums that merge: a component of the profile of a whole segment.

A classifier's confusion matrix, its scores by label as a histogram of fixed cells, a regression's sums of errors, and
the value that each outcome was worth. Everything that the usual quality figures need is a sum over rows, so days merge
into weeks exactly (up to the rounding of doubles). The figures themselves are in `metrics.performance`; rows become
sums in `judging`.

Labels beyond `MAX_LABELS` are counted together as "(other)", the rarest first; accuracy stays exact all the same,
because every pair of labels also counts the rows on which prediction and outcome agreed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling import kernels, wire

PERFORMANCE: Final = "performance.v1"
"""Name and version of the component."""

MAX_LABELS: Final = 64
OTHER: Final = "(other)"

CELLS: Final = 1_000
"""Score cells between 0 and 1; the score 1 has a cell of its own."""

TENTHS: Final = 10
"""Bins of scores for calibration: [0, 0.1), …, [0.9, 1]."""

SUMS: Final = (
    *("weight", "agreed", "value", "scored", "score", "score_squared", "log_score", "log_rest"),
    *(f"score_{tenth}" for tenth in range(TENTHS)),
)
"""Sums over the rows of one pair of labels. `weight`: of the rows; `agreed`: of those whose labels are equal; `value`:
of the value column; `scored`: weight of the rows with a score; then, weighted, the score, its square, the logarithms of
it and of its distance to 1 (0 for scores outside [0, 1]), and the score by tenth."""

TOTALS: Final = (
    "rows",
    "waiting",
    "orphans",
    "unusable",
    "value_rows",
    "value",
    "errors",
    "error",
    "absolute_error",
    "squared_error",
)
"""Sums over all rows. `rows`: judged ones; `waiting`: predictions without an outcome yet; `orphans`: outcomes of rows
that are not there; `unusable`: neither label nor score nor number, or no positive weight. `value_rows`, `value`: the
value column. `errors`: weight of the pairs of numbers, and the weighted sums of prediction minus target."""

_HEAD = struct.Struct("<III")
_BITS = 45  # of a double's mantissa that a cell outside [0, 1] disregards: 128 cells for each doubling
_ONE = int(np.float64(1.0).view(np.int64)) >> _BITS


@dataclass(frozen=True, eq=False)
class Performance:
    """Predictions against outcomes. `EMPTY` is that of nothing.

    `labels` ascending, "(other)" last. `pairs` (pairs, 2) int64: places of the predicted and the actual label, the
    predicted one -1 where there was none, only a score. `sums` (pairs, 18) float64 by `SUMS`. `cells` (cells, 2) int64:
    place of the pair, and score cell (`score_cells`); `mass` (cells,) float64: weight of its rows. `totals` (10,)
    float64 by `TOTALS`. `positive`: the label that is judged against all others; "" where nobody said which.
    """

    labels: tuple[str, ...]
    pairs: NDArray[np.int64]
    sums: NDArray[np.float64]
    cells: NDArray[np.int64]
    mass: NDArray[np.float64]
    totals: NDArray[np.float64]
    positive: str = ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Performance) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def total(self, name: str) -> float:
        """One of `TOTALS`."""
        return float(self.totals[TOTALS.index(name)])

    def merge(self, other: Performance) -> Performance:
        """Both together."""
        return merge_performance([self, other])

    def to_bytes(self) -> bytes:
        """As a component; the container around all components of a profile seals and compresses it."""
        return b"".join(
            [
                _HEAD.pack(len(self.labels), len(self.pairs), len(self.cells)),
                *(wire.chunk(label.encode("utf-8", "surrogatepass")) for label in self.labels),
                self.pairs.astype("<i2").tobytes(),
                self.sums.astype("<f8").tobytes(),
                self.cells.astype("<i4").tobytes(),
                self.mass.astype("<f8").tobytes(),
                self.totals.astype("<f8").tobytes(),
                wire.chunk(self.positive.encode("utf-8", "surrogatepass")) if self.positive else b"",
            ]
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Performance:
        """Inverse of `to_bytes`. Raises ProfileError unless every part of it fits together."""
        reader = wire.Reader(data, what="performance")
        n_labels, n_pairs, n_cells = (int(number) for number in reader.fields(_HEAD))
        if n_labels > MAX_LABELS + 1:
            raise ProfileError(
                f"performance: {n_labels} labels; at most {MAX_LABELS} and {OTHER} are accepted"
            )
        labels = tuple(_label(reader) for _ in range(n_labels))
        pairs = _table(reader, "<i2", n_pairs, 2).astype(np.int64)
        sums = _table(reader, "<f8", n_pairs, len(SUMS)).astype(np.float64)
        cells = _table(reader, "<i4", n_cells, 2).astype(np.int64)
        mass = _table(reader, "<f8", n_cells, 1).astype(np.float64)[:, 0]
        totals = _table(reader, "<f8", 1, len(TOTALS)).astype(np.float64)[0]
        positive = _label(reader) if reader.left else ""
        reader.finish()
        inside = (pairs[:, 0] >= -1) & (pairs[:, 1] >= 0) & (pairs < n_labels).all(axis=1)
        if not inside.all() or ((cells[:, 0] < 0) | (cells[:, 0] >= n_pairs)).any():
            raise ProfileError("performance: damaged, it points at labels that are not there")
        return cls(labels, pairs, sums, cells, mass, totals, positive)


def merge_performance(parts: Iterable[Performance]) -> Performance:
    """Everything together; the order matters only for which labels are left when there are more than `MAX_LABELS`.

    Of several positive labels the first in the alphabet stays.
    """
    found = list(parts)
    if len(found) == 1:
        return found[0]
    texts: dict[str, int] = {}
    pairs, cells, offset = [], [], 0
    for part in found:
        places = np.array([*(texts.setdefault(label, len(texts)) for label in part.labels), -1], np.int64)
        pairs.append(places[part.pairs])
        cells.append(part.cells + np.array([offset, 0]))
        offset += len(part.pairs)
    merged = canonical(
        list(texts),
        np.concatenate([np.zeros((0, 2), np.int64), *pairs]),
        np.concatenate([np.zeros((0, len(SUMS))), *(part.sums for part in found)]),
        np.concatenate([np.zeros((0, 2), np.int64), *cells]),
        np.concatenate([np.zeros(0), *(part.mass for part in found)]),
        sum((part.totals for part in found), np.zeros(len(TOTALS))),
    )
    return replace(merged, positive=min((part.positive for part in found if part.positive), default=""))


def canonical(
    texts: Sequence[str],
    pairs: NDArray[np.int64],
    sums: NDArray[np.float64],
    cells: NDArray[np.int64],
    mass: NDArray[np.float64],
    totals: NDArray[np.float64],
) -> Performance:
    """One row for each pair and cell, labels sorted and capped. `texts` are distinct, in any order; rest as the fields."""
    labels, places = _kept(texts, pairs, sums[:, 0])
    pairs = np.append(places, -1)[pairs]
    width = max(len(labels), 1)
    found, group = kernels.dense_codes((pairs[:, 0] + 1) * width + pairs[:, 1], (width + 1) * width)
    merged = np.stack([found // width - 1, found % width], axis=1)
    cells, weights = summed(np.stack([group[cells[:, 0]], cells[:, 1]], axis=1), mass[:, None])
    return Performance(labels, merged, by_code(group, sums.T, len(found)), cells, weights[:, 0], totals)


EMPTY: Final = Performance(
    (),
    np.zeros((0, 2), np.int64),
    np.zeros((0, len(SUMS))),
    np.zeros((0, 2), np.int64),
    np.zeros(0),
    np.zeros(len(TOTALS)),
)


def score_cells(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """The histogram cell of each finite score, (n,): ascending with the score, the same in every profile.

    A thousand equal cells in [0, 1), one for 1; outside, where scores are not probabilities, cells that are less than
    0.8 % of the score wide. Cells 0 to `CELLS` are those of probabilities.
    """
    inside = (scores >= 0) & (scores <= 1)
    # A score written with three digits belongs to the cell that it begins, whatever its last bit.
    even = np.floor(np.where(inside, scores, 0.0) * CELLS + 1e-9).astype(np.int64)
    far = np.abs(scores).view(np.int64) >> _BITS
    return np.where(inside, even, np.where(scores < 0, -1 - far, CELLS + 1 + far - _ONE))


def tenth_of(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """The tenth of [0, 1] that each score cell lies in, (n,); cells outside count with the nearest."""
    return np.clip(cells // (CELLS // TENTHS), 0, TENTHS - 1)


def summed(
    keys: NDArray[np.int64], values: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The distinct rows of `keys` (n, k), ascending, and the sums of the rows of `values` (n, m) that belong to each."""
    if not len(keys):
        return keys, values
    order = np.lexsort(keys.T[::-1])
    ordered = keys[order]
    first = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))
    starts = np.flatnonzero(first)
    return ordered[starts], np.add.reduceat(values[order], starts, axis=0)


def by_code(codes: NDArray[np.int64], columns: Iterable[NDArray], size: int) -> NDArray[np.float64]:
    """Sums of each column (n,) by code (n,) int64 in [0, `size`): (size, columns)."""
    nothing = np.zeros(size)
    sums = [
        np.bincount(codes, weights=column, minlength=size).astype(np.float64) if column.any() else nothing
        for column in columns
    ]
    return np.stack(sums, axis=1)


def _kept(
    texts: Sequence[str], pairs: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The labels that are left, and the place of each text among them."""
    # What was not predicted counts with an additional label, which is cut off again.
    ends = np.where(pairs < 0, len(texts), pairs).ravel()
    mass = by_code(ends, [np.repeat(weights, 2)], len(texts) + 1)[:-1, 0]
    used = set(pairs.ravel().tolist()) - {-1}
    named = sorted(used - {at for at in used if texts[at] == OTHER}, key=lambda at: (-mass[at], texts[at]))
    labels = sorted(texts[at] for at in named[:MAX_LABELS])
    if len(labels) < len(used):
        labels.append(OTHER)
    place = {label: at for at, label in enumerate(labels)}
    other = len(labels) - 1
    return tuple(labels), np.array([place.get(text, other) for text in texts], np.int64)


def _label(reader: wire.Reader) -> str:
    try:
        return reader.chunk().decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise ProfileError("performance: a label that is not UTF-8") from error


def _table(reader: wire.Reader, kind: str, rows: int, columns: int) -> NDArray:
    width = np.dtype(kind).itemsize
    return np.frombuffer(reader.take(rows * columns * width), kind).reshape(rows, columns)
