"""Every metric there is, on data small enough to work out by hand: off the catalog, and from a document to a verdict.

The truth is Python, numpy and arithmetic on the values themselves. While so few values fit into a sketch it is exact.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.analysis.engine import Analysis
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.config.dataset import ColumnRoles
from monitoring_pipeline.config.entity_schema import EntitySchema
from monitoring_pipeline.metrics import catalog, metric
from monitoring_pipeline.profiling.profiler import Profiler, profile
from monitoring_pipeline.store.database import Store, open_store
from monitoring_pipeline.store.datasets import DatasetRef, register_dataset
from monitoring_pipeline.store.profiles import write_batch
from monitoring_pipeline_tests.analysis.documents import document
from monitoring_pipeline_tests.analysis.engine_runs import DAY, NOW, START, load, run

Values = Sequence[Any]
NAN, INF = math.nan, math.inf

COLUMNS: dict[str, pa.Array] = {
    "price": pa.array([9.5, None, 1.25, 4.0, 4.0, -2.0, 7.75, 4.0, 100.0, 0.5, 3.0, None]),
    "wild": pa.array([1.0, NAN, INF, -INF, 2.0, INF, 5.0, NAN, 3.0, 3.0, 1.5, 8.5]),
    "pages": pa.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, None]),
    "yes": pa.array([True, False, None, True, True, False, True, None, False, True, True, True]),
    "flag": pa.array([0, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1]),
    "city": pa.array(
        ["Rome", "Oslo", "Rome", None, "Bern", "Rome", "", "Oslo", "Kyiv", "Rome", "Nice", "Oslo"]
    ),
    "at": pa.array([datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour % 5) for hour in range(12)]),
    "none": pa.nulls(12),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path_factory.mktemp('metrics') / 'store.db'}")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def ref(store: Store) -> DatasetRef:
    found = register_dataset(store, "org-0", "columns")
    load(store, found, 0, pa.table(COLUMNS))
    return found


# --- metrics of columns: what each is, worked out on the values ------------------------------------------------------


def there(values: Values) -> list[Any]:
    return [value for value in values if value is not None]


def of_kind(kind: type) -> Callable[[Values], float]:
    return lambda values: sum(type(value) is kind for value in values)


def objects(values: Values) -> float:
    return sum(not isinstance(value, (bool, int, float, str)) for value in there(values))


def numbers(values: Values) -> list[float]:
    """Finite numbers; booleans, texts and times are none."""
    return [float(one) for one in there(values) if type(one) in (int, float) and math.isfinite(one)]


def ranked(values: Values) -> list[float]:
    """What has an order: finite numbers, or times in microseconds since 1970."""
    return sorted(
        numbers(values) or [one.timestamp() * 1e6 for one in there(values) if isinstance(one, datetime)]
    )


def quantile(share: float) -> Callable[[Values], float]:
    """The reference's: the item at floor(share · n) of the sorted values."""

    def found(values: Values) -> float:
        ascending = ranked(values)
        return ascending[min(int(share * len(ascending)), len(ascending) - 1)] if ascending else NAN

    return found


def if_any(function: Callable[[list[float]], float], least: int = 1) -> Callable[[Values], float]:
    return lambda values: function(kept) if len(kept := numbers(values)) >= least else NAN


def extreme(function: Callable[[list[float]], float]) -> Callable[[Values], float]:
    return lambda values: function(kept) if (kept := ranked(values)) else NAN


def distinct(values: Values) -> float:
    return len({str(one) if isinstance(one, float) and math.isnan(one) else one for one in there(values)})


def fences(values: Values) -> float:
    """Tukey's fences, 1.5 interquartile ranges beyond the quartiles."""
    ascending = ranked(values)
    if not ascending:
        return NAN
    low, high = quantile(0.25)(values), quantile(0.75)(values)
    reach = 1.5 * (high - low)
    return sum(not low - reach <= one <= high + reach for one in ascending) / len(ascending)


