from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring_pipeline.config.dataset import ProfileSettings
from monitoring_pipeline.errors import StoreError, UsageError
from monitoring_pipeline.profiling.profile import COUNTS, DATASET_COLUMN, ColumnProfile, DatasetProfile
from monitoring_pipeline.profiling.profiler import profile
from monitoring_pipeline.segments import OVERALL, segment_tags
from monitoring_pipeline.store import retention
from monitoring_pipeline.store.aggregates import Partition
from monitoring_pipeline.store.database import Store, open_store
from monitoring_pipeline.store.datasets import DatasetRef, register_dataset
from monitoring_pipeline.store.profiles import series as base_series
from monitoring_pipeline.store.query import Question, merged, merged_buckets, plan, segments_by, series
from monitoring_pipeline.store.rollups import roll_up
from monitoring_pipeline.timegrid import Granularity, TimeRange, from_micros, to_micros
from monitoring_pipeline_tests.store.stored_days import DAY, HOUR, MONDAY, write

DAILY, WEEKLY, MONTHLY = Granularity.DAILY, Granularity.WEEKLY, Granularity.MONTHLY
FIRST = datetime(2026, 3, 25, tzinfo=UTC)
DAYS = 45
WEB = "channel=web"


def orders(seed: int, rows: int = 25) -> pa.Table:
    """Amounts with nulls and outliers, a text, a flag and what the rows are segmented by."""
    generator = np.random.default_rng(seed)
    return pa.table(
        {
            "amount": pa.array(generator.lognormal(3, 1, rows), mask=generator.random(rows) < 0.1),
            "item": generator.choice(["cup", "plate", "fork", "knife"], rows),
            "gift": generator.random(rows) < 0.3,
            "channel": generator.choice(["web", "shop"], rows),
            "region": generator.choice(["EU", "US", "ASIA"], rows),
        }
    )


def where(table: pa.Table, column: str, value: str) -> pa.Table:
    """The rows with that value."""
    return table.filter(pa.array([one == value for one in table[column].to_pylist()], pa.bool_()))


def filled_in(tables: list[pa.Table]) -> list[float]:
    """The amounts that are there."""
    return [one for table in tables for one in table["amount"].to_pylist() if one is not None]


@dataclass(frozen=True)
class Filled:
    """A store of days, and the rows that they were made from."""

    store: Store
    ref: DatasetRef
    tables: dict[datetime, pa.Table]

    def rows(self, window: TimeRange, exclude: list[TimeRange], segment: str = OVERALL) -> pa.Table:
        """The rows of a question."""
        chosen = [
            table
            for day, table in self.tables.items()
            if day in window and not any(day in one for one in exclude)
        ]
        table = pa.concat_tables(chosen) if chosen else orders(0, 0)
        for name, value in segment_tags(segment).items():
            table = where(table, name, value)
        return table


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """45 days but for three, segmented by channel and region, rolled up, one of them written again since."""
    opened = open_store(f"sqlite:///{tmp_path_factory.mktemp('query') / 'store.db'}")
    ref = register_dataset(opened, "org-0", "orders")
    days = [day for day in range(DAYS) if day not in (5, 20, 21)]
    tables = {FIRST + day * DAY: orders(day) for day in days}
    for day, table in tables.items():
        write(opened, ref, day, profile(table, [["channel", "region"]]))
    roll_up(opened, ref, DAILY, now=FIRST + DAYS * DAY)
    late = FIRST + 30 * DAY
    tables[late] = orders(999, 40)
    write(opened, ref, late, profile(tables[late], [["channel", "region"]]), fingerprint="late")
    yield Filled(opened, ref, tables)
    opened.close()


def _same(found: ColumnProfile, expected: ColumnProfile) -> None:
    for name in (*COUNTS, "m_n", "min", "max"):
        assert getattr(found, name) == getattr(expected, name), name
    assert found.mean == pytest.approx(expected.mean, rel=1e-12, abs=1e-12)
    assert found.m2 == pytest.approx(expected.m2, rel=1e-9, abs=1e-9)
    assert found.distinct() == pytest.approx(expected.distinct(), nan_ok=True)
    assert found.top_items(10) == expected.top_items(10)


