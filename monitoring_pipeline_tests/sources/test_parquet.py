"""Parquet files large enough to be decoded ahead, with few texts read as dictionaries."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitoring_pipeline.profiling import Profiler, profile
from monitoring_pipeline.sources import parquet
from monitoring_pipeline.sources.listing import FoundFile, find_files
from monitoring_pipeline.timegrid import Granularity

GRANULARITY = next(iter(Granularity))


def many_rows() -> pa.Table:
    rng = np.random.default_rng(1)
    rows = 160_000
    few = pa.array([f"text {number}" for number in range(40)]).take(pa.array(rng.integers(0, 40, rows)))
    many = pa.array([f"id-{number}" for number in rng.integers(0, 10**9, rows).tolist()])
    return pa.table(
        {"few": few, "many": many, "x": pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.1)}
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> FoundFile:
    path: Path = tmp_path_factory.mktemp("parquet") / "rows.parquet"
    pq.write_table(many_rows(), path, row_group_size=90_000)
    [found] = find_files([str(path)], path.parent)
    return found


def test_every_row_comes_once_and_in_order(file: FoundFile) -> None:
    found = list(parquet.batches(file, None, GRANULARITY, wanted=()))
    assert pa.types.is_dictionary(found[0].schema.field("few").type)
    assert [batch.num_rows for batch in found] == [90_000, 70_000]
    assert pa.Table.from_batches(found).cast(many_rows().schema).equals(many_rows())


def test_the_profile_is_that_of_the_table(file: FoundFile) -> None:
    profiler = Profiler()
    for batch in parquet.batches(file, None, GRANULARITY, wanted=()):
        profiler.update(batch)
    assert profiler.finish() == profile(many_rows())


def test_rows_of_many_columns_come_in_smaller_batches_of_one_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    path = tmp_path / "wide.parquet"
    pq.write_table(pa.table({f"c{place}": rng.random(60_000) for place in range(100)}), path)
    [found] = find_files([str(path)], tmp_path)
    sizes = [batch.num_rows for batch in parquet.batches(found, None, GRANULARITY, wanted=())]
    assert sum(sizes) == 60_000
    assert set(sizes) == {30_000}


def test_nobody_reads_on_when_the_rows_are_no_longer_wanted(file: FoundFile) -> None:
    batches = parquet.batches(file, None, GRANULARITY, wanted=())
    next(batches)
    batches.close()
    assert all(thread.name != "read-ahead" for thread in threading.enumerate())


def test_a_damaged_page_is_an_error_of_the_reader(file: FoundFile, tmp_path: Path) -> None:
    data = bytearray(Path(file.address).read_bytes())
    page = pq.read_metadata(file.address).row_group(1).column(2).data_page_offset
    data[page : page + 64] = b"\xff" * 64
    path = tmp_path / "damaged.parquet"
    path.write_bytes(data)
    [found] = find_files([str(path)], tmp_path)
    with pytest.raises((OSError, pa.ArrowException)):
        list(parquet.batches(found, None, GRANULARITY, wanted=()))
    assert all(thread.name != "read-ahead" for thread in threading.enumerate())
