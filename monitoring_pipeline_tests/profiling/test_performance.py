"""Predictions against outcomes as sums: what is counted, that it merges, and that its bytes are checked."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling.performance import (
    EMPTY,
    MAX_LABELS,
    OTHER,
    SUMS,
    Performance,
    merge_performance,
    score_cells,
)
from monitoring_pipeline_tests.profiling.judged import LABELS, Rows, classified, judged


def confusion(found: Performance) -> dict[tuple[str | None, str], float]:
    """Weight by predicted and actual label."""
    names = (*found.labels, None)
    return {
        (names[predicted], str(names[actual])): weight
        for (predicted, actual), weight in zip(found.pairs.tolist(), found.sums[:, 0].tolist(), strict=True)
    }


def close(found: Performance, expected: Performance) -> None:
    """Equal up to the rounding of sums."""
    assert found.labels == expected.labels
    np.testing.assert_array_equal(found.pairs, expected.pairs)
    np.testing.assert_array_equal(found.cells, expected.cells)
    for name in ("sums", "mass", "totals"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-9, atol=1e-9)


@given(st.lists(classified, max_size=5))
def test_merged_days_are_what_all_rows_at_once_are(days: list[Rows]) -> None:
    merged = merge_performance(judged(day, LABELS) for day in days)
    close(merged, judged([row for day in days for row in day], LABELS))


@given(classified, classified, classified)
def test_how_parts_are_put_together_does_not_matter(one: Rows, two: Rows, three: Rows) -> None:
    a, b, c = (judged(rows, LABELS) for rows in (one, two, three))
    close(a.merge(b).merge(c), a.merge(b.merge(c)))
    close(a.merge(b), b.merge(a))


@given(classified)
def test_the_performance_of_nothing_changes_nothing(rows: Rows) -> None:
    found = judged(rows, LABELS)
    assert found.merge(EMPTY) == EMPTY.merge(found) == found
    assert merge_performance([]) == EMPTY


@given(classified)
def test_bytes_hold_everything(rows: Rows) -> None:
    found = judged(rows, LABELS)
    assert Performance.from_bytes(found.to_bytes()) == found


@given(classified, st.data())
def test_damaged_bytes_are_an_error_or_another_performance_but_never_a_crash(
    rows: Rows, data: st.DataObject
) -> None:
    image = bytearray(judged(rows, LABELS).to_bytes())
    cut = data.draw(st.integers(0, len(image)))
    image[cut : cut + 1] = data.draw(st.binary(max_size=2))
    try:
        Performance.from_bytes(bytes(image))
    except ProfileError:
        return


def test_every_pair_of_labels_is_counted() -> None:
    found = judged([{"prediction": p, "target": t} for p, t in ("aa", "ab", "ab", "bb", "ca")])
    assert confusion(found) == {("a", "a"): 1, ("a", "b"): 2, ("b", "b"): 1, ("c", "a"): 1}
    assert found.total("rows") == 5


def test_rows_count_by_their_weight_and_bad_weights_are_unusable() -> None:
    rows = [
        {"prediction": "a", "target": "a", "weight": weight} for weight in (2.0, 0.5, -1.0, 0.0, np.nan, None)
    ]
    found = judged(rows, {"weight": pa.float64()})
    assert confusion(found) == {("a", "a"): 2.5}
    assert (found.total("rows"), found.total("unusable")) == (2, 4)


def test_rows_without_an_outcome_wait() -> None:
    found = judged([{"prediction": "a", "target": None}, {"prediction": "a", "target": "a"}, {"target": "b"}])
    assert (found.total("rows"), found.total("waiting"), found.total("unusable")) == (1, 1, 1)


@pytest.mark.parametrize(
    ("prediction", "target", "expected"),
    [
        ([True, False], [True, True], {("True", "True"): 1, ("False", "True"): 1}),
        ([1, 0], [True, True], {("1", "1"): 1, ("0", "1"): 1}),
        ([1.0, 0.0], [1, 1], {("1", "1"): 1, ("0", "1"): 1}),
        (["yes", "no"], ["yes", "yes"], {("yes", "yes"): 1, ("no", "yes"): 1}),
        (["hot", "cold"], [True, False], {}),
        ([0.5, 1.5], [0.5, 2.0], {}),
    ],
)
def test_texts_booleans_and_whole_numbers_are_labels(
    prediction: list[object], target: list[object], expected: dict[tuple[str, str], float]
) -> None:
    found = judged([{"prediction": p, "target": t} for p, t in zip(prediction, target, strict=True)])
    assert confusion(found) == expected


def test_two_columns_of_numbers_are_measured() -> None:
    found = judged([{"prediction": p, "target": t} for p, t in ((1.5, 1.0), (2.0, 4.0), (np.nan, 1.0))])
    errors = [found.total(name) for name in ("errors", "error", "absolute_error", "squared_error")]
    assert errors == [2, -1.5, 2.5, 4.25]


def test_many_whole_numbers_are_measured_only() -> None:
    found = judged([{"prediction": at, "target": at} for at in range(MAX_LABELS + 1)])
    assert (found.labels, found.total("errors")) == ((), MAX_LABELS + 1)


def test_a_score_needs_no_prediction() -> None:
    found = judged([{"score": 0.25, "target": True}, {"score": 0.75, "target": False}])
    assert confusion(found) == {(None, "False"): 1, (None, "True"): 1}
    np.testing.assert_allclose(found.sums[:, SUMS.index("score")], [0.75, 0.25])


def test_a_fraction_that_predicts_yes_or_no_is_a_score() -> None:
    found = judged([{"prediction": 0.25, "target": True}, {"prediction": 0.75, "target": False}])
    assert confusion(found) == {(None, "False"): 1, (None, "True"): 1}
    assert found.total("errors") == 0


def test_beyond_the_limit_the_rarest_labels_are_counted_together_and_accuracy_stays_exact() -> None:
    common = [{"prediction": f"c{at:03}", "target": f"c{at:03}"} for at in range(MAX_LABELS)] * 2
    rare = [{"prediction": "r1", "target": "r1"}, {"prediction": "r1", "target": "r2"}]
    found = judged(common + rare)
    assert found.labels == (*(f"c{at:03}" for at in range(MAX_LABELS)), OTHER)
    assert confusion(found)[OTHER, OTHER] == 2
    assert found.sums[:, SUMS.index("agreed")].sum() == 2 * MAX_LABELS + 1


def test_values_are_summed_for_each_pair_of_labels() -> None:
    found = judged(
        [
            {"prediction": "a", "target": "a", "value": 10.0},
            {"prediction": "a", "target": "b", "value": 5.0},
            {"prediction": "a", "target": "b", "value": None},
        ]
    )
    assert found.sums[:, SUMS.index("value")].tolist() == [10, 5]
    assert (found.total("value_rows"), found.total("value")) == (2, 15)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=50))
def test_score_cells_ascend_with_the_score(scores: list[float]) -> None:
    ordered = np.sort(np.array(scores))
    assert (np.diff(score_cells(ordered)) >= 0).all()


def test_a_score_of_three_digits_begins_its_cell() -> None:
    thousandths = np.array([round(at / 1000, 3) for at in range(1001)])
    np.testing.assert_array_equal(score_cells(thousandths), np.arange(1001))
