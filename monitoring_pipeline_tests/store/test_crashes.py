"""A writer may die at any instant. What it leaves is whole, and running it again gives what one clean run gives."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Event
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa

from monitoring_pipeline.profiling.profile import DatasetProfile
from monitoring_pipeline.profiling.profiler import profile
from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store, open_store
from monitoring_pipeline.store.datasets import register_dataset
from monitoring_pipeline.store.digests import record_digest
from monitoring_pipeline.store.documents import apply_document
from monitoring_pipeline.store.files import save_files
from monitoring_pipeline.store.incidents import save_incidents
from monitoring_pipeline.store.profiles import batches, write_batch
from monitoring_pipeline.store.results import write_results
from monitoring_pipeline.timegrid import to_micros

NOW = datetime(2026, 4, 1, tzinfo=UTC)
DAY = timedelta(days=1)
BUCKETS = [datetime(2026, 3, 1, tzinfo=UTC) + number * DAY for number in range(6)]

Dump = dict[str, list[tuple[object, ...]]]


def _contents() -> list[bytes]:
    """Profiles of a few days: 30 columns, 4 segments each, some of them new every day."""
    generator = random.Random(7)
    made: list[bytes] = []
    for day in range(len(BUCKETS)):
        columns: dict[str, object] = {
            f"c{number}": [generator.gauss(number, 1) for _ in range(40)] for number in range(day, day + 30)
        }
        columns["segment"] = [f"s{number % 3 + day}" for number in range(40)]
        made.append(profile(pa.table(columns), [["segment"]]).to_bytes())
    return made


def _run(url: str, contents: list[bytes], started: Event | None = None) -> None:
    """Everything that a run of the pipeline writes, twice over: a first load of each bucket, then a repaired one."""
    store = open_store(url)
    ref = register_dataset(store, "org-0", "d", now=NOW)
    if started is not None:
        started.set()
    apply_document(store, ref, "monitors", {"id": "d"}, author="ada", origin="file", now=NOW)
    for bucket, content in zip(BUCKETS, contents, strict=True):
        if not any(row.bucket == bucket for row in batches(store, ref)):
            _write(store, bucket, content, fingerprint="first")
        rows = [_result(bucket, f"c{number}") for number in range(30)]
        write_results(store, ref, rows, now=NOW)
        digest = {"dedup_key": bucket.isoformat(), "monitor_id": "m"}
        record_digest(store, ref, digest, ["slack", "console"], NOW)
        save_incidents(store, ref, [_incident(bucket)], now=NOW)
        save_files(
            store, ref, {f"{number}.parquet": {"size": number} for number in range(BUCKETS.index(bucket) + 1)}
        )
    for bucket, content in zip(BUCKETS, contents[1:] + contents[:1], strict=True):
        _write(store, bucket, content, fingerprint="repaired")
        write_results(store, ref, [_result(bucket, f"c{number}") for number in range(30)], now=NOW)
    store.close()


def _write(store: Store, bucket: datetime, content: bytes, *, fingerprint: str) -> None:
    ref = register_dataset(store, "org-0", "d")
    write_batch(
        store, ref, bucket, DatasetProfile.from_bytes(content), fingerprint=fingerprint, first_upload=bucket,
        last_upload=bucket, files=1, quality={}, now=NOW,
    )  # fmt: skip


def _result(bucket: datetime, column: str) -> dict[str, object]:
    return {
        "analysis_id": f"{column}-{bucket}", "result_id": "r", "run_id": "run", "analyzer_id": "a",
        "analyzer_version": "v", "segment": "", "column": column, "bucket": to_micros(bucket),
        "created": to_micros(NOW), "granularity": "daily", "target_level": "column", "metric": "mean",
        "analyzer_type": "fixed", "anomaly_count": 0, "profile_version": 1,
    }  # fmt: skip


def _incident(bucket: datetime) -> dict[str, object]:
    return {
        "id": "i", "title": "t", "severity": 1, "status": "open", "start": BUCKETS[0].isoformat(),
        "end": (bucket + DAY).isoformat(),
    }  # fmt: skip


def _dump(url: str) -> Dump:
    """Every row of every table in a fixed order, with names in the place of row numbers, which a death may skip."""
    store = open_store(url)
    texts = {"dataset": "dataset_id", "segment": "key", "column_name": "name", "digest": "dedup_key"}
    with store.read() as connection:
        names = {
            table: dict(
                connection.execute(
                    sa.select(schema.metadata.tables[table].c.pk, schema.metadata.tables[table].c[text])
                ).all()
            )
            for table, text in texts.items()
        }
        dump: Dump = {}
        for table in schema.metadata.sorted_tables:
            targets = {key.parent.name: names[key.column.table.name] for key in table.foreign_keys}
            kept = [column for column in table.columns if column.name not in ("pk", "revision")]
            rows = connection.execute(sa.select(*kept)).all()
            dump[table.name] = sorted(
                (
                    tuple(
                        targets[column.name][value] if column.name in targets else value
                        for column, value in zip(kept, row, strict=True)
                    )
                    for row in rows
                ),
                key=repr,
            )
    store.close()
    return dump


@pytest.fixture(scope="module")
def contents() -> list[bytes]:
    return _contents()


@pytest.fixture(scope="module")
def clean(contents: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Dump:
    url = f"sqlite:///{tmp_path_factory.mktemp('clean') / 'store.db'}"
    _run(url, contents)
    return _dump(url)


def test_running_everything_again_changes_nothing(
    database_url: str, contents: list[bytes], clean: Dump
) -> None:
    for _ in range(2):
        _run(database_url, contents)
        assert _dump(database_url) == clean


@pytest.mark.slow
def test_a_writer_killed_at_any_instant_leaves_nothing_half_done(
    database_url: str, contents: list[bytes], clean: Dump, tmp_path: Path, processes: ForkServerContext
) -> None:
    began = time.perf_counter()
    _run(f"sqlite:///{tmp_path / 'timing.db'}", contents)
    length = time.perf_counter() - began
    generator = random.Random(11)
    open_store(database_url).close()
    deaths = 0
    for _ in range(10):
        started = processes.Event()
        process = processes.Process(target=_run, args=(database_url, contents, started))
        process.start()
        assert started.wait(60)
        time.sleep(generator.uniform(0, length))
        process.kill()
        process.join()
        deaths += process.exitcode != 0
        _check_whole(database_url)
    assert deaths
    _run(database_url, contents)
    assert _dump(database_url) == clean


def _check_whole(url: str) -> None:
    """Whatever the instant, each bucket is there with all that belongs to it, or not at all."""
    dump = _dump(url)
    versions: dict[object, set[object]] = {}
    for row in dump["batch"]:
        versions.setdefault(row[1], set()).add((row[7], row[8]))
    assert all(len(seen) == 1 for seen in versions.values())
    buckets = {row[1] for row in dump["batch"]}
    assert {row[2] for row in dump["profile"]} == buckets
    segments = {(row[1], row[2]) for row in dump["batch"]}
    assert {(row[2], row[3]) for row in dump["profile"]} == segments
    sketched = {(row[2], row[3], row[4]) for row in dump["profile_sketch"]}
    assert sketched == {(row[2], row[3], row[4]) for row in dump["profile"] if row[4] != ""}
    assert len(dump["delivery"]) == 2 * len(dump["digest"])
