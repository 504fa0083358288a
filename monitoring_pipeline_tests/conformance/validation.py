"""Cases about documents: what is refused, what is warned of, and what passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from monitoring_pipeline.config import parse_document
from monitoring_pipeline.config.composite_checks import target_fault
from monitoring_pipeline.config.targets import ColumnMatrix, parse_target_matrix
from monitoring_pipeline.errors import DocumentError, Problem
from monitoring_pipeline_tests.conformance.calculations import refused
from monitoring_pipeline_tests.conformance.cases import Case, Json
from monitoring_pipeline_tests.conformance.comparing import Check, compare
from monitoring_pipeline_tests.conformance.vocabulary import completed_analyzer

_DAILY = {"type": "fixed", "cadence": "daily"}
_ACTIONS = [{"type": "global", "target": "slack"}]


def document(case: Case) -> Iterator[Check]:
    """Whether a document is refused, or used with a warning. A single analyzer is a document of its own."""
    given = case.first("monitor_config", "config", "analyzer")
    data = _completed(
        given if "monitor_config" in case.data or "config" in case.data else {"analyzers": [given]}
    )
    problems, is_error = _problems(data)
    outcome = "error" if is_error else "warning" if problems else "success"
    message = "; ".join(f"{one.path}: {one.found}; accepted: {one.accepted}" for one in problems)
    told = {"outcome": outcome, "valid": not is_error, "raises": is_error, "problems": len(problems)}
    yield from compare(case, {**told, "message_contains": refused(message)["message_contains"]})


def _problems(data: Json) -> tuple[list[Problem], bool]:
    """The errors of a document, or else its warnings, and which of the two they are."""
    try:
        warnings = parse_document(data, source="vector").warnings
    except DocumentError as error:
        return list(error.problems), True
    # The reference's validators see documents that its JSON Schema has passed, and say nothing of unknown keys.
    return [one for one in warnings if not one.accepted.startswith("a known key")], False


def _completed(given: Json) -> dict[str, Any]:
    """A document that says nothing wrong of its own: every analyzer runs, is listened to, and is told to somebody."""
    analyzers = [_analyzer(at, one) for at, one in enumerate(given.get("analyzers", []))]
    listened = given.get("monitors")
    if listened and not analyzers:
        analyzers = [_analyzer(0, {"targetMatrix": {"type": "column", "include": ["column"]}})]
    monitors = [
        {"id": f"monitor-{at}", "analyzerIds": [one["id"] for one in analyzers], "actions": _ACTIONS, **one}
        for at, one in enumerate(listened if listened is not None else [{}] if analyzers else [])
    ]
    known = {key: value for key, value in given.items() if key not in ("analyzers", "monitors")}
    identity = {"orgId": "org-0", "datasetId": "vector", "granularity": "daily"}
    return {**identity, **known, "analyzers": analyzers, "monitors": monitors}


def _analyzer(at: int, given: Json) -> dict[str, Any]:
    is_dataset = (given.get("targetMatrix") or {}).get("type") == "dataset"
    config = dict(given.get("config") or {"type": "fixed", "upper": 1})
    if not config.get("metric") and config.get("type") not in (
        "drift",
        "column_list",
        "conjunction",
        "disjunction",
    ):
        config["metric"] = "shape_row_count" if is_dataset else "median"
    if config.get("type") == "diff":
        config.setdefault("threshold", 1)
    return completed_analyzer({"id": f"analyzer-{at}", "schedule": _DAILY, **given, "config": config})


# --- composite analyzers ------------------------------------------------------------------------------------------


def composite(case: Case) -> Iterator[Check]:
    """One rule about composite analyzers, on documents that break no other."""
    if "child_targetMatrix" in case.data:
        matrix = parse_target_matrix(case["child_targetMatrix"], source="vector")
        assert isinstance(matrix, ColumnMatrix)
        fault = target_fault(matrix)
        data = _family([{}], [[{"targetMatrix": case["child_targetMatrix"]}, {}]])
        named = None if fault is None else fault.name
        problems, _ = _problems(data)
        valid = fault is None or not any("targetMatrix" in one.path for one in problems)
        yield from compare(case, {"error": named, "valid": valid})
        return
    if "child_segments" in case.data:
        children = [_segmented(one) for one in case["child_segments"]]
        parent = {"targetMatrix": {"type": "dataset", "segments": case.data.get("parent_segments") or []}}
        yield from _judged(case, _family([parent], [children]))
        return
    if "child_schedules" in case.data:
        schedules = [{"schedule": one} for one in case["child_schedules"]]
        yield from _judged(case, _family([{"schedule": case.data.get("parent_schedule")}], [schedules]))
        return
    yield from _judged(case, _by_names(case))


def _judged(case: Case, data: Json) -> Iterator[Check]:
    problems, is_error = _problems(data)
    missing = any("the id of an analyzer of this document" in one.accepted for one in problems)
    outcome = "error" if is_error else "warning" if problems else "success"
    yield from compare(case, {"valid": not problems, "missing": missing, "outcome": outcome})


def _segmented(segments: Any) -> dict[str, Any]:
    return {"targetMatrix": {"type": "column", "include": ["column"], "segments": segments or []}}


def _family(parents: Sequence[Json], children: Sequence[Sequence[Json]]) -> dict[str, Any]:
    """Composite analyzers and what they are about, each child with a column of its own unless it says otherwise."""
    simple: list[Json] = []
    composites: list[Json] = []
    for number, (parent, own) in enumerate(zip(parents, children, strict=True)):
        names = [f"child-{number}-{at}" for at in range(len(own))]
        default = {"targetMatrix": {"type": "column", "include": ["column"]}}
        simple += [{"id": name, **default, **one} for name, one in zip(names, own, strict=True)]
        config = {"type": "conjunction", "analyzerIds": names}
        composites.append({"id": f"parent-{number}", "config": config, **parent})
    return _completed({"analyzers": [*simple, *composites]})


def _by_names(case: Case) -> dict[str, Any]:
    """Composite analyzers given by the ids of parents and children."""
    children: list[list[str]] = case["children"]
    parents = case.get("parents") or [f"parent-{at}" for at in range(len(children))]
    composites = [
        {"id": parent, "config": {"type": case.get("type", "conjunction"), "analyzerIds": own}}
        for parent, own in zip(parents, children, strict=True)
    ]
    known = case.get("all_ids") or [name for own in children for name in own]
    simple = [
        {"id": name, "targetMatrix": {"type": "column", "include": ["column"]}}
        for name in dict.fromkeys(known)
        if name not in parents
    ]
    return _completed({"analyzers": [*simple, *composites]})