def _ranks_are_near(found: ColumnProfile, values: np.ndarray) -> None:
    """Quantiles are where they are in the values themselves, within the error that the sketch documents."""
    asked = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    quantiles = found.quantiles(asked.tolist())
    below = np.searchsorted(np.sort(values), quantiles, side="left") / len(values)
    upto = np.searchsorted(np.sort(values), quantiles, side="right") / len(values)
    error = found.rank_error + 1 / len(values)
    assert (below <= asked + error).all()
    assert (upto >= asked - error).all()


_days = st.integers(-3, DAYS + 3)
_segments = st.sampled_from(
    [OVERALL, WEB, "channel=shop", "region=EU", "region=ASIA", "channel=web&region=US", "channel=none"]
)


@settings(max_examples=40)
@given(
    st.tuples(_days, _days).map(sorted),
    st.lists(st.tuples(_days, st.integers(0, 6)), max_size=3),
    st.sets(_segments, min_size=1, max_size=3),
)
def test_any_window_of_any_segments_is_what_profiling_its_rows_gives(
    filled: Filled, days: list[int], exclude: list[tuple[int, int]], segments: set[str]
) -> None:
    window = TimeRange(FIRST + days[0] * DAY, FIRST + days[1] * DAY)
    out = [TimeRange(FIRST + day * DAY, FIRST + (day + length) * DAY) for day, length in exclude]
    question = Question(window, DAILY, segments=segments, exclude=out)
    found = merged(filled.store, filled.ref, question).profile
    for segment in segments:
        table = filled.rows(window, out, segment)
        assert found.rows.get(segment, 0) == len(table)
        if not len(table):
            continue
        expected = profile(table)
        assert found.columns[segment].keys() == expected.columns[OVERALL].keys()
        for name, column in expected.columns[OVERALL].items():
            _same(found.columns[segment][name], column)
        amounts = table["amount"].drop_null().to_numpy()
        if len(amounts):
            _ranks_are_near(found.columns[segment]["amount"], amounts)


@settings(max_examples=25)
@given(
    st.tuples(_days, _days).map(sorted),
    st.lists(st.tuples(_days, st.integers(0, 6)), max_size=2),
    _segments,
    st.sampled_from([DAILY, WEEKLY, MONTHLY]),
)
def test_a_series_says_of_each_bucket_what_profiling_its_rows_says(
    filled: Filled, days: list[int], exclude: list[tuple[int, int]], segment: str, by: Granularity
) -> None:
    window = TimeRange(FIRST + days[0] * DAY, FIRST + days[1] * DAY)
    out = [TimeRange(FIRST + day * DAY, FIRST + (day + length) * DAY) for day, length in exclude]
    names = ["n", "n_null", "mean", "m2", "max", "unique_est", "quantile_50", "n_columns"]
    answer = series(
        filled.store,
        filled.ref,
        names,
        Question(window, DAILY, columns=["amount", "item", DATASET_COLUMN], segments=[segment], exclude=out),
        by=by,
    )
    found = answer.series
    assert answer.notes == ()
    assert [from_micros(one) for one in found.buckets.tolist()] == list(window.buckets(by))
    for place, start in enumerate(window.buckets(by)):
        table = filled.rows(TimeRange(start, by.shift(start, 1)), out, segment)
        expected = profile(table)
        for row, (_, column) in enumerate(found.keys):
            told = {name: found.values[name][row, place] for name in names}
            if not len(table):
                assert np.isnan(list(told.values())).all()
            elif column == DATASET_COLUMN:
                assert (told["n"], told["n_columns"]) == (len(table), 5)
            else:
                scalars = expected.columns[OVERALL][column].scalars()
                for name in ("n", "n_null", "mean", "m2", "max", "unique_est"):
                    value = scalars[name]
                    assert told[name] == pytest.approx(np.nan if value is None else value, nan_ok=True), name
        if ("channel=none", "amount") not in found.keys and len(table):
            assert {column for _, column in found.keys} == {"amount", "item", DATASET_COLUMN}