def three_sigma(values: Values) -> float:
    kept = numbers(values)
    if len(kept) < 2:
        return NAN
    centre, reach = statistics.fmean(kept), 3 * statistics.stdev(kept)
    return sum(abs(one - centre) > reach for one in ranked(values)) / len(ranked(values))


def errors(values: Values) -> float:
    flags = [one for one in there(values) if type(one) is bool]
    kept = numbers(values)
    if flags:
        return sum(flags) / len(flags)
    return statistics.fmean(kept) if kept and all(0 <= one <= 1 for one in kept) else NAN


def discrete(values: Values) -> float:
    """(distinct + 1) / n at most 0.15, unless the type tells: fractional never, text and unknown always."""
    kinds = {type(one) for one in there(values)}
    if not kinds:
        return 1.0  # nothing is different from anything
    if kinds <= {float}:
        return 0.0
    if kinds <= {str} or not kinds & {bool, int, float}:
        return 1.0
    return float((distinct(values) + 1) / len(values) <= 0.15)


COUNTS: dict[str, Callable[[Values], float]] = {
    "count_null": lambda values: sum(one is None for one in values),
    "count_bool": of_kind(bool),
    "count_integral": of_kind(int),
    "count_fractional": of_kind(float),
    "count_string": of_kind(str),
    "count_object": objects,
    "count_true": lambda values: sum(one is True for one in values),
    "count_nan": lambda values: sum(type(one) is float and math.isnan(one) for one in values),
}


def ratio(count: Callable[[Values], float]) -> Callable[[Values], float]:
    return lambda values: count(values) / len(values)


TRUTH: dict[str, Callable[[Values], float]] = {
    "count": len,
    **COUNTS,
    **{f"{name}_ratio": ratio(count) for name, count in COUNTS.items()},
    "count_inf": lambda values: sum(type(one) is float and math.isinf(one) for one in values),
    **{f"unique_{bound}": distinct for bound in ("est", "lower", "upper")},
    **{f"unique_{bound}_ratio": ratio(distinct) for bound in ("est", "lower", "upper")},
    "mean": if_any(statistics.fmean),
    "min": extreme(min),
    "max": extreme(max),
    "variance": if_any(statistics.variance, 2),
    "stddev": if_any(statistics.stdev, 2),
    "median": quantile(0.5),
    **{f"quantile_{rank}": quantile(rank / 100) for rank in (5, 25, 50, 75, 90, 95, 99)},
    **{f"latency.p{rank}": quantile(rank / 100) for rank in (50, 95, 99)},
    "discrete": discrete,
    "error_rate": errors,
    "outlier_ratio": fences,
    "outlier_count": lambda values: fences(values) * len(numbers(values)),
    "outlier_sigma_ratio": three_sigma,
    "outlier_sigma_count": lambda values: three_sigma(values) * len(numbers(values)),
}
TYPES = {
    "price": "FRACTIONAL",
    "wild": "FRACTIONAL",
    "pages": "INTEGRAL",
    "yes": "BOOLEAN",
    "flag": "INTEGRAL",
    "city": "STRING",
    "at": "UNKNOWN",
    "none": "NULL",
}
DISTRIBUTIONS = {"histogram", "frequent_items", "column_list", "field_list"}
ALMOST = pytest.approx


def expected(name: str) -> dict[str, float]:
    """By column; those where the metric has no value are not there."""
    found = {column: float(TRUTH[name](values.to_pylist())) for column, values in COLUMNS.items()}
    return {column: value for column, value in found.items() if not math.isnan(value)}


def fixed(name: str, **bounds: float) -> dict[str, Any]:
    return {"type": "fixed", "metric": name, **bounds}


def watched(
    store: Store, ref: DatasetRef, *configs: dict[str, Any], days: Sequence[int] = (0,), **given: Any
) -> Analysis:
    analyzers = [
        {"id": f"watch-{number}", "config": config, **given.get("analyzer", {})}
        for number, config in enumerate(configs)
    ]
    rest = {name: value for name, value in given.items() if name not in ("analyzer", "document")}
    return run(store, ref, document(*analyzers, **given.get("document", {})), days, **rest)


