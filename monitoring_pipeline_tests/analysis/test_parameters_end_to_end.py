"""Every parameter of every type of analyzer and what it changes: the same data, a document with and without it.

Seasonal analyzers have tests of their own (`algorithms/test_seasonal.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from pydantic import BaseModel

from monitoring_pipeline.analysis.gates import BatchFacts, decide
from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.config.analyzers import (
    ComparisonConfig,
    DiffConfig,
    DriftConfig,
    FixedConfig,
    FrequentStringComparisonConfig,
    ListComparisonConfig,
    MonotonicConfig,
    StddevConfig,
)
from monitoring_pipeline.store.database import Store, open_store
from monitoring_pipeline.store.datasets import register_dataset
from monitoring_pipeline_tests.analysis.documents import document
from monitoring_pipeline_tests.analysis.engine_runs import DAY, START, load, run, trailing

Days = Sequence[Any]
"""What column `x` holds day by day: a number, a list of values, or None for a day without data."""

SAW: Days = [10.0, 12.0] * 4 + [20.0]
"""The eight days before the last have the mean 11 and the sample deviation √(8/7) = 1.069."""

STAINED: Days = [10.0, 12.0, 10.0, 12.0, 10.0, 12.0, 10.0, 100.0, 20.0]
"""One of the eight days before the last is an outlier."""

PLATEAU: Days = [*[10.0, 12.0] * 4, 30.0, 30.0]
STAIRS: Days = [1.0, 2.0, 2.0, 3.0, 2.0, 1.0]
WORDS: Days = [["a", "b", "b"], ["a", "b", "b"], ["a", "b", "c"], ["a", "a", "a"]]
SHIFT: Days = [[float(at) for at in range(20)], [float(at) for at in range(5, 25)]]
"""Twenty even steps; three quarters of them stay where they were."""


@dataclass(frozen=True)
class Effect:
    """A configuration, and on which days of the data it finds an anomaly."""

    kind: str
    config: dict[str, Any]
    days: Days
    anomalies: Sequence[int]
    analyzer: dict[str, Any] = field(default_factory=dict)
    failures: Sequence[int] = ()
    targets: Sequence[int] | None = None
    """Days that are analysed; all unless given."""

    def __str__(self) -> str:
        given = {**self.config, **self.analyzer}
        return (
            f"{self.kind}-"
            + "-".join(f"{name}={value}" for name, value in given.items() if name != "metric")[:90]
        )


def fixed(
    days: Days, anomalies: Sequence[int], *, analyzer: dict[str, Any] | None = None, **config: Any
) -> Effect:
    return Effect("fixed", {"metric": "mean", **config}, days, anomalies, analyzer or {})


def stddev(
    anomalies: Sequence[int], *, days: Days = SAW, failures: Sequence[int] = (), **config: Any
) -> Effect:
    given = {"metric": "mean", "baseline": trailing(8), **config}
    return Effect("stddev", given, days, anomalies, failures=failures, targets=range(8, len(days)))


def diff(anomalies: Sequence[int], *, failures: Sequence[int] = (), **config: Any) -> Effect:
    given = {"metric": "mean", "mode": "abs", "threshold": 8, "baseline": trailing(8), **config}
    return Effect("diff", given, SAW, anomalies, failures=failures, targets=[8])


def drift(
    anomalies: Sequence[int], *, days: Days = SHIFT, failures: Sequence[int] = (), **config: Any
) -> Effect:
    given = {"metric": "histogram", "baseline": trailing(1), **config}
    return Effect("drift", given, days, anomalies, failures=failures, targets=[1])


def comparison(
    anomalies: Sequence[int], *, days: Days = STAIRS, targets: Sequence[int] | None = None, **config: Any
) -> Effect:
    return Effect("comparison", {"metric": "mean", **config}, days, anomalies, targets=targets)


def among(
    anomalies: Sequence[int], *, days: Days = STAIRS, targets: Sequence[int] | None = None, **config: Any
) -> Effect:
    return Effect("list_comparison", {"metric": "mean", **config}, days, anomalies, targets=targets)


def words(anomalies: Sequence[int], **config: Any) -> Effect:
    given = {"metric": "frequent_items", "baseline": trailing(2), **config}
    return Effect("frequent_string_comparison", given, WORDS, anomalies, targets=[2, 3])


def monotonic(anomalies: Sequence[int], *, size: int | None = None, **config: Any) -> Effect:
    size_given = {} if size is None else {"targetSize": size}
    return Effect("monotonic", {"metric": "mean", **config}, STAIRS, anomalies, size_given)


TABLE = [
    fixed(SAW, []),
    fixed(SAW, [8], upper=12),
    fixed(SAW, [0, 2, 4, 6], lower=11),
    fixed(SAW, [0, 2, 4, 6, 8], lower=11, upper=12),
    fixed([10.0, 10.0, 12.0, 10.0, None, 10.0, 10.0], [0, 1, 3, 5, 6], lower=11, nConsecutive=1),
    fixed([10.0, 10.0, 12.0, 10.0, None, 10.0, 10.0], [1, 6], lower=11, nConsecutive=2),
    fixed([10.0, 10.0, 10.0, 10.0, None, 10.0, 10.0], [2, 3], lower=11, nConsecutive=3),
    fixed(SAW, [8], upper=15, analyzer={"targetSize": 2}),  # (12 + 20) / 2 = 16
    fixed(SAW, [], upper=15, analyzer={"targetSize": 3}),  # (10 + 12 + 20) / 3 = 14
    stddev([8]),
    stddev([8], factor=8),
    stddev([], factor=9),  # 11 + 9 · 1.069 = 20.6
    stddev([8], thresholdType="upper"),
    stddev([], thresholdType="lower"),
    stddev([], factor=9, maxUpperThreshold=25),
    stddev([8], factor=9, maxUpperThreshold=19),
    stddev([], maxUpperThreshold=25, limitType="and"),
    stddev([8], maxUpperThreshold=19, limitType="and"),
    stddev([8], minLowerThreshold=2, limitType="and"),  # the other side keeps its calculated bound
    stddev([8], factor=9, minLowerThreshold=20.5),
    stddev([], factor=9, minLowerThreshold=20.5, limitType="and"),
    stddev([8], minBatchSize=8),
    stddev([], minBatchSize=9, failures=[8]),
    stddev([], days=STAINED),
    stddev([8], days=STAINED, params={"enableGrubb": "true"}),
    stddev([], days=STAINED, params={"enableGrubb": "true", "grubbSignificance": "0.9999999999999"}),
    stddev([8], days=PLATEAU),
    stddev([8, 9], days=PLATEAU, params={"enableAlertsFilter": "true"}),
    stddev([8, 9], days=PLATEAU, params={"enableAnomalyReplacement": "true", "lambdaKeep": "0"}),
    stddev([8], days=PLATEAU, params={"enableAnomalyReplacement": "true", "lambdaKeep": "1"}),
    diff([8]),
    diff([], threshold=9),  # 20 − 11 is 9, and the bound is strict
    diff([8], mode="pct", threshold=81),
    diff([], mode="pct", threshold=82),  # 9 / 11 = 81.8 %
    diff([8], thresholdType="upper"),
    diff([], thresholdType="lower"),
    diff([8], minBatchSize=8),
    diff([], minBatchSize=9, baseline=trailing(20), failures=[8]),
    *(
        drift(found, algorithm=name, threshold=threshold)
        for name, under, over in (
            # 5 of 20 values leave and 5 come: a quarter of the mass differs.
            ("hellinger", 0.4, 0.6),  # √(1 − 0.75) = 0.5, but for the bins' edges
            ("jensenshannon", 0.3, 0.6),  # √(ln 2 / 4) = 0.416
            ("ks_test", 0.24, 0.26),
            ("variation_distance", 0.2, 0.35),
            ("wasserstein", 0.86, 0.88),  # by 5, in deviations of √(399 / 12)
            ("kl_divergence", 1, 10),
            ("psi", 1, 20),
        )
        for threshold, found in ((under, [1]), (over, []))
    ),
    drift([], threshold=0.7),
    drift([], threshold=0.1, minBatchSize=2, baseline=trailing(9), failures=[1]),
    drift([1], metric="frequent_items", days=[["a", "b"], ["c", "d"]], algorithm="chi_square", threshold=0.5),
    drift([1], metric="frequent_items", days=[["a", "b"], ["c", "d"]], threshold=0.9),
    *(
        comparison(wrong, operator=operator, expected=2)
        for operator, wrong in (
            ("eq", [0, 3, 5]),
            ("gt", [0, 1, 2, 4, 5]),
            ("ge", [0, 5]),
            ("lt", [1, 2, 3, 4]),
            ("le", [3]),
        )
    ),
    comparison([0, 3, 5], operator="eq", expected={"int": 2}),
    comparison([0, 3, 5], operator="eq", expected={"float": 2.0}),
    comparison([0, 3, 5], operator="eq", expected={"str": "2"}),
    comparison(
        [2, 5],
        metric="inferred_data_type",
        days=[[1], [2], ["a"], [3], [4], ["b"]],
        operator="eq",
        expected="INTEGRAL",
    ),
    comparison([1, 3, 4, 5], operator="eq", baseline=trailing(1), targets=range(1, 6)),
    comparison([4, 5], operator="ge", baseline=trailing(1), targets=range(1, 6)),
    comparison([], operator="ge", baseline=trailing(9), minBatchSize=9, targets=[5]),
    among([3], operator="in", expected=[1, 2]),
    among([0, 1, 2, 4, 5], operator="not_in", expected=[{"int": 1}, {"float": 2.0}]),
    among([3], expected=[1, {"str": "2"}]),
    among([1, 3, 4, 5], operator="in", baseline=trailing(1), targets=range(1, 6)),
    among([2], operator="not_in", baseline=trailing(1), targets=range(1, 6)),
    words([2, 3], operator="eq"),
    words([3], operator="target_includes_all_baseline"),
    words([2], operator="baseline_includes_all_target"),
    monotonic([1, 3]),
    monotonic([1, 3], direction="INCREASING"),
    monotonic([4, 5], direction="DECREASING"),
    monotonic([1, 2, 3, 4], size=3),
    monotonic([], size=3, numBuckets=2),
    monotonic([5], size=3, numBuckets=2, direction="DECREASING"),
    monotonic([3], size=4, numBuckets=2),
    monotonic([3, 4], size=5, numBuckets=2),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path_factory.mktemp('parameters') / 'store.db'}")
    yield opened
    opened.close()


@pytest.mark.parametrize("effect", TABLE, ids=str)
def test_a_parameter_has_its_effect(store: Store, effect: Effect) -> None:
    ref = register_dataset(store, "org-0", repr(effect.days)[:90])
    for day, values in enumerate(effect.days):
        if values is not None:
            load(store, ref, day, {"x": pa.array(values if isinstance(values, list) else [values])})
    monitors = document({"config": {"type": effect.kind, **effect.config}, **effect.analyzer})
    analysis = run(store, ref, monitors, effect.targets or range(len(effect.days)))
    assert not analysis.notes
    assert [(one.bucket - START).days for one in analysis.results if one.is_anomaly] == list(effect.anomalies)
    failed = [(one.bucket - START).days for one in analysis.results if one.failed]
    if "minBatchSize" in effect.config and not effect.anomalies:
        assert failed
    else:
        assert failed == list(effect.failures)


MODELS: list[type[BaseModel]] = [
    FixedConfig,
    StddevConfig,
    DiffConfig,
    DriftConfig,
    ComparisonConfig,
    ListComparisonConfig,
    FrequentStringComparisonConfig,
    MonotonicConfig,
]


def test_the_table_has_every_parameter() -> None:
    untested: set[tuple[str, str]] = set()
    for model in MODELS:
        kind = model.model_fields["type"].default
        named = {name for effect in TABLE if effect.kind == kind for name in effect.config}
        known = {info.alias or name for name, info in model.model_fields.items()}
        # Kept for older documents, or without effect on a type that has none of its own.
        kept = {"type", "version", "schemaVersion", "params"} - ({"params"} if kind == "stddev" else set())
        untested |= {(kind, name) for name in known - named - kept}
    assert untested <= {("list_comparison", "minBatchSize"), ("frequent_string_comparison", "minBatchSize")}


@pytest.mark.parametrize("kind", ["fixed", "diff", "drift", "comparison", "monotonic"])
def test_params_that_a_type_does_not_know_are_told(store: Store, kind: str) -> None:
    effect = next(one for one in TABLE if one.kind == kind)
    ref = register_dataset(store, "org-0", repr(effect.days)[:90])
    monitors = document({"config": {"type": kind, **effect.config, "params": {"enableGrubb": "true"}}})
    notes = run(store, ref, monitors, effect.targets or [0]).notes
    assert "analyzer mean-below-ten: params enableGrubb have no effect" in notes


@pytest.mark.parametrize(
    ("config", "anomalies"),
    [
        ({}, [1, 2]),
        ({"mode": "ON_ADD_AND_REMOVE"}, [1, 2]),
        ({"mode": "ON_ADD"}, [1]),
        ({"mode": "on_remove"}, [2]),
        ({"exclude": ["tmp_1"]}, [2]),
        ({"exclude": ["tmp_*"]}, [2]),
        ({"exclude": ["tmp_*", "y"]}, []),
        ({"baseline": trailing(1, offset=1)}, [2, 3]),
    ],
    ids=str,
)
def test_parameters_of_column_list(store: Store, config: dict[str, Any], anomalies: list[int]) -> None:
    ref = register_dataset(store, "org-0", "columns")
    for day, names in enumerate([["x", "y"], ["x", "y", "tmp_1"], ["x", "tmp_1"], ["x", "tmp_1"]]):
        load(store, ref, day, {name: [1.0] for name in names})
    given = {"type": "column_list", "metric": "column_list", "baseline": trailing(1), **config}
    monitors = document({"config": given, "targetMatrix": {"type": "dataset"}})
    found = run(store, ref, monitors, [1, 2, 3]).results
    assert [(one.bucket - START).days for one in found if one.is_anomaly] == anomalies


@pytest.mark.parametrize(("kind", "anomalies"), [("conjunction", [3]), ("disjunction", [1, 2, 3, 4])])
def test_parameters_of_composites(store: Store, kind: str, anomalies: list[int]) -> None:
    ref = register_dataset(store, "org-0", "stairs")
    for day, value in enumerate(STAIRS):
        load(store, ref, day, {"x": [value]})
    high = {"id": "high-enough", "config": {"type": "fixed", "metric": "mean", "upper": 1.5}}
    rising = {"id": "rises-again", "config": {"type": "fixed", "metric": "max", "upper": 2}}
    both = {"id": "both-of-them", "config": {"type": kind, "analyzerIds": ["high-enough", "rises-again"]}}
    found = run(store, ref, document(high, rising, both), range(6)).results
    of_both = [one for one in found if one.analyzer_id == "both-of-them"]
    assert [(one.bucket - START).days for one in of_both if one.is_anomaly] == anomalies
    assert all(one.details["child_analyzer_ids"] == ["high-enough", "rises-again"] for one in of_both)


def test_a_disabled_analyzer_is_never_due() -> None:
    on, off = {"id": "switched-on"}, {"id": "switched-off", "disabled": True}
    times: dict[datetime, datetime] = {START: START + DAY}
    facts = BatchFacts({START: 5}, times, START)
    decision = decide(
        document(on, off), facts=facts, calculated=set(), now=START + 2 * DAY + timedelta(hours=1)
    )
    assert {one.analyzer_id for one in decision.due} == {"switched-on"}
    assert {one.analyzer_id for one in decision.waiting} <= {"switched-on", "switched-off"}


def test_static_thresholds_that_contradict_each_other_are_a_failure_or_refused(store: Store) -> None:
    ref = register_dataset(store, "org-0", repr(SAW)[:90])
    config = {"type": "stddev", "metric": "mean", "minLowerThreshold": 5, "maxUpperThreshold": 4}
    monitors = document({"config": {**config, "baseline": trailing(8)}})
    [found] = run(store, ref, monitors, [8]).results
    assert found.failure_type is FailureType.CALCULATION_EXCEPTION
    assert found.failure_explanation == "minLowerThreshold 5 exceeds maxUpperThreshold 4"
