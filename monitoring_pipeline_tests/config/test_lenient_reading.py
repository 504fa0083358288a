"""What the reference platform accepted is accepted: spellings, scalars for lists, text for numbers, unknown keys."""

from __future__ import annotations

import copy
import json
import math
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.config.analyzers import (
    ComparisonConfig,
    DiffConfig,
    DriftConfig,
    ExperimentalConfig,
    FixedConfig,
    FrequentStringComparisonConfig,
    LimitType,
    ListComparisonConfig,
    MonotonicConfig,
    SeasonalConfig,
    StddevConfig,
    parse_analyzer,
    parse_config,
)
from monitoring_pipeline.config.baselines import CurrentBatchBaseline, TrailingWindowBaseline
from monitoring_pipeline.config.document import load_document
from monitoring_pipeline.config.entity_schema import DataType
from monitoring_pipeline.config.fields import Choice
from monitoring_pipeline.config.monitors import (
    EmailAction,
    GlobalAction,
    PagerDutyAction,
    SlackAction,
    parse_monitor,
)
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.timegrid import Duration, Granularity, TimeRange

from .documents import analyzer, document, monitor, read, warnings_of

TRAILING = {"type": "TrailingWindow"}


def test_a_complete_document_has_no_warnings():
    assert read(document()).warnings == ()


def test_what_was_given_is_written_back_word_by_word():
    given = document(id="351bf3cb-705a-4cb8-a727-1839e5052a1a", schemaVersion=1, metadata={"version": 3})
    assert read(given).document.to_json() == given


def test_writing_and_reading_again_gives_the_same_document():
    lenient = document(
        [
            analyzer(
                config={
                    "type": "STDDEV",
                    "metric": "mean",
                    "factor": ".7",
                    "maxUpperThreshold": "Infinity",
                    "minLowerThreshold": "-Infinity",
                    "baseline": {
                        "type": "trailing_window",
                        "exclusionRanges": {"start": "2026-01-01", "end": "2026-01-02"},
                    },
                    "params": {"m": 7, "enableGrubb": True},
                },
                dataReadinessDuration=86400,
            )
        ],
        monitor(),
    )
    loaded = read(lenient).document
    text = json.dumps(loaded.to_json(), allow_nan=False)
    assert read(json.loads(text)).document == loaded


def test_unknown_keys_are_kept_and_reported_with_their_path():
    given = document(
        [analyzer(level="x", schedule={"type": "fixed", "cadence": "daily", "delayDuration": "PT1H"})],
        entitySchema={
            "columns": {"a": {"dataType": "string", "colour": {"deep": [1, None]}}},
            "modelType": "llm",
        },
        surprise={"a": [1, 2]},
    )
    loaded = read(given)
    assert {warning.path for warning in loaded.warnings} == {
        "$.surprise",
        "$.entitySchema.modelType",
        "$.entitySchema.columns.a.colour",
        "$.analyzers[0].level",
        "$.analyzers[0].schedule.delayDuration",
    }
    assert loaded.document.to_json() == given


def test_keys_beside_the_ends_of_a_time_range_are_kept():
    sale = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-03T00:00:00Z", "name": "sale"}
    given = document([analyzer(schedule={"type": "fixed", "cadence": "daily", "exclusionRanges": [sale]})])
    loaded = read(given)
    assert [warning.path for warning in loaded.warnings] == [
        "$.analyzers[0].schedule.exclusionRanges[0].name"
    ]
    assert loaded.document.to_json() == given


def test_a_misspelt_key_names_the_likely_one():
    warnings = warnings_of(document([analyzer(targetSzie=2)]))
    assert 'did you mean "targetSize"?' in warnings["$.analyzers[0].targetSzie"].accepted


