"""What a result tells: every field of the reference's record, of every type of analyzer, and every way to fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from monitoring_pipeline.analysis.algorithms import Registry, registry
from monitoring_pipeline.analysis.result import AnalyzerResult, FailureType
from monitoring_pipeline.profiling import profile
from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store, open_store
from monitoring_pipeline.store.datasets import DatasetRef, register_dataset
from monitoring_pipeline.store.profiles import write_reference
from monitoring_pipeline_tests.analysis.documents import document
from monitoring_pipeline_tests.analysis.engine_runs import DAY, NOW, START, load, one, run, trailing


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path_factory.mktemp('records') / 'store.db'}")
    yield opened
    opened.close()


@pytest.fixture
def ref(store: Store) -> DatasetRef:
    """Nine days of a number and a word; the ninth is unlike the others."""
    found = register_dataset(store, "org-0", "leads")
    for day in range(8):
        load(
            store,
            found,
            day,
            {"x": [9.0 + day % 2, 11.0 + day % 2], "word": ["a", "b"], "flag": [True, False]},
        )
    load(store, found, 8, {"x": [90.0, 110.0], "word": ["a", "c"], "more": [1, 2]})
    return found


def record(result: AnalyzerResult) -> dict[str, Any]:
    return result.to_reference_record(organisation="org-0", dataset="leads")


COLUMN = {"type": "column", "include": ["x"]}
WORD = {"type": "column", "include": ["word"]}
KEYS: dict[str, type] = {
    **dict.fromkeys(("id", "analysisId", "orgId", "datasetId", "segment", "granularity", "targetLevel"), str),
    **dict.fromkeys(("runId", "analyzerId", "metric", "analyzerType", "analyzerResultType"), str),
    **dict.fromkeys(("datasetTimestamp", "creationTimestamp", "anomalyCount", "userInitiatedBackfill"), int),
    **dict.fromkeys(("targetCount", "targetBatchesWithProfileCount", "baselineCount"), int),
    **dict.fromkeys(("baselineBatchesWithProfileCount", "expectedBaselineCount"), int),
    **dict.fromkeys(("analyzerVersion", "analyzerConfigVersion", "monitorConfigVersion"), int),
    **dict.fromkeys(("entitySchemaVersion", "weightConfigVersion"), int),
    **dict.fromkeys(("latest", "parent", "isRollup", "segmentWeightProvided", "disableTargetRollup"), bool),
    **dict.fromkeys(("monitorIds", "analyzerTags"), list),
    "segmentWeight": float,
}
"""Fields of every record, reference/analyzers.md section 6."""

BY_TYPE: dict[str, tuple[dict[str, Any], dict[str, Any], str, dict[str, Any]]] = {
    # config without its type; target; class of the reference's result; the fields that are the type's own
    "fixed": (
        {"metric": "mean", "upper": 50, "lower": 1},
        COLUMN,
        "FixedCalculationResult",
        {"threshold_metricValue": 100.0, "threshold_absoluteUpper": 50.0, "threshold_absoluteLower": 1.0},
    ),
    "stddev": (
        {"metric": "mean", "baseline": trailing(7), "maxUpperThreshold": 80, "thresholdType": "upper"},
        COLUMN,
        "StddevCalculationResult",
        {
            "threshold_metricValue": 100.0,
            # Means 10 and 11 by turns, the last seven: four times 11 and three times 10.
            "threshold_calculatedUpper": 74 / 7 + 3 * np.std([11, 10, 11, 10, 11, 10, 11], ddof=1),
            "threshold_calculatedLower": 74 / 7 - 3 * np.std([11, 10, 11, 10, 11, 10, 11], ddof=1),
            "threshold_absoluteUpper": 80.0,
            "threshold_factor": 3.0,
            "threshold_minBatchSize": 7,
            "threshold_type": "upper",
        },
    ),
    "diff": (
        {"metric": "mean", "mode": "pct", "threshold": 50, "thresholdType": "upper", "baseline": trailing(2)},
        COLUMN,
        "DiffCalculationResult",
        {
            "diff_metricValue": (100 - 10.5) / 10.5 * 100,
            "diff_threshold": 50.0,
            "diff_mode": "pct",
            "threshold_metricValue": 100.0,
            "threshold_calculatedUpper": 15.75,
            "threshold_type": "upper",
        },
    ),
    "drift": (
        {"metric": "histogram", "threshold": 0.5, "algorithm": "psi", "baseline": trailing(2)},
        COLUMN,
        "DriftCalculationResult",
        {"drift_threshold": 0.5, "algorithm": "psi", "algorithmMode": "histogram"},
    ),
    "comparison": (
        {"metric": "max", "operator": "le", "expected": {"int": 9}},
        COLUMN,
        "EqualityCalculationResult",
        {"comparison_expected": "9.0", "comparison_observed": "110.0"},
    ),
    "list_comparison": (
        {"metric": "max", "operator": "in", "expected": [{"int": 9}, {"float": 9.5}]},
        COLUMN,
        "ListComparisonResult",
        {"comparison_observed": "110.0"},
    ),
    "frequent_string_comparison": (
        {"metric": "frequent_items", "operator": "eq", "baseline": trailing(2)},
        WORD,
        "FrequentStringComparisonResult",
        {
            "frequentStringComparison_operator": "eq",
            "frequentStringComparison_sample": ["b", "c"],
            "freqStringCount": [[2.0, 2.0, 2.0], [1.0, 1.0, 1.0]],
        },
    ),
    "monotonic": (
        {"metric": "max", "numBuckets": 1},
        COLUMN,
        "FixedCalculationResult",
        {"threshold_metricValue": 1.0, "threshold_absoluteUpper": 1.0, "threshold_type": "upper"},
    ),
    "column_list": (
        {"metric": "column_list", "baseline": trailing(2)},
        {"type": "dataset"},
        "SchemaChangeResult",
        {
            "columnList_added": 1,
            "columnList_removed": 1,
            "columnList_addedSample": ["more"],
            "columnList_removedSample": ["flag"],
            "columnList_mode": "ON_ADD_AND_REMOVE",
        },
    ),
}
EVERYTHING = {
    "metadata": {"version": 4, "updatedTimestamp": 1, "author": "me"},
    "entitySchema": {"metadata": {"version": 5, "updatedTimestamp": 1, "author": "me"}, "columns": {}},
    "weightConfig": {
        "metadata": {"version": 6, "updatedTimestamp": 1, "author": "me"},
        "defaultWeights": {"weights": {"x": 0.5, "word": 0.25}},
    },
    "monitors": [
        {
            "id": "tell-somebody",
            "analyzerIds": ["watch-it-well"],
            "schedule": {"type": "immediate"},
            "mode": {"type": "DIGEST"},
            "actions": [],
        }
    ],
}


@pytest.mark.parametrize("kind", BY_TYPE)
def test_the_record_of_each_type_is_that_of_the_reference(store: Store, ref: DatasetRef, kind: str) -> None:
    config, matrix, result_type, own = BY_TYPE[kind]
    analyzer = {
        "id": "watch-it-well",
        "tags": ["quality"],
        "metadata": {"version": 3, "updatedTimestamp": 1, "author": "me"},
        "targetMatrix": matrix,
        "config": {"type": kind, "version": 2, **config},
    }
    found = record(one(run(store, ref, document(analyzer, **EVERYTHING), [8], backfill=True)))
    json.dumps(found, allow_nan=False)
    in_dataset = matrix["type"] == "dataset"
    missing = {"segmentWeight"} if in_dataset else set[str]()
    assert {name for name, wanted in KEYS.items() if type(found.get(name)) is not wanted} == missing
    assert (
        found.items()
        >= {
            "orgId": "org-0",
            "datasetId": "leads",
            "segment": "",
            "granularity": "DAYS",
            "datasetTimestamp": int((START + 8 * DAY).timestamp() * 1000),
            "creationTimestamp": int(NOW.timestamp() * 1000),
            "targetLevel": "dataset" if in_dataset else "column",
            "analyzerResultType": result_type,
            "monitorIds": ["tell-somebody"],
            "analyzerTags": ["quality"],
            "analyzerVersion": 2,
            "analyzerConfigVersion": 3,
            "monitorConfigVersion": 4,
            "entitySchemaVersion": 5,
            "weightConfigVersion": 6,
            "segmentWeightProvided": not in_dataset,
            "userInitiatedBackfill": 1,
            "anomalyCount": 1,
            "targetBatchesWithProfileCount": 2 if kind == "monotonic" else 1,
        }.items()
    )
    assert found.get("column") == (None if in_dataset else matrix["include"][0])
    assert {name: found[name] for name in own} == {
        name: pytest.approx(value) if isinstance(value, float) else value for name, value in own.items()
    }
    groups = ("threshold_", "drift_", "diff_", "comparison_", "frequentString", "columnList_", "seasonal_")
    extra = {"drift_metricValue", "comparison_operator", "comparison_expected"}  # beside what the table lists
    assert {name for name in found if name.startswith(groups)} <= {*own, *extra}
    if config.get("baseline"):
        assert found["expectedBaselineCount"] == found["baselineCount"] == config["baseline"]["size"]
        assert found["expectedBaselineSuppressionThreshold"] == {"stddev": 3}.get(kind, 1)


def test_a_document_without_numbers_has_the_number_nought(store: Store, ref: DatasetRef) -> None:
    found = record(one(run(store, ref, document({"targetMatrix": COLUMN}), [0])))
    assert "analyzerVersion" not in found
    assert [found[f"{part}Version"] for part in ("analyzerConfig", "monitorConfig", "entitySchema")] == [
        0
    ] * 3
    assert "weightConfigVersion" not in found
    assert (found["segmentWeightProvided"], "segmentWeight" in found) == (False, False)


def test_a_reference_profile_is_named_on_the_record(store: Store, ref: DatasetRef) -> None:
    write_reference(store, ref, "good-times", profile_of([10.0, 12.0]), NOW)
    baseline = {"type": "Reference", "profileId": "good-times"}
    config = {"type": "diff", "metric": "mean", "mode": "abs", "threshold": 1, "baseline": baseline}
    found = record(one(run(store, ref, document({"targetMatrix": COLUMN, "config": config}), [8])))
    assert (found["referenceProfileId"], found["expectedBaselineCount"]) == ("good-times", 1)


def profile_of(values: list[float]) -> Any:
    import pyarrow as pa

    return profile(pa.table({"x": values}))


# --- every way to fail ------------------------------------------------------------------------------------------------


class Silent:
    """An algorithm of somebody's own that gives nothing."""

    name = "silent"
    needs = "series"

    def evaluate(self, *_: object) -> None:
        return None


