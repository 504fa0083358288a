"""Columns that come with outcomes, days after the rows: profiled like any other, but none of the rows' columns."""

from __future__ import annotations

import itertools

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.profiling import profile
from monitoring_pipeline.profiling.profile import ColumnProfile, DatasetProfile, merge_profiles
from monitoring_pipeline.profiling.profiler import Profiler

ROWS = pa.table({"x": [1, 2, 3], "region": ["EU", "EU", "US"]})
OUTCOMES = pa.table({"came": [True, False, True], "x": [1, 2, 3], "region": ["EU", "EU", "US"]})


def made(*, rows: bool = True, outcomes: bool = True) -> DatasetProfile:
    profiler = Profiler([["region"]])
    if outcomes:
        profiler.update(OUTCOMES, adds_rows=False)
    if rows:
        profiler.update(ROWS)
    return profiler.finish()


def width(found: DatasetProfile, segment: str = "") -> float | None:
    return found.dataset_scalars(segment)["n_columns"]


def test_a_dataset_is_as_wide_as_its_rows_before_and_after_outcomes_come() -> None:
    for segment in ("", "region=EU", "region=US"):
        assert [width(made(outcomes=outcomes), segment) for outcomes in (False, True)] == [2, 2]
    columns = made().columns[""]
    assert {name: column.late for name, column in columns.items()} == {
        "x": False,
        "region": False,
        "came": True,
    }
    assert columns["came"].scalars()["n_columns"] == 0
    assert columns["x"].scalars()["n_columns"] is None
    assert columns["came"].n_true == 2


def test_rows_and_outcomes_may_be_profiled_apart_and_merged() -> None:
    merged = made(outcomes=False).merge(made(rows=False))
    assert width(merged) == width(made()) == 2
    assert merged.columns[""]["came"].late


def test_it_is_known_after_reading_back() -> None:
    read = DatasetProfile.from_bytes(made().to_bytes())
    assert (width(read), read.columns[""]["came"].late) == (2, True)
    column = made().columns[""]["came"]
    again = ColumnProfile.from_parts(column.scalars(), column.components())
    assert (again.late, again.derived) == (True, column.derived)


KINDS = {
    "nothing": ColumnProfile(),
    "rows": profile(pa.table({"x": [1, 2]})).columns[""]["x"],
    "outcomes": profile(pa.table({"x": [3]})).columns[""]["x"].marked_late(),
}


@given(st.lists(st.sampled_from([*KINDS]), min_size=1, max_size=5))
def test_a_merged_column_is_late_when_all_that_has_values_is(kinds: list[str]) -> None:
    parts = [KINDS[kind] for kind in kinds]
    wanted = "outcomes" in kinds and "rows" not in kinds
    assert merge_profiles(parts).late == wanted
    for cut in range(1, len(parts)):
        halves = [merge_profiles(parts[:cut]), merge_profiles(parts[cut:])]
        assert merge_profiles(halves).late == wanted
    assert all(
        merge_profiles(order).late == wanted for order in itertools.islice(itertools.permutations(parts), 24)
    )