@given(st.sampled_from(["daily", "Daily", "DAILY", "P1D"]), st.sampled_from(["fixed", "FIXED", "Fixed"]))
def test_names_are_read_in_any_case(granularity: str, kind: str):
    loaded = read(
        document([analyzer(schedule={"type": kind, "cadence": granularity})], granularity=granularity)
    )
    assert loaded.document.granularity is Granularity.DAILY
    assert loaded.document.analyzers[0].schedule_for(Granularity.HOURLY).type == "fixed"


def _choices(kind: type[Choice]) -> list[type[Choice]]:
    return [kind, *(grandchild for child in kind.__subclasses__() for grandchild in _choices(child))]


@pytest.mark.parametrize("kind", _choices(Choice)[1:])
def test_every_choice_is_read_in_any_case(kind: type[Choice]):
    for member in kind:
        assert (
            kind(member.value.upper()) is kind(member.value.lower()) is kind(member.value.title()) is member
        )


def test_null_means_not_given():
    config = {"type": "stddev", "metric": "mean", "factor": None, "thresholdType": None, "baseline": TRAILING}
    read_back = parse_analyzer(analyzer(config=config, disabled=None, tags=None, targetSize=None), source="")
    assert isinstance(read_back.config, StddevConfig)
    assert (read_back.config.factor, read_back.disabled, read_back.target_size) == (3.0, False, 1)
    read_monitor = parse_monitor(monitor(severity=None, schedule=None, mode=None), source="")
    assert (read_monitor.severity, read_monitor.schedule.type, read_monitor.mode.type) == (
        3,
        "immediate",
        "DIGEST",
    )


@pytest.mark.parametrize(
    ("written", "value"),
    [(".7", 0.7), ("0.70", 0.7), (1, 1.0), ("Infinity", math.inf), ("-Infinity", -math.inf), ("1e3", 1000.0)],
)
def test_numbers_may_be_text(written: object, value: float):
    config = parse_config({"type": "fixed", "metric": "mean", "upper": written}, source="")
    assert isinstance(config, FixedConfig)
    assert config.upper == value


@pytest.mark.parametrize(
    ("written", "length"),
    [
        ("P1DT12H", timedelta(hours=36)),
        ("PT90S", timedelta(seconds=90)),
        ("P2W", timedelta(weeks=2)),
        (3600, timedelta(hours=1)),
        (0.5, timedelta(milliseconds=500)),
        ("3600", timedelta(hours=1)),
    ],
)
def test_durations_are_iso_8601_or_seconds(written: object, length: timedelta):
    read_back = parse_analyzer(
        analyzer(
            dataReadinessDuration=written, batchCoolDownPeriod=written, backfillGracePeriodDuration=written
        ),
        source="",
    )
    expected = Duration(length=length)
    assert read_back.data_readiness_duration == expected
    assert read_back.batch_cool_down_period == expected
    assert read_back.backfill_grace_period_duration == expected


def test_single_values_stand_for_lists():
    matrix = {
        "type": "column",
        "include": "a",
        "exclude": "b",
        "segments": {"tags": {"key": "region", "value": "EU"}},
    }
    given = document(
        analyzer(targetMatrix=matrix),
        monitor(analyzerIds="mean-of-all-columns", actions={"type": "global", "target": "slack"}),
    )
    listed = {key: [value] for key, value in matrix.items() if key != "type"} | {"type": "column"}
    listed["segments"] = [{"tags": [{"key": "region", "value": "EU"}]}]
    assert read(given).document == read(document([analyzer(targetMatrix=listed)])).document


def test_both_generations_of_the_schema_load():
    older = {key: value for key, value in analyzer().items() if key != "id"}
    older["targetMatrix"] = {"type": "column", "include": ["group:frac", "group:str"]}
    newer = analyzer(
        id="newer",
        targetSize=2,
        config={"type": "monotonic", "metric": "count", "direction": "decreasing"},
    )
    loaded = read(document([older, newer], [monitor(analyzerIds=["newer"])]))
    assert isinstance(loaded.document.analyzers[1].config, MonotonicConfig)
    assert "$.analyzers[0].id" in {warning.path for warning in loaded.warnings}


