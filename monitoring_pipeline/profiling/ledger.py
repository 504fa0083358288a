"""Rows with a prediction and an outcome, summed by segment, label and score cell as they come.

What a row can be judged by follows from its columns. Texts and booleans are labels, and so are whole numbers with few
distinct values; two columns of numbers also give a regression's errors. Booleans beside numbers are 1 and 0. A
prediction of fractions between 0 and 1 for a yes-or-no target is a score. Texts are never compared with numbers or
booleans: of such a pair only a score can be judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitoring_pipeline.profiling import kernels
from monitoring_pipeline.profiling.answers import Answers, Texts, read_answers
from monitoring_pipeline.profiling.performance import (
    OTHER,
    SUMS,
    TENTHS,
    TOTALS,
    Performance,
    by_code,
    canonical,
    score_cells,
    summed,
    tenth_of,
)
from monitoring_pipeline.profiling.segmenting import Assignment

_TRACKED = 1_000  # labels that are told apart while rows come in
_CHARACTERS = 128  # of a label that are told apart
_PENDING = 1_000_000  # sums that wait before those of the same key are added up
_EPSILON = np.finfo(np.float64).eps

Codes = NDArray[np.int64]
Columns = Sequence[NDArray]


class Ledger:
    """Sums so far. `take` may be called any number of times, in any order of rows. `positive`: see `Performance`."""

    def __init__(self, positive: str = "") -> None:
        self._positive = positive
        self._texts: dict[str, int] = {}
        self._measured = False  # the target is measured, not told apart by labels
        self._pairs: list[tuple[Codes, NDArray[np.float64]]] = []
        self._cells: list[tuple[Codes, NDArray[np.float64]]] = []
        self._totals: list[tuple[Codes, NDArray[np.float64]]] = []

    def copy(self) -> Ledger:
        """Another ledger with the same sums."""
        other = Ledger(self._positive)
        other._texts, other._measured = dict(self._texts), self._measured
        other._pairs, other._cells, other._totals = list(self._pairs), list(self._cells), list(self._totals)
        return other

    def take(self, rows: int, columns: Mapping[str, pa.Array], assigned: Sequence[Assignment]) -> None:
        """Judge rows; `columns` by role, `assigned` their segments besides the overall one, which is number 0."""
        found = {role: column for role in columns if (column := read_answers(columns[role])) is not None}
        judged = _Judged.of(rows, found, self)
        for codes, segments in [(np.zeros(rows, np.int64), np.zeros(1, np.int64)), *assigned]:
            self._add(judged, codes, segments)

    def count(self, name: str, rows: int) -> None:
        """Add to one of `TOTALS` of the overall segment."""
        totals = np.zeros((1, len(TOTALS)))
        totals[0, TOTALS.index(name)] = rows
        self._totals.append((np.zeros((1, 1), np.int64), totals))

    def finish(self) -> dict[int, Performance]:
        """Performance by number of the segment."""
        pair_keys, pair_sums = _joined([] if self._measured else self._pairs, 3, len(SUMS))
        cell_keys, cell_sums = _joined([] if self._measured else self._cells, 4, 1)
        total_keys, totals = _joined(self._totals, 1, len(TOTALS))
        texts = list(self._texts)
        found: dict[int, Performance] = {}
        for at, segment in enumerate(total_keys[:, 0].tolist()):
            own, its = _of(pair_keys, segment), _of(cell_keys, segment)
            pairs = pair_keys[own, 1:]
            width = len(texts) + 1
            places = np.searchsorted(
                (pairs[:, 0] + 1) * width + pairs[:, 1],
                (cell_keys[its, 1] + 1) * width + cell_keys[its, 2],
            )
            cells = np.stack([places, cell_keys[its, 3]], axis=1)
            one = canonical(texts, pairs, pair_sums[own], cells, cell_sums[its, 0], totals[at])
            found[segment] = replace(one, positive=self._positive)
        return found

    def codes_of(self, texts: Texts) -> Codes:
        """The number of each label; beyond a thousand they are all one. The last is -1, for what is missing."""
        numbers = []
        for text in texts:
            label = None if text is None else text[:_CHARACTERS]
            if label is not None and label not in self._texts and len(self._texts) >= _TRACKED:
                label = OTHER
            numbers.append(-1 if label is None else self._texts.setdefault(label, len(self._texts)))
        return np.array([*numbers, -1], np.int64)

    def measured(self) -> None:
        """Note that the target is measured: it has no labels."""
        self._measured = True

    def _add(self, judged: _Judged, codes: Codes, segments: Codes) -> None:
        totals = by_code(codes, judged.totals, len(segments))
        _append(self._totals, segments[:, None], totals)
        rows = judged.labelled
        if not len(rows):
            return
        width = len(self._texts)
        keys = (codes[rows] * (width + 1) + judged.predicted + 1) * width + judged.actual
        found, group = kernels.dense_codes(keys, len(segments) * (width + 1) * width)
        pairs = np.stack(
            [
                segments[found // width // (width + 1)],
                found // width % (width + 1) - 1,
                found % width,
            ],
            axis=1,
        )
        scored = judged.scored
        tenth = group[scored] * TENTHS + tenth_of(judged.cells)
        tenths = by_code(tenth, [judged.score], len(found) * TENTHS).reshape(-1, TENTHS)
        sums = by_code(group, judged.sums, len(found))
        _append(self._pairs, pairs, np.concatenate([sums, tenths], axis=1))
        if scored.any():
            lowest = judged.cells.min()
            span = int(judged.cells.max() - lowest) + 1
            spots, spot = kernels.dense_codes(group[scored] * span + judged.cells - lowest, len(found) * span)
            keys = np.concatenate([pairs[spots // span], (spots % span + lowest)[:, None]], axis=1)
            _append(self._cells, keys, by_code(spot, [judged.mass], len(spots)))


@dataclass(frozen=True, eq=False)
class _Judged:
    """What the rows of one chunk add, column by column, by `TOTALS` and the first of `SUMS`. `labelled` are the
    places of the rows with labels, whom `predicted` to `scored` are about; the rest is about those with a score."""

    totals: Columns
    labelled: Codes
    predicted: Codes
    actual: Codes
    sums: Columns
    scored: NDArray[np.bool_]
    cells: Codes
    mass: NDArray[np.float64]
    score: NDArray[np.float64]

    @classmethod
    def of(cls, rows: int, columns: Mapping[str, Answers], ledger: Ledger) -> _Judged:
        prediction, target = columns.get("prediction"), columns.get("target")
        score = _numeric(columns.get("score"))
        weight = _weights(columns.get("weight"), rows)
        nowhere = np.zeros(rows, np.bool_)
        answered = nowhere
        for column in (prediction, score):
            answered = answered if column is None else answered | column.present
        known = nowhere if target is None else target.present
        if score is None and _is_score(prediction, target):
            prediction, score = None, prediction
        error = _errors(prediction, target, rows)
        predicted, actual, equal = _labels(prediction, target, ledger, rows)
        scores = np.full(rows, np.nan) if score is None else score.numbers
        scored = np.isfinite(scores) & (actual >= 0)
        weighty = weight > 0
        labelled = weighty & (actual >= 0) & ((predicted >= 0) | scored)
        measured = weighty & np.isfinite(error)
        judged = labelled | measured
        waiting = answered & ~known
        value = _numeric(columns.get("value"))
        worth = np.zeros(rows) if value is None else np.where(value.present, value.numbers, 0.0)
        priced = nowhere if value is None else judged & value.present
        safe = np.where(measured, error, 0.0)
        mass = np.where(measured, weight, 0.0)
        totals = (
            judged,
            waiting,
            nowhere,
            ~judged & ~waiting,
            priced,
            np.where(priced, worth, 0.0),
            mass,
            mass * safe,
            mass * np.abs(safe),
            mass * safe**2,
        )
        at = np.flatnonzero(labelled)
        own, has = weight[at], scored[at]
        points = np.where(has, scores[at], 0.0)
        fair = has & (points >= 0) & (points <= 1)
        log, rest = (
            np.log(np.clip(np.where(fair, share, 1.0), _EPSILON, 1 - _EPSILON))
            for share in (points, 1 - points)
        )
        scale = np.where(has, own, 0.0)
        sums = (
            own,
            own * equal[at],
            worth[at],
            scale,
            scale * points,
            scale * points**2,
            np.where(fair, scale * log, 0.0),
            np.where(fair, scale * rest, 0.0),
        )
        return cls(
            totals=totals,
            labelled=at,
            predicted=predicted[at],
            actual=actual[at],
            sums=sums,
            scored=has,
            cells=score_cells(points[has]),
            mass=scale[has],
            score=(scale * points)[has],
        )


def _labels(
    prediction: Answers | None, target: Answers | None, ledger: Ledger, rows: int
) -> tuple[Codes, Codes, NDArray[np.bool_]]:
    """Numbers of the predicted and actual labels, -1 where there is none, and where they are the same label."""
    nothing = np.full(rows, -1, np.int64)
    if target is None:
        return nothing, nothing, nothing >= 0
    comparable = prediction is not None and (prediction.kind == "text") == (target.kind == "text")
    compared = prediction if comparable else None
    numbers = "number" in {target.kind, compared.kind if compared else target.kind}
    actual = target.labels(as_numbers=numbers) if target.whole else None
    predicted = compared.labels(as_numbers=numbers) if compared is not None and compared.whole else None
    if actual is None or (compared is not None and predicted is None and target.kind == "number"):
        ledger.measured()
        return nothing, nothing, nothing >= 0
    theirs = ledger.codes_of(actual[1])[actual[0]]
    if predicted is None:
        return nothing, theirs, nothing >= 0
    ours = ledger.codes_of(predicted[1])[predicted[0]]
    same = {text: at for at, text in enumerate(actual[1])}
    alike = np.array([*(same.get(text, -2) for text in predicted[1]), -2], np.int64)[predicted[0]]
    return ours, theirs, alike == actual[0]


def _is_score(prediction: Answers | None, target: Answers | None) -> bool:
    """Whether the prediction of a yes-or-no target is a probability."""
    return (
        prediction is not None
        and target is not None
        and target.binary
        and prediction.kind == "number"
        and not prediction.whole
        and prediction.is_share
    )


def _errors(prediction: Answers | None, target: Answers | None, rows: int) -> NDArray[np.float64]:
    """Prediction minus target where both are numbers, else NaN."""
    if prediction is None or target is None or {prediction.kind, target.kind} != {"number"}:
        return np.full(rows, np.nan)
    return prediction.numbers - target.numbers


def _weights(column: Answers | None, rows: int) -> NDArray[np.float64]:
    if column is None:
        return np.ones(rows)
    return np.where(column.present, column.numbers, 0.0)


def _numeric(column: Answers | None) -> Answers | None:
    return None if column is None or column.kind == "text" else column


def _append(table: list[tuple[Codes, NDArray[np.float64]]], keys: Codes, values: NDArray[np.float64]) -> None:
    table.append((keys, values))
    if len(table) > 1 and sum(len(part) for part, _ in table) > _PENDING:
        table[:] = [_joined(table, keys.shape[1], values.shape[1])]


def _joined(
    table: Sequence[tuple[Codes, NDArray[np.float64]]], keys: int, values: int
) -> tuple[Codes, NDArray[np.float64]]:
    return summed(
        np.concatenate([np.zeros((0, keys), np.int64), *(part for part, _ in table)]),
        np.concatenate([np.zeros((0, values)), *(part for _, part in table)]),
    )


def _of(keys: Codes, segment: int) -> slice:
    """The rows of one segment; keys are sorted by it."""
    first, last = np.searchsorted(keys[:, 0], [segment, segment + 1])
    return slice(int(first), int(last))
