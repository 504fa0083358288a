"""Profiles of ours as files that whylogs 1.x reads: one segment to a file, or a zip of many."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.profiling.profile import DatasetProfile
from monitoring_pipeline.profiling.whylogs.columns import column_to_whylogs
from monitoring_pipeline.profiling.whylogs.format_v1 import write_v1
from monitoring_pipeline.profiling.whylogs.messages import Message
from monitoring_pipeline.profiling.whylogs.reading import TAG_PREFIX
from monitoring_pipeline.segments import OVERALL, segment_tags

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def write_whylogs(
    profile: DatasetProfile,
    segment: str = OVERALL,
    *,
    dataset_timestamp: datetime,
    creation_timestamp: datetime | None = None,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """One segment of a profile as a file of whylogs 1.x; the same bytes for the same profile.

    `segment` is its key, `dataset_timestamp` the start of its bucket; without a `creation_timestamp` it is that,
    too. Both are with time zone, and cut to milliseconds. What whylogs has no place for is left out: the extremes
    of times, and which infinities were negative. Raises UsageError when the profile has no such segment.

    >>> from datetime import UTC, datetime
    >>> import pyarrow as pa
    >>> from monitoring_pipeline.profiling import profile
    >>> from monitoring_pipeline.profiling.whylogs import read_whylogs, write_whylogs
    >>> bucket = datetime(2026, 1, 1, tzinfo=UTC)
    >>> data = write_whylogs(profile(pa.table({"score": [0.25, 0.75]})), dataset_timestamp=bucket)
    >>> [found] = read_whylogs(data, source="score.bin")
    >>> found.dataset_timestamp == bucket, found.profile.columns[""]["score"].mean
    (True, 0.5)
    """
    if segment not in profile.rows:
        raise UsageError(f"the profile has no segment {segment!r}; there are: {sorted(profile.rows)}")
    tags = {f"{TAG_PREFIX}{name}": value for name, value in segment_tags(segment).items()}
    columns = profile.columns.get(segment, {})
    return write_v1(
        Message(
            columns={name: column_to_whylogs(columns[name]) for name in sorted(columns)},
            dataset_time=_milliseconds(dataset_timestamp),
            creation_time=_milliseconds(creation_timestamp or dataset_timestamp),
            tags=tags,
            segment=tags,
            metadata=metadata or {},
        )
    )


def write_whylogs_zip(
    profile: DatasetProfile,
    *,
    dataset_timestamp: datetime,
    creation_timestamp: datetime | None = None,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """All segments of a profile as a zip of files, the form in which whylogs uploads many."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, segment in enumerate(sorted(profile.rows)):
            archive.writestr(
                zipfile.ZipInfo(f"profile_{number}.bin"),  # with a date of its own, not that of today
                write_whylogs(
                    profile,
                    segment,
                    dataset_timestamp=dataset_timestamp,
                    creation_timestamp=creation_timestamp,
                    metadata=metadata,
                ),
            )
    return buffer.getvalue()


def _milliseconds(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise UsageError(f"{moment.isoformat()} has no time zone")
    if moment < _EPOCH:
        raise UsageError(f"{moment.isoformat()} is before 1970, which whylogs cannot write")
    return (moment - _EPOCH) // timedelta(milliseconds=1)
