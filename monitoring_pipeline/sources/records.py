"""What the readers of all formats share: how rows are counted by bucket, and how batches are cut into buckets.

Inside this package a bucket is its index on the grid of the dataset's granularity (`Granularity.index_array`), and
`NO_BUCKET` where a row's timestamp is missing or cannot be read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitoring_pipeline.sources.timestamps import BAD, micros_of
from monitoring_pipeline.timegrid import Granularity

MAX_ROWS = 131_072
"""Rows of the largest batch that is handed on."""

NO_BUCKET = BAD


@dataclass
class Survey:
    """One pass over a file without keeping its rows.

    `buckets` counts rows by bucket index (empty when the bucket comes from the path), `bad` those whose timestamp
    cannot be read, `unreadable` the lines that are not records.
    """

    columns: tuple[str, ...] = ()
    rows: int = 0
    buckets: Counter[int] = field(default_factory=Counter)
    bad: int = 0
    unreadable: int = 0
    column_types: dict[str, str] = field(default_factory=dict)

    def count(self, batch: pa.RecordBatch, timestamp: str | None, granularity: Granularity) -> None:
        """Count the rows of a batch by the bucket of their timestamp."""
        self.rows += batch.num_rows
        if timestamp is not None:
            self.count_buckets(bucket_indices(batch, timestamp, granularity))

    def count_buckets(self, indices: NDArray[np.int64]) -> None:
        """Count rows by bucket index, (n,) int64."""
        values, counts = np.unique(indices, return_counts=True)
        for value, rows in zip(values.tolist(), counts.tolist(), strict=True):
            if value == NO_BUCKET:
                self.bad += rows
            else:
                self.buckets[value] += rows


def bucket_indices(batch: pa.RecordBatch, timestamp: str, granularity: Granularity) -> NDArray[np.int64]:
    """(n_rows,) int64: bucket index of each row, `NO_BUCKET` without a usable timestamp."""
    if timestamp not in batch.schema.names:
        return np.full(batch.num_rows, NO_BUCKET, dtype=np.int64)
    return indices_of(batch.column(batch.schema.names.index(timestamp)), granularity)


def indices_of(values: pa.Array, granularity: Granularity) -> NDArray[np.int64]:
    """(n,) int64: bucket index of each timestamp, `NO_BUCKET` where it is missing or cannot be read."""
    micros = micros_of(values)
    missing = micros == BAD
    indices = granularity.index_array(np.where(missing, 0, micros))
    return np.where(missing, NO_BUCKET, indices)


def split(
    batch: pa.RecordBatch, indices: NDArray[np.int64], wanted: Collection[int]
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Cut a batch into the buckets that are wanted, ascending, keeping the order of rows inside each.

    `indices` is (n_rows,) int64. Sorted input is sliced without copying.
    """
    if len(indices) == 0:
        return
    if np.any(indices[1:] < indices[:-1]):
        order = np.argsort(indices, kind="stable")
        keep = order[np.isin(indices[order], np.fromiter(wanted, dtype=np.int64))]
        batch, indices = batch.take(pa.array(keep)), indices[keep]
        if len(indices) == 0:
            return
    starts = np.flatnonzero(np.r_[True, indices[1:] != indices[:-1]])
    ends = np.r_[starts[1:], len(indices)]
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        bucket = int(indices[start])
        if bucket in wanted:
            for offset in range(start, end, MAX_ROWS):
                yield bucket, batch.slice(offset, min(MAX_ROWS, end - offset))


def without_duplicate_columns(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with the first column of each name."""
    names = batch.schema.names
    if len(set(names)) == len(names):
        return batch
    first = [names.index(name) for name in dict.fromkeys(names)]
    return batch.select(first)
