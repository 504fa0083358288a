"""Documents in plain words."""

from __future__ import annotations

from typing import Any

import pytest

from monitoring_pipeline.config.analyzers import parse_analyzer
from monitoring_pipeline.config.monitors import parse_monitor
from monitoring_pipeline.config.presets import PRESETS
from monitoring_pipeline.plain_words import analyzer_words, idle_parts, monitor_words
from monitoring_pipeline.timegrid import Granularity
from monitoring_pipeline_tests.config.documents import analyzer, document, monitor, read

TRAILING = {"type": "TrailingWindow", "size": 14, "offset": 7}


def words(config: dict[str, Any], **changes: Any) -> Any:
    return analyzer_words(
        parse_analyzer(analyzer(config=config, **changes), source="test"), Granularity.DAILY
    )


@pytest.mark.parametrize(
    ("config", "anomaly"),
    [
        ({"type": "fixed", "metric": "mean", "lower": 2, "nConsecutive": 3}, "below 2, 3 buckets in a row"),
        ({"type": "fixed", "metric": "count_null_ratio", "upper": 0.05}, "above 5 %"),
        (
            {"type": "stddev", "metric": "mean", "thresholdType": "upper", "baseline": TRAILING},
            "upwards only, more than 3 standard deviations from the mean",
        ),
        (
            {"type": "diff", "metric": "mean", "mode": "pct", "threshold": 50, "baseline": TRAILING},
            "more than 50 % away",
        ),
        (
            {
                "type": "diff",
                "metric": "count_null_ratio",
                "mode": "abs",
                "threshold": 0.1,
                "baseline": TRAILING,
            },
            "more than 10 percentage points away",
        ),
        (
            {"type": "drift", "metric": "histogram", "threshold": 0.4, "baseline": TRAILING},
            "hellinger distance above 0.4",
        ),
        (
            {"type": "seasonal", "metric": "mean", "baseline": {"type": "TrailingWindow", "size": 90}},
            "outside the 95 % interval of the seasonal forecast",
        ),
        (
            {"type": "comparison", "metric": "inferred_data_type", "operator": "eq", "expected": "string"},
            "not eq string",
        ),
        ({"type": "list_comparison", "metric": "min", "operator": "not_in", "expected": [1, 2]}, "among 1, 2"),
    ],
)  # fmt: skip
def test_what_an_anomaly_is(config: dict[str, Any], anomaly: str) -> None:
    assert words(config).anomaly == anomaly


def test_what_is_watched_where_and_when() -> None:
    found = words(
        {"type": "drift", "metric": "frequent_items", "baseline": TRAILING},
        targetMatrix={
            "type": "column",
            "include": ["group:discrete"],
            "exclude": ["id"],
            "segments": [{"tags": []}, {"tags": [{"key": "region", "value": "*"}]}],
        },
        schedule={"type": "cron", "cron": "0 0 * * 1-5"},
        dataReadinessDuration="P1DT12H",
    )
    assert found.watches == "distribution of values of group:discrete but id, in all data; each region"
    assert found.against == "the 14 days before, ending 7 days earlier"
    assert found.when == (
        "buckets that the cron schedule '0 0 * * 1-5' picks, no sooner than 1 d 12 h after its start, "
        "back to 30 days ago"
    )


def test_whom_a_monitor_tells_without_giving_addresses_away() -> None:
    secret = "https://hooks.example.com/T0/secret"
    found = monitor_words(
        parse_monitor(
            monitor(
                severity=1,
                actions=[{"type": "global", "target": "slack"}, {"type": "slack", "target": secret}],
                mode={
                    "type": "DIGEST",
                    "datasetTimestampOffset": "P3D",
                    "filter": {"minAlertCount": 2, "includeColumns": ["a"]},
                },
            ),
            source="test",
        )
    )
    assert found.tells == "slack, slack"
    assert found.what == (
        "one digest for all anomalies (columns a; at least 2 anomalies; buckets of the last 3 days), "
        "severity 1 (high)"
    )
    assert found.when == "at once"
    assert secret not in str(found)


def test_what_does_nothing_is_named() -> None:
    data = document([analyzer(), analyzer(id="unheard")], [monitor(actions=[])])
    assert list(idle_parts(read(data).document)) == [
        "analyzer unheard is in no monitor: its anomalies are recorded, and nobody is told",
        "monitor tell-slack has no actions: it tells nobody",
    ]


def test_presets_have_names_and_sentences_of_their_own() -> None:
    assert len({one.name for one in PRESETS}) == len(PRESETS)
    assert len({one.description for one in PRESETS}) == len(PRESETS)
    assert {one.category for one in PRESETS} == {
        "freshness",
        "volume",
        "data quality",
        "drift",
        "performance",
        "operations",
    }