def by_column(analysis: Analysis, number: int = 0) -> dict[str, AnalyzerResult]:
    return {one.column: one for one in analysis.results if one.analyzer_id == f"watch-{number}"}


def test_the_table_has_every_metric() -> None:
    named = {*TRUTH, *DATASET_TRUTH, *PERFORMANCE, *DISTRIBUTIONS, "inferred_data_type"}
    assert named == {*catalog()}


@pytest.mark.parametrize("name", TRUTH)
def test_a_metric_of_a_column_is_what_the_values_say(store: Store, ref: DatasetRef, name: str) -> None:
    truth = expected(name)
    analysis = watched(store, ref, fixed(name, upper=1e300))
    found = {column: one.metric_value for column, one in by_column(analysis).items()}
    assert found == {column: ALMOST(value, rel=1e-12) for column, value in truth.items()}
    assert {one.metric for one in analysis.results} <= {metric(name).name}


@pytest.mark.parametrize("name", TRUTH)
def test_a_bound_on_a_metric_of_a_column_is_strict(store: Store, ref: DatasetRef, name: str) -> None:
    truth = expected(name)
    if name == "error_rate":
        assert sorted(truth) == ["flag", "yes"]
    column = next(column for column in COLUMNS if column in truth and math.isfinite(truth[column]))
    value = by_column(watched(store, ref, fixed(name, upper=1e300)))[column].metric_value
    assert value is not None
    step = 1e-9 * max(abs(value), 1)
    bounds = [{"upper": value}, {"lower": value}, {"upper": value - step}, {"lower": value + step}]
    one = {"targetMatrix": {"type": "column", "include": [column]}}
    analysis = watched(store, ref, *(fixed(name, **bound) for bound in bounds), analyzer=one)
    verdicts = {result.analyzer_id: result.anomaly_count for result in analysis.results}
    assert verdicts == {"watch-0": 0, "watch-1": 0, "watch-2": 1, "watch-3": 1}


@pytest.mark.parametrize("name", [name for name in TRUTH if not name.startswith("outlier")])
def test_the_catalog_reads_the_same_off_a_profile(name: str) -> None:
    columns = profile(pa.table(COLUMNS)).columns[""]
    found = metric(name)
    for column, made in columns.items():
        scalars = {
            key: np.asarray(np.nan if value is None else value) for key, value in made.scalars().items()
        }
        value = float(found.formula({need: scalars[need] for need in found.needs}))
        truth = expected(name).get(column)
        assert (None if math.isnan(value) else value) == (
            None if truth is None else ALMOST(truth, rel=1e-12)
        ), column


def test_the_type_of_each_column(store: Store, ref: DatasetRef) -> None:
    among = {"type": "list_comparison", "metric": "Inferred.Data.Type", "operator": "in"}
    analysis = watched(store, ref, {**among, "expected": ["INTEGRAL", "BOOLEAN"]})
    found = by_column(analysis)
    assert {column: one.details["comparison_observed"] for column, one in found.items()} == TYPES
    assert {column for column, one in found.items() if not one.is_anomaly} == {"pages", "yes", "flag"}


SPELLINGS = (str.upper, str.title, lambda name: name.replace("_", "."), lambda name: name.replace(".", "_"))


@pytest.mark.parametrize("name", TRUTH)
def test_case_dots_and_underscores_make_no_difference(store: Store, ref: DatasetRef, name: str) -> None:
    configs = [fixed(spelt(name), upper=1e300) for spelt in (str, *SPELLINGS)]
    analysis = watched(store, ref, *configs)
    numbers = [
        {column: one.metric_value for column, one in by_column(analysis, number).items()}
        for number in range(len(configs))
    ]
    assert all(found == numbers[0] for found in numbers)
    assert {one.metric for one in analysis.results} == {metric(name).name}


