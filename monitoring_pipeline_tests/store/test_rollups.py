from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitoring_pipeline.profiling.profile import (
    DATASET_COLUMN,
    SCALARS,
    ColumnProfile,
    DatasetProfile,
    components_from_bytes,
    merge_datasets,
)
from monitoring_pipeline.profiling.profiler import profile
from monitoring_pipeline.store import blocks, rollups, schema
from monitoring_pipeline.store.database import Store, open_store
from monitoring_pipeline.store.datasets import DatasetRef, numbers, register_dataset
from monitoring_pipeline.store.profiles import batches, bucket_profiles, series
from monitoring_pipeline.store.rollups import Block, clean_blocks, levels, roll_up
from monitoring_pipeline.timegrid import Granularity, TimeRange, to_micros
from monitoring_pipeline_tests.store.stored_days import DAY, HOUR, MONDAY, some_table, write

START = MONDAY
LATER = datetime(2026, 5, 1, tzinfo=UTC)
HOURLY, DAILY = Granularity.HOURLY, Granularity.DAILY


def _block(
    store: Store, ref: DatasetRef, grain: str, start: datetime
) -> dict[tuple[str, str], ColumnProfile]:
    """The profiles of one block, by segment and column."""
    table, sketch = schema.profile, schema.profile_sketch
    same = [table.c[column.name] == sketch.c[column.name] for column in sketch.primary_key]
    query = (
        sa.select(table.c.segment, table.c.column, sketch.c.components, *(table.c[name] for name in SCALARS))
        .select_from(table.outerjoin(sketch, sa.and_(*same)))
        .where(table.c.dataset == ref.pk, table.c.grain == grain, table.c.bucket == to_micros(start))
    )
    with store.read() as connection:
        segments = {pk: key for key, pk in numbers(connection, ref, schema.segment).items()}
        columns = {pk: name for name, pk in numbers(connection, ref, schema.column_name).items()}
        return {
            (segments[segment], columns[column]): ColumnProfile.from_parts(
                dict(zip(SCALARS, values, strict=True)),
                components_from_bytes(image) if image is not None else {},
            )
            for segment, column, image, *values in connection.execute(query)
        }


def _scalars(store: Store, ref: DatasetRef, grain: str, start: datetime, column: str) -> dict[str, object]:
    table, names = schema.profile, schema.column_name
    query = (
        sa.select(*(table.c[name] for name in SCALARS))
        .join(names, names.c.pk == table.c.column)
        .where(table.c.dataset == ref.pk, table.c.grain == grain, table.c.bucket == to_micros(start))
        .where(names.c.name == column, table.c.segment == sa.select(schema.segment.c.pk).where(
            schema.segment.c.dataset == ref.pk, schema.segment.c.key == "").scalar_subquery())
    )  # fmt: skip
    with store.read() as connection:
        return dict(connection.execute(query).mappings().one())


def _clean(store: Store, ref: DatasetRef, granularity: Granularity) -> dict[str, dict[datetime, int]]:
    """Batches in each clean block by grain and start."""
    everything = range(to_micros(START - 400 * DAY), to_micros(LATER + 400 * DAY))
    with store.read() as connection:
        return {
            level.grain: {
                datetime.fromtimestamp(start / 1e6, UTC): batches
                for start, batches in clean_blocks(connection, ref, level, everything).items()
            }
            for level in levels(granularity)
        }


def _expect(found: dict[tuple[str, str], ColumnProfile], parts: list[DatasetProfile]) -> None:
    merged = merge_datasets(parts)
    expected = {
        (segment, column): one
        for segment, columns in merged.columns.items()
        for column, one in columns.items()
    }
    itself = {key for key in found if key[1] == DATASET_COLUMN}
    assert {key[0] for key in itself} == set(merged.rows)
    assert {key: one for key, one in found.items() if key not in itself} == expected
    assert {segment: found[segment, DATASET_COLUMN].n for segment in merged.rows} == merged.rows


def test_a_day_of_hours_is_the_merge_of_its_hours(store: Store, ref: DatasetRef) -> None:
    parts = [profile(some_table(hour), [["region"]]) for hour in range(24)]
    for hour, part in enumerate(parts):
        write(store, ref, START + hour * HOUR, part)
    report = roll_up(store, ref, HOURLY, now=START + DAY)
    assert report.made == (Block("day", START),)
    _expect(_block(store, ref, "day", START), parts)
    own = _scalars(store, ref, "day", START, DATASET_COLUMN)
    assert (own["n"], own["n_columns"], own["mean"]) == (24 * 30, 3, None)


