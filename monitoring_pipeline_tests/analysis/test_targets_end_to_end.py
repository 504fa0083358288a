"""What an analyzer looks at, from files in a landing folder to verdicts: groups, weights, segments, late columns."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitoring_pipeline import pipeline
from monitoring_pipeline.analysis.engine import analyze
from monitoring_pipeline.analysis.gates import Due
from monitoring_pipeline.analysis.planner import analyzer_version
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.errors import DocumentError
from monitoring_pipeline.profiling import profile
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.store import profiles
from monitoring_pipeline.workspace import Workspace


def _named(value: object) -> str:
    """The same name in every process, for sets too."""
    return str(sorted(value)) if isinstance(value, set | frozenset) else str(value)


START = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 3
DATASET = """\
id: leads
granularity: daily
start: 2026-03-02
source: {path: landing/rows}
timestamp: at
exclude: [at]
segments: [[region], [channel], [region, channel]]
columns: {id: key}
outcomes: {path: landing/outcomes}
metrics: {known: count - count_null}
"""

INFERRED = {
    # The rules of the reference on the columns of `rows`: (type, discreteness, role)
    "age": ("integral", "continuous", "input"),
    "visits": ("integral", "discrete", "input"),
    "income": ("fractional", "continuous", "input"),
    "member": ("bool", "discrete", "input"),
    "city": ("string", "discrete", "input"),
    "Output_score": ("fractional", "continuous", "output"),
    "region": ("string", "discrete", "input"),
    "channel": ("string", "discrete", "input"),
    "key": ("string", "discrete", "input"),
    "bought": ("bool", "discrete", "input"),
}


def rows(day: int) -> pa.Table:
    random = np.random.default_rng(day)
    return pa.table(
        {
            "at": [START + timedelta(days=day, minutes=at) for at in range(100)],
            "key": [f"{day}-{at}" for at in range(100)],
            "age": list(range(100)),
            "visits": [at % 3 for at in range(100)],
            "income": random.normal(100, 5, 100),
            "member": [at % 2 == 0 for at in range(100)],
            "city": [("Rome", "Oslo", "Bern")[at % 3] for at in range(100)],
            "Output_score": random.random(100),
            "region": [("EU", "US")[at % 2] for at in range(100)],
            "channel": [("web", "shop")[at // 50] for at in range(100)],
        }
    )


def write(home: Path, folder: str, day: int, table: pa.Table) -> None:
    target = home / "landing" / folder
    target.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, target / f"{day:02}.parquet")


def outcomes(day: int) -> pa.Table:
    made = rows(day)
    return pa.table({"at": made["at"], "key": made["key"], "bought": [at % 5 == 0 for at in range(100)]})


def describe(home: Path, *analyzers: dict[str, Any], **given: Any) -> None:
    folder = home / "datasets" / "leads"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.yaml").write_text(DATASET)
    document = {"orgId": "org-0", "datasetId": "leads", "granularity": "daily", "monitors": [], **given}
    document["analyzers"] = [
        {
            "id": f"watch-number-{number}",
            "backfillGracePeriodDuration": "P3650D",
            "config": {"type": "fixed", "metric": "count", "upper": 1e9},
            **one,
        }
        for number, one in enumerate(analyzers)
    ]
    (folder / "monitors.json").write_text(json.dumps(document))


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose three days are profiled; two of them have their outcomes."""
    home = tmp_path_factory.mktemp("targets")
    describe(home)
    for day in range(DAYS - 1):
        write(home, "rows", day, rows(day))
    with Workspace(Settings(home=home)) as workspace:
        pipeline.profile_batch(workspace, "leads")
    for day in range(DAYS - 1):
        write(home, "outcomes", day, outcomes(day))
    write(home, "rows", DAYS - 1, rows(DAYS - 1))
    with Workspace(Settings(home=home)) as workspace:
        pipeline.profile_batch(workspace, "leads")
    return home


def found(home: Path, *analyzers: dict[str, Any], **given: Any) -> list[AnalyzerResult]:
    describe(home, *analyzers, **given)
    with Workspace(Settings(home=home)) as workspace:
        dataset = workspace.dataset("leads")
        bucket = START + timedelta(days=DAYS - 1)
        due = [Due(bucket, one.id, analyzer_version(one)) for one in dataset.document.analyzers]
        ref, schema = workspace.ref("leads"), workspace.entity_schema("leads")
        analysis = analyze(
            workspace.store,
            ref,
            dataset.document,
            due,
            now=workspace.now(),
            run_id="run",
            schema=schema,
            metrics=dataset.metrics,
        )
        return list(analysis.results)


def chosen(home: Path, matrix: dict[str, Any], **given: Any) -> set[str]:
    return {one.column for one in found(home, {"targetMatrix": {"type": "column", **matrix}}, **given)}