def test_a_distribution_is_compared_and_not_bounded(store: Store) -> None:
    ref = register_dataset(store, "org-0", "distributions")
    load(store, ref, 0, {"x": [1.0, 2.0, 3.0, 4.0], "word": ["a", "a", "b", "c"]})
    load(store, ref, 1, {"x": [1.0, 2.0, 3.0, 4.0], "word": ["a", "a", "b", "d"]})
    load(store, ref, 2, {"x": [9.0, 9.5, 9.75, 10.0], "word": ["d", "d", "e", "e"]})
    before = {"type": "TrailingWindow", "size": 1}
    drift = {"type": "drift", "algorithm": "hellinger", "threshold": 0.9, "baseline": before}
    analysis = watched(
        store, ref, {**drift, "metric": "histogram"}, {**drift, "metric": "frequent_items"}, days=[1, 2]
    )
    found = {
        (one.analyzer_id, one.column, (one.bucket - START).days): (one.drift_value, one.anomaly_count)
        for one in analysis.results
    }
    # Day 1: "b" and two "a" are common to both days. Day 2: nothing but one "d" is.
    assert found["watch-0", "x", 1] == (0, 0)
    assert found["watch-0", "x", 2] == (1, 1)
    assert found["watch-1", "word", 1] == (ALMOST(math.sqrt(0.25)), 0)
    assert found["watch-1", "word", 2] == (ALMOST(math.sqrt(1 - math.sqrt(0.25 * 0.5))), 0)


@pytest.mark.parametrize("name", sorted(DISTRIBUTIONS))
def test_a_distribution_has_no_bound(store: Store, ref: DatasetRef, name: str) -> None:
    [note] = watched(store, ref, fixed(name, upper=1)).notes
    assert "needs a metric that is a number" in note


# --- metrics of the dataset ------------------------------------------------------------------------------------------

ROWS = pa.table(
    {"key": range(8), "amount": [1.0, 2.0, None, 4.0, 5.0, 6.0, 7.0, 8.0], "output_score": [0.5] * 8}
)
OUTCOMES = pa.table({"key": range(6), "came": [True] * 6, "worth": [1.0] * 6})
FIRST, LAST = START + 30 * timedelta(hours=1), START + 31 * timedelta(hours=1)
DATASET_TRUTH: dict[str, float] = {
    "shape_row_count": 8,
    "shape_column_count": 3,
    "column_row_count_sum": 24,
    "input.count": 16,
    "output.count": 8,
    "throughput": 8 / 86_400,
    "profile.count": 2,
    "profile.first_ingestion_time": FIRST.timestamp(),
    "profile.last_ingestion_time": LAST.timestamp(),
    "secondsSinceLastUpload": (NOW - LAST).total_seconds(),
    "missingDatapoint": 0,
}
WHOLE = {"targetMatrix": {"type": "dataset"}}


@pytest.fixture(scope="module", params=["rows only", "rows and late outcomes"])
def bucket(store: Store, request: pytest.FixtureRequest) -> DatasetRef:
    found = register_dataset(store, "org-0", request.param)
    roles = ColumnRoles.model_validate({"id": "key", "target": "came", "value": "worth"})
    profiler = Profiler(roles=roles, late=True)
    profiler.update(ROWS)
    if request.param != "rows only":
        profiler.update(OUTCOMES, adds_rows=False)
    times = {"first_upload": FIRST, "last_upload": LAST, "files": 2}
    write_batch(store, found, START, profiler.finish(), fingerprint="a", quality={}, now=NOW, **times)
    return found


@pytest.mark.parametrize("name", DATASET_TRUTH)
def test_a_metric_of_the_dataset_is_what_the_rows_say_with_or_without_their_outcomes(
    store: Store, bucket: DatasetRef, name: str
) -> None:
    truth = DATASET_TRUTH[name]
    step = 1e-6 * max(truth, 1)
    if name in ("missingDatapoint", "secondsSinceLastUpload"):
        step = 1.0  # bounds of whole numbers are cut to whole numbers, as in the reference
    bounds = [{"upper": truth}, {"lower": truth}, {"upper": truth - step}, {"lower": truth + step}]
    spelt = [name, *(spell(name) for spell in SPELLINGS)]
    configs = [fixed(one, **bound) for one, bound in zip(itertools.cycle(spelt), bounds * 2, strict=False)]
    analysis = watched(store, bucket, *configs, analyzer=WHOLE)
    found = {one.analyzer_id: one for one in analysis.results}
    assert [found[f"watch-{number}"].anomaly_count for number in range(8)] == [0, 0, 1, 1] * 2
    assert [one.metric_value for one in analysis.results] == [ALMOST(truth, rel=1e-12)] * 8
    assert {(one.metric, one.column, one.target_level) for one in analysis.results} == {(name, "", "dataset")}


