"""Profiles as values: the laws of merging, bytes, and the questions they answer."""

from __future__ import annotations

import math
import zlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitoring_pipeline.errors import ProfileError, UsageError
from monitoring_pipeline.profiling import (
    SCALARS,
    ColumnProfile,
    DatasetProfile,
    components_from_bytes,
    components_to_bytes,
    merge_profiles,
    profile,
)

values = st.one_of(
    st.none(), st.floats(), st.sampled_from([0.0, -0.0, 5e-324, 1e308, -1e308, math.inf, math.nan])
)
columns = st.one_of(
    st.lists(values, max_size=60).map(lambda found: pa.array(found, pa.float64())),
    st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), max_size=60).map(
        lambda f: pa.array(f, pa.int64())
    ),
    st.lists(st.one_of(st.none(), st.text(max_size=4)), max_size=60).map(
        lambda found: pa.array(found, pa.string())
    ),
    st.lists(st.one_of(st.none(), st.booleans()), max_size=60).map(lambda found: pa.array(found, pa.bool_())),
    st.lists(st.one_of(st.none(), st.datetimes()), max_size=20).map(
        lambda f: pa.array(f, pa.timestamp("us"))
    ),
)
EXACT = [name for name in SCALARS if name.startswith(("n", "t_", "m_n", "min", "max", "unique"))]


def column_of(*arrays: pa.Array) -> ColumnProfile:
    return merge_profiles([profile(pa.table({"x": array})).columns[""]["x"] for array in arrays])


def numbers(seed: int = 0, n: int = 5_000) -> pa.Array:
    return pa.array(np.random.default_rng(seed).normal(size=n))


def assert_same(left: ColumnProfile, right: ColumnProfile) -> None:
    """Equal up to the rounding of floating sums."""
    ours, theirs = left.scalars(), right.scalars()
    for name in SCALARS:
        if name in EXACT or ours[name] is None or theirs[name] is None:
            assert ours[name] == theirs[name], name
        else:
            scale = max(abs(left.min or 0), abs(left.max or 0), 1.0)
            tolerance = 1e-9 * (scale if name != "m2" else scale * scale * max(left.n, 1))
            assert ours[name] == pytest.approx(theirs[name], rel=1e-9, abs=tolerance), name


@given(columns, columns, columns)
@settings(max_examples=60)
def test_merging_is_associative(a: pa.Array, b: pa.Array, c: pa.Array) -> None:
    one, two, three = column_of(a), column_of(b), column_of(c)
    assert_same(one.merge(two).merge(three), one.merge(two.merge(three)))
    assert_same(one.merge(two).merge(three), merge_profiles([three, one, two]))


@given(columns, columns)
def test_merging_is_commutative_to_the_last_bit(a: pa.Array, b: pa.Array) -> None:
    one, two = column_of(a), column_of(b)
    assert one.merge(two).to_bytes() == two.merge(one).to_bytes()


@given(columns)
def test_the_profile_of_nothing_is_the_identity(a: pa.Array) -> None:
    one = column_of(a)
    assert one.merge(ColumnProfile()) == one == ColumnProfile().merge(one)