def test_an_id_made_from_the_content_stays_the_same():
    older = {key: value for key, value in analyzer().items() if key != "id"}
    first, second = (read(document([older], [])).document.analyzers[0].id for _ in range(2))
    assert first == second
    assert first.startswith("analyzer-")


def test_decided_defaults():
    """The defaults that DECISIONS settle and the schema documents."""
    stddev = parse_config({"type": "stddev", "metric": "mean", "baseline": TRAILING}, source="")
    assert isinstance(stddev, StddevConfig)
    assert isinstance(stddev.baseline, TrailingWindowBaseline)
    assert (stddev.factor, stddev.min_batch_size, stddev.limit_type) == (3.0, 3, LimitType.OR)
    assert (stddev.baseline.size, stddev.baseline.offset) == (7, 0)
    drift = parse_config({"type": "drift", "metric": "histogram", "baseline": TRAILING}, source="")
    assert isinstance(drift, DriftConfig)
    assert (drift.algorithm, drift.threshold, drift.min_batch_size) == ("hellinger", 0.7, 1)
    diff = parse_config(
        {"type": "diff", "metric": "mean", "mode": "pct", "threshold": 50, "baseline": TRAILING}, source=""
    )
    assert isinstance(diff, DiffConfig)
    assert (diff.min_batch_size, diff.threshold_type) == (1, None)
    seasonal = parse_config({"type": "seasonal", "metric": "mean", "baseline": TRAILING}, source="")
    assert isinstance(seasonal, SeasonalConfig)
    assert (seasonal.alpha, seasonal.stddev_factor, seasonal.min_batch_size) == (0.05, 1.0, 30)
    assert parse_monitor(monitor(), source="").severity == 3
    plain_analyzer = parse_analyzer(analyzer(), source="")
    assert (plain_analyzer.target_size, plain_analyzer.disabled, plain_analyzer.disable_target_rollup) == (
        1,
        False,
        False,
    )


def test_a_monotonic_analyzer_compares_two_buckets_unless_told_otherwise():
    given = analyzer(config={"type": "monotonic", "metric": "count"})
    read_back = parse_analyzer(given, source="")
    assert read_back.target_size == 2
    assert "targetSize" not in read_back.model_dump(by_alias=True, exclude_unset=True)


@pytest.mark.parametrize(
    "name", ["classification.f1", "classification_f1", "Classification.F1", "missingDatapoint"]
)
def test_metric_names_are_kept_as_written(name: str):
    assert (
        parse_analyzer(analyzer(config={"type": "fixed", "metric": name, "upper": 1}), source="").metric
        == name
    )


@pytest.mark.parametrize(
    "algorithm", ["hellinger", "jensenshannon", "kl_divergence", "PSI", "ks_test", "variation_distance"]
)
def test_every_drift_algorithm_is_read(algorithm: str):
    config = parse_config(
        {
            "type": "drift",
            "metric": "Frequent_Items",
            "algorithm": algorithm,
            "baseline": {"type": "Reference", "profileId": "ref-1"},
        },
        source="",
    )
    assert isinstance(config, DriftConfig)
    assert (config.metric, config.algorithm) == ("frequent_items", algorithm.lower())


def test_expected_values_may_be_typed_or_bare():
    compare = parse_config(
        {
            "type": "comparison",
            "metric": "inferred_data_type",
            "operator": "EQ",
            "expected": {"str": "INTEGRAL"},
        },
        source="",
    )
    assert isinstance(compare, ComparisonConfig)
    assert compare.expected is not None
    assert compare.expected.text == "INTEGRAL"
    among = parse_config(
        {
            "type": "list_comparison",
            "metric": "count_bool",
            "operator": "NOT_IN",
            "expected": [{"int": "0"}, 10, 0.5, "x"],
        },
        source="",
    )
    assert isinstance(among, ListComparisonConfig)
    assert [value.whole for value in among.expected[:2]] == [0, 10]
    assert (among.expected[2].number, among.expected[3].text) == (0.5, "x")


