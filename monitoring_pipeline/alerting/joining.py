"""Which anomalies have one cause: those that share time, column, segment, or the way in which they changed.

Pure and independent of the order of its input; what hangs together stays together when more is known. Two anomalies of
a dataset belong together when

- they are about the same subject (a column; or, at the dataset level, its volume, performance or schema) in the same or
  neighbouring buckets, whatever the segment or metric;
- the same analyzer says so about the same column within a few buckets: within two it is an echo, because a trailing
  baseline still holds the bad bucket, within `RETURN` it has come back;
- they are about columns that changed together: in one bucket and segment the same family of metrics (nulls, values,
  distribution, …) moved in the same direction in at least `TOGETHER` columns. Each anomaly is rare by itself, so that
  several at once are no accident; two may be;
- one explains the other: missing data or a changed number of rows explains what happens to the counts of the columns in
  the same bucket, in the same segment or in a part of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise

from monitoring_pipeline.alerting.anomalies import Anomaly
from monitoring_pipeline.alerting.wording import MISSING_DATA, canonical
from monitoring_pipeline.segments import OVERALL, segment_tags

REACH = 1
"""Buckets between two anomalies of one subject that still belong together: neighbours."""

ECHO = 2
"""The same for two anomalies of one analyzer on one column, which do not count as having come back."""

RETURN = 7
"""Buckets within which one analyzer's next anomaly on a column is the same incident, come back."""

TOGETHER = 3
"""Columns that have one cause when they change in the same way in one bucket."""


def bonds(anomalies: Iterable[Anomaly]) -> Iterable[Sequence[str]]:
    """Groups of names that belong together, each found by sorting within what could belong together."""
    by_subject: defaultdict[tuple[str, str], list[Anomaly]] = defaultdict(list)
    by_analyzer: defaultdict[tuple[str, str, str], list[Anomaly]] = defaultdict(list)
    by_bucket: defaultdict[datetime, list[Anomaly]] = defaultdict(list)
    for anomaly in anomalies:
        by_subject[subject(anomaly)].append(anomaly)
        by_analyzer[(anomaly.analyzer_id, *subject(anomaly))].append(anomaly)
        by_bucket[anomaly.bucket].append(anomaly)
    for group in by_subject.values():
        yield from _near(group, REACH)
    for group in by_analyzer.values():
        yield from _near(group, RETURN)
    for group in by_bucket.values():
        yield from _together(group)
        causes = [anomaly for anomaly in group if is_volume(anomaly)]
        for anomaly in group if causes else ():
            if _counts(anomaly):
                yield [
                    anomaly.analysis_id,
                    *(cause.analysis_id for cause in causes if _within(anomaly.segment, cause.segment)),
                ]


def _together(of_bucket: Sequence[Anomaly]) -> Iterable[Sequence[str]]:
    """Columns of one bucket that changed in the same way."""
    alike: defaultdict[tuple[str, str, str | None], list[Anomaly]] = defaultdict(list)
    for anomaly in of_bucket:
        if anomaly.column:
            alike[anomaly.segment, family(anomaly), anomaly.direction].append(anomaly)
    for group in alike.values():
        if len({anomaly.column for anomaly in group}) >= TOGETHER:
            yield [anomaly.analysis_id for anomaly in group]


def family(anomaly: Anomaly) -> str:
    """What of a column an anomaly is about: its nulls, its types, its distinct values, its values or its distribution."""
    metric = canonical(anomaly.metric)
    if anomaly.analyzer_type == "drift" or metric in ("histogram", "frequent_items"):
        return "distribution"
    if "null" in metric or metric == MISSING_DATA:
        return "nulls"
    for name in ("count", "unique"):
        if metric.startswith(name):
            return "types" if metric.endswith("_ratio") and name == "count" else name
    return "values" if metric in _VALUES or metric.startswith("quantile") else metric


_VALUES = {"mean", "min", "max", "median", "stddev", "sum"}


def _near(group: Sequence[Anomaly], reach: int) -> Iterable[Sequence[str]]:
    """Neighbours in time, in pairs."""
    ordered = sorted(group, key=lambda anomaly: anomaly.bucket)
    for before, after in pairwise(ordered):
        granularity = after.granularity
        if granularity.index(after.bucket) - granularity.index(before.bucket) <= reach:
            yield before.analysis_id, after.analysis_id


def components(nodes: Mapping[str, Anomaly], bonds: Iterable[Sequence[str]]) -> list[list[Anomaly]]:
    """Connected components (disjoint sets with path halving)."""
    parent = {key: key for key in nodes}

    def root(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for bond in bonds:
        for other in bond[1:]:
            parent[root(other)] = root(bond[0])
    groups: defaultdict[str, list[Anomaly]] = defaultdict(list)
    for key, anomaly in nodes.items():
        groups[root(key)].append(anomaly)
    return list(groups.values())


def subject(anomaly: Anomaly) -> tuple[str, str]:
    """What an anomaly is about: a column, or a side of the dataset (volume, performance, schema, or the metric)."""
    if anomaly.column:
        return anomaly.column, ""
    metric = canonical(anomaly.metric)
    if is_volume(anomaly):
        return "", "volume"
    if metric.startswith(("classification_", "regression_")):
        return "", "performance"
    return "", "schema" if metric in _SCHEMA else metric


_VOLUME = {
    MISSING_DATA,
    "secondssincelastupload",
    "shape_row_count",
    "column_row_count_sum",
    "input_count",
    "output_count",
    "count",
}
_SCHEMA = {"shape_column_count", "column_list"}


def is_volume(anomaly: Anomaly) -> bool:
    return anomaly.column == "" and canonical(anomaly.metric) in _VOLUME


def _counts(anomaly: Anomaly) -> bool:
    """Whether it is about how many values a column has, which follows from how many rows there are."""
    metric = canonical(anomaly.metric)
    counts = metric == "count" or (metric.startswith(("count_", "unique_")) and not metric.endswith("_ratio"))
    return anomaly.column != "" and (counts or metric == MISSING_DATA)


def _within(segment: str, outer: str) -> bool:
    """Whether a segment is the other one or a part of it."""
    return outer in (OVERALL, segment) or segment_tags(outer).items() <= segment_tags(segment).items()