@given(columns, columns)
@settings(max_examples=60)
def test_a_merge_is_the_profile_of_all_values(a: pa.Array, b: pa.Array) -> None:
    if a.type != b.type:
        b = a.slice(0, len(a) // 2)
    assert_same(column_of(a).merge(column_of(b)), column_of(pa.concat_arrays([a, b])))


def test_big_profiles_merge_within_the_error_of_their_sketches() -> None:
    days = [numbers(seed) for seed in range(90)]
    merged = column_of(*days)
    everything = np.concatenate([day.to_numpy() for day in days])
    assert merged.n == 450_000
    assert merged.mean == pytest.approx(everything.mean(), abs=1e-12)
    assert merged.m2 == pytest.approx(everything.var() * len(everything), rel=1e-12)
    assert merged.min == everything.min()
    found = merged.quantiles([0.05, 0.25, 0.5, 0.75, 0.95])
    ranks = np.searchsorted(np.sort(everything), found) / len(everything)
    assert np.abs(ranks - [0.05, 0.25, 0.5, 0.75, 0.95]).max() < merged.rank_error < 0.006
    estimate, lower, upper = merged.distinct()
    assert lower <= len(everything) <= upper
    assert abs(estimate / len(everything) - 1) < 0.05


@given(columns)
def test_bytes_survive_the_round_trip(a: pa.Array) -> None:
    one = replace(column_of(a), extra={"binned_counts.v7": b"\x00\x01"})
    assert ColumnProfile.from_bytes(one.to_bytes()) == one
    assert components_from_bytes(components_to_bytes(one.components())) == one.components()
    assert ColumnProfile.from_parts(one.scalars(), one.components()) == one


def test_a_profile_is_rebuilt_from_what_a_database_gives_back() -> None:
    one = column_of(numbers())
    row = {name: math.nan if value is None else float(value) for name, value in one.scalars().items()}
    assert ColumnProfile.from_parts(row, one.components()) == one


def test_scalars_are_the_promised_ones_in_their_order() -> None:
    assert tuple(ColumnProfile().scalars()) == SCALARS
    found = column_of(numbers()).scalars()
    assert tuple(found) == SCALARS
    assert all(
        isinstance(value, int) for name, value in found.items() if name.startswith(("n", "t_")) and value
    )


def test_unknown_components_are_carried_along_but_never_claimed_for_other_data() -> None:
    newer = replace(column_of(numbers()), extra={"kll.v2": b"later"})
    assert newer.merge(ColumnProfile()).extra == {"kll.v2": b"later"}
    assert newer.merge(column_of(numbers(1))).extra == {}


@pytest.mark.parametrize("edges", [[-1.0, 0.0, 1.0], [0.0], [-100.0, 100.0]])
def test_a_histogram_gives_the_shares_between_its_edges(edges: list[float]) -> None:
    data = numbers(n=400)
    bounds = [-math.inf, *edges, math.inf]
    truth = [((data.to_numpy() >= low) & (data.to_numpy() < high)).mean() for low, high in pairwise(bounds)]
    assert column_of(data).histogram(edges) == pytest.approx(truth)


def test_a_histogram_of_nothing_is_missing_and_edges_must_ascend() -> None:
    assert np.isnan(ColumnProfile().histogram([0.0, 1.0])).all()
    assert np.isnan(column_of(pa.array([None], pa.float64())).histogram([0.0])).all()
    with pytest.raises(UsageError, match="ascend"):
        column_of(numbers()).histogram([1.0, 1.0])


def test_distinct_values_never_outnumber_the_values() -> None:
    for seed in range(20):
        ids = pa.array(np.random.default_rng(seed).integers(0, 2**60, 1_000))
        estimate, lower, upper = column_of(ids).distinct()
        assert lower <= estimate <= upper <= 1_000


def dataset(seed: int = 0) -> DatasetProfile:
    rng = np.random.default_rng(seed)
    table = pa.table(
        {"score": rng.random(200), "region": rng.choice(["EU", "US"], 200), "n": rng.integers(0, 9, 200)}
    )
    return profile(table, [["region"]])


def test_dataset_profiles_merge_segment_by_segment() -> None:
    merged = dataset(1).merge(dataset(2))
    assert merged.rows[""] == 400
    assert merged.rows["region=EU"] + merged.rows["region=US"] == 400
    assert merged.columns["region=EU"]["score"].n == merged.rows["region=EU"]
    assert merged == dataset(2).merge(dataset(1))
    assert dataset(1).merge(DatasetProfile()) == dataset(1)


def test_segments_and_columns_of_one_side_only_survive_a_merge() -> None:
    left = profile(pa.table({"a": [1], "region": ["EU"]}), [["region"]])
    right = profile(pa.table({"b": [1.5], "region": ["US"]}), [["region"]])
    merged = left.merge(right)
    assert merged.rows == {"": 2, "region=EU": 1, "region=US": 1}
    assert set(merged.columns[""]) == {"a", "b", "region"}
    assert merged.columns[""]["a"].n == 1
    assert merged.dataset_scalars("")["n"] == 2
    assert merged.dataset_scalars("")["n_columns"] == 3


def test_dataset_bytes_survive_the_round_trip() -> None:
    one = replace(dataset(), folded_segments=7)
    assert DatasetProfile.from_bytes(one.to_bytes()) == one
    assert DatasetProfile.from_bytes(DatasetProfile().to_bytes()) == DatasetProfile()


@pytest.mark.parametrize("read", [ColumnProfile.from_bytes, DatasetProfile.from_bytes, components_from_bytes])
@pytest.mark.parametrize("data", [b"", b"MPcp", bytes(20), b"MPcp\x01\x00" + bytes(50), b"\xff" * 100])
def test_what_is_no_profile_is_refused(read: object, data: bytes) -> None:
    with pytest.raises(ProfileError, match=r"profile"):
        read(data)  # type: ignore[operator]


def test_the_message_says_what_is_wrong() -> None:
    good = column_of(numbers(n=10)).to_bytes()
    with pytest.raises(ProfileError, match=r"column profile: starts with b'MPcm' instead of b'MPcp'"):
        ColumnProfile.from_bytes(b"MPcm" + good[4:])
    with pytest.raises(ProfileError, match="format version 9; this release reads version 1"):
        ColumnProfile.from_bytes(good[:4] + b"\x09" + good[5:])
    with pytest.raises(ProfileError, match="column profile: damaged, its checksum does not match"):
        ColumnProfile.from_bytes(good[:-1])
    with pytest.raises(ProfileError, match="too few"):
        ColumnProfile.from_bytes(good[:10])


def resealed(data: bytes) -> bytes:
    """Bytes with a checksum that is right again, as a hostile writer would make them."""
    head = data[:8] + bytes(4) + data[12:20]
    return data[:8] + zlib.crc32(data[20:], zlib.crc32(head)).to_bytes(4, "little") + data[12:]


GOOD = column_of(pa.array(["a", "b", "a"])).merge(column_of(pa.array([1.5, 2.5]))).to_bytes()
GOOD_DATASET = dataset().to_bytes()


@given(st.data(), st.booleans(), st.sampled_from([GOOD, GOOD_DATASET]))
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_bytes_are_refused_and_nothing_worse(data: st.DataObject, hostile: bool, good: bytes) -> None:
    read = ColumnProfile.from_bytes if good is GOOD else DatasetProfile.from_bytes
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = damaged[: data.draw(st.integers(0, len(damaged)))] if data.draw(st.booleans()) else damaged
    sealed = resealed(bytes(damaged)) if hostile and len(damaged) > 20 else bytes(damaged)
    try:
        found = read(sealed)
        for column in [found] if isinstance(found, ColumnProfile) else found.columns.get("", {}).values():
            column.scalars()
            column.top_items(3)
    except ProfileError:
        return


def test_a_lie_about_the_size_is_refused_before_anything_is_allocated() -> None:
    lie = resealed(GOOD[:12] + (1 << 60).to_bytes(8, "little") + GOOD[20:])
    with pytest.raises(ProfileError, match="at most"):
        ColumnProfile.from_bytes(lie)