def test_operators_of_frequent_string_comparison():
    config = parse_config(
        {
            "type": "frequent_string_comparison",
            "operator": "target_includes_all_baseline",
            "baseline": TRAILING,
        },
        source="",
    )
    assert isinstance(config, FrequentStringComparisonConfig)
    assert config.metric == "frequent_items"


def test_params_of_every_config_are_kept_as_text():
    config = parse_config(
        {
            "type": "experimental",
            "metric": "mean",
            "implementation": "mine",
            "params": {"k": 3, "deep": True, "s": "x"},
        },
        source="",
    )
    assert isinstance(config, ExperimentalConfig)
    assert config.params == {"k": "3", "deep": "true", "s": "x"}


def test_current_batch_of_another_dataset():
    baseline = parse_analyzer(
        analyzer(
            config={
                "type": "drift",
                "metric": "histogram",
                "baseline": {"type": "CurrentBatch", "datasetId": "training", "inheritSegment": True},
            }
        ),
        source="",
    ).baseline
    assert isinstance(baseline, CurrentBatchBaseline)
    assert (baseline.dataset_id, baseline.inherit_segment, baseline.offset) == ("training", True, 0)


def test_actions_in_the_style_of_the_schema_and_of_the_toolkit():
    actions = parse_monitor(
        monitor(
            actions=[
                {"type": "global", "target": "slack"},
                {"type": "global", "id": "existing-pagerDuty"},
                {"type": "slack", "target": "https://hooks.example/1"},
                {"type": "slack", "id": "slack1", "destination": "https://hooks.example/2"},
                {"type": "email", "id": "email1", "destination": "a@example.com"},
                {"type": "PAGER_DUTY", "id": "pd", "destination": "key"},
                {"type": "raw", "target": "https://example.com/hook"},
            ]
        ),
        source="",
    ).actions
    assert [action.target for action in actions] == [
        "slack",
        "existing-pagerDuty",
        "https://hooks.example/1",
        "https://hooks.example/2",
        "a@example.com",
        "key",
        "https://example.com/hook",
    ]
    assert [type(action) for action in actions[1:6]] == [
        GlobalAction,
        SlackAction,
        SlackAction,
        EmailAction,
        PagerDutyAction,
    ]


def test_addresses_of_actions_do_not_show_when_a_monitor_is_printed():
    read_back = parse_monitor(
        monitor(actions=[{"type": "slack", "target": "https://hooks.example/T0/SECRET"}]), source=""
    )
    assert "SECRET" not in repr(read_back)
    assert "SECRET" not in str(read_back)


def test_segments_of_weights_may_be_bare_tag_lists():
    """Shapes of the reference's EventJobV3Test.testMultiTagSegmentation and of its JSON schema."""
    engine = {
        "defaultWeights": {"default": 1.0, "a": 1.0},
        "segmentWeights": [{"segment": [{"key": "city", "value": "durham"}], "weights": {"a": 0.3}}],
    }
    schema = {
        "defaultWeights": {"weights": {"default": 1.0, "a": 1.0}},
        "segmentWeights": [
            {"segment": {"tags": [{"key": "city", "value": "durham"}]}, "weights": {"a": "0.3"}}
        ],
    }
    for shape in (engine, schema):
        weights = read(document(weightConfig=shape)).document.weight_config
        assert weights is not None
        assert weights.weight("a", "city=durham") == 0.3
        assert weights.weight("default", "city=durham") == 1.0
        assert weights.weight("a", "city=seattle") == 1.0
        assert weights.weight("unheard") is None


def test_the_first_entry_of_a_segment_gives_the_weight():
    city = {"tags": [{"key": "city", "value": "durham"}]}
    weights = read(
        document(
            weightConfig={
                "segmentWeights": [
                    {"segment": city, "weights": {"a": 1}},
                    {"segment": city, "weights": {"a": 2}},
                ]
            }
        )
    ).document.weight_config
    assert weights is not None
    assert weights.weight("a", "city=durham") == 1


