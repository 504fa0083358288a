from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.profiling.profile import (
    DATASET_COLUMN,
    SCALARS,
    ColumnProfile,
    DatasetProfile,
)
from monitoring_pipeline.profiling.profiler import profile
from monitoring_pipeline.store import schema, selection
from monitoring_pipeline.store.database import Store, open_store
from monitoring_pipeline.store.datasets import DatasetRef, columns, register_dataset, segments
from monitoring_pipeline.store.profiles import (
    batches,
    bucket_profiles,
    reference_profile,
    series,
    write_batch,
    write_reference,
)
from monitoring_pipeline.store.results import calculated, results, write_results
from monitoring_pipeline.timegrid import Granularity, TimeRange, to_micros

DAY = timedelta(days=1)
START = datetime(2026, 3, 1, tzinfo=UTC)
WEEK = TimeRange(START, START + 7 * DAY)
DAILY = Granularity.DAILY


def _table(*, rows: int = 6, ages: list[int | None] | None = None) -> pa.Table:
    regions = ["EU", "US", "EU"]
    return pa.table(
        {
            "age": pa.array(ages or [20 + number for number in range(rows)], pa.int64()),
            "region": [regions[number % 3] for number in range(rows)],
            "ok": [number % 2 == 0 for number in range(rows)],
        }
    )


def _write(
    store: Store,
    ref: DatasetRef,
    day: int,
    content: DatasetProfile,
    *,
    fingerprint: str = "f1",
    hours: int = 30,
    files: int = 1,
) -> int:
    bucket = START + day * DAY
    return write_batch(
        store,
        ref,
        bucket,
        content,
        fingerprint=fingerprint,
        first_upload=bucket + timedelta(hours=25),
        last_upload=bucket + timedelta(hours=26),
        files=files,
        quality={"bad_timestamp": 2},
        now=bucket + timedelta(hours=hours),
    )


def _dump(store: Store) -> dict[str, list[tuple[object, ...]]]:
    tables = (schema.batch, schema.profile, schema.profile_sketch)
    with store.read() as connection:
        return {
            table.name: [
                tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))
            ]
            for table in tables
        }


def test_the_store_has_a_column_for_every_scalar() -> None:
    assert schema.PROFILE_SCALARS == SCALARS


def test_a_batch_comes_back_as_it_was_written(store: Store, ref: DatasetRef) -> None:
    content = profile(_table(), [["region"]])
    assert _write(store, ref, 0, content) == 1
    (row,) = batches(store, ref, WEEK)
    assert (row.segment, row.bucket, row.rows, row.files, row.version) == ("", START, 6, 1, 1)
    assert (row.fingerprint, row.quality) == ("f1", {"bad_timestamp": 2})
    assert (row.first_upload, row.last_upload) == (START + timedelta(hours=25), START + timedelta(hours=26))
    assert row.profiled_at == START + timedelta(hours=30)
    assert [one.rows for one in batches(store, ref, segment="region=EU")] == [4]
    assert batches(store, ref, segment="region=MARS") == []
    assert segments(store, ref) == ["", "region=EU", "region=US"]
    assert columns(store, ref) == ["age", "ok", "region"]


def test_batches_are_ascending_and_within_the_window(store: Store, ref: DatasetRef) -> None:
    for day in (5, 1, 9, 3):
        _write(store, ref, day, profile(_table()))
    assert [row.bucket for row in batches(store, ref, TimeRange(START + DAY, START + 9 * DAY))] == [
        START + day * DAY for day in (1, 3, 5)
    ]
    assert len(batches(store, ref)) == 4


def test_profiles_come_back_whole(store: Store, ref: DatasetRef) -> None:
    content = profile(_table(ages=[1, 2, None, 4, 5, 6]), [["region"]])
    _write(store, ref, 2, content)
    found = bucket_profiles(store, ref, WEEK)
    expected = {
        (segment, column): {to_micros(START + 2 * DAY): one}
        for segment, by_column in content.columns.items()
        for column, one in by_column.items()
    }
    assert found == expected