def test_a_bucket_without_data_is_missing(store: Store, bucket: DatasetRef) -> None:
    analysis = watched(store, bucket, fixed("missingDatapoint", upper=0), days=[0, 1], analyzer=WHOLE)
    assert [(one.metric_value, one.anomaly_count) for one in analysis.results] == [(0, 0), (1, 1)]


def test_the_columns_of_a_bucket_do_not_change_when_its_outcomes_come(store: Store) -> None:
    ref = register_dataset(store, "org-0", "columns over time")
    for day in range(4):
        profiler = Profiler(roles=ColumnRoles.model_validate({"id": "key", "target": "came"}), late=True)
        profiler.update(ROWS if day < 3 else ROWS.drop_columns("amount"))
        if day != 2:
            profiler.update(OUTCOMES, adds_rows=False)
        times = {"first_upload": START + DAY, "last_upload": START + DAY, "files": 1}
        made = profiler.finish()
        write_batch(store, ref, START + day * DAY, made, fingerprint="a", quality={}, now=NOW, **times)
    before = {"type": "TrailingWindow", "size": 1}
    analysis = watched(
        store,
        ref,
        {"type": "column_list", "metric": "column_list", "baseline": before},
        {"type": "diff", "metric": "shape_column_count", "mode": "abs", "threshold": 0, "baseline": before},
        days=[1, 2, 3],
        analyzer=WHOLE,
    )
    assert sorted(
        (one.analyzer_id, (one.bucket - START).days) for one in analysis.results if one.is_anomaly
    ) == [
        ("watch-0", 3),
        ("watch-1", 3),
    ]
    [gone] = [one for one in analysis.results if one.is_anomaly and one.analyzer_id == "watch-0"]
    assert gone.details["column_list_removed_sample"] == ["amount"]


# --- how good predictions were ---------------------------------------------------------------------------------------

# Ten rows, of which predicted yes: 3 right, 2 wrong; predicted no: 4 right, 1 wrong.
GUESSED = [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]
CAME = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
SCORE = [0.9, 0.8, 0.7, 0.6, 0.85, 0.4, 0.3, 0.2, 0.1, 0.05]
WORTH = [10.0, 20.0, 30.0, 1.0, 2.0, 40.0, 1.0, 1.0, 1.0, 1.0]
PRICE = [3.0, 5.0, 2.0, 8.0, 1.0, 4.0, 6.0, 7.0, 9.0, 10.0]
PAID = [2.0, 5.0, 4.0, 7.0, 1.0, 4.0, 6.0, 9.0, 9.0, 10.0]
PAIRS = [
    (yes, no)
    for yes, came in zip(SCORE, CAME, strict=True)
    if came
    for no, other in zip(SCORE, CAME, strict=True)
    if not other
]
TENTHS = [
    [at for at, score in enumerate(SCORE) if min(int(score * 10 + 1e-9), 9) == tenth] for tenth in range(10)
]
PERFORMANCE: dict[str, float] = {
    "classification.accuracy": 7 / 10,
    "classification.precision": 3 / 5,
    "classification.recall": 3 / 4,
    "classification.f1": 2 * (3 / 5) * (3 / 4) / (3 / 5 + 3 / 4),
    "classification.fpr": 2 / 6,
    "classification.auroc": sum(yes > no for yes, no in PAIRS) / len(PAIRS),
    "classification.log_loss": statistics.fmean(
        -math.log(score if came else 1 - score) for score, came in zip(SCORE, CAME, strict=True)
    ),
    "classification.brier": statistics.fmean(
        (score - came) ** 2 for score, came in zip(SCORE, CAME, strict=True)
    ),
    "classification.ece": sum(
        abs(sum(SCORE[at] for at in tenth) - sum(CAME[at] for at in tenth)) for tenth in TENTHS
    )
    / 10,
    "value.total": 107,
    "value.mean": 10.7,
    "value.positive": 100,
    "value.negative": 7,
    "value.true_positive": 60,
    "value.false_positive": 3,
    "value.false_negative": 40,
    "value.true_negative": 4,
    "outcome.count": 10,
    "outcome.ratio": 10 / 12,
    "regression.mse": (1 + 4 + 1 + 4) / 10,
    "regression.rmse": 1.0,
    "regression.mae": (1 + 2 + 1 + 2) / 10,
    "regression.bias": (1 - 2 + 1 - 2) / 10,
}