def test_at_its_own_granularity_a_series_is_that_of_the_profiles(filled: Filled) -> None:
    window = TimeRange(FIRST, FIRST + DAYS * DAY)
    names = ["n", "mean", "quantile_50"]
    ours = series(filled.store, filled.ref, names, Question(window, DAILY)).series
    theirs = base_series(filled.store, filled.ref, names, window, granularity=DAILY)
    assert ours.keys == theirs.keys
    assert (ours.buckets == theirs.buckets).all()
    for name in names:
        np.testing.assert_array_equal(ours.values[name], theirs.values[name])


def test_an_answer_does_not_depend_on_what_has_been_rolled_up(tmp_path: Path) -> None:
    names = ["n", "mean", "m2", "min", "max", "unique_est", "n_columns", "quantile_50"]
    answers = []
    for rolled in (False, True):
        with open_store_at(tmp_path / f"{rolled}.db") as (store, ref):
            for day in range(20):
                write(store, ref, MONDAY + day * DAY, profile(orders(day), [["channel", "region"]]))
            if rolled:
                roll_up(store, ref, DAILY, now=MONDAY + 20 * DAY)
            question = Question(
                TimeRange(MONDAY, MONDAY + 20 * DAY),
                DAILY,
                columns=["amount", "item", DATASET_COLUMN],
                segments=[OVERALL, WEB],
            )
            answers.append(series(store, ref, names, question, by=WEEKLY).series)
    first, second = answers
    assert first.keys == second.keys
    for name in names:
        np.testing.assert_allclose(first.values[name], second.values[name], rtol=1e-9)


class open_store_at:  # noqa: N801  reads as a function
    """A store with one dataset."""

    def __init__(self, path: Path) -> None:
        self.store = open_store(f"sqlite:///{path}")

    def __enter__(self) -> tuple[Store, DatasetRef]:
        return self.store, register_dataset(self.store, "org-0", "orders")

    def __exit__(self, *_: object) -> None:
        self.store.close()


def test_both_databases_answer(store: Store, ref: DatasetRef) -> None:
    tables = [orders(day) for day in range(9)]
    for day, table in enumerate(tables):
        write(store, ref, MONDAY + day * DAY, profile(table, [["channel", "region"]]))
    roll_up(store, ref, DAILY, now=MONDAY + 9 * DAY)
    whole = pa.concat_tables(tables)
    web = where(whole, "channel", "web")
    question = Question(
        TimeRange(MONDAY, MONDAY + 9 * DAY), DAILY, segments=[WEB], columns=["amount", "item"]
    )
    answer = merged(store, ref, question)
    assert answer.blocks == {"base": 2, "week": 1}
    for name in ("amount", "item"):
        _same(answer.profile.columns[WEB][name], profile(web).columns[OVERALL][name])
    found = series(store, ref, ["n", "quantile_50"], question, by=WEEKLY).series
    assert found.values["n"].sum(axis=1).tolist() == [len(web), len(web)]
    assert segments_by(store, ref, ["region"]) == ["region=ASIA", "region=EU", "region=US"]


def test_all_data_that_is_not_stored_is_the_sum_of_its_segments(store: Store, ref: DatasetRef) -> None:
    tables = [orders(day) for day in range(3)]
    for day, table in enumerate(tables):
        whole = profile(table, [["channel", "region"], ["region"]])
        keys = whole.rows.keys() - {OVERALL}
        parts = DatasetProfile(
            {key: whole.rows[key] for key in keys}, {key: whole.columns[key] for key in keys}
        )
        write(store, ref, MONDAY + day * DAY, parts)
    found = merged(store, ref, Question(TimeRange(MONDAY, MONDAY + 3 * DAY), DAILY, segments=[OVERALL]))
    expected = profile(pa.concat_tables(tables))
    assert found.profile.rows == expected.rows
    _same(found.profile.columns[OVERALL]["amount"], expected.columns[OVERALL]["amount"])