def test_spellings_of_data_types():
    """The reference's MonitorConfigV3JsonSerdeTest and EntitySchemaTest."""
    names = ["bool", "boolean", "integral", "integer", "Fractional", "STRING", "unknown", "null"]
    columns = {name: {"discreteness": "Discrete", "dataType": name, "classifier": "input"} for name in names}
    schema = read(document(entitySchema={"columns": columns})).document.entity_schema
    assert schema is not None
    assert [schema.columns[name].data_type for name in names] == [
        DataType.BOOL,
        DataType.BOOL,
        DataType.INTEGRAL,
        DataType.INTEGRAL,
        DataType.FRACTIONAL,
        DataType.STRING,
        DataType.UNKNOWN,
        DataType.NULL,
    ]


def test_a_column_without_discreteness_is_unknown():
    schema = read(
        document(entitySchema={"columns": {"a": {"dataType": "fractional"}}})
    ).document.entity_schema
    assert schema is not None
    column = schema.column("a")
    assert column is not None
    assert column.discreteness is None
    assert schema.column("b") is None


def test_time_ranges_are_utc():
    ranges = [
        {"start": "2023-11-21T00:00:00+00:00", "end": "2024-01-02T01:00:00+01:00"},
        {"start": "2022-02-25T00:00:000Z", "end": "2022-03-25T00:00:00.000Z"},
    ]
    schedule = parse_analyzer(
        analyzer(schedule={"type": "fixed", "cadence": "daily", "exclusionRanges": ranges}), source=""
    ).schedule_for(Granularity.DAILY)
    assert schedule.exclusion_ranges == (
        TimeRange(datetime(2023, 11, 21, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)),
        TimeRange(datetime(2022, 2, 25, tzinfo=UTC), datetime(2022, 3, 25, tzinfo=UTC)),
    )


def test_a_file_with_a_byte_order_mark_and_bare_infinities_loads(tmp_path: Path):
    path = tmp_path / "monitors.json"
    given = json.dumps(
        document([analyzer(config={"type": "fixed", "metric": "mean", "upper": math.inf})], note=math.nan)
    )
    path.write_text("\ufeff" + given)
    loaded = load_document(path)
    config = loaded.document.analyzers[0].config
    assert isinstance(config, FixedConfig)
    assert config.upper == math.inf
    assert loaded.document.to_json()["note"] == "NaN"


def test_a_key_given_twice_is_reported(tmp_path: Path):
    path = tmp_path / "monitors.json"
    path.write_text(json.dumps(document()).replace('"granularity"', '"granularity": "hourly", "granularity"'))
    loaded = load_document(path)
    assert loaded.document.granularity is Granularity.DAILY
    assert ['"granularity"' in warning.found for warning in loaded.warnings] == [True]


def test_disabled_monitors_do_not_listen():
    loaded = read(document(monitors=[monitor(), monitor(id="quiet", disabled=True)])).document
    assert [listener.id for listener in loaded.monitors_of("mean-of-all-columns")] == ["tell-slack"]
    assert loaded.monitors_of("nobody") == ()


def test_an_analyzer_that_does_not_exist_names_the_likely_one():
    loaded = read(document()).document
    assert loaded.analyzer("mean-of-all-columns").metric == "mean"
    with pytest.raises(UsageError, match='did you mean "mean-of-all-columns"'):
        loaded.analyzer("mean-of-all-colums")


def test_documents_can_be_copied_and_pickled():
    sale = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-03T00:00:00Z", "name": "sale"}
    given = document([analyzer(schedule={"type": "fixed", "cadence": "daily", "exclusionRanges": [sale]})])
    loaded = read(given).document
    assert copy.deepcopy(loaded) == loaded
    assert pickle.loads(pickle.dumps(loaded)).to_json() == given  # noqa: S301
