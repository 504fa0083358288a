"""A file of whylogs as a dataset takes it: by bucket one profile, with all segments of the file and their performance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling.merging import merged_by_segment, rows_in
from monitoring_pipeline.profiling.profile import DatasetProfile
from monitoring_pipeline.profiling.whylogs.reading import MOST_BYTES, read_whylogs

_MOST_ROWS = 1 << 50


@dataclass(frozen=True)
class WhylogsBatch:
    """What a file holds of one bucket. `rows`: of all data, or of the segments that hold the most."""

    rows: int
    profile: DatasetProfile


def read_batches(
    data: bytes,
    bucket_of: Callable[[datetime | None], datetime | None],
    *,
    source: str = "",
    most_bytes: int = MOST_BYTES,
) -> Mapping[datetime | None, WhylogsBatch]:
    """The profiles in a file by the bucket that `bucket_of` gives for their `dataset_timestamp`.

    Raises ProfileError when the file is damaged, too large, or something else; `source` names it there.
    """
    found: dict[datetime | None, list[DatasetProfile]] = {}
    for one in read_whylogs(data, source=source, most_bytes=most_bytes):
        found.setdefault(bucket_of(one.dataset_timestamp), []).append(one.judged)
    batches: dict[datetime | None, WhylogsBatch] = {}
    for bucket, parts in found.items():
        profile = merged_by_segment(parts)
        rows = rows_in(profile)
        if rows > _MOST_ROWS:
            raise ProfileError(f"{rows} rows; at most {_MOST_ROWS} are accepted")
        batches[bucket] = WhylogsBatch(rows, profile)
    return batches
