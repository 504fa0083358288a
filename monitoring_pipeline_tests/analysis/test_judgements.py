"""Metrics of predictions and outliers against numbers worked out the plain way, row by row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from monitoring_pipeline.analysis.baselines import Window
from monitoring_pipeline.analysis.judgements import component_scalars
from monitoring_pipeline.metrics import metric
from monitoring_pipeline.metrics.performance import PERFORMANCE_SCALARS
from monitoring_pipeline.profiling import profile
from monitoring_pipeline.profiling.performance import PERFORMANCE
from monitoring_pipeline.profiling.profile import ColumnProfile
from monitoring_pipeline_tests.profiling.judged import LABELS, Rows, classified, judged

ALONE = Window(np.array([0]), 1)


def history(days: Sequence[Rows], types: Mapping[str, pa.DataType] | None = None) -> dict[int, ColumnProfile]:
    return {
        at: ColumnProfile(n=len(day), extra={PERFORMANCE: judged(day, types).to_bytes()})
        for at, day in enumerate(days)
    }


def metrics(rows: Rows, types: Mapping[str, pa.DataType] | None = None) -> dict[str, float]:
    """Every metric of one bucket, without the part before the dot."""
    told = component_scalars(PERFORMANCE_SCALARS, history([rows], types), ALONE)
    return {name: float(values[0]) for name, values in told.items()}


def of_pairs(pairs: Sequence[tuple[object, object]], **more: Sequence[object]) -> list[dict[str, Any]]:
    return [
        {"prediction": prediction, "target": target, **{name: values[at] for name, values in more.items()}}
        for at, (prediction, target) in enumerate(pairs)
    ]


CONFUSION = [(True, True)] * 6 + [(True, False)] * 2 + [(False, True)] * 3 + [(False, False)] * 9


def test_two_labels_are_judged_by_the_positive_one() -> None:
    found = metrics(of_pairs(CONFUSION))
    assert found["classification_accuracy"] == pytest.approx(15 / 20)
    assert found["classification_precision"] == pytest.approx(6 / 8)
    assert found["classification_recall"] == pytest.approx(6 / 9)
    assert found["classification_f1"] == pytest.approx(2 * 6 / (2 * 6 + 2 + 3))
    assert found["classification_fpr"] == pytest.approx(2 / 11)


def test_the_positive_label_is_one_then_true_then_the_first() -> None:
    pairs = [("b", "b"), ("b", "a"), ("a", "a"), ("b", "a")]
    assert metrics(of_pairs(pairs))["classification_precision"] == pytest.approx(1.0)  # of "a"
    numbers = [(1, 1), (1, 0), (0, 0), (1, 0)]
    assert metrics(of_pairs(numbers))["classification_precision"] == pytest.approx(1 / 3)


def test_a_day_without_any_positive_row_is_still_judged_by_the_positive_label() -> None:
    found = metrics(of_pairs([(False, False), (False, False), (True, False), (False, False)]))
    assert found["classification_accuracy"] == pytest.approx(0.75)
    assert (found["classification_precision"], found["classification_recall"]) == (0, 0)
    assert metrics(of_pairs([(False, False)]))["classification_fpr"] == 0


def test_more_labels_are_averaged() -> None:
    found = metrics(of_pairs([("a", "a"), ("a", "b"), ("b", "b"), ("c", "c"), ("c", "a"), ("b", "c")]))
    assert found["classification_accuracy"] == pytest.approx(3 / 6)
    assert found["classification_precision"] == pytest.approx((1 / 2 + 1 / 2 + 1 / 2) / 3)
    assert found["classification_recall"] == pytest.approx((1 / 2 + 1 / 2 + 1 / 2) / 3)
    assert found["classification_fpr"] == pytest.approx((1 / 4 + 1 / 4 + 1 / 4) / 3)


def test_without_rows_there_is_no_metric() -> None:
    found = metrics([{"prediction": None, "target": None}], LABELS)
    assert [name for name, value in found.items() if not math.isnan(value)] == []


def test_rows_that_wait_have_no_quality_yet() -> None:
    found = metrics([{"prediction": "a", "target": None}] * 3 + [{"prediction": "a", "target": "a"}])
    assert (found["outcome_count"], found["outcome_ratio"]) == (1, 0.25)


def test_scores_of_yes_and_no() -> None:
    scores = [0.9, 0.8, 0.35, 0.6, 0.4, 0.1]
    targets = [True, True, True, False, False, False]
    found = metrics([{"score": s, "target": t} for s, t in zip(scores, targets, strict=True)])
    assert found["classification_auroc"] == pytest.approx(7 / 9)
    assert found["classification_brier"] == pytest.approx(
        (0.1**2 + 0.2**2 + 0.65**2 + 0.6**2 + 0.4**2 + 0.1**2) / 6
    )
    likelihoods = [0.9, 0.8, 0.35, 0.4, 0.6, 0.9]
    assert found["classification_log_loss"] == pytest.approx(-sum(map(math.log, likelihoods)) / 6)
    assert found["classification_ece"] == pytest.approx((0.1 + 0.2 + 0.65 + 0.6 + 0.4 + 0.1) / 6)
    assert math.isnan(found["classification_accuracy"])


def test_equal_scores_are_a_coin_toss() -> None:
    found = metrics([{"score": 10.0, "target": target} for target in (True, False, True, False)])
    assert found["classification_auroc"] == pytest.approx(0.5)


def test_scores_that_are_no_probabilities_only_rank() -> None:
    found = metrics(
        [{"score": s, "target": t} for s, t in ((-3.0, False), (2.5, True), (7.0, True), (1.5, False))]
    )
    assert found["classification_auroc"] == pytest.approx(1.0)
    assert all(math.isnan(found[f"classification_{name}"]) for name in ("brier", "log_loss", "ece"))


def test_the_confidence_of_many_labels_is_compared_with_the_share_of_right_answers() -> None:
    rows = of_pairs([("a", "a"), ("b", "a"), ("c", "c"), ("a", "b")], score=[0.95, 0.95, 0.55, 0.55])
    assert metrics(rows)["classification_ece"] == pytest.approx(
        (2 * abs(0.95 - 0.5) + 2 * abs(0.55 - 0.5)) / 4
    )


def test_errors_of_numbers() -> None:
    found = metrics(of_pairs([(1.5, 1.0), (2.0, 4.0), (3.0, 3.5)]))
    assert found["regression_mse"] == pytest.approx((0.25 + 4 + 0.25) / 3)
    assert found["regression_rmse"] == pytest.approx(math.sqrt(1.5))
    assert found["regression_mae"] == pytest.approx(1.0)
    assert found["regression_bias"] == pytest.approx((0.5 - 2 - 0.5) / 3)


def test_value_by_outcome() -> None:
    pairs = [(True, True), (True, False), (False, True), (False, False)]
    found = metrics(of_pairs(pairs, value=[100.0, -10.0, 40.0, 0.0]))
    split = (
        "total",
        "positive",
        "negative",
        "true_positive",
        "false_positive",
        "false_negative",
        "true_negative",
    )
    assert [found[f"value_{name}"] for name in split] == [130, 140, -10, 100, -10, 40, 0]
    assert found["value_mean"] == 32.5


def exact_area(scores: NDArray[np.float64], targets: NDArray[np.bool_]) -> float:
    """Mann-Whitney: the share of pairs in the right order, ties counting half."""
    yes, no = scores[targets], scores[~targets]
    order = (yes[:, None] > no[None, :]) + 0.5 * (yes[:, None] == no[None, :])
    return float(order.mean())


@given(st.integers(0, 2**32 - 1), st.integers(2, 300))
def test_the_area_is_within_a_thousandth_of_the_exact_one(seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.beta(2, 2, rows).round(3)
    targets = random.random(rows) < scores
    targets[:2] = True, False
    found = metrics([{"score": s, "target": bool(t)} for s, t in zip(scores.tolist(), targets, strict=True)])
    assert found["classification_auroc"] == pytest.approx(exact_area(scores, targets), abs=1e-9)


@given(st.lists(classified, min_size=1, max_size=6), st.integers(1, 3))
def test_a_window_has_the_metrics_of_all_its_rows(days: list[Rows], length: int) -> None:
    window = Window(np.arange(len(days)) - length + 1, length)
    told = component_scalars(PERFORMANCE_SCALARS, history(days, LABELS), window)
    for at in range(len(days)):
        rows = [row for day in days[max(0, at - length + 1) : at + 1] for row in day]
        expected = metrics(rows, LABELS)
        for name in PERFORMANCE_SCALARS:
            np.testing.assert_allclose(told[name][at], expected[name], rtol=1e-9, atol=1e-9, err_msg=name)


def test_excluded_buckets_are_left_out() -> None:
    days = [of_pairs([("a", "a")]), of_pairs([("a", "b")]), of_pairs([("a", "a")])]
    window = Window(np.array([0]), 3, frozenset({1}))
    told = component_scalars(["classification_accuracy"], history(days), window)
    assert told["classification_accuracy"].tolist() == [1.0]


def test_every_performance_metric_reads_its_scalar() -> None:
    for name in PERFORMANCE_SCALARS:
        found = metric(name)
        assert found.level == "dataset"
        assert found.formula({name: np.array([0.25])}).tolist() == [0.25]


def test_outliers_lie_outside_the_fences_of_their_own_bucket() -> None:
    values = [*range(1, 12), 100.0, -100.0, 25.0]
    column = profile(pa.table({"x": pa.array(values, pa.float64())})).columns[""]["x"]
    ordered = np.sort(np.array(values, np.float64))
    lower, upper = ordered[math.floor(0.25 * 14)], ordered[math.floor(0.75 * 14)]
    reach = 1.5 * (upper - lower)
    expected = np.mean((ordered < lower - reach) | (ordered > upper + reach))
    told = component_scalars(["outliers_iqr", "outliers_sigma"], {0: column}, ALONE)
    assert told["outliers_iqr"][0] == pytest.approx(expected)
    away = np.abs(ordered - ordered.mean()) > 3 * ordered.std(ddof=1)
    assert told["outliers_sigma"][0] == pytest.approx(away.mean())


def test_outliers_of_a_normal_column_are_as_many_as_theory_says() -> None:
    random = np.random.default_rng(11)
    days = {at: profile(pa.table({"x": random.normal(5, 2, 4_000)})).columns[""]["x"] for at in range(5)}
    told = component_scalars(["outliers_iqr", "outliers_sigma"], days, Window(np.array([0]), 5))
    error = days[0].rank_error
    assert told["outliers_iqr"][0] == pytest.approx(0.00698, abs=2 * error)
    assert told["outliers_sigma"][0] == pytest.approx(0.0027, abs=2 * error)


def test_a_column_without_numbers_has_no_outliers() -> None:
    column = profile(pa.table({"x": ["a", "b"]})).columns[""]["x"]
    told = component_scalars(["outliers_iqr", "outliers_sigma"], {0: column}, ALONE)
    assert all(np.isnan(values[0]) for values in told.values())
