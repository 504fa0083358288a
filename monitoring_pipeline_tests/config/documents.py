"""Small documents that the tests of this folder start from."""

from __future__ import annotations

from typing import Any

import pytest

from monitoring_pipeline.config.document import LoadedDocument, parse_document
from monitoring_pipeline.errors import DocumentError, Problem


def analyzer(**changes: Any) -> dict[str, Any]:
    """A complete analyzer that warns about nothing."""
    return {
        "id": "mean-of-all-columns",
        "schedule": {"type": "fixed", "cadence": "daily"},
        "targetMatrix": {"type": "column", "include": ["*"]},
        "config": {"type": "stddev", "metric": "mean", "baseline": {"type": "TrailingWindow", "size": 14}},
        **changes,
    }


def monitor(**changes: Any) -> dict[str, Any]:
    """A complete monitor that listens to `analyzer()` and warns about nothing."""
    return {
        "id": "tell-slack",
        "analyzerIds": ["mean-of-all-columns"],
        "schedule": {"type": "immediate"},
        "mode": {"type": "DIGEST"},
        "actions": [{"type": "global", "target": "slack"}],
        **changes,
    }


def document(analyzers: object = None, monitors: object = None, **changes: Any) -> dict[str, Any]:
    """A complete document that warns about nothing."""
    return {
        "orgId": "org-0",
        "datasetId": "lead-scoring",
        "granularity": "daily",
        "analyzers": [analyzer()] if analyzers is None else analyzers,
        "monitors": [monitor()] if monitors is None else monitors,
        **changes,
    }


def read(data: object) -> LoadedDocument:
    return parse_document(data, source="monitors.json")


def problems_of(data: object) -> dict[str, Problem]:
    """The problems that a document is refused for, by path."""
    with pytest.raises(DocumentError) as refused:
        read(data)
    return {problem.path: problem for problem in refused.value.problems}


def warnings_of(data: object) -> dict[str, Problem]:
    """The warnings of a document that is accepted, by path."""
    return {problem.path: problem for problem in read(data).warnings}
