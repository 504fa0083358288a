"""Every JSON block of the monitor configuration guide loads as what it is.

The blocks are stored word by word in `seed_examples/`, one file per section. Mended: `{...}` and `[...]` became empty,
a trailing `...` or comma was dropped, a missing comma after "group:continuous" and missing braces were added.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from monitoring_pipeline.config import (
    Analyzer,
    ColumnMatrix,
    parse_analyzer,
    parse_config,
    parse_document,
    parse_fragment,
    parse_monitor,
    parse_target_matrix,
    selects_column,
    selects_segment,
)
from monitoring_pipeline.config.analyzers import (
    DiffConfig,
    DriftConfig,
    FixedConfig,
    LimitType,
    SeasonalConfig,
    StddevConfig,
    ThresholdType,
)
from monitoring_pipeline.config.baselines import TimeRangeBaseline, TrailingWindowBaseline
from monitoring_pipeline.config.monitors import DigestMode, EveryAnomalyMode
from monitoring_pipeline.timegrid import Duration, Granularity, TimeRange

FOLDER = Path(__file__).parent / "seed_examples"

DOCUMENTS = {"all-monitors-config-investigator", "gating-target-completion"}
FRAGMENTS = {"analyzers-vs-monitors", "seasonal-monitor", "filter-noisy-anomalies"}
MATRICES = {"targeting-columns", "targeting-segments"}
CONFIGS = {"standard-deviations-one-sided", "static-thresholds", "static-thresholds-limit-type-and"}
MONITORS = {
    "prevent-notifications-from-backfills",
    "notification-actions",
    "digest-notifications",
    "every-anomaly-notification",
    "prevent-notifying-on-holidays",
    "severity",
}
RANGES = {"seasonal-annual-periods"}
# Blocks that the guide leaves unfinished, and the least that makes them whole: an analysis, and something to look at.
COMPLETION: dict[str, dict[str, Any]] = {
    "baseline-exclusion-schedules": {
        "schedule": {"type": "fixed", "cadence": "daily"},
        "targetMatrix": {"type": "column", "include": ["*"]},
        "config": {"type": "stddev", "metric": "median"},
    },
    **{
        name: {
            "targetMatrix": {"type": "column", "include": ["*"]},
            "config": {
                "type": "stddev",
                "metric": "median",
                "baseline": {"type": "TrailingWindow", "size": 7},
            },
        }
        for name in ("gating-target-completion-readiness", "skipping-analysis", "backfills")
    },
}
OTHERS = DOCUMENTS | FRAGMENTS | MATRICES | CONFIGS | MONITORS | RANGES
ANALYZERS = sorted({path.stem for path in FOLDER.glob("*.json")} - OTHERS)


def example(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.json").read_text())


def read_analyzer(name: str) -> Analyzer:
    given, added = example(name), COMPLETION.get(name, {})
    whole = {**added, **given, "config": {**added.get("config", {}), **given.get("config", {})}}
    return parse_analyzer(whole, source=name)


def covers(written: Any, given: Any) -> bool:
    """Whether everything that was given is still there; what was mended on the way compares by meaning elsewhere."""
    if isinstance(given, dict):
        return isinstance(written, dict) and all(
            key in written and covers(written[key], given[key]) for key in given
        )
    if isinstance(given, list):
        return isinstance(written, list) and all(covers(*pair) for pair in zip(written, given, strict=True))
    return isinstance(given, str) or written == given


def test_the_folder_holds_all_54_blocks_of_the_guide():
    assert len(list(FOLDER.glob("*.json"))) == 54
    assert len(ANALYZERS) + len(OTHERS) == 54


@pytest.mark.parametrize("name", ANALYZERS)
def test_an_analyzer_of_the_guide_loads_and_keeps_what_it_was_given(name: str):
    analyzer = read_analyzer(name)
    given = example(name)
    assert analyzer.id == given["id"]
    written = analyzer.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if name == "fixed-threshold":  # include is a scalar there
        given["targetMatrix"]["include"] = [given["targetMatrix"]["include"]]
    assert covers(written, given)


@pytest.mark.parametrize("name", ANALYZERS)
def test_an_analyzer_of_the_guide_has_no_unknown_keys(name: str):
    whole = {"analyzers": [read_analyzer(name).model_dump(mode="json", by_alias=True, exclude_unset=True)]}
    assert not [
        warning
        for warning in parse_fragment(whole, source=name).warnings
        if "a known key" in warning.accepted
    ]


@pytest.mark.parametrize("name", sorted(MONITORS))
def test_a_monitor_of_the_guide_loads(name: str):
    monitor = parse_monitor(example(name), source=name)
    assert monitor.id == example(name)["id"]
    assert monitor.schedule.type == "immediate"


@pytest.mark.parametrize("name", sorted(FRAGMENTS))
def test_a_pair_of_the_guide_loads(name: str):
    fragment = parse_fragment(example(name), source=name)
    assert [analyzer.id for analyzer in fragment.analyzers] == [
        analyzer["id"] for analyzer in example(name).get("analyzers", [])
    ]
    assert [monitor.id for monitor in fragment.monitors] == [
        monitor["id"] for monitor in example(name).get("monitors", [])
    ]


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_a_document_of_the_guide_loads(name: str):
    # "Gating Target Completion" shows only the head of a document; the lists are added.
    loaded = parse_document({"analyzers": [], "monitors": [], **example(name)}, source=name)
    assert loaded.document.org_id == "org-0"
    assert not loaded.warnings


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_a_config_block_of_the_guide_loads(name: str):
    assert isinstance(parse_config(example(name)["config"], source=name), StddevConfig)


def test_partial_target_batches_are_switched_on_at_the_top_of_the_document():
    given = {"analyzers": [], "monitors": [], **example("gating-target-completion")}
    document = parse_document(given, source="").document
    assert document.allow_partial_target_batches
    assert document.granularity is Granularity.MONTHLY


def test_the_example_pair_listens_to_its_own_analyzer():
    fragment = parse_fragment(example("analyzers-vs-monitors"), source="")
    analyzer, monitor = fragment.analyzers[0], fragment.monitors[0]
    assert monitor.analyzer_ids == (analyzer.id,)
    assert isinstance(analyzer.config, DriftConfig)
    assert (analyzer.config.algorithm, analyzer.config.threshold) == ("hellinger", 0.7)
    assert isinstance(monitor.mode, DigestMode)
    assert monitor.actions[0].target == "slack"


def test_the_column_example_targets_discrete_inputs_and_a_named_column():
    matrix = parse_target_matrix(example("targeting-columns")["targetMatrix"], source="")
    assert isinstance(matrix, ColumnMatrix)
    assert selects_column(matrix, "favorite_animal", schema=None, weight=None)
    assert not selects_column(matrix, "sales_engineer_id", schema=None, weight=None)


def test_the_segment_example_targets_all_data_and_one_shop():
    matrix = parse_target_matrix(example("targeting-segments")["targetMatrix"], source="")
    assert selects_segment(matrix, "")
    assert selects_segment(matrix, "Store Type=e-Shop")
    assert not selects_segment(matrix, "Store Type=MBR")
    assert not selects_segment(matrix, "Store Type=Other")


def test_a_scalar_include_is_a_list_of_one():
    matrix = read_analyzer("fixed-threshold").target_matrix
    assert isinstance(matrix, ColumnMatrix)
    assert matrix.include == ("group:continuous",)


def test_the_odd_time_of_the_guide_is_midnight():
    baseline = read_analyzer("fixed-time-range").baseline
    assert isinstance(baseline, TimeRangeBaseline)
    assert baseline.range == TimeRange(datetime(2022, 2, 25, tzinfo=UTC), datetime(2022, 3, 25, tzinfo=UTC))


def test_median_example_reads_factor_five_and_seven_of_fourteen_days():
    config = read_analyzer("median").config
    assert isinstance(config, StddevConfig)
    assert (config.factor, config.min_batch_size, config.version) == (5, 7, 1)
    assert isinstance(config.baseline, TrailingWindowBaseline)
    assert config.baseline.size == 14


def test_diff_example_alerts_on_increases_of_fifty_percent():
    config = read_analyzer("diff").config
    assert isinstance(config, DiffConfig)
    assert (config.mode, config.threshold, config.threshold_type) == ("pct", 50, ThresholdType.UPPER)


def test_static_threshold_examples_differ_in_limit_type():
    either = parse_config(example("static-thresholds")["config"], source="")
    both = parse_config(example("static-thresholds-limit-type-and")["config"], source="")
    assert isinstance(either, StddevConfig)
    assert isinstance(both, StddevConfig)
    assert (either.limit_type, both.limit_type) == (LimitType.OR, LimitType.AND)
    assert (both.min_lower_threshold, both.max_upper_threshold) == (0.013, 0.022)


def test_annual_periods_example_goes_into_a_seasonal_config():
    # The guide shows only the value of stddevTimeRanges; the rest of the config is the least that is needed.
    config = parse_config(
        {"type": "seasonal", "metric": "median", "baseline": {"type": "TrailingWindow", "size": 90}}
        | example("seasonal-annual-periods"),
        source="",
    )
    assert isinstance(config, SeasonalConfig)
    assert config.stddev_time_ranges == (
        TimeRange(datetime(2022, 11, 5, tzinfo=UTC), datetime(2022, 11, 15, tzinfo=UTC)),
    )


def test_weekends_are_excluded_from_the_baseline():
    baseline = read_analyzer("baseline-exclusion-schedules").baseline
    assert isinstance(baseline, TrailingWindowBaseline)
    schedule = baseline.exclusion_schedule
    assert schedule is not None
    excluded = [
        day for day in range(5, 12) if schedule.matches(datetime(2026, 1, day, tzinfo=UTC), Granularity.DAILY)
    ]
    assert excluded == [10, 11]  # Saturday and Sunday of the week that begins on Monday, January 5, 2026


def test_durations_of_the_guide_are_read():
    assert read_analyzer("data-readiness-duration").data_readiness_duration == Duration.parse("P1DT12H")
    assert read_analyzer("missing-data").data_readiness_duration == Duration.parse("P1DT18H")
    assert read_analyzer("backfills").backfill_grace_period_duration == Duration.parse("P365D")
    mode = parse_monitor(example("prevent-notifications-from-backfills"), source="").mode
    assert isinstance(mode, DigestMode)
    assert mode.dataset_timestamp_offset == Duration.parse("P3D")


def test_the_first_of_january_is_skipped():
    schedule = read_analyzer("skipping-analysis").schedule_for(Granularity.DAILY)
    assert not schedule.matches(datetime(2021, 1, 1, tzinfo=UTC), Granularity.DAILY)
    assert schedule.matches(datetime(2021, 1, 2, tzinfo=UTC), Granularity.DAILY)


def test_holidays_silence_an_immediate_monitor():
    schedule = parse_monitor(example("prevent-notifying-on-holidays"), source="").schedule
    assert not schedule.matches(datetime(2021, 12, 25, tzinfo=UTC), Granularity.DAILY)
    assert schedule.matches(datetime(2021, 12, 26, tzinfo=UTC), Granularity.DAILY)


def test_noisy_anomalies_are_filtered_by_column_and_weight():
    limits = parse_fragment(example("filter-noisy-anomalies"), source="").monitors[0].mode.filter
    assert (limits.include_columns, limits.exclude_columns) == (("a",), ("very_noisey",))
    assert (limits.min_weight, limits.max_weight) == (0.5, 0.8)


def test_every_anomaly_and_severity_examples():
    every = parse_monitor(example("every-anomaly-notification"), source="")
    assert isinstance(every.mode, EveryAnomalyMode)
    assert every.severity == 2
    assert parse_monitor(example("severity"), source="").mode.filter.min_weight == 0.5


def test_consecutive_example_wants_two_breaches_in_a_row():
    config = read_analyzer("consecutive-alert-filtering").config
    assert isinstance(config, FixedConfig)
    assert (config.lower, config.n_consecutive) == (0, 2)