@pytest.fixture(scope="module")
def judged(store: Store) -> dict[str, DatasetRef]:
    """Yes-or-no answers, and numbers."""
    waiting = [None, None]
    answers = pa.table(
        {
            "guess": [*GUESSED, 1, 0],
            "score": [*SCORE, 0.5, 0.5],
            "came": CAME + waiting,
            "worth": WORTH + waiting,
        }
    )
    prices = pa.table({"guess": PRICE, "came": PAID})
    found = {}
    for kind, table, roles in (
        (
            "classification",
            answers,
            {"prediction": "guess", "score": "score", "target": "came", "value": "worth"},
        ),
        ("regression", prices, {"prediction": "guess", "target": "came"}),
    ):
        found[kind] = register_dataset(store, "org-0", kind)
        made = profile(table, roles=ColumnRoles.model_validate(roles))
        times = {"first_upload": FIRST, "last_upload": LAST, "files": 2}
        write_batch(store, found[kind], START, made, fingerprint="a", quality={}, now=NOW, **times)
    return found


@pytest.mark.parametrize("name", PERFORMANCE)
def test_a_metric_of_predictions_is_what_the_rows_say(
    store: Store, judged: dict[str, DatasetRef], name: str
) -> None:
    truth = PERFORMANCE[name]
    step = 2e-3 if name == "classification.auroc" else 1e-6
    spelt = [name, name.upper(), name.replace(".", "_"), name.title()]
    bounds = [
        {"upper": truth + step},
        {"lower": truth - step},
        {"upper": truth - step},
        {"lower": truth + step},
    ]
    ref = judged["regression" if name.startswith("regression") else "classification"]
    configs = [fixed(one, **bound) for one, bound in zip(spelt, bounds, strict=True)]
    analysis = watched(store, ref, *configs, analyzer=WHOLE)
    assert [one.anomaly_count for one in analysis.results] == [0, 0, 1, 1]
    assert {one.metric for one in analysis.results} == {name}


def test_a_metric_of_the_dataset_is_not_said_of_columns(store: Store, ref: DatasetRef) -> None:
    [note] = watched(store, ref, fixed("shape_row_count", upper=1)).notes
    assert 'shape_row_count is about the dataset; its targetMatrix must have the type "dataset"' in note


# --- metrics of a dataset's own, stated by the document --------------------------------------------------------------

STATED = {
    "customMetrics": {
        "Precision.K_3": {"label": "Precision at 3", "column": "p_at_3", "builtinMetric": "mean"},
        "middle": {"label": "Middle", "column": "p_at_3", "defaultMetric": "median"},
        "kinds": {"column": "p_at_3", "builtinMetric": "inferred_data_type"},
        "lost": {"expression": "count_null / count"},
        "twice": "2 * precision_k_3",
    }
}


@pytest.fixture(scope="module")
def scored(store: Store) -> DatasetRef:
    found = register_dataset(store, "org-0", "scored")
    for day in range(8):
        low = [0.2, None, 0.3, 0.1] if day == 7 else [0.5, 0.6, 0.4, 0.5]
        region = ["EU", "EU", "US", "US"]
        load(
            store,
            found,
            day,
            {"p_at_3": pa.array(low), "other": [9.0] * 4, "region": region},
            segments=[["region"]],
        )
    return found