def test_the_schema_is_inferred_when_batches_are_profiled_also_of_columns_that_come_late(
    profiled: Path,
) -> None:
    with Workspace(Settings(home=profiled)) as workspace:
        schema = workspace.entity_schema("leads")
    assert schema is not None
    known = {
        name: (str(one.data_type), str(one.discreteness), one.classifier)
        for name, one in schema.columns.items()
    }
    assert known == INFERRED


ALL = {*INFERRED} - {"bought"}


@pytest.mark.parametrize(
    ("matrix", "columns"),
    [
        ({"include": ["*"]}, ALL),
        ({"include": ["age", "city", "nobody"]}, {"age", "city"}),
        ({"include": ["AGE"]}, set()),
        ({"include": []}, set()),
        ({"include": ["group:output"]}, {"Output_score"}),
        ({"include": ["group:input"]}, ALL - {"Output_score"}),
        ({"include": ["group:continuous"]}, {"age", "income", "Output_score"}),
        ({"include": ["group:discrete"]}, ALL - {"age", "income", "Output_score"}),
        ({"include": ["group:bool"]}, {"member"}),
        ({"include": ["group:int"]}, {"age", "visits"}),
        ({"include": ["group:frac"]}, {"income", "Output_score"}),
        ({"include": ["group:str"]}, {"city", "region", "channel", "key"}),
        ({"include": ["group:int", "member"]}, {"age", "visits", "member"}),
        ({"include": ["*"], "exclude": ["group:discrete", "age"]}, {"income", "Output_score"}),
        ({"include": ["age"], "exclude": ["age"]}, set()),
        ({"include": ["weight>0.5"]}, {"age", "income"}),
        ({"include": ["weight>0.51"]}, {"income"}),
        ({"include": ["*"], "exclude": ["weight>0.1"]}, ALL - {"age", "income", "city"}),
    ],
    ids=_named,
)
def test_columns_by_name_group_and_weight(profiled: Path, matrix: dict[str, Any], columns: set[str]) -> None:
    weights = {"defaultWeights": {"weights": {"age": 0.5, "income": 0.9, "city": 0.2, "member": None}}}
    assert chosen(profiled, matrix, weightConfig=weights) == columns


def test_the_document_overrides_what_was_inferred(profiled: Path) -> None:
    columns = {
        "age": {"discreteness": "discrete", "dataType": "STRING", "classifier": "output"},
        "city": {"discreteness": "continuous"},
    }
    schema = {"columns": columns}
    assert chosen(profiled, {"include": ["group:output"]}, entitySchema=schema) == {"age", "Output_score"}
    assert chosen(profiled, {"include": ["group:continuous"]}, entitySchema=schema) == {
        "city",
        "income",
        "Output_score",
    }
    assert chosen(profiled, {"include": ["group:int"]}, entitySchema=schema) == {"visits"}
    # What the document does not say stays as it was inferred.
    assert chosen(profiled, {"include": ["group:str"]}, entitySchema=schema) == {
        "age",
        "city",
        "region",
        "channel",
        "key",
    }


def tags(**wanted: str) -> dict[str, Any]:
    return {"tags": [{"key": key, "value": value} for key, value in wanted.items()]}


@pytest.mark.parametrize(
    ("segments", "excluded", "chosen_segments"),
    [
        (None, None, {""}),
        ([], [], {""}),
        ([tags()], None, {""}),
        ([tags(region="EU")], None, {"region=EU"}),
        ([tags(region="*")], None, {"region=EU", "region=US"}),
        ([tags(), tags(region="*")], None, {"", "region=EU", "region=US"}),
        ([tags(channel="*", region="EU")], None, {"channel=shop&region=EU", "channel=web&region=EU"}),
        (
            [tags(region="*"), tags(channel="*")],
            [tags(region="US")],
            {"region=EU", "channel=web", "channel=shop"},
        ),
        (
            [tags(region="*", channel="*")],
            [tags(region="*", channel="web")],
            {"channel=shop&region=EU", "channel=shop&region=US"},
        ),
        ([tags(), tags(region="EU")], [tags()], {"region=EU"}),
        ([tags(region="EU")], [tags(region="*")], set()),
        ([tags(region="eu")], None, set()),
        ([tags(country="*")], None, set()),
    ],
    ids=_named,
)
@pytest.mark.parametrize("kind", ["column", "dataset"])
def test_segments_with_wildcards_and_without_those_left_out(
    profiled: Path, kind: str, segments: Any, excluded: Any, chosen_segments: set[str]
) -> None:
    given = {"segments": segments, "excludeSegments": excluded}
    matrix = {"type": kind, **{name: value for name, value in given.items() if value is not None}}
    analyzer = {"targetMatrix": {**matrix, **({"include": ["age"]} if kind == "column" else {})}}
    if kind == "dataset":
        analyzer["config"] = {"type": "fixed", "metric": "shape_row_count", "upper": 30}
    results = found(profiled, analyzer)
    assert {one.segment for one in results} == chosen_segments
    if kind == "dataset":
        size = {0: 100.0, 1: 50.0, 2: 25.0}
        assert {one.segment: one.metric_value for one in results} == {
            segment: size[segment.count("=")] for segment in chosen_segments
        }
        assert {one.segment for one in results if one.is_anomaly} == {
            one for one in chosen_segments if one.count("=") < 2
        }