def failing(
    store: Store, ref: DatasetRef, *analyzers: dict[str, Any], days: list[int]
) -> list[AnalyzerResult]:
    return [found for found in run(store, ref, document(*analyzers), days).results if found.failed]


def test_too_short_a_baseline(store: Store, ref: DatasetRef) -> None:
    config = {"type": "stddev", "metric": "mean", "minBatchSize": 7, "baseline": trailing(14)}
    [found] = failing(store, ref, {"targetMatrix": COLUMN, "config": config}, days=[2])
    assert found.failure_type is FailureType.INSUFFICIENT_BASELINE
    assert found.failure_explanation == "baseline has 2 of the 7 buckets it needs"
    assert record(found)["failureType"] == "InsufficientBaseline"
    assert record(found)["failureExplanation"] == "baseline has 2 of the 7 buckets it needs"
    assert found.anomaly_count == 0


def test_a_batch_without_the_column(store: Store, ref: DatasetRef) -> None:
    config = {"type": "diff", "metric": "mean", "mode": "abs", "threshold": 1}
    other = register_dataset(store, "org-0", "other")
    load(store, other, 8, {"y": [1.0]})
    baseline = {"type": "CurrentBatch", "datasetId": "other"}
    [found] = failing(
        store, ref, {"targetMatrix": COLUMN, "config": {**config, "baseline": baseline}}, days=[8]
    )
    assert found.failure_type is FailureType.INSUFFICIENT_BASELINE
    assert found.failure_explanation == "baseline has 0 of the 1 bucket it needs"


