"""Users' own metrics: what they may say, what they mean, and what they are told when they are wrong."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.metrics import custom_metrics, metric
from monitoring_pipeline.metrics.expressions import LONGEST, ExpressionError, custom_metric

NAN = math.nan
SCALARS = {
    "n": np.array([10.0, 0.0, NAN]),
    "n_null": np.array([2.0, 0.0, NAN]),
    "mean": np.array([-3.0, 4.0, NAN]),
}


def value(expression: str) -> list[float]:
    return custom_metric("own", expression, metric).formula(SCALARS).tolist()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("count", [10, 0, NAN]),
        ("count - count_null", [8, 0, NAN]),
        ("count_null / count", [0.2, NAN, NAN]),
        ("-mean ** 2", [-9, -16, NAN]),
        ("(-mean) ** 2 / 2", [4.5, 8, NAN]),
        ("2 + 3 * count", [32, 2, NAN]),
        ("abs(mean)", [3, 4, NAN]),
        ("sqrt(mean)", [NAN, 2, NAN]),
        ("log(count)", [math.log(10), NAN, NAN]),
        ("exp(count_null * 1000)", [NAN, 1, NAN]),
        ("min(count, mean, 1)", [-3, 0, NAN]),
        ("max(count, mean, 1)", [10, 4, NAN]),
        ("mean < 0", [1, 0, NAN]),
        ("(count >= 10) * 5", [5, 0, NAN]),
        ("COUNT.NULL * 1", [2, 0, NAN]),
    ],
)
def test_an_expression_is_worked_out_for_every_bucket(expression: str, expected: list[float]) -> None:
    np.testing.assert_allclose(value(expression), expected, rtol=1e-12)


def test_it_needs_what_its_metrics_need() -> None:
    found = custom_metric("own", "stddev / mean + count", metric)
    assert set(found.needs) == {"m_n", "m2", "mean", "n"}
    assert (found.level, found.kind, found.description) == ("column", "number", "stddev / mean + count")
    assert custom_metric("own", "classification.f1 - classification.fpr", metric).level == "dataset"


@pytest.mark.parametrize(
    ("expression", "additive"),
    [
        ("count - count_null", True),
        ("-2 * count", True),
        ("count / 4", True),
        ("count + 1", False),
        ("count_null / count", False),
        ("count * count_null", False),
        ("abs(count)", False),
        ("mean", False),
    ],
)
def test_sums_and_multiples_of_counts_add_up_over_buckets(expression: str, additive: bool) -> None:
    assert custom_metric("own", expression, metric).additive is additive


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("count +", r"at character 8 of 'count \+'"),
        ("count + cuont", r"at character 9 .*no metric is called 'cuont'; near: count"),
        ("__import__('os').system('x')", r"at character 1 .*only numbers"),
        ("(lambda: 1)()", "only numbers"),
        ("count[0]", "only numbers"),
        ("[count]", "only numbers"),
        ("count if mean else 1", "only numbers"),
        ("1 < count < 3", "one comparison at a time"),
        ("count // 2", "only numbers"),
        ("count and mean", "only numbers"),
        ("not count", "only numbers"),
        ("'a' + count", "at character 1 .*not a number"),
        ("True + count", "not a number"),
        ("1j * count", "not a number"),
        ("pow(count, 2)", "no function is called pow; accepted: min"),
        ("sqrt(count, 2)", "sqrt does not take 2 values"),
        ("min(count)", "min does not take 1 values"),
        ("min(*count)", "only numbers"),
        ("abs(x=count)", "only numbers"),
        ("count.__class__", "no metric is called"),
        ("abs(count).real", "a dot is only accepted inside the name"),
        ("x := count", "at character"),
        ("", "at character 1"),
        ("count; mean", "at character"),
        ("histogram", "histogram is not a number that a profile tells"),
        ("missingDatapoint", "missingDatapoint is not a number"),
        ("1 + 2", "names no metric"),
        (
            "count / shape_row_count",
            r"columns \(count\) and of the dataset \(shape_row_count\) cannot be mixed",
        ),
        ("1" * 400 + " * count", "a number that is too large"),
        ("(" * 60 + "count" + ")" * 60 + " + é", "at character 129"),
        ("-" * 60 + "count", "more than 50 levels"),
        ("count" + " + 1" * LONGEST, "at most 1,000"),
    ],
)
def test_what_is_not_accepted_is_told_with_its_place(expression: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        custom_metric("own", expression, metric)


@given(st.text(max_size=60))
def test_any_text_is_a_metric_or_an_error_of_ours(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert custom_metric("own", text, metric).needs


def test_one_metric_may_build_on_another() -> None:
    found = custom_metrics({"known_share": "known / count", "known": "count - count_null"}, metric)
    assert found["known_share"].formula(SCALARS).tolist()[0] == 0.8
    assert set(found["known_share"].needs) == {"n", "n_null"}


@pytest.mark.parametrize(
    ("expressions", "message"),
    [
        ({"a": "b + count", "b": "2 * a"}, "metric a: .*leads back to itself: a → b → a"),
        ({"own": "own + 1"}, "leads back to itself"),
        ({"count": "mean"}, "metric count: there is a metric of that name already"),
        (
            {"own.share": "count", "own_share": "mean"},
            "metric own_share: there is a metric of that name already",
        ),
        ({"own share": "count"}, "cannot be called 'own share'"),
        ({"own": "cuont"}, "metric own: at character 1"),
    ],
)
def test_a_set_of_metrics_that_makes_no_sense_is_refused(expressions: dict[str, str], message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        custom_metrics(expressions, metric)


def test_all_problems_come_at_once() -> None:
    problems: dict[str, str] = {}
    found = custom_metrics({"good": "count", "bad": "cuont", "worse": "count +"}, metric, problems=problems)
    assert (sorted(found), sorted(problems)) == (["good"], ["bad", "worse"])


def test_a_custom_metric_is_found_by_name() -> None:
    own = custom_metrics({"lead.quality": "mean"}, metric)
    assert metric("LEAD_quality", own).name == "lead.quality"
