"""Roll-ups, retention and deletion while others write, and when whoever does them dies at any instant."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Event

import pytest
import sqlalchemy as sa

from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import open_store
from monitoring_pipeline.store.datasets import register_dataset
from monitoring_pipeline.store.deletion import delete_range
from monitoring_pipeline.store.profiles import batches, series
from monitoring_pipeline.store.retention import Limits, forgotten_buckets, retire
from monitoring_pipeline.store.rollups import roll_up
from monitoring_pipeline.timegrid import Granularity, TimeRange
from monitoring_pipeline_tests.store.stored_days import DAY, MONDAY, held, some_profile, write, write_days

DAILY = Granularity.DAILY
NOW = datetime(2026, 8, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
DAYS = 45

Dump = dict[str, list[tuple[object, ...]]]


def _keep_house(url: str, started: Event | None = None) -> None:
    store = open_store(url)
    ref = register_dataset(store, "org-0", "d", now=NOW)
    if started is not None:
        started.set()
    roll_up(store, ref, DAILY, now=NOW)
    delete_range(store, ref, DAILY, TimeRange(MONDAY + 33 * DAY, MONDAY + 36 * DAY), actor="ada", now=NOW)
    roll_up(store, ref, DAILY, now=NOW)
    retire(store, ref, DAILY, Limits({"base": APRIL}), now=NOW, actor="ada")
    store.close()


def _fill(url: str) -> None:
    store = open_store(url)
    write_days(store, register_dataset(store, "org-0", "d", now=NOW), DAYS)
    store.close()


def _write_all(url: str, started: Event) -> None:
    store = open_store(url)
    ref = register_dataset(store, "org-0", "d", now=NOW)
    started.set()
    for turn in range(3):
        for day in range(DAYS):
            write(store, ref, MONDAY + day * DAY, some_profile(day + turn), fingerprint=f"{turn}")
    store.close()


def _dump(url: str) -> Dump:
    """What is left, without how often and by how many steps it was done."""
    store = open_store(url)
    with store.read() as connection:
        found: Dump = {}
        for table in (
            schema.batch,
            schema.profile,
            schema.profile_sketch,
            schema.rollup,
            schema.forgotten_bucket,
        ):
            kept = [column for column in table.columns if column.name != "revision"]
            rows = connection.execute(sa.select(*kept).order_by(*table.primary_key))
            found[table.name] = [tuple(row) for row in rows]
        found["changed"] = [
            tuple(row) for row in connection.execute(sa.select(schema.changed_bucket.c.bucket))
        ]
    store.close()
    return found


@pytest.mark.slow
def test_whoever_keeps_house_may_die_at_any_instant(
    database_url: str, tmp_path: object, processes: ForkServerContext
) -> None:
    clean_url = f"sqlite:///{tmp_path}/clean.db"
    _fill(clean_url)
    began = time.perf_counter()
    _keep_house(clean_url)
    length = time.perf_counter() - began
    _fill(database_url)
    generator, deaths = random.Random(3), 0
    for _ in range(12):
        started = processes.Event()
        process = processes.Process(target=_keep_house, args=(database_url, started))
        process.start()
        assert started.wait(60)
        time.sleep(generator.uniform(0, length))
        process.kill()
        process.join()
        deaths += process.exitcode != 0
    assert deaths
    _keep_house(database_url)
    assert _dump(database_url) == _dump(clean_url)


@pytest.mark.slow
def test_keeping_house_while_others_write_and_read(database_url: str, processes: ForkServerContext) -> None:
    store = open_store(database_url)
    ref = register_dataset(store, "org-0", "d", now=NOW)
    started = processes.Event()
    writer = processes.Process(target=_write_all, args=(database_url, started))
    writer.start()
    assert started.wait(60)
    rounds, window = 0, TimeRange(MONDAY, MONDAY + DAYS * DAY)
    while writer.is_alive():
        roll_up(store, ref, DAILY, now=NOW)
        retire(store, ref, DAILY, Limits({"base": APRIL}), now=NOW, actor="ada")
        found = series(store, ref, ["n"], window, granularity=DAILY)
        counts = {tuple(column) for column in (found.values["n"] == found.values["n"]).T.tolist()}
        assert all(len(set(one)) <= 2 for one in counts)
        rounds += 1
    writer.join()
    assert (writer.exitcode, rounds > 0) == (0, True)
    gone = forgotten_buckets(store, ref)
    everything = [MONDAY + day * DAY for day in range(DAYS)]
    assert [one.bucket for one in batches(store, ref)] == everything
    assert held(store, ref) == [bucket for bucket in everything if bucket not in gone]
    # Whatever was retired in between: written again, all of it is rolled up as if nothing had happened.
    for day in range(DAYS):
        write(store, ref, MONDAY + day * DAY, some_profile(day), fingerprint="last")
    roll_up(store, ref, DAILY, now=NOW)
    with store.read() as connection:
        assert connection.execute(sa.select(schema.changed_bucket)).all() == []
        counted = connection.execute(
            sa.select(schema.rollup.c.batches)
            .where(schema.rollup.c.grain == "month")
            .order_by(schema.rollup.c.bucket)
        )
        assert list(counted.scalars()) == [30, 15]
    store.close()
