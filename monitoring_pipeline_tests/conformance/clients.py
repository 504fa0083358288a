"""Cases about the reference's Python client: what it builds and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from monitoring_pipeline.analysis.drafting import draft
from monitoring_pipeline.config import MonitorDocument, parse_monitor
from monitoring_pipeline.errors import MonitoringError
from monitoring_pipeline_tests.conformance.calculations import refused
from monitoring_pipeline_tests.conformance.cases import Case
from monitoring_pipeline_tests.conformance.comparing import Check, compare

_COLUMNS = ("prediction_temperature", "temperature")
"""Columns of the client's test dataset, as far as its cases name them."""

_CONFIG = {"type": "fixed", "metric": "median", "upper": 1}


def built(case: Case) -> Iterator[Check]:
    """A monitor and its analyzer, completed from what the case says of them."""
    given: dict[str, Any] = dict(case.config)
    matrix = given.get("targetMatrix")
    try:
        made = draft(
            str(given.get("monitorId", "monitor")),
            _config(given.get("config")),
            target_matrix=matrix,
            include=given.get("include", ()),
            exclude=given.get("exclude", ()),
            columns=_COLUMNS,
            **{key: given[key] for key in ("dataReadinessDuration",) if key in given},
        )
    except MonitoringError as error:
        yield from compare(case, {"error": refused(str(error))["exception"]})
        return
    analyzer = made.analyzer.model_dump(mode="json", by_alias=True)
    target = analyzer["targetMatrix"]
    kept = matrix is not None and all(target.get(key) == value for key, value in matrix.items())
    segments = (matrix or {}).get("segments", [])
    yield from compare(
        case,
        {
            "error": None,
            "targetMatrix": target,
            "targetMatrix.type": target["type"],
            "targetMatrixKept": kept,
            "segmentsKept": target["segments"] == segments,
            "warning": bool(made.notes),
            "dataReadinessDuration": analyzer["dataReadinessDuration"],
            "monitor.id": made.monitor.id,
            "analyzer.id": made.analyzer.id,
        },
    )


def _config(given: Any) -> dict[str, Any]:
    if not given:
        return dict(_CONFIG)
    config = {"type": "fixed", **given}
    if config["type"] in ("drift", "stddev"):
        config.setdefault("baseline", {"type": "TrailingWindow"})
    return config


def saved(case: Case) -> Iterator[Check]:
    """A monitor as it is saved: refused, or with what a flag of the client stands for."""
    given = case.config
    if "eager" in given:
        identity = {"orgId": "org-0", "datasetId": "vector", "granularity": "daily"}
        document = MonitorDocument.model_validate(
            {**identity, "analyzers": [], "monitors": [], "allowPartialTargetBatches": given["eager"]}
        )
        yield from compare(case, {"allowPartialTargetBatches": document.allow_partial_target_batches})
        return
    monitor: Any = {"id": "monitor", "analyzerIds": ["analyzer"], **(given.get("config") or {})}
    if "actions" in given:
        monitor["actions"] = given["actions"]
    if "monitor" in given:
        monitor = given["monitor"]
    try:
        parse_monitor(monitor, source="vector")
    except MonitoringError as error:
        yield from compare(case, {"error": refused(str(error))["exception"]})
        return
    # Addresses stay in the monitor; no channel of the organisation is made of them.
    yield from compare(case, {"error": None, "createdOrgActions": []})
