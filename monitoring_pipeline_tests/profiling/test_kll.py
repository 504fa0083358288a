"""The KLL sketch against sorted data and against the native library."""

from __future__ import annotations

import math

import datasketches
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling.sketches import Kll

finite = st.floats(allow_nan=False, allow_infinity=False).map(lambda value: value + 0.0)
N = 300_000
SHAPES = {
    "normal": np.random.default_rng(1).normal(size=N),
    "ascending": np.arange(N, dtype=float),
    "descending": np.arange(N, dtype=float)[::-1].copy(),
    "skewed": np.random.default_rng(2).lognormal(sigma=3, size=N),
    "few values": np.random.default_rng(3).integers(0, 50, N).astype(float),
    "periodic": np.tile(np.arange(1000.0), N // 1000),
    "alternating ends": np.where(np.arange(N) % 2 == 0, np.arange(N), -np.arange(N)).astype(float),
}


def sketch_in_blocks(values: NDArray[np.float64], *, k: int, block: int = 2048) -> Kll:
    sketch = Kll.of(np.zeros(0), k=k)
    for start in range(0, len(values), block):
        sketch = sketch.absorb(values[start : start + block])
    return sketch


def worst_rank_error(sketch: Kll, values: NDArray[np.float64]) -> float:
    """Largest error over 200 points, of the share below (exclusive)."""
    ordered = np.sort(values)
    points = np.quantile(ordered, np.linspace(0, 1, 200))
    truth = np.searchsorted(ordered, points, side="left") / len(ordered)
    return float(np.abs(sketch.ranks(points) - truth).max())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("k", [200, 512])
def test_ranks_stay_within_the_documented_error(shape: str, k: int) -> None:
    documented = datasketches.kll_doubles_sketch.get_normalized_rank_error(k, False)
    assert worst_rank_error(sketch_in_blocks(SHAPES[shape], k=k), SHAPES[shape]) < documented
    assert worst_rank_error(sketch_in_blocks(SHAPES[shape], k=k, block=65_536), SHAPES[shape]) < documented


@pytest.mark.parametrize("shape", SHAPES)
def test_ninety_merged_days_stay_within_the_documented_error(shape: str) -> None:
    days = [sketch_in_blocks(day, k=200) for day in np.array_split(SHAPES[shape], 90)]
    merged = Kll.merge_all(days)
    assert merged is not None
    assert merged.n == N
    assert worst_rank_error(merged, SHAPES[shape]) < 0.0133


def test_merging_one_by_one_stays_within_the_documented_error() -> None:
    values = SHAPES["normal"]
    merged = Kll.of(np.zeros(0), k=200)
    for day in np.array_split(values, 90):
        merged = Kll.merge_all([merged, Kll.of(day, k=200)]) or merged
    assert worst_rank_error(merged, values) < 0.0133


def test_the_mean_error_over_many_sketches_is_centred_on_zero() -> None:
    rng = np.random.default_rng(5)
    errors = []
    for _ in range(60):
        values = rng.normal(size=20_000)
        truth = (values < 0).mean()
        errors.append(Kll.of(values, k=64).ranks(np.zeros(1))[0] - truth)
    assert abs(np.mean(errors)) < 4 * np.std(errors) / math.sqrt(len(errors))


@given(st.lists(finite, min_size=1, max_size=200), st.floats(0.0001, 0.9999))
def test_quantiles_of_few_values_are_the_sorted_items(values: list[float], rank: float) -> None:
    sketch = Kll.of(np.array(values), k=200)
    assert sketch.rank_error == 0
    assert sketch.quantiles([rank])[0] == sorted(values)[min(math.floor(rank * len(values)), len(values) - 1)]
    assert sketch.quantiles([0.0, 1.0]).tolist() == [min(values), max(values)]


@given(st.lists(finite, min_size=1, max_size=2000))
def test_the_native_library_reads_an_image_and_agrees(values: list[float]) -> None:
    sketch = Kll.of(np.array(values), k=8)
    native = datasketches.kll_doubles_sketch.deserialize(sketch.to_image())
    assert native.n == len(values)
    assert native.k == 8
    assert native.get_min_value() == min(values)
    assert native.get_max_value() == max(values)
    for rank in (0.1, 0.5, 0.77):
        assert native.get_quantile(rank) == sketch.quantiles([rank])[0]
    points = sorted(set(values))[:20]
    assert sketch.ranks(np.array(points)).tolist() == pytest.approx([native.get_rank(p) for p in points])


def test_native_and_own_sketches_merge_in_both_directions() -> None:
    values = SHAPES["normal"]
    native = datasketches.kll_doubles_sketch(200)
    native.update(values[: N // 2].copy())
    own = Kll.of(values[N // 2 :], k=200)

    ours = Kll.merge_all([own, Kll.from_image(native.serialize())])
    assert ours is not None
    assert ours.n == N
    assert worst_rank_error(ours, values) < 0.0133

    native.merge(datasketches.kll_doubles_sketch.deserialize(own.to_image()))
    assert native.n == N
    assert worst_rank_error(Kll.from_image(native.serialize()), values) < 0.0133
    native.update(np.arange(1000.0))
    assert native.n == N + 1000


@pytest.mark.parametrize("count", [0, 1, 2, 199, 200, 201, 5000])
def test_images_of_native_sketches_are_read_back(count: int) -> None:
    native = datasketches.kll_doubles_sketch(200)
    native.update(np.random.default_rng(0).normal(size=count))
    own = Kll.from_image(native.serialize())
    assert own.n == count
    if count:
        assert own.quantiles([0.25])[0] == native.get_quantile(0.25)
        assert own.minimum == native.get_min_value()


@given(st.lists(finite, max_size=3000), st.integers(8, 40))
def test_an_image_survives_the_round_trip(values: list[float], k: int) -> None:
    image = Kll.of(np.array(values), k=k).to_image()
    assert Kll.from_image(image).to_image() == image


@given(st.lists(st.lists(finite, max_size=60), min_size=2, max_size=6), st.randoms())
def test_a_merge_does_not_depend_on_the_order(days: list[list[float]], random: object) -> None:
    sketches = [Kll.of(np.array(day), k=8) for day in days]
    merged = Kll.merge_all(sketches)
    shuffled = Kll.merge_all(sketches[::-1])
    assert merged is not None
    assert shuffled is not None
    assert merged.to_image() == shuffled.to_image()


def test_the_same_values_always_give_the_same_bytes() -> None:
    values = SHAPES["skewed"]
    assert sketch_in_blocks(values, k=200).to_image() == sketch_in_blocks(values.copy(), k=200).to_image()


def test_a_merge_with_a_coarser_sketch_reports_the_coarser_error() -> None:
    fine, coarse = Kll.of(SHAPES["normal"], k=512), Kll.of(SHAPES["normal"], k=64)
    merged = Kll.merge_all([fine, coarse])
    assert merged is not None
    assert merged.rank_error == coarse.rank_error > fine.rank_error
    few = Kll.merge_all([fine, Kll.of(np.arange(10.0), k=64)])
    assert few is not None
    assert few.rank_error == fine.rank_error


def test_an_empty_sketch_knows_nothing() -> None:
    empty = Kll.of(np.zeros(0), k=200)
    assert np.isnan(empty.quantiles([0.5])).all()
    assert np.isnan(empty.ranks(np.zeros(2))).all()
    assert datasketches.kll_doubles_sketch.deserialize(empty.to_image()).is_empty()
    assert Kll.merge_all([empty, empty]).to_image() == empty.to_image()  # type: ignore[union-attr]


@pytest.mark.parametrize("image", [b"", b"\x05\x01\x0f", bytes(8), bytes(100), b"\xff" * 64])
def test_what_is_no_sketch_is_refused(image: bytes) -> None:
    with pytest.raises(ProfileError, match="KLL"):
        Kll.from_image(image)


@given(st.data())
def test_a_mutated_image_is_refused_or_read_but_never_worse(data: st.DataObject) -> None:
    image = bytearray(Kll.of(np.random.default_rng(0).normal(size=300), k=8).to_image())
    for _ in range(data.draw(st.integers(1, 4))):
        image[data.draw(st.integers(0, min(len(image) - 1, 60)))] = data.draw(st.integers(0, 255))
    image = image[: data.draw(st.integers(0, len(image)))] if data.draw(st.booleans()) else image
    try:
        sketch = Kll.from_image(bytes(image))
    except ProfileError:
        return
    sketch.quantiles([0.5])
    Kll.merge_all([sketch, sketch])
