"""Rows become profiles: small, mergeable summaries of every column, for all data and for each segment.

>>> import pyarrow as pa
>>> from monitoring_pipeline.profiling import profile
>>> found = profile(pa.table({"score": [0.25, 0.75, None], "country": ["DE", "DE", "FR"]}), [["country"]])
>>> found.rows
{'': 3, 'country=DE': 2, 'country=FR': 1}
>>> found.columns["country=DE"]["score"].scalars()["mean"]
0.5
"""

from __future__ import annotations

from monitoring_pipeline.profiling.profile import (
    DATASET_COLUMN,
    SCALARS,
    ColumnProfile,
    DatasetProfile,
    components_from_bytes,
    components_to_bytes,
    merge_datasets,
    merge_profiles,
)
from monitoring_pipeline.profiling.profiler import Profiler, profile

__all__ = [
    "DATASET_COLUMN",
    "SCALARS",
    "ColumnProfile",
    "DatasetProfile",
    "Profiler",
    "components_from_bytes",
    "components_to_bytes",
    "merge_datasets",
    "merge_profiles",
    "profile",
]
