"""Cases about what monitors tell: filters, digests, words, and the values of ready-made monitors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from monitoring_pipeline.alerting.anomalies import Anomaly
from monitoring_pipeline.alerting.digests import Digest, build_digests
from monitoring_pipeline.alerting.filters import accepts, accepts_all, in_time, rank
from monitoring_pipeline.alerting.messages import issues, severity_word
from monitoring_pipeline.alerting.routes import channels_of
from monitoring_pipeline.analysis.advice import advise
from monitoring_pipeline.analysis.result import AnalyzerResult, analysis_id
from monitoring_pipeline.config import Monitor, MonitorDocument, WeightConfig, parse_monitor
from monitoring_pipeline.config.monitors import usual_offset
from monitoring_pipeline.config.presets import DatasetDescription, first_monitors
from monitoring_pipeline.errors import DocumentError
from monitoring_pipeline.timegrid import Duration, Granularity, TimeRange, parse_moment
from monitoring_pipeline_tests.conformance.cases import Case, Json
from monitoring_pipeline_tests.conformance.comparing import Check, Unknown, check, compare
from monitoring_pipeline_tests.conformance.vocabulary import milliseconds, moment_of

_NOW = datetime(2022, 5, 17, tzinfo=UTC)
_RUN = "run"


def result(column: str, bucket: datetime = _NOW - timedelta(days=1), **given: Any) -> AnalyzerResult:
    """An anomaly of a column, 14 where at most 1 was expected, unless told otherwise."""
    values: dict[str, Any] = {
        "run_id": _RUN,
        "segment": "",
        "created": _NOW,
        "metric": "mean",
        "anomaly_count": 1,
        **given,
    }
    identity = analysis_id(
        "org-0", "vector", analyzer="analyzer", bucket=bucket, segment=values["segment"], column=column
    )
    return AnalyzerResult(
        analysis_id=identity,
        result_id=identity,
        analyzer_id="analyzer",
        analyzer_version="1",
        analyzer_type="stddev",
        monitor_ids=("monitor",),
        column=column,
        bucket=bucket,
        granularity=Granularity.DAILY,
        target_level="column" if column else "dataset",
        metric_value=14.0,
        calculated_upper=1.0,
        **values,
    )


def _monitor(given: Json) -> Monitor:
    return parse_monitor({"id": "monitor", "analyzerIds": ["analyzer"], **given}, source="vector")


def _digests(results: list[AnalyzerResult], **given: Any) -> list[Digest]:
    """The digests of one monitor on these results."""
    document = MonitorDocument.model_validate(
        {
            "orgId": "org-0",
            "datasetId": "vector",
            "granularity": "daily",
            "analyzers": [
                {
                    "id": "analyzer",
                    "config": {"type": "stddev", "metric": "mean", "baseline": {"type": "TrailingWindow"}},
                }
            ],
            "monitors": [{"id": "monitor", "analyzerIds": ["analyzer"], **given}],
        }
    )
    return build_digests(document, results, now=_NOW, run_id=_RUN)


# --- filters ------------------------------------------------------------------------------------------------------


def filters(case: Case) -> Iterator[Check]:
    """Whether a filter lets one anomaly, or a whole digest, through."""
    if "analyzerResult" in case.inputs:
        given = case.inputs["analyzerResult"]
        one = result(given.get("column") or "", metric=given.get("metric") or "mean")
        passes = accepts(_monitor({"mode": case.config["mode"]}), one, weight=given.get("weight"))
    else:
        given = case.inputs["digest"]
        mode = case.config.get("mode") or {"type": "DIGEST", "filter": case.config.get("filter") or {}}
        count = given.get("numAnomalies")
        one = Anomaly.of(
            result("column", anomaly_count=1 if count is None else count), weight=given.get("totalWeight")
        )
        passes = bool(accepts_all(_monitor({"mode": mode}), [one]))
    yield from compare(case, {"passes": passes})


def membership(case: Case) -> Iterator[Check]:
    """Whether a monitor speaks about a result now."""
    given = case.inputs["result"]
    bucket, created = (moment_of(given[name]) for name in ("datasetTimestamp", "creationTimestamp"))
    one = result("column", bucket, created=created, run_id=given.get("runId", ""))
    run_id = case.inputs.get("currentRunId")
    included = in_time(
        _monitor(case.config["monitor"]), one, now=moment_of(case.inputs["now"]), run_id=run_id
    )
    yield from compare(case, {"included": included})


def ranks(case: Case) -> Iterator[Check]:
    """Places of columns by weight."""
    weights = case.inputs["weights"]
    config = WeightConfig.model_validate({"defaultWeights": {"weights": weights}})
    yield from compare(case, {"ranks": {name: rank(name, "", config) for name in weights}})


def actions(case: Case) -> Iterator[Check]:
    """Whether the channels that monitors name exist."""
    existing = case.inputs["existingActions"]
    outcome, reason = "success", None
    try:
        for given in case.config["monitors"]:
            if channels_of(_monitor(given), existing).problems:
                outcome, reason = "error", "unknown action id"
    except DocumentError as error:
        without_target = all(one.path.endswith(".target") for one in error.problems)
        outcome, reason = "error", "action without target" if without_target else str(error)
    yield from compare(case, {"result": outcome, "reason": reason})


def lag(case: Case) -> Iterator[Check]:
    """What the usual lag of uploads says about a gate."""
    analyzer = case.config["analyzer"]
    given = [
        analyzer[name] for name in ("dataReadinessDuration", "batchCoolDownPeriod") if analyzer.get(name)
    ]
    observed = timedelta(minutes=case.inputs["observedLagMinutes"])
    found = [advise(Duration.parse(one), observed).value for one in given]
    yield from compare(case, {"observation": found[0] if len(found) == 1 else found})


# --- digests ------------------------------------------------------------------------------------------------------


def words(case: Case) -> Iterator[Check]:
    """A severity in words, and how many issues there are of it."""
    severity, count = case.inputs["severity"], case.inputs.get("count")
    shown = re.match(r"(a|[\d,]+) (.*) (issues?)$", issues(severity, count))
    assert shown is not None
    number = None if shown[1] == "a" else int(shown[1].replace(",", ""))
    said = shown[2].startswith(severity_word(severity))
    found = severity_word(severity) if said else f"{severity_word(severity)}, but in the phrase {shown[2]}"
    yield from compare(case, {"severityWord": found, "plural": shown[3] == "issues", "countShown": number})


def contents(case: Case) -> Iterator[Check]:
    """What a digest holds, made of anomalies that add up to the message's statistics."""
    message = case.inputs["message"]
    [digest] = _digests(_anomalies(message), severity=message["severity"])
    last = digest.last_bucket
    told: dict[str, object] = {
        "totalAnomalies": digest.anomaly_count,
        "featureAnomalies": digest.column_count,
        "segmentAnomalies": digest.segment_count,
        "anomalySample": sum(one.count for one in digest.sample),
        "timeRange": f"{_zulu(digest.period.start)}/{_zulu(last)}",
        "start": milliseconds(digest.period.start),
        "end": milliseconds(last),
        "severity": digest.severity,
        "mode": digest.mode,
        # There is one layout here; the reference's third is the first with these statistics.
        "schemaVersion": "3.0" if digest.to_json()["schema_version"] == 1 else None,
        "overallSegmentHasUrl": bool(digest.link) and any(one.name == "" for one in digest.segments),
    }
    yield from compare(case, told)


