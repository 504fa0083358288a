"""Several processes write the same buckets at once; of different ones see `test_concurrency`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from multiprocessing.context import ForkServerContext

import pyarrow as pa

from monitoring_pipeline.profiling.profile import DatasetProfile
from monitoring_pipeline.profiling.profiler import profile
from monitoring_pipeline.store.database import open_store
from monitoring_pipeline.store.datasets import register_dataset
from monitoring_pipeline.store.profiles import batches, series, write_batch
from monitoring_pipeline.timegrid import Granularity, TimeRange

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
WRITERS, EACH = 4, 12


def _write_buckets(url: str, writer: int, content: bytes) -> None:
    store = open_store(url)
    ref = register_dataset(store, "org-0", "d")
    for number in range(EACH):
        bucket = START + number * HOUR
        write_batch(
            store, ref, bucket, DatasetProfile.from_bytes(content), fingerprint=f"{writer}",
            first_upload=bucket, last_upload=bucket, files=1, quality={}, now=bucket,
        )  # fmt: skip
    store.close()


def test_processes_that_write_the_same_buckets_at_once_all_succeed(
    database_url: str, processes: ForkServerContext
) -> None:
    table = pa.table({f"c{number}": [1.0, 2.0, 3.0] for number in range(40)} | {"s": ["x", "y", "z"]})
    content = profile(table, [["s"]]).to_bytes()
    started = [
        processes.Process(target=_write_buckets, args=(database_url, writer, content))
        for writer in range(WRITERS)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0] * WRITERS
    store = open_store(database_url)
    ref = register_dataset(store, "org-0", "d")
    assert {row.version for row in batches(store, ref)} == {WRITERS}
    window = TimeRange(START, START + EACH * HOUR)
    found = series(store, ref, ["n"], window, granularity=Granularity.HOURLY, columns=["c7"])
    assert found.values["n"].tolist() == [[3.0] * EACH] + [[1.0] * EACH] * 3
    store.close()