def test_segments_that_came_later_are_told_by_finer_ones_before(store: Store, ref: DatasetRef) -> None:
    tables = [orders(day) for day in range(4)]
    for day, table in enumerate(tables):
        kinds = [["channel", "region"]] if day < 2 else [["channel"]]
        write(store, ref, MONDAY + day * DAY, profile(table, kinds))
    window = TimeRange(MONDAY, MONDAY + 4 * DAY)
    found = merged(store, ref, Question(window, DAILY, segments=[WEB]))
    rows = pa.concat_tables(tables)
    assert found.profile.rows[WEB] == len(where(rows, "channel", "web"))
    # The other way round nothing tells it: the later days know no regions.
    finer = Question(window, DAILY, segments=["channel=web&region=EU"])
    with pytest.raises(UsageError, match="channel=web&region=EU"):
        merged(store, ref, finer)
    answer = series(store, ref, ["n"], finer)
    assert len(answer.notes) == 1
    assert np.isnan(answer.series.values["n"]).tolist() == [[False, False, True, True]] * 5


def test_segments_that_were_put_together_cannot_be_taken_apart(store: Store, ref: DatasetRef) -> None:
    folded = profile(orders(1, 200), [["channel", "region"]], settings=ProfileSettings(max_segments=3))
    assert "channel=(other)&region=(other)" in folded.rows
    write(store, ref, MONDAY, folded)
    window = TimeRange(MONDAY, MONDAY + DAY)
    with pytest.raises(UsageError, match=r"put together as \(other\)"):
        merged(store, ref, Question(window, DAILY, segments=[WEB]))
    left = merged(store, ref, Question(window, DAILY, segments=[WEB, OVERALL]), partial=True)
    assert (left.profile.rows, len(left.notes)) == ({OVERALL: 200}, 1)


@pytest.mark.parametrize(
    ("rows", "key", "expected"),
    [
        ({"": 5, "a=1": 2, "a=2": 3}, "a=1", ("a=1",)),
        ({"": 5, "a=1": 2, "a=2": 3}, "a=3", ()),
        ({"": 5, "a=1": 2, "a=2": 3}, "", ("",)),
        ({"": 0, "a=1": 2, "a=2": 3}, "", ("a=1", "a=2")),
        ({"": 0}, "", ("",)),
        ({"": 5, "a=1&b=1": 2, "a=1&b=2": 3}, "a=1", ("a=1&b=1", "a=1&b=2")),
        ({"": 6, "a=1&b=1": 2, "a=1&b=2": 3}, "a=1", None),
        ({"": 5, "a=1&b=1": 5, "a=1&b=1&c=1": 2, "a=1&b=1&c=2": 3}, "a=1", ("a=1&b=1",)),
        ({"": 5, "a=1&b=1": 2, "a=(other)&b=(other)": 3}, "a=1", None),
        ({"": 5, "a=1": 5}, "b=1", None),
        ({"": 0}, "b=1", ()),
        ({}, "", ()),
    ],
)
def test_what_a_segment_is_made_of(rows: dict[str, int], key: str, expected: tuple[str, ...] | None) -> None:
    assert Partition(rows).parts_of(key) == expected


def _retired(store: Store, ref: DatasetRef) -> None:
    """Hours of nine days; those of the first week are gone, their days are there."""
    for hour in range(0, 24 * 9, 6):
        write(store, ref, MONDAY + hour * HOUR, profile(orders(hour, 5)))
    hourly = Granularity.HOURLY
    roll_up(store, ref, hourly, now=MONDAY + 9 * DAY)
    limits = retention.Limits({"base": MONDAY + 7 * DAY})
    retention.retire(store, ref, hourly, limits, now=MONDAY + 9 * DAY, actor="test")