PART_OF_A_DAY = {
    "type": "TimeRange",
    "range": {"start": "2026-01-01T06:00:00Z", "end": "2026-01-01T18:00:00Z"},
}


@pytest.mark.parametrize(
    ("config", "matrix", "explanation"),
    [
        (
            {"type": "diff", "metric": "mean", "mode": "abs", "threshold": 1},
            COLUMN,
            "has no value of this metric",
        ),
        (
            {"type": "diff", "metric": "median", "mode": "abs", "threshold": 1},
            COLUMN,
            "has no value of this metric",
        ),
        (
            {"type": "diff", "metric": "count", "mode": "abs", "threshold": 1},
            COLUMN,
            "has no value of this metric",
        ),
        (
            {"type": "comparison", "metric": "inferred_data_type", "operator": "eq"},
            COLUMN,
            "no expected value, and",
        ),
        (
            {"type": "list_comparison", "metric": "max", "operator": "in"},
            COLUMN,
            "no expected values, and the",
        ),
        ({"type": "drift", "metric": "histogram", "threshold": 0.5}, COLUMN, "covers no whole bucket"),
        ({"type": "drift", "metric": "frequent_items", "threshold": 0.5}, WORD, "covers no whole bucket"),
        (
            {"type": "frequent_string_comparison", "metric": "frequent_items", "operator": "eq"},
            WORD,
            "no frequent items",
        ),
        (
            {"type": "column_list", "metric": "column_list"},
            {"type": "dataset"},
            "no bucket of the baseline has",
        ),
        ({"type": "stddev", "metric": "mean"}, COLUMN, "the baseline has 0 usable values"),
    ],
)
def test_a_range_of_time_without_a_whole_bucket_is_nothing_to_compare_with(
    store: Store, ref: DatasetRef, config: dict[str, Any], matrix: dict[str, Any], explanation: str
) -> None:
    config = {**config, "baseline": PART_OF_A_DAY}
    [found] = failing(store, ref, {"targetMatrix": matrix, "config": config}, days=[8])
    assert explanation in (found.failure_explanation or "")
    wanted = "CalculationException" if config["type"] == "stddev" else "RollupBaselineRequired"
    assert (found.failure_type, found.anomaly_count) == (wanted, 0)


