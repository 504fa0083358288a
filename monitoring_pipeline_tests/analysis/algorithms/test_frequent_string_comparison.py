from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from monitoring_pipeline.analysis.algorithms import frequent_string_comparison
from monitoring_pipeline.analysis.distributions import Items
from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.analysis.verdicts import Verdicts
from monitoring_pipeline.config.analyzers import FrequentStringComparisonConfig

EQ, KEPT, NO_NEW = "eq", "target_includes_all_baseline", "baseline_includes_all_target"


def config_of(operator: str) -> FrequentStringComparisonConfig:
    return FrequentStringComparisonConfig.model_validate(
        {"operator": operator, "baseline": {"type": "TrailingWindow"}}
    )


def items(*values: str, shortfall: float = 0.0) -> Items:
    counts = {name: float(count) for name, count in Counter(values).items()}
    return Items(counts, shortfall, sum(counts.values()))


def judge(operator: str, target: Items | None, baseline: Items | None) -> Verdicts:
    sides = np.array([[target, baseline]], dtype=object)
    return frequent_string_comparison.evaluate(config_of(operator), sides[:, :1], sides[:, 1:])


def told(verdicts: Verdicts, name: str) -> Any:
    column = verdicts.columns[name]
    return column[0, 0] if isinstance(column, np.ndarray) else column


@pytest.mark.parametrize(
    ("operator", "target", "anomaly", "sample"),
    [
        (EQ, "ab", False, None),
        (EQ, "abc", True, ["c"]),
        (EQ, "a", True, ["b"]),
        (KEPT, "abc", False, None),
        (KEPT, "ac", True, ["b"]),
        (NO_NEW, "a", False, None),
        (NO_NEW, "ac", True, ["c"]),
        (EQ, "", True, ["a", "b"]),
    ],
)
def test_sets_must_relate_as_the_operator_says(
    operator: str, target: str, anomaly: bool, sample: list[str] | None
) -> None:
    verdicts = judge(operator, items(*target), items(*"ab"))
    assert verdicts.anomaly[0, 0] == anomaly
    assert told(verdicts, "frequent_string_comparison_sample") == sample


def test_the_commonest_differences_are_told_with_how_often_they_occur() -> None:
    verdicts = judge(NO_NEW, items(*"abbcccddddeeeeeffffffgggg", shortfall=2.0), items())
    assert told(verdicts, "frequent_string_comparison_sample") == ["f", "e", "d", "g", "c"]
    assert told(verdicts, "freq_string_count")[0] == [8.0, 6.0, 8.0]
    assert told(verdicts, "frequent_string_comparison_operator") == NO_NEW


def test_only_the_first_128_characters_are_compared_and_case_matters() -> None:
    long = "x" * 128
    assert not judge(EQ, items(f"{long}1"), items(f"{long}2")).anomaly[0, 0]
    assert judge(EQ, items("EU"), items("eu")).anomaly[0, 0]
    assert told(judge(EQ, items(f"{long}1"), items("a")), "frequent_string_comparison_sample") == ["a", long]


def test_what_a_full_sketch_does_not_name_is_not_taken_for_gone() -> None:
    full = items(*"ab", shortfall=3.0)
    verdicts = judge(KEPT, full, items(*"abc"))
    assert not verdicts.anomaly[0, 0]
    assert verdicts.failure[0, 0] is FailureType.CALCULATION_EXCEPTION
    assert "more distinct values than the sketch keeps" in verdicts.explanation[0, 0]
    assert judge(EQ, full, items("a")).anomaly[0, 0]  # b is new for certain
    assert judge(EQ, full, items(*"ab")).failure[0, 0] is None


def test_a_baseline_without_a_sketch_is_a_failure() -> None:
    assert judge(EQ, items("a"), None).failure[0, 0] is FailureType.ROLLUP_BASELINE_REQUIRED