def test_a_weight_is_that_of_the_segment_or_else_the_default(profiled: Path) -> None:
    weights = {
        "defaultWeights": {"weights": {"age": 0.5, "income": 0.1}},
        "segmentWeights": [
            {"segment": tags(region="EU"), "weights": {"age": 0.05, "income": 0.8}},
            {"segment": [{"key": "region", "value": "US"}], "weights": {"city": 0.7}},
        ],
    }
    everywhere = {"segments": [tags(), tags(region="*")]}
    heavy = {"targetMatrix": {"type": "column", "include": ["weight>0.4"], **everywhere}}
    assert {
        (one.segment, one.column, one.segment_weight) for one in found(profiled, heavy, weightConfig=weights)
    } == {
        ("", "age", 0.5),
        ("region=EU", "income", 0.8),
        ("region=US", "age", 0.5),
        ("region=US", "city", 0.7),
    }


def test_a_reference_profile_is_a_target(profiled: Path) -> None:
    with Workspace(Settings(home=profiled)) as workspace:
        made = profile(pa.table({"age": [1, 2, 3], "city": ["Rome"] * 3}))
        profiles.write_reference(workspace.store, workspace.ref("leads"), "candidate", made, workspace.now())
    matrix = {"type": "column", "include": ["*"], "profileId": "candidate"}
    config = {"type": "fixed", "metric": "count", "lower": 50}
    results = found(profiled, {"targetMatrix": matrix, "config": config})
    assert {(one.column, one.metric_value, one.anomaly_count) for one in results} == {
        ("age", 3, 1),
        ("city", 3, 1),
    }


def test_metrics_of_the_description_and_of_the_document_go_together(profiled: Path) -> None:
    stated = {
        "Wealth": {"label": "Mean income", "column": "income", "builtinMetric": "mean"},
        "known_share": "known / count",
    }
    wealth = {
        "targetMatrix": {"type": "dataset"},
        "config": {"type": "fixed", "metric": "wealth", "upper": 50},
    }
    share = {
        "targetMatrix": {"type": "column", "include": ["age"]},
        "config": {"type": "fixed", "metric": "known.share", "lower": 2},
    }
    results = found(profiled, wealth, share, entitySchema={"columns": {}, "customMetrics": stated})
    mean = float(np.mean(rows(DAYS - 1)["income"].to_numpy()))
    assert {one.metric: (one.metric_value, one.anomaly_count) for one in results} == {
        "Wealth": (pytest.approx(mean), 1),
        "known_share": (1.0, 1),
    }


def test_a_stated_metric_that_makes_no_sense_refuses_the_document_with_its_place(profiled: Path) -> None:
    stated = {
        "a b": "count",
        "good": "2 * known",
        "bad": {"column": "age", "builtinMetric": "maen"},
        "worse": "1 +",
    }
    describe(profiled, entitySchema={"columns": {}, "customMetrics": stated})
    with Workspace(Settings(home=profiled)) as workspace, pytest.raises(DocumentError) as refused:
        workspace.dataset("leads")
    places = {problem.path: problem.found for problem in refused.value.problems}
    start = "$.entitySchema.customMetrics"
    assert sorted(places) == [f"{start}.bad", f"{start}.worse", f'{start}["a b"]']
    assert "near: mean" in places[f"{start}.bad"]
    both = {"x": {"column": "age", "builtinMetric": "mean", "expression": "count"}, "y": {"label": "nothing"}}
    describe(profiled, entitySchema={"columns": {}, "customMetrics": both})
    with Workspace(Settings(home=profiled)) as workspace, pytest.raises(DocumentError) as refused:
        workspace.dataset("leads")
    assert sorted(problem.path for problem in refused.value.problems) == [f"{start}.x", f"{start}.y"]


def test_the_columns_of_a_bucket_are_those_of_its_rows(profiled: Path) -> None:
    config = {"type": "diff", "metric": "shape_column_count", "mode": "abs", "threshold": 0}
    analyzer = {
        "targetMatrix": {"type": "dataset"},
        "config": {**config, "baseline": {"type": "TrailingWindow", "size": 2}},
    }
    listed = {
        "type": "column_list",
        "metric": "column_list",
        "baseline": {"type": "TrailingWindow", "size": 1},
    }
    results = found(profiled, analyzer, {"targetMatrix": {"type": "dataset"}, "config": listed})
    # The last day has no outcomes yet, and the two before have theirs.
    assert [(one.metric_value, one.anomaly_count, one.failed) for one in results] == [
        (9, 0, False),
        (None, 0, False),
    ]
    bought = found(profiled, {"targetMatrix": {"type": "column", "include": ["bought"]}})
    assert bought == []