def test_a_day_of_hours_counts_what_profiling_the_day_counts(store: Store, ref: DatasetRef) -> None:
    tables = [some_table(hour) for hour in range(24)]
    for hour, table in enumerate(tables):
        write(store, ref, START + hour * HOUR, profile(table))
    roll_up(store, ref, HOURLY, now=START + DAY)
    whole = profile(pa.concat_tables(tables)).columns[""]
    for column, expected in whole.items():
        found = _scalars(store, ref, "day", START, column)
        for name in (
            "n",
            "n_null",
            "n_true",
            "t_fractional",
            "t_string",
            "t_bool",
            "min",
            "max",
            "unique_est",
        ):
            assert found[name] == expected.scalars()[name], (column, name)
    age, whole_age = _scalars(store, ref, "day", START, "age"), whole["age"].scalars()
    assert math.isclose(float(str(age["mean"])), whole_age["mean"] or 0, rel_tol=1e-12)
    assert math.isclose(float(str(age["m2"])), whole_age["m2"] or 0, rel_tol=1e-9)
    values = np.sort(pa.concat_tables(tables)["age"].drop_null().to_numpy())
    rank = np.searchsorted(values, float(str(age["quantile_50"]))) / len(values)
    assert abs(rank - 0.5) < 0.02


def test_weeks_and_months_are_merged_from_days(store: Store, ref: DatasetRef) -> None:
    first = datetime(2026, 3, 30, tzinfo=UTC)  # a Monday; its week belongs to two months
    parts = {day: [profile(some_table(10 * day + hour)) for hour in range(2)] for day in range(7)}
    for day, hours in parts.items():
        for hour, part in enumerate(hours):
            write(store, ref, first + day * DAY + hour * HOUR, part)
    roll_up(store, ref, HOURLY, now=LATER)
    assert _clean(store, ref, HOURLY) == {
        "day": {first + day * DAY: 2 for day in range(7)},
        "week": {first: 14},
        "month": {datetime(2026, 3, 1, tzinfo=UTC): 4, datetime(2026, 4, 1, tzinfo=UTC): 10},
    }
    days = [merge_datasets(hours) for hours in parts.values()]
    _expect(_block(store, ref, "week", first), days)
    _expect(_block(store, ref, "month", datetime(2026, 4, 1, tzinfo=UTC)), days[2:])


def test_a_block_is_made_when_its_time_is_over(store: Store, ref: DatasetRef) -> None:
    write(store, ref, START, profile(some_table(0)))
    assert roll_up(store, ref, DAILY, now=START + 6 * DAY).made == ()
    assert roll_up(store, ref, DAILY, now=START + 7 * DAY).made == (Block("week", START),)
    assert roll_up(store, ref, DAILY, now=START + 8 * DAY).made == ()
    assert roll_up(store, ref, DAILY, now=LATER).made == (Block("month", START - DAY),)


def test_when_all_is_done_nothing_is_left_to_look_at(store: Store, ref: DatasetRef) -> None:
    write(store, ref, START, profile(some_table(0)))
    roll_up(store, ref, DAILY, now=LATER)
    with store.read() as connection:
        assert connection.execute(sa.select(schema.changed_bucket)).all() == []
    assert roll_up(store, ref, DAILY, now=LATER) == rollups.RolledUp((), ())


@pytest.mark.parametrize("granularity", [Granularity.WEEKLY, Granularity.MONTHLY])
def test_weeks_and_months_have_no_roll_ups(store: Store, ref: DatasetRef, granularity: Granularity) -> None:
    write(store, ref, START, profile(some_table(0)))
    assert roll_up(store, ref, granularity, now=LATER).made == ()
    assert levels(granularity) == ()


def test_a_bucket_that_is_written_again_makes_its_blocks_again_and_no_others(
    store: Store, ref: DatasetRef
) -> None:
    parts = [profile(some_table(day), [["region"]]) for day in range(20)]
    for day, part in enumerate(parts):
        write(store, ref, START + day * DAY, part)
    roll_up(store, ref, DAILY, now=LATER)
    parts[8] = profile(some_table(99, rows=7).drop_columns("ok"), [["region"]])
    write(store, ref, START + 8 * DAY, parts[8], fingerprint="repaired")
    assert _clean(store, ref, DAILY) == {"week": {START: 7, START + 14 * DAY: 6}, "month": {}}
    report = roll_up(store, ref, DAILY, now=LATER)
    assert report.made == (Block("week", START + 7 * DAY), Block("month", START - DAY))
    _expect(_block(store, ref, "week", START + 7 * DAY), parts[7:14])
    _expect(_block(store, ref, "month", START - DAY), parts)


def test_a_day_that_comes_late_dirties_the_week_that_did_without_it(store: Store, ref: DatasetRef) -> None:
    for day in (0, 1, 3):
        write(store, ref, START + day * DAY, profile(some_table(day)))
    roll_up(store, ref, DAILY, now=LATER)
    write(store, ref, START + 2 * DAY, profile(some_table(2)))
    assert _clean(store, ref, DAILY)["week"] == {}
    roll_up(store, ref, DAILY, now=LATER)
    assert _clean(store, ref, DAILY)["week"] == {START: 4}