def test_whole_profiles_can_be_chosen_by_column_and_segment(store: Store, ref: DatasetRef) -> None:
    _write(store, ref, 0, profile(_table(), [["region"]]))
    assert list(bucket_profiles(store, ref, WEEK, columns=["age"], segments=["region=EU"])) == [
        ("region=EU", "age")
    ]
    assert set(bucket_profiles(store, ref, WEEK, segments=[""])) == {("", "age"), ("", "ok"), ("", "region")}
    assert bucket_profiles(store, ref, WEEK, columns=["nothing"]) == {}
    (rows,) = bucket_profiles(store, ref, WEEK, columns=[DATASET_COLUMN], segments=[""]).values()
    assert [one.n for one in rows.values()] == [6]


def test_a_series_has_every_bucket_of_the_window_and_gaps_are_nan(store: Store, ref: DatasetRef) -> None:
    for day in (0, 2):
        _write(
            store, ref, day, profile(_table(ages=[day, day + 2, None]).slice(0, 3) if False else _ages(day))
        )
    found = series(store, ref, ["n", "n_null", "mean"], WEEK, granularity=DAILY, columns=["age"])
    assert found.keys == (("", "age"),)
    assert found.buckets.dtype == np.int64
    assert found.buckets.tolist() == [to_micros(START + day * DAY) for day in range(7)]
    nan = np.nan
    np.testing.assert_array_equal(found.values["n"], [[3, nan, 3, nan, nan, nan, nan]])
    np.testing.assert_array_equal(found.values["n_null"], [[1, nan, 1, nan, nan, nan, nan]])
    np.testing.assert_array_equal(found.values["mean"], [[1, nan, 3, nan, nan, nan, nan]])


def _ages(day: int) -> pa.Table:
    return pa.table({"age": pa.array([day, day + 2, None], pa.int64())})


def test_series_keys_are_sorted_and_values_belong_to_their_keys(store: Store, ref: DatasetRef) -> None:
    # The overall segment comes first in the database because it is written first; "b" is known before "a".
    _write(store, ref, 0, profile(pa.table({"b": [1.0, 3.0], "s": ["x", "y"]}), [["s"]]))
    _write(store, ref, 1, profile(pa.table({"a": [10.0, 30.0], "s": ["w", "x"]}), [["s"]]))
    found = series(
        store, ref, ["max"], TimeRange(START, START + 2 * DAY), granularity=DAILY, columns=["a", "b"]
    )
    expected = {
        ("", "a"): [np.nan, 30],
        ("", "b"): [3, np.nan],
        ("s=w", "a"): [np.nan, 10],
        ("s=x", "a"): [np.nan, 30],
        ("s=x", "b"): [1, np.nan],
        ("s=y", "b"): [3, np.nan],
    }
    assert found.keys == tuple(expected)
    np.testing.assert_array_equal(found.values["max"], list(expected.values()))


@pytest.mark.parametrize("chosen_columns", [None, ["age"], ["age", "ok"], [DATASET_COLUMN], [], ["unknown"]])
@pytest.mark.parametrize("chosen_segments", [None, [""], ["region=EU", "region=US"], []])
def test_every_choice_gives_the_same_numbers_as_the_whole(
    store: Store, ref: DatasetRef, chosen_columns: list[str] | None, chosen_segments: list[str] | None
) -> None:
    for day in range(3):
        _write(store, ref, day, profile(_table(rows=6 + day), [["region"]]))
    everything = {
        key: row
        for asked in (None, [DATASET_COLUMN])
        for found in [series(store, ref, ["n"], WEEK, granularity=DAILY, columns=asked)]
        for key, row in zip(found.keys, found.values["n"].tolist(), strict=True)
    }
    found = series(
        store, ref, ["n"], WEEK, granularity=DAILY, columns=chosen_columns, segments=chosen_segments
    )
    expected = [
        key
        for key in sorted(everything)
        if (key[1] in chosen_columns if chosen_columns is not None else key[1] != DATASET_COLUMN)
        and (chosen_segments is None or key[0] in chosen_segments)
    ]
    assert list(found.keys) == expected
    assert found.values["n"].shape == (len(expected), 7)
    np.testing.assert_array_equal(
        found.values["n"], np.array([everything[key] for key in expected]).reshape(len(expected), 7)
    )


