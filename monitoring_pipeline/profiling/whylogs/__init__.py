"""Profiles that whylogs wrote, as ours, and ours as files that whylogs reads. whylogs itself is not needed.

>>> from pathlib import Path
>>> from monitoring_pipeline.profiling.whylogs import read_whylogs_file
>>> [found] = read_whylogs_file(Path("profile.bin"))  # doctest: +SKIP
>>> found.segment, found.dataset_timestamp, found.profile.columns[found.segment]  # doctest: +SKIP
"""

from __future__ import annotations

from monitoring_pipeline.profiling.whylogs.batches import WhylogsBatch, read_batches
from monitoring_pipeline.profiling.whylogs.reading import (
    MOST_BYTES,
    WhylogsProfile,
    read_bounded,
    read_whylogs,
    read_whylogs_file,
)
from monitoring_pipeline.profiling.whylogs.writing import write_whylogs, write_whylogs_zip

__all__ = [
    "MOST_BYTES",
    "WhylogsBatch",
    "WhylogsProfile",
    "read_batches",
    "read_bounded",
    "read_whylogs",
    "read_whylogs_file",
    "write_whylogs",
    "write_whylogs_zip",
]
