from __future__ import annotations

from typing import Any

import pytest

from monitoring_pipeline.analysis.drafting import draft
from monitoring_pipeline.config import MonitorDocument, parse_document
from monitoring_pipeline.config.targets import ColumnMatrix, DatasetMatrix
from monitoring_pipeline.errors import DocumentError, UnknownMetricError, UsageError
from monitoring_pipeline.timegrid import Granularity

MEDIAN = {"type": "fixed", "metric": "median", "upper": 1}
ACCURACY = {"type": "stddev", "metric": "classification.accuracy", "baseline": {"type": "TrailingWindow"}}


def document_of(*drafts: Any) -> MonitorDocument:
    return parse_document(
        {
            "orgId": "org-0",
            "datasetId": "model-0",
            "granularity": "daily",
            "analyzers": [one.analyzer.model_dump(mode="json", by_alias=True) for one in drafts],
            "monitors": [one.monitor.model_dump(mode="json", by_alias=True) for one in drafts],
        },
        source="test",
    ).document


def test_a_draft_is_a_document_that_can_be_used() -> None:
    document = document_of(draft("far-off", MEDIAN, actions=[{"type": "global", "target": "slack"}]))
    assert [one.id for one in document.analyzers] == ["far-off-analyzer"]
    assert document.monitors_of("far-off-analyzer") == (document.monitors[0],)


def test_the_metric_says_what_is_looked_at() -> None:
    columns = draft("far-off", MEDIAN).analyzer.target_matrix
    assert isinstance(columns, ColumnMatrix)
    assert columns.include == ("*",)
    assert isinstance(draft("worse", ACCURACY).analyzer.target_matrix, DatasetMatrix)


def test_a_matrix_of_the_wrong_kind_is_mended_with_its_segments_kept() -> None:
    segments = [{"tags": [{"key": "region", "value": "EU"}]}]
    made = draft("worse", ACCURACY, target_matrix={"type": "column", "include": ["x"], "segments": segments})
    assert isinstance(made.analyzer.target_matrix, DatasetMatrix)
    assert [one.key for one in made.analyzer.target_matrix.segments] == ["region=EU"]
    [note] = made.notes
    assert "a metric of the dataset: the type of its targetMatrix is dataset now" in note
    assert not draft("far-off", MEDIAN, target_matrix={"type": "column", "include": ["x"]}).notes


@pytest.mark.parametrize("granularity", list(Granularity))
def test_old_buckets_stay_silent(granularity: Granularity) -> None:
    days = {"weekly": 14, "monthly": 45}.get(str(granularity), 7)
    mode = draft("far-off", MEDIAN, granularity=granularity).monitor.mode
    assert str(getattr(mode, "dataset_timestamp_offset", None)) == f"P{days}D"


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(UsageError, match=r"incom: no such column; there are: age, income"):
        draft("far-off", MEDIAN, exclude=["incom"], columns=["age", "income"])
    with pytest.raises(UsageError, match=r"group:inputs: no such group of columns; accepted: group:input"):
        draft("far-off", MEDIAN, include=["group:inputs"])
    with pytest.raises(UnknownMetricError, match="median"):
        draft("far-off", {**MEDIAN, "metric": "medain"})
    with pytest.raises(DocumentError, match="dataReadinessDuration"):
        draft("far-off", MEDIAN, dataReadinessDuration="soon")