def test_the_row_of_a_segment_holds_its_rows_and_columns(store: Store, ref: DatasetRef) -> None:
    _write(store, ref, 0, profile(_table(), [["region"]]))
    found = series(
        store,
        ref,
        ["n", "n_columns"],
        TimeRange(START, START + DAY),
        granularity=DAILY,
        columns=[DATASET_COLUMN],
    )
    assert found.keys == (("", ""), ("region=EU", ""), ("region=US", ""))
    assert found.values["n"].ravel().tolist() == [6, 4, 2]
    assert found.values["n_columns"].ravel().tolist() == [3, 3, 3]


def test_a_series_of_nothing_still_has_its_axis(store: Store, ref: DatasetRef) -> None:
    found = series(store, ref, ["n"], WEEK, granularity=DAILY)
    assert (found.keys, len(found.buckets), found.values["n"].shape) == ((), 7, (0, 7))
    _write(store, ref, 20, profile(_table()))
    found = series(store, ref, ["n"], WEEK, granularity=DAILY)
    assert (found.keys, len(found.buckets), found.values["n"].shape) == ((), 7, (0, 7))
    empty = series(store, ref, ["n"], TimeRange(START, START), granularity=DAILY)
    assert (empty.keys, len(empty.buckets), empty.values["n"].shape) == ((), 0, (0, 0))


def test_an_unknown_scalar_is_refused_by_name(store: Store, ref: DatasetRef) -> None:
    with pytest.raises(StoreError, match="no scalar median"):
        series(store, ref, ["median"], WEEK, granularity=DAILY)


@pytest.mark.parametrize("granularity", list(Granularity))
def test_series_work_at_every_granularity(store: Store, ref: DatasetRef, granularity: Granularity) -> None:
    first = granularity.floor(START)
    for step in (0, 2):
        _write_at(store, ref, granularity.shift(first, step))
    window = TimeRange(first, granularity.shift(first, 4))
    found = series(store, ref, ["n"], window, granularity=granularity, columns=["age"])
    assert found.buckets.tolist() == [to_micros(granularity.shift(first, step)) for step in range(4)]
    np.testing.assert_array_equal(found.values["n"], [[3, np.nan, 3, np.nan]])


def _write_at(store: Store, ref: DatasetRef, bucket: datetime) -> None:
    write_batch(
        store, ref, bucket, profile(_ages(0)), fingerprint="f", first_upload=bucket, last_upload=bucket,
        files=1, quality={}, now=bucket,
    )  # fmt: skip


def test_more_buckets_than_a_query_names_one_by_one(
    store: Store, ref: DatasetRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "LISTED_BUCKETS", 3)
    for day in range(5):
        _write(store, ref, day, profile(_table(), [["region"]]))
    found = series(store, ref, ["n"], WEEK, granularity=DAILY, columns=["age"], segments=["region=EU"])
    np.testing.assert_array_equal(found.values["n"], [[4] * 5 + [np.nan] * 2])


def test_writing_the_same_again_changes_nothing(store: Store, ref: DatasetRef) -> None:
    content = profile(_table(), [["region"]])
    _write(store, ref, 0, content)
    before = _dump(store)
    assert _write(store, ref, 0, content, hours=99) == 1
    assert _dump(store) == before