def stated(
    store: Store, ref: DatasetRef, config: dict[str, Any], days: Sequence[int], **analyzer: Any
) -> Analysis:
    given = {"entitySchema": {**STATED, "columns": {}}}
    return watched(store, ref, config, days=days, document=given, analyzer={**WHOLE, **analyzer})


def test_a_column_is_a_metric_of_the_dataset(store: Store, scored: DatasetRef) -> None:
    found = stated(store, scored, fixed("precision_k_3", lower=0.3), [6, 7]).results
    assert [one.metric_value for one in found] == [ALMOST(0.5), ALMOST(0.2)]
    assert [(one.anomaly_count, one.column, one.target_level, one.metric) for one in found] == [
        (0, "", "dataset", "Precision.K_3"),
        (1, "", "dataset", "Precision.K_3"),
    ]


def test_it_is_compared_with_a_merged_baseline_and_inside_segments(store: Store, scored: DatasetRef) -> None:
    before = {"type": "TrailingWindow", "size": 7}
    by_region = {"type": "dataset", "segments": [{"tags": [{"key": "region", "value": "*"}]}]}
    config = {"type": "diff", "mode": "abs", "threshold": 0.28, "metric": "twice", "baseline": before}
    found = stated(store, scored, config, [7], targetMatrix=by_region).results
    # EU: 0.55 before and 0.2 on day 7, US: 0.45 and 0.2; twice that
    assert {one.segment: one.diff_value for one in found} == {
        "region=EU": ALMOST(0.7),
        "region=US": ALMOST(0.5),
    }
    assert all(one.is_anomaly for one in found)


@pytest.mark.parametrize("size", [1, 3])
def test_its_quantiles_come_from_the_merged_sketches(store: Store, scored: DatasetRef, size: int) -> None:
    before = {"type": "TrailingWindow", "size": 4}
    config = {"type": "diff", "mode": "abs", "threshold": 0.28, "metric": "middle", "baseline": before}
    [found] = stated(store, scored, config, [7], targetSize=size).results
    values = sorted(([0.5, 0.6, 0.4, 0.5] * (size - 1)) + [0.2, 0.3, 0.1])
    assert found.metric_value == values[len(values) // 2]
    assert found.diff_value == ALMOST(abs(0.5 - values[len(values) // 2]))


def test_it_may_be_a_text(store: Store, scored: DatasetRef) -> None:
    config = {"type": "comparison", "metric": "kinds", "operator": "eq", "expected": "STRING"}
    [found] = stated(store, scored, config, [7]).results
    assert (found.details["comparison_observed"], found.anomaly_count) == ("FRACTIONAL", 1)


def test_an_expression_of_columns_is_said_of_each(store: Store, scored: DatasetRef) -> None:
    columns = {"type": "column", "include": ["*"], "exclude": ["region"]}
    found = stated(store, scored, fixed("lost", upper=0.1), [7], targetMatrix=columns).results
    assert {one.column: (one.metric_value, one.anomaly_count) for one in found} == {
        "p_at_3": (0.25, 1),
        "other": (0, 0),
    }


def test_a_reference_profile_holds_it_too(store: Store, scored: DatasetRef) -> None:
    from monitoring_pipeline.store.profiles import write_reference

    write_reference(store, scored, "good-times", profile(pa.table({"p_at_3": [0.5, 0.7]})), NOW)
    baseline = {"type": "Reference", "profileId": "good-times"}
    config = {"type": "diff", "mode": "pct", "threshold": 50, "metric": "precision_k_3", "baseline": baseline}
    [found] = stated(store, scored, config, [7]).results
    assert found.diff_value == ALMOST((0.6 - 0.2) / 0.6 * 100)
    assert found.is_anomaly


def test_a_metric_of_ones_own_is_kept_when_schemas_are_put_over_each_other() -> None:
    inferred = EntitySchema.model_validate({"columns": {"p_at_3": {"dataType": "fractional"}}})
    merged = inferred.overridden_by(EntitySchema.model_validate(STATED))
    assert sorted(merged.custom_metrics) == ["Precision.K_3", "kinds", "lost", "middle", "twice"]
    assert sorted(merged.columns) == ["p_at_3"]
