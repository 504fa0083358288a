from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from monitoring_pipeline.analysis.algorithms import column_list
from monitoring_pipeline.analysis.distributions import Items
from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.analysis.verdicts import Verdicts
from monitoring_pipeline.config.analyzers import ColumnListConfig


def columns(names: list[str]) -> Items:
    return Items(dict.fromkeys(names, 1.0), 0.0, float(len(names)))


def judge(target: list[str], baseline: list[str] | None, **given: object) -> Verdicts:
    config = ColumnListConfig.model_validate({"baseline": {"type": "TrailingWindow"}, **given})
    sides = np.array([[columns(target), None if baseline is None else columns(baseline)]], dtype=object)
    return column_list.evaluate(config, sides[:, :1], sides[:, 1:])


def told(verdicts: Verdicts, name: str) -> Any:
    return verdicts.columns[f"column_list_{name}"][0, 0]  # pyright: ignore[reportIndexIssue, reportOptionalSubscript]


@pytest.mark.parametrize(
    ("mode", "anomalies"),
    [("ON_ADD", [True, False]), ("ON_REMOVE", [False, True]), ("ON_ADD_AND_REMOVE", [True, True])],
)
def test_the_mode_says_which_change_counts(mode: str, anomalies: list[bool]) -> None:
    found = [judge(target, ["a", "b"], mode=mode).anomaly[0, 0] for target in (["a", "b", "c"], ["a"])]
    assert found == anomalies


def test_excluded_columns_come_and_go_by_name_and_by_pattern() -> None:
    target = ["a", "tmp_1", "note", "a[1]"]
    assert not judge(target, ["a"], exclude=["tmp_*", "note", "a[1]"]).anomaly[0, 0]
    found = judge(target, ["a", "tmp_9"], exclude=["tmp_*"])
    assert (told(found, "added"), told(found, "removed")) == (2, 0)


def test_samples_are_short_and_in_order() -> None:
    found = judge([f"new {at:02}" for at in range(30)], ["old"])
    assert told(found, "added") == 30
    assert told(found, "added_sample") == [f"new {at:02}" for at in range(10)]
    assert told(found, "removed_sample") == ["old"]
    assert told(judge(["a"], ["a"]), "added_sample") is None


def test_a_baseline_without_data_is_a_failure_and_no_change() -> None:
    found = judge(["a"], None)
    assert found.failure[0, 0] is FailureType.ROLLUP_BASELINE_REQUIRED
    assert not found.anomaly[0, 0]
