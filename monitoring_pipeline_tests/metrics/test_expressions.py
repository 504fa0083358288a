"""Users' own metrics: what they may say, what they mean, and what they are told when they are wrong."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

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
        ("__import__('os').system('x')", "at character 12 of .* is not accepted"),
        ("__import__(os)(count)", "at character 1 of .*only numbers"),
        ("(lambda: 1)()", "at character 8 of .*':' is not accepted"),
        ("count[0]", r"at character 6 of .*is not accepted"),
        ("[count]", r"at character 1 of .*is not accepted"),
        ("count # / mean", "at character 7 of .*'#' is not accepted"),
        ("count if mean else 1", "only numbers"),
        ("1 < count < 3", "one comparison at a time"),
        ("count // 2", "only numbers"),
        ("count and mean", "only numbers"),
        ("not count", "only numbers"),
        ("'a' + count", "at character 1 .*is not accepted"),
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


def test_the_place_in_a_long_expression_is_shown_with_what_is_near_it() -> None:
    with pytest.raises(
        ExpressionError, match=r"at character 161 of '….* cuont.*…': no metric is called"
    ) as told:
        custom_metric("own", "count + " * 20 + "cuont" + " + count" * 20, metric)
    assert len(str(told.value)) < 400


def test_metrics_of_metrics_cannot_be_made_to_take_for_ever() -> None:
    # Each doubles the one before: forty of them would be worked out a million million times.
    doubling = {"m0": "count + 1"} | {f"m{n}": f"m{n - 1} + m{n - 1}" for n in range(1, 41)}
    problems: dict[str, str] = {}
    found = custom_metrics(doubling, metric, problems=problems)
    assert found["m5"].formula(SCALARS).tolist()[0] == 32 * 11
    assert "m40" in problems
    assert any("more than 1,000 operations" in text for text in problems.values())
    assert all("m40" not in name for name in found)


def test_metrics_of_metrics_may_not_lead_too_far() -> None:
    chain = {"m0": "count"} | {f"m{n}": f"m{n - 1} + 1" for n in range(1, 2_000)}
    for expressions in (chain, dict(reversed(chain.items()))):
        problems: dict[str, str] = {}
        custom_metrics(expressions, metric, problems=problems)
        assert re.search(r"leads over more than 10 metrics|more than .* levels of nesting", problems["m1999"])


@given(st.text(max_size=60) | st.text("count_mea()+-*/<>=! .,0123456789eE", max_size=80))
def test_any_text_is_a_metric_or_an_error_of_ours(text: str) -> None:
    problems: dict[str, str] = {}
    found = custom_metrics({"own": text}, metric, problems=problems).get("own")
    if found is None:
        assert re.match(r"at character \d+ of |the expression |metrics of ", problems["own"])
        return
    assert found.needs
    values = found.formula({name: np.array([0.0, 1.0, NAN, np.inf, 1e308]) for name in found.needs})
    assert values.shape == (5,)
    assert not np.isinf(values).any()


Worked = tuple[str, Callable[[float, float], float]]


def _combinations(parts: st.SearchStrategy[Worked]) -> st.SearchStrategy[Worked]:
    def joined(operator: str, left: Worked, right: Worked) -> Worked:
        work = _OPERATIONS[operator]
        return f"({left[0]} {operator} {right[0]})", lambda n, null: work(left[1](n, null), right[1](n, null))

    def called(name: str, parts: list[Worked]) -> Worked:
        function = min if name == "min" else max
        text = ", ".join(part[0] for part in parts)
        return f"{name}({text})", lambda n, null: function(part[1](n, null) for part in parts)

    return st.builds(joined, st.sampled_from([*_OPERATIONS]), parts, parts) | st.builds(
        called, st.sampled_from(["min", "max"]), st.lists(parts, min_size=2, max_size=4)
    )


_OPERATIONS: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "<": lambda left, right: float(left < right),
    ">=": lambda left, right: float(left >= right),
    "==": lambda left, right: float(left == right),
}
_LEAVES: list[Worked] = [("count", lambda n, _: n), ("COUNT.Null", lambda _, null: null)]


@given(
    st.recursive(
        st.sampled_from(_LEAVES) | st.integers(-9, 9).map(lambda k: (str(k), lambda *_: float(k))),
        _combinations,
        max_leaves=12,
    ),
    st.integers(0, 1_000),
    st.integers(0, 1_000),
)
def test_an_expression_gives_what_python_gives(worked: Worked, n: int, null: int) -> None:
    text, work = worked
    assume("count" in text.lower())
    found = custom_metric("own", text, metric)
    given_scalars = {"n": np.array([float(n), NAN]), "n_null": np.array([float(null), NAN])}
    values = found.formula({name: given_scalars[name] for name in found.needs})
    assert float(values[0]) == pytest.approx(work(float(n), float(null)), rel=1e-9)
    assert np.isnan(values[1])


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