def test_what_retention_removed_is_told_by_blocks_or_refused(store: Store, ref: DatasetRef) -> None:
    _retired(store, ref)
    hourly = Granularity.HOURLY
    whole = merged(store, ref, Question(TimeRange(MONDAY, MONDAY + 8 * DAY), hourly))
    assert (whole.profile.rows[OVERALL], whole.blocks) == (5 * 4 * 8, {"day": 1, "week": 1})
    cut = Question(TimeRange(MONDAY + 12 * HOUR, MONDAY + 2 * DAY), hourly)
    with pytest.raises(
        UsageError, match=r"removed the profiles of 2 .* from 2026-03-02T12:00 to 2026-03-02T18:00"
    ):
        merged(store, ref, cut)
    assert merged(store, ref, cut, partial=True).profile.rows[OVERALL] == 5 * 4
    hours = series(
        store, ref, ["n"], Question(TimeRange(MONDAY, MONDAY + 8 * DAY), hourly, columns=["amount"])
    )
    assert np.nansum(hours.series.values["n"]) == 5 * 4
    assert "retention" in hours.notes[0]
    days = series(
        store, ref, ["n"], Question(TimeRange(MONDAY, MONDAY + 8 * DAY), hourly, columns=["amount"]), by=DAILY
    )
    assert (days.series.values["n"].tolist(), days.notes) == ([[20.0] * 8], ())


def test_merged_buckets_are_whole_profiles_of_each(filled: Filled) -> None:
    window = TimeRange(FIRST, FIRST + 10 * DAY)
    buckets, profiles, notes = merged_buckets(
        filled.store, filled.ref, Question(window, DAILY, segments=[WEB]), by=WEEKLY
    )
    assert [from_micros(one) for one in buckets.tolist()] == list(window.buckets(WEEKLY))
    assert notes == ()
    for place, start in enumerate(buckets.tolist()):
        week = TimeRange(from_micros(start), from_micros(start) + timedelta(weeks=1))
        assert profiles[place].rows == {WEB: len(filled.rows(week, [], WEB))}


def test_quarter_hours_are_put_together_into_hours(store: Store, ref: DatasetRef) -> None:
    tables = [orders(quarter, 8) for quarter in range(8)]
    for quarter, table in enumerate(tables):
        write(store, ref, MONDAY + quarter * timedelta(minutes=15), profile(table))
    question = Question(
        TimeRange(MONDAY, MONDAY + 2 * HOUR),
        Granularity.QUARTER_HOURLY,
        columns=["amount"],
        segments=[OVERALL],
    )
    found = series(store, ref, ["n", "max"], question, by=Granularity.HOURLY).series
    assert found.values["n"].tolist() == [[32.0, 32.0]]
    expected = [max(filled_in(tables[first : first + 4])) for first in (0, 4)]
    assert found.values["max"].tolist() == [expected]


def test_what_makes_no_sense_is_refused(filled: Filled) -> None:
    window = TimeRange(FIRST, FIRST + DAY)
    with pytest.raises(UsageError, match="not segmented by country; it is by: channel, region"):
        merged(filled.store, filled.ref, Question(window, DAILY, segments=["country=UK"]))
    with pytest.raises(UsageError, match="is not a segment"):
        merged(filled.store, filled.ref, Question(window, DAILY, segments=["web"]))
    with pytest.raises(UsageError, match="weekly buckets cannot be put together into monthly"):
        series(filled.store, filled.ref, ["n"], Question(window, WEEKLY), by=MONTHLY)
    with pytest.raises(StoreError, match="no scalar colour"):
        series(filled.store, filled.ref, ["colour"], Question(window, DAILY))
    with pytest.raises(UsageError, match="not segmented by country"):
        segments_by(filled.store, filled.ref, ["country"])


def test_nothing_is_an_answer(store: Store, ref: DatasetRef) -> None:
    window = TimeRange(MONDAY, MONDAY + 2 * DAY)
    assert merged(store, ref, Question(window, DAILY)).profile == DatasetProfile()
    found = series(store, ref, ["n"], Question(window, DAILY, segments=[OVERALL])).series
    assert (found.keys, found.values["n"].shape) == ((), (0, 2))
    always = series(store, ref, ["n"], Question(TimeRange.always(), DAILY)).series
    assert len(always.buckets) == 0
    write(store, ref, MONDAY, profile(orders(1)))
    always = series(store, ref, ["n"], Question(TimeRange.always(), DAILY, columns=["amount"])).series
    assert (always.buckets.tolist(), always.values["n"].tolist()) == ([to_micros(MONDAY)], [[25.0]])
    assert plan(store, ref, Question(TimeRange(MONDAY, MONDAY), DAILY)).pieces == ()
