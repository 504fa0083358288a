"""Parquet files: counted from the footer and the timestamp column alone, read by the row groups that matter."""

from __future__ import annotations

from collections.abc import Collection, Generator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from monitoring_pipeline.sources.ahead import read_ahead
from monitoring_pipeline.sources.listing import FoundFile
from monitoring_pipeline.sources.records import MAX_ROWS, NO_BUCKET, Survey, indices_of
from monitoring_pipeline.timegrid import Granularity

_TEXT_BYTES_PER_VALUE = 2.5
"""A text column that takes less than this in a file repeats few values, and is read as a dictionary."""

_SMALL = 50_000
"""Rows below which threads, and opening a file again for dictionaries, cost more than they save."""

_BATCH_BYTES = 1 << 25
"""Decoded bytes of a batch, as far as the footer tells; rows of many columns come in batches of fewer rows."""

_FEWEST_ROWS = 4_096


def survey(file: FoundFile, timestamp: str | None, granularity: Granularity) -> Survey:
    """Count the rows. A row group whose statistics lie in one bucket is counted without reading it."""
    with (
        file.filesystem.open_input_file(file.address) as handle,
        pq.ParquetFile(handle, pre_buffer=False) as parquet,
    ):
        footer = parquet.metadata
        found = Survey(columns=tuple(parquet.schema_arrow.names), rows=footer.num_rows)
        if timestamp is None or timestamp not in found.columns:
            found.bad = footer.num_rows if timestamp is not None else 0
            return found
        for group in range(footer.num_row_groups):
            span = _span(parquet, group, timestamp, granularity)
            if span is not None and span[0] == span[1]:
                nulls = span[2]
                found.bad += nulls
                found.buckets[span[0]] += footer.row_group(group).num_rows - nulls
                continue
            for batch in parquet.iter_batches(MAX_ROWS, row_groups=[group], columns=[timestamp]):
                found.count_buckets(indices_of(batch.column(0), granularity))
        return found


def batches(
    file: FoundFile,
    timestamp: str | None,
    granularity: Granularity,
    *,
    wanted: Collection[int],
    skip: Collection[str] = (),
) -> Generator[pa.RecordBatch]:
    """Batches of the row groups that can hold wanted buckets, without the columns in `skip`.

    While one batch is worked on, another thread decodes the next; memory holds these two, and of the row group that
    they are part of what Arrow needs to decode it.
    """
    with file.filesystem.open_input_file(file.address) as handle:
        with pq.ParquetFile(handle, pre_buffer=False) as parquet:
            footer = parquet.metadata
            groups = [
                group
                for group in range(footer.num_row_groups)
                if timestamp is None or _may_hold(_span(parquet, group, timestamp, granularity), wanted)
            ]
            if not groups:
                return
            names = parquet.schema_arrow.names
            columns = [name for name in names if name not in skip] if skip else None
            small = footer.num_rows < _SMALL
            dictionaries = [] if small else _repetitive_text(parquet)
            if not dictionaries:
                found = _in_turn(parquet, groups, columns, threads=not small)
                yield from found if small else read_ahead(found)
                return
        # Dictionaries have to be asked for when a reader opens, which takes what the first one learned.
        handle.seek(0)
        with pq.ParquetFile(
            handle, metadata=footer, read_dictionary=dictionaries, pre_buffer=False
        ) as parquet:
            yield from read_ahead(_in_turn(parquet, groups, columns, threads=True))


def _in_turn(
    parquet: pq.ParquetFile, groups: Collection[int], columns: list[str] | None, *, threads: bool
) -> Generator[pa.RecordBatch]:
    """One row group after the other: asked for several, Arrow fetches them all at once and holds them."""
    for group in groups:
        rows = _batch_rows(parquet.metadata.row_group(group))
        yield from parquet.iter_batches(rows, row_groups=[group], columns=columns, use_threads=threads)


def _batch_rows(group: pq.RowGroupMetaData) -> int:
    """Rows of a batch, so that those of one group have nearly the same size."""
    fitting = _BATCH_BYTES * group.num_rows // max(group.total_byte_size, 1)
    most = min(max(fitting, _FEWEST_ROWS), MAX_ROWS)
    parts = max(-(-group.num_rows // most), 1)
    return max(-(-group.num_rows // parts), 1)


def _may_hold(span: tuple[int, int, int] | None, wanted: Collection[int]) -> bool:
    return span is None or any(span[0] <= bucket <= span[1] for bucket in wanted)


def _span(
    parquet: pq.ParquetFile, group: int, timestamp: str, granularity: Granularity
) -> tuple[int, int, int] | None:
    """First and last bucket and the nulls of one row group by its statistics; None where those do not tell."""
    footer = parquet.metadata
    position = next((i for i in range(footer.num_columns) if footer.schema.column(i).path == timestamp), None)
    if position is None:
        return None
    kind = parquet.schema_arrow.field(timestamp).type
    # Statistics of text may be cut short, those of floats leave out NaN.
    if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_integer(kind)):
        return None
    statistics = footer.row_group(group).column(position).statistics
    if statistics is None or not statistics.has_min_max or not statistics.has_null_count:
        return None
    try:
        ends = pa.array([statistics.min, statistics.max], type=kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return None
    first, last = indices_of(ends, granularity).tolist()
    # Integers can be spelled dates or seconds, so that order of numbers is not order of time.
    if NO_BUCKET in (first, last) or (pa.types.is_integer(kind) and first != last):
        return None
    return first, last, int(statistics.null_count)


def _repetitive_text(parquet: pq.ParquetFile) -> list[str]:
    footer = parquet.metadata
    sizes = np.zeros(footer.num_columns)
    for group in range(footer.num_row_groups):
        columns = footer.row_group(group)
        sizes += [columns.column(i).total_uncompressed_size for i in range(footer.num_columns)]
    text = {
        field.name
        for field in parquet.schema_arrow
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    }
    limit = _TEXT_BYTES_PER_VALUE * footer.num_rows
    paths = [footer.schema.column(i).path for i in range(footer.num_columns)]
    return [path for path, size in zip(paths, sizes, strict=True) if path in text and size < limit]