def _anomalies(message: Json) -> list[AnalyzerResult]:
    """Anomalies, one for each column, with the message's totals, first and last bucket."""
    [segment, *_] = message["segmentStatistics"]
    first, last = (moment_of(segment[f"{edge}AnomalyDatasetTimestamp"]) for edge in ("earliest", "oldest"))
    columns = message["columnStatistics"]
    left = message["numAnomalies"] - sum(one.get("numAnomalies") or 0 for one in columns)
    return [
        result(
            one["column"],
            first if at == 0 else last,
            anomaly_count=one.get("numAnomalies") or left,
            segment=segment.get("segment") or "",
        )
        for at, one in enumerate(columns)
    ]


def size(case: Case) -> Iterator[Check]:
    """How large a digest is, and how much of its statistics it keeps."""
    given = case.inputs
    most = max(given.values())
    results = [
        result(
            f"column {at % given['columnStatistics']}", segment=f"region={at % given['segmentStatistics']}"
        )
        for at in range(most)
    ]
    [digest] = _digests(results)
    for name, expected in case.expected.items():
        if name == "bytesLessThan":
            length = len(json.dumps(digest.to_json()).encode())
            yield check(case, name, expected, expected if length < expected else f"{length} bytes")
        else:
            kept = {"columnStatistics": digest.columns, "segmentStatistics": digest.segments}
            kept["anomalySample"] = digest.sample  # pyright: ignore[reportArgumentType]
            found = len(kept[name]) if name in kept else Unknown("columns, segments and a sample are kept")
            yield check(case, name, expected, found)


def _zulu(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


# --- ready-made monitors ------------------------------------------------------------------------------------------


def preset(case: Case) -> Iterator[Check]:
    """What is filled in for a granularity."""
    grid = Granularity.parse(str(case.inputs["batchFrequency"]))
    token = case.config["token"]
    if token == "cadence":
        described = DatasetDescription(
            path="x",
            format="csv",
            files=1,
            rows=1,
            sampled_rows=1,
            columns=(),
            granularity=grid,
            rows_per_bucket=1,
        )
        made: Any = first_monitors(described, dataset_id="vector", now=_NOW)
        cadences = {one["schedule"]["cadence"] for one in made["analyzers"]}
        found: object = cadences.pop() if len(cadences) == 1 else sorted(cadences)
    elif token == "dataset timestamp offset":
        found = str(usual_offset(grid))
    elif token == "seconds in one batch":
        # April: a month of 30 days.
        bucket = TimeRange.of_bucket(grid.floor(parse_moment("2024-04-15")), grid)
        found = int((bucket.end - bucket.start).total_seconds())
    else:
        found = Unknown("cadence, dataset timestamp offset, seconds in one batch")
    yield from compare(case, {"value": found})
