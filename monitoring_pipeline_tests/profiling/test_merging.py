"""Profiles that were made elsewhere become the profile of a bucket."""

from __future__ import annotations

from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring_pipeline.config.dataset import ColumnRoles, ProfileSettings
from monitoring_pipeline.profiling import DatasetProfile, merge_datasets, profile
from monitoring_pipeline.profiling.merging import ProfileMerger, rows_in


def sales(number: int, *, segments: list[list[str]], start: int = 0) -> DatasetProfile:
    """Sales `start` to `start + number`: every second in the EU, every third gold."""
    rows = np.arange(start, start + number)
    table = pa.table(
        {
            "region": pa.array(np.where(rows % 2 == 0, "EU", "US")),
            "tier": pa.array(np.where(rows % 3 == 0, "gold", "tin")),
            "price": pa.array(rows.astype(np.float64)),
        }
    )
    return profile(table, segments)


def only(found: DatasetProfile, *names: str) -> list[DatasetProfile]:
    """The segments by just these columns, each as the profile of a file of its own."""
    return [
        DatasetProfile({key: rows}, {key: found.columns[key]})
        for key, rows in found.rows.items()
        if sorted(tag.split("=")[0] for tag in key.split("&") if tag) == sorted(names)
    ]


def merged(*parts: DatasetProfile, segments: tuple[tuple[str, ...], ...] = ()) -> DatasetProfile:
    merger = ProfileMerger(segments)
    for part in parts:
        merger.update(part)
    return merger.finish()


def test_all_data_is_what_its_segments_are_together() -> None:
    whole = sales(120, segments=[["region"]])
    found = merged(*only(whole, "region"))
    assert found.rows == {"": 120, "region=EU": 60, "region=US": 60}
    assert (found.columns[""]["price"].mean, found.columns[""]["price"].max) == (59.5, 119.0)


def test_coarser_segments_are_merged_out_of_finer_ones() -> None:
    whole = sales(120, segments=[["region", "tier"]])
    found = merged(*only(whole, "region", "tier"), segments=(("tier",),))
    # Forty of 120 numbers are divisible by 3, half of them even.
    assert found.rows["tier=gold"] == 40
    assert found.rows["region=EU&tier=gold"] == 20
    assert "region=EU" not in found.rows


def test_two_ways_to_cut_the_same_rows_count_them_once() -> None:
    whole = sales(120, segments=[["region"], ["tier"]])
    assert merged(*only(whole, "region"), *only(whole, "tier")).rows[""] == 120


def test_the_same_rows_whole_and_in_segments_count_once() -> None:
    whole = sales(120, segments=[["region"]])
    assert merged(*only(whole), *only(whole, "region")).rows[""] == 120


def test_other_rows_whole_and_in_segments_add_up() -> None:
    one, other = sales(120, segments=[]), sales(30, segments=[["region"]], start=120)
    assert merged(one, *only(other, "region")).rows[""] == 150


def test_segments_of_some_rows_only_do_not_add_to_the_whole_beside_them() -> None:
    whole = sales(120, segments=[["region"]])
    rows = {key: whole.rows[key] for key in ("", "region=EU")}
    assert merged(DatasetProfile(rows, {key: whole.columns[key] for key in rows})).rows == rows


def test_segments_that_nothing_tells_are_warned_of() -> None:
    found = merged(sales(10, segments=[]), segments=(("region",),))
    assert [(warning.kind, str(warning)) for warning in found.warnings] == [
        ("missing_column", "no profile is segmented by region, so there are no such segments")
    ]


def test_what_is_not_wanted_is_left_out() -> None:
    wanted = ProfileSettings(max_columns=1, max_segments=1, frequent_items=False)
    merger = ProfileMerger(settings=wanted, exclude=["price"])
    merger.update(sales(121, segments=[["region"]]))
    found = merger.finish()
    assert all(set(columns) == {"region"} for columns in found.columns.values())
    assert found.rows == {"": 121, "region=EU": 61, "region=(other)": 60}
    assert found.columns[""]["region"].frequent_items is None
    assert {warning.kind for warning in found.warnings} == {"too_many_columns", "too_many_segments"}


def test_performance_is_carried_and_judged_by_the_label_that_is_named() -> None:
    table = pa.table(
        {"said": ["a", "b", "a", "b"], "was": ["a", "b", "b", "b"], "side": ["l", "l", "r", "r"]}
    )
    whole = profile(table, [["side"]], roles=ColumnRoles(prediction="said", target="was"))
    merger = ProfileMerger(positive="b")
    for key in ("side=l", "side=r"):
        components = {key: whole.components[key]}
        merger.update(DatasetProfile({key: 2}, {key: whole.columns[key]}, components=components))
    performance = merger.finish().performance()
    assert performance is not None
    assert (performance.total("rows"), performance.positive) == (4.0, "b")


@settings(max_examples=30)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=90), st.randoms(use_true_random=False))
def test_files_in_any_number_and_order_make_one_whole(sizes: list[int], random: Random) -> None:
    starts = np.cumsum([0, *sizes]).tolist()
    files = [
        part
        for size, start in zip(sizes, starts, strict=False)
        for part in only(sales(size, segments=[["region"]], start=start), "region")
    ]
    random.shuffle(files)
    found = merged(*files)
    assert found.rows[""] == sum(sizes) == rows_in(merge_datasets(files))
    column = found.columns[""]["price"]
    assert (column.n, column.min, column.max) == (sum(sizes), 0.0, sum(sizes) - 1.0)
    assert column.mean == pytest.approx((sum(sizes) - 1) / 2)