def test_a_damaged_profile(store: Store, ref: DatasetRef) -> None:
    with store.begin() as connection:
        connection.execute(sa.update(schema.profile_sketch).values(components=b"nonsense"))
    config = {"type": "drift", "metric": "histogram", "threshold": 0.5, "baseline": trailing(2)}
    found = failing(store, ref, {"targetMatrix": COLUMN, "config": config}, days=[8])
    notes = run(store, ref, document({"targetMatrix": COLUMN, "config": config}), [8]).notes
    told = [one.failure_explanation for one in found] + list(notes)
    assert any("column profile" in str(text) or "profile components" in str(text) for text in told)


def test_contradictory_thresholds(store: Store, ref: DatasetRef) -> None:
    params = {"grubbSignificance": "much", "enableGrubb": "true"}
    config = {"type": "stddev", "metric": "mean", "params": params, "baseline": trailing(7)}
    analysis = run(store, ref, document({"targetMatrix": COLUMN, "config": config}), [8])
    told = [one.failure_explanation for one in analysis.results] + list(analysis.notes)
    assert any("grubbSignificance" in str(text) for text in told)
    text = {
        "type": "comparison",
        "metric": "inferred_data_type",
        "operator": "gt",
        "expected": {"str": "STRING"},
    }
    [found] = failing(store, ref, {"targetMatrix": COLUMN, "config": text}, days=[8])
    assert found.failure_type is FailureType.CALCULATION_EXCEPTION
    assert found.failure_explanation == (
        "the texts of inferred_data_type have no order that gt could test; use eq"
    )


def test_an_algorithm_that_gives_nothing(
    store: Store, ref: DatasetRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = registry()
    with_silent = Registry({**known.algorithms, "silent": Silent()}, known.broken)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr("monitoring_pipeline.analysis.engine.registry", lambda: with_silent)
    config = {"type": "experimental", "implementation": "silent", "metric": "mean", "baseline": trailing(2)}
    [found] = failing(store, ref, {"targetMatrix": COLUMN, "config": config}, days=[8])
    assert found.failure_type is FailureType.NO_RESULTS
    assert found.failure_explanation == "silent gave NoneType instead of Verdicts"


def test_a_conjunction_that_lacks_a_part(store: Store, ref: DatasetRef) -> None:
    far = {"id": "far-away", "targetMatrix": {"type": "column", "include": ["nowhere"]}}
    near = {"id": "near-by", "targetMatrix": COLUMN}
    both = {
        "id": "both-of-them",
        "targetMatrix": COLUMN,
        "config": {"type": "conjunction", "analyzerIds": ["far-away", "near-by"]},
    }
    [found] = failing(store, ref, far, near, both, days=[8])
    assert found.failure_type is FailureType.COMPOSITE_MISSING_COLUMNS
    assert found.failure_explanation == "no result of far-away to go with the others"
    assert record(found)["parent"] is True
    assert record(found)["childAnalyzerIds"] == ["far-away", "near-by"]