def test_new_data_replaces_the_bucket_wholly_and_raises_its_version(store: Store, ref: DatasetRef) -> None:
    _write(store, ref, 0, profile(_table(), [["region"]]))
    _write(store, ref, 1, profile(_table(), [["region"]]))
    smaller = profile(pa.table({"age": [1, 2]}))
    assert _write(store, ref, 0, smaller, fingerprint="f2", files=2) == 2
    day = TimeRange(START, START + DAY)
    assert list(bucket_profiles(store, ref, day)) == [("", "age")]
    assert [(row.rows, row.files, row.version) for row in batches(store, ref, day)] == [(2, 2, 2)]
    assert batches(store, ref, day, segment="region=EU") == []
    assert len(bucket_profiles(store, ref, TimeRange(START + DAY, START + 2 * DAY))) == 9


def test_other_segments_of_the_same_data_keep_the_version(store: Store, ref: DatasetRef) -> None:
    _write(store, ref, 0, profile(_table()))
    assert _write(store, ref, 0, profile(_table(), [["region"]])) == 1
    assert len(bucket_profiles(store, ref, WEEK)) == 9


def test_an_empty_batch_is_a_batch(store: Store, ref: DatasetRef) -> None:
    _write(store, ref, 0, DatasetProfile())
    assert [row.rows for row in batches(store, ref)] == [0]
    found = series(
        store, ref, ["n"], TimeRange(START, START + DAY), granularity=DAILY, columns=[DATASET_COLUMN]
    )
    assert found.values["n"].tolist() == [[0.0]]


def _result(day: int, *, version: int | None, analyzer: str = "a") -> dict[str, object]:
    bucket = to_micros(START + day * DAY)
    return {
        "analysis_id": f"{analyzer}-{day}", "result_id": "r", "run_id": "run", "analyzer_id": analyzer,
        "analyzer_version": "v", "segment": "", "column": "age", "bucket": bucket, "created": bucket,
        "granularity": "daily", "target_level": "column", "metric": "mean", "analyzer_type": "fixed",
        "anomaly_count": 0, "profile_version": version,
    }  # fmt: skip


def test_late_batch_marks_results_that_saw_an_older_version_stale(store: Store, ref: DatasetRef) -> None:
    for day in (0, 1):
        _write(store, ref, day, profile(_table()))
    write_results(
        store, ref, [_result(0, version=1), _result(0, version=2, analyzer="b"), _result(1, version=1)]
    )
    write_results(store, ref, [_result(0, version=None, analyzer="c")])
    _write(store, ref, 0, profile(_table()))
    assert not any(row["stale"] for row in results(store, ref))
    _write(store, ref, 0, profile(_table(rows=7)), fingerprint="f2")
    assert {row["analysis_id"]: row["stale"] for row in results(store, ref)} == {
        "a-0": True,
        "b-0": False,
        "c-0": True,
        "a-1": False,
    }


def test_a_result_that_is_written_after_newer_data_came_is_stale_from_the_start(
    store: Store, ref: DatasetRef
) -> None:
    _write(store, ref, 0, profile(_table()))
    _write(store, ref, 0, profile(_table(rows=7)), fingerprint="f2")
    write_results(store, ref, [_result(0, version=1), _result(0, version=2, analyzer="b")])
    assert {row["analysis_id"]: row["stale"] for row in results(store, ref)} == {"a-0": True, "b-0": False}


def test_late_column_leaves_the_results_of_the_others_fresh(store: Store, ref: DatasetRef) -> None:
    table = pa.table({"age": [30, 40, 50]})
    _write(store, ref, 0, profile(table))
    write_results(store, ref, [_result(0, version=1)])
    _write(store, ref, 0, profile(table.append_column("outcome", [[True, False, True]])), fingerprint="f2")
    assert not any(row["stale"] for row in results(store, ref))


def test_late_batch_forgets_the_evaluations_of_its_bucket(store: Store, ref: DatasetRef) -> None:
    _write(store, ref, 0, profile(_table()))
    write_results(
        store, ref, [_result(0, version=1)], evaluated=[("quiet", "v", START), ("quiet", "v", START + DAY)]
    )
    _write(store, ref, 0, profile(_table(rows=7)), fingerprint="f2")
    assert calculated(store, ref) == {("quiet", "v", to_micros(START + DAY))}


