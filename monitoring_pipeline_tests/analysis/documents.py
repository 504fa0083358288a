"""Small monitor documents for tests."""

from __future__ import annotations

from typing import Any

from monitoring_pipeline.config.document import MonitorDocument


def document(*analyzers: dict[str, Any], granularity: str = "daily", **given: Any) -> MonitorDocument:
    """A document with these analyzers, each with defaults for what it leaves out."""
    return MonitorDocument.model_validate(
        {
            "orgId": "org-0",
            "datasetId": "lead-scoring",
            "granularity": granularity,
            "analyzers": [analyzer(**one) for one in analyzers],
            "monitors": [],
            **given,
        }
    )


def analyzer(**given: Any) -> dict[str, Any]:
    """An analyzer on the mean of every column with a static bound, or whatever is given instead."""
    return {
        "id": "mean-below-ten",
        "targetMatrix": {"type": "column", "include": ["*"]},
        "schedule": {"type": "fixed", "cadence": "daily"},
        "config": {"type": "fixed", "metric": "mean", "upper": 10},
        **given,
    }