def test_readers_of_the_base_grain_never_see_a_block(store: Store, ref: DatasetRef) -> None:
    for day in range(7):
        write(store, ref, START + day * DAY, profile(some_table(day)))
    window = TimeRange(START - 31 * DAY, START + 31 * DAY)
    before = bucket_profiles(store, ref, window), batches(store, ref)
    numbers_before = series(store, ref, ["n"], window, granularity=DAILY).values["n"]
    roll_up(store, ref, DAILY, now=LATER)
    assert (bucket_profiles(store, ref, window), batches(store, ref)) == before
    np.testing.assert_array_equal(
        series(store, ref, ["n"], window, granularity=DAILY).values["n"], numbers_before
    )


def test_a_write_in_the_middle_of_a_merge_wins(
    store: Store, ref: DatasetRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(7):
        write(store, ref, START + day * DAY, profile(some_table(day)))
    merged, late = rollups.merged_rows, profile(some_table(50))

    def slowly(*arguments: object) -> list[object]:
        rows = list(merged(*arguments))  # pyright: ignore[reportArgumentType]
        monkeypatch.setattr(rollups, "merged_rows", merged)
        if not store.is_sqlite:
            write(store, ref, START, late, fingerprint="late")
        return rows

    if (
        store.is_sqlite
    ):  # a reader and a writer at once need two connections, which a test in one thread can have
        other = open_store(str(store.url))

        def slowly(*arguments: object) -> list[object]:
            rows = list(merged(*arguments))  # pyright: ignore[reportArgumentType]
            monkeypatch.setattr(rollups, "merged_rows", merged)
            write(other, ref, START, late, fingerprint="late")
            return rows

    monkeypatch.setattr(rollups, "merged_rows", slowly)
    assert Block("week", START) not in roll_up(store, ref, DAILY, now=START + 7 * DAY).made
    assert _clean(store, ref, DAILY)["week"] == {}
    roll_up(store, ref, DAILY, now=START + 7 * DAY)
    parts = [late, *(profile(some_table(day)) for day in range(1, 7))]
    _expect(_block(store, ref, "week", START), parts)


def test_slices_of_any_size_give_the_same_block(
    store: Store, ref: DatasetRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [profile(some_table(day), [["region"]]) for day in range(7)]
    for day, part in enumerate(parts):
        write(store, ref, START + day * DAY, part)
    for size in (1, 14, 25):
        monkeypatch.setattr(blocks, "PROFILES_AT_ONCE", size)
        write(store, ref, START, parts[0])
        assert Block("week", START) in roll_up(store, ref, DAILY, now=LATER).made
        _expect(_block(store, ref, "week", START), parts)


def test_datasets_do_not_see_each_others_changes(store: Store, ref: DatasetRef) -> None:
    other = register_dataset(store, "org-1", "lead-scoring")
    write(store, ref, START, profile(some_table(1)))
    write(store, other, START, profile(some_table(2)))
    roll_up(store, other, DAILY, now=LATER)
    assert _clean(store, ref, DAILY)["week"] == {}
    _expect(_block(store, other, "week", START), [profile(some_table(2))])


_values = st.one_of(
    st.lists(st.one_of(st.none(), st.floats(width=32)), max_size=12).map(lambda v: pa.array(v, pa.float64())),
    st.lists(st.one_of(st.none(), st.text(max_size=3)), max_size=12).map(lambda v: pa.array(v, pa.string())),
    st.lists(st.one_of(st.none(), st.integers(-5, 5)), max_size=12).map(lambda v: pa.array(v, pa.int64())),
)
_days = st.dictionaries(
    st.integers(0, 40), st.dictionaries(st.sampled_from("abc"), _values, max_size=3), min_size=1, max_size=8
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(first=_days, second=_days, between=st.booleans())
def test_whatever_is_written_in_whatever_order_the_blocks_are_the_merge_of_what_is_there(
    store: Store,
    first: dict[int, dict[str, pa.Array]],
    second: dict[int, dict[str, pa.Array]],
    *,
    between: bool,
) -> None:
    ref = register_dataset(store, "org-0", f"d{hash((tuple(first), tuple(second), between, id(first)))}")
    held: dict[int, DatasetProfile] = {}
    for turn, days in enumerate((first, second)):
        for day, columns in days.items():
            rows = min([len(one) for one in columns.values()], default=0)
            held[day] = profile(pa.table({name: one.slice(0, rows) for name, one in columns.items()}))
            write(store, ref, START + day * DAY, held[day], fingerprint=f"{turn}")
        if between:
            roll_up(store, ref, DAILY, now=LATER)
    roll_up(store, ref, DAILY, now=LATER)
    for level in levels(DAILY):
        groups: dict[datetime, list[DatasetProfile]] = {}
        for day in sorted(held):
            groups.setdefault(level.granularity.floor(START + day * DAY), []).append(held[day])
        assert _clean(store, ref, DAILY)[level.grain] == {
            start: len(parts) for start, parts in groups.items()
        }
        for start, parts in groups.items():
            _expect(_block(store, ref, level.grain, start), parts)