def test_datasets_of_two_organisations_are_apart(store: Store, ref: DatasetRef) -> None:
    other = register_dataset(store, "org-1", ref.dataset_id)
    _write(store, ref, 0, profile(_table()))
    _write(store, other, 0, profile(_ages(5)))
    assert [row.rows for row in batches(store, other)] == [3]
    assert set(bucket_profiles(store, other, WEEK)) == {("", "age")}
    assert series(store, other, ["n"], WEEK, granularity=DAILY).keys == (("", "age"),)


def test_awkward_names_survive(store: Store, ref: DatasetRef) -> None:
    names = ["select", "a b", 'quo"te', "ünï", "x" * 300, "%s", ":colon", "?", "日本"]
    _write(store, ref, 0, profile(pa.table({name: [1, 2] for name in names})))
    assert columns(store, ref) == sorted(names)
    for name in names:
        assert series(store, ref, ["n"], WEEK, granularity=DAILY, columns=[name]).keys == (("", name),)


def test_a_thousand_columns_can_be_asked_for_by_name(store: Store, ref: DatasetRef) -> None:
    names = [f"c{number:04}" for number in range(1200)]
    one = profile(pa.table({"x": [1, 2, 3]})).columns[""]["x"]
    _write(store, ref, 0, DatasetProfile({"": 3}, {"": dict.fromkeys(names, one)}))
    found = series(store, ref, ["n"], TimeRange(START, START + DAY), granularity=DAILY, columns=names)
    assert found.keys == tuple(("", name) for name in names)
    assert found.values["n"].tolist() == [[3.0]] * 1200


def test_unknown_components_are_carried_through_the_store(store: Store, ref: DatasetRef) -> None:
    one = ColumnProfile(n=3, extra={"future.v9": b"\x00\x01\xff"})
    _write(store, ref, 0, DatasetProfile({"": 3}, {"": {"x": one}}))
    assert bucket_profiles(store, ref, WEEK)["", "x"] == {to_micros(START): one}


@pytest.fixture(scope="module")
def sqlite_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(f"sqlite:///{tmp_path_factory.mktemp('store') / 'store.db'}")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    values=st.lists(st.none() | st.floats(width=64), max_size=60),
    texts=st.lists(
        st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), max_size=60
    ),
)
def test_any_values_survive_the_store(
    sqlite_store: Store, values: list[float | None], texts: list[str | None]
) -> None:
    ref = register_dataset(sqlite_store, "org-0", "any")
    count = min(len(values), len(texts))
    table = pa.table({"v": pa.array(values[:count], pa.float64()), "t": pa.array(texts[:count], pa.string())})
    content = profile(table)
    _write(sqlite_store, ref, 0, content)
    found = bucket_profiles(sqlite_store, ref, WEEK)
    assert {key: list(by_bucket.values()) for key, by_bucket in found.items()} == {
        ("", column): [one] for column, one in content.columns[""].items()
    }


def test_a_reference_profile_is_kept_under_its_name_and_replaced(store: Store, ref: DatasetRef) -> None:
    content = profile(_table(), [["region"]])
    write_reference(store, ref, "ref-1", content, START)
    assert reference_profile(store, ref, "ref-1") == {
        (segment, column): one
        for segment, by_column in content.columns.items()
        for column, one in by_column.items()
    }
    assert list(reference_profile(store, ref, "ref-1", columns=["age"], segments=[""])) == [("", "age")]
    assert reference_profile(store, ref, "ref-1", columns=[DATASET_COLUMN], segments=[""])["", ""].n == 6
    assert reference_profile(store, ref, "other") == {}
    write_reference(store, ref, "ref-1", profile(_ages(1)), START + DAY)
    assert set(reference_profile(store, ref, "ref-1")) == {("", "age")}
