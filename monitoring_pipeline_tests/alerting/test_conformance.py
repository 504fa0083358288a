"""The reference platform's own vectors for filters, digest membership, digest contents and severity words."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from monitoring_pipeline.alerting.anomalies import Anomaly
from monitoring_pipeline.alerting.digests import build_digests
from monitoring_pipeline.alerting.filters import accepts, accepts_all, in_time
from monitoring_pipeline.alerting.messages import issues, severity_word
from monitoring_pipeline.config.monitors import Monitor, parse_monitor
from monitoring_pipeline.timegrid import from_micros, parse_moment
from monitoring_pipeline_tests.alerting.builders import NOW, RUN, document, monitor, result

VECTORS = Path(__file__).parents[2].parent / "shared" / "conformance" / "monitors"

EXCEPTIONS = {
    "digest mode - check urls generated#1": "links lead to our own pages, not to the reference's dashboard",
}


def cases(file: str) -> list[Any]:
    path = VECTORS / file
    if not path.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no conformance vectors at {path}"))]
    found = json.loads(path.read_text(encoding="utf-8"))["cases"]
    return [
        pytest.param(
            case,
            id=case["id"],
            marks=[pytest.mark.skip(reason=EXCEPTIONS[case["id"]])] if case["id"] in EXCEPTIONS else [],
        )
        for case in found
    ]


def monitor_with(mode: dict[str, Any], **changes: Any) -> Monitor:
    return parse_monitor(monitor(mode=mode, **changes), source="vector")


@pytest.mark.parametrize("case", cases("AnomalyFilterTests.json"))
def test_filters_agree_with_the_reference(case: dict[str, Any]) -> None:
    if "analyzerResult" in case["input"]:
        given = case["input"]["analyzerResult"]
        one = result(given.get("column", ""), metric=given.get("metric", "mean"))
        passes = accepts(monitor_with(case["config"]["mode"]), one, weight=given.get("weight"))
    else:
        given = case["input"]["digest"]
        mode = {
            "type": "DIGEST",
            **{key: value for key, value in case["config"].items() if value is not None},
        }
        one = Anomaly.of(
            result(anomaly_count=given.get("numAnomalies", 1)),
            weight=given.get("totalWeight"),
        )
        passes = bool(accepts_all(monitor_with(mode), [one]))
    assert passes is case["expected"]["passes"]


@pytest.mark.parametrize("case", cases("DigestModeAnomalyFilterTest.json"))
def test_digest_membership_agrees_with_the_reference(case: dict[str, Any]) -> None:
    config, given = case["config"]["monitor"], case["input"]
    one = result(
        bucket=parse_moment(given["result"]["datasetTimestamp"]),
        created=parse_moment(given["result"]["creationTimestamp"]),
        run_id=given["result"]["runId"],
    )
    watcher = monitor_with(config["mode"], schedule=config["schedule"])
    included = in_time(watcher, one, now=parse_moment(given["now"]), run_id=given["currentRunId"])
    assert included is case["expected"]["included"]


@pytest.mark.parametrize("case", cases("notifications_common.json"))
def test_severity_words_agree_with_the_reference(case: dict[str, Any]) -> None:
    severity, expected = case["input"]["severity"], case["expected"]
    assert severity_word(severity) == expected["severityWord"]
    if "plural" not in expected:
        return
    phrase = issues(severity, case["input"]["count"])
    shown = re.match(r"(a|\d+) (.*) (issues?)$", phrase)
    assert shown is not None
    assert shown[2].startswith(expected["severityWord"])
    assert shown[3] == ("issues" if expected["plural"] else "issue")
    assert shown[1] == ("a" if expected["countShown"] is None else str(expected["countShown"]))


@pytest.mark.parametrize("case", cases("notifications_digest.json"))
def test_digest_contents_agree_with_the_reference(case: dict[str, Any]) -> None:
    expected = case["expected"]
    first, last = (from_micros(expected[edge] * 1000) for edge in ("start", "end"))
    buckets = [first, last, *[last] * 3]
    results = [
        result(f"feature-{number + 1}", bucket, anomaly_count=count, created=NOW)
        for number, (bucket, count) in enumerate(zip(buckets, (2, 3, 3, 3, 3), strict=True))
    ]
    (digest,) = build_digests(document(monitor(severity=expected["severity"])), results, now=NOW, run_id=RUN)
    assert digest.anomaly_count == expected["totalAnomalies"]
    assert digest.column_count == expected["featureAnomalies"]
    assert digest.segment_count == expected["segmentAnomalies"]
    assert digest.severity == expected["severity"]
    (segment,) = digest.segments
    assert (segment.earliest, segment.latest) == (first, last)
    assert (digest.period.start, digest.last_bucket) == (first, last)
    assert last == datetime(2022, 5, 16, tzinfo=UTC)
